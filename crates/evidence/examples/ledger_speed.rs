//! Measures durable appends and full verification: `cargo run --release -p yundu-evidence
//! --example ledger_speed -- [RECORDS_PER_BATCH] [ENTRIES_TO_VERIFY]`. Writes below the
//! temporary directory, on whatever disk that is, and removes what it wrote.

use std::error::Error;
use std::time::{Duration, Instant};
use yundu_evidence::{DirectoryStore, Ledger, LogKey, Record, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let batch: u64 = args.next().map_or(Ok(100), |text| text.parse())?;
    let entries: u64 = args.next().map_or(Ok(100_000), |text| text.parse())?;
    let directory = std::env::temp_dir().join(format!("ledger-speed-{}", std::process::id()));
    let key = LogKey::generate("bench.example/ledger")?;
    let verifier_key = key.verifier_key().clone();
    let mut ledger = Ledger::create(DirectoryStore::open(&directory)?, key)?;

    let mut latencies = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        let records: Vec<Record> = (0..batch).map(|n| record(ledger.size() + n)).collect();
        let start = Instant::now();
        ledger.append(&records)?;
        latencies.push(start.elapsed().as_micros());
    }
    let per_second = u128::from(ledger.size()) * 1_000_000 / begin.elapsed().as_micros();
    latencies.sort_unstable();
    let middle = latencies
        .get(latencies.len() / 2)
        .copied()
        .unwrap_or_default();
    println!("append: {per_second} records/s durable in batches of {batch}, median {middle} us");

    while ledger.size() < entries {
        let count = (entries - ledger.size()).min(16_384);
        let records: Vec<Record> = (0..count).map(|n| record(ledger.size() + n)).collect();
        ledger.append(&records)?;
    }
    let start = Instant::now();
    let report = verify(ledger.store(), &verifier_key, None)?;
    let elapsed_ms = start.elapsed().as_millis();
    println!(
        "verify: {} entries in {elapsed_ms} ms, verified {}",
        report.size, report.verified
    );
    let (store, start) = (DirectoryStore::open_read_only(&directory)?, Instant::now());
    drop(ledger);
    yundu_evidence::Reader::open(store, &verifier_key)?.prove(entries / 2)?;
    println!("prove: {} us", start.elapsed().as_micros());
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn record(number: u64) -> Record {
    Record {
        id: format!("bench-{number:012}"),
        kind: "volume.event".to_owned(),
        subject: "volume/core-ledger".to_owned(),
        actor: "node/site-a".to_owned(),
        at_us: 1_763_830_800_000_000,
        body: serde_json::json!({"sequence": number, "event": "flushed", "bytes": 4096, "epoch": 7}),
        artefacts: Vec::new(),
    }
}
