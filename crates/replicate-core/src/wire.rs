//! The messages between the two sides of a set. Every message is a header of fixed size and a
//! payload; the checksum covers both, from the memory of the sender to that of the receiver.
//!
//! ```text
//!  0 magic "YDR1"   4 kind u16   6 code u16   8 id u64   16 offset u64   24 length u64
//! 32 payload bytes u32   36 CRC-32 over header (without itself) and payload
//! ```
//! All integers little-endian.

use crate::meta::{Mode, Policy, Role};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Version of this protocol; both sides must speak the same.
pub const PROTOCOL_VERSION: u32 = 1;
/// Size of a message header, bytes.
pub const HEADER_BYTES: usize = 40;
/// Largest payload of one message, bytes: the largest NBD request.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
const MAGIC: [u8; 4] = *b"YDR1";

/// The first message on a link, sent by both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub version: u32,
    /// Identity of the sender's copy.
    pub node: String,
    /// Set it belongs to; empty for a new receiver.
    pub set: String,
    /// Role of the sender.
    pub role: Role,
    /// Generation of the sender.
    pub generation: u64,
    /// Size of the volume (primary), bytes, or room that a receiver has (0: it makes the image
    /// as large as asked).
    pub size_bytes: u64,
    /// A receiver's image holds nothing but zeroes.
    pub empty: bool,
    /// See [`crate::meta::Meta::consistent`].
    pub consistent: bool,
    /// Identity of the other copy that the sender knows; empty when it knows none.
    pub peer: String,
    /// Mode that the primary uses.
    pub mode: Option<Mode>,
    /// Policy that the primary uses.
    pub policy: Option<Policy>,
}

/// A message between the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who are you, who am I.
    Hello(Box<Hello>),
    /// No replication with you, because.
    Refuse {
        /// For people.
        reason: String,
    },
    /// Are you there?
    Ping,
    /// I am.
    Pong,
    /// Carried out.
    Ack {
        /// Id of the message that was carried out.
        id: u64,
    },
    /// Failed on this copy.
    Nack {
        /// Id of the message that failed.
        id: u64,
        /// Linux errno.
        errno: u16,
    },
    /// Primary → secondary: write.
    Write {
        /// Answered by id.
        id: u64,
        /// Bytes.
        offset: u64,
        /// What to write.
        data: Bytes,
    },
    /// Primary → secondary: make zero.
    Zero {
        /// Answered by id.
        id: u64,
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Primary → secondary: make everything acknowledged so far durable.
    Flush {
        /// Answered by id.
        id: u64,
    },
    /// Primary → secondary: blocks will come out of order now; you are inconsistent (durably)
    /// until `InStep`.
    ResyncStart {
        /// Answered by id.
        id: u64,
    },
    /// Primary → secondary: you hold everything; you are consistent (durably).
    InStep {
        /// Answered by id.
        id: u64,
    },
    /// Primary → secondary: what do you hold there?
    HashRange {
        /// Answered by id.
        id: u64,
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Secondary → primary: BLAKE3 of that range.
    RangeHash {
        /// Id of the question.
        id: u64,
        /// Digest.
        hash: [u8; 32],
    },
    /// Primary → secondary: be primary from this generation on.
    HandoverOffer {
        /// The new generation.
        generation: u64,
        /// Name of the cut.
        name: String,
    },
    /// Secondary → primary: I am primary (durably).
    HandoverAccept {
        /// The new generation.
        generation: u64,
    },
    /// Secondary → primary: make me primary.
    HandoverRequest {
        /// Name of the cut.
        name: String,
    },
    /// Primary → secondary: no, because.
    HandoverRefuse {
        /// For people.
        reason: String,
    },
    /// Secondary → primary: a client of mine reads.
    ForwardRead {
        /// Answered by id.
        id: u64,
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Secondary → primary: a client of mine writes.
    ForwardWrite {
        /// Answered by id.
        id: u64,
        /// Bytes.
        offset: u64,
        /// Durable before the answer.
        fua: bool,
        /// What to write.
        data: Bytes,
    },
    /// Secondary → primary: a client of mine zeroes.
    ForwardZero {
        /// Answered by id.
        id: u64,
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Durable before the answer.
        fua: bool,
    },
    /// Secondary → primary: a client of mine flushes.
    ForwardFlush {
        /// Answered by id.
        id: u64,
    },
    /// Primary → secondary: answer to a forwarded request.
    ForwardReply {
        /// Id of the request.
        id: u64,
        /// 0 or a Linux errno.
        errno: u16,
        /// What was read.
        data: Bytes,
    },
}

/// Why bytes from the other side are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not our protocol.
    #[error("the other side does not speak Yundu's replication protocol (bad magic)")]
    Magic,
    /// The checksum does not fit.
    #[error("a message of {payload_bytes} bytes arrived altered (checksum)")]
    Checksum {
        /// Payload size.
        payload_bytes: usize,
    },
    /// Too large.
    #[error("a message announces {payload_bytes} bytes; at most {PAYLOAD_BYTES_MAX} are allowed")]
    TooLarge {
        /// Announced payload size.
        payload_bytes: usize,
    },
    /// A kind that this version does not know, or a payload that does not fit its kind.
    #[error("a message of unknown kind or wrong form ({kind})")]
    Form {
        /// Kind number.
        kind: u16,
    },
}

struct Parts {
    kind: u16,
    code: u16,
    id: u64,
    offset: u64,
    length: u64,
    payload: Bytes,
}

impl Parts {
    fn new(kind: u16, id: u64) -> Self {
        Self {
            kind,
            code: 0,
            id,
            offset: 0,
            length: 0,
            payload: Bytes::new(),
        }
    }
    fn at(mut self, offset: u64, length: u64) -> Self {
        self.offset = offset;
        self.length = length;
        self
    }
    fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }
    fn with(mut self, payload: Bytes) -> Self {
        self.payload = payload;
        self
    }
}

fn to_parts(message: Message) -> Parts {
    match message {
        Message::Hello(hello) => {
            // A struct of strings and integers always serialises.
            let json = serde_json::to_vec(&hello).unwrap_or_default();
            Parts::new(1, 0).with(json.into())
        }
        Message::Refuse { reason } => Parts::new(2, 0).with(reason.into()),
        Message::Ping => Parts::new(3, 0),
        Message::Pong => Parts::new(4, 0),
        Message::Ack { id } => Parts::new(5, id),
        Message::Nack { id, errno } => Parts::new(6, id).code(errno),
        Message::Write { id, offset, data } => {
            Parts::new(7, id).at(offset, data.len() as u64).with(data)
        }
        Message::Zero { id, offset, length } => Parts::new(8, id).at(offset, length),
        Message::Flush { id } => Parts::new(9, id),
        Message::ResyncStart { id } => Parts::new(10, id),
        Message::InStep { id } => Parts::new(11, id),
        Message::HashRange { id, offset, length } => Parts::new(12, id).at(offset, length),
        Message::RangeHash { id, hash } => Parts::new(13, id).with(Bytes::copy_from_slice(&hash)),
        Message::HandoverOffer { generation, name } => Parts::new(14, generation).with(name.into()),
        Message::HandoverAccept { generation } => Parts::new(15, generation),
        Message::HandoverRequest { name } => Parts::new(16, 0).with(name.into()),
        Message::HandoverRefuse { reason } => Parts::new(17, 0).with(reason.into()),
        Message::ForwardRead { id, offset, length } => Parts::new(18, id).at(offset, length),
        Message::ForwardWrite {
            id,
            offset,
            fua,
            data,
        } => Parts::new(19, id)
            .at(offset, data.len() as u64)
            .code(fua.into())
            .with(data),
        Message::ForwardZero {
            id,
            offset,
            length,
            fua,
        } => Parts::new(20, id).at(offset, length).code(fua.into()),
        Message::ForwardFlush { id } => Parts::new(21, id),
        Message::ForwardReply { id, errno, data } => Parts::new(22, id).code(errno).with(data),
    }
}

fn from_parts(parts: Parts) -> Result<Message, WireError> {
    let Parts {
        kind,
        code,
        id,
        offset,
        length,
        payload,
    } = parts;
    let form = WireError::Form { kind };
    let text = |payload: &Bytes| {
        std::str::from_utf8(payload)
            .map(str::to_owned)
            .map_err(|_| form.clone())
    };
    let whole = |payload: &Bytes| payload.len() as u64 == length;
    Ok(match kind {
        1 => Message::Hello(Box::new(
            serde_json::from_slice(&payload).map_err(|_| form)?,
        )),
        2 => Message::Refuse {
            reason: text(&payload)?,
        },
        3 => Message::Ping,
        4 => Message::Pong,
        5 => Message::Ack { id },
        6 => Message::Nack { id, errno: code },
        7 if whole(&payload) => Message::Write {
            id,
            offset,
            data: payload,
        },
        8 => Message::Zero { id, offset, length },
        9 => Message::Flush { id },
        10 => Message::ResyncStart { id },
        11 => Message::InStep { id },
        12 => Message::HashRange { id, offset, length },
        13 => Message::RangeHash {
            id,
            hash: payload.as_ref().try_into().map_err(|_| form)?,
        },
        14 => Message::HandoverOffer {
            generation: id,
            name: text(&payload)?,
        },
        15 => Message::HandoverAccept { generation: id },
        16 => Message::HandoverRequest {
            name: text(&payload)?,
        },
        17 => Message::HandoverRefuse {
            reason: text(&payload)?,
        },
        18 => Message::ForwardRead { id, offset, length },
        19 if whole(&payload) => Message::ForwardWrite {
            id,
            offset,
            fua: code != 0,
            data: payload,
        },
        20 => Message::ForwardZero {
            id,
            offset,
            length,
            fua: code != 0,
        },
        21 => Message::ForwardFlush { id },
        22 => Message::ForwardReply {
            id,
            errno: code,
            data: payload,
        },
        _ => return Err(form),
    })
}

/// Header and payload of a message; the payload is not copied.
pub fn encode(message: Message) -> (Bytes, Bytes) {
    let parts = to_parts(message);
    let mut header = BytesMut::with_capacity(HEADER_BYTES);
    header.put_slice(&MAGIC);
    header.put_u16_le(parts.kind);
    header.put_u16_le(parts.code);
    header.put_u64_le(parts.id);
    header.put_u64_le(parts.offset);
    header.put_u64_le(parts.length);
    header.put_u32_le(u32::try_from(parts.payload.len()).unwrap_or(u32::MAX));
    let checksum = checksum(&header, &parts.payload);
    header.put_u32_le(checksum);
    (header.freeze(), parts.payload)
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// Takes the next message from the front of `buffer`; `Ok(None)` when it has not arrived whole.
///
/// # Errors
/// [`WireError`]: the link must be closed, nothing after this can be trusted.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Message>, WireError> {
    let Some(needed) = needed_bytes(buffer)? else {
        return Ok(None);
    };
    if buffer.len() < needed {
        return Ok(None);
    }
    let mut frame = buffer.split_to(needed).freeze();
    let payload = frame.split_off(HEADER_BYTES);
    let mut header = frame.clone();
    header.advance(4);
    let kind = header.get_u16_le();
    let code = header.get_u16_le();
    let id = header.get_u64_le();
    let offset = header.get_u64_le();
    let length = header.get_u64_le();
    header.advance(4);
    let stated = header.get_u32_le();
    if checksum(&frame.slice(..HEADER_BYTES - 4), &payload) != stated {
        return Err(WireError::Checksum {
            payload_bytes: payload.len(),
        });
    }
    from_parts(Parts {
        kind,
        code,
        id,
        offset,
        length,
        payload,
    })
    .map(Some)
}

/// How many bytes the message at the front of `buffer` takes; `Ok(None)` while its header is
/// incomplete.
///
/// # Errors
/// [`WireError::Magic`], [`WireError::TooLarge`].
pub fn needed_bytes(buffer: &[u8]) -> Result<Option<usize>, WireError> {
    let Some(header) = buffer.get(..HEADER_BYTES) else {
        return Ok(None);
    };
    if !header.starts_with(&MAGIC) {
        return Err(WireError::Magic);
    }
    let mut length = header.get(32..36).unwrap_or_default();
    let payload_bytes = usize::try_from(length.get_u32_le()).unwrap_or(usize::MAX);
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(WireError::TooLarge { payload_bytes });
    }
    Ok(Some(HEADER_BYTES + payload_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<Message> {
        let data = Bytes::from_static(b"some bytes of a block");
        vec![
            Message::Hello(Box::new(Hello {
                version: PROTOCOL_VERSION,
                node: "n".into(),
                set: "s".into(),
                role: Role::Primary,
                generation: 3,
                size_bytes: 1 << 40,
                empty: false,
                consistent: true,
                peer: String::new(),
                mode: Some(Mode::Sync),
                policy: Some(Policy::Available),
            })),
            Message::Refuse {
                reason: "不同的副本组".into(),
            },
            Message::Ping,
            Message::Pong,
            Message::Ack { id: 1 },
            Message::Nack { id: 2, errno: 28 },
            Message::Write {
                id: 3,
                offset: 4096,
                data: data.clone(),
            },
            Message::Zero {
                id: 4,
                offset: 0,
                length: 1 << 33,
            },
            Message::Flush { id: 5 },
            Message::ResyncStart { id: 6 },
            Message::InStep { id: 7 },
            Message::HashRange {
                id: 8,
                offset: 0,
                length: 1 << 20,
            },
            Message::RangeHash {
                id: 8,
                hash: [7; 32],
            },
            Message::HandoverOffer {
                generation: 2,
                name: "cut".into(),
            },
            Message::HandoverAccept { generation: 2 },
            Message::HandoverRequest { name: "cut".into() },
            Message::HandoverRefuse {
                reason: "no".into(),
            },
            Message::ForwardRead {
                id: 9,
                offset: 1,
                length: 2,
            },
            Message::ForwardWrite {
                id: 10,
                offset: 1,
                fua: true,
                data: data.clone(),
            },
            Message::ForwardZero {
                id: 11,
                offset: 1,
                length: 2,
                fua: false,
            },
            Message::ForwardFlush { id: 12 },
            Message::ForwardReply {
                id: 13,
                errno: 5,
                data,
            },
        ]
    }

    fn stream(messages: &[Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            let (header, payload) = encode(message.clone());
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(&payload);
        }
        bytes
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_messages(
            cuts in proptest::collection::vec(1usize..60, 1..200)
        ) {
            let sent = sample();
            let bytes = stream(&sent);
            let mut buffer = BytesMut::new();
            let mut received = Vec::new();
            let mut rest = bytes.as_slice();
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                buffer.extend_from_slice(now);
                rest = later;
                while let Some(message) = decode(&mut buffer).unwrap() {
                    received.push(message);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn an_altered_byte_never_passes(position in 0usize..2000, flip in 1u8..=255) {
            let sent = sample();
            let mut bytes = stream(&sent);
            let position = position % bytes.len();
            bytes[position] ^= flip;
            let mut buffer = BytesMut::from(bytes.as_slice());
            let mut received = Vec::new();
            while let Ok(Some(message)) = decode(&mut buffer) {
                received.push(message);
            }
            prop_assert!(received.len() < sent.len());
            prop_assert!(sent.starts_with(&received));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(bytes.as_slice());
            while let Ok(Some(_)) = decode(&mut buffer) {}
        }
    }
}
