//! `yundu estate`, `assess` and `plan` as a user runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/harbour-bank")
}

/// A workspace with an empty store, which is all that these commands need.
fn workspace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("yundu.db"), "").unwrap();
    folder
}

fn yundu(workspace: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_yundu"))
        .arg("-w")
        .arg(workspace)
        .args(arguments)
        .env("YUNDU_LANG", "en")
        .output()
        .unwrap()
}

fn json(workspace: &Path, arguments: &[&str]) -> Value {
    let output = yundu(workspace, &[arguments, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn changes(report: &Value) -> Vec<String> {
    report["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["change"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn importing_twice_changes_nothing_and_is_recorded_once() {
    let workspace = workspace();
    let sample = sample().display().to_string();
    let first = json(workspace.path(), &["estate", "import", &sample]);
    assert!(changes(&first).iter().all(|it| it == "added"));
    let before = json(workspace.path(), &["estate", "show"]);
    let second = json(workspace.path(), &["estate", "import", &sample]);
    assert!(changes(&second).iter().all(|it| it == "unchanged"));
    assert_eq!(json(workspace.path(), &["estate", "show"]), before);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let records = runtime.block_on(async {
        let store = yundu_store::Store::open_file(&workspace.path().join("yundu.db"))
            .await
            .unwrap();
        store
            .read()
            .await
            .unwrap()
            .records_about("estate")
            .await
            .unwrap()
    });
    assert_eq!(records.len(), changes(&first).len());
    assert!(
        records
            .iter()
            .all(|row| row.record.kind == "estate.imported")
    );
}

#[test]
fn a_bad_file_is_refused_with_exit_code_2_and_changes_nothing() {
    let workspace = workspace();
    let good = sample().join("estate.yaml").display().to_string();
    let bad = workspace.path().join("bad.yaml");
    std::fs::write(
        &bad,
        "kind: estate\nversion: 1\nteams:\n  - {id: a, boss: b}\n",
    )
    .unwrap();
    let output = yundu(
        workspace.path(),
        &["estate", "import", &good, &bad.display().to_string()],
    );
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("bad.yaml:4:13: expected one of the fields id, manager, name"),
        "{said}"
    );
    let estate = json(workspace.path(), &["estate", "show"]);
    assert_eq!(estate["documents"], serde_json::json!([]));
}

#[test]
fn a_directory_that_is_no_workspace_is_named_with_exit_code_4() {
    let folder = tempfile::tempdir().unwrap();
    let output = yundu(folder.path(), &["estate", "show"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("yundu init"));
}

#[test]
fn the_ledger_ranks_first_and_the_same_estate_gives_the_same_plan() {
    let workspace = workspace();
    let sample = sample().display().to_string();
    json(workspace.path(), &["estate", "import", &sample]);
    let ranked = json(workspace.path(), &["assess", "--limit", "3"]);
    assert_eq!(ranked.as_array().unwrap().len(), 3);
    assert_eq!(ranked[0]["application"], "core-ledger");
    let plan = json(workspace.path(), &["plan", "--save"]);
    assert_eq!(json(workspace.path(), &["plan"])["digest"], plan["digest"]);
    assert_ne!(
        json(workspace.path(), &["plan", "--capacity", "2"])["digest"],
        plan["digest"]
    );
    assert_eq!(
        yundu(workspace.path(), &["plan", "--capacity", "0"])
            .status
            .code(),
        Some(2)
    );
    let graph = yundu(workspace.path(), &["estate", "graph", "--format", "dot"]);
    assert!(String::from_utf8_lossy(&graph.stdout).contains("\"payment-hub\" -> \"core-ledger\";"));
}
