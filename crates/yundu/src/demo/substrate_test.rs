//! The stage without Yundu: `qemu-nbd` serves both volumes. What the demo builds on must hold
//! with any NBD server.

use super::process::{self, Process, find_program};
use super::stage::{Site, Stage, VOLUME};
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
    if find_program("qemu-nbd").is_none() {
        eprintln!("skipped: no qemu-nbd here");
        return None;
    }
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

fn serve(stage: &Stage, site: Site) -> Process {
    let address = stage.nbd_address(site);
    let (host, port) = address.rsplit_once(':').unwrap();
    let image = stage.image(site).to_string_lossy().into_owned();
    let argv = [
        "qemu-nbd", "-t", "-e", "16", "-f", "raw", "-x", VOLUME, "-b", host, "-p", port, &image,
    ];
    let log = stage.site_dir(site).join("nbd.log");
    let line = stage.inside(site.letter(), &argv);
    let server = process::spawn(&stage.resources(), "nbd", &line, &log).unwrap();
    process::wait_until("the server answers", Duration::from_secs(5), || {
        let probe = stage.inside(
            site.letter(),
            &["qemu-img", "info", &format!("nbd://{address}/{VOLUME}")],
        );
        process::run(&probe).is_ok()
    })
    .unwrap();
    server
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

/// Silence of the volume for `silence`, then a switch of the application to B.
fn business_survives(run: &Run, silence: Duration) {
    use operator::Verb;
    let stage = &run.stage;
    let mut begin = Instant::now();
    let mut lap = |what: &str| {
        eprintln!("{:>8} ms  {what}", begin.elapsed().as_millis());
        begin = Instant::now();
    };
    set::raise(stage).unwrap();
    lap("raise");
    set::create_image(stage, Site::A).unwrap();
    let server = serve(stage, Site::A);
    lap("serve");
    set::install_application(stage, Site::A).unwrap();
    lap("install");
    set::start_business(stage).unwrap();
    set::start_probe(stage, Site::A).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let before = acknowledged(stage);
    assert!(before > 100, "only {before} transfers in 3 s");

    windows::mark(&faults::path(stage), "hang", true).unwrap();
    server.signal(Signal::STOP);
    std::thread::sleep(silence);
    server.signal(Signal::CONT);
    windows::mark(&faults::path(stage), "hang", false).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(
        acknowledged(stage) > before + 50,
        "the business did not go on"
    );
    lap("silence");

    act(stage, Verb::Reconcile { site: None });
    set::stop_probe(stage).unwrap();
    if stage.has_namespaces() {
        postgres::checkpoint(stage, Site::A).unwrap();
    }
    lap("checkpoint");
    act(
        stage,
        Verb::Announce {
            name: "switch".into(),
        },
    );
    act(stage, Verb::StopApplication { site: Site::A });
    act(stage, Verb::Fence { site: Site::A });
    std::thread::sleep(Duration::from_millis(50));
    copy_image(stage);
    act(stage, Verb::CompareAtRest);
    serve(stage, Site::B);
    act(stage, Verb::StartApplication { site: Site::B });
    act(stage, Verb::SwitchAddress { to: Site::B });
    act(
        stage,
        Verb::Conclude {
            name: "switch".into(),
        },
    );
    server.signal(Signal::KILL);
    let switched = acknowledged(stage);
    std::thread::sleep(Duration::from_secs(2));
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
    let waits = probe::waits(&stage.driver_dir(), &faults::windows(stage), 0).unwrap();
    eprintln!("{}", serde_json::to_string_pretty(&waits).unwrap());
    assert_eq!(tally.client_errors, 0, "{:?}", outcomes.errors);
    assert!(tally.commit_wait_us_max >= i64::try_from(silence.as_micros()).unwrap() - 500_000);
    assert_eq!(waits.errors, Vec::<String>::new());
}

#[test]
fn business_with_postgres_rides_through_a_silent_volume_and_a_switch() {
    if let Some(run) = run(false) {
        business_survives(&run, Duration::from_secs(10));
        let (a, name) = (run.stage.clone(), run.stage.namespace("a"));
        drop(run);
        assert!(!Path::new("/run/netns").join(name).exists());
        assert!(!a.run_dir().exists());
    }
}

#[test]
fn business_with_the_built_in_ledger_rides_through_a_silent_volume_and_a_switch() {
    if let Some(run) = run(true) {
        business_survives(&run, Duration::from_secs(3));
    }
}

#[test]
fn damage_done_to_one_copy_is_real_and_found_by_comparison() {
    use operator::Verb;
    let Some(run) = run(true) else { return };
    let stage = &run.stage;
    set::raise(stage).unwrap();
    set::create_image(stage, Site::A).unwrap();
    serve(stage, Site::A);
    set::install_application(stage, Site::A).unwrap();
    copy_image(stage);
    act(stage, Verb::CompareAtRest);
    let told = act(stage, Verb::Corrupt { site: Site::B });
    let error = operator::perform(stage, &Verb::CompareAtRest)
        .unwrap_err()
        .to_string();
    let offset = told["offset"].as_u64().unwrap() + 1024;
    assert!(error.contains(&offset.to_string()), "{error}");
    serve(stage, Site::B);
    operator::perform(
        stage,
        &Verb::CheckBooks {
            site: Some(Site::B),
        },
    )
    .unwrap_err();
    act(
        stage,
        Verb::CheckBooks {
            site: Some(Site::A),
        },
    );
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
    ask(stage, &["volume", "cutover", &image, "--id", "final"]);
    std::thread::sleep(Duration::from_secs(2));
    set::stop_probe(stage).unwrap();
    let waits = probe::waits(&stage.driver_dir(), &faults::windows(stage), begin_us).unwrap();
    eprintln!("{}", serde_json::to_string_pretty(&waits).unwrap());
    if stage.has_namespaces() {
        postgres::checkpoint(stage, Site::A).unwrap();
    }
    act(
        stage,
        Verb::Announce {
            name: "switch".into(),
        },
    );
    act(stage, Verb::StopApplication { site: Site::A });
    act(stage, Verb::Fence { site: Site::A });
    act(stage, Verb::StartApplication { site: Site::B });
    act(stage, Verb::SwitchAddress { to: Site::B });
    act(
        stage,
        Verb::Conclude {
            name: "switch".into(),
        },
    );
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
