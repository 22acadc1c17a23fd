//! What `yundu demo` promises: the story keeps its figures, and leaves nothing on the machine
//! however it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The stories measure how long requests wait: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn demo(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yundu"));
    command
        .arg("demo")
        .arg("--dir")
        .arg(dir)
        .args(["--lang", "en"])
        .args(words);
    command
}

/// Command lines of living processes that mention `dir`.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&*dir) {
            found.push(line);
        }
    }
    found
}

/// Nothing of the demo in `dir` runs, is mounted or attached, no namespace of its is left.
fn assert_nothing_left(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes_of(dir).is_empty() {
        assert!(
            Instant::now() < deadline,
            "still running: {:?}",
            processes_of(dir)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let stage: Value =
        serde_json::from_slice(&std::fs::read(dir.join("stage.json")).unwrap()).unwrap();
    let id = stage["id"].as_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&format!("yundu-{id}/")), "{mounts}");
    assert!(!Path::new("/run").join(format!("yundu-{id}")).exists());
    for part in ["a", "b", "c", "k"] {
        assert!(!Path::new("/run/netns").join(format!("{id}{part}")).exists());
    }
}

/// Tells the whole story and checks its figures.
fn story_keeps_its_promises(words: &[&str]) -> Value {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let (dir, json) = (home.path().join("story"), home.path().join("outcome.json"));
    let json_path = json.to_string_lossy().into_owned();
    let mut all = vec!["--json", &json_path];
    all.extend(words);
    let output = demo(&dir, &all).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    assert_nothing_left(&dir);
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let number = |name: &str| {
        outcome[name]
            .as_i64()
            .unwrap_or_else(|| panic!("no {name}"))
    };
    assert!(number("acknowledged_writes") > 500, "{outcome}");
    for name in ["lost_writes", "client_errors"] {
        assert_eq!(number(name), 0, "{name}: {outcome}");
    }
    assert!(
        number("in_doubt_writes") <= 8,
        "at most one per connection and stop: {outcome}"
    );
    assert!(
        number("interruption_us") > 0 && number("rollback_us") > 0,
        "{outcome}"
    );
    assert!(number("copy_bytes") > 50_000_000, "{outcome}");
    assert!(number("dirtied_bytes") > 0, "{outcome}");
    assert!(
        number("resync_bytes") * 10 <= number("dirtied_bytes") * 12,
        "{outcome}"
    );
    assert!(
        number("gates_refused") >= 4 && number("gates_opened") >= 2,
        "{outcome}"
    );
    assert!(number("ledger_entries") > 50, "{outcome}");
    assert_eq!(outcome["ledger_verified"], true);
    assert_eq!(outcome["forgery_caught"], true);
    assert_eq!(outcome["source_digest"].as_str().unwrap().len(), 64);
    assert_eq!(outcome["source_digest"], outcome["target_digest"]);
    let report = std::fs::read_to_string(outcome["report"].as_str().unwrap()).unwrap();
    assert!(report.contains("core-ledger"));
    outcome
}

#[test]
fn story_in_plain_mode_loses_nothing_and_proves_it() {
    let outcome = story_keeps_its_promises(&["--plain"]);
    assert_eq!(outcome["mode"], "plain");
}

#[test]
fn story_in_the_best_mode_of_this_machine_loses_nothing_and_proves_it() {
    let outcome = story_keeps_its_promises(&[]);
    eprintln!("this machine tells it in mode {}", outcome["mode"]);
}

/// Starts a story and waits until its move is under way.
fn start_and_wait_for_mirroring(dir: &Path) -> std::process::Child {
    let mut child = demo(dir, &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !dir.join("faults.jsonl").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the story ended early");
        assert!(
            Instant::now() < deadline,
            "no link fault within two minutes"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

#[test]
fn interrupted_story_cleans_up_behind_itself() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("story");
    let mut child = start_and_wait_for_mirroring(&dir);
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_nothing_left(&dir);
}

#[test]
fn killed_story_is_cleaned_up_by_the_next_call() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("story");
    let mut child = start_and_wait_for_mirroring(&dir);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !processes_of(&dir).is_empty(),
        "a killed story cannot have cleaned up"
    );
    assert!(demo(&dir, &["--clean"]).status().unwrap().success());
    assert_nothing_left(&dir);
}

#[test]
fn directory_of_somebody_else_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("precious"), "mine").unwrap();
    let output = demo(home.path(), &["--plain"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--dir"));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}
