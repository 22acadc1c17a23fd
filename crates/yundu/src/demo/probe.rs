//! The stall probe: a client of the volume in its own right, which writes and reads one block
//! after another at the end of the volume and notes how long each request waited. It is the
//! client's view: whatever holds requests back, anywhere on the way, is in it.

use super::nbd;
use super::stage::{PROBE_BYTES, VOLUME_BYTES};
use super::windows::{Window, now_us};
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 4096;
const BLOCKS: u64 = PROBE_BYTES / BLOCK_BYTES as u64;
const PACE: Duration = Duration::from_millis(2);

/// Where the probe's record is kept.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("probe.log")
}

/// Probes the volume served at `address` until `stop` holds, appending to the record in `dir`.
///
/// # Errors
/// When a block read back is not the one written, the server answers with an error, or nobody
/// answers for a minute.
pub fn probe(address: &str, dir: &Path, stop: impl Fn() -> bool) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let record = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path(dir))?;
    let mut client = nbd::connect(address)?;
    let mut turn = 0_u64;
    let mut lines = String::new();
    while !stop() {
        let offset = VOLUME_BYTES - PROBE_BYTES + (turn % BLOCKS) * BLOCK_BYTES as u64;
        let block = bytes::Bytes::from(block(turn));
        let wrote = timed(&mut lines, 'W', || Ok(client.write(offset, block.clone())?));
        let outcome = wrote.and_then(|()| {
            std::thread::sleep(PACE);
            let back = timed(&mut lines, 'R', || {
                Ok(client.read(offset, BLOCK_BYTES as u32)?)
            })?;
            if back == block {
                Ok(())
            } else {
                bail!("the block read back at {offset} is not the one written (turn {turn})")
            }
        });
        if let Err(error) = &outcome {
            let _ = writeln!(lines, "E {} {error:#}", now_us());
        }
        (&record).write_all(lines.as_bytes())?;
        lines.clear();
        outcome?;
        turn += 1;
        std::thread::sleep(PACE);
    }
    Ok(())
}

/// Runs one request and notes its beginning and its wait.
fn timed<T>(lines: &mut String, kind: char, request: impl FnOnce() -> Result<T>) -> Result<T> {
    let begin_us = now_us();
    let begin = Instant::now();
    let outcome = request();
    if outcome.is_ok() {
        let _ = writeln!(lines, "{kind} {begin_us} {}", begin.elapsed().as_micros());
    }
    outcome
}

/// A block that is different at every turn, everywhere.
fn block(turn: u64) -> Vec<u8> {
    let mut state = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(BLOCK_BYTES / 8).flatten().collect()
}

/// What the probe found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Waits {
    /// Requests answered.
    pub requests: u64,
    /// Longest wait outside the windows, µs.
    pub stall_us_max: i64,
    /// When that one began, Unix µs.
    pub stall_at_us: i64,
    /// Longest wait of a request that touched a window (a link fault), µs.
    pub fault_wait_us_max: i64,
    /// 99.9 % of the requests outside the windows waited no longer, µs.
    pub wait_us_p999: i64,
    /// Errors and wrong blocks.
    pub errors: Vec<String>,
}

/// Reads the record in `dir`; requests that touch one of `faults` are kept apart, and only those
/// that began at or after `since_us` count.
///
/// # Errors
/// When the record cannot be read.
pub fn waits(dir: &Path, faults: &[Window], since_us: i64) -> Result<Waits> {
    let path = path(dir);
    let file = File::open(&path).with_context(|| format!("no probe record {}", path.display()))?;
    let mut found = Waits::default();
    let mut quiet = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line?;
        if let Some(error) = line.strip_prefix("E ") {
            found.errors.push(error.to_owned());
            continue;
        }
        let mut fields = line.split(' ').skip(1).map(str::parse::<i64>);
        let (Some(Ok(begin_us)), Some(Ok(wait_us))) = (fields.next(), fields.next()) else {
            continue;
        };
        if begin_us < since_us {
            continue;
        }
        found.requests += 1;
        if faults
            .iter()
            .any(|fault| fault.touches(begin_us, begin_us + wait_us))
        {
            found.fault_wait_us_max = found.fault_wait_us_max.max(wait_us);
            continue;
        }
        quiet.push(wait_us);
        if wait_us > found.stall_us_max {
            found.stall_us_max = wait_us;
            found.stall_at_us = begin_us;
        }
    }
    quiet.sort_unstable();
    found.wait_us_p999 = quiet.get(quiet.len() * 999 / 1000).copied().unwrap_or(0);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_wait_outside_the_faults_is_the_stall() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path()), "W 100 5\nR 200 40\nW 300 900\nR 2000 7\n").unwrap();
        let fault = Window {
            name: "hang".into(),
            begin_us: 1000,
            end_us: 1500,
        };
        let found = waits(dir.path(), &[fault], 0).unwrap();
        assert_eq!((found.stall_us_max, found.stall_at_us), (40, 200));
        assert_eq!(found.fault_wait_us_max, 900);
        assert_eq!(found.requests, 4);
    }

    #[test]
    fn blocks_of_neighbouring_turns_differ() {
        assert_ne!(block(1), block(2));
        assert_ne!(block(0), block(BLOCKS));
    }
}
