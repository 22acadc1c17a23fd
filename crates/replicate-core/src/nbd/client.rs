//! The client's end of one connection.

use super::assembly::{Assembly, Expected};
pub use super::assembly::{ReplyData, ReplyError};
use super::input::Input;
use super::output::OutputQueue;
use super::pool::BufferPool;
use super::protocol::*;
use super::server::Command;
use bytes::{Buf, BufMut, Bytes};
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;

/// Requests that may wait for their reply.
const REQUESTS_IN_FLIGHT_MAX: usize = 1024;
/// Longest reply to an option, bytes.
const OPTION_REPLY_BYTES_MAX: u32 = 16 << 10;
/// Replies that one option may have.
const OPTION_REPLIES_MAX: u32 = 1024;
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
enum Phase {
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
    options: ClientOptions,
    granted: Connected,
    size_known: bool,
    no_zeroes: bool,
    phase: Phase,
    underway: Underway,
    input: Input,
    output: OutputQueue,
    pool: BufferPool,
    pending: HashMap<u64, Assembly>,
    cookie_next: u64,
    events: VecDeque<ClientEvent>,
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

    fn step_greeting(&mut self) -> Result<bool, ClientError> {
        let Some(greeting) = self.input.peek().first_chunk::<18>().copied() else {
            return Ok(false);
        };
        self.input.take(greeting.len());
        let mut greeting = greeting.as_slice();
        if greeting.get_u64() != INIT_MAGIC || greeting.get_u64() != OPTION_MAGIC {
            return Err(protocol(
                "the greeting is not that of a newstyle NBD server",
            ));
        }
        let flags = greeting.get_u16() & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
        self.no_zeroes = flags & FLAG_NO_ZEROES != 0;
        self.output.gather(|out| out.put_u32(u32::from(flags)));
        if flags & FLAG_FIXED_NEWSTYLE == 0 {
            self.ask_export_name();
        } else if self.options.structured {
            self.ask(OPT_STRUCTURED_REPLY, &[]);
        } else {
            self.ask_go();
        }
        Ok(true)
    }

    fn step_option(&mut self, option: u32, replies: u32) -> Result<bool, ClientError> {
        let Some(header) = self.input.peek().first_chunk::<20>().copied() else {
            return Ok(false);
        };
        let mut header = header.as_slice();
        let (magic, subject) = (header.get_u64(), header.get_u32());
        let (kind, length) = (header.get_u32(), header.get_u32());
        if magic != OPTION_REPLY_MAGIC || subject != option {
            return Err(protocol(
                "an option reply with a wrong magic or to another option",
            ));
        }
        if length > OPTION_REPLY_BYTES_MAX || replies >= OPTION_REPLIES_MAX {
            return Err(protocol("option replies that are too long or too many"));
        }
        let total = 20 + length as usize;
        let Some(data) = self.input.peek().get(20..total) else {
            return Ok(false);
        };
        let data = Bytes::copy_from_slice(data);
        self.input.take(total);
        self.phase = Phase::Option {
            option,
            replies: replies + 1,
        };
        if kind & REP_ERROR_BIT != 0 {
            self.option_refused(option, kind, &data)?;
        } else if kind == REP_ACK {
            self.option_granted(option)?;
        } else if kind == REP_INFO {
            self.learn(data)?;
        } else if kind == REP_META_CONTEXT {
            self.granted.block_status |= data.get(4..) == Some(CONTEXT_BASE_ALLOCATION.as_bytes());
        }
        Ok(true)
    }

    fn option_refused(&mut self, option: u32, kind: u32, data: &[u8]) -> Result<(), ClientError> {
        match option {
            OPT_GO if kind == REP_ERR_UNSUP => self.ask_export_name(),
            OPT_STRUCTURED_REPLY => self.ask_go(),
            OPT_SET_META_CONTEXT => {
                self.granted.block_status = false;
                self.ask_go();
            }
            _ => {
                self.put_option(OPT_ABORT, &[]);
                return Err(ClientError::Refused {
                    export: self.options.export.clone(),
                    reply: kind,
                    message: String::from_utf8_lossy(data).into_owned(),
                });
            }
        }
        Ok(())
    }

    fn option_granted(&mut self, option: u32) -> Result<(), ClientError> {
        match option {
            OPT_STRUCTURED_REPLY => {
                self.granted.structured = true;
                if self.options.block_status {
                    self.ask_block_status();
                } else {
                    self.ask_go();
                }
            }
            OPT_SET_META_CONTEXT => self.ask_go(),
            _ if !self.size_known => {
                return Err(protocol("GO was granted without the size of the export"));
            }
            _ => self.enter(),
        }
        Ok(())
    }

    /// One aspect of the export, in reply to GO.
    fn learn(&mut self, mut data: Bytes) -> Result<(), ClientError> {
        let malformed = |_| protocol("a malformed description of the export");
        match data.try_get_u16().map_err(malformed)? {
            INFO_EXPORT => {
                self.granted.size_bytes = data.try_get_u64().map_err(malformed)?;
                self.granted.flags = data.try_get_u16().map_err(malformed)?;
                self.size_known = true;
            }
            INFO_BLOCK_SIZE => {
                self.granted.block_size_min = data.try_get_u32().map_err(malformed)?;
                self.granted.block_size_preferred = data.try_get_u32().map_err(malformed)?;
                let payload = data.try_get_u32().map_err(malformed)?;
                self.granted.payload_bytes_max = payload.min(PAYLOAD_BYTES_MAX);
            }
            _ => {}
        }
        Ok(())
    }

    fn step_export_name(&mut self) -> Result<bool, ClientError> {
        let total = if self.no_zeroes { 10 } else { 134 };
        let Some(mut data) = self.input.peek().get(..total) else {
            return Ok(false);
        };
        self.granted.size_bytes = data.get_u64();
        self.granted.flags = data.get_u16();
        self.input.take(total);
        self.enter();
        Ok(true)
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

    fn enter(&mut self) {
        self.phase = Phase::Transmission;
        self.events
            .push_back(ClientEvent::Connected(self.granted.clone()));
    }

    fn ask(&mut self, option: u32, data: &[u8]) {
        self.put_option(option, data);
        self.phase = Phase::Option { option, replies: 0 };
    }

    fn ask_go(&mut self) {
        let mut data = string(&self.options.export);
        data.put_u16(1);
        data.put_u16(INFO_BLOCK_SIZE);
        self.ask(OPT_GO, &data);
    }

    fn ask_block_status(&mut self) {
        let mut data = string(&self.options.export);
        data.put_u32(1);
        data.extend_from_slice(&string(CONTEXT_BASE_ALLOCATION));
        self.ask(OPT_SET_META_CONTEXT, &data);
    }

    fn ask_export_name(&mut self) {
        let name = self.options.export.clone();
        self.put_option(OPT_EXPORT_NAME, name.as_bytes());
        self.phase = Phase::ExportName;
    }

    fn put_option(&mut self, option: u32, data: &[u8]) {
        self.output.gather(|out| {
            out.put_u64(OPTION_MAGIC);
            out.put_u32(option);
            out.put_u32(data.len() as u32);
            out.put_slice(data);
        });
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

/// A command in the fields of a request.
struct Encoded {
    flags: u16,
    kind: u16,
    offset: u64,
    length: u64,
    expected: Expected,
}

impl Encoded {
    fn of(command: &Command) -> Self {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let plain = |kind, offset, length, flags| Self {
            flags,
            kind,
            offset,
            length,
            expected: Expected::Nothing,
        };
        match *command {
            Command::Read {
                offset,
                length,
                dont_fragment,
            } => Self {
                expected: Expected::Data { offset, length },
                ..plain(
                    CMD_READ,
                    offset,
                    u64::from(length),
                    flag(dont_fragment, CMD_FLAG_DF),
                )
            },
            Command::Write {
                offset,
                ref data,
                fua,
            } => plain(
                CMD_WRITE,
                offset,
                data.len() as u64,
                flag(fua, CMD_FLAG_FUA),
            ),
            Command::WriteZeroes {
                offset,
                length,
                fua,
                no_hole,
                fast,
            } => {
                let flags = flag(fua, CMD_FLAG_FUA)
                    | flag(no_hole, CMD_FLAG_NO_HOLE)
                    | flag(fast, CMD_FLAG_FAST_ZERO);
                plain(CMD_WRITE_ZEROES, offset, length, flags)
            }
            Command::Trim {
                offset,
                length,
                fua,
            } => plain(CMD_TRIM, offset, length, flag(fua, CMD_FLAG_FUA)),
            Command::Flush => plain(CMD_FLUSH, 0, 0, 0),
            Command::Cache { offset, length } => plain(CMD_CACHE, offset, length, 0),
            Command::BlockStatus {
                offset,
                length,
                one,
            } => Self {
                expected: Expected::Extents,
                ..plain(
                    CMD_BLOCK_STATUS,
                    offset,
                    length,
                    flag(one, CMD_FLAG_REQ_ONE),
                )
            },
        }
    }
}

fn protocol(detail: &str) -> ClientError {
    ClientError::Protocol(detail.to_owned())
}

/// A string behind its length of 32 bits.
fn string(text: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(8 + text.len());
    data.put_u32(text.len() as u32);
    data.put_slice(text.as_bytes());
    data
}
