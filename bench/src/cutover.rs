//! Cut-over under load: a client writes 4 KiB blocks one after another while the primary role moves
//! to the other side and back. Ours: control request to reply, which holds two durable generation
//! records. Peer: `block-job-complete` of a write-blocking mirror to its event.

use crate::foreground::{Foreground, worst_us};
use crate::ours::{self, EXPORT, Volume};
use crate::peers::{self, StorageDaemon};
use crate::process::{elapsed_us, is_installed};
use crate::report::{Comparison, Goal, OURS, Report, Samples};
use crate::{Run, sample};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const IMAGE_BYTES: u64 = 64 << 20;
/// What follows a cut within this time counts as around it.
const AROUND: Duration = Duration::from_millis(20);
/// Cuts that one candidate does before it is the other's turn.
const BATCH: u32 = 10;
const PEER: &str = "qemu-storage-daemon";

/// What one cut took, and when.
struct Cut {
    from: Instant,
    to: Instant,
    took_us: u64,
}

/// Runs the bench.
pub fn measure(run: &Run) -> Result<Report> {
    if !is_installed("qemu-storage-daemon") || !is_installed("qemu-nbd") {
        bail!("qemu-storage-daemon and qemu-nbd are needed beside our cut-over");
    }
    let source = run.work.join("cut-ours.img");
    sample::write_noise(&source, IMAGE_BYTES)?;
    let serving = Volume::serve(run, &source)?;
    let receiving = Volume::receive(run, &run.work.join("cut-ours-copy.img"))?;
    serving.replicate_to(&receiving)?;

    let (image, copy) = (
        run.work.join("cut-qemu.img"),
        run.work.join("cut-qemu-copy.img"),
    );
    sample::write_noise(&image, IMAGE_BYTES)?;
    sample::write_empty(&copy, IMAGE_BYTES)?;
    let mut daemon = StorageDaemon::start(run, &image)?;
    let target = peers::qemu_nbd(run, &copy, false)?;
    daemon.add_target(&target)?;
    daemon.mirror("source", "target", "full")?;

    let (mut took, mut worst) = (Samples::default(), Samples::default());
    let mut done = 0;
    while done < run.settings.cuts {
        let batch = done..(done + BATCH).min(run.settings.cuts);
        sample::settle(&run.work)?;
        let load = Foreground::start(serving.port, EXPORT)?;
        let cuts = batch
            .clone()
            .map(|index| ours(run, &serving, index))
            .collect::<Result<_>>()?;
        gather(OURS, cuts, load, &mut took, &mut worst)?;

        let load = Foreground::start(daemon.nbd.port, EXPORT)?;
        let cuts = batch
            .clone()
            .map(|index| peer(&mut daemon, index))
            .collect::<Result<_>>()?;
        gather(PEER, cuts, load, &mut took, &mut worst)?;
        done = batch.end;
    }
    let comparisons = vec![
        Comparison::new("cut-over, request to reply", "µs", Goal::AtMost(300), took)?,
        Comparison::new(
            "worst write around a cut-over",
            "µs",
            Goal::AtMost(500),
            worst,
        )?,
    ];
    Report::new("cutover", run.filesystem, comparisons, BTreeMap::new())
}

/// Ends the load of a batch and adds its figures.
fn gather(
    name: &str,
    cuts: Vec<Cut>,
    load: Foreground,
    took: &mut Samples,
    worst: &mut Samples,
) -> Result<()> {
    let waits = load.stop()?;
    for cut in cuts {
        took.add(name, cut.took_us);
        worst.add(name, worst_us(&waits, cut.from, cut.to));
    }
    Ok(())
}

/// There with even numbers, back with odd ones; the client stays where it is.
fn ours(run: &Run, serving: &Volume, index: u32) -> Result<Cut> {
    let mut control = serving.control()?;
    ours::wait_in_step(&mut control)?;
    ours::wait_digest(&mut control)?;
    std::thread::sleep(AROUND);
    let id = format!("bench-{}-{index}", run.work.display());
    let from = Instant::now();
    let took_us = ours::cut(&mut control, id, index % 2 == 1)?;
    std::thread::sleep(AROUND);
    Ok(Cut {
        from,
        to: Instant::now(),
        took_us,
    })
}

/// Completes the mirror, then mirrors the other way for the next cut.
fn peer(daemon: &mut StorageDaemon, index: u32) -> Result<Cut> {
    std::thread::sleep(AROUND);
    let from = Instant::now();
    daemon.complete()?;
    let took_us = elapsed_us(from);
    std::thread::sleep(AROUND);
    let to = Instant::now();
    let (source, target) = if index.is_multiple_of(2) {
        ("target", "source")
    } else {
        ("source", "target")
    };
    // Full, since nothing is mirrored between the end of one job and the start of the next.
    daemon.mirror(source, target, "full")?;
    Ok(Cut { from, to, took_us })
}
