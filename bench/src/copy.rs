//! Copy of a volume, server to server over loopback TCP, until it is durable on the other side.
//!
//! Ours: `yundu volume replicate` from request until in step. Peers: nbdcopy and `qemu-img convert`
//! between two qemu-nbd, both told that the target is empty, both with a flush at the end. CPU time
//! counts the servers on both sides and the copying program.

use crate::ours::Volume;
use crate::process::{Finished, elapsed_us, is_installed, run as run_program};
use crate::report::{Comparison, Goal, OURS, Report, Samples};
use crate::{Run, peers, sample};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

type Candidate = (&'static str, fn(&Run, &Path, &Path) -> Result<Copied>);

/// One copy.
struct Copied {
    finished: Finished,
    resident_bytes_max: Option<u64>,
}

/// Runs the bench.
pub fn measure(run: &Run) -> Result<Report> {
    let source = run.work.join("source.img");
    let target = run.work.join("target.img");
    sample::write_half_holes(&source, run.settings.copy_mib << 20)?;
    let mut candidates: Vec<Candidate> = vec![(OURS, ours)];
    if is_installed("nbdcopy") && is_installed("qemu-nbd") {
        candidates.push(("nbdcopy", nbdcopy));
    }
    if is_installed("qemu-img") && is_installed("qemu-nbd") {
        candidates.push(("qemu-img convert", qemu_img));
    }
    if candidates.len() == 1 {
        bail!("no peer is installed: nbdcopy (libnbd-bin), qemu-img and qemu-nbd (qemu-utils)");
    }
    let (mut wall, mut cpu) = (Samples::default(), Samples::default());
    let mut measured = BTreeMap::<String, Vec<u64>>::new();
    // The first round warms caches and is checked instead of counted.
    for round in 0..=run.settings.rounds {
        for turn in 0..candidates.len() {
            let turn = (turn + round as usize) % candidates.len();
            let Some((name, copy)) = candidates.get(turn) else {
                continue;
            };
            sample::settle(&run.work)?;
            let copied = copy(run, &source, &target)?;
            if round == 0 {
                sample::check_same(&source, &target)?;
            } else {
                wall.add(name, copied.finished.wall_us);
                cpu.add(name, copied.finished.cpu_us);
                if let Some(bytes) = copied.resident_bytes_max {
                    let key = "resident memory of one side [bytes]".to_owned();
                    measured.entry(key).or_default().push(bytes);
                }
            }
            std::fs::remove_file(&target)?;
        }
    }
    std::fs::remove_file(&source)?;
    let comparisons = vec![
        Comparison::new("copy, wall time", "µs", Goal::AtMost(600), wall)?,
        Comparison::new("copy, CPU time", "µs", Goal::AtMost(700), cpu)?,
    ];
    Report::new("copy", run.filesystem, comparisons, measured)
}

fn ours(run: &Run, source: &Path, target: &Path) -> Result<Copied> {
    let serving = Volume::serve(run, source)?;
    let receiving = Volume::receive(run, target)?;
    let before = serving.server.cpu_us()? + receiving.server.cpu_us()?;
    let begun = Instant::now();
    serving.replicate_to(&receiving)?;
    let wall_us = elapsed_us(begun);
    let cpu_us = serving.server.cpu_us()? + receiving.server.cpu_us()? - before;
    let resident = [&serving, &receiving].map(|volume| volume.server.resident_bytes_max());
    let [serving_bytes, receiving_bytes] = resident;
    let resident_bytes_max = Some(serving_bytes?.max(receiving_bytes?));
    Ok(Copied {
        finished: Finished { wall_us, cpu_us },
        resident_bytes_max,
    })
}

fn nbdcopy(run: &Run, source: &Path, target: &Path) -> Result<Copied> {
    between_qemu_nbd(run, source, target, |source, target| {
        let mut command = Command::new("nbdcopy");
        command.args(["--flush", "--destination-is-zero", source, target]);
        command
    })
}

fn qemu_img(run: &Run, source: &Path, target: &Path) -> Result<Copied> {
    between_qemu_nbd(run, source, target, |source, target| {
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-n", "-W", "-m", "16", "--target-is-zero"]);
        command.args(["-f", "raw", "-O", "raw", source, target]);
        command
    })
}

fn between_qemu_nbd(
    run: &Run,
    source: &Path,
    target: &Path,
    command: impl Fn(&str, &str) -> Command,
) -> Result<Copied> {
    sample::write_empty(target, source.metadata()?.len())?;
    let from = peers::qemu_nbd(run, source, true)?;
    let to = peers::qemu_nbd(run, target, false)?;
    let before = from.server.cpu_us()? + to.server.cpu_us()?;
    let client = run_program(&mut command(&from.uri, &to.uri))?;
    let servers = from.server.cpu_us()? + to.server.cpu_us()? - before;
    let finished = Finished {
        cpu_us: client.cpu_us + servers,
        ..client
    };
    Ok(Copied {
        finished,
        resident_bytes_max: None,
    })
}
