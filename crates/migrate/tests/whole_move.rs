//! A whole move by the runbook of the documentation, under the real catalog of gates: refusals,
//! crashes at every point, the way back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use world::{Death, MOVE, World, a_move, engine, key_of, prepare, records, surroundings};
use yundu_migrate::runbook::FactPhase;
use yundu_migrate::{Ask, Engine, EngineError, Outcome, Side, Silent, StepState};
use yundu_people::Decision;

/// Runs, decides what persons decide, until the move is done or dies.
async fn drive(engine: &Engine) -> Result<(), EngineError> {
    let around = surroundings();
    for _ in 0..60 {
        match engine.run(MOVE, &around, None).await? {
            Outcome::Finished => return Ok(()),
            Outcome::NeedsPerson { step, .. } => {
                let decisions: &[(Ask, &str)] = match step.as_str() {
                    "figures-before" => &[(Ask::Step(step.clone()), "zhang.min")],
                    "figures-after" => &[(Ask::Figures(FactPhase::After), "zhang.min")],
                    "go" => &[
                        (Ask::Step(step.clone()), "li.wei"),
                        (Ask::Move, "li.wei"),
                        (Ask::Move, "zhang.min"),
                    ],
                    "retire" => &[(Ask::Retire, "li.wei"), (Ask::Retire, "chen.jie")],
                    other => panic!("{other} waits for a person"),
                };
                for (ask, person) in decisions {
                    decide(engine, ask, person).await?;
                }
            }
            Outcome::Waiting { .. } => {}
            // The gate of `retire` asks for the two approvals before the step itself does.
            Outcome::Refused { step, .. } if step == "retire" => {
                decide(engine, &Ask::Retire, "li.wei").await?;
                decide(engine, &Ask::Retire, "chen.jie").await?;
            }
            other => panic!("{other:#?}"),
        }
    }
    panic!("the move does not end");
}

async fn decide(engine: &Engine, ask: &Ask, person: &str) -> Result<(), EngineError> {
    let key = key_of(person);
    engine
        .decide(
            &a_move(),
            &surroundings(),
            ask,
            (person, &key),
            Decision::Approve,
            "",
        )
        .await
        .map(|_| ())
}

/// What the ledger says, without what depends on the time of looking or on how often one looked.
async fn story(engine: &Engine) -> Vec<String> {
    let seen = [
        "volume.status",
        "rollback.assessed",
        "gate.verdict",
        "approval.signed",
        "move.done",
    ];
    let records = records(engine).await;
    let lasting = records
        .iter()
        .filter(|record| !seen.contains(&record.kind.as_str()));
    let mut story: Vec<String> = lasting
        .map(|record| format!("{} {}", record.kind, record.id))
        .collect();
    story.sort();
    story
}

async fn run_with_death(at: Option<usize>) -> (BTreeMap<String, u32>, Vec<String>, usize) {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path()).await;
    let world = World::new();
    let death = Arc::new(Death {
        at,
        ..Death::default()
    });
    let first = engine(directory.path(), &world, death.clone()).await;
    let outcome = drive(&first).await;
    let passed = death.passed.lock().unwrap().len();
    first.store.close().await;
    if let Err(error) = &outcome {
        assert!(matches!(error, EngineError::Stopped(_)), "{error}");
    }
    let second = engine(directory.path(), &world, Arc::new(Silent)).await;
    drive(&second).await.unwrap();
    let story = story(&second).await;
    second.store.close().await;
    let mut counts = world.with(|state| state.counts.clone());
    // Reading is repeated after a crash; nothing else is.
    counts.remove("verify");
    (counts, story, passed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_point_of_a_whole_move_resumes_to_the_same_end() {
    let (counts, story, points) = run_with_death(None).await;
    let expected: BTreeMap<String, u32> = [
        ("replicate", 1),
        ("cut to Target", 2),
        ("cut to Source", 1),
        ("switch to b", 1),
        ("destroy", 1),
    ]
    .into_iter()
    .map(|(what, count)| (what.to_owned(), count))
    .collect();
    assert_eq!(counts, expected);
    assert!(points > 50, "{points} points");
    for at in 0..points {
        let (after_crash, story_after_crash, _) = run_with_death(Some(at)).await;
        assert_eq!(after_crash, counts, "crash at point {at}");
        assert_eq!(story_after_crash, story, "crash at point {at}");
    }
}

async fn until_refused(engine: &Engine, until: &str) -> Vec<String> {
    match engine
        .run(MOVE, &surroundings(), Some(until))
        .await
        .unwrap()
    {
        Outcome::Refused { verdict, .. } => verdict
            .findings()
            .map(|finding| finding.control.clone())
            .collect(),
        other => panic!("{other:#?}"),
    }
}

/// Brings a fresh move to just before the cut-over, with the figures signed and the go given.
async fn before_cut_over(directory: &Path, world: &World) -> Engine {
    prepare(directory).await;
    let engine = engine(directory, world, Arc::new(Silent)).await;
    let around = surroundings();
    assert!(matches!(
        engine.run(MOVE, &around, None).await.unwrap(),
        Outcome::NeedsPerson { .. }
    ));
    decide(&engine, &Ask::Step("figures-before".into()), "zhang.min")
        .await
        .unwrap();
    assert!(matches!(
        engine.run(MOVE, &around, None).await.unwrap(),
        Outcome::NeedsPerson { .. }
    ));
    decide(&engine, &Ask::Step("go".into()), "li.wei")
        .await
        .unwrap();
    engine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_names_what_is_missing_until_others_approve_what_stands_now() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new();
    let engine = before_cut_over(directory.path(), &world).await;
    assert_eq!(until_refused(&engine, "cut-over").await, ["approved"]);
    // The requester's own approval counts for nothing, and is named.
    decide(&engine, &Ask::Move, "wang.fang").await.unwrap();
    assert_eq!(
        until_refused(&engine, "cut-over").await,
        ["approved", "maker-never-checker"]
    );
    decide(&engine, &Ask::Move, "li.wei").await.unwrap();
    decide(&engine, &Ask::Move, "zhang.min").await.unwrap();
    // The plan changes after the approvals: they are void.
    let mut amended = a_move();
    amended.runbook.observation_us = 2_000;
    engine.amend(&amended, &surroundings()).await.unwrap();
    let findings = until_refused(&engine, "cut-over").await;
    assert!(
        findings.contains(&"approved".to_owned())
            && findings.contains(&"plan-unchanged".to_owned()),
        "{findings:?}"
    );
    for person in ["li.wei", "zhang.min"] {
        let key = key_of(person);
        engine
            .decide(
                &amended,
                &surroundings(),
                &Ask::Move,
                (person, &key),
                Decision::Approve,
                "",
            )
            .await
            .unwrap();
    }
    assert_eq!(
        world.count("cut to Target"),
        1,
        "only the rehearsal has cut over"
    );
    let reached = engine
        .run(MOVE, &surroundings(), Some("cut-over"))
        .await
        .unwrap();
    assert!(matches!(reached, Outcome::Reached { .. }), "{reached:#?}");
    assert_eq!(world.with(|state| state.primary), Side::Target);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_block_stops_the_move_until_a_clean_comparison() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path()).await;
    let world = World::new();
    let engine = engine(directory.path(), &world, Arc::new(Silent)).await;
    engine.run(MOVE, &surroundings(), None).await.unwrap();
    decide(&engine, &Ask::Step("figures-before".into()), "zhang.min")
        .await
        .unwrap();
    world.with(|state| state.corrupt = 1);
    match engine.run(MOVE, &surroundings(), None).await.unwrap() {
        Outcome::Failed { step, reason } => {
            assert_eq!(step, "verify");
            assert!(
                reason.en.contains("1 leaves of volume vol differ"),
                "{}",
                reason.en
            );
        }
        other => panic!("{other:#?}"),
    }
    world.with(|state| state.corrupt = 0);
    let outcome = engine
        .run(MOVE, &surroundings(), Some("verify"))
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Reached { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_lost_with_its_process_is_replaced_by_a_clean_comparison_after_the_cut() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path()).await;
    let world = World::new();
    let engine = engine(directory.path(), &world, Arc::new(Silent)).await;
    world.with(|state| state.cut_digest_lost = true);
    // To the end: the gate before the retirement of the source accepts it.
    drive(&engine).await.unwrap();
    let records = records(&engine).await;
    let of_kind = |kind: &str| records.iter().rposition(|record| record.kind == kind);
    let compared = &records[of_kind("volume.compared").unwrap()];
    assert_eq!(compared.body["by"], "verification");
    assert_eq!(compared.body["equal"], true);
    assert!(compared.body["source_digest"].is_null());
    assert!(of_kind("volume.verified") > of_kind("cutover.done"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_whose_check_fails_is_back_at_the_source_and_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path()).await;
    let world = World::new();
    world.with(|state| state.rehearsal_check_fails = true);
    let engine = engine(directory.path(), &world, Arc::new(Silent)).await;
    engine.run(MOVE, &surroundings(), None).await.unwrap();
    decide(&engine, &Ask::Step("figures-before".into()), "zhang.min")
        .await
        .unwrap();
    let outcome = engine.run(MOVE, &surroundings(), None).await.unwrap();
    assert!(
        matches!(&outcome, Outcome::Failed { step, .. } if step == "rehearse"),
        "{outcome:#?}"
    );
    assert_eq!(world.with(|state| state.primary), Side::Source);
    let drill = records(&engine)
        .await
        .into_iter()
        .find(|record| record.kind == "drill.rehearsed")
        .unwrap();
    assert_eq!(drill.body["succeeded"], false);
    assert_eq!(
        engine
            .status(MOVE, &surroundings())
            .await
            .unwrap()
            .rollback
            .duration_us,
        None
    );
}

async fn roll_back_with_death(at: Option<usize>) -> (BTreeMap<String, u32>, Vec<StepState>, usize) {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new();
    let first = before_cut_over(directory.path(), &world).await;
    decide(&first, &Ask::Move, "li.wei").await.unwrap();
    decide(&first, &Ask::Move, "zhang.min").await.unwrap();
    let reached = first
        .run(MOVE, &surroundings(), Some("switch"))
        .await
        .unwrap();
    assert!(matches!(reached, Outcome::Reached { .. }), "{reached:#?}");
    first.store.close().await;
    let death = Arc::new(Death {
        at,
        ..Death::default()
    });
    let second = engine(directory.path(), &world, death.clone()).await;
    let _ = second.roll_back(MOVE, &surroundings(), None).await;
    let passed = death.passed.lock().unwrap().len();
    second.store.close().await;
    let third = engine(directory.path(), &world, Arc::new(Silent)).await;
    let outcome = third.roll_back(MOVE, &surroundings(), None).await.unwrap();
    assert!(
        matches!(
            outcome,
            Outcome::RolledBack {
                stopped_at: None,
                ..
            }
        ),
        "{outcome:#?}"
    );
    assert_eq!(
        world.with(|state| (state.primary, state.application_at)),
        (Side::Source, 'a')
    );
    let states = third
        .status(MOVE, &surroundings())
        .await
        .unwrap()
        .steps
        .iter()
        .map(|step| step.state)
        .collect();
    third.store.close().await;
    let mut counts = world.with(|state| state.counts.clone());
    counts.remove("verify");
    (counts, states, passed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_point_of_the_way_back_resumes_to_the_same_end() {
    let (counts, states, points) = roll_back_with_death(None).await;
    assert_eq!(counts["switch to a"], 1);
    assert_eq!((counts["cut to Source"], counts["detach"]), (2, 1));
    assert!(points > 15, "{points} points");
    for at in 0..points {
        let (after_crash, states_after_crash, _) = roll_back_with_death(Some(at)).await;
        assert_eq!(after_crash, counts, "crash at point {at}");
        assert_eq!(states_after_crash, states, "crash at point {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_whether_how_long_and_at_what_loss_one_can_go_back() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new();
    let engine = before_cut_over(directory.path(), &world).await;
    for person in ["li.wei", "zhang.min"] {
        decide(&engine, &Ask::Move, person).await.unwrap();
    }
    engine
        .run(MOVE, &surroundings(), Some("cut-over"))
        .await
        .unwrap();
    let now = engine.status(MOVE, &surroundings()).await.unwrap().rollback;
    assert_eq!(
        (now.possible, now.duration_us, now.lost_bytes),
        (true, Some(4_000), Some(0))
    );
    world.with(|state| state.link_up = false);
    let now = engine.status(MOVE, &surroundings()).await.unwrap().rollback;
    assert_eq!(
        (now.possible, now.lost_writes, now.lost_bytes),
        (false, None, Some(4_096))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_that_do_not_fit_are_refused_before_anything_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path()).await;
    let world = World::new();
    let engine = engine(directory.path(), &world, Arc::new(Silent)).await;
    let mut around = surroundings();
    around.target[0].architecture = Some("arm64".into());
    match engine.run(MOVE, &around, None).await.unwrap() {
        Outcome::Failed { step, reason } => {
            assert_eq!(step, "preflight");
            assert!(
                reason.zh.contains("x86-64") && reason.en.contains("arm64"),
                "{reason:?}"
            );
        }
        other => panic!("{other:#?}"),
    }
    assert_eq!(world.count("replicate"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_cannot_be_amended() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path()).await;
    let world = World::new();
    let engine = engine(directory.path(), &world, Arc::new(Silent)).await;
    engine
        .run(MOVE, &surroundings(), Some("copy"))
        .await
        .unwrap();
    let mut amended = a_move();
    amended.runbook.steps.remove(1);
    let refused = engine.amend(&amended, &surroundings()).await;
    assert!(matches!(refused, Err(EngineError::AmendsThePast { .. })));
}
