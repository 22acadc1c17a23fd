//! A client that writes one block after another and remembers how long each took.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use yundu_replicate::nbd_client::{NbdAddress, NbdClient, NbdClientOptions};

const BLOCK_BYTES: u64 = 4096;
/// Writes that are remembered; older ones go.
const WRITES_MAX: usize = 1 << 20;

/// One write.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// When it was asked.
    pub begun: Instant,
    /// When its reply came.
    pub ended: Instant,
}

/// A thread that writes until it is stopped.
pub struct Foreground {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Waited>>>>,
}

impl Foreground {
    /// Connects, and writes from then on to random blocks.
    pub fn start(port: u16, export: &str) -> Result<Self> {
        let address = NbdAddress::Tcp(format!("127.0.0.1:{port}"));
        let options = NbdClientOptions {
            timeout: Duration::from_secs(10),
            retry_for: Duration::ZERO,
        };
        let mut client = NbdClient::connect(address, export, options)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let blocks = client.granted().size_bytes / BLOCK_BYTES;
            let data = Bytes::from(vec![0x5a; 4096]);
            let mut state = 0x2545_f491_4f6c_dd1d_u64;
            let mut waits: Vec<Waited> = Vec::new();
            while !told.load(Ordering::Relaxed) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let begun = Instant::now();
                client.write((state >> 33) % blocks * BLOCK_BYTES, data.clone())?;
                waits.push(Waited {
                    begun,
                    ended: Instant::now(),
                });
                if waits.len() > WRITES_MAX {
                    waits.drain(..WRITES_MAX / 2);
                }
            }
            client.disconnect();
            Ok(waits)
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends the load; every write must have succeeded.
    pub fn stop(mut self) -> Result<Vec<Waited>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the foreground load panicked"))?
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The longest wait, µs, of a write that overlaps the window.
pub fn worst_us(waits: &[Waited], from: Instant, to: Instant) -> u64 {
    let inside = waits
        .iter()
        .filter(|wait| wait.begun <= to && wait.ended >= from);
    let waited = inside
        .map(|wait| wait.ended - wait.begun)
        .max()
        .unwrap_or_default();
    u64::try_from(waited.as_micros()).unwrap_or(u64::MAX)
}
