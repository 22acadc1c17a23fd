//! The server's end of one connection.

use super::handshake::Handshake;
use super::input::Input;
use super::output::OutputQueue;
use super::pool::BufferPool;
use super::protocol::*;
use super::request::{Checked, Command, ExportInfo, Header, Request, Rules};
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
        let verdict = match &self.chosen {
            Some(export) => {
                let (structured, block_status) = (self.structured, self.block_status);
                Rules {
                    export,
                    structured,
                    block_status,
                }
                .check(&header)
            }
            None => Err((EINVAL, "no export was chosen")),
        };
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
}
