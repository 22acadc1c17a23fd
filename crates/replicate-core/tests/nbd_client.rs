//! The client against servers that are old, unwilling or broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use yundu_replicate_core::nbd::{
    ClientError, ClientEvent, ClientOptions, ClientSession, Command, ReplyData,
};

fn client() -> ClientSession {
    ClientSession::new(ClientOptions {
        export: "v".into(),
        structured: true,
        block_status: false,
    })
}

fn output(session: &mut ClientSession) -> Vec<u8> {
    let bytes = session.output().flatten().copied().collect::<Vec<_>>();
    session.advance_output(bytes.len());
    bytes
}

fn told(session: &mut ClientSession, bytes: &[u8]) -> Vec<ClientEvent> {
    assert_eq!(session.feed(bytes), bytes.len());
    std::iter::from_fn(|| session.next_event()).collect()
}

fn option_reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let magic = 0x0003_e889_0455_65a9_u64.to_be_bytes();
    let length = (data.len() as u32).to_be_bytes();
    [
        &magic[..],
        &option.to_be_bytes(),
        &kind.to_be_bytes(),
        &length,
        data,
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

/// A session that was granted structured replies on an export of 1 MiB.
fn connected() -> ClientSession {
    let mut session = client();
    assert_eq!(told(&mut session, b"NBDMAGICIHAVEOPT\0\x03"), []);
    assert_eq!(
        output(&mut session),
        b"\0\0\0\x03IHAVEOPT\0\0\0\x08\0\0\0\0"
    );
    assert_eq!(told(&mut session, &option_reply(8, 1, &[])), []);
    assert_eq!(
        output(&mut session),
        b"IHAVEOPT\0\0\0\x07\0\0\0\x09\0\0\0\x01v\0\x01\0\x03"
    );
    let info = b"\0\0\0\0\0\0\0\x10\0\0\0\x8d";
    assert_eq!(told(&mut session, &option_reply(7, 3, info)), []);
    let events = told(&mut session, &option_reply(7, 1, &[]));
    assert!(matches!(&events[..], [ClientEvent::Connected(granted)] if granted.structured));
    session
}

#[test]
fn a_server_without_options_is_asked_in_the_old_way() {
    for (flags, zeroes) in [(b"\0\0", 124), (b"\0\x02", 0)] {
        let mut session = client();
        assert_eq!(
            told(&mut session, &[b"NBDMAGICIHAVEOPT", &flags[..]].concat()),
            []
        );
        let asked = output(&mut session);
        assert_eq!(asked[..4], [0, 0, flags[0], flags[1]]);
        assert_eq!(asked[4..], *b"IHAVEOPT\0\0\0\x01\0\0\0\x01v");
        let granted = [b"\0\0\0\0\0\x10\0\0\0\x0d".to_vec(), vec![0; zeroes]].concat();
        let events = told(&mut session, &granted);
        let [ClientEvent::Connected(granted)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (granted.size_bytes, granted.flags, granted.structured),
            (1 << 20, 13, false)
        );
    }
}

#[test]
fn a_server_without_go_is_asked_for_the_export_name() {
    let mut session = client();
    told(&mut session, b"NBDMAGICIHAVEOPT\0\x03");
    told(&mut session, &option_reply(8, 0x8000_0001, b""));
    output(&mut session);
    told(&mut session, &option_reply(7, 0x8000_0001, b""));
    assert_eq!(output(&mut session), b"IHAVEOPT\0\0\0\x01\0\0\0\x01v");
}

#[test]
fn a_refusal_carries_the_words_of_the_server_and_says_goodbye() {
    let mut session = client();
    told(&mut session, b"NBDMAGICIHAVEOPT\0\x03");
    told(&mut session, &option_reply(8, 1, b""));
    output(&mut session);
    let events = told(&mut session, &option_reply(7, 0x8000_0006, b"not here"));
    let [ClientEvent::Failed(error @ ClientError::Refused { .. })] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(error.to_string().contains("'v': not here"));
    assert_eq!(output(&mut session), b"IHAVEOPT\0\0\0\x02\0\0\0\0");
    assert_eq!(
        session.request(&Command::Flush),
        Err(ClientError::NotConnected)
    );
}

#[test]
fn pieces_in_any_order_become_one_read() {
    let mut session = connected();
    let read = Command::Read {
        offset: 100,
        length: 10,
        dont_fragment: false,
    };
    let cookie = session.request(&read).unwrap();
    let at = |offset: u64, data: &[u8]| [&offset.to_be_bytes()[..], data].concat();
    assert_eq!(
        told(&mut session, &chunk(false, 1, cookie, &at(107, b"xyz"))),
        []
    );
    assert_eq!(
        told(&mut session, &chunk(false, 1, cookie, &at(100, b"abc"))),
        []
    );
    assert_eq!(
        told(
            &mut session,
            &chunk(false, 2, cookie, &at(103, &[0, 0, 0, 4]))
        ),
        []
    );
    let events = told(&mut session, &chunk(true, 0, cookie, &[]));
    let data = ReplyData::Data(b"abc\0\0\0\0xyz".as_slice().into());
    assert_eq!(
        events,
        [ClientEvent::Reply {
            cookie,
            outcome: Ok(data)
        }]
    );
}

#[test]
fn lies_of_the_server_end_the_session() {
    let at = |offset: u64, data: &[u8]| [&offset.to_be_bytes()[..], data].concat();
    let lies: [(&str, Vec<Vec<u8>>); 9] = [
        (
            "overlap",
            vec![
                chunk(false, 1, 1, &at(100, b"abc")),
                chunk(true, 1, 1, &at(102, b"d")),
            ],
        ),
        ("gap", vec![chunk(true, 1, 1, &at(100, b"abc"))]),
        ("before", vec![chunk(true, 1, 1, &at(99, b"abc"))]),
        ("beyond", vec![chunk(true, 1, 1, &at(109, b"abc"))]),
        ("stranger", vec![chunk(true, 0, 2, &[])]),
        (
            "simple",
            vec![
                [
                    &0x6744_6698_u32.to_be_bytes()[..],
                    &[0; 4],
                    &1_u64.to_be_bytes(),
                ]
                .concat(),
            ],
        ),
        ("type", vec![chunk(true, 77, 1, b"?")]),
        ("magic", vec![vec![1, 2, 3, 4]]),
        (
            "error",
            vec![chunk(true, 0x8001, 1, b"\0\0\0\x05\0\x09abc")],
        ),
    ];
    for (name, messages) in lies {
        let mut session = connected();
        let read = Command::Read {
            offset: 100,
            length: 10,
            dont_fragment: false,
        };
        session.request(&read).unwrap();
        let mut events = Vec::new();
        messages
            .iter()
            .for_each(|message| events.extend(told(&mut session, message)));
        let failed = matches!(&events[..], [ClientEvent::Failed(ClientError::Protocol(_))]);
        assert!(failed, "{name}: {events:?}");
    }
}

#[test]
fn requests_beyond_the_limits_are_refused_before_they_are_sent() {
    let mut session = connected();
    let read = Command::Read {
        offset: 0,
        length: 33 << 20,
        dont_fragment: false,
    };
    assert!(matches!(
        session.request(&read),
        Err(ClientError::TooLong { .. })
    ));
    let trim = Command::Trim {
        offset: 0,
        length: 1 << 33,
        fua: false,
    };
    assert!(matches!(
        session.request(&trim),
        Err(ClientError::TooLong { .. })
    ));
    assert!(output(&mut session).is_empty());
    (0..1024).for_each(|_| {
        session.request(&Command::Flush).unwrap();
    });
    assert_eq!(
        session.request(&Command::Flush),
        Err(ClientError::TooManyRequests)
    );
}
