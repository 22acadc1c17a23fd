//! Load by fio over its NBD engine.

use crate::Run;
use crate::process;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::process::Command;

/// What one run of fio found.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Writes per second.
    pub iops: u64,
    /// Writes in all.
    pub writes: u64,
    /// Half of the writes were done within, ns.
    pub p50_ns: u64,
    /// 99 of 100 writes were done within, ns.
    pub p99_ns: u64,
}

/// Random writes of 4 KiB for as long as one turn lasts, with `depth` of them in flight; a flush
/// after each where `flushed`.
pub fn random_writes(run: &Run, uri: &str, depth: u32, flushed: bool) -> Result<Load> {
    let path = run.work.join("fio.json");
    let mut command = Command::new("fio");
    command.args([
        "--name=load",
        "--ioengine=nbd",
        "--rw=randwrite",
        "--bs=4k",
        "--thread",
    ]);
    command.args([
        "--time_based",
        "--randrepeat=0",
        "--norandommap",
        "--output-format=json",
    ]);
    command
        .arg(format!("--uri={uri}"))
        .arg(format!("--iodepth={depth}"));
    command.arg(format!("--runtime={}ms", run.settings.turn_ms));
    command.arg(format!("--output={}", path.display()));
    if flushed {
        command.arg("--fsync=1");
    }
    process::run(&mut command)?;
    let text = std::fs::read_to_string(&path)?;
    // Messages of the engine may stand before the document.
    let json = text.get(text.find('{').unwrap_or(0)..).unwrap_or_default();
    let document: Value = serde_json::from_str(json).context("unexpected output of fio")?;
    let field = |pointer: &str| {
        let value = document.pointer(&format!("/jobs/0/write/{pointer}"));
        let value = value.and_then(Value::as_f64);
        value
            .map(|value| value as u64)
            .with_context(|| format!("fio did not tell {pointer}"))
    };
    Ok(Load {
        iops: field("iops")?,
        writes: field("total_ios")?,
        p50_ns: field("clat_ns/percentile/50.000000")?,
        p99_ns: field("clat_ns/percentile/99.000000")?,
    })
}
