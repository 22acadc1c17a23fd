//! What `yundu volume` promises, as real processes and other people's clients see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "volumes/ledger.rs"]
mod ledger;
#[path = "volumes/pair.rs"]
mod pair;

use ledger::{Dice, Writer, assert_all_present};
use pair::{Pair, Side, free_port, has, yundu};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;
use yundu_replicate::control::{Link, Request, Role, SyncState};

const MIB: u64 = 1 << 20;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{errors}"
    );
    text
}

/// A pair in step, with some data.
fn in_step(size_bytes: u64) -> Pair {
    let mut pair = Pair::new(size_bytes);
    let image = std::fs::File::options()
        .write(true)
        .open(pair.image(Side::Source))
        .unwrap();
    let mut dice = Dice(7);
    let data: Vec<u8> = (0..2 * MIB).map(|_| dice.roll(256) as u8).collect();
    image.write_all_at(&data, 20 * MIB).unwrap();
    pair.start(Side::Target);
    pair.start(Side::Source);
    pair.replicate();
    pair
}

#[test]
fn clients_of_others_read_and_write_a_volume() {
    let mut pair = Pair::new(64 * MIB);
    pair.start(Side::Source);
    let uri = pair.uri(Side::Source);
    if has("qemu-io") {
        run(
            "qemu-io",
            &["-f", "raw", "-c", "write -P 7 4k 1M", "-c", "flush", &uri],
        );
        run(
            "qemu-io",
            &[
                "-f",
                "raw",
                "-c",
                "discard 8k 64k",
                "-c",
                "write -z 2M 1M",
                &uri,
            ],
        );
        run(
            "qemu-io",
            &[
                "-f",
                "raw",
                "-c",
                "read -P 0 8k 64k",
                "-c",
                "read -P 7 128k 4k",
                &uri,
            ],
        );
    }
    if has("qemu-img") {
        run(
            "qemu-img",
            &[
                "compare",
                "-f",
                "raw",
                "-F",
                "raw",
                &uri,
                pair.image(Side::Source).to_str().unwrap(),
            ],
        );
    }
    if has("nbdinfo") {
        let info = run("nbdinfo", &["--json", &uri]);
        assert!(info.contains("\"export-size\": 67108864"), "{info}");
        run("nbdinfo", &["--map", &uri]);
    }
    if has("nbdcopy") {
        let copy = pair.directory.path().join("copy.img");
        run("nbdcopy", &[&uri, copy.to_str().unwrap()]);
        run(
            "cmp",
            &[
                copy.to_str().unwrap(),
                pair.image(Side::Source).to_str().unwrap(),
            ],
        );
    }
    if has("fio") {
        run(
            "fio",
            &[
                "--name=v",
                "--ioengine=nbd",
                &format!("--uri={uri}"),
                "--rw=randwrite",
                "--bs=4k",
                "--iodepth=16",
                "--size=32M",
                "--verify=crc32c",
                "--do_verify=1",
                "--verify_fatal=1",
                "--verify_state_save=0",
            ],
        );
    }
}

#[test]
fn fio_verifies_its_blocks_through_cut_over_and_back() {
    if !has("fio") {
        return;
    }
    let pair = in_step(64 * MIB);
    let uri = format!("--uri={}", pair.uri(Side::Source));
    let fio = std::thread::spawn(move || {
        run(
            "fio",
            &[
                "--name=v",
                "--ioengine=nbd",
                &uri,
                "--rw=randwrite",
                "--bs=4k",
                "--iodepth=8",
                "--size=32M",
                "--verify=crc32c",
                "--do_verify=1",
                "--verify_fatal=1",
                "--verify_state_save=0",
                "--fsync=64",
            ],
        );
    });
    for round in 0..3 {
        std::thread::sleep(Duration::from_millis(150));
        pair.cut_over(Side::Source, Side::Target, &format!("over-{round}"))
            .unwrap();
        std::thread::sleep(Duration::from_millis(150));
        pair.cut_over(Side::Source, Side::Source, &format!("back-{round}"))
            .unwrap();
    }
    fio.join().unwrap();
    pair.wait_in_step(Side::Source);
    pair.assert_same();
    assert_eq!(pair.status(Side::Source).client_errors, 0);
}

#[test]
fn writes_after_the_cut_over_survive_the_rollback_and_the_death_of_the_old_site() {
    let mut pair = in_step(32 * MIB);
    let writer = Writer::start(&pair, Side::Source, 500, 11);
    writer.let_write(100);
    pair.cut_over(Side::Source, Side::Target, "rehearsal")
        .unwrap();
    assert_eq!(pair.status(Side::Target).role, Role::Primary);
    assert_eq!(pair.status(Side::Source).role, Role::Secondary);
    writer.let_write(100);
    pair.cut_over(Side::Target, Side::Source, "rehearsal-back")
        .unwrap();
    assert_eq!(pair.status(Side::Source).role, Role::Primary);
    writer.let_write(100);
    let cut = pair.cut_over(Side::Source, Side::Target, "real").unwrap();
    let again = pair.cut_over(Side::Source, Side::Target, "real").unwrap();
    assert_eq!(cut, again, "the same cut asked twice is done once");
    writer.let_write(100);
    let versions = writer.stop();
    pair.kill(Side::Source);
    assert_all_present(&pair, Side::Target, &versions);
}

#[test]
fn both_sides_agree_on_the_digest_of_the_cut_while_writes_go_on() {
    let pair = in_step(64 * MIB);
    let writer = Writer::start(&pair, Side::Source, 2000, 5);
    writer.let_write(50);
    pair.cut_over(Side::Source, Side::Target, "cut").unwrap();
    writer.let_write(300);
    let digest = |side| {
        let known = pair.wait_for(side, "the digest", |s| {
            s.cut_digest
                .as_ref()
                .is_some_and(|digest| !digest.root.is_empty())
        });
        known.cut_digest.unwrap()
    };
    let (here, there) = (digest(Side::Source), digest(Side::Target));
    assert_eq!(here, there);
    assert_eq!(here.id, "cut");
    writer.stop();
}

#[test]
fn only_dirty_blocks_are_sent_again_after_the_target_was_gone() {
    let mut pair = in_step(256 * MIB);
    let writer = Writer::start(&pair, Side::Source, 300, 3);
    writer.let_write(50);
    pair.kill(Side::Target);
    pair.wait_for(Side::Source, "degraded", |s| s.sync == SyncState::Degraded);
    assert_ne!(
        pair.status(Side::Source).rpo_us,
        Some(0),
        "never RPO 0 while degraded"
    );
    writer.let_write(200);
    pair.start(Side::Target);
    let status = pair.wait_in_step(Side::Source);
    assert!(status.resync_bytes > 0);
    assert!(
        status.resync_bytes * 10 <= status.dirtied_bytes * 12,
        "{status:?}"
    );
    // 300 slots were written to at all.
    assert!(
        status.dirtied_bytes <= 300 * ledger::SLOT_BYTES,
        "{status:?}"
    );
    assert_eq!(status.rpo_us, Some(0));
    writer.stop();
    pair.wait_in_step(Side::Source);
    pair.assert_same();
}

#[test]
fn acknowledged_writes_survive_kills_of_either_side_at_random_moments() {
    let kills: u64 = std::env::var("YUNDU_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let seed: u64 = std::env::var("YUNDU_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(42);
    eprintln!("YUNDU_SEED={seed} YUNDU_KILLS={kills}");
    let mut dice = Dice(seed);
    let mut pair = in_step(64 * MIB);
    let writer = Writer::start(&pair, Side::Source, 3000, seed);
    let mut primary = Side::Source;
    for round in 0..kills {
        writer.let_write(dice.roll(120) + 5);
        let side = if dice.roll(2) == 0 {
            Side::Source
        } else {
            Side::Target
        };
        // Sometimes in the middle of a cut-over.
        if dice.roll(2) == 0 && pair.status(primary).sync == SyncState::InStep {
            let to = if primary == Side::Source {
                Side::Target
            } else {
                Side::Source
            };
            let mut control = pair.control(primary);
            let id = format!("cut-{round}");
            let cutting = std::thread::spawn(move || {
                let _ = control.request(&Request::Cutover { id, to_me: false });
            });
            std::thread::sleep(Duration::from_micros(dice.roll(6000)));
            pair.kill(side);
            // First the restart: after a promise only the other side can say who is primary, and
            // requests, this one among them, wait until it is back.
            pair.start(side);
            cutting.join().unwrap();
            let linked = |side| pair.wait_for(side, "the link", |s| s.link == Link::Up);
            linked(Side::Source);
            primary = if linked(to).role == Role::Primary {
                to
            } else {
                primary
            };
        } else {
            pair.kill(side);
            std::thread::sleep(Duration::from_millis(dice.roll(300)));
            pair.start(side);
        }
        let (source, target) = (pair.status(Side::Source), pair.status(Side::Target));
        assert!(
            source.role != target.role,
            "exactly one primary: {source:?} {target:?}"
        );
        if dice.roll(3) != 0 {
            pair.wait_in_step(primary);
        }
    }
    pair.wait_in_step(primary);
    let versions = writer.stop();
    pair.wait_in_step(primary);
    assert_all_present(&pair, Side::Source, &versions);
    assert_all_present(&pair, Side::Target, &versions);
    pair.assert_same();
    assert!(versions.iter().any(|version| *version > 0));
}

#[test]
fn an_altered_block_of_the_target_is_found_and_repaired_under_load() {
    let pair = in_step(64 * MIB);
    let writer = Writer::start(&pair, Side::Source, 200, 9);
    let target = std::fs::File::options()
        .write(true)
        .open(pair.image(Side::Target))
        .unwrap();
    target
        .write_all_at(b"altered behind the back of everyone", 4 * MIB + 77)
        .unwrap();
    let found = pair.volume(Side::Source, &["verify"]);
    assert_eq!(
        found.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let verification = pair.status(Side::Source).verification.unwrap();
    assert_eq!(verification.differing_offsets, vec![4 * MIB]);
    assert!(
        pair.volume(Side::Source, &["verify", "--repair"])
            .status
            .success()
    );
    pair.wait_in_step(Side::Source);
    let clean = pair.volume(Side::Source, &["verify"]);
    assert!(
        clean.status.success(),
        "{}",
        String::from_utf8_lossy(&clean.stderr)
    );
    writer.stop();
    pair.wait_in_step(Side::Source);
    pair.assert_same();
}

#[test]
fn a_copy_is_refused_where_it_would_harm_and_nothing_is_changed() {
    let mut pair = Pair::new(8 * MIB);
    std::fs::write(pair.image(Side::Target), vec![1; 8 * MIB as usize]).unwrap();
    pair.start(Side::Target);
    pair.start(Side::Source);
    let to = pair.peer();
    let output = pair.volume(Side::Source, &["replicate", "--to", &to, "--wait"]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("not empty"), "{text}");
    assert_eq!(
        std::fs::read(pair.image(Side::Target)).unwrap(),
        vec![1; 8 * MIB as usize]
    );

    pair.kill(Side::Target);
    std::fs::remove_dir_all(yundu_replicate::state::StateDirectory::path_for(
        &pair.image(Side::Target),
    ))
    .unwrap();
    std::fs::File::create(pair.image(Side::Target))
        .unwrap()
        .set_len(MIB)
        .unwrap();
    pair.start(Side::Target);
    let output = pair.volume(Side::Source, &["replicate", "--to", &to, "--wait"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("larger image"), "{text}");
    assert_eq!(
        std::fs::metadata(pair.image(Side::Target)).unwrap().len(),
        MIB
    );

    let cut = pair.volume(Side::Source, &["cutover"]);
    assert_eq!(cut.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&cut.stderr).contains("not in step"));
}

#[test]
fn what_cannot_be_served_is_named_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("v.img");
    std::fs::File::create(&image).unwrap().set_len(MIB).unwrap();
    let serve = |listen: &str| {
        let output = yundu()
            .args(["volume", "serve"])
            .arg(&image)
            .args(["--listen", listen])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let taken = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let (code, text) = serve(&taken.local_addr().unwrap().to_string());
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("port in use"), "{text}");
    let (code, text) = serve("0.0.0.0:10809");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--allow-plaintext"), "{text}");
    let missing = yundu()
        .args(["volume", "status", "nobody"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("`nobody`"));
}
