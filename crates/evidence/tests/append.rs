//! What the ledger promises its writer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use support::{key, record, records};
use yundu_evidence::ledger::BATCH_RECORDS_MAX;
use yundu_evidence::verify::verify_beside_writer;
use yundu_evidence::{
    DirectoryStore, Ledger, LedgerError, MemoryStore, ReadError, Reader, StoreError, TileStore,
    verify,
};

#[test]
fn appended_records_come_back_in_their_places() {
    let mut ledger = Ledger::create(MemoryStore::new(), key()).unwrap();
    let mut next = 0;
    for batch in [1, 1, 3, 250, 1, 256, 0, 511, 7, 700] {
        let places = ledger.append(&records(next..next + batch)).unwrap();
        assert_eq!(places, (next..next + batch).collect::<Vec<_>>());
        next += batch;
    }
    assert_eq!(ledger.size(), next);
    assert_eq!(ledger.records(0..u64::MAX).unwrap(), records(0..next));
    assert_eq!(ledger.record(257).unwrap(), record(257));
    assert!(matches!(
        ledger.record(next),
        Err(ReadError::NoEntry { .. })
    ));
    let report = verify(ledger.store(), ledger.verifier_key(), None).unwrap();
    assert!(report.verified, "{report:?}");
}

#[test]
fn a_reader_sees_what_the_writer_acknowledged() {
    let store = MemoryStore::new();
    let mut ledger = Ledger::create(store.clone(), key()).unwrap();
    ledger.append(&records(0..300)).unwrap();
    let early = Reader::open(store.clone(), key().verifier_key()).unwrap();
    ledger.append(&records(300..310)).unwrap();
    assert_eq!(
        early.records(298..400).unwrap(),
        records(298..300),
        "its partial tile was replaced"
    );
    early
        .prove(299)
        .unwrap()
        .check(key().verifier_key())
        .unwrap();
    let late = Reader::open(store, key().verifier_key()).unwrap();
    assert_eq!(late.record(309).unwrap(), record(309));
}

#[test]
fn a_refused_batch_leaves_nothing() {
    let mut ledger = Ledger::create(MemoryStore::new(), key()).unwrap();
    ledger.append(&records(0..5)).unwrap();
    let files = ledger.store().list().unwrap();
    let mut float = records(5..9);
    float[3].body = serde_json::json!({"seconds": 0.5});
    assert!(matches!(ledger.append(&float), Err(LedgerError::Record(_))));
    let twice = [record(5), record(5)];
    assert!(matches!(
        ledger.append(&twice),
        Err(LedgerError::DuplicateId { .. })
    ));
    let many = vec![record(5); BATCH_RECORDS_MAX + 1];
    assert!(matches!(
        ledger.append(&many),
        Err(LedgerError::BatchTooLarge { .. })
    ));
    assert_eq!(ledger.store().list().unwrap(), files);
    ledger.append(&records(5..6)).unwrap();
}

#[test]
fn one_process_appends_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("ledger");
    let mut ledger = Ledger::create(DirectoryStore::open(&root).unwrap(), key()).unwrap();
    ledger.append(&records(0..3)).unwrap();
    assert!(matches!(
        DirectoryStore::open(&root),
        Err(StoreError::Locked { .. })
    ));
    let reader = Reader::open(
        DirectoryStore::open_read_only(&root).unwrap(),
        key().verifier_key(),
    )
    .unwrap();
    assert_eq!(reader.size(), 3);
    drop(ledger);
    let (mut ledger, repair) = Ledger::open(DirectoryStore::open(&root).unwrap(), key()).unwrap();
    assert!(repair.is_clean(), "{repair:?}");
    ledger.append(&records(3..260)).unwrap();
    let files = ledger.store().list().unwrap();
    let expected = [
        "checkpoint",
        "public.key",
        "tile/0/000",
        "tile/0/001.p/4",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/4",
    ];
    assert_eq!(files, expected, "superseded partial tiles are gone");
    assert!(matches!(
        Ledger::create(
            DirectoryStore::open(directory.path().join("ledger")).unwrap_or_else(|_| {
                drop(ledger);
                DirectoryStore::open(&root).unwrap()
            }),
            key()
        ),
        Err(LedgerError::NotEmpty { .. })
    ));
}

#[test]
fn a_ledger_opens_only_with_its_own_key() {
    let store = MemoryStore::new();
    Ledger::create(store.clone(), key())
        .unwrap()
        .append(&records(0..3))
        .unwrap();
    let other = yundu_evidence::LogKey::from_seed(key().origin(), &[43; 32]).unwrap();
    assert!(matches!(
        Ledger::open(store.clone(), other),
        Err(LedgerError::Read(ReadError::Checkpoint(_)))
    ));
    assert!(matches!(
        Ledger::open(MemoryStore::new(), key()),
        Err(LedgerError::Read(ReadError::NoLedger))
    ));
    Ledger::open(store, key()).unwrap();
}

#[test]
fn a_ledger_verifies_while_its_writer_appends() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger =
        Ledger::create(DirectoryStore::open(directory.path()).unwrap(), key()).unwrap();
    ledger.append(&records(0..500)).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) && ledger.size() < 5_000 {
                let size = ledger.size();
                ledger.append(&records(size..size + 9)).unwrap();
            }
            ledger.size()
        });
        let store = DirectoryStore::open_read_only(directory.path()).unwrap();
        let mut sizes = Vec::new();
        for _ in 0..30 {
            let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
            let report = verify_beside_writer(&store, key().verifier_key(), None, pause).unwrap();
            assert!(report.verified, "{:?}", report.problems);
            sizes.push(report.size);
            let reader = Reader::open(&store, key().verifier_key()).unwrap();
            let last = reader.size() - 1;
            assert_eq!(reader.record(last).unwrap(), record(last));
            reader
                .prove(last)
                .unwrap()
                .check(key().verifier_key())
                .unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(writer.join().unwrap() > 500 && sizes.last() > sizes.first());
    });
}
