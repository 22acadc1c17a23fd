//! `yundu ledger` as a person or a script uses it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use yundu_evidence::{Artefact, DirectoryStore, Ledger, LogKey, Record};

fn key() -> LogKey {
    LogKey::from_seed("harbour-bank.example/ledger", &[42; 32]).unwrap()
}

fn record(number: u64) -> Record {
    Record {
        id: format!("r-{number}"),
        kind: if number.is_multiple_of(10) {
            "gate.verdict".into()
        } else {
            "volume.event".into()
        },
        subject: "move/core-ledger".into(),
        actor: "node/a".into(),
        at_us: 1_763_830_800_000_000,
        body: json!({"number": number}),
        artefacts: vec![Artefact {
            name: "report.html".into(),
            sha256: "ab".repeat(32),
            size_bytes: 3,
        }],
    }
}

fn append(ledger: &Path, records: impl Iterator<Item = Record>) -> Ledger<DirectoryStore> {
    let store = DirectoryStore::open(ledger).unwrap();
    let mut ledger = if ledger.join("checkpoint").exists() {
        Ledger::open(store, key()).unwrap().0
    } else {
        Ledger::create(store, key()).unwrap()
    };
    ledger.append(&records.collect::<Vec<_>>()).unwrap();
    ledger
}

/// Exit code, standard output and standard error.
fn yundu_in(lang: &str, workspace: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_yundu"))
        .args(["--lang", lang, "--workspace"])
        .arg(workspace)
        .arg("ledger")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn yundu(workspace: &Path, args: &[&str]) -> (i32, String, String) {
    yundu_in("en", workspace, args)
}

#[test]
fn records_are_shown_newest_or_from_a_place() {
    let workspace = tempfile::tempdir().unwrap();
    let _writer = append(&workspace.path().join("ledger"), (0..700).map(record));
    let shown = |args: &[&str]| -> Vec<u64> {
        let (code, out, err) = yundu(workspace.path(), &[&["show", "--json"], args].concat());
        assert_eq!(code, 0, "{err}");
        let page: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(page["size"], 700);
        page["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["index"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(shown(&["--limit", "3"]), [697, 698, 699]);
    assert_eq!(
        shown(&["--from", "254", "--limit", "4"]),
        [254, 255, 256, 257]
    );
    assert_eq!(
        shown(&["--kind", "gate.verdict", "--limit", "2"]),
        [680, 690]
    );
    assert_eq!(shown(&["--kind", "gate.*", "--limit", "100"]).len(), 70);
    assert_eq!(
        shown(&["--from", "255", "--kind", "gate.verdict", "--limit", "2"]),
        [260, 270]
    );
    assert_eq!(shown(&["--from", "9999"]), [0; 0]);
    let (_, out, _) = yundu(workspace.path(), &["show", "--limit", "1"]);
    let line = "699  2025-11-22T17:00:00Z  volume.event  move/core-ledger  by node/a  [r-699]";
    assert!(out.contains(line), "{out}");
}

#[test]
fn a_proof_travels_as_one_file() {
    let workspace = tempfile::tempdir().unwrap();
    let ledger = workspace.path().join("ledger");
    drop(append(&ledger, (0..300).map(record)));
    let proof = workspace.path().join("proof.json");
    let (path, public) = (proof.to_str().unwrap(), ledger.join("public.key"));
    assert_eq!(
        yundu(workspace.path(), &["prove", "257", "--out", path]).0,
        0
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let check = |key: &str| yundu(elsewhere.path(), &["check-proof", path, "--key", key]);
    let public = public.to_str().unwrap();
    let (code, out, err) = check(public);
    assert!(
        code == 0 && out.contains("entry 257") && out.contains("r-257"),
        "{out}{err}"
    );
    let text = fs::read_to_string(&proof).unwrap();
    fs::write(&proof, text.replace("r-257", "r-258")).unwrap();
    let (code, _, err) = check(key().verifier_key().text());
    assert!(code == 3 && err.contains("proves nothing"), "{err}");
    fs::write(&proof, "{}").unwrap();
    assert_eq!(check(public).0, 2);
    assert_eq!(yundu(workspace.path(), &["prove", "300"]).0, 2);
    assert_eq!(yundu(elsewhere.path(), &["show"]).0, 2);
}

#[test]
fn verification_names_what_was_altered_and_exits_with_3() {
    let workspace = tempfile::tempdir().unwrap();
    let ledger = workspace.path().join("ledger");
    drop(append(&ledger, (0..300).map(record)));
    let (code, kept, _) = yundu(workspace.path(), &["checkpoint"]);
    let file = fs::read(ledger.join("checkpoint")).unwrap();
    assert_eq!(
        (code, kept.as_bytes()),
        (0, file.as_slice()),
        "byte for byte"
    );
    let kept_file = workspace.path().join("kept");
    fs::write(&kept_file, &kept).unwrap();
    let kept_file = kept_file.to_str().unwrap();
    // A writer holds the ledger open meanwhile.
    let writer = append(&ledger, (300..310).map(record));
    let (code, out, err) = yundu(workspace.path(), &["verify", "--kept", kept_file]);
    assert!(code == 0 && out.contains("310 entries"), "{out}{err}");
    assert!(out.contains("first 300 entries"), "{out}");
    drop(writer);

    let bundle = ledger.join("tile/entries/000");
    let bytes = fs::read(&bundle).unwrap();
    let mut altered = bytes.clone();
    let place = altered
        .windows(7)
        .position(|window| window == b"\"r-123\"")
        .unwrap();
    altered[place + 3] = b'9';
    fs::write(&bundle, altered).unwrap();
    let (code, out, err) = yundu(workspace.path(), &["verify"]);
    let finding = "entry 123 altered (tile/entries/000, record r-923)";
    assert!(code == 3 && out.contains(finding), "{out}{err}");
    let (code, out, _) = yundu_in("zh", workspace.path(), &["verify"]);
    assert!(
        code == 3 && out.contains("条目 123") && out.contains("被篡改"),
        "{out}"
    );
    let (code, out, _) = yundu(workspace.path(), &["verify", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["verified"]), (3, &json!(false)));
    assert_eq!(report["problems"][0]["index"], 123);
    fs::write(&bundle, bytes).unwrap();

    // The administrator rewrites history and signs it with the real key.
    fs::remove_dir_all(&ledger).unwrap();
    let rewritten = (0..310).map(|number| record(if number == 42 { 4242 } else { number }));
    drop(append(&ledger, rewritten));
    assert_eq!(yundu(workspace.path(), &["verify"]).0, 0);
    let (code, out, _) = yundu(workspace.path(), &["verify", "--kept", kept_file]);
    assert!(code == 3 && out.contains("history was rewritten"), "{out}");

    let stranger = LogKey::from_seed("harbour-bank.example/ledger", &[1; 32]).unwrap();
    let stranger = stranger.verifier_key().text();
    let (code, out, _) = yundu(workspace.path(), &["verify", "--key", stranger]);
    assert!(code == 3 && out.contains("checkpoint altered"), "{out}");
    assert!(out.contains("public.key is not"), "{out}");
    assert_eq!(
        yundu(workspace.path(), &["verify", "--key", "nonsense"]).0,
        2
    );
}
