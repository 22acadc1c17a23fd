//! The stage with the business on it, without the story: what the demo builds on must hold.

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
