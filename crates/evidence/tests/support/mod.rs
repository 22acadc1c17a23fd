//! What the tests of the ledger share.

use serde_json::json;
use yundu_evidence::{Artefact, LogKey, Record};

/// The same key for every test.
pub fn key() -> LogKey {
    LogKey::from_seed("harbour-bank.example/ledger", &[42; 32]).unwrap()
}

/// Record `number`, of a length that varies.
pub fn record(number: u64) -> Record {
    Record {
        id: format!("r-{number}"),
        kind: if number.is_multiple_of(3) {
            "gate.verdict".into()
        } else {
            "volume.event".into()
        },
        subject: "move/core-ledger".into(),
        actor: "node/a".into(),
        at_us: 1_700_000_000_000_000 + number as i64,
        body: json!({"number": number, "note": "渡".repeat((number % 7) as usize)}),
        artefacts: vec![Artefact {
            name: format!("reports/{number}.html"),
            sha256: "ab".repeat(32),
            size_bytes: number,
        }],
    }
}

/// Records of a range of numbers.
pub fn records(range: std::ops::Range<u64>) -> Vec<Record> {
    range.map(record).collect()
}
