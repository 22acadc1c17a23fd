//! The blocking client against real servers of others, and against one that comes and goes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::io::{IoSlice, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use yundu_replicate::nbd_client::{NbdAddress, NbdClient, NbdClientError, NbdClientOptions};
use yundu_replicate_core::nbd::{Command, ExportInfo, ServerSession, SessionEvent};

const SIZE: u64 = 1 << 20;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[&str]) -> Option<Server> {
    let child = Process::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(child) => Some(Server(child)),
        Err(error) => {
            println!("skipped: {program} is not here ({error}); install it to run this test");
            None
        }
    }
}

fn patient() -> NbdClientOptions {
    NbdClientOptions {
        timeout: Duration::from_secs(10),
        retry_for: Duration::from_secs(10),
    }
}

/// Every request once, on a fresh volume of zeroes.
fn exercise(client: &mut NbdClient) {
    assert_eq!(client.granted().size_bytes, SIZE);
    assert!(client.read(0, 8192).unwrap().iter().all(|byte| *byte == 0));
    let data: Vec<u8> = (0..300_000_u32).map(|at| (at * 7 % 251) as u8).collect();
    client.write(4096, data.clone().into()).unwrap();
    client.write_fua(512, vec![5; 512].into()).unwrap();
    client.flush().unwrap();
    assert_eq!(client.read(4096, 300_000).unwrap(), data);
    assert_eq!(client.read(512, 512).unwrap(), vec![5; 512]);
    client.write_zeroes(4096, 65_536).unwrap();
    assert!(
        client
            .read(4096, 65_536)
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
    assert_eq!(client.read(69_632, 100).unwrap(), data[65_536..65_636]);
    let error = client.write(SIZE, vec![1; 512].into()).unwrap_err();
    assert!(matches!(error, NbdClientError::Reply { .. }), "{error}");
    let meters = client.meters();
    assert_eq!((meters.requests, meters.reconnects), (10, 0));
    assert!(meters.wait_us_max > 0);
}

#[test]
fn nbdkit_understands_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let path = socket.to_str().unwrap();
    let Some(_server) = start("nbdkit", &["-f", "-U", path, "memory", "1M"]) else {
        return;
    };
    let mut client = NbdClient::connect(NbdAddress::Unix(socket), "", patient()).unwrap();
    exercise(&mut client);
    client.disconnect();
}

#[test]
fn qemu_understands_the_client_and_names_a_missing_export() {
    let folder = tempfile::tempdir().unwrap();
    let (image, socket) = (folder.path().join("image"), folder.path().join("socket"));
    std::fs::File::create(&image)
        .unwrap()
        .set_len(SIZE)
        .unwrap();
    let (image, path) = (image.to_str().unwrap(), socket.to_str().unwrap());
    let arguments = ["-f", "raw", "-t", "-x", "bank", "-k", path, image];
    let Some(_server) = start("qemu-nbd", &arguments) else {
        return;
    };
    let address = NbdAddress::Unix(socket);
    let mut client = NbdClient::connect(address.clone(), "bank", patient()).unwrap();
    exercise(&mut client);
    client.disconnect();
    let error = NbdClient::connect(address, "nowhere", patient()).unwrap_err();
    assert!(matches!(&error, NbdClientError::Session { .. }), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

/// Serves one connection from memory, and breaks off when `requests` were answered.
fn serve(mut stream: UnixStream, volume: &Mutex<Vec<u8>>, requests: usize) {
    let export = ExportInfo {
        name: "v".into(),
        size_bytes: SIZE,
        read_only: false,
        block_size_min: 1,
        block_size_preferred: 4096,
        payload_bytes_max: 32 << 20,
    };
    let mut session = ServerSession::new(vec![export]);
    let mut answered = 0;
    loop {
        while session.output_bytes() > 0 {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = session.output_slices(&mut slices);
            let Ok(written) = stream.write_vectored(&slices[..count]) else {
                return;
            };
            session.advance_output(written);
        }
        let Ok(count @ 1..) = stream.read(session.input()) else {
            return;
        };
        session.consumed_input(count);
        while let Some(event) = session.next_event() {
            let SessionEvent::Request(request) = event else {
                continue;
            };
            let mut volume = volume.lock().unwrap();
            match request.command {
                Command::Write { offset, data, .. } => {
                    volume[offset as usize..][..data.len()].copy_from_slice(&data);
                }
                Command::Read { offset, length, .. } => {
                    let data = volume[offset as usize..][..length as usize].to_vec();
                    session.reply_read(request.cookie, offset, data.into());
                    continue;
                }
                _ => {}
            }
            // The last request is carried out, and its reply never leaves.
            answered += 1;
            if answered == requests {
                return;
            }
            session.reply_done(request.cookie);
        }
    }
}

fn bind(path: &Path) -> UnixListener {
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).unwrap()
}

#[test]
fn requests_survive_a_server_that_breaks_off_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let volume = Arc::new(Mutex::new(vec![0; SIZE as usize]));
    let (path, shared) = (socket.clone(), Arc::clone(&volume));
    let listener = bind(&path);
    let server = std::thread::spawn(move || {
        let mut listener = Some(listener);
        for requests in [3, 5, 1, usize::MAX] {
            let waiting = listener.take().unwrap_or_else(|| bind(&path));
            let stream = waiting.accept().unwrap().0;
            drop(waiting);
            serve(stream, &shared, requests);
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let mut client = NbdClient::connect(NbdAddress::Unix(socket), "v", patient()).unwrap();
    for index in 0..12_u8 {
        client
            .write(u64::from(index) * 4096, vec![index + 1; 4096].into())
            .unwrap();
        client.flush().unwrap();
    }
    for index in 0..12_u8 {
        let data = client.read(u64::from(index) * 4096, 4096).unwrap();
        assert!(data.iter().all(|byte| *byte == index + 1));
    }
    let meters = client.meters();
    assert_eq!((meters.requests, meters.reconnects), (36, 3));
    assert!(meters.wait_us_max >= 60_000, "{meters:?}");
    client.disconnect();
    server.join().unwrap();
}

#[test]
fn patience_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let address = NbdAddress::Unix(folder.path().join("nothing"));
    let options = NbdClientOptions {
        timeout: Duration::from_secs(1),
        retry_for: Duration::from_millis(200),
    };
    let begun = Instant::now();
    let error = NbdClient::connect(address, "v", options).unwrap_err();
    assert!(
        matches!(
            error,
            NbdClientError::Connection {
                waited_ms: 200..,
                ..
            }
        ),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_silent_server_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = bind(&socket);
    let options = NbdClientOptions {
        timeout: Duration::from_millis(200),
        retry_for: Duration::ZERO,
    };
    let error = NbdClient::connect(NbdAddress::Unix(socket), "v", options).unwrap_err();
    assert!(error.to_string().contains("silent"), "{error}");
}
