//! A log that another implementation wrote (transparency-dev/tessera) reads and verifies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::path::{Path, PathBuf};
use yundu_evidence::tile_store::{TileFile, TileStore};
use yundu_evidence::{DirectoryStore, MemoryStore, Reader, VerifierKey, verify};

const KEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";

/// The log in memory, without the earlier checkpoints and
/// the writer's own state that lie beside it; and where they lie.
fn tessera() -> Option<(MemoryStore, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tlog/tessera/log");
    if !root.is_dir() {
        println!("skipped: no third-party log at {}", root.display());
        return None;
    }
    let source = DirectoryStore::open_read_only(&root).unwrap();
    let store = MemoryStore::new();
    for path in source
        .list()
        .unwrap()
        .into_iter()
        .filter(|path| path == "checkpoint" || path.starts_with("tile/"))
    {
        let bytes = source.read(&path).unwrap().unwrap();
        store.write(&[TileFile { path, bytes }]).unwrap();
    }
    Some((store, root))
}

#[test]
fn a_log_of_another_implementation_verifies() {
    let Some((store, root)) = tessera() else {
        return;
    };
    let key = VerifierKey::parse(KEY).unwrap();
    let report = verify(&store, &key, None).unwrap();
    assert!(report.verified, "{report:?}");
    assert_eq!(
        (report.size, report.origin.as_str()),
        (15, "example.com/log/testdata")
    );
    for size in 0..=15 {
        let kept = std::fs::read_to_string(root.join(format!("checkpoint.{size}"))).unwrap();
        let report = verify(&store, &key, Some(&kept)).unwrap();
        assert!(
            report.verified && report.kept_size == Some(size),
            "{size}: {report:?}"
        );
    }
}

#[test]
fn entries_of_another_implementation_are_read() {
    let Some((store, root)) = tessera() else {
        return;
    };
    let key = VerifierKey::parse(KEY).unwrap();
    let reader = Reader::open(&store, &key).unwrap();
    let words: Vec<String> = reader
        .entries(0..99)
        .unwrap()
        .into_iter()
        .map(|e| String::from_utf8(e).unwrap())
        .collect();
    assert_eq!(
        words.join(" "),
        "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten"
    );
    for size in 1..=15 {
        let kept = std::fs::read(root.join(format!("checkpoint.{size}"))).unwrap();
        let proof = reader.prove_consistency(size).unwrap();
        assert_eq!(proof.check(&kept, &key).unwrap().size, 15);
    }
}

#[test]
fn every_altered_byte_of_a_foreign_log_is_found() {
    let Some((store, _)) = tessera() else { return };
    let key = VerifierKey::parse(KEY).unwrap();
    for path in store.list().unwrap() {
        let bytes = store.read(&path).unwrap().unwrap();
        for byte in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[byte] ^= 4;
            store
                .write(&[TileFile {
                    path: path.clone(),
                    bytes: altered,
                }])
                .unwrap();
            let report = verify(&store, &key, None).unwrap();
            assert!(!report.verified, "{path}:{byte}");
        }
        store.write(&[TileFile { path, bytes }]).unwrap();
    }
}
