//! Benchmarks beside the best tools of their kind, in the same run and taking turns, so that a
//! noisy machine is noisy for both. Each writes `target/bench/NAME.json` and prints what it found;
//! a figure that misses its goal is printed like any other.
//!
//! - [`copy`]: a volume of alternating noise and holes, server to server
//! - [`latency`]: 4 KiB random writes, plain and mirrored
//! - [`cutover`]: how long a change of primary takes, and what the clients feel of it
//! - [`ours`], [`peers`]: the servers under test; [`process`]: their life and their CPU time
//! - [`fio`], [`foreground`]: load
//! - [`sample`]: images; [`report`]: figures

mod copy;
mod cutover;
mod fio;
mod foreground;
mod latency;
mod ours;
mod peers;
mod process;
mod report;
mod sample;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};

/// Begins the name of a work folder; the process that made it follows.
const WORK_PREFIX: &str = "yundu-bench-";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Copy of a 4 GiB image, half holes, beside nbdcopy and qemu-img
    Copy,
    /// 4 KiB random writes, plain beside nbdkit and qemu-nbd, mirrored beside qemu-storage-daemon
    Latency,
    /// Cut-over beside block-job-complete of qemu-storage-daemon
    Cutover,
}

/// Measures Yundu beside its peers.
#[derive(Parser, Debug)]
#[command(
    after_help = "Examples:\n  yundu-bench\n  yundu-bench copy latency --tmpfs\n  yundu-bench cutover --cuts 10"
)]
pub struct Settings {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    benches: Vec<Bench>,
    /// Folder for images; kept small and emptied afterwards
    #[arg(long, default_value = "target/bench/work")]
    dir: PathBuf,
    /// Put the images into memory (/dev/shm) instead
    #[arg(long)]
    tmpfs: bool,
    /// Folder for the results
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
    /// The yundu binary [default: beside this program]
    #[arg(long)]
    yundu: Option<PathBuf>,
    /// Rounds in which each candidate has one turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Size of the image to copy, MiB
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u64).range(128..=65_536))]
    copy_mib: u64,
    /// Length of one turn of the latency bench, ms
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    turn_ms: u64,
    /// Cut-overs of each candidate
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=1000))]
    cuts: u32,
}

/// A run: settings made concrete.
pub struct Run {
    settings: Settings,
    work: PathBuf,
    yundu: PathBuf,
    filesystem: &'static str,
}

fn main() -> Result<()> {
    let settings = Settings::parse();
    let own = format!("{WORK_PREFIX}{}", std::process::id());
    let parent = if settings.tmpfs {
        PathBuf::from("/dev/shm")
    } else {
        settings.dir.clone()
    };
    remove_leftovers(&parent);
    let work = parent.join(own);
    std::fs::create_dir_all(&work)
        .with_context(|| format!("cannot make the work folder {}", work.display()))?;
    let work = work.canonicalize()?;
    let outcome = measure(settings, work.clone());
    let removed = std::fs::remove_dir_all(&work);
    outcome?;
    removed.with_context(|| format!("cannot remove {}", work.display()))
}

/// Removes the work folders of runs that were killed.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(WORK_PREFIX));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another run may be faster.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn measure(settings: Settings, work: PathBuf) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("yundu");
    let yundu = settings.yundu.clone().unwrap_or(beside);
    if !yundu.exists() {
        bail!(
            "{} does not exist: `cargo build -p yundu`, or name it by --yundu",
            yundu.display()
        );
    }
    let filesystem = if settings.tmpfs { "tmpfs" } else { "disk" };
    let run = Run {
        settings,
        work,
        yundu,
        filesystem,
    };
    let all = [Bench::Copy, Bench::Latency, Bench::Cutover];
    let named = run.settings.benches.clone();
    for bench in if named.is_empty() {
        all.to_vec()
    } else {
        named
    } {
        let report = match bench {
            Bench::Copy => copy::measure(&run)?,
            Bench::Latency => latency::measure(&run)?,
            Bench::Cutover => cutover::measure(&run)?,
        };
        report.publish(&run.settings.output)?;
    }
    Ok(())
}
