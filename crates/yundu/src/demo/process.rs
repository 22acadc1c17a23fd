//! Running other programs: briefly (with a deadline) or for as long as the demo lasts.

use super::resources::{Resource, Resources};
use anyhow::{Context as _, Result, bail};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Set when the demo is interrupted: nothing new is started while everything is being removed.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How long a short command may take unless told otherwise.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// A process that outlives the command that started it; recognised by its pid *and* its start
/// time, so that a reused pid is never mistaken for it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

impl Process {
    /// The process that has `pid` now; `None` when there is none.
    pub fn observe(pid: u32) -> Option<Self> {
        stat(pid).map(|(_, start_ticks)| Self { pid, start_ticks })
    }

    /// Still there, and not merely a zombie that nobody reaped.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start_ticks && state != 'Z')
    }

    /// Sends `signal` if it is still this process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if self.is_alive()
            && let Some(pid) = i32::try_from(self.pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw)
        {
            // It may end between the check and the signal: then there is nothing left to do.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Waits until it has ended; `false` when it is still there after `limit`.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Sends `signal`, waits, and kills what does not go.
    pub fn end(&self, signal: rustix::process::Signal, limit: Duration) {
        self.signal(signal);
        if !self.wait_gone(limit) {
            self.signal(rustix::process::Signal::KILL);
            self.wait_gone(Duration::from_secs(5));
        }
    }
}

/// State letter and start time of a process.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields are counted after the last `)`.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// Runs `argv` to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started, exits with another code than 0 (its standard error is told), or is
/// still running after [`COMMAND_TIMEOUT`] (it is killed then).
pub fn run<S: AsRef<str>>(argv: &[S]) -> Result<String> {
    run_for(argv, COMMAND_TIMEOUT)
}

/// [`run`] with a deadline.
///
/// # Errors
/// As [`run`].
pub fn run_for<S: AsRef<str>>(argv: &[S], limit: Duration) -> Result<String> {
    let line = argv.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
    let mut child = command(argv)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            bail!("`{line}` was still running after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let collect = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    if !status.success() {
        bail!("`{line}` failed ({status}): {}", stderr.trim());
    }
    Ok(stdout)
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn command<S: AsRef<str>>(argv: &[S]) -> Result<Command> {
    let (program, arguments) = argv.split_first().context("empty command line")?;
    let mut command = Command::new(program.as_ref());
    command.args(arguments.iter().map(AsRef::as_ref));
    Ok(command)
}

/// Starts `argv` in the background with its output appended to `log`; it is recorded as a
/// resource. It gets a session of its own, as a service has: Ctrl-C at the terminal does not reach
/// it, and the scheduler shares the processors between sessions, so that a busy neighbour (a build,
/// a comparison) does not starve it.
///
/// # Errors
/// When the log cannot be opened or the program cannot be started.
pub fn spawn<S: AsRef<str>>(
    resources: &Resources,
    name: &str,
    argv: &[S],
    log: &Path,
) -> Result<Process> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("{name} is not started: the demo was interrupted");
    }
    let output = open_log(log)?;
    let mut line: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
    let has_session = find_program("setsid").is_some();
    if has_session {
        line.insert(0, "setsid");
    }
    let mut command = command(&line)?;
    if !has_session {
        command.process_group(0);
    }
    let child = command
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let process = Process::observe(child.id())
        .with_context(|| format!("{name} ended at once; see {}", log.display()))?;
    resources.record(&Resource::Process {
        name: name.to_owned(),
        process: process.clone(),
    })?;
    reap(child);
    Ok(process)
}

/// Collects the exit status when the child ends, so that no zombie is left behind.
fn reap(mut child: Child) {
    std::thread::spawn(move || child.wait());
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write the log {}", path.display()))
}

/// Waits until `ready` holds, asking every few milliseconds.
///
/// # Errors
/// When it does not hold within `limit`; `what` names what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !ready() {
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether `program` can be found in PATH or in one of the system's usual folders.
pub fn find_program(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|p| p.is_file())
}
