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
