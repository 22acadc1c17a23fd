//! What the institution's operators do around a move, as the runbook's `command` steps call it:
//! `yundu demo operator VERB`. Each is idempotent: asked twice, it finds the work done.

use super::business::{self, blocks};
use super::faults;
use super::reconcile::reconcile;
use super::stage::{Site, Stage};
use super::windows;
use super::{disk, postgres, sites};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;

/// One thing an operator does.
#[derive(clap::Subcommand, Debug, Clone)]
pub enum Verb {
    /// Tell the business that its system will be interrupted
    Announce {
        /// Name of the interruption
        name: String,
    },
    /// Tell the business that it is over
    Conclude {
        /// Name of the interruption
        name: String,
    },
    /// Stop the application at a site and give back its volume
    StopApplication {
        /// a or b
        #[arg(long)]
        site: Site,
    },
    /// Close a site's service port: nothing there can answer the business any more
    Fence {
        /// a or b
        #[arg(long)]
        site: Site,
    },
    /// Start the application at a site on the copy of the volume there
    StartApplication {
        /// a or b
        #[arg(long)]
        site: Site,
    },
    /// Move the service address to a site
    SwitchAddress {
        /// a or b
        #[arg(long)]
        to: Site,
    },
    /// Compare both images byte by byte; the application must be stopped
    CompareAtRest,
    /// Damage one block that is in use in a site's image, behind everybody's back
    Corrupt {
        /// a or b
        #[arg(long)]
        site: Site,
    },
    /// Reconcile the books with the business's own record; prints facts as JSON
    Reconcile {
        /// a or b (default: where the application runs)
        #[arg(long)]
        site: Option<Site>,
    },
    /// Check every table and index (`pg_amcheck`), or every checksum of the built-in ledger
    CheckBooks {
        /// a or b (default: where the application runs)
        #[arg(long)]
        site: Option<Site>,
    },
    /// Cut, hang or mend the replication link
    Link {
        /// cut, hang or mend
        deed: faults::Deed,
    },
}

/// Does it and returns what is worth knowing, as integers and strings.
///
/// # Errors
/// When it cannot be done; what is wrong is said.
pub fn perform(stage: &Stage, verb: &Verb) -> Result<Value> {
    match verb {
        Verb::Announce { name } => announce(stage, name, true),
        Verb::Conclude { name } => announce(stage, name, false),
        Verb::StopApplication { site } => stop_application(stage, *site),
        Verb::Fence { site } => fence(stage, *site),
        Verb::StartApplication { site } => start_application(stage, *site),
        Verb::SwitchAddress { to } => switch_address(stage, *to),
        Verb::CompareAtRest => compare_at_rest(stage),
        Verb::Corrupt { site } => corrupt(stage, *site),
        Verb::Reconcile { site } => {
            let outcome = reconcile(stage, site.unwrap_or(active_site(stage)))?;
            if !outcome.is_clean() {
                bail!(
                    "the books do not agree: {}",
                    serde_json::to_string(&outcome)?
                );
            }
            Ok(serde_json::to_value(outcome)?)
        }
        Verb::CheckBooks { site } => check_books(stage, site.unwrap_or(active_site(stage))),
        Verb::Link { deed } => faults::perform(stage, *deed).map(|at_us| json!({ "at_us": at_us })),
    }
}

/// Where the application runs, or ran last.
pub fn active_site(stage: &Stage) -> Site {
    let text = std::fs::read_to_string(active_path(stage)).unwrap_or_default();
    text.trim().parse().unwrap_or(Site::A)
}

fn active_path(stage: &Stage) -> std::path::PathBuf {
    stage.dir.join("active-site")
}

fn announce(stage: &Stage, name: &str, begins: bool) -> Result<Value> {
    let open = |w: &windows::Window| w.name == name && w.end_us == i64::MAX;
    let is_open = business::switches(stage).iter().any(open);
    if is_open != begins {
        windows::mark(&business::switches_path(stage), name, begins)?;
    }
    Ok(json!({ "name": name, "at_us": windows::now_us() }))
}

fn stop_application(stage: &Stage, site: Site) -> Result<Value> {
    let begin_us = windows::now_us();
    if stage.has_namespaces() {
        postgres::stop(stage, site)?;
        disk::detach(stage, site)?;
    } else {
        faults::service(stage, None)?;
    }
    Ok(json!({ "site": site.letter(), "took_us": windows::now_us() - begin_us }))
}

fn fence(stage: &Stage, site: Site) -> Result<Value> {
    if stage.has_namespaces() {
        sites::drop_service_address(stage, site)?;
    } else {
        faults::service(stage, None)?;
    }
    Ok(json!({ "site": site.letter() }))
}

fn start_application(stage: &Stage, site: Site) -> Result<Value> {
    let begin_us = windows::now_us();
    if stage.has_namespaces() && disk::recorded(stage, &postgres::process_name(site)).is_none() {
        let device = disk::attach(stage, site)?;
        disk::mount(stage, site, &device)?;
        postgres::start(stage, site)?;
    }
    std::fs::write(active_path(stage), site.letter())?;
    Ok(json!({ "site": site.letter(), "took_us": windows::now_us() - begin_us }))
}

fn switch_address(stage: &Stage, to: Site) -> Result<Value> {
    if stage.has_namespaces() {
        sites::drop_service_address(stage, to.other())?;
        sites::open_service_port(stage, to)?;
        sites::take_service_address(stage, to)?;
    } else {
        faults::service(stage, Some(to))?;
    }
    Ok(json!({ "site": to.letter(), "address": stage.service_address() }))
}

fn compare_at_rest(stage: &Stage) -> Result<Value> {
    match disk::first_difference(stage)? {
        None => Ok(json!({ "equal": 1 })),
        Some(offset) => bail!("the images differ first at byte {offset}"),
    }
}

/// Byte offset of a block of the volume that is in use and cold.
///
/// # Errors
/// When the database or the file system does not tell.
pub fn cold_page_offset(stage: &Stage) -> Result<u64> {
    if stage.has_namespaces() {
        postgres::cold_page_offset(stage, active_site(stage))
    } else {
        Ok(blocks::cold_page_offset())
    }
}

fn corrupt(stage: &Stage, site: Site) -> Result<Value> {
    if site == active_site(stage) {
        bail!(
            "the application runs at site {}: only the other copy is damaged here",
            site.letter()
        );
    }
    let offset = cold_page_offset(stage)?;
    let path = stage.image(site);
    let image = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = [0_u8; 64];
    image.read_exact_at(&mut bytes, offset + 1024)?;
    // Inverted, so that it differs whatever was there.
    image.write_all_at(&bytes.map(|byte| !byte), offset + 1024)?;
    image.sync_data()?;
    Ok(json!({ "site": site.letter(), "offset": offset, "bytes": bytes.len() }))
}

fn check_books(stage: &Stage, site: Site) -> Result<Value> {
    if stage.has_namespaces() {
        postgres::check(stage, site)?;
    } else {
        let books = blocks::read_books(&stage.nbd_address(site))?;
        if books.wrong_pages + books.wrong_archive_pages > 0 {
            bail!(
                "{} account pages and {} archive pages are damaged",
                books.wrong_pages,
                books.wrong_archive_pages
            );
        }
    }
    Ok(json!({ "site": site.letter(), "clean": 1 }))
}
