//! Where received bytes land.

use super::pool::{PooledBuffer, TAIL_BYTES};
use bytes::Bytes;

/// Room for headers, options and small payloads.
const BUFFER_BYTES: usize = 64 << 10;
/// A payload of at least this size that has not arrived whole is received straight into its own
/// buffer; a smaller one is copied once, which costs less than another system call.
const DIRECT_BYTES_MIN: usize = 16 << 10;

/// The receiving end of a session: a buffer for headers, and the large payload on its way, if any.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    payload: Option<Payload>,
    /// Payload bytes still to be thrown away.
    drain_bytes: u64,
}

#[derive(Debug)]
struct Payload {
    buffer: PooledBuffer,
    filled: usize,
}

impl Payload {
    fn is_whole(&self) -> bool {
        self.filled >= self.buffer.length_bytes()
    }
}

impl Input {
    pub(super) fn new() -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self {
            buffer,
            start: 0,
            end: 0,
            payload: None,
            drain_bytes: 0,
        }
    }

    /// Where the driver should read to.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        if let Some(payload) = self.payload.as_mut().filter(|payload| !payload.is_whole()) {
            // The tail catches the next header by the same system call.
            let limit = payload.buffer.length_bytes().saturating_add(TAIL_BYTES);
            let storage = payload.buffer.storage_mut();
            let limit = limit.min(storage.len());
            return storage.get_mut(payload.filled..limit).unwrap_or_default();
        }
        if self.start > 0 {
            // What is left is less than one message, or the driver did not take its events.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// `count_bytes` were read into [`Input::spare`].
    pub(super) fn received(&mut self, count_bytes: usize) {
        let Some(payload) = self.payload.as_mut().filter(|payload| !payload.is_whole()) else {
            self.end = self.end.saturating_add(count_bytes).min(self.buffer.len());
            return;
        };
        let length = payload.buffer.length_bytes();
        let storage_bytes = payload.buffer.storage_mut().len();
        payload.filled = payload
            .filled
            .saturating_add(count_bytes)
            .min(storage_bytes);
        if payload.filled > length {
            // The main buffer is empty while a payload is under way.
            let beyond = payload.filled - length;
            payload.filled = length;
            let source = payload.buffer.storage_mut().get(length..length + beyond);
            let target = self.buffer.get_mut(..beyond);
            if let (Some(target), Some(source)) = (target, source) {
                target.copy_from_slice(source);
                self.start = 0;
                self.end = beyond;
            }
        }
    }

    /// Bytes not yet taken.
    pub(super) fn peek(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes bytes that were seen by [`Input::peek`].
    pub(super) fn take(&mut self, count_bytes: usize) {
        self.start = self.start.saturating_add(count_bytes).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Throws away the next `count_bytes` as they arrive.
    pub(super) fn drain(&mut self, count_bytes: u64) {
        self.drain_bytes = count_bytes;
    }

    /// Whether everything to be thrown away has arrived.
    pub(super) fn drained(&mut self) -> bool {
        let here = self.peek().len();
        let count = usize::try_from(self.drain_bytes)
            .unwrap_or(usize::MAX)
            .min(here);
        self.take(count);
        self.drain_bytes -= count as u64;
        self.drain_bytes == 0
    }

    /// Whether a payload of `length_bytes` is better waited for in the main buffer than begun.
    pub(super) fn payload_waits_in_buffer(&self, length_bytes: usize) -> bool {
        self.peek().len() < length_bytes && length_bytes < DIRECT_BYTES_MIN
    }

    /// Starts a payload with the bytes that are already here.
    pub(super) fn begin_payload(&mut self, mut buffer: PooledBuffer) {
        let here = self.peek();
        let filled = here.len().min(buffer.length_bytes());
        if let (Some(target), Some(source)) =
            (buffer.as_mut_slice().get_mut(..filled), here.get(..filled))
        {
            target.copy_from_slice(source);
        }
        self.take(filled);
        self.payload = Some(Payload { buffer, filled });
    }

    /// The payload under way, once it is whole.
    pub(super) fn finish_payload(&mut self) -> Option<Bytes> {
        let payload = self.payload.take_if(|payload| payload.is_whole())?;
        Some(payload.buffer.freeze())
    }

    /// Receives from a slice, for drivers that own their buffer and for tests.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        let spare = self.spare();
        let count = spare.len().min(bytes.len());
        if let (Some(target), Some(source)) = (spare.get_mut(..count), bytes.get(..count)) {
            target.copy_from_slice(source);
        }
        self.received(count);
        count
    }
}
