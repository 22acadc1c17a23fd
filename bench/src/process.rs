//! Life and CPU time of the processes under test.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Linux counts CPU time for user space in hundredths of a second, whatever the kernel's tick is.
const TICK_US: u64 = 10_000;
/// Longest wait for a server to answer.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest run of one program.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(120);

/// A server under test; ends when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    name: String,
}

impl Server {
    /// Starts a program whose output goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let log = std::fs::File::create(log)?;
        let mut command = tied(command);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    /// Waits until `ready` says so.
    pub fn wait_ready(&mut self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended before it was ready ({status}); see its log",
                    self.name
                );
            }
            if begun.elapsed() > READY_TIMEOUT {
                bail!(
                    "{} was not ready after {READY_TIMEOUT:?}; see its log",
                    self.name
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits until something listens on a port of this machine.
    pub fn wait_port(&mut self, port: u16) -> Result<()> {
        self.wait_ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// CPU time used so far, µs, in steps of 10 ms.
    pub fn cpu_us(&self) -> Result<u64> {
        cpu_us(self.child.id())
    }

    /// Most memory that was resident at one time, bytes.
    pub fn resident_bytes_max(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kib.context("no VmHWM in /proc/PID/status")? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing that it holds is needed any more; SIGKILL leaves no wait behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program that ran to its end did.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Wall time, µs.
    pub wall_us: u64,
    /// CPU time, µs, in steps of 10 ms.
    pub cpu_us: u64,
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut command = tied(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut child = Server {
        child,
        name: name.clone(),
    };
    let pid = Pid::from_child(&child.child);
    // Left as a zombie first: then its CPU time can still be read.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), options)?.is_none() {
        if begun.elapsed() > PROGRAM_TIMEOUT {
            bail!("{name} was not done after {PROGRAM_TIMEOUT:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let wall_us = elapsed_us(begun);
    let cpu_us = child.cpu_us()?;
    let status = child.child.wait()?;
    if !status.success() {
        let mut words = String::new();
        if let Some(mut errors) = child.child.stderr.take() {
            std::io::Read::read_to_string(&mut errors, &mut words)?;
        }
        bail!("{name} failed ({status}): {}", words.trim());
    }
    Ok(Finished { wall_us, cpu_us })
}

/// Microseconds since `begun`.
pub fn elapsed_us(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Whether a program is installed.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A port of this machine on which nothing listens now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The same program, which dies with this one however that ends.
fn tied(command: &Command) -> Command {
    if !is_installed("setpriv") {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        return same;
    }
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    tied
}

fn cpu_us(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything, a closing parenthesis too; the fields after it are numbers.
    let fields = stat
        .rsplit_once(") ")
        .map(|(_, fields)| fields)
        .unwrap_or_default();
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) * TICK_US),
        _ => bail!("unexpected /proc/{pid}/stat: {stat}"),
    }
}
