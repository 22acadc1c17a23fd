//! A TCP relay that can pass, cut or hang: the link between the sites, and the service address,
//! where the machine allows no namespaces. Steered through a small file, so that any process of
//! the demo can do it.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Connections relayed at once; more are refused.
const CONNECTIONS_MAX: usize = 64;
const POLL: Duration = Duration::from_millis(5);

/// What a relay does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passage {
    /// Relay.
    Pass,
    /// Reset what is open, refuse what is new.
    Cut,
    /// Let bytes wait without a word: nothing fails, nothing arrives.
    Hang,
}

/// Contents of the control file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Where new connections go.
    pub to: SocketAddr,
    /// What happens to bytes.
    pub passage: Passage,
}

impl Control {
    /// Reads a control file.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Replaces a control file in one step, so that the relay never reads half of one.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let draft = path.with_extension("draft");
        std::fs::write(&draft, serde_json::to_vec(self)?)
            .and_then(|()| std::fs::rename(&draft, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

struct Shared {
    passage: AtomicU8,
    open: Mutex<Vec<Arc<Pair>>>,
}

struct Pair {
    near: TcpStream,
    far: TcpStream,
    closed: AtomicBool,
}

impl Pair {
    fn close(&self, reset: bool) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            for stream in [&self.near, &self.far] {
                if reset {
                    let linger = Some(Duration::ZERO);
                    let _ = rustix::net::sockopt::set_socket_linger(stream, linger);
                }
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

const PASS: u8 = 0;
const CUT: u8 = 1;
const HANG: u8 = 2;

/// Relays connections to `listen` as the control file says, until the process ends or `stop`
/// returns true.
///
/// # Errors
/// When the port is in use or the control file cannot be read at the start.
pub fn serve(listen: SocketAddr, control_path: PathBuf, stop: impl Fn() -> bool) -> Result<()> {
    let mut control = Control::load(&control_path)?;
    let shared = Arc::new(Shared {
        passage: AtomicU8::new(PASS),
        open: Mutex::new(Vec::new()),
    });
    let mut listener: Option<TcpListener> = None;
    while !stop() {
        // A control file being replaced may be missing for an instant: the old word stands.
        control = Control::load(&control_path).unwrap_or(control);
        match control.passage {
            Passage::Pass => {
                shared.passage.store(PASS, Ordering::SeqCst);
                let ready = match listener.take() {
                    Some(ready) => ready,
                    None => open_listener(listen)?,
                };
                accept(&ready, control.to, &shared);
                listener = Some(ready);
            }
            Passage::Hang => shared.passage.store(HANG, Ordering::SeqCst),
            Passage::Cut => {
                shared.passage.store(CUT, Ordering::SeqCst);
                listener = None;
                close_all(&shared);
            }
        }
        std::thread::sleep(POLL);
    }
    close_all(&shared);
    Ok(())
}

fn open_listener(listen: SocketAddr) -> Result<TcpListener> {
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen at {listen}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn close_all(shared: &Shared) {
    if let Ok(mut open) = shared.open.lock() {
        for pair in open.drain(..) {
            pair.close(true);
        }
    }
}

/// Takes every connection that waits.
fn accept(listener: &TcpListener, to: SocketAddr, shared: &Arc<Shared>) {
    while let Ok((near, _)) = listener.accept() {
        let Ok(mut open) = shared.open.lock() else {
            return;
        };
        open.retain(|pair| !pair.closed.load(Ordering::SeqCst));
        if open.len() >= CONNECTIONS_MAX {
            continue;
        }
        // Nobody behind: dropping `near` closes it, as a host without that service would.
        let Ok(far) = TcpStream::connect_timeout(&to, Duration::from_millis(500)) else {
            continue;
        };
        if let Ok(pair) = start(near, far, shared) {
            open.push(pair);
        }
    }
}

fn start(near: TcpStream, far: TcpStream, shared: &Arc<Shared>) -> std::io::Result<Arc<Pair>> {
    near.set_nonblocking(false)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    }
    let pair = Arc::new(Pair {
        near,
        far,
        closed: AtomicBool::new(false),
    });
    for forward in [true, false] {
        let (pair, shared) = (Arc::clone(&pair), Arc::clone(shared));
        std::thread::spawn(move || {
            let (from, to) = if forward {
                (&pair.near, &pair.far)
            } else {
                (&pair.far, &pair.near)
            };
            copy(from, to, &pair.closed, &shared.passage);
            pair.close(false);
        });
    }
    Ok(pair)
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, closed: &AtomicBool, passage: &AtomicU8) {
    let mut buffer = vec![0_u8; 256 << 10];
    while !closed.load(Ordering::SeqCst) {
        let length = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        };
        while passage.load(Ordering::SeqCst) == HANG && !closed.load(Ordering::SeqCst) {
            std::thread::sleep(POLL);
        }
        let Some(bytes) = buffer.get(..length) else {
            return;
        };
        if to.write_all(bytes).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    struct Fixture {
        path: PathBuf,
        relay: SocketAddr,
        echo: SocketAddr,
        stop: Arc<AtomicBool>,
        _dir: tempfile::TempDir,
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::SeqCst);
        }
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let echo_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let echo = echo_listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = echo_listener.accept() {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() {
                        if stream.write_all(&byte).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = free.local_addr().unwrap();
        drop(free);
        let path = dir.path().join("relay.json");
        Control {
            to: echo,
            passage: Passage::Pass,
        }
        .save(&path)
        .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, file) = (Arc::clone(&stop), path.clone());
        std::thread::spawn(move || serve(relay, file, || flag.load(Ordering::SeqCst)));
        Fixture {
            path,
            relay,
            echo,
            stop,
            _dir: dir,
        }
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    stream
                        .set_read_timeout(Some(Duration::from_millis(300)))
                        .unwrap();
                    return stream;
                }
                Err(e) => assert!(Instant::now() < deadline, "{e}"),
            }
            std::thread::sleep(POLL);
        }
    }

    fn echoes(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])
    }

    fn set(fixture: &Fixture, passage: Passage) {
        Control {
            to: fixture.echo,
            passage,
        }
        .save(&fixture.path)
        .unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }

    #[test]
    fn hang_is_silent_and_loses_nothing() {
        let fixture = fixture();
        let mut stream = connect(fixture.relay);
        echoes(&mut stream).unwrap();
        set(&fixture, Passage::Hang);
        let error = echoes(&mut stream).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        set(&fixture, Passage::Pass);
        stream.read_exact(&mut [0]).unwrap();
        echoes(&mut stream).unwrap();
    }

    #[test]
    fn cut_breaks_open_connections_and_refuses_new_ones() {
        let fixture = fixture();
        let mut stream = connect(fixture.relay);
        echoes(&mut stream).unwrap();
        set(&fixture, Passage::Cut);
        let error = echoes(&mut stream).unwrap_err();
        assert!(
            !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        assert_eq!(
            TcpStream::connect(fixture.relay).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
        set(&fixture, Passage::Pass);
        echoes(&mut connect(fixture.relay)).unwrap();
    }
}
