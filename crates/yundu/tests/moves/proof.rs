//! What must hold once a move is finished.

use crate::house::{House, MOVE};
use crate::ledger::assert_all_present;
use crate::pair::Side;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use yundu_replicate::control::Role;
use yundu_store::Store;

/// The signed checkpoint as it is now, kept by somebody else.
pub fn keep_checkpoint(house: &House) -> PathBuf {
    let kept = house.path("kept.checkpoint");
    std::fs::write(&kept, house.done(&["ledger", "checkpoint"]).out).unwrap();
    kept
}

/// All records of the ledger.
pub fn records(house: &House) -> Vec<Value> {
    let words = [
        "ledger", "show", "--from", "0", "--limit", "100000", "--json",
    ];
    let shown = house.done(&words).json();
    let records = shown["records"].as_array().unwrap();
    assert_eq!(shown["size"].as_u64().unwrap(), records.len() as u64);
    records.iter().map(|it| it["record"].clone()).collect()
}

/// Where the application was switched to, one after the other.
pub fn switches(house: &House) -> Vec<String> {
    let log = std::fs::read_to_string(house.path("switches.log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// The target is primary, the source follows, and both hold every acknowledged write.
pub fn assert_moved(house: &House, versions: &[u64]) {
    let pair = &house.pair;
    let target = pair.wait_in_step(Side::Target);
    assert_eq!(target.role, Role::Primary);
    assert_eq!(pair.status(Side::Source).role, Role::Secondary);
    assert_eq!(
        (target.client_errors, target.rpo_us),
        (0, Some(0)),
        "{target:?}"
    );
    assert!(versions.iter().any(|version| *version > 0));
    assert_all_present(pair, Side::Source, versions);
    assert_all_present(pair, Side::Target, versions);
    pair.assert_same();
}

/// The ledger verifies against the kept checkpoint, and nothing is on its way to it; its records.
pub fn assert_ledger_verifies(house: &House, kept: &Path) -> Vec<Value> {
    let words = [
        "ledger",
        "verify",
        "--kept",
        kept.to_str().unwrap(),
        "--json",
    ];
    let verdict = house.done(&words).json();
    assert_eq!(verdict["verified"], true, "{verdict}");
    assert!(verdict["kept_size"].as_u64() > Some(0), "{verdict}");
    assert!(
        verdict["kept_size"].as_u64() < verdict["size"].as_u64(),
        "{verdict}"
    );
    let records = records(house);
    let ids: BTreeSet<&str> = records
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), records.len(), "no record stands there twice");
    assert_outbox_empty(house);
    records
}

/// The ledger verifies, and tells of each step and each cut once.
pub fn assert_ledger(house: &House, kept: &Path) {
    let records = assert_ledger_verifies(house, kept);
    let of_kind = |kind: &str| -> Vec<&Value> {
        let fits = |it: &&Value| it["kind"] == kind && it["subject"] == MOVE;
        records.iter().filter(fits).collect()
    };
    assert_steps_once(house, &of_kind("step.intended"), &of_kind("step.done"));
    for kind in [
        "drill.rehearsed",
        "cutover.done",
        "switch.done",
        "move.done",
    ] {
        assert_eq!(of_kind(kind).len(), 1, "{kind}: {:?}", of_kind(kind));
    }
    assert_cuts_once(&of_kind("volume.handover"));
    for compared in of_kind("volume.compared") {
        assert_eq!(compared["body"]["equal"], true, "{compared}");
    }
}

/// Each step was done once, after it was intended.
fn assert_steps_once(house: &House, intended: &[&Value], done: &[&Value]) {
    let step = |record: &Value| record["body"]["step"].as_str().unwrap().to_owned();
    let attempt = |record: &Value| (step(record), record["body"]["attempt"].as_u64().unwrap());
    let status = house.status();
    let expected: Vec<String> = status["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect();
    let steps: Vec<String> = done.iter().map(|it| step(it)).collect();
    assert_eq!(steps, expected, "every step once, in order");
    let begun: Vec<_> = intended.iter().map(|it| attempt(it)).collect();
    let distinct: BTreeSet<_> = begun.iter().cloned().collect();
    assert_eq!(
        distinct.len(),
        begun.len(),
        "an attempt is intended once: {begun:?}"
    );
    for record in done {
        assert!(
            distinct.contains(&attempt(record)),
            "{record} was never intended"
        );
    }
}

/// A cut has one generation, and a generation one cut.
fn assert_cuts_once(handovers: &[&Value]) {
    let mut generations: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for record in handovers {
        let generation = record["body"]["generation"].as_u64().unwrap();
        let cut = record["body"]["id"].as_str().unwrap();
        generations.entry(cut).or_default().insert(generation);
    }
    assert!(
        generations.len() >= 3,
        "there, back, and there for good: {generations:?}"
    );
    assert!(
        generations.values().all(|it| it.len() == 1),
        "{generations:?}"
    );
    let distinct: BTreeSet<u64> = generations.values().flatten().copied().collect();
    assert_eq!(distinct.len(), generations.len(), "{generations:?}");
}

/// Every record is in the ledger, and the database knows where.
fn assert_outbox_empty(house: &House) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open_file(&house.path("workspace").join("yundu.db"))
            .await
            .unwrap();
        let rows = store
            .read()
            .await
            .unwrap()
            .records_about(MOVE)
            .await
            .unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            assert!(row.ledger_index.is_some(), "left in the outbox: {row:?}");
        }
        store.close().await;
    });
}
