//! Our own volume processes.

use crate::Run;
use crate::process::{Server, free_port};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use yundu_replicate::control::{
    ControlClient, ControlError, Mode, Policy, Request, Response, SyncState,
};

/// Name of the export.
pub const EXPORT: &str = "bench";

/// A `yundu volume serve` or `receive` process.
pub struct Volume {
    /// The process.
    pub server: Server,
    /// Where NBD clients (of a serving side) or the source (of a receiving one) connect.
    pub port: u16,
    control: PathBuf,
}

impl Volume {
    /// Serves `image` over NBD.
    pub fn serve(run: &Run, image: &Path) -> Result<Self> {
        Self::start(run, image, "serve")
    }

    /// Receives a copy into `image`, which must be empty or absent.
    pub fn receive(run: &Run, image: &Path) -> Result<Self> {
        Self::start(run, image, "receive")
    }

    fn start(run: &Run, image: &Path, verb: &str) -> Result<Self> {
        // State that an earlier turn left belongs to an image that is gone.
        let mut state = image.as_os_str().to_owned();
        state.push(".yundu");
        let _ = std::fs::remove_dir_all(&state);
        let port = free_port()?;
        let control = run.work.join(format!("{verb}.sock"));
        let _ = std::fs::remove_file(&control);
        let mut command = Command::new(&run.yundu);
        command.args(["volume", verb]).arg(image);
        command.arg("--listen").arg(format!("127.0.0.1:{port}"));
        command
            .args(["--export", EXPORT])
            .arg("--control")
            .arg(&control);
        let log = run.work.join(format!("{verb}.log"));
        let mut server = Server::start(&mut command, &log)?;
        let ready = server.wait_ready(|| ControlClient::connect(&control).is_ok());
        ready.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self {
            server,
            port,
            control,
        })
    }

    /// A connection to the control socket.
    pub fn control(&self) -> Result<ControlClient> {
        Ok(ControlClient::connect(&self.control)?)
    }

    /// Starts synchronous replication to a receiving process, and waits until it is in step.
    pub fn replicate_to(&self, target: &Self) -> Result<()> {
        let mut control = self.control()?;
        control.request(&Request::Replicate {
            to: format!("127.0.0.1:{}", target.port),
            mode: Mode::Sync,
            policy: Policy::Available,
        })?;
        wait_in_step(&mut control)
    }

    /// URI for libnbd.
    pub fn uri(&self) -> String {
        format!("nbd://127.0.0.1:{}/{EXPORT}", self.port)
    }
}

/// Waits until every reply stands on both copies.
pub fn wait_in_step(control: &mut ControlClient) -> Result<()> {
    let begun = Instant::now();
    loop {
        let status = control.status()?;
        if status.sync == SyncState::InStep {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(120) {
            bail!("not in step after two minutes: {status:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the digest as of the last cut is complete: cuts are hours apart in life, and each
/// is measured without the work of the one before.
pub fn wait_digest(control: &mut ControlClient) -> Result<()> {
    let begun = Instant::now();
    while control
        .status()?
        .cut_digest
        .is_some_and(|digest| digest.root.is_empty())
    {
        if begun.elapsed() > Duration::from_secs(60) {
            bail!("the digest of a cut was not complete after a minute");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Moves the primary role, and gives the time from request to reply, µs.
pub fn cut(control: &mut ControlClient, id: String, to_me: bool) -> Result<u64> {
    let begun = Instant::now();
    match control.request(&Request::Cutover { id, to_me }) {
        Ok(Response::Handover(_)) => Ok(crate::process::elapsed_us(begun)),
        Ok(other) => bail!("unexpected answer to a cut-over: {other:?}"),
        Err(ControlError::Refused { reason }) => bail!("the cut-over was refused: {reason}"),
        Err(error) => Err(error.into()),
    }
}
