//! The stage with everything on it, without the story: what the demo builds on must hold.

use super::process;
use super::stage::{Site, Stage};
use super::transfers::Outcomes;
use super::windows;
use super::*;
use rustix::process::Signal;
use std::time::{Duration, Instant};

struct Run {
    stage: Stage,
    _dir: tempfile::TempDir,
}

impl Drop for Run {
    fn drop(&mut self) {
        let resisting = self.stage.resources().clean();
        if !std::thread::panicking() {
            assert_eq!(resisting, Vec::<String>::new());
        }
    }
}

/// `None` (and a word why) where the machine does not allow it.
fn run(plain: bool) -> Option<Run> {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::plan(dir.path(), plain).unwrap();
    if !plain && !stage.has_namespaces() {
        eprintln!("skipped: {:?}", stage.ground);
        return None;
    }
    // The test binary is not `yundu`: the program lies one folder up.
    let program = std::env::current_exe().unwrap();
    stage.program = program.parent().unwrap().parent().unwrap().join("yundu");
    stage.id = format!("{}{}", stage.id, if plain { "p" } else { "n" });
    if !stage.program.exists() {
        eprintln!(
            "skipped: {} is not built (cargo build -p yundu)",
            stage.program.display()
        );
        return None;
    }
    Some(Run { stage, _dir: dir })
}

fn acknowledged(stage: &Stage) -> usize {
    Outcomes::load(&stage.driver_dir())
        .unwrap()
        .acknowledged
        .len()
}

/// Copies the image while nothing writes, as replication would have.
fn copy_image(stage: &Stage) {
    let (a, b) = (stage.image(Site::A), stage.image(Site::B));
    process::run(&[
        "cp",
        "--sparse=always",
        &a.to_string_lossy(),
        &b.to_string_lossy(),
    ])
    .unwrap();
}

fn act(stage: &Stage, verb: operator::Verb) -> serde_json::Value {
    let begin = Instant::now();
    let told = operator::perform(stage, &verb).unwrap();
    eprintln!("{:>8} ms  {verb:?}: {told}", begin.elapsed().as_millis());
    told
}

/// The volume's process says nothing for `silence`: no error, and business goes on.
fn business_survives(run: &Run, silence: Duration) {
    use operator::Verb;
    let stage = &run.stage;
    set::raise(stage).unwrap();
    set::create_image(stage, Site::A).unwrap();
    let server = volume::start(stage, Site::A).unwrap();
    set::install_application(stage, Site::A).unwrap();
    set::start_business(stage).unwrap();
    set::start_probe(stage, Site::A).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let before = acknowledged(stage);
    assert!(before > 50, "only {before} transfers in 2 s");
    windows::mark(&faults::path(stage), "silence", true).unwrap();
    server.signal(Signal::STOP);
    std::thread::sleep(silence);
    server.signal(Signal::CONT);
    windows::mark(&faults::path(stage), "silence", false).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(
        acknowledged(stage) > before + 50,
        "the business did not go on"
    );
    set::stop_probe(stage).unwrap();
    set::stop_business(stage).unwrap();
    act(stage, Verb::Reconcile { site: None });
    act(stage, Verb::CheckBooks { site: None });
    let outcomes = Outcomes::load(&stage.driver_dir()).unwrap();
    let tally = outcomes.tally(&[], &faults::windows(stage));
    assert_eq!(tally.client_errors, 0, "{:?}", outcomes.errors);
    assert!(tally.commit_wait_us_max >= i64::try_from(silence.as_micros()).unwrap() - 500_000);
    let waits = probe::waits(&stage.driver_dir(), &faults::windows(stage), 0).unwrap();
    assert_eq!(waits.errors, Vec::<String>::new());
}

#[test]
fn business_with_postgres_rides_through_a_silent_volume() {
    if let Some(run) = run(false) {
        business_survives(&run, Duration::from_secs(10));
        let (stage, name) = (run.stage.clone(), run.stage.namespace("a"));
        drop(run);
        assert!(!Path::new("/run/netns").join(name).exists());
        assert!(!stage.run_dir().exists());
    }
}

#[test]
fn business_with_the_built_in_ledger_rides_through_a_silent_volume() {
    if let Some(run) = run(true) {
        business_survives(&run, Duration::from_secs(3));
    }
}

#[test]
fn damage_done_to_one_copy_is_real_and_found_by_comparison() {
    let Some(run) = run(true) else { return };
    let stage = &run.stage;
    set::raise(stage).unwrap();
    set::create_image(stage, Site::A).unwrap();
    volume::start(stage, Site::A).unwrap();
    set::install_application(stage, Site::A).unwrap();
    copy_image(stage);
    assert_eq!(disk::first_difference(stage).unwrap(), None);
    operator::perform(stage, &operator::Verb::Corrupt { site: Site::A }).unwrap_err();
    let told = act(stage, operator::Verb::Corrupt { site: Site::B });
    let offset = told["offset"].as_u64().unwrap() + 1024;
    assert_eq!(disk::first_difference(stage).unwrap(), Some(offset));
}

/// Runs `yundu WORDS --json` and returns what it prints.
fn ask(stage: &Stage, words: &[&str]) -> serde_json::Value {
    let begin = Instant::now();
    let program = stage.program.to_string_lossy();
    let mut argv = vec![&*program, "--json"];
    argv.extend(words);
    let told = process::run(&argv).unwrap();
    eprintln!("{:>8} ms  {}", begin.elapsed().as_millis(), words.join(" "));
    serde_json::from_str(&told).unwrap_or_default()
}

/// The whole way of the volume with our own server: copy, mirror, link faults, cut-over and
/// rollback under load, switch of the application, death of A.
fn volume_moves_under_load(run: &Run) {
    use faults::Deed;
    use operator::Verb;
    use yundu_replicate::control::{Role, SyncState};
    let stage = &run.stage;
    let in_step = |what: &str| {
        let begin = Instant::now();
        process::wait_until(what, Duration::from_secs(60), || {
            volume::status(stage, Site::A).is_ok_and(|s| s.sync == SyncState::InStep)
        })
        .unwrap();
        eprintln!("{:>8} ms  {what}", begin.elapsed().as_millis());
    };
    set::raise(stage).unwrap();
    set::create_image(stage, Site::A).unwrap();
    volume::start(stage, Site::A).unwrap();
    set::install_application(stage, Site::A).unwrap();
    set::start_business(stage).unwrap();
    set::start_probe(stage, Site::A).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    volume::start(stage, Site::B).unwrap();
    let image = stage.image(Site::A).to_string_lossy().into_owned();
    let begin_us = windows::now_us();
    ask(
        stage,
        &[
            "volume",
            "replicate",
            &image,
            "--to",
            &stage.link_address(),
            "--wait",
        ],
    );
    in_step("copied");
    for deed in [Deed::Cut, Deed::Hang] {
        act(stage, Verb::Link { deed });
        std::thread::sleep(Duration::from_secs(5));
        act(stage, Verb::Link { deed: Deed::Mend });
        in_step("in step again");
    }
    let status = volume::status(stage, Site::A).unwrap();
    eprintln!("{}", serde_json::to_string(&status).unwrap());
    assert!(
        status.resync_bytes * 10 <= status.dirtied_bytes * 12,
        "{status:?}"
    );
    act(stage, Verb::Corrupt { site: Site::B });
    ask(stage, &["volume", "verify", &image, "--repair"]);
    let found = volume::status(stage, Site::A)
        .unwrap()
        .verification
        .unwrap();
    assert!(found.differing_leaves >= 1, "{found:?}");
    ask(stage, &["volume", "cutover", &image, "--id", "rehearsal"]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(volume::status(stage, Site::B).unwrap().role, Role::Primary);
    ask(
        stage,
        &["volume", "rollback", &image, "--id", "rehearsal-back"],
    );
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(volume::status(stage, Site::A).unwrap().role, Role::Primary);
    act(stage, Verb::Reconcile { site: None });
    act(stage, Verb::CompareAtRest);
    ask(stage, &["volume", "cutover", &image, "--id", "final"]);
    std::thread::sleep(Duration::from_secs(2));
    set::stop_probe(stage).unwrap();
    let waits = probe::waits(&stage.driver_dir(), &faults::windows(stage), begin_us).unwrap();
    eprintln!("{}", serde_json::to_string_pretty(&waits).unwrap());
    act(stage, Verb::Switch { to: Site::B });
    act(stage, Verb::IsAt { site: Site::B });
    disk::recorded(stage, "volume-a")
        .unwrap()
        .signal(Signal::KILL);
    let switched = acknowledged(stage);
    std::thread::sleep(Duration::from_secs(4));
    assert!(
        acknowledged(stage) > switched + 50,
        "the business does not go on at B"
    );
    set::stop_business(stage).unwrap();
    act(stage, Verb::Reconcile { site: None });
    act(stage, Verb::CheckBooks { site: None });
    let outcomes = Outcomes::load(&stage.driver_dir()).unwrap();
    let tally = outcomes.tally(&business::switches(stage), &faults::windows(stage));
    eprintln!("{}", serde_json::to_string_pretty(&tally).unwrap());
    assert_eq!(tally.client_errors, 0, "{:?}", outcomes.errors);
    assert_eq!(waits.errors, Vec::<String>::new());
}

#[test]
fn volume_moves_under_load_of_postgres() {
    if let Some(run) = run(false) {
        volume_moves_under_load(&run);
    }
}

#[test]
fn volume_moves_under_load_of_the_built_in_ledger() {
    if let Some(run) = run(true) {
        volume_moves_under_load(&run);
    }
}
