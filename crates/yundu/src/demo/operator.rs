//! What the institution's operators do around a move, as the runbook's `command` steps call it:
//! `yundu demo operator VERB`. Each is idempotent: asked twice, it finds the work done.

use super::business::{self, blocks};
use super::faults;
use super::reconcile::reconcile;
use super::stage::{Site, Stage};
use super::transfers::Outcomes;
use super::windows;
use super::{disk, postgres, process, set, sites, volume};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// How soon a transfer must be acknowledged for the application to count as alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(30);

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
    /// The whole switch of the application to a site, announced and measured
    Switch {
        /// a or b
        #[arg(long)]
        to: Site,
    },
    /// Does the application run at this site?
    IsAt {
        /// a or b
        site: Site,
    },
    /// Are transfers being acknowledged?
    Alive,
    /// Stop the application, compare both images byte by byte, start it again
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
        Verb::Switch { to } => switch(stage, *to),
        Verb::IsAt { site } => is_at(stage, *site),
        Verb::Alive => alive(stage),
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
    volume::unexport(stage, site)?;
    Ok(json!({ "site": site.letter() }))
}

fn start_application(stage: &Stage, site: Site) -> Result<Value> {
    let begin_us = windows::now_us();
    volume::export(stage, site)?;
    if stage.has_namespaces() && !postgres::is_running(stage, site) {
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

/// Stops the application where it runs, starts it at `to`, moves the service address, and waits
/// until the business is served again.
fn switch(stage: &Stage, to: Site) -> Result<Value> {
    let name = format!("switch-to-{}", to.letter());
    if is_at(stage, to).is_err() {
        let from = to.other();
        if stage.has_namespaces() && postgres::is_running(stage, from) {
            postgres::checkpoint(stage, from)?;
        }
        // The probe is a client of the old site's volume, which is about to be fenced.
        set::stop_probe(stage)?;
        announce(stage, &name, true)?;
        stop_application(stage, from)?;
        fence(stage, from)?;
        start_application(stage, to)?;
        switch_address(stage, to)?;
        announce(stage, &name, false)?;
    }
    alive(stage)?;
    let outcomes = Outcomes::load(&stage.driver_dir())?;
    let tally = outcomes.tally(&business::switches(stage), &[]);
    let felt = tally.interruptions.iter().rev().find(|i| i.name == name);
    let felt = felt.with_context(|| format!("no switch to site {} is on record", to.letter()))?;
    Ok(json!({
        "site": to.letter(),
        "address": stage.service_address(),
        "interruption_us": felt.interruption_us,
        "failed_attempts": tally.errors_in_switches,
    }))
}

fn is_at(stage: &Stage, site: Site) -> Result<Value> {
    let open = |w: &windows::Window| w.end_us == i64::MAX;
    if active_site(stage) != site || business::switches(stage).iter().any(open) {
        bail!("the application does not run at site {}", site.letter());
    }
    Ok(json!({ "site": site.letter() }))
}

/// Waits until a transfer is acknowledged that was not when this began.
fn alive(stage: &Stage) -> Result<Value> {
    let count = || Outcomes::load(&stage.driver_dir()).map(|o| o.acknowledged.len());
    let before = count()?;
    process::wait_until("a transfer is acknowledged", ALIVE_WITHIN, || {
        count().is_ok_and(|now| now > before)
    })?;
    Ok(json!({ "alive": 1, "acknowledged_writes": count()? }))
}

fn compare_at_rest(stage: &Stage) -> Result<Value> {
    let site = active_site(stage);
    let begin_us = windows::now_us();
    announce(stage, "comparison-at-rest", true)?;
    stop_application(stage, site)?;
    let difference = compare(stage);
    // Whatever was found: the business goes on.
    start_application(stage, site)?;
    if !stage.has_namespaces() {
        faults::service(stage, Some(site))?;
    }
    announce(stage, "comparison-at-rest", false)?;
    match difference? {
        None => {
            let bytes = i64::try_from(disk::COMPARED_BYTES)?;
            Ok(json!({ "equal": 1, "bytes": bytes, "took_us": windows::now_us() - begin_us }))
        }
        Some(offset) => bail!("the images differ first at byte {offset}"),
    }
}

fn compare(stage: &Stage) -> Result<Option<u64>> {
    if !stage.has_namespaces() {
        // What the relay had already passed on is still being written.
        std::thread::sleep(Duration::from_millis(200));
    }
    disk::first_difference(stage)
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
