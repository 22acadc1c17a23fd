//! A client's view of a reply that comes in pieces.

use super::pool::{BufferPool, PooledBuffer};
use super::protocol::*;
use bytes::{Buf, Bytes};

/// Content chunks that one reply may have; 512-byte pieces of a 32 MiB read stay far below.
const CHUNKS_MAX: usize = 1 << 17;

/// What a successful reply carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyData {
    /// Nothing beside success.
    Done,
    /// The data of a read.
    Data(Bytes),
    /// The extents of a block status, as (length in bytes, `STATE_HOLE | STATE_ZERO`).
    Extents(Vec<(u32, u32)>),
}

/// An error that the server reported for one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the NBD server answered with error {errno}{}{message}", if message.is_empty() { "" } else { ": " })]
pub struct ReplyError {
    /// Error value of the protocol, see [`super::protocol`].
    pub errno: u32,
    /// The server's words, if any.
    pub message: String,
}

/// What was asked, as far as the reply is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Nothing,
    Data { offset: u64, length: u32 },
    Extents,
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) expected: Expected,
    whole: Option<Bytes>,
    pieces: Option<PooledBuffer>,
    /// Parts of the read that have arrived, relative to its start, in order, merged.
    covered: Vec<(usize, usize)>,
    chunks: usize,
    extents: Vec<(u32, u32)>,
    error: Option<ReplyError>,
}

impl Assembly {
    pub(super) fn new(expected: Expected) -> Self {
        Self {
            expected,
            whole: None,
            pieces: None,
            covered: Vec::new(),
            chunks: 0,
            extents: Vec::new(),
            error: None,
        }
    }

    /// Adds the payload of a chunk. An error says how the server broke the protocol.
    pub(super) fn add(
        &mut self,
        kind: u16,
        mut payload: Bytes,
        pool: &BufferPool,
    ) -> Result<(), &'static str> {
        self.chunks += 1;
        if self.chunks > CHUNKS_MAX {
            return Err("a reply in too many chunks");
        }
        match kind {
            REPLY_TYPE_NONE if payload.is_empty() => Ok(()),
            REPLY_TYPE_OFFSET_DATA if payload.len() > 8 => {
                let offset = payload.get_u64();
                let (start, length) = self.place(offset, payload.len() as u64)?;
                if payload.len() == length {
                    self.whole = Some(payload);
                    return Ok(());
                }
                self.fill(start, payload.len(), length, pool, |target| {
                    target.copy_from_slice(&payload);
                });
                Ok(())
            }
            REPLY_TYPE_OFFSET_HOLE if payload.len() == 12 => {
                let (offset, hole_bytes) = (payload.get_u64(), payload.get_u32());
                let (start, length) = self.place(offset, u64::from(hole_bytes))?;
                self.fill(start, hole_bytes as usize, length, pool, |target| {
                    target.fill(0)
                });
                Ok(())
            }
            REPLY_TYPE_BLOCK_STATUS => self.add_extents(payload),
            kind if kind & REPLY_TYPE_ERROR_BIT != 0 => {
                self.error = Some(parse_error(&payload).ok_or("a malformed error chunk")?);
                Ok(())
            }
            _ => Err("a chunk of an unexpected type or length"),
        }
    }

    /// A simple reply, or the last chunk, is here.
    pub(super) fn finish(mut self) -> Result<Result<ReplyData, ReplyError>, &'static str> {
        if let Some(error) = self.error {
            return Ok(Err(error));
        }
        Ok(Ok(match self.expected {
            Expected::Nothing => ReplyData::Done,
            Expected::Extents if self.extents.is_empty() => {
                return Err("a block status without extents");
            }
            Expected::Extents => ReplyData::Extents(std::mem::take(&mut self.extents)),
            Expected::Data { length, .. } => {
                let complete = [(0, length as usize)];
                if length > 0 && self.covered != complete {
                    return Err("a read reply that does not cover what was asked");
                }
                let pieces = self.pieces.map(PooledBuffer::freeze);
                ReplyData::Data(self.whole.or(pieces).unwrap_or_default())
            }
        }))
    }

    /// Checks that a piece lies within the read and overlaps no other; gives its start within the
    /// read and the read's length.
    fn place(&mut self, offset: u64, piece_bytes: u64) -> Result<(usize, usize), &'static str> {
        const OUTSIDE: &str = "a content chunk outside what was asked";
        let Expected::Data {
            offset: first,
            length,
        } = self.expected
        else {
            return Err(OUTSIDE);
        };
        let start = offset.checked_sub(first).ok_or(OUTSIDE)?;
        let end = start.checked_add(piece_bytes).ok_or(OUTSIDE)?;
        if end > u64::from(length) || piece_bytes == 0 {
            return Err(OUTSIDE);
        }
        let (start, end) = (start as usize, end as usize);
        let index = self.covered.partition_point(|(from, _)| *from < start);
        let before = index
            .checked_sub(1)
            .and_then(|index| self.covered.get(index))
            .copied();
        let after = self.covered.get(index).copied();
        if before.is_some_and(|(_, to)| to > start) || after.is_some_and(|(from, _)| from < end) {
            return Err("content chunks that overlap");
        }
        let from = before
            .filter(|(_, to)| *to == start)
            .map_or(start, |(from, _)| from);
        let to = after
            .filter(|(from, _)| *from == end)
            .map_or(end, |(_, to)| to);
        let first = if from < start { index - 1 } else { index };
        let last = if to > end { index + 1 } else { index };
        self.covered.splice(first..last, [(from, to)]);
        Ok((start, length as usize))
    }

    fn fill(
        &mut self,
        start: usize,
        piece_bytes: usize,
        length: usize,
        pool: &BufferPool,
        write: impl FnOnce(&mut [u8]),
    ) {
        let buffer = self.pieces.get_or_insert_with(|| pool.take(length));
        if let Some(target) = buffer.as_mut_slice().get_mut(start..start + piece_bytes) {
            write(target);
        }
    }

    fn add_extents(&mut self, mut payload: Bytes) -> Result<(), &'static str> {
        let well_formed = payload.len() >= 12 && payload.len() % 8 == 4;
        if !well_formed || self.expected != Expected::Extents || !self.extents.is_empty() {
            return Err("a block status that was not asked for, or of a wrong length");
        }
        payload.advance(4);
        while payload.has_remaining() {
            self.extents.push((payload.get_u32(), payload.get_u32()));
        }
        if self.extents.iter().any(|(length, _)| *length == 0) {
            return Err("an extent of zero length");
        }
        Ok(())
    }
}

/// All error chunks begin with the error value and a message.
fn parse_error(mut payload: &[u8]) -> Option<ReplyError> {
    let errno = payload.try_get_u32().ok()?;
    let message_bytes = usize::from(payload.try_get_u16().ok()?);
    let message = String::from_utf8_lossy(payload.get(..message_bytes)?).into_owned();
    // Zero would say that nothing went wrong.
    Some(ReplyError {
        errno: if errno == 0 { EINVAL } else { errno },
        message,
    })
}
