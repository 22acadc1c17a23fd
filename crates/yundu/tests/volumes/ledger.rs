//! A client that writes numbered records and knows which of them were acknowledged.

use super::pair::{Pair, Side};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub const SLOT_BYTES: u64 = 4096;

/// A small generator, so that a run can be repeated from its seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A block whose content follows from its slot and version.
fn block(slot: u64, version: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(SLOT_BYTES as usize);
    let mut dice = Dice(slot << 32 ^ version);
    bytes.extend_from_slice(&version.to_le_bytes());
    while bytes.len() < SLOT_BYTES as usize {
        bytes.extend_from_slice(&dice.roll(u64::from(u32::MAX)).to_le_bytes());
    }
    bytes.into()
}

/// A running writer: every third write is flushed, each slot's last acknowledged version is kept.
pub struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<Vec<u64>>,
}

impl Writer {
    /// Writes to `slots` slots of the volume at `side` until stopped, riding through outages.
    pub fn start(pair: &Pair, side: Side, slots: u64, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let mut client = pair.client(side, Duration::from_secs(60));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let mut versions = vec![0; slots as usize];
            let mut dice = Dice(seed);
            while !stopped.load(Ordering::Relaxed) {
                let slot = dice.roll(slots);
                let version = versions[slot as usize] + 1;
                client
                    .write(slot * SLOT_BYTES, block(slot, version))
                    .unwrap();
                versions[slot as usize] = version;
                if dice.roll(3) == 0 {
                    client.flush().unwrap();
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            client.flush().unwrap();
            versions
        });
        Self {
            stop,
            written,
            thread,
        }
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until this many more writes were acknowledged.
    pub fn let_write(&self, more: u64) {
        let goal = self.written() + more;
        while self.written() < goal && !self.thread.is_finished() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the writing; the last acknowledged version of each slot.
    pub fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Every acknowledged version is there, read through `side`.
pub fn assert_all_present(pair: &Pair, side: Side, versions: &[u64]) {
    let mut client = pair.client(side, Duration::ZERO);
    for (slot, version) in versions.iter().enumerate() {
        let slot = slot as u64;
        let found = client.read(slot * SLOT_BYTES, SLOT_BYTES as u32).unwrap();
        let expected = if *version == 0 {
            Bytes::from(vec![0; SLOT_BYTES as usize])
        } else {
            block(slot, *version)
        };
        assert!(
            found == expected,
            "slot {slot} lost acknowledged version {version}"
        );
    }
}
