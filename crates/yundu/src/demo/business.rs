//! The business: it posts transfers at a steady pace for the whole story, through PostgreSQL
//! ([`tpcb`]) or, in plain mode, through a ledger of its own on the volume ([`blocks`]), and
//! keeps its own record of what was acknowledged.

pub mod blocks;
pub mod tpcb;

use super::stage::{Ground, Stage};
use super::transfers::{Outcomes, TransferLog};
use super::windows::{self, Window};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;

/// Connections of the business.
pub const CONNECTIONS: usize = 4;
/// Transfers per second over all connections.
pub const RATE: u32 = 300;

/// What every connection of the business shares.
#[derive(Debug)]
pub struct Desk {
    /// The record outside the volume.
    pub log: TransferLog,
    /// The next free transfer id.
    pub next_id: AtomicI64,
    /// While this file exists, nothing new is begun; it ends the driver.
    pub stop_file: PathBuf,
}

impl Desk {
    /// Opens the record and continues its numbers.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn open(dir: &Path) -> Result<Self> {
        let next_id = Outcomes::load(dir)?.id_max() + 1;
        let log = TransferLog::open(dir)?;
        Ok(Self {
            log,
            next_id: AtomicI64::new(next_id),
            stop_file: dir.join("stop"),
        })
    }

    /// Whether it shall end.
    pub fn is_stopped(&self) -> bool {
        self.stop_file.exists()
    }
}

/// Runs the business until its stop file appears.
///
/// # Errors
/// When its record cannot be written, or the built-in ledger finds damage. Errors of the
/// database are not errors of this function: they are recorded, and work goes on.
pub fn run(stage: &Stage) -> Result<()> {
    let desk = Desk::open(&stage.driver_dir())?;
    match &stage.ground {
        Ground::Namespaces { .. } => tpcb::run(desk, &stage.service_address()),
        Ground::Plain { .. } => blocks::run(desk, &stage.service_address()),
    }
}

/// File in which switches of the application are announced.
pub fn switches_path(stage: &Stage) -> PathBuf {
    stage.driver_dir().join("switches.jsonl")
}

/// The switches announced so far.
pub fn switches(stage: &Stage) -> Vec<Window> {
    windows::load(&switches_path(stage))
}

/// A small generator for choosing accounts and amounts; not for secrets.
#[derive(Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Seeded from the time and a number that tells connections apart.
    pub fn new(seed: u64) -> Self {
        let time = windows::now_us().unsigned_abs();
        Self {
            state: (time ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1,
        }
    }

    /// A number from `low` to `high`, both included.
    pub fn roll(&mut self, low: i64, high: i64) -> i64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.state % span.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_stay_within_bounds_and_reach_both_ends() {
        let mut dice = Dice::new(7);
        let rolls: Vec<i64> = (0..1000).map(|_| dice.roll(-2, 2)).collect();
        assert_eq!(rolls.iter().min(), Some(&-2));
        assert_eq!(rolls.iter().max(), Some(&2));
    }

    #[test]
    fn reopened_desk_never_reuses_an_id() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            TransferLog::path(dir.path()),
            "I 7 1 1 1 1\nA 7 5 5\nI 9 1 1 1 1\n",
        )
        .unwrap();
        let desk = Desk::open(dir.path()).unwrap();
        assert_eq!(desk.next_id.into_inner(), 10);
    }
}
