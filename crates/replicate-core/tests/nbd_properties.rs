//! Properties of both codecs: no input breaks them, no split of it matters, and they understand
//! each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use bytes::Bytes;
use proptest::prelude::*;
use std::collections::HashMap;
use yundu_replicate_core::nbd::protocol::{EINVAL, EIO, STATE_HOLE, STATE_ZERO};
use yundu_replicate_core::nbd::{
    ClientEvent, ClientOptions, ClientSession, Command, Connected, ExportInfo, ReadExtent,
    ReplyData, ServerSession, SessionEvent,
};

const SIZE: u64 = 1 << 20;

fn exports() -> Vec<ExportInfo> {
    let export = ExportInfo {
        name: "v".into(),
        size_bytes: SIZE,
        read_only: false,
        block_size_min: 1,
        block_size_preferred: 4096,
        payload_bytes_max: 32 << 20,
    };
    vec![
        export.clone(),
        ExportInfo {
            name: "other".into(),
            ..export
        },
    ]
}

/// A volume in memory that answers a session's requests.
struct Volume(Vec<u8>);

impl Volume {
    /// Answers one event; false when the session is over.
    fn answer(&mut self, session: &mut ServerSession, event: SessionEvent) -> bool {
        let SessionEvent::Request(request) = event else {
            return matches!(event, SessionEvent::Ready);
        };
        let cookie = request.cookie;
        match request.command {
            Command::Read {
                offset,
                length,
                dont_fragment,
            } => {
                let found = &self.0[offset as usize..][..length as usize];
                session.reply_read_extents(cookie, offset, &extents(found), dont_fragment);
                return true;
            }
            Command::Write { offset, data, .. } => {
                self.0[offset as usize..][..data.len()].copy_from_slice(&data);
            }
            Command::WriteZeroes {
                offset,
                length,
                fast,
                ..
            } => {
                if fast {
                    session.reply_error(cookie, EIO, "慢 slow");
                    return true;
                }
                self.0[offset as usize..][..length as usize].fill(0);
            }
            Command::BlockStatus {
                offset,
                length,
                one,
            } => {
                let found = extents(&self.0[offset as usize..][..length as usize]);
                let mut list: Vec<_> = found
                    .iter()
                    .map(|extent| match extent {
                        ReadExtent::Data(data) => (data.len() as u32, 0),
                        ReadExtent::Hole(length) => (*length, STATE_HOLE | STATE_ZERO),
                    })
                    .collect();
                if one {
                    list.truncate(1);
                }
                session.reply_block_status(cookie, &list);
                return true;
            }
            Command::Trim { .. } | Command::Flush | Command::Cache { .. } => {}
        }
        session.reply_done(cookie);
        true
    }
}

/// Data and holes of at least 64 zero bytes.
fn extents(bytes: &[u8]) -> Vec<ReadExtent> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let zeroes = rest.iter().take_while(|byte| **byte == 0).count();
        if zeroes >= 64 || zeroes == rest.len() {
            found.push(ReadExtent::Hole(zeroes as u32));
            rest = &rest[zeroes..];
            continue;
        }
        let data = rest
            .windows(64)
            .position(|window| window.iter().all(|byte| *byte == 0));
        let data = data.unwrap_or(rest.len()).max(1);
        found.push(ReadExtent::Data(Bytes::copy_from_slice(&rest[..data])));
        rest = &rest[data..];
    }
    found
}

/// Runs a server over a stream cut at `cuts`, and gives its events and output.
fn serve(stream: &[u8], cuts: &[usize]) -> (Vec<SessionEvent>, Vec<u8>) {
    let mut session = ServerSession::new(exports());
    let mut volume = Volume(vec![0; SIZE as usize]);
    let (mut events, mut output) = (Vec::new(), Vec::new());
    let mut sizes = cuts.iter().copied().cycle();
    let mut rest = stream;
    loop {
        let piece = sizes.next().unwrap().max(1).min(rest.len());
        let taken = session.feed(&rest[..piece]);
        rest = &rest[taken..];
        let mut over = false;
        while let Some(event) = session.next_event() {
            events.push(event.clone());
            over |= !volume.answer(&mut session, event);
            assert!(session.output_bytes() < 40 << 20);
            assert!(session.requests_in_flight() <= 1024);
            assert!(session.pool().free_bytes() <= 16 << 20);
        }
        assert!(session.input().len() <= (32 << 20) + (64 << 10));
        for chunk in session.output() {
            output.extend_from_slice(chunk);
        }
        session.advance_output(session.output_bytes());
        if over || rest.is_empty() {
            return (events, output);
        }
    }
}

fn command() -> impl Strategy<Value = Command> {
    let range = (0..SIZE, 1..60_000_u64).prop_map(|(at, length)| (at, length.min(SIZE - at)));
    let content = prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 7]), 1..400);
    prop_oneof![
        (range.clone(), any::<bool>()).prop_map(|((offset, length), dont_fragment)| {
            Command::Read {
                offset,
                length: length as u32,
                dont_fragment,
            }
        }),
        (range.clone(), content, any::<bool>()).prop_map(|((offset, length), content, fua)| {
            let data: Vec<u8> = content
                .iter()
                .flat_map(|byte| [*byte; 150])
                .chain(std::iter::repeat(5))
                .take(length as usize)
                .collect();
            Command::Write {
                offset,
                data: data.into(),
                fua,
            }
        }),
        (range.clone(), any::<(bool, bool, bool)>()).prop_map(
            |((offset, length), (fua, no_hole, fast))| {
                Command::WriteZeroes {
                    offset,
                    length,
                    fua,
                    no_hole,
                    fast,
                }
            }
        ),
        (range.clone(), any::<bool>()).prop_map(|((offset, length), fua)| Command::Trim {
            offset,
            length,
            fua
        }),
        (range.clone(), any::<bool>()).prop_map(|((offset, length), one)| Command::BlockStatus {
            offset,
            length,
            one
        }),
        range.prop_map(|(offset, length)| Command::Cache { offset, length }),
        Just(Command::Flush),
    ]
}

/// The bytes that a client sends for these commands.
fn stream(commands: &[Command]) -> Vec<u8> {
    let (mut client, mut server) = (ClientSession::new(options()), ServerSession::new(exports()));
    let mut sent = Vec::new();
    let mut connected = false;
    while !connected {
        pump(&mut client, &mut server, &mut sent, 4096);
        server.next_event();
        while let Some(event) = client.next_event() {
            connected |= matches!(event, ClientEvent::Connected(_));
        }
    }
    commands.iter().for_each(|command| {
        client.request(command).unwrap();
    });
    client.disconnect();
    client
        .output()
        .for_each(|chunk| sent.extend_from_slice(chunk));
    sent
}

fn options() -> ClientOptions {
    ClientOptions {
        export: "v".into(),
        structured: true,
        block_status: true,
    }
}

/// Moves at most `step` bytes each way.
fn pump(client: &mut ClientSession, server: &mut ServerSession, sent: &mut Vec<u8>, step: usize) {
    let bytes: Vec<u8> = client.output().flatten().copied().take(step).collect();
    let taken = server.feed(&bytes);
    sent.extend_from_slice(&bytes[..taken]);
    client.advance_output(taken);
    let bytes: Vec<u8> = server.output().flatten().copied().take(step).collect();
    let taken = client.feed(&bytes);
    server.advance_output(taken);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_break_neither_end(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cuts in prop::collection::vec(1..500_usize, 1..10),
    ) {
        serve(&bytes, &cuts);
        let mut client = ClientSession::new(options());
        client.feed(&bytes);
        while client.next_event().is_some() {}
    }

    #[test]
    fn damaged_sessions_break_neither_end(
        commands in prop::collection::vec(command(), 1..10),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cuts in prop::collection::vec(1..30_000_usize, 1..10),
    ) {
        let mut bytes = stream(&commands);
        let (_, mut replies) = serve(&bytes, &cuts);
        for (index, value) in &damage {
            // Most bytes are payload; damage what stands in front too.
            let place = index.index(bytes.len());
            bytes[if place % 2 == 0 { place } else { place % 300 }] = *value;
            let place = index.index(replies.len());
            replies[if place % 2 == 0 { place } else { place % 300 }] = *value;
        }
        serve(&bytes, &cuts);
        let mut client = ClientSession::new(options());
        let mut rest = &replies[..];
        let mut asked = false;
        while !rest.is_empty() {
            let taken = client.feed(rest);
            rest = &rest[taken..];
            let mut moved = taken > 0;
            while let Some(event) = client.next_event() {
                moved = true;
                if matches!(event, ClientEvent::Connected(_)) && !asked {
                    asked = true;
                    for command in &commands {
                        let _ = client.request(command);
                    }
                }
            }
            if !moved {
                break;
            }
        }
    }

    #[test]
    fn no_split_of_the_input_changes_events_or_output(
        commands in prop::collection::vec(command(), 1..12),
        cuts in prop::collection::vec(1..40_000_usize, 1..20),
    ) {
        let bytes = stream(&commands);
        let whole = serve(&bytes, &[usize::MAX]);
        let split = serve(&bytes, &cuts);
        prop_assert_eq!(&whole.0, &split.0);
        prop_assert_eq!(whole.1, split.1);
        prop_assert_eq!(whole.0.len(), commands.len() + 2);
        for (event, command) in whole.0[1..].iter().zip(&commands) {
            let SessionEvent::Request(request) = event else { panic!("{event:?}") };
            prop_assert_eq!(&request.command, command);
        }
    }

    #[test]
    fn both_ends_understand_each_other(
        commands in prop::collection::vec(command(), 1..40),
        step in 1..50_000_usize,
        structured in any::<bool>(),
        export in prop::sample::select(vec!["v", "other"]),
    ) {
        let mut client = ClientSession::new(ClientOptions {
            export: export.into(),
            structured,
            block_status: structured,
        });
        let mut server = ServerSession::new(exports());
        let mut volume = Volume(vec![0; SIZE as usize]);
        let mut model = vec![0; SIZE as usize];
        let mut expected = HashMap::new();
        let mut sent = Vec::new();
        let mut commands = commands.into_iter();
        let mut connected = false;
        loop {
            // A handshake in single bytes would take many rounds; the step is for the requests.
            pump(&mut client, &mut server, &mut sent, if connected { step.max(64) } else { 4096 });
            while let Some(event) = server.next_event() {
                prop_assert!(volume.answer(&mut server, event));
            }
            while let Some(event) = client.next_event() {
                match event {
                    ClientEvent::Connected(granted) => {
                        connected = true;
                        check_granted(&granted, structured);
                    }
                    ClientEvent::Reply { cookie, outcome } => {
                        let want = expected.remove(&cookie).unwrap();
                        match want {
                            Some(want) => prop_assert_eq!(outcome, Ok(want)),
                            None => {
                                let error = outcome.unwrap_err();
                                let (errno, words) = if structured {
                                    (EIO, "慢 slow")
                                } else {
                                    (error.errno, "")
                                };
                                prop_assert!(errno == EIO || errno == EINVAL);
                                prop_assert_eq!(error.errno, errno);
                                prop_assert_eq!(error.message, words);
                            }
                        }
                    }
                    ClientEvent::Failed(error) => panic!("{error}"),
                }
            }
            if !connected {
                continue;
            }
            // One at a time: the model follows the order of requests.
            if client.requests_in_flight() == 0 {
                let Some(command) = commands.next() else { break };
                if !structured && matches!(command, Command::BlockStatus { .. }) {
                    continue;
                }
                let command = match command {
                    Command::Read { offset, length, .. } if !structured => {
                        Command::Read { offset, length, dont_fragment: false }
                    }
                    command => command,
                };
                let cookie = client.request(&command).unwrap();
                expected.insert(cookie, outcome_of(&mut model, &command));
            }
        }
        prop_assert!(expected.is_empty());
        prop_assert_eq!(volume.0, model);
    }
}

fn check_granted(granted: &Connected, structured: bool) {
    assert_eq!(granted.size_bytes, SIZE);
    assert_eq!(
        (granted.structured, granted.block_status),
        (structured, structured)
    );
    assert_eq!(
        (granted.block_size_min, granted.block_size_preferred),
        (1, 4096)
    );
    assert_eq!(granted.payload_bytes_max, 32 << 20);
}

/// What the reply must be, `None` for an error; carries the command out on the model.
fn outcome_of(model: &mut [u8], command: &Command) -> Option<ReplyData> {
    match command {
        Command::Read { offset, length, .. } => {
            let data = &model[*offset as usize..][..*length as usize];
            return Some(ReplyData::Data(Bytes::copy_from_slice(data)));
        }
        Command::Write { offset, data, .. } => {
            model[*offset as usize..][..data.len()].copy_from_slice(data);
        }
        Command::WriteZeroes { fast: true, .. } => return None,
        Command::WriteZeroes { offset, length, .. } => {
            model[*offset as usize..][..*length as usize].fill(0);
        }
        Command::BlockStatus {
            offset,
            length,
            one,
        } => {
            let found = extents(&model[*offset as usize..][..*length as usize]);
            let list = found.iter().map(|extent| match extent {
                ReadExtent::Data(data) => (data.len() as u32, 0),
                ReadExtent::Hole(length) => (*length, STATE_HOLE | STATE_ZERO),
            });
            let count = if *one { 1 } else { usize::MAX };
            return Some(ReplyData::Extents(list.take(count).collect()));
        }
        _ => {}
    }
    Some(ReplyData::Done)
}
