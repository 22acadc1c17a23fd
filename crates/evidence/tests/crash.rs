//! A crash at any moment loses no acknowledged record.
//!
//! The store below dies after a given number of file operations. A write of several files may
//! die between any two of them, in either order, and the dying operation may or may not have
//! taken effect: everything that the contract of `TileStore` allows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::cell::Cell;
use std::io;
use support::{key, records};
use yundu_evidence::tile_store::{Durability, TileFile};
use yundu_evidence::{
    DirectoryStore, Ledger, LedgerError, MemoryStore, StoreError, TileStore, verify,
};

struct DyingStore {
    files: MemoryStore,
    operations_left: Cell<u64>,
    /// The operation during which the process dies still takes effect.
    last_takes_effect: bool,
    reversed: bool,
}

impl DyingStore {
    /// Whether the next operation on one file takes effect, and whether the process lives on.
    fn step(&self) -> (bool, bool) {
        let left = self.operations_left.get();
        self.operations_left.set(left.saturating_sub(1));
        (left > 1 || (left == 1 && self.last_takes_effect), left > 1)
    }

    fn dead() -> StoreError {
        StoreError::File {
            path: "simulated".into(),
            source: io::Error::other("crash"),
        }
    }

    fn each<T: Clone>(&self, items: &[T], mut apply: impl FnMut(T)) -> Result<(), StoreError> {
        let mut items = items.to_vec();
        if self.reversed {
            items.reverse();
        }
        for item in items {
            let (takes_effect, lives) = self.step();
            if takes_effect {
                apply(item);
            }
            if !lives {
                return Err(Self::dead());
            }
        }
        Ok(())
    }
}

impl TileStore for DyingStore {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.files.read(path)
    }
    fn write(&self, files: &[TileFile]) -> Result<(), StoreError> {
        self.each(files, |file| self.files.write(&[file]).unwrap())
    }
    fn remove(&self, paths: &[String], durability: Durability) -> Result<(), StoreError> {
        self.each(paths, |path| {
            self.files.remove(&[path], durability).unwrap()
        })
    }
    fn list(&self) -> Result<Vec<String>, StoreError> {
        self.files.list()
    }
}

/// Batches that cross the edges of bundles, of tiles and of one level-1 tile's first hash.
const BATCHES: [u64; 7] = [1, 2, 252, 1, 1, 300, 2];

/// Creates and appends until the store dies; returns the acknowledged number of records.
fn run_until_death(store: DyingStore) -> (u64, bool) {
    let Ok(mut ledger) = Ledger::create(store, key()) else {
        return (0, true);
    };
    let mut acknowledged = 0;
    for batch in BATCHES {
        match ledger.append(&records(acknowledged..acknowledged + batch)) {
            Ok(_) => acknowledged += batch,
            Err(_) => {
                let again = ledger.append(&records(acknowledged..acknowledged + batch));
                assert!(matches!(again, Err(LedgerError::Poisoned)));
                return (acknowledged, true);
            }
        }
    }
    (acknowledged, ledger.store().operations_left.get() == 0)
}

#[test]
fn acknowledged_records_survive_a_crash_after_every_operation() {
    let mut crashes = 0;
    for last_takes_effect in [false, true] {
        for reversed in [false, true] {
            for operations in 1.. {
                let files = MemoryStore::new();
                let store = DyingStore {
                    files: files.clone(),
                    operations_left: Cell::new(operations),
                    last_takes_effect,
                    reversed,
                };
                let (acknowledged, died) = run_until_death(store);
                let context = format!("{operations} operations, {last_takes_effect}, {reversed}");
                if files.read("checkpoint").unwrap().is_none() {
                    assert_eq!(acknowledged, 0);
                    assert!(matches!(
                        Ledger::open(files.clone(), key()),
                        Err(LedgerError::Read(_))
                    ));
                    Ledger::create(files, key())
                        .expect(&context)
                        .append(&records(0..2))
                        .unwrap();
                    crashes += 1;
                    continue;
                }
                // The machine dies once more while it repairs, after any number of operations.
                for again in 1..4 {
                    let store = DyingStore {
                        files: files.clone(),
                        operations_left: Cell::new(again),
                        last_takes_effect: !last_takes_effect,
                        reversed,
                    };
                    let _ = Ledger::open(store, key());
                }
                let (mut ledger, _) = Ledger::open(files.clone(), key()).expect(&context);
                let size = ledger.size();
                assert!(size >= acknowledged, "{context}: {size} of {acknowledged}");
                assert_eq!(
                    ledger.records(0..size).unwrap(),
                    records(0..size),
                    "{context}"
                );
                let report = verify(&files, key().verifier_key(), None).unwrap();
                assert!(report.verified, "{context}: {:?}", report.problems);
                ledger.append(&records(size..size + 260)).unwrap();
                let report = verify(&files, key().verifier_key(), None).unwrap();
                assert!(report.verified, "{context}: {:?}", report.problems);
                assert_eq!(Ledger::open(files, key()).unwrap().0.size(), size + 260);
                if !died {
                    break;
                }
                crashes += 1;
            }
        }
    }
    assert!(crashes > 150, "only {crashes} crashes were simulated");
}

#[test]
fn a_torn_tail_is_named_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Ledger::open(DirectoryStore::open(directory.path()).unwrap(), key());
    let mut ledger =
        Ledger::create(DirectoryStore::open(directory.path()).unwrap(), key()).unwrap();
    ledger.append(&records(0..255)).unwrap();
    drop(ledger);
    // As an append of two records leaves it when power fails before its checkpoint.
    for (path, bytes) in [
        ("tile/entries/000", &b"torn"[..]),
        ("tile/0/000", b""),
        ("tile/entries/001.p/1", b"\0"),
        (".staging/0", b"half a checkpo"),
        ("tile/0/000.p/12", b"superseded"),
    ] {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(directory.path().join("notes.txt"), "not ours").unwrap();
    let (mut ledger, repair) = open().unwrap();
    assert_eq!(
        repair.unacknowledged,
        [
            ".staging/0",
            "tile/0/000",
            "tile/entries/000",
            "tile/entries/001.p/1"
        ]
    );
    assert_eq!(repair.superseded, ["tile/0/000.p/12"]);
    assert_eq!(
        repair.foreign,
        ["notes.txt"],
        "what is not ours is not removed"
    );
    ledger.append(&records(255..600)).unwrap();
    assert_eq!(ledger.records(0..600).unwrap(), records(0..600));
}

#[test]
fn a_damaged_edge_is_refused_and_left_as_it_is() {
    for path in [
        "tile/0/001.p/44",
        "tile/entries/001.p/44",
        "tile/1/000.p/1",
        "checkpoint",
        "public.key",
    ] {
        for missing in [false, true] {
            let store = MemoryStore::new();
            Ledger::create(store.clone(), key())
                .unwrap()
                .append(&records(0..300))
                .unwrap();
            let mut bytes = store.read(path).unwrap().unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            store
                .write(&[TileFile {
                    path: path.into(),
                    bytes,
                }])
                .unwrap();
            if missing {
                store.remove(&[path.into()], Durability::Now).unwrap();
            }
            let before: Vec<_> = store
                .list()
                .unwrap()
                .iter()
                .map(|p| store.read(p).unwrap())
                .collect();
            assert!(Ledger::open(store.clone(), key()).is_err(), "{path}");
            let after: Vec<_> = store
                .list()
                .unwrap()
                .iter()
                .map(|p| store.read(p).unwrap())
                .collect();
            assert_eq!(before, after);
        }
    }
}
