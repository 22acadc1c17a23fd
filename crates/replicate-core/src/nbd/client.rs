//! The client's end of one connection.

use super::assembly::{Assembly, Expected};
pub use super::assembly::{ReplyData, ReplyError};
use super::encode::Encoded;
use super::input::Input;
use super::output::OutputQueue;
use super::pool::BufferPool;
use super::protocol::*;
use super::request::Command;
use bytes::{Buf, BufMut, Bytes};
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;

/// Requests that may wait for their reply.
const REQUESTS_IN_FLIGHT_MAX: usize = 1024;
/// Unused payload buffers that are kept, bytes.
const POOL_FREE_BYTES_MAX: usize = 16 << 20;

/// What a client wants from the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// Export name; empty for the default export.
    pub export: String,
    /// Ask for structured replies (the session works without them too).
    pub structured: bool,
    /// Ask for `base:allocation`; needs `structured`.
    pub block_status: bool,
}

/// What the server granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Size of the export, bytes.
    pub size_bytes: u64,
    /// Transmission flags, see [`super::protocol`].
    pub flags: u16,
    /// Replies are structured.
    pub structured: bool,
    /// Block status can be asked for.
    pub block_status: bool,
    /// Smallest unit, bytes.
    pub block_size_min: u32,
    /// Efficient unit, bytes.
    pub block_size_preferred: u32,
    /// Longest read or write, bytes.
    pub payload_bytes_max: u32,
}

/// What a session tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Requests may be made.
    Connected(Connected),
    /// A request is answered.
    Reply {
        /// The name that [`ClientSession::request`] gave.
        cookie: u64,
        /// Success with its data, or the server's error.
        outcome: Result<ReplyData, ReplyError>,
    },
    /// The session is over: close the connection.
    Failed(ClientError),
}

/// Why a session or a request cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server broke the protocol.
    #[error("the NBD server broke the protocol: {0}")]
    Protocol(String),
    /// The server refused the export.
    #[error(
        "the NBD server refused export '{export}': {message} (reply {reply:#x}); `nbdinfo --list` shows what it offers"
    )]
    Refused {
        /// Export asked for.
        export: String,
        /// Type of the error reply.
        reply: u32,
        /// The server's words.
        message: String,
    },
    /// A request was made before the session was connected, or after it ended.
    #[error("the NBD session is not connected")]
    NotConnected,
    /// Too many requests wait for replies.
    #[error("{REQUESTS_IN_FLIGHT_MAX} NBD requests wait for replies; take replies first")]
    TooManyRequests,
    /// The length does not fit the request, or exceeds what the server takes.
    #[error(
        "an NBD request of {length_bytes} bytes exceeds the limit of {limit_bytes} bytes; split it"
    )]
    TooLong {
        /// Length asked for, bytes.
        length_bytes: u64,
        /// Limit, bytes.
        limit_bytes: u64,
    },
}

#[derive(Debug)]
pub(super) enum Phase {
    Greeting,
    Option {
        option: u32,
        replies: u32,
    },
    /// The bare answer to EXPORT_NAME.
    ExportName,
    Transmission,
    Closed,
}

#[derive(Debug)]
enum Underway {
    Nothing,
    Simple { cookie: u64 },
    Chunk { cookie: u64, kind: u16, last: bool },
}

/// The client's end of one connection: a state machine without a socket. Driven as
/// [`ServerSession`](super::ServerSession) is.
#[derive(Debug)]
pub struct ClientSession {
    pub(super) options: ClientOptions,
    pub(super) granted: Connected,
    pub(super) size_known: bool,
    pub(super) no_zeroes: bool,
    pub(super) phase: Phase,
    underway: Underway,
    pub(super) input: Input,
    pub(super) output: OutputQueue,
    pool: BufferPool,
    pending: HashMap<u64, Assembly>,
    cookie_next: u64,
    pub(super) events: VecDeque<ClientEvent>,
}

impl ClientSession {
    /// A session that will ask for what `options` say once the server has greeted.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        let granted = Connected {
            size_bytes: 0,
            flags: 0,
            structured: false,
            block_status: false,
            block_size_min: 1,
            block_size_preferred: 4096,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
        };
        Self {
            options,
            granted,
            size_known: false,
            no_zeroes: false,
            phase: Phase::Greeting,
            underway: Underway::Nothing,
            input: Input::new(),
            output: OutputQueue::default(),
            pool: BufferPool::new(POOL_FREE_BYTES_MAX),
            pending: HashMap::new(),
            cookie_next: 1,
            events: VecDeque::new(),
        }
    }

    /// Where to read the next bytes of the connection to; empty after the end of the session.
    pub fn input(&mut self) -> &mut [u8] {
        if matches!(self.phase, Phase::Closed) {
            Default::default()
        } else {
            self.input.spare()
        }
    }

    /// `count_bytes` were read into [`ClientSession::input`]. Take the events before reading more.
    pub fn consumed_input(&mut self, count_bytes: usize) {
        self.input.received(count_bytes);
    }

    /// Copies received bytes in; returns how many were taken.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        if matches!(self.phase, Phase::Closed) {
            0
        } else {
            self.input.feed(bytes)
        }
    }

    /// The next event; `None` when more input is needed.
    pub fn next_event(&mut self) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let progress = match self.phase {
                Phase::Greeting => self.step_greeting(),
                Phase::Option { option, replies } => self.step_option(option, replies),
                Phase::ExportName => self.step_export_name(),
                Phase::Transmission => self.step_transmission(),
                Phase::Closed => Ok(false),
            };
            match progress {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.phase = Phase::Closed;
                    self.events.push_back(ClientEvent::Failed(error));
                }
            }
        }
    }

    /// Queues a request; the cookie returned names its reply. READ, WRITE and BLOCK_STATUS of a
    /// server without the feature fail there, not here.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`], [`ClientError::TooManyRequests`], [`ClientError::TooLong`];
    /// nothing is queued then.
    pub fn request(&mut self, command: &Command) -> Result<u64, ClientError> {
        if !matches!(self.phase, Phase::Transmission) {
            return Err(ClientError::NotConnected);
        }
        if self.pending.len() >= REQUESTS_IN_FLIGHT_MAX {
            return Err(ClientError::TooManyRequests);
        }
        let encoded = Encoded::of(command);
        let has_payload = matches!(command, Command::Read { .. } | Command::Write { .. });
        let limit = if has_payload {
            self.granted.payload_bytes_max
        } else {
            u32::MAX
        };
        let length = u32::try_from(encoded.length)
            .ok()
            .filter(|length| *length <= limit);
        let Some(length) = length else {
            let (length_bytes, limit_bytes) = (encoded.length, u64::from(limit));
            return Err(ClientError::TooLong {
                length_bytes,
                limit_bytes,
            });
        };
        let cookie = self.cookie_next;
        self.cookie_next += 1;
        self.put_request(encoded.flags, encoded.kind, cookie, encoded.offset, length);
        if let Command::Write { data, .. } = command {
            self.output.push(data.clone());
        }
        self.pending.insert(cookie, Assembly::new(encoded.expected));
        Ok(cookie)
    }

    /// Says goodbye; write the output, then close.
    pub fn disconnect(&mut self) {
        match self.phase {
            Phase::Transmission => self.put_request(0, CMD_DISC, 0, 0, 0),
            Phase::Option { .. } => self.put_option(OPT_ABORT, &[]),
            _ => {}
        }
        self.phase = Phase::Closed;
    }

    /// Requests that wait for their reply.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.pending.len()
    }

    /// What waits to be written, in order.
    pub fn output(&self) -> impl Iterator<Item = &[u8]> {
        self.output.chunks()
    }

    /// Fills `slices` for `writev`; returns how many were set.
    pub fn output_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// The first `written_bytes` of the output were written.
    pub fn advance_output(&mut self, written_bytes: usize) {
        self.output.advance(written_bytes);
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.output.bytes()
    }

    fn step_transmission(&mut self) -> Result<bool, ClientError> {
        if let Underway::Nothing = self.underway {
            return self.step_reply_header();
        }
        let Some(payload) = self.input.finish_payload() else {
            return Ok(false);
        };
        match std::mem::replace(&mut self.underway, Underway::Nothing) {
            Underway::Nothing => {}
            Underway::Simple { cookie } => {
                self.pending.remove(&cookie);
                let outcome = Ok(ReplyData::Data(payload));
                self.events
                    .push_back(ClientEvent::Reply { cookie, outcome });
            }
            Underway::Chunk { cookie, kind, last } => {
                self.add_chunk(cookie, kind, last, payload)?;
            }
        }
        Ok(true)
    }

    fn step_reply_header(&mut self) -> Result<bool, ClientError> {
        let mut magic = self.input.peek();
        match magic.try_get_u32() {
            Err(_) => Ok(false),
            Ok(SIMPLE_REPLY_MAGIC) => self.step_simple(),
            Ok(STRUCTURED_REPLY_MAGIC) if self.granted.structured => self.step_chunk(),
            Ok(magic) => Err(protocol(&format!("a reply begins with {magic:#x}"))),
        }
    }

    fn step_simple(&mut self) -> Result<bool, ClientError> {
        let Some(header) = self.input.peek().first_chunk::<16>().copied() else {
            return Ok(false);
        };
        self.input.take(header.len());
        let mut header = header.as_slice();
        header.advance(4);
        let (errno, cookie) = (header.get_u32(), header.get_u64());
        let Some(assembly) = self.pending.get(&cookie) else {
            return Err(protocol("a reply to a request that was not made"));
        };
        let expected = assembly.expected;
        if self.granted.structured && expected != Expected::Nothing && errno == 0 {
            return Err(protocol(
                "a simple reply where a structured one was negotiated",
            ));
        }
        if let (0, Expected::Data { length, .. }) = (errno, expected) {
            self.input.begin_payload(self.pool.take(length as usize));
            self.underway = Underway::Simple { cookie };
            return Ok(true);
        }
        self.pending.remove(&cookie);
        let outcome = match errno {
            0 => Ok(ReplyData::Done),
            errno => Err(ReplyError {
                errno,
                message: String::new(),
            }),
        };
        self.events
            .push_back(ClientEvent::Reply { cookie, outcome });
        Ok(true)
    }

    fn step_chunk(&mut self) -> Result<bool, ClientError> {
        let Some(header) = self.input.peek().first_chunk::<20>().copied() else {
            return Ok(false);
        };
        self.input.take(header.len());
        let mut header = header.as_slice();
        header.advance(4);
        let (flags, kind) = (header.get_u16(), header.get_u16());
        let (cookie, length) = (header.get_u64(), header.get_u32());
        if !self.pending.contains_key(&cookie) {
            return Err(protocol("a chunk for a request that was not made"));
        }
        if length > PAYLOAD_BYTES_MAX + 8 {
            return Err(protocol("a chunk that is longer than any request"));
        }
        let last = flags & REPLY_FLAG_DONE != 0;
        if length == 0 {
            self.add_chunk(cookie, kind, last, Bytes::new())?;
        } else {
            self.input.begin_payload(self.pool.take(length as usize));
            self.underway = Underway::Chunk { cookie, kind, last };
        }
        Ok(true)
    }

    fn add_chunk(
        &mut self,
        cookie: u64,
        kind: u16,
        last: bool,
        payload: Bytes,
    ) -> Result<(), ClientError> {
        let Some(assembly) = self.pending.get_mut(&cookie) else {
            return Ok(());
        };
        assembly.add(kind, payload, &self.pool).map_err(protocol)?;
        if last && let Some(assembly) = self.pending.remove(&cookie) {
            let outcome = assembly.finish().map_err(protocol)?;
            self.events
                .push_back(ClientEvent::Reply { cookie, outcome });
        }
        Ok(())
    }

    fn put_request(&mut self, flags: u16, kind: u16, cookie: u64, offset: u64, length: u32) {
        self.output.gather(|out| {
            out.put_u32(REQUEST_MAGIC);
            out.put_u16(flags);
            out.put_u16(kind);
            out.put_u64(cookie);
            out.put_u64(offset);
            out.put_u32(length);
        });
    }
}

pub(super) fn protocol(detail: &str) -> ClientError {
    ClientError::Protocol(detail.to_owned())
}
