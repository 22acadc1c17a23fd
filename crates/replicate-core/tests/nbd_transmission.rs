//! Requests and replies byte by byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use bytes::Bytes;
use yundu_replicate_core::nbd::{
    Command, ExportInfo, ReadExtent, Request, ServerSession, SessionEvent,
};

const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;
const EOVERFLOW: u32 = 75;
const SIZE: u64 = 1 << 30;

fn output(session: &mut ServerSession) -> Vec<u8> {
    let bytes = session.output().flatten().copied().collect::<Vec<_>>();
    session.advance_output(bytes.len());
    bytes
}

fn send(session: &mut ServerSession, mut bytes: &[u8]) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    loop {
        let taken = session.feed(bytes);
        bytes = &bytes[taken..];
        let before = events.len();
        events.extend(std::iter::from_fn(|| session.next_event()));
        if bytes.is_empty() || (taken == 0 && before == events.len()) {
            return events;
        }
    }
}

fn option(option: u32, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [b"IHAVEOPT".as_slice(), &option.to_be_bytes(), &length, data].concat()
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Simple,
    Structured,
    BlockStatus,
}

fn connected_to(style: Style, change: impl FnOnce(&mut ExportInfo)) -> ServerSession {
    let mut export = ExportInfo {
        name: "v".into(),
        size_bytes: SIZE,
        read_only: false,
        block_size_min: 1,
        block_size_preferred: 4096,
        payload_bytes_max: 32 << 20,
    };
    change(&mut export);
    let mut session = ServerSession::new(vec![export]);
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    if style != Style::Simple {
        bytes.extend(option(8, &[]));
    }
    if style == Style::BlockStatus {
        bytes.extend(option(
            10,
            b"\0\0\0\x01v\0\0\0\x01\0\0\0\x0fbase:allocation",
        ));
    }
    bytes.extend(option(7, b"\0\0\0\x01v\0\0"));
    assert_eq!(send(&mut session, &bytes), [SessionEvent::Ready]);
    output(&mut session);
    session
}

fn connected(style: Style) -> ServerSession {
    connected_to(style, |_| ())
}

fn request(flags: u16, kind: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

fn simple(errno: u32, cookie: u64) -> Vec<u8> {
    [
        &0x6744_6698_u32.to_be_bytes()[..],
        &errno.to_be_bytes(),
        &cookie.to_be_bytes(),
    ]
    .concat()
}

fn chunk(done: bool, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 0x668e_33ef_u32.to_be_bytes().to_vec();
    bytes.extend(u16::from(done).to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn asked(cookie: u64, command: Command) -> SessionEvent {
    SessionEvent::Request(Request { cookie, command })
}

/// The error with which one request is refused, without reaching the driver.
fn refusal(session: &mut ServerSession, bytes: &[u8]) -> u32 {
    assert_eq!(send(session, bytes), []);
    let reply = output(session);
    let at = if reply[..4] == 0x6744_6698_u32.to_be_bytes() {
        4
    } else {
        20
    };
    u32::from_be_bytes(reply[at..at + 4].try_into().unwrap())
}

#[test]
fn every_command_arrives_with_its_fields() {
    let mut session = connected(Style::BlockStatus);
    let bytes = [
        request(4, 0, 1, 512, 4096),
        [request(1, 1, 2, 7, 3), b"abc".to_vec()].concat(),
        request(0, 3, 3, 0, 0),
        request(1, 4, 4, 4096, 8192),
        request(0, 5, 5, 0, 65536),
        request(1 | 2 | 16, 6, 6, 0, 1 << 29),
        request(8, 7, 7, 4096, 1 << 20),
    ]
    .concat();
    let data = Bytes::from_static(b"abc");
    assert_eq!(
        send(&mut session, &bytes),
        [
            asked(
                1,
                Command::Read {
                    offset: 512,
                    length: 4096,
                    dont_fragment: true
                }
            ),
            asked(
                2,
                Command::Write {
                    offset: 7,
                    data,
                    fua: true
                }
            ),
            asked(3, Command::Flush),
            asked(
                4,
                Command::Trim {
                    offset: 4096,
                    length: 8192,
                    fua: true
                }
            ),
            asked(
                5,
                Command::Cache {
                    offset: 0,
                    length: 65536
                }
            ),
            asked(
                6,
                Command::WriteZeroes {
                    offset: 0,
                    length: 1 << 29,
                    fua: true,
                    no_hole: true,
                    fast: true
                }
            ),
            asked(
                7,
                Command::BlockStatus {
                    offset: 4096,
                    length: 1 << 20,
                    one: true
                }
            ),
        ]
    );
    assert_eq!(session.requests_in_flight(), 7);
}

#[test]
fn simple_replies_have_the_layout_of_the_specification() {
    let mut session = connected(Style::Simple);
    let reads = [
        request(0, 0, 0xa1, 0, 4),
        request(0, 0, 0xa2, 0, 6),
        request(0, 3, 0xa3, 0, 0),
    ];
    send(&mut session, &reads.concat());
    session.reply_error(0xa1, 5, "unseen");
    let extents = [
        ReadExtent::Data(Bytes::from_static(b"xyz")),
        ReadExtent::Hole(3),
    ];
    session.reply_read_extents(0xa2, 0, &extents, false);
    session.reply_done(0xa3);
    let expected = [
        simple(5, 0xa1),
        simple(0, 0xa2),
        b"xyz\0\0\0".to_vec(),
        simple(0, 0xa3),
    ];
    assert_eq!(output(&mut session), expected.concat());
    assert_eq!(session.requests_in_flight(), 0);
}

#[test]
fn structured_replies_have_the_layout_of_the_specification() {
    let mut session = connected(Style::BlockStatus);
    let requests = [
        request(0, 0, 1, 16, 6),
        request(0, 0, 2, 0x1000, 7),
        request(4, 0, 3, 0x1000, 7),
        request(0, 0, 4, 0, 512),
        request(0, 1, 5, 0, 1),
        b"x".to_vec(),
        request(0, 7, 6, 0, 4096),
        request(0, 3, 7, 0, 0),
    ];
    assert_eq!(send(&mut session, &requests.concat()).len(), 7);
    let offset = |at: u64| at.to_be_bytes().to_vec();
    session.reply_read(1, 16, Bytes::from_static(b"abcdef"));
    assert_eq!(
        output(&mut session),
        chunk(true, 1, 1, &[offset(16), b"abcdef".to_vec()].concat())
    );

    let extents = [
        ReadExtent::Hole(4),
        ReadExtent::Data(Bytes::from_static(b"xyz")),
    ];
    session.reply_read_extents(2, 0x1000, &extents, false);
    let hole = chunk(false, 2, 2, &[offset(0x1000), vec![0, 0, 0, 4]].concat());
    let data = chunk(true, 1, 2, &[offset(0x1004), b"xyz".to_vec()].concat());
    assert_eq!(output(&mut session), [hole, data].concat());

    session.reply_read_extents(3, 0x1000, &extents, true);
    let whole = [offset(0x1000), b"\0\0\0\0xyz".to_vec()].concat();
    assert_eq!(output(&mut session), chunk(true, 1, 3, &whole));

    session.reply_read_hole(4, 0, 512, true);
    assert_eq!(
        output(&mut session),
        chunk(true, 2, 4, &[offset(0), vec![0, 0, 2, 0]].concat())
    );

    session.reply_error(5, ENOSPC, "满");
    let error = [
        ENOSPC.to_be_bytes().to_vec(),
        vec![0, 3],
        "满".as_bytes().to_vec(),
    ]
    .concat();
    assert_eq!(output(&mut session), chunk(true, 0x8001, 5, &error));

    session.reply_block_status(6, &[(4096, 3), (8192, 0)]);
    let status = [
        [0, 0, 0, 1],
        [0, 0, 16, 0],
        [0, 0, 0, 3],
        [0, 0, 32, 0],
        [0; 4],
    ]
    .concat();
    assert_eq!(output(&mut session), chunk(true, 5, 6, &status));

    session.reply_done(7);
    assert_eq!(output(&mut session), chunk(true, 0, 7, &[]));
}

#[test]
fn invalid_requests_get_the_error_that_the_specification_names() {
    let write =
        |offset, length: u32| [request(0, 1, 9, offset, length), vec![1; length as usize]].concat();
    for style in [Style::Simple, Style::Structured] {
        let mut session = connected(style);
        let session = &mut session;
        assert_eq!(
            refusal(session, &request(0, 0, 9, SIZE - 1, 2)),
            EINVAL,
            "read past the end"
        );
        assert_eq!(
            refusal(session, &request(0, 0, 9, u64::MAX, 2)),
            EINVAL,
            "read wraps around"
        );
        assert_eq!(
            refusal(session, &write(SIZE - 1, 2)),
            ENOSPC,
            "write past the end"
        );
        assert_eq!(
            refusal(session, &write(u64::MAX - 4, 100_000)),
            ENOSPC,
            "write wraps around"
        );
        assert_eq!(
            refusal(session, &request(0, 6, 9, SIZE, 1)),
            ENOSPC,
            "zeroes past the end"
        );
        assert_eq!(
            refusal(session, &request(0, 4, 9, SIZE, 1)),
            EINVAL,
            "trim past the end"
        );
        assert_eq!(
            refusal(session, &request(0, 3, 9, 1, 0)),
            EINVAL,
            "flush with an offset"
        );
        assert_eq!(
            refusal(session, &request(0, 7, 9, 0, 512)),
            EINVAL,
            "status without context"
        );
        assert_eq!(
            refusal(session, &request(0, 99, 9, 0, 512)),
            EINVAL,
            "unknown command"
        );
        assert_eq!(
            refusal(session, &request(2, 0, 9, 0, 512)),
            EINVAL,
            "flag of another command"
        );
        assert_eq!(
            refusal(session, &request(1 << 9, 3, 9, 0, 0)),
            EINVAL,
            "unknown flag"
        );
        let flagged = [request(16, 1, 9, 0, 5), b"12345".to_vec()].concat();
        assert_eq!(
            refusal(session, &flagged),
            EINVAL,
            "unknown flag of a write"
        );
        let limit = if style == Style::Simple {
            EINVAL
        } else {
            EOVERFLOW
        };
        assert_eq!(
            refusal(session, &request(0, 0, 9, 0, (32 << 20) + 1)),
            limit,
            "long read"
        );
        // After all that the stream is still in step.
        assert_eq!(
            send(session, &request(0, 3, 10, 0, 0)),
            [asked(10, Command::Flush)]
        );
    }
    let mut session = connected(Style::Simple);
    assert_eq!(
        refusal(&mut session, &request(4, 0, 9, 0, 512)),
        EINVAL,
        "DF without structure"
    );
}

#[test]
fn export_limits_are_enforced() {
    let mut session = connected_to(Style::Simple, |export| export.read_only = true);
    let write = [request(0, 1, 9, 0, 3), b"abc".to_vec()].concat();
    assert_eq!(refusal(&mut session, &write), EPERM);
    assert_eq!(refusal(&mut session, &request(0, 4, 9, 0, 1)), EPERM);
    assert_eq!(refusal(&mut session, &request(0, 6, 9, 0, 1)), EPERM);
    assert_eq!(send(&mut session, &request(0, 3, 1, 0, 0)).len(), 1);

    let mut session = connected_to(Style::Simple, |export| {
        export.block_size_min = 512;
        export.payload_bytes_max = 1 << 20;
    });
    assert_eq!(refusal(&mut session, &request(0, 0, 9, 100, 512)), EINVAL);
    assert_eq!(refusal(&mut session, &request(0, 0, 9, 512, 100)), EINVAL);
    let long = [request(0, 1, 9, 0, 2 << 20), vec![0; 2 << 20]].concat();
    assert_eq!(refusal(&mut session, &long), EINVAL);
    assert_eq!(send(&mut session, &request(0, 0, 1, 512, 1024)).len(), 1);
}

#[test]
fn requests_of_zero_length_succeed_and_do_not_disconnect() {
    for style in [Style::Simple, Style::Structured] {
        for kind in [0, 1, 4, 5, 6] {
            let mut session = connected(style);
            assert_eq!(send(&mut session, &request(0, kind, 3, 0, 0)), []);
            let done = if style == Style::Simple {
                simple(0, 3)
            } else {
                chunk(true, 0, 3, &[])
            };
            assert_eq!(output(&mut session), done);
        }
    }
}

#[test]
fn a_write_beyond_any_reason_or_a_wrong_magic_ends_the_session() {
    let mut session = connected(Style::Simple);
    let events = send(&mut session, &request(0, 1, 9, 0, (32 << 20) + 1));
    assert!(matches!(&events[..], [SessionEvent::Fatal(_)]));
    let mut session = connected(Style::Simple);
    let mut bytes = request(0, 0, 9, 0, 512);
    bytes[0] ^= 1;
    assert!(matches!(
        &send(&mut session, &bytes)[..],
        [SessionEvent::Fatal(_)]
    ));
    assert!(!session.wants_input());
}

#[test]
fn goodbye_ends_the_session_and_pending_requests_are_still_answered() {
    let mut session = connected(Style::Simple);
    let bytes = [
        request(0, 3, 1, 0, 0),
        request(0, 2, 0, 0, 0),
        request(0, 3, 2, 0, 0),
    ]
    .concat();
    let events = send(&mut session, &bytes);
    assert_eq!(events, [asked(1, Command::Flush), SessionEvent::Disconnect]);
    session.reply_done(1);
    assert_eq!(output(&mut session), simple(0, 1));
}

#[test]
fn a_flood_of_requests_waits_instead_of_filling_memory() {
    let mut session = connected(Style::Simple);
    let flood: Vec<u8> = (0..5000)
        .flat_map(|cookie| request(0, 3, cookie, 0, 0))
        .collect();
    let events = send(&mut session, &flood);
    assert_eq!(events.len(), 1024);
    assert!(!session.wants_input());
    assert!(session.input().is_empty());
    session.reply_done(0);
    assert_eq!(session.next_event(), Some(asked(1024, Command::Flush)));

    let mut session = connected(Style::Simple);
    let reads: Vec<u8> = (0..100)
        .flat_map(|cookie| request(0, 0, cookie, 0, 8 << 20))
        .collect();
    assert_eq!(send(&mut session, &reads).len(), 4);
    session.reply_error(0, 5, "");
    (1..4).for_each(|cookie| session.reply_read(cookie, 0, vec![0; 8 << 20].into()));
    assert_eq!(session.next_event(), None, "too much output waits");
    assert_eq!(output(&mut session).len(), 16 + 3 * (16 + (8 << 20)));
    assert!(session.next_event().is_some());

    let mut session = connected(Style::Simple);
    let write = [request(0, 1, 7, 0, 16 << 20), vec![3; 16 << 20]].concat();
    let first = send(&mut session, &write);
    let second = send(&mut session, &write);
    assert_eq!((first.len(), second.len()), (1, 1));
    session.reply_done(7);
    session.reply_done(7);
    assert!(!session.wants_input(), "the payloads are still held");
    drop(first);
    assert!(session.wants_input());
}

#[test]
fn a_large_payload_lands_once() {
    let mut session = connected(Style::Simple);
    let length = 1 << 20;
    send(&mut session, &request(0, 1, 5, 4096, length));
    let landing = session.input();
    assert!(landing.len() >= length as usize);
    landing[..length as usize].fill(9);
    let address = landing.as_ptr();
    // The next header comes by the same read.
    landing[length as usize..][..28].copy_from_slice(&request(0, 3, 6, 0, 0));
    session.consumed_input(length as usize + 28);
    let Some(SessionEvent::Request(Request {
        command: Command::Write { data, .. },
        ..
    })) = session.next_event()
    else {
        panic!("no write");
    };
    assert_eq!((data.as_ptr(), data.len()), (address, length as usize));
    assert!(data.iter().all(|byte| *byte == 9));
    assert_eq!(session.next_event(), Some(asked(6, Command::Flush)));
}
