//! Raises the stage and starts what stands on it: sites, volume, application, business, probe.

use super::business::blocks;
use super::process::{self, Process};
use super::resources::Resource;
use super::stage::{Site, Stage, VOLUME_BYTES};
use super::{disk, faults, postgres, sites};
use anyhow::{Context as _, Result, bail};
use std::time::Duration;

/// Directories, network and relays of a new stage.
///
/// # Errors
/// When the machine refuses one of them.
pub fn raise(stage: &Stage) -> Result<()> {
    for site in [Site::A, Site::B] {
        std::fs::create_dir_all(stage.site_dir(site))?;
    }
    std::fs::create_dir_all(stage.driver_dir())?;
    stage.save()?;
    if stage.has_namespaces() {
        let run_dir = stage.run_dir();
        stage.resources().record(&Resource::Directory {
            path: run_dir.clone(),
        })?;
        std::fs::create_dir_all(&run_dir)
            .with_context(|| format!("cannot make {}", run_dir.display()))?;
        sites::raise(stage)
    } else {
        faults::prepare_relays(stage)?;
        for (name, port) in [("link", stage.ports.link), ("service", stage.ports.service)] {
            start_part(stage, &format!("relay-{name}"), None, &["relay", name])?;
            process::wait_until("the relay listens", Duration::from_secs(5), || {
                std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            })?;
        }
        Ok(())
    }
}

/// The empty image of a site.
///
/// # Errors
/// When the disk does not take it.
pub fn create_image(stage: &Stage, site: Site) -> Result<()> {
    let path = stage.image(site);
    std::fs::File::create(&path)
        .and_then(|file| file.set_len(VOLUME_BYTES))
        .with_context(|| format!("cannot make {}", path.display()))
}

/// Puts the application with its data on the volume served at `site` and starts it.
///
/// # Errors
/// When one of its parts fails; its log is named.
pub fn install_application(stage: &Stage, site: Site) -> Result<()> {
    if !stage.has_namespaces() {
        return blocks::load(&stage.nbd_address(site));
    }
    let device = disk::attach(stage, site)?;
    disk::format(&device)?;
    disk::mount(stage, site, &device)?;
    postgres::create_cluster(stage, site)?;
    postgres::start(stage, site)?;
    postgres::load(stage, site)
}

/// Starts the business.
///
/// # Errors
/// When it cannot be started.
pub fn start_business(stage: &Stage) -> Result<Process> {
    start_part(stage, "business", Some("c"), &["business"])
}

/// Asks the business to stop and waits for it.
///
/// # Errors
/// When it does not.
pub fn stop_business(stage: &Stage) -> Result<()> {
    stop_part(stage, "business", "stop")
}

/// Starts the stall probe at a site.
///
/// # Errors
/// When it cannot be started.
pub fn start_probe(stage: &Stage, site: Site) -> Result<Process> {
    start_part(
        stage,
        "probe",
        Some(site.letter()),
        &["probe", site.letter()],
    )
}

/// Stops the stall probe.
///
/// # Errors
/// When it does not stop.
pub fn stop_probe(stage: &Stage) -> Result<()> {
    stop_part(stage, "probe", "stop-probe")
}

fn start_part(
    stage: &Stage,
    name: &str,
    namespace: Option<&str>,
    words: &[&str],
) -> Result<Process> {
    let program = stage.program.to_string_lossy();
    let dir = stage.dir.to_string_lossy();
    let mut argv = vec![&*program, "demo", "--dir", &*dir];
    argv.extend(words);
    let line = match namespace {
        Some(part) => stage.inside(part, &argv),
        None => argv.into_iter().map(str::to_owned).collect(),
    };
    process::spawn(
        &stage.resources(),
        name,
        &line,
        &stage.dir.join(format!("{name}.log")),
    )
}

fn stop_part(stage: &Stage, name: &str, stop_file: &str) -> Result<()> {
    let Some(part) = disk::recorded(stage, name) else {
        return Ok(());
    };
    let path = stage.driver_dir().join(stop_file);
    std::fs::write(&path, b"")?;
    let ended = part.wait_gone(Duration::from_secs(65));
    std::fs::remove_file(&path)?;
    if !ended {
        bail!(
            "{name} does not stop; see {name}.log in {}",
            stage.dir.display()
        );
    }
    stage.resources().release(&Resource::Process {
        name: name.to_owned(),
        process: part,
    })
}
