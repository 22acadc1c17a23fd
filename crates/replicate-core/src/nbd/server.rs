//! The server's end of one connection.

use super::handshake::Handshake;
use super::input::Input;
use super::output::OutputQueue;
use super::pool::BufferPool;
use super::protocol::*;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests that may wait for their reply on one connection.
const REQUESTS_IN_FLIGHT_MAX: usize = 1024;
/// Payload bytes of unreplied writes after which no further request is taken.
const WRITE_BYTES_IN_FLIGHT_MAX: usize = PAYLOAD_BYTES_MAX as usize;
/// Bytes of unreplied reads after which no further request is taken.
const READ_BYTES_IN_FLIGHT_MAX: u64 = PAYLOAD_BYTES_MAX as u64;
/// Bytes of output after which no further request or option is taken.
const OUTPUT_BYTES_PAUSE: usize = 4 << 20;
/// Unused payload buffers that one connection keeps, bytes.
const POOL_FREE_BYTES_MAX: usize = 16 << 20;
/// A request without its payload, bytes.
const REQUEST_BYTES: usize = 28;

/// One volume as it is offered to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportInfo {
    /// Name by which clients ask for it.
    pub name: String,
    /// Size, bytes.
    pub size_bytes: u64,
    /// Writes are refused with EPERM.
    pub read_only: bool,
    /// Smallest addressable unit, a power of two up to 65,536, bytes.
    pub block_size_min: u32,
    /// Unit at which requests are efficient, a power of two of at least 512, bytes.
    pub block_size_preferred: u32,
    /// Longest read or write in one request, bytes; never more than [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes_max: u32,
}

impl ExportInfo {
    pub(super) fn transmission_flags(&self, structured: bool) -> u16 {
        let mut flags = FLAG_HAS_FLAGS
            | FLAG_SEND_FLUSH
            | FLAG_SEND_FUA
            | FLAG_SEND_TRIM
            | FLAG_SEND_WRITE_ZEROES
            | FLAG_CAN_MULTI_CONN
            | FLAG_SEND_CACHE
            | FLAG_SEND_FAST_ZERO;
        if self.read_only {
            flags |= FLAG_READ_ONLY;
        }
        if structured {
            flags |= FLAG_SEND_DF;
        }
        flags
    }

    pub(super) fn description(&self) -> String {
        let access = if self.read_only {
            "read-only"
        } else {
            "writable"
        };
        format!("volume {}, {} bytes, {access}", self.name, self.size_bytes)
    }
}

/// What a session tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A valid request of the transmission phase, to be replied to exactly once.
    Request(Request),
    /// The client has chosen an export; requests follow.
    Ready,
    /// The client says goodbye: answer what is pending, write the output, close.
    Disconnect,
    /// The client broke the protocol: write the reason to the journal and close.
    Fatal(String),
}

/// A request of the transmission phase, already checked against size, alignment and flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's name for it, to be given back with the reply.
    pub cookie: u64,
    /// What is asked.
    pub command: Command,
}

/// What a client asks. Offsets and lengths are bytes, within the export, and not zero (a request
/// of zero length is answered by the session itself).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read.
    Read {
        /// First byte.
        offset: u64,
        /// Number of bytes, at most the export's `payload_bytes_max`.
        length: u32,
        /// The client wants one piece: pass it on to [`ServerSession::reply_read_extents`].
        dont_fragment: bool,
    },
    /// Write.
    Write {
        /// First byte.
        offset: u64,
        /// What to write.
        data: Bytes,
        /// Reply only when it is on stable storage.
        fua: bool,
    },
    /// Make a range read as zeroes.
    WriteZeroes {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Reply only when it is on stable storage.
        fua: bool,
        /// The range must stay allocated.
        no_hole: bool,
        /// Fail with ENOTSUP unless it is faster than writing.
        fast: bool,
    },
    /// The content of a range is no longer needed.
    Trim {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Reply only when it is on stable storage.
        fua: bool,
    },
    /// Reply when every write replied to before, on any connection, is on stable storage.
    Flush,
    /// The client will soon access a range.
    Cache {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Which parts of a range are holes?
    BlockStatus {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Answer with one extent, no longer than `length`.
        one: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Transmission,
    Closed,
}

/// What follows a request whose payload is on its way.
#[derive(Debug)]
enum Underway {
    Nothing,
    Write {
        cookie: u64,
        offset: u64,
        fua: bool,
    },
    Refused {
        cookie: u64,
        errno: u32,
        message: &'static str,
    },
}

/// The server's end of one connection: a state machine without a socket.
///
/// The driver's loop: while [`wants_input`](Self::wants_input), read into [`input`](Self::input)
/// and call [`consumed_input`](Self::consumed_input); take [`next_event`](Self::next_event) until
/// `None`; reply; write [`output_slices`](Self::output_slices) and call
/// [`advance_output`](Self::advance_output). Replies, dropped payloads and written output make
/// room: a driver then asks for events again before it waits for the socket, since requests may
/// already stand in the buffer.
#[derive(Debug)]
pub struct ServerSession {
    pub(super) exports: Vec<ExportInfo>,
    pub(super) output: OutputQueue,
    pub(super) structured: bool,
    pub(super) requests_in_flight: usize,
    pub(super) read_bytes_in_flight: u64,
    write_bytes_in_flight: Arc<AtomicUsize>,
    input: Input,
    handshake: Handshake,
    phase: Phase,
    chosen: Option<ExportInfo>,
    block_status: bool,
    underway: Underway,
    pool: BufferPool,
    events: VecDeque<SessionEvent>,
}

impl ServerSession {
    /// A session that offers `exports`; the greeting is already in its output.
    #[must_use]
    pub fn new(exports: Vec<ExportInfo>) -> Self {
        Self::with_pool(exports, BufferPool::new(POOL_FREE_BYTES_MAX))
    }

    /// As [`ServerSession::new`], with payload buffers from `pool` (shared by many sessions, so
    /// that unused memory is bounded for all of them together).
    #[must_use]
    pub fn with_pool(exports: Vec<ExportInfo>, pool: BufferPool) -> Self {
        let mut output = OutputQueue::default();
        let handshake = Handshake::new(&mut output);
        Self {
            exports,
            output,
            structured: false,
            requests_in_flight: 0,
            read_bytes_in_flight: 0,
            write_bytes_in_flight: Arc::default(),
            input: Input::new(),
            handshake,
            phase: Phase::Handshake,
            chosen: None,
            block_status: false,
            underway: Underway::Nothing,
            pool,
            events: VecDeque::new(),
        }
    }

    /// Where to read the next bytes of the connection to. Empty when
    /// [`ServerSession::wants_input`] is false: do not read then, a read into an empty slice looks
    /// like an end of stream.
    pub fn input(&mut self) -> &mut [u8] {
        if self.wants_input() {
            self.input.spare()
        } else {
            Default::default()
        }
    }

    /// `count_bytes` were read into [`ServerSession::input`].
    pub fn consumed_input(&mut self, count_bytes: usize) {
        self.input.received(count_bytes);
    }

    /// Copies received bytes in, for a driver that owns its buffer; returns how many were taken
    /// (take the events, then feed the rest).
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.wants_input() {
            self.input.feed(bytes)
        } else {
            0
        }
    }

    /// Whether more input is welcome: false while too much waits for replies or for the socket,
    /// and after the end of the session.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.phase != Phase::Closed && !self.is_paused()
    }

    /// The next event; `None` when more input, replies or writing are needed first.
    pub fn next_event(&mut self) -> Option<SessionEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.is_paused() || !self.input.drained() {
                return None;
            }
            let progress = match self.phase {
                Phase::Handshake => self.step_handshake(),
                Phase::Transmission => self.step_transmission(),
                Phase::Closed => false,
            };
            if !progress && self.events.is_empty() {
                return None;
            }
        }
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

    /// Requests that were handed out and not replied to.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.requests_in_flight
    }

    /// Name of the export that the client chose.
    #[must_use]
    pub fn export_name(&self) -> Option<&str> {
        self.chosen.as_ref().map(|export| export.name.as_str())
    }

    /// Whether replies are structured (negotiated by the client).
    #[must_use]
    pub fn is_structured(&self) -> bool {
        self.structured
    }

    /// The buffers from which this session takes its payloads; useful for the data of reads too.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    fn is_paused(&self) -> bool {
        self.output.bytes() >= OUTPUT_BYTES_PAUSE
            || self.requests_in_flight >= REQUESTS_IN_FLIGHT_MAX
            || self.read_bytes_in_flight >= READ_BYTES_IN_FLIGHT_MAX
            || (matches!(self.underway, Underway::Nothing)
                && self.write_bytes_in_flight.load(Ordering::Relaxed) >= WRITE_BYTES_IN_FLIGHT_MAX)
    }

    fn fatal(&mut self, reason: String) -> bool {
        self.phase = Phase::Closed;
        self.events.push_back(SessionEvent::Fatal(reason));
        true
    }

    fn step_handshake(&mut self) -> bool {
        use super::handshake::Step;
        match self
            .handshake
            .step(&mut self.input, &mut self.output, &self.exports)
        {
            Step::NeedInput => false,
            Step::Again => true,
            Step::Abort => {
                self.phase = Phase::Closed;
                self.events.push_back(SessionEvent::Disconnect);
                true
            }
            Step::Violation(reason) => self.fatal(reason),
            Step::Enter {
                export,
                structured,
                block_status,
            } => {
                self.chosen = self.exports.get(export).cloned();
                self.structured = structured;
                self.block_status = block_status;
                self.phase = Phase::Transmission;
                self.events.push_back(SessionEvent::Ready);
                true
            }
        }
    }

    /// Takes one step; false when input is missing.
    fn step_transmission(&mut self) -> bool {
        match std::mem::replace(&mut self.underway, Underway::Nothing) {
            Underway::Nothing => self.step_header(),
            Underway::Refused {
                cookie,
                errno,
                message,
            } => {
                self.refuse(cookie, errno, message);
                true
            }
            Underway::Write {
                cookie,
                offset,
                fua,
            } => match self.input.finish_payload() {
                Some(data) => {
                    self.hand_out(cookie, Command::Write { offset, data, fua });
                    true
                }
                None => {
                    self.underway = Underway::Write {
                        cookie,
                        offset,
                        fua,
                    };
                    false
                }
            },
        }
    }

    fn step_header(&mut self) -> bool {
        let Some(header) = self.input.peek().first_chunk::<REQUEST_BYTES>().copied() else {
            return false;
        };
        let Some(header) = Header::parse(&header) else {
            return self.fatal("a request does not begin with the magic 0x25609513".into());
        };
        let payload_bytes = if header.kind == CMD_WRITE {
            header.length
        } else {
            0
        };
        if payload_bytes > PAYLOAD_BYTES_MAX {
            let limit = PAYLOAD_BYTES_MAX;
            return self.fatal(format!(
                "a write of {payload_bytes} bytes exceeds {limit} bytes"
            ));
        }
        let verdict = self.check(&header);
        if verdict.is_ok()
            && payload_bytes > 0
            && self
                .input
                .payload_waits_in_buffer(REQUEST_BYTES + payload_bytes as usize)
        {
            return false;
        }
        self.input.take(REQUEST_BYTES);
        let cookie = header.cookie;
        match verdict {
            Err((errno, message)) => {
                self.input.drain(u64::from(payload_bytes));
                self.underway = Underway::Refused {
                    cookie,
                    errno,
                    message,
                };
            }
            Ok(Checked::Command(command)) => self.hand_out(cookie, command),
            Ok(Checked::Nothing) => {
                self.requests_in_flight += 1;
                self.reply_done(cookie);
            }
            Ok(Checked::Disconnect) => {
                self.phase = Phase::Closed;
                self.events.push_back(SessionEvent::Disconnect);
            }
            Ok(Checked::Payload { offset, fua }) => {
                let mut buffer = self.pool.take(payload_bytes as usize);
                buffer.count_in(&self.write_bytes_in_flight);
                self.input.begin_payload(buffer);
                self.underway = Underway::Write {
                    cookie,
                    offset,
                    fua,
                };
            }
        }
        true
    }

    fn hand_out(&mut self, cookie: u64, command: Command) {
        self.requests_in_flight += 1;
        if let Command::Read { length, .. } = &command {
            self.read_bytes_in_flight += u64::from(*length);
        }
        self.events
            .push_back(SessionEvent::Request(Request { cookie, command }));
    }

    fn refuse(&mut self, cookie: u64, errno: u32, message: &str) {
        self.requests_in_flight += 1;
        self.reply_error(cookie, errno, message);
    }

    /// Holds a request against flags, access, alignment and size, in this order.
    fn check(&self, header: &Header) -> Result<Checked, (u32, &'static str)> {
        let Some(export) = &self.chosen else {
            return Err((EINVAL, "no export was chosen"));
        };
        self.check_flags(header)?;
        let Header { offset, .. } = *header;
        let (fua, length) = (header.has(CMD_FLAG_FUA), u64::from(header.length));
        match header.kind {
            CMD_DISC => return Ok(Checked::Disconnect),
            CMD_FLUSH if offset == 0 && length == 0 => {
                return Ok(Checked::Command(Command::Flush));
            }
            CMD_FLUSH => return Err((EINVAL, "offset and length of a flush must be zero")),
            _ => {}
        }
        let writes = matches!(header.kind, CMD_WRITE | CMD_WRITE_ZEROES);
        if export.read_only && (writes || header.kind == CMD_TRIM) {
            return Err((EPERM, "the export is read-only"));
        }
        let unit = u64::from(export.block_size_min.max(1));
        if !offset.is_multiple_of(unit) || !length.is_multiple_of(unit) {
            return Err((
                EINVAL,
                "offset and length must be multiples of the minimum block size",
            ));
        }
        if offset
            .checked_add(length)
            .is_none_or(|end| end > export.size_bytes)
        {
            let errno = if writes { ENOSPC } else { EINVAL };
            return Err((errno, "the range goes beyond the end of the export"));
        }
        let limit = export.payload_bytes_max.min(PAYLOAD_BYTES_MAX);
        match header.kind {
            CMD_WRITE if header.length > limit => {
                return Err((EINVAL, "the write is longer than the maximum payload"));
            }
            CMD_READ if header.length > limit => {
                let errno = if self.structured { EOVERFLOW } else { EINVAL };
                return Err((errno, "the read is longer than the maximum payload"));
            }
            CMD_BLOCK_STATUS if !self.block_status => {
                return Err((EINVAL, "no metadata context was negotiated"));
            }
            CMD_BLOCK_STATUS if length == 0 => {
                return Err((
                    EINVAL,
                    "the length of a block status request must not be zero",
                ));
            }
            _ if length == 0 => return Ok(Checked::Nothing),
            _ => {}
        }
        Ok(Checked::Command(match header.kind {
            CMD_READ => {
                let dont_fragment = header.has(CMD_FLAG_DF);
                Command::Read {
                    offset,
                    length: header.length,
                    dont_fragment,
                }
            }
            CMD_WRITE => return Ok(Checked::Payload { offset, fua }),
            CMD_TRIM => Command::Trim {
                offset,
                length,
                fua,
            },
            CMD_CACHE => Command::Cache { offset, length },
            CMD_WRITE_ZEROES => Command::WriteZeroes {
                offset,
                length,
                fua,
                no_hole: header.has(CMD_FLAG_NO_HOLE),
                fast: header.has(CMD_FLAG_FAST_ZERO),
            },
            _ => Command::BlockStatus {
                offset,
                length,
                one: header.has(CMD_FLAG_REQ_ONE),
            },
        }))
    }

    /// FUA is valid everywhere; every other flag belongs to one command.
    fn check_flags(&self, header: &Header) -> Result<(), (u32, &'static str)> {
        let allowed = match header.kind {
            CMD_READ if self.structured => CMD_FLAG_DF,
            CMD_READ | CMD_WRITE | CMD_DISC | CMD_FLUSH | CMD_TRIM | CMD_CACHE => 0,
            CMD_WRITE_ZEROES => CMD_FLAG_NO_HOLE | CMD_FLAG_FAST_ZERO,
            CMD_BLOCK_STATUS => CMD_FLAG_REQ_ONE,
            _ => return Err((EINVAL, "unknown command")),
        };
        // A goodbye is a goodbye, whatever its flags.
        if header.kind != CMD_DISC && header.flags & !(allowed | CMD_FLAG_FUA) != 0 {
            return Err((EINVAL, "the command does not know one of its flags"));
        }
        Ok(())
    }
}

/// A valid request, before its payload.
enum Checked {
    Command(Command),
    Payload {
        offset: u64,
        fua: bool,
    },
    /// A request of zero length: done at once.
    Nothing,
    Disconnect,
}

/// The fixed part of a request.
struct Header {
    flags: u16,
    kind: u16,
    cookie: u64,
    offset: u64,
    length: u32,
}

impl Header {
    /// `None` when the magic is wrong.
    fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.try_get_u32().ok()? != REQUEST_MAGIC {
            return None;
        }
        Some(Self {
            flags: bytes.try_get_u16().ok()?,
            kind: bytes.try_get_u16().ok()?,
            cookie: bytes.try_get_u64().ok()?,
            offset: bytes.try_get_u64().ok()?,
            length: bytes.try_get_u32().ok()?,
        })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}
