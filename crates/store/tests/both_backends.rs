//! What the store promises, on every backend that this machine has.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod backend;

use backend::{databases, open};
use serde_json::json;
use yundu_evidence::{DirectoryStore, Ledger, LogKey, Record};
use yundu_store::sequencer::{Boundary, drain, drain_watched};
use yundu_store::{
    ApprovalRow, MoveRow, PersonRow, PlanRow, SourceRow, StepRow, Store, StoreError, VerdictRow,
};

fn record(number: u64) -> Record {
    Record {
        id: format!("r-{number}"),
        kind: "test.happened".into(),
        subject: "core-ledger".into(),
        actor: "tester".into(),
        at_us: i64::try_from(number).unwrap(),
        body: json!({"number": number, "text": "云渡"}),
        artefacts: vec![],
    }
}

async fn write_records(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut change = store.begin().await.unwrap();
        change.record(&record(number)).await.unwrap();
        change.commit().await.unwrap();
    }
}

fn key() -> LogKey {
    LogKey::from_seed("test.example/ledger", &[9; 32]).unwrap()
}

fn reopen(directory: &std::path::Path) -> Ledger<DirectoryStore> {
    let store = DirectoryStore::open(directory).unwrap();
    if directory.join("checkpoint").exists() {
        Ledger::open(store, key()).unwrap().0
    } else {
        Ledger::create(store, key()).unwrap()
    }
}

fn ids(ledger: &Ledger<DirectoryStore>) -> Vec<String> {
    ledger
        .records(0..ledger.size())
        .unwrap()
        .into_iter()
        .map(|record| record.id)
        .collect()
}

#[tokio::test]
async fn every_table_gives_back_what_was_written() {
    for database in databases("tables").await {
        let store = open(&database).await;
        let source = SourceRow {
            name: "cmdb".into(),
            path: "a.yaml".into(),
            kind: "yaml".into(),
            digest: "d1".into(),
            document: json!({"x": [1, "二"]}),
            at_us: i64::MAX,
        };
        let person = PersonRow {
            id: "li".into(),
            document: json!({"roles": ["auditor"]}),
            at_us: 1,
        };
        let approval = ApprovalRow {
            id: "a1".into(),
            about: "m".into(),
            subject_kind: "move".into(),
            subject_digest: "d".into(),
            person: "li".into(),
            document: json!({"decision": "approve"}),
            at_us: 2,
        };
        let mut row = MoveRow {
            id: "m".into(),
            state: "running".into(),
            digest: "d".into(),
            document: json!({}),
            at_us: 3,
        };
        let step = StepRow {
            move_id: "m".into(),
            step_id: "s".into(),
            state: "done".into(),
            document: json!({"a": 1}),
            at_us: 4,
        };
        let verdict = VerdictRow {
            id: "v".into(),
            subject: "m".into(),
            gate: "cutover".into(),
            open: true,
            input_digest: "i".into(),
            policy_digest: "p".into(),
            input: "{}".into(),
            policy: "{}".into(),
            verdict: json!({"open": true}),
            at_us: 5,
        };
        let mut change = store.begin().await.unwrap();
        change.put_source(&source).await.unwrap();
        change
            .put_source(&SourceRow {
                digest: "d2".into(),
                ..source.clone()
            })
            .await
            .unwrap();
        for digest in ["p1", "p2", "p1"] {
            change
                .put_plan(&PlanRow {
                    digest: digest.into(),
                    document: json!({"of": digest}),
                    at_us: 1,
                })
                .await
                .unwrap();
        }
        assert!(change.add_person(&person).await.unwrap());
        assert!(
            !change.add_person(&person).await.unwrap(),
            "{}",
            database.name
        );
        assert!(change.add_approval(&approval).await.unwrap());
        change.put_move(&row).await.unwrap();
        row.state = "done".into();
        change.put_move(&row).await.unwrap();
        change.put_step(&step).await.unwrap();
        change.put_step(&step).await.unwrap();
        change.add_verdict(&verdict).await.unwrap();
        change.put_volume_cursor("node", 7).await.unwrap();
        change.put_volume_cursor("node", 5).await.unwrap();
        change.commit().await.unwrap();

        store.close().await;
        let store = open(&database).await;
        let mut read = store.read().await.unwrap();
        assert_eq!(
            read.sources().await.unwrap(),
            [SourceRow {
                digest: "d2".into(),
                ..source
            }]
        );
        assert_eq!(
            read.latest_plan().await.unwrap().unwrap().document,
            json!({"of": "p1"})
        );
        assert_eq!(read.people().await.unwrap(), [person]);
        assert_eq!(read.approvals("m").await.unwrap(), [approval]);
        assert_eq!(read.move_row("m").await.unwrap(), Some(row.clone()));
        assert_eq!(read.moves().await.unwrap(), [row]);
        assert_eq!(read.steps("m").await.unwrap(), [step]);
        assert_eq!(read.verdicts("m").await.unwrap(), [verdict]);
        assert_eq!(read.volume_cursor("node").await.unwrap(), 7);
        assert_eq!(read.volume_cursor("other").await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_dropped_change_leaves_neither_change_nor_evidence() {
    for database in databases("dropped").await {
        let store = open(&database).await;
        let mut change = store.begin().await.unwrap();
        change.put_volume_cursor("node", 1).await.unwrap();
        change.record(&record(1)).await.unwrap();
        drop(change);
        let mut read = store.read().await.unwrap();
        assert_eq!(
            read.volume_cursor("node").await.unwrap(),
            0,
            "{}",
            database.name
        );
        assert!(!read.has_record("r-1").await.unwrap());
    }
}

#[tokio::test]
async fn a_record_id_means_one_record() {
    for database in databases("ids").await {
        let store = open(&database).await;
        let mut change = store.begin().await.unwrap();
        assert!(change.record(&record(1)).await.unwrap());
        assert!(
            !change.record(&record(1)).await.unwrap(),
            "{}",
            database.name
        );
        let other = Record {
            at_us: 99,
            ..record(1)
        };
        assert!(matches!(
            change.record(&other).await,
            Err(StoreError::RecordIdTaken { .. })
        ));
    }
}

#[tokio::test]
async fn writers_take_turns_and_none_is_lost() {
    for database in databases("turns").await {
        let store = open(&database).await;
        let writers = (0..6_u64).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move { write_records(&store, writer * 10..writer * 10 + 10).await })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let rows = store
            .read()
            .await
            .unwrap()
            .records_about("core-ledger")
            .await
            .unwrap();
        let sequences: Vec<i64> = rows.iter().map(|row| row.sequence).collect();
        assert_eq!(sequences, (1..=60).collect::<Vec<_>>(), "{}", database.name);
    }
}

#[tokio::test]
async fn a_crash_anywhere_in_the_sequencer_neither_loses_nor_doubles() {
    for database in databases("crash").await {
        let store = open(&database).await;
        let directory = tempfile::tempdir().unwrap();
        let mut written = 0;
        // 300 records make a drain of two batches: six boundaries. Die at each in turn, then again
        // at the same place of the resumed drain.
        for crash_at in 0..6 {
            write_records(&store, written..written + 300).await;
            written += 300;
            for _ in 0..2 {
                let mut passed = 0;
                let outcome = drain_watched(&store, &mut reopen(directory.path()), |_| {
                    passed += 1;
                    passed <= crash_at
                })
                .await;
                assert!(matches!(outcome, Err(StoreError::Stopped { .. }) | Ok(_)));
            }
            let mut ledger = reopen(directory.path());
            drain(&store, &mut ledger).await.unwrap();
            let expected: Vec<String> = (0..written).map(|number| format!("r-{number}")).collect();
            assert_eq!(
                ids(&ledger),
                expected,
                "{} crash at {crash_at}",
                database.name
            );
            let rows = store
                .read()
                .await
                .unwrap()
                .records_about("core-ledger")
                .await
                .unwrap();
            for row in rows {
                let index = row.ledger_index.unwrap();
                assert_eq!(format!("r-{index}"), row.record.id);
            }
        }
    }
}

#[tokio::test]
async fn an_appended_batch_that_was_not_marked_is_recovered_not_repeated() {
    for database in databases("recover").await {
        let store = open(&database).await;
        let directory = tempfile::tempdir().unwrap();
        write_records(&store, 0..3).await;
        let stopped = drain_watched(&store, &mut reopen(directory.path()), |at| {
            at != Boundary::AfterAppend
        })
        .await;
        assert!(matches!(
            stopped,
            Err(StoreError::Stopped {
                at: Boundary::AfterAppend
            })
        ));
        let mut ledger = reopen(directory.path());
        assert_eq!(ledger.size(), 3);
        let drained = drain(&store, &mut ledger).await.unwrap();
        assert_eq!(
            (drained.appended, drained.recovered),
            (0, 3),
            "{}",
            database.name
        );
    }
}

#[tokio::test]
async fn a_ledger_that_lost_entries_is_refused() {
    for database in databases("behind").await {
        let store = open(&database).await;
        let directory = tempfile::tempdir().unwrap();
        write_records(&store, 0..3).await;
        drain(&store, &mut reopen(directory.path())).await.unwrap();
        let other = tempfile::tempdir().unwrap();
        let refused = drain(&store, &mut reopen(other.path())).await;
        assert!(
            matches!(
                refused,
                Err(StoreError::LedgerBehind {
                    ledger_size: 0,
                    seen: 2
                })
            ),
            "{}",
            database.name
        );
    }
}
