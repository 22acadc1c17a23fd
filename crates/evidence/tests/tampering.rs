//! Whatever is altered in a ledger's files is found and named, by this crate and by the
//! program in `docs/verify` that shares no code with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{key, record, records};
use yundu_evidence::tile_store::{Durability, TileFile};
use yundu_evidence::{
    DirectoryStore, Ledger, MemoryStore, Problem, Reader, TileStore, VerifyReport, verify,
};

/// Two full bundles, a partial one, and a tile of level 1.
const SIZE: u64 = 600;

const FILES: [&str; 9] = [
    "checkpoint",
    "public.key",
    "tile/0/000",
    "tile/0/001",
    "tile/0/002.p/88",
    "tile/1/000.p/2",
    "tile/entries/000",
    "tile/entries/001",
    "tile/entries/002.p/88",
];

/// What both verifiers must name when `byte` of `path` is altered.
fn place_of(path: &str, bytes: &[u8], byte: usize) -> String {
    let Some(bundle) = path.strip_prefix("tile/entries/") else {
        return path.to_owned();
    };
    let mut index = bundle[..3].parse::<u64>().unwrap() * 256;
    let mut end = 0;
    loop {
        end += 2 + usize::from(u16::from_be_bytes([bytes[end], bytes[end + 1]]));
        if byte < end {
            return format!("entry {index} altered");
        }
        index += 1;
    }
}

fn named(report: &VerifyReport, place: &str) -> bool {
    report
        .problems
        .iter()
        .any(|problem| problem.to_string().contains(place))
}

fn memory_ledger() -> MemoryStore {
    let store = MemoryStore::new();
    let mut ledger = Ledger::create(store.clone(), key()).unwrap();
    ledger.append(&records(0..100)).unwrap();
    ledger.append(&records(100..SIZE)).unwrap();
    assert_eq!(store.list().unwrap(), FILES);
    store
}

fn put(store: &MemoryStore, path: &str, bytes: Vec<u8>) {
    store
        .write(&[TileFile {
            path: path.into(),
            bytes,
        }])
        .unwrap();
}

#[test]
fn one_altered_byte_is_named_wherever_it_is() {
    let store = memory_ledger();
    for path in FILES {
        let bytes = store.read(path).unwrap().unwrap();
        let step = (bytes.len() / 150).max(1) | 1;
        for byte in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            let mut altered = bytes.clone();
            altered[byte] ^= 1 << (byte % 8);
            put(&store, path, altered);
            let report = verify(&store, key().verifier_key(), None).unwrap();
            let place = place_of(path, &bytes, byte);
            assert!(
                !report.verified && named(&report, &place),
                "{path}:{byte}: {report:?}"
            );
            let others = report
                .problems
                .iter()
                .filter(|problem| !problem.to_string().contains(&place));
            let strange: Vec<_> = others
                .filter(|p| !matches!(p, Problem::FileMalformed { .. }))
                .collect();
            assert!(
                strange.is_empty(),
                "{path}:{byte}: blamed without cause: {strange:?}"
            );
        }
        put(&store, path, bytes);
    }
    assert!(verify(&store, key().verifier_key(), None).unwrap().verified);
}

#[test]
fn two_alterations_are_both_named() {
    let store = memory_ledger();
    let mut bundle = store.read("tile/entries/000").unwrap().unwrap();
    bundle[10] ^= 1;
    put(&store, "tile/entries/000", bundle);
    for tile in ["tile/0/001", "tile/0/002.p/88"] {
        let mut altered = store.read(tile).unwrap().unwrap();
        altered[40] ^= 1;
        put(&store, tile, altered);
    }
    let report = verify(&store, key().verifier_key(), None).unwrap();
    let mut places: Vec<String> = report.problems.iter().map(Problem::to_string).collect();
    places.sort();
    assert_eq!(
        places,
        [
            "entry 0 altered (tile/entries/000)",
            "tile tile/0/001 altered",
            "tile tile/0/002.p/88 altered"
        ]
    );
}

#[test]
fn an_entry_and_its_tile_rewritten_together_are_named() {
    // Someone without the key alters an entry and repairs every tile above it.
    let store = memory_ledger();
    let mut altered = records(0..SIZE);
    altered[300].actor = "nobody".into();
    let forged = MemoryStore::new();
    Ledger::create(forged.clone(), key())
        .unwrap()
        .append(&altered)
        .unwrap();
    for (path, place) in [
        (
            "tile/entries/001",
            "entry 300 altered (tile/entries/001, record r-300)",
        ),
        (
            "tile/0/001",
            "entries 256 to 511 rewritten together with tile/0/001",
        ),
        ("tile/1/000.p/2", "agree on another root hash"),
    ] {
        put(&store, path, forged.read(path).unwrap().unwrap());
        let report = verify(&store, key().verifier_key(), None).unwrap();
        assert!(named(&report, place), "{path}: {report:?}");
    }
    put(
        &store,
        "checkpoint",
        forged.read("checkpoint").unwrap().unwrap(),
    );
    assert!(
        verify(&store, key().verifier_key(), None).unwrap().verified,
        "signed with the real key"
    );
}

#[test]
fn missing_truncated_and_foreign_files_are_named() {
    let store = memory_ledger();
    for path in FILES.into_iter().filter(|path| *path != "public.key") {
        let bytes = store.read(path).unwrap().unwrap();
        store.remove(&[path.into()], Durability::Now).unwrap();
        let report = verify(&store, key().verifier_key(), None).unwrap();
        assert!(
            !report.verified && named(&report, &format!("{path} missing")),
            "{report:?}"
        );
        put(&store, path, bytes[..bytes.len() - 1].to_vec());
        assert!(
            named(&verify(&store, key().verifier_key(), None).unwrap(), path),
            "{path}"
        );
        put(&store, path, Vec::new());
        assert!(
            named(&verify(&store, key().verifier_key(), None).unwrap(), path),
            "{path}"
        );
        put(&store, path, bytes);
    }
    for path in [
        "tile/0/002.p/89",
        "tile/0/003",
        "tile/entries/x004/000",
        "tile/2/000.p/1",
        "notes.txt",
        "tile/0/2",
        ".staging/0",
        "tile/0/x999/x999/x999/x999/999",
    ] {
        put(&store, path, vec![0; 32]);
        let report = verify(&store, key().verifier_key(), None).unwrap();
        assert!(
            !report.verified && named(&report, path),
            "{path}: {report:?}"
        );
        store.remove(&[path.into()], Durability::Now).unwrap();
    }
    // Superseded partial tiles may stay, as long as they are what they were.
    for path in ["tile/0/000.p/100", "tile/entries/000.p/100"] {
        let full = store.read(&path[..path.len() - 6]).unwrap().unwrap();
        let end = if path.contains("entries") {
            end_of(&full, 100)
        } else {
            3200
        };
        put(&store, path, full[..end].to_vec());
        assert!(verify(&store, key().verifier_key(), None).unwrap().verified);
        let mut altered = full[..end].to_vec();
        altered[77] ^= 1;
        put(&store, path, altered);
        assert!(
            named(&verify(&store, key().verifier_key(), None).unwrap(), path),
            "{path}"
        );
        store.remove(&[path.into()], Durability::Now).unwrap();
    }
}

/// Bytes that the first `count` entries of a bundle take.
fn end_of(bundle: &[u8], count: usize) -> usize {
    (0..count).fold(0, |end, _| {
        end + 2 + usize::from(u16::from_be_bytes([bundle[end], bundle[end + 1]]))
    })
}

#[test]
fn a_kept_checkpoint_catches_the_administrator_who_has_the_key() {
    for kept_size in [1, 255, 256, 257, 511, 512, 599, 600] {
        let store = MemoryStore::new();
        let mut ledger = Ledger::create(store.clone(), key()).unwrap();
        ledger.append(&records(0..kept_size)).unwrap();
        let kept = ledger.checkpoint().to_owned();
        ledger.append(&records(kept_size..SIZE)).unwrap();
        let honest = verify(&store, key().verifier_key(), Some(&kept)).unwrap();
        assert!(honest.verified, "{honest:?}");
        assert_eq!(honest.kept_size, Some(kept_size));
        if kept_size > 0 {
            let proof = ledger.prove_consistency(kept_size).unwrap();
            assert_eq!(
                proof
                    .check(kept.as_bytes(), key().verifier_key())
                    .unwrap()
                    .size,
                SIZE
            );
        }

        for altered in [0, kept_size - 1] {
            let mut history = records(0..SIZE);
            history[altered as usize].body = serde_json::json!({"number": 1_000_000});
            let forged = MemoryStore::new();
            let mut forger = Ledger::create(forged.clone(), key()).unwrap();
            forger.append(&history).unwrap();
            assert!(
                verify(&forged, key().verifier_key(), None)
                    .unwrap()
                    .verified,
                "no one else's word"
            );
            let report = verify(&forged, key().verifier_key(), Some(&kept)).unwrap();
            let [Problem::Rewritten { kept_size: of, .. }] = report.problems[..] else {
                panic!("{kept_size}, {altered}: {report:?}");
            };
            assert_eq!(of, kept_size);
            let proof = forger.prove_consistency(kept_size).unwrap();
            assert!(proof.check(kept.as_bytes(), key().verifier_key()).is_err());
        }

        let short = MemoryStore::new();
        Ledger::create(short.clone(), key())
            .unwrap()
            .append(&records(0..kept_size - 1))
            .unwrap();
        let report = verify(&short, key().verifier_key(), Some(&kept)).unwrap();
        assert!(
            matches!(report.problems[..], [Problem::Shortened { .. }]),
            "{report:?}"
        );
    }
    let store = memory_ledger();
    let report = verify(&store, key().verifier_key(), Some("not a checkpoint")).unwrap();
    assert!(matches!(
        report.problems[..],
        [Problem::KeptCheckpointUnusable { .. }]
    ));
}

#[test]
fn a_proof_holds_for_its_record_alone() {
    let store = memory_ledger();
    let reader = Reader::open(store, key().verifier_key()).unwrap();
    for index in [0, 1, 255, 256, 511, 512, 599] {
        let proof = reader.prove(index).unwrap();
        let text = serde_json::to_string(&proof).unwrap();
        let proof: yundu_evidence::InclusionProof = serde_json::from_str(&text).unwrap();
        assert_eq!(proof.check(key().verifier_key()).unwrap().size, SIZE);
        let mut wrong = proof.clone();
        wrong.record = record(index + 1);
        assert!(wrong.check(key().verifier_key()).is_err());
        let mut wrong = proof.clone();
        wrong.index = (index + 1) % SIZE;
        assert!(wrong.check(key().verifier_key()).is_err());
        let mut wrong = proof.clone();
        wrong.hashes.swap(0, 1);
        assert!(wrong.check(key().verifier_key()).is_err());
        let mut wrong = proof;
        wrong.checkpoint = wrong.checkpoint.replace("\n600\n", "\n601\n");
        assert!(wrong.check(key().verifier_key()).is_err());
    }
}

// === the program in docs/verify ===

fn python(ledger: &Path, more: &[&str]) -> Option<(bool, String)> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify/verify.py");
    let output = Command::new("python3")
        .arg(program)
        .arg(ledger)
        .arg(key().verifier_key().text())
        .args(more)
        .output();
    match output {
        Ok(output) => {
            let (out, err) = (output.stdout, output.stderr);
            let text = String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err);
            assert!(!text.contains("Traceback"), "{text}");
            assert!(matches!(output.status.code(), Some(0 | 1)), "{text}");
            Some((output.status.success(), text))
        }
        Err(error) => {
            println!("skipped: python3 does not start ({error})");
            None
        }
    }
}

fn directory_ledger(root: &Path, records: &[yundu_evidence::Record]) -> PathBuf {
    let root = root.to_owned();
    Ledger::create(DirectoryStore::open(&root).unwrap(), key())
        .unwrap()
        .append(records)
        .unwrap();
    root
}

#[test]
fn the_python_verifier_names_one_altered_byte_too() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory_ledger(&directory.path().join("ledger"), &records(0..SIZE));
    let Some((verified, text)) = python(&root, &[]) else {
        return;
    };
    assert!(verified && text.contains("600 entries"), "{text}");
    for path in FILES {
        let file = root.join(path);
        let bytes = fs::read(&file).unwrap();
        let length = bytes.len();
        for byte in [1, length / 3 + 5, length - 70.min(length), length - 1] {
            let mut altered = bytes.clone();
            altered[byte] ^= 1 << (byte % 7);
            fs::write(&file, &altered).unwrap();
            let (verified, text) = python(&root, &[]).unwrap();
            let place = place_of(path, &bytes, byte);
            assert!(!verified && text.contains(&place), "{path}:{byte}: {text}");
            assert!(
                text.lines().count() == 1,
                "{path}:{byte}: blamed without cause: {text}"
            );
            let store = DirectoryStore::open_read_only(&root).unwrap();
            assert!(named(
                &verify(&store, key().verifier_key(), None).unwrap(),
                &place
            ));
        }
        fs::write(&file, &bytes).unwrap();
    }
    assert!(python(&root, &[]).unwrap().0);
}

#[test]
fn the_python_verifier_names_missing_truncated_and_foreign_files_too() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory_ledger(&directory.path().join("ledger"), &records(0..SIZE));
    for path in FILES.into_iter().filter(|path| *path != "public.key") {
        let bytes = fs::read(root.join(path)).unwrap();
        fs::write(root.join(path), &bytes[..bytes.len() - 1]).unwrap();
        let Some((verified, text)) = python(&root, &[]) else {
            return;
        };
        assert!(!verified && text.contains(path), "{path}: {text}");
        fs::remove_file(root.join(path)).unwrap();
        let (verified, text) = python(&root, &[]).unwrap();
        assert!(!verified && text.contains(path), "{path}: {text}");
        fs::write(root.join(path), bytes).unwrap();
    }
    for path in [
        "notes.txt",
        "tile/0/003",
        "tile/0/002.p/89",
        "tile/entries/000.p/9",
        "tile/9/000",
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), [0; 32]).unwrap();
        let (verified, text) = python(&root, &[]).unwrap();
        assert!(!verified && text.contains(path), "{path}: {text}");
        fs::remove_file(root.join(path)).unwrap();
    }
    assert!(python(&root, &[]).unwrap().0);
}

#[test]
fn the_python_verifier_catches_rewritten_history_and_altered_artefacts_too() {
    let directory = tempfile::tempdir().unwrap();
    let honest = directory_ledger(&directory.path().join("honest"), &records(0..300));
    let kept = honest.join("checkpoint");
    let mut history = records(0..SIZE);
    history[7].at_us = 0;
    let forged = directory_ledger(&directory.path().join("forged"), &history);
    let kept = kept.to_str().unwrap();
    let Some((verified, text)) = python(&forged, &[]) else {
        return;
    };
    assert!(verified, "signed with the real key: {text}");
    let (verified, text) = python(&forged, &["--kept", kept]).unwrap();
    assert!(!verified && text.contains("rewritten"), "{text}");
    assert!(python(&honest, &["--kept", kept]).unwrap().0);

    let content = b"the report";
    let mut signed = record(0);
    signed.artefacts[0].sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content));
    signed.artefacts[0].size_bytes = content.len() as u64;
    let ledger = directory_ledger(&directory.path().join("artefacts"), &[signed]);
    let reports = directory.path().join("reports");
    fs::create_dir(&reports).unwrap();
    let base = directory.path().to_str().unwrap();
    let reader = Reader::open(
        DirectoryStore::open_read_only(&ledger).unwrap(),
        key().verifier_key(),
    )
    .unwrap();
    let check = || yundu_evidence::verify::verify_artefacts(&reader, directory.path()).unwrap();
    assert_eq!(check().absent, ["reports/0.html"]);
    fs::write(reports.join("0.html"), content).unwrap();
    assert_eq!((check().intact_count, check().problems), (1, vec![]));
    assert!(python(&ledger, &["--artefacts", base]).unwrap().0);
    fs::write(reports.join("0.html"), b"another report").unwrap();
    assert!(matches!(
        check().problems[..],
        [Problem::ArtefactAltered { index: 0, .. }]
    ));
    let (verified, text) = python(&ledger, &["--artefacts", base]).unwrap();
    assert!(!verified && text.contains("reports/0.html"), "{text}");
}

#[test]
fn the_python_verifier_has_at_most_a_hundred_lines() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify/verify.py");
    let text = fs::read_to_string(program).unwrap();
    assert!(text.lines().count() <= 100);
    assert!(
        text.lines().all(|line| line.len() <= 125),
        "no line is there to save another"
    );
}
