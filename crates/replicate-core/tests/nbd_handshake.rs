//! The negotiation byte by byte, as a client of the specification writes and reads it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use yundu_replicate_core::nbd::{ExportInfo, ServerSession, SessionEvent};

const UNSUP: u32 = 0x8000_0001;
const INVALID: u32 = 0x8000_0003;
const UNKNOWN: u32 = 0x8000_0006;
const TOO_BIG: u32 = 0x8000_0009;
/// HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO.
const FLAGS: u16 = 0b1101_0110_1101;
const DF: u16 = 1 << 7;

fn export(name: &str) -> ExportInfo {
    ExportInfo {
        name: name.into(),
        size_bytes: 0x1234_5000,
        read_only: false,
        block_size_min: 1,
        block_size_preferred: 4096,
        payload_bytes_max: 32 << 20,
    }
}

fn output(session: &mut ServerSession) -> Vec<u8> {
    let bytes = session.output().flatten().copied().collect::<Vec<_>>();
    session.advance_output(bytes.len());
    bytes
}

/// Sends all of `bytes` and gathers the events.
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

fn greeted(exports: Vec<ExportInfo>, client_flags: u32) -> ServerSession {
    let mut session = ServerSession::new(exports);
    assert_eq!(output(&mut session), b"NBDMAGICIHAVEOPT\x00\x03");
    assert_eq!(send(&mut session, &client_flags.to_be_bytes()), []);
    session
}

fn option(option: u32, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [b"IHAVEOPT".as_slice(), &option.to_be_bytes(), &length, data].concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text].concat()
}

fn queries(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = string(name.as_bytes());
    data.extend((queries.len() as u32).to_be_bytes());
    queries
        .iter()
        .for_each(|query| data.extend(string(query.as_bytes())));
    data
}

fn go(name: &str, infos: &[u16]) -> Vec<u8> {
    let mut data = string(name.as_bytes());
    data.extend((infos.len() as u16).to_be_bytes());
    infos
        .iter()
        .for_each(|info| data.extend(info.to_be_bytes()));
    data
}

/// Splits option replies into (option, type, data).
fn replies(mut bytes: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let word = |at: &[u8]| u32::from_be_bytes(at[..4].try_into().unwrap());
    let mut found = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[..8], 0x0003_e889_0455_65a9_u64.to_be_bytes());
        let length = word(&bytes[16..]) as usize;
        found.push((
            word(&bytes[8..]),
            word(&bytes[12..]),
            bytes[20..20 + length].to_vec(),
        ));
        bytes = &bytes[20 + length..];
    }
    found
}

fn ask(session: &mut ServerSession, number: u32, data: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    assert_eq!(send(session, &option(number, data)), [], "option {number}");
    replies(&output(session))
}

fn kinds(replies: &[(u32, u32, Vec<u8>)]) -> Vec<u32> {
    replies.iter().map(|reply| reply.1).collect()
}

#[test]
fn export_name_is_followed_by_124_zeroes_unless_the_client_declines_them() {
    for (flags, zeroes) in [(0, 124), (1, 124), (3, 0), (2, 0)] {
        let mut session = greeted(vec![export("a"), export("b")], flags);
        assert_eq!(send(&mut session, &option(1, b"b")), [SessionEvent::Ready]);
        assert_eq!(session.export_name(), Some("b"));
        let mut expected = b"\x00\x00\x00\x00\x12\x34\x50\x00".to_vec();
        expected.extend(FLAGS.to_be_bytes());
        expected.extend(vec![0; zeroes]);
        assert_eq!(output(&mut session), expected);
    }
}

#[test]
fn an_unknown_export_name_ends_the_session() {
    let mut session = greeted(vec![export("a"), export("b")], 3);
    let events = send(&mut session, &option(1, b"c"));
    assert!(matches!(&events[..], [SessionEvent::Fatal(reason)] if reason.contains("'c'")));
    assert!(!session.wants_input());
    assert!(session.input().is_empty());
}

#[test]
fn unknown_client_flags_end_the_session() {
    let mut session = ServerSession::new(vec![export("a")]);
    let events = send(&mut session, &4_u32.to_be_bytes());
    assert!(matches!(&events[..], [SessionEvent::Fatal(_)]));
}

#[test]
fn go_describes_the_export_and_enters_transmission() {
    let mut session = greeted(vec![export("a"), export("b")], 3);
    let events = send(&mut session, &option(7, &go("b", &[1, 2, 3, 77])));
    assert_eq!(events, [SessionEvent::Ready]);
    let found = replies(&output(&mut session));
    assert_eq!(kinds(&found), [3, 3, 3, 3, 1]);
    assert!(found.iter().all(|reply| reply.0 == 7));
    let flags = FLAGS.to_be_bytes();
    assert_eq!(
        found[0].2,
        [b"\0\0\0\0\0\0\x12\x34\x50\0".as_slice(), &flags].concat()
    );
    assert_eq!(found[1].2, b"\0\x01b");
    assert_eq!(found[2].2[..2], [0, 2]);
    assert!(std::str::from_utf8(&found[2].2[2..]).unwrap().contains('b'));
    assert_eq!(found[3].2, b"\0\x03\0\0\0\x01\0\0\x10\0\x02\0\0\0");
}

#[test]
fn info_describes_without_entering_and_go_may_follow() {
    let mut session = greeted(vec![export("a")], 3);
    assert_eq!(kinds(&ask(&mut session, 6, &go("a", &[]))), [3, 3, 1]);
    assert_eq!(session.export_name(), None);
    assert_eq!(kinds(&ask(&mut session, 7, &go("x", &[]))), [UNKNOWN]);
    assert_eq!(
        send(&mut session, &option(7, &go("a", &[]))),
        [SessionEvent::Ready]
    );
}

#[test]
fn the_empty_name_means_the_only_export_and_its_name_is_told() {
    let mut session = greeted(vec![export("only")], 3);
    let found = ask(&mut session, 6, &go("", &[]));
    assert_eq!(found[1].2, b"\0\x01only");
    let mut session = greeted(vec![export("a"), export("b")], 3);
    assert_eq!(kinds(&ask(&mut session, 6, &go("", &[]))), [UNKNOWN]);
}

#[test]
fn list_names_every_export_and_takes_no_data() {
    let mut session = greeted(vec![export("a"), export("bank")], 3);
    let found = ask(&mut session, 3, &[]);
    assert_eq!(kinds(&found), [2, 2, 1]);
    assert_eq!(found[1].2, b"\0\0\0\x04bank");
    assert_eq!(kinds(&ask(&mut session, 3, b"x")), [INVALID]);
}

#[test]
fn options_that_are_unknown_or_too_long_are_refused_and_the_next_is_understood() {
    let mut session = greeted(vec![export("a")], 3);
    assert_eq!(kinds(&ask(&mut session, 5, &[])), [UNSUP]);
    assert_eq!(kinds(&ask(&mut session, 5, b"x")), [INVALID]);
    assert_eq!(kinds(&ask(&mut session, 4711, b"some data")), [UNSUP]);
    assert_eq!(kinds(&ask(&mut session, 11, &[])), [UNSUP]);
    assert_eq!(kinds(&ask(&mut session, 4711, &vec![7; 500_000])), [UNSUP]);
    assert_eq!(kinds(&ask(&mut session, 7, &vec![7; 500_000])), [TOO_BIG]);
    assert_eq!(kinds(&ask(&mut session, 3, &vec![7; 500_000])), [INVALID]);
    assert_eq!(kinds(&ask(&mut session, 3, &[])), [2, 1]);
    let events = send(&mut session, &option(4711, &vec![7; 2 << 20]));
    assert!(matches!(&events[..], [SessionEvent::Fatal(_)]));
}

#[test]
fn lengths_that_contradict_are_invalid() {
    let mut session = greeted(vec![export("a")], 3);
    let lying_name = [0, 0, 0, 200, b'a', 0, 0];
    let lying_count = [0, 0, 0, 1, b'a', 0, 9, 0, 3];
    for data in [
        &lying_name[..],
        &lying_count,
        &[0, 0, 0],
        &[0, 0, 0, 1, b'a', 0, 0, 1],
    ] {
        assert_eq!(kinds(&ask(&mut session, 7, data)), [INVALID]);
    }
    assert_eq!(kinds(&ask(&mut session, 8, &[])), [1]);
    let mut lying_queries = queries("a", &["base:allocation"]);
    lying_queries.push(0);
    assert_eq!(kinds(&ask(&mut session, 10, &lying_queries)), [INVALID]);
    let many = [string(b"a"), u32::MAX.to_be_bytes().to_vec()].concat();
    assert_eq!(kinds(&ask(&mut session, 10, &many)), [INVALID]);
}

#[test]
fn abort_is_acknowledged_and_ends_the_session() {
    let mut session = greeted(vec![export("a")], 3);
    assert_eq!(
        send(&mut session, &option(2, b"")),
        [SessionEvent::Disconnect]
    );
    assert_eq!(kinds(&replies(&output(&mut session))), [1]);
    assert_eq!(send(&mut session, &option(3, b"")), []);
}

#[test]
fn structured_replies_bring_the_flag_that_depends_on_them() {
    let mut session = greeted(vec![export("a")], 3);
    assert_eq!(kinds(&ask(&mut session, 8, b"x")), [INVALID]);
    assert_eq!(kinds(&ask(&mut session, 8, &[])), [1]);
    let found = ask(&mut session, 6, &go("a", &[]));
    assert_eq!(found[0].2[10..], (FLAGS | DF).to_be_bytes());
}

#[test]
fn metadata_contexts_are_listed_and_selected_as_asked() {
    let mut session = greeted(vec![export("a")], 3);
    assert_eq!(
        kinds(&ask(&mut session, 10, &queries("a", &["base:allocation"]))),
        [INVALID]
    );
    assert_eq!(kinds(&ask(&mut session, 8, &[])), [1]);
    for (number, asked, expected) in [
        (9, &[][..], &[4, 1][..]),
        (9, &["base:"], &[4, 1]),
        (9, &["base:allocation", "x-other:thing"], &[4, 1]),
        (9, &["x-other:"], &[1]),
        (10, &["base:"], &[1]),
        (10, &[], &[1]),
        (10, &["qemu:dirty-bitmap:b", "base:allocation"], &[4, 1]),
    ] {
        let found = ask(&mut session, number, &queries("a", asked));
        assert_eq!(kinds(&found), expected, "option {number} with {asked:?}");
        if expected.len() == 2 {
            let identity = if number == 10 { 1 } else { 0 };
            assert_eq!(
                found[0].2,
                [&[0, 0, 0, identity], b"base:allocation".as_slice()].concat()
            );
        }
    }
    assert_eq!(
        kinds(&ask(&mut session, 10, &queries("x", &["base:allocation"]))),
        [UNKNOWN]
    );
}

#[test]
fn a_client_without_end_of_options_is_dropped() {
    let mut session = greeted(vec![export("a")], 3);
    for _ in 0..1024 {
        ask(&mut session, 4711, &[]);
    }
    let events = send(&mut session, &option(4711, &[]));
    assert!(matches!(&events[..], [SessionEvent::Fatal(_)]));
}
