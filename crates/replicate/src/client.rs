//! One NBD client.

use crate::stream::{Stream, Transfer};
use std::collections::HashMap;
use std::io::IoSlice;
use std::time::Instant;
use yundu_replicate_core::nbd::{Command, ServerSession, SessionEvent};

const SLICES_MAX: usize = 64;

/// A request under way, as the meters need it.
#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    /// When it was complete here.
    pub since: Instant,
    /// First byte, for the reply to a read.
    pub offset_bytes: u64,
}

/// A connection of an NBD client.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// The protocol.
    pub session: ServerSession,
    /// Requests not yet replied to.
    pub under_way: HashMap<u64, UnderWay>,
    readable: bool,
    closing: bool,
}

impl Client {
    /// Wraps a registered connection.
    pub fn new(stream: Stream, session: ServerSession) -> Self {
        Self {
            stream,
            session,
            under_way: HashMap::new(),
            readable: true,
            closing: false,
        }
    }

    /// The connection.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The socket has news.
    pub fn set_readable(&mut self) {
        self.readable = true;
    }

    /// The next request, if one has arrived. `Ok(None)`: not yet.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub fn next_request(&mut self) -> Result<Option<(u64, Command)>, String> {
        loop {
            match self.session.next_event() {
                Some(SessionEvent::Request(request)) => {
                    return Ok(Some((request.cookie, request.command)));
                }
                Some(SessionEvent::Ready) => continue,
                Some(SessionEvent::Disconnect) => self.closing = true,
                Some(SessionEvent::Fatal(reason)) => return Err(reason),
                None => {}
            }
            if self.closing {
                return Ok(None);
            }
            if !self.readable || !self.session.wants_input() {
                return Ok(None);
            }
            match self.stream.read(self.session.input()) {
                Transfer::Bytes(count) => self.session.consumed_input(count),
                Transfer::WouldBlock => self.readable = false,
                Transfer::Closed => return Err("gone".to_owned()),
            }
        }
    }

    /// Sends what fits; says whether something was sent.
    ///
    /// # Errors
    /// When the connection is gone, or has been said goodbye to.
    pub fn flush(&mut self) -> Result<bool, String> {
        let mut sent = false;
        while self.session.output_bytes() > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.session.output_slices(&mut slices);
            match self.stream.write(slices.get(..count).unwrap_or_default()) {
                Transfer::Bytes(written) => {
                    self.session.advance_output(written);
                    sent = true;
                }
                Transfer::WouldBlock => return Ok(sent),
                Transfer::Closed => return Err("gone".to_owned()),
            }
        }
        if self.closing && self.under_way.is_empty() {
            return Err("goodbye".to_owned());
        }
        Ok(sent)
    }
}
