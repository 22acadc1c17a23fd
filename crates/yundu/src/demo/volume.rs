//! The volume processes at both sites, started and asked exactly as an operator would: by the
//! ordinary commands.

use super::process::{self, Process};
use super::stage::{Site, Stage, VOLUME};
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::time::Duration;
use yundu_replicate::control::{ControlClient, Request, Status};
use yundu_replicate::state::StateDirectory;

/// The command that serves the volume at A, as it stands in the story.
pub fn serve_command(stage: &Stage) -> Vec<String> {
    let image = stage.image(Site::A).to_string_lossy().into_owned();
    let words = [
        "volume",
        "serve",
        &image,
        "--listen",
        &stage.nbd_address(Site::A),
    ];
    with_export(&words)
}

/// The command that receives the copy at B.
pub fn receive_command(stage: &Stage) -> Vec<String> {
    let image = stage.image(Site::B).to_string_lossy().into_owned();
    let (peers, clients) = (stage.receive_address(), stage.nbd_address(Site::B));
    let mut words = vec![
        "volume", "receive", &image, "--listen", &peers, "--nbd", &clients,
    ];
    if stage.has_namespaces() {
        // The replication network is ours alone.
        words.push("--allow-plaintext");
    }
    with_export(&words)
}

fn with_export(words: &[&str]) -> Vec<String> {
    words
        .iter()
        .chain(&["--export", VOLUME])
        .map(|word| (*word).to_owned())
        .collect()
}

/// Name under which the volume process of a site is recorded.
pub fn process_name(site: Site) -> String {
    format!("volume-{}", site.letter())
}

/// Starts the volume process of a site and waits until it answers.
///
/// # Errors
/// When it does not come up; its log is named.
pub fn start(stage: &Stage, site: Site) -> Result<Process> {
    // Names of the demo's volumes are noted in its own directory.
    let names = format!("YUNDU_RUNTIME_DIR={}", stage.names_dir().display());
    let mut argv = vec![
        "env".to_owned(),
        names,
        stage.program.to_string_lossy().into_owned(),
    ];
    argv.extend(match site {
        Site::A => serve_command(stage),
        Site::B => receive_command(stage),
    });
    let log = stage.site_dir(site).join("volume.log");
    let line = stage.inside(site.letter(), &argv);
    let server = process::spawn(&stage.resources(), &process_name(site), &line, &log)?;
    process::wait_until(
        &format!(
            "the volume process at site {} answers; see {}",
            site.letter(),
            log.display()
        ),
        Duration::from_secs(15),
        || !server.is_alive() || status(stage, site).is_ok(),
    )?;
    status(stage, site).with_context(|| format!("see {}", log.display()))?;
    Ok(server)
}

/// What the volume process of a site says of itself.
///
/// # Errors
/// When it does not answer.
pub fn status(stage: &Stage, site: Site) -> Result<Status> {
    Ok(connect(stage, site)?.status()?)
}

/// Fences the volume at a site: nothing there can write to it any more.
///
/// # Errors
/// When its process does not answer.
pub fn unexport(stage: &Stage, site: Site) -> Result<()> {
    connect(stage, site)?.request(&Request::Unexport)?;
    Ok(())
}

/// Serves the volume at a site (again).
///
/// # Errors
/// When its process does not answer or the port is in use.
pub fn export(stage: &Stage, site: Site) -> Result<()> {
    let mut process = connect(stage, site)?;
    let listen = stage.nbd_address(site);
    if !process.status()?.exports.contains(&listen) {
        process.request(&Request::Export {
            listen,
            export: VOLUME.to_owned(),
        })?;
    }
    Ok(())
}

/// Control socket of the volume process of a site.
pub fn control_socket(stage: &Stage, site: Site) -> PathBuf {
    StateDirectory::path_for(&stage.image(site)).join("control.sock")
}

fn connect(stage: &Stage, site: Site) -> Result<ControlClient> {
    ControlClient::connect(&control_socket(stage, site))
        .with_context(|| format!("the volume at site {} cannot be reached", site.letter()))
}
