//! Random writes of 4 KiB by fio over loopback TCP: to a plain export beside nbdkit and qemu-nbd,
//! and to a synchronously mirrored one beside qemu-storage-daemon. Every server lives through all
//! rounds; only the one whose turn it is has load.

use crate::fio::{Load, random_writes};
use crate::ours::Volume;
use crate::peers::{self, NbdServer, StorageDaemon};
use crate::process::{Server, is_installed};
use crate::report::{Comparison, Goal, OURS, Report, Samples};
use crate::{Run, sample};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Small enough that memory holds it, large enough that writes rarely meet.
const IMAGE_BYTES: u64 = 256 << 20;
const DEPTHS: [u32; 2] = [1, 16];

/// A server under load: its name, its URI, and the processes whose CPU time counts.
struct Candidate<'a> {
    name: &'static str,
    uri: String,
    servers: Vec<&'a Server>,
}

/// Figures of one set of candidates at one depth.
#[derive(Default)]
struct Figures {
    iops: Samples,
    p50_ns: Samples,
    p99_ns: Samples,
    cpu_ns: Samples,
}

/// Runs the bench.
pub fn measure(run: &Run) -> Result<Report> {
    if !is_installed("fio") {
        bail!("fio is not installed: the latency bench needs it, with its nbd engine");
    }
    let mut comparisons = Vec::new();
    plain(run, &mut comparisons)?;
    mirrored(run, &mut comparisons)?;
    Report::new("latency", run.filesystem, comparisons, BTreeMap::new())
}

fn plain(run: &Run, comparisons: &mut Vec<Comparison>) -> Result<()> {
    let ours = Volume::serve(run, &image(run, "plain-ours.img")?)?;
    let mut others = Vec::new();
    if is_installed("nbdkit") {
        let image = image(run, "plain-nbdkit.img")?;
        others.push(("nbdkit file", peers::nbdkit(run, &image)?));
    }
    if is_installed("qemu-nbd") {
        let image = image(run, "plain-qemu.img")?;
        others.push(("qemu-nbd", peers::qemu_nbd(run, &image, false)?));
    }
    let mut candidates = vec![candidate(OURS, ours.uri(), vec![&ours.server])];
    candidates.extend(others.iter().map(|(name, peer)| of_peer(name, peer)));
    for depth in DEPTHS {
        let figures = rounds(run, &candidates, depth, false)?;
        let title = |what: &str| format!("plain write, depth {depth}, {what}");
        comparisons.extend([
            Comparison::new(&title("rate"), "1/s", Goal::AtLeast(950), figures.iops)?,
            Comparison::new(&title("p50"), "ns", Goal::AtMost(1050), figures.p50_ns)?,
            Comparison::new(&title("p99"), "ns", Goal::AtMost(1050), figures.p99_ns)?,
            Comparison::new(&title("CPU each"), "ns", Goal::AtMost(800), figures.cpu_ns)?,
        ]);
    }
    let figures = rounds(run, &candidates, 1, true)?;
    let title = "plain write and flush, rate";
    comparisons.push(Comparison::new(
        title,
        "1/s",
        Goal::AtLeast(1200),
        figures.iops,
    )?);
    Ok(())
}

fn mirrored(run: &Run, comparisons: &mut Vec<Comparison>) -> Result<()> {
    if !is_installed("qemu-storage-daemon") || !is_installed("qemu-nbd") {
        bail!("qemu-storage-daemon and qemu-nbd are needed beside the mirrored volume");
    }
    let ours = Volume::serve(run, &image(run, "mirror-ours.img")?)?;
    let copy = Volume::receive(run, &run.work.join("mirror-ours-copy.img"))?;
    ours.replicate_to(&copy)?;
    let mut daemon = StorageDaemon::start(run, &image(run, "mirror-qemu.img")?)?;
    let target = run.work.join("mirror-qemu-copy.img");
    sample::write_empty(&target, IMAGE_BYTES)?;
    let target = peers::qemu_nbd(run, &target, false)?;
    daemon.add_target(&target)?;
    daemon.mirror("source", "target", "full")?;
    sample::settle(&run.work)?;
    let candidates = [
        candidate(OURS, ours.uri(), vec![&ours.server, &copy.server]),
        Candidate {
            name: "qemu-storage-daemon",
            uri: daemon.nbd.uri.clone(),
            servers: vec![&daemon.nbd.server, &target.server],
        },
    ];
    for depth in DEPTHS {
        let figures = rounds(run, &candidates, depth, false)?;
        let title = |what: &str| format!("mirrored write, depth {depth}, {what}");
        // At depth 1 the wait counts, at depth 16 what gets through.
        let (rate, p50) = if depth == 1 { (1170, 850) } else { (3000, 330) };
        comparisons.extend([
            Comparison::new(&title("rate"), "1/s", Goal::AtLeast(rate), figures.iops)?,
            Comparison::new(&title("p50"), "ns", Goal::AtMost(p50), figures.p50_ns)?,
            Comparison::new(&title("p99"), "ns", Goal::AtMost(1000), figures.p99_ns)?,
            Comparison::new(&title("CPU each"), "ns", Goal::AtMost(1000), figures.cpu_ns)?,
        ]);
    }
    Ok(())
}

fn candidate<'a>(name: &'static str, uri: String, servers: Vec<&'a Server>) -> Candidate<'a> {
    Candidate { name, uri, servers }
}

fn of_peer<'a>(name: &'static str, peer: &'a NbdServer) -> Candidate<'a> {
    candidate(name, peer.uri.clone(), vec![&peer.server])
}

fn image(run: &Run, name: &str) -> Result<PathBuf> {
    let path = run.work.join(name);
    sample::write_noise(&path, IMAGE_BYTES)?;
    Ok(path)
}

/// Every candidate has one turn in each round, in changing order.
fn rounds(run: &Run, candidates: &[Candidate<'_>], depth: u32, flushed: bool) -> Result<Figures> {
    let mut figures = Figures::default();
    for round in 0..run.settings.rounds as usize {
        for turn in 0..candidates.len() {
            let turn = (turn + round) % candidates.len();
            let Some(candidate) = candidates.get(turn) else {
                continue;
            };
            sample::settle(&run.work)?;
            let (load, cpu_us) = load(run, candidate, depth, flushed)?;
            figures.iops.add(candidate.name, load.iops);
            figures.p50_ns.add(candidate.name, load.p50_ns);
            figures.p99_ns.add(candidate.name, load.p99_ns);
            figures
                .cpu_ns
                .add(candidate.name, cpu_us * 1000 / load.writes.max(1));
        }
    }
    Ok(figures)
}

/// One turn, with the CPU time that the servers used for it, µs.
fn load(run: &Run, candidate: &Candidate<'_>, depth: u32, flushed: bool) -> Result<(Load, u64)> {
    let cpu_us = || {
        candidate
            .servers
            .iter()
            .map(|server| server.cpu_us())
            .sum::<Result<u64>>()
    };
    let before = cpu_us()?;
    let load = random_writes(run, &candidate.uri, depth, flushed)?;
    Ok((load, cpu_us()? - before))
}
