//! Clients of others against the server codec: a plain thread per connection around a volume in
//! memory. Each test says so and passes when its client is not installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use bytes::Bytes;
use std::io::{IoSlice, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use yundu_replicate_core::nbd::protocol::{ENOTSUP, STATE_HOLE, STATE_ZERO};
use yundu_replicate_core::nbd::{
    Command, ExportInfo, ReadExtent, Request, ServerSession, SessionEvent,
};

const SIZE: u64 = 64 << 20;
const BLOCK: u64 = 64 << 10;

type Volume = Arc<Mutex<Vec<u8>>>;

/// A server in a folder that goes with it; its threads end with the process.
struct Server {
    folder: tempfile::TempDir,
    volume: Volume,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let volume: Volume = Arc::new(Mutex::new(vec![0; SIZE as usize]));
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let shared = Arc::clone(&volume);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, volume) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &volume));
            }
        });
        Self { folder, volume }
    }

    fn uri(&self) -> String {
        format!(
            "nbd+unix:///bank?socket={}",
            self.folder.path().join("s").display()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn serve(mut stream: UnixStream, volume: &Volume) {
    let export = ExportInfo {
        name: "bank".into(),
        size_bytes: SIZE,
        read_only: false,
        block_size_min: 1,
        block_size_preferred: 4096,
        payload_bytes_max: 32 << 20,
    };
    let mut session = ServerSession::new(vec![export]);
    loop {
        loop {
            while let Some(event) = session.next_event() {
                match event {
                    SessionEvent::Request(request) => answer(&mut session, request, volume),
                    SessionEvent::Ready | SessionEvent::Disconnect => {}
                    SessionEvent::Fatal(reason) => panic!("a client broke the protocol: {reason}"),
                }
            }
            if session.output_bytes() == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 64];
            let count = session.output_slices(&mut slices);
            let Ok(written) = stream.write_vectored(&slices[..count]) else {
                return;
            };
            session.advance_output(written);
        }
        if !session.wants_input() {
            return;
        }
        let Ok(count @ 1..) = stream.read(session.input()) else {
            return;
        };
        session.consumed_input(count);
    }
}

fn answer(session: &mut ServerSession, request: Request, volume: &Volume) {
    let cookie = request.cookie;
    let mut volume = volume.lock().unwrap();
    match request.command {
        Command::Read {
            offset,
            length,
            dont_fragment,
        } => {
            let mut extents = Vec::new();
            for (length, zero, at) in pieces(&volume, offset, u64::from(length)) {
                extents.push(if zero {
                    ReadExtent::Hole(length as u32)
                } else {
                    let data = &volume[at as usize..(at + length) as usize];
                    ReadExtent::Data(Bytes::copy_from_slice(data))
                });
            }
            return session.reply_read_extents(cookie, offset, &extents, dont_fragment);
        }
        Command::BlockStatus {
            offset,
            length,
            one,
        } => {
            // Lazily: qemu asks for one extent of the whole rest, again and again.
            let extents: Vec<_> = pieces(&volume, offset, length)
                .map(|(length, zero, _)| {
                    (
                        length as u32,
                        if zero { STATE_HOLE | STATE_ZERO } else { 0 },
                    )
                })
                .take(if one { 1 } else { 1024 })
                .collect();
            return session.reply_block_status(cookie, &extents);
        }
        Command::WriteZeroes { fast: true, .. } => {
            return session.reply_error(cookie, ENOTSUP, "not faster than writing");
        }
        Command::WriteZeroes { offset, length, .. } | Command::Trim { offset, length, .. } => {
            volume[offset as usize..(offset + length) as usize].fill(0);
        }
        Command::Write { offset, data, .. } => {
            volume[offset as usize..][..data.len()].copy_from_slice(&data);
        }
        Command::Flush | Command::Cache { .. } => {}
    }
    session.reply_done(cookie);
}

/// (length, reads as zeroes, offset) of the blocks of a range.
fn pieces(volume: &[u8], offset: u64, length: u64) -> impl Iterator<Item = (u64, bool, u64)> {
    let end = offset + length;
    let mut at = offset;
    std::iter::from_fn(move || {
        let next = ((at / BLOCK + 1) * BLOCK).min(end);
        let piece = volume[at as usize..next as usize]
            .iter()
            .all(|byte| *byte == 0);
        let found = (next - at, piece, at);
        at = next;
        (found.0 > 0).then_some(found)
    })
}

/// The output of a program that must succeed; `None` when it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Process::new(program).args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: {program} is not here ({error}); install it to run this test");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{complaint}"
    );
    Some(text)
}

/// A file of noise and holes, in runs of 3 blocks.
fn write_sample(path: &Path) -> Vec<u8> {
    let mut state = 1_u64;
    let mut sample = vec![0; SIZE as usize];
    for (index, block) in sample.chunks_mut(BLOCK as usize).enumerate() {
        if index / 3 % 2 == 0 {
            for word in block.chunks_mut(8) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                word.copy_from_slice(&state.to_le_bytes());
            }
        }
    }
    std::fs::write(path, &sample).unwrap();
    sample
}

#[test]
fn nbdinfo_reads_every_aspect() {
    let server = Server::start();
    server.volume.lock().unwrap()[BLOCK as usize] = 1;
    let Some(info) = run("nbdinfo", &["--json", &server.uri()]) else {
        return;
    };
    for aspect in [
        "\"protocol\": \"newstyle-fixed\"",
        "\"structured\": true",
        "\"export-name\": \"bank\"",
        "\"export-size\": 67108864",
        "\"base:allocation\"",
        "\"can_df\": true",
        "\"can_multi_conn\": true",
        "\"can_fast_zero\": true",
        "\"can_cache\": true",
        "\"can_flush\": true",
        "\"can_fua\": true",
        "\"can_trim\": true",
        "\"can_zero\": true",
        "\"is_read_only\": false",
        "\"is_rotational\": false",
        "\"block_size_preferred\": 4096",
    ] {
        assert!(info.contains(aspect), "{aspect} is missing in {info}");
    }
    let list = run("nbdinfo", &["--list", &server.uri()]).unwrap();
    assert!(list.contains("bank"), "{list}");
    let map = run("nbdinfo", &["--map", "--json", &server.uri()]).unwrap();
    assert!(map.contains("\"offset\": 65536"), "{map}");
}

#[test]
fn nbdcopy_brings_an_image_in_and_out() {
    let server = Server::start();
    let sample = write_sample(&server.path("in"));
    let (source, target) = (server.path("in"), server.path("out"));
    let (source, target) = (source.to_str().unwrap(), target.to_str().unwrap());
    if run("nbdcopy", &["--flush", source, &server.uri()]).is_none() {
        return;
    }
    assert!(*server.volume.lock().unwrap() == sample);
    run("nbdcopy", &[&server.uri(), target]);
    assert!(std::fs::read(target).unwrap() == sample);
}

#[test]
fn qemu_img_brings_an_image_in_and_out() {
    let server = Server::start();
    let sample = write_sample(&server.path("in"));
    let (source, target) = (server.path("in"), server.path("out"));
    let (source, target) = (source.to_str().unwrap(), target.to_str().unwrap());
    let uri = server.uri();
    let out = [
        "convert", "-n", "-W", "-m", "16", "-f", "raw", "-O", "raw", source, &uri,
    ];
    if run("qemu-img", &out).is_none() {
        return;
    }
    assert!(*server.volume.lock().unwrap() == sample);
    run(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "raw", &uri, target],
    );
    assert!(std::fs::read(target).unwrap() == sample);
    let comparison = run(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "raw", source, &uri],
    )
    .unwrap();
    assert!(comparison.contains("identical"), "{comparison}");
    let map = run("qemu-img", &["map", "--output=json", "-f", "raw", &uri]).unwrap();
    assert!(
        map.contains("\"start\": 196608, \"length\": 196608"),
        "{map}"
    );
}

#[test]
fn qemu_io_writes_reads_zeroes_and_discards() {
    let server = Server::start();
    let commands = "write -P 7 4096 1M; write -f -P 9 512 512; flush; read -P 7 4096 1M; \
                    read -P 9 512 512; write -z 8192 64k; read -P 0 8192 64k; \
                    discard 1M 1k; aio_write -P 3 2M 16M; aio_flush; read -P 3 2M 16M";
    let commands: Vec<_> = commands
        .split(';')
        .flat_map(|command| ["-c", command])
        .collect();
    let uri = server.uri();
    let arguments = [&["-f", "raw"][..], &commands, &[&uri]].concat();
    let Some(text) = run("qemu-io", &arguments) else {
        return;
    };
    assert!(!text.contains("failed"), "{text}");
    assert_eq!(server.volume.lock().unwrap()[512], 9);
}

#[test]
fn fio_verifies_what_it_wrote() {
    let server = Server::start();
    let uri = format!("--uri={}", server.uri());
    let arguments = [
        "--name=v",
        "--ioengine=nbd",
        &uri,
        "--rw=randwrite",
        "--bsrange=4k-256k",
        "--iodepth=32",
        "--size=32m",
        "--verify=crc32c",
        "--do_verify=1",
        "--fsync=16",
    ];
    run("fio", &arguments);
}
