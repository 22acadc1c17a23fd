//! Two volume processes, a source and a receiver, as a test starts, kills and restarts them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use yundu_replicate::control::{
    ControlClient, Handover, Link, Request, Response, Status, SyncState,
};
use yundu_replicate::nbd_client::{NbdAddress, NbdClient, NbdClientOptions};

const WAIT_MAX: Duration = Duration::from_secs(60);

/// A directory, two images, two processes.
pub struct Pair {
    pub directory: tempfile::TempDir,
    source_port: u16,
    peer_port: u16,
    target_port: u16,
    source: Option<Child>,
    target: Option<Child>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Source,
    Target,
}

/// A port of this machine that nobody uses now, different for each call.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn yundu() -> Command {
    Command::new(env!("CARGO_BIN_EXE_yundu"))
}

impl Pair {
    pub fn new(size_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = File::create(directory.path().join("source.img")).unwrap();
        image.set_len(size_bytes).unwrap();
        Self {
            directory,
            source_port: free_port(),
            peer_port: free_port(),
            target_port: free_port(),
            source: None,
            target: None,
        }
    }

    pub fn image(&self, side: Side) -> PathBuf {
        self.directory.path().join(match side {
            Side::Source => "source.img",
            Side::Target => "target.img",
        })
    }

    pub fn start(&mut self, side: Side) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join(format!("{side:?}.log")))
            .unwrap();
        let mut command = self.command(side);
        let child = command
            .stdout(Stdio::null())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        *self.slot(side) = Some(child);
        let since = Instant::now();
        while self.try_control(side).is_none() {
            assert!(
                since.elapsed() < WAIT_MAX,
                "{side:?} does not start: {}",
                self.log(side)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The command line that serves this side.
    pub fn command(&self, side: Side) -> Command {
        let mut command = yundu();
        command
            .env("YUNDU_RUNTIME_DIR", self.directory.path().join("run"))
            .arg("volume");
        match side {
            Side::Source => command
                .arg("serve")
                .arg(self.image(side))
                .args(["--listen", &format!("127.0.0.1:{}", self.source_port)]),
            Side::Target => command
                .arg("receive")
                .arg(self.image(side))
                .args(["--listen", &format!("127.0.0.1:{}", self.peer_port)])
                .args(["--nbd", &format!("127.0.0.1:{}", self.target_port)]),
        };
        command.args(["--export", "v", "--silence-ms", "400"]);
        command
    }

    fn slot(&mut self, side: Side) -> &mut Option<Child> {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    fn log(&self, side: Side) -> String {
        std::fs::read_to_string(self.directory.path().join(format!("{side:?}.log")))
            .unwrap_or_default()
    }

    /// kill -9.
    pub fn kill(&mut self, side: Side) {
        if let Some(mut child) = self.slot(side).take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Where the process of this side is steered.
    pub fn control_socket(&self, side: Side) -> PathBuf {
        let path = yundu_replicate::state::StateDirectory::path_for(&self.image(side));
        path.join("control.sock")
    }

    fn try_control(&self, side: Side) -> Option<ControlClient> {
        ControlClient::connect(&self.control_socket(side)).ok()
    }

    pub fn control(&self, side: Side) -> ControlClient {
        self.try_control(side)
            .unwrap_or_else(|| panic!("{side:?} is gone: {}", self.log(side)))
    }

    pub fn status(&self, side: Side) -> Status {
        self.control(side).status().unwrap()
    }

    /// `yundu volume …` against this side.
    pub fn volume(&self, side: Side, arguments: &[&str]) -> Output {
        let (verb, rest) = arguments.split_first().unwrap();
        yundu()
            .args(["volume", verb])
            .arg(self.image(side))
            .args(rest)
            .output()
            .unwrap()
    }

    /// Where the receiver awaits its source.
    pub fn peer(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }

    pub fn replicate(&self) {
        let to = self.peer();
        let output = self.volume(Side::Source, &["replicate", "--to", &to, "--wait"]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub fn wait_for(&self, side: Side, what: &str, fits: impl Fn(&Status) -> bool) -> Status {
        let since = Instant::now();
        loop {
            let status = self.status(side);
            if fits(&status) {
                return status;
            }
            assert!(since.elapsed() < WAIT_MAX, "{what} never came: {status:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn wait_in_step(&self, side: Side) -> Status {
        self.wait_for(side, "in step", |s| {
            s.sync == SyncState::InStep && s.link == Link::Up
        })
    }

    /// Moves the primary role to `to`, asking `asked`.
    pub fn cut_over(&self, asked: Side, to: Side, id: &str) -> Result<Handover, String> {
        let request = Request::Cutover {
            id: id.to_owned(),
            to_me: asked == to,
        };
        match self.control(asked).request(&request) {
            Ok(Response::Handover(handover)) => Ok(handover),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn uri(&self, side: Side) -> String {
        let port = match side {
            Side::Source => self.source_port,
            Side::Target => self.target_port,
        };
        format!("nbd://127.0.0.1:{port}/v")
    }

    pub fn client(&self, side: Side, retry_for: Duration) -> NbdClient {
        let port = match side {
            Side::Source => self.source_port,
            Side::Target => self.target_port,
        };
        let options = NbdClientOptions {
            timeout: Duration::from_secs(30),
            retry_for,
        };
        NbdClient::connect(NbdAddress::Tcp(format!("127.0.0.1:{port}")), "v", options).unwrap()
    }

    /// Both images hold the same bytes.
    pub fn assert_same(&self) {
        let (source, target) = (self.image(Side::Source), self.image(Side::Target));
        assert!(
            same_bytes(&source, &target),
            "{} and {} differ",
            source.display(),
            target.display()
        );
    }
}

fn same_bytes(one: &Path, other: &Path) -> bool {
    use std::io::Read;
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut left).unwrap();
        if count == 0 {
            return other.read(&mut right).unwrap() == 0;
        }
        if other.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return false;
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.kill(Side::Source);
        self.kill(Side::Target);
    }
}

/// Is this program here? A test that needs it says so when it is not.
pub fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
