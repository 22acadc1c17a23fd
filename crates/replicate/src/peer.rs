//! The connection to the other side of the set.

use crate::stream::{Stream, Transfer};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use yundu_replicate_core::wire::{self, Message, WireError};

const SLICES_MAX: usize = 64;

/// A connection that carries replication messages.
#[derive(Debug)]
pub struct PeerConnection {
    stream: Stream,
    input: BytesMut,
    output: VecDeque<Bytes>,
    readable: bool,
}

impl PeerConnection {
    /// Wraps a registered connection.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: VecDeque::new(),
            readable: true,
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

    /// Is there perhaps more to read?
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Queues a message; [`PeerConnection::flush`] sends it.
    pub fn send(&mut self, message: Message) {
        let (header, payload) = wire::encode(message);
        self.output.push_back(header);
        if !payload.is_empty() {
            self.output.push_back(payload);
        }
    }

    /// The next whole message, if one has arrived. `Ok(None)`: not yet.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub fn next_message(&mut self, scratch: &mut [u8]) -> Result<Option<Message>, String> {
        loop {
            let decoded = wire::decode(&mut self.input).map_err(|e: WireError| e.to_string())?;
            if decoded.is_some() || !self.readable {
                return Ok(decoded);
            }
            match self.stream.read(scratch) {
                Transfer::Bytes(count) => {
                    self.input
                        .extend_from_slice(scratch.get(..count).unwrap_or_default());
                }
                Transfer::WouldBlock => self.readable = false,
                Transfer::Closed => return Err("the connection was closed".to_owned()),
            }
        }
    }

    /// Sends what fits.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn flush(&mut self) -> Result<(), String> {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slot, chunk) in slices.iter_mut().zip(&self.output) {
                *slot = IoSlice::new(chunk);
                count += 1;
            }
            match self.stream.write(slices.get(..count).unwrap_or_default()) {
                Transfer::Bytes(written) => advance(&mut self.output, written),
                Transfer::WouldBlock => return Ok(()),
                Transfer::Closed => return Err("the connection was closed".to_owned()),
            }
        }
        Ok(())
    }
}

fn advance(chunks: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = chunks.front_mut() {
        if written < first.len() {
            let _ = first.split_to(written);
            return;
        }
        written -= first.len();
        chunks.pop_front();
    }
}
