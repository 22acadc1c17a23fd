//! Replies of a server, simple or structured as the client negotiated.

use super::protocol::*;
use super::server::ServerSession;
use bytes::{BufMut, Bytes, BytesMut};

/// Zeroes for clients that cannot be told of a hole.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];
/// Longest message beside an error, bytes: people read it, and it must never be a burden.
const MESSAGE_BYTES_MAX: usize = 512;

/// A piece of what a READ found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadExtent {
    /// Data.
    Data(Bytes),
    /// So many bytes of zeroes.
    Hole(u32),
}

impl ReadExtent {
    fn bytes(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Hole(length) => u64::from(*length),
        }
    }
}

impl ServerSession {
    /// The request is done (any request but a read that found data, or a block status).
    pub fn reply_done(&mut self, cookie: u64) {
        self.answered(0);
        if self.structured {
            self.output
                .gather(|out| put_chunk(out, REPLY_FLAG_DONE, REPLY_TYPE_NONE, cookie, 0));
        } else {
            self.output.gather(|out| put_simple(out, 0, cookie));
        }
    }

    /// The request failed. `errno` is one of the error values in [`super::protocol`]; `message` is
    /// for people and reaches clients with structured replies.
    pub fn reply_error(&mut self, cookie: u64, errno: u32, message: &str) {
        self.answered(0);
        if !self.structured {
            self.output.gather(|out| put_simple(out, errno, cookie));
            return;
        }
        let cut = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        let message = message.get(..cut).unwrap_or_default().as_bytes();
        self.output.gather(|out| {
            let length = 6 + message.len() as u32;
            put_chunk(out, REPLY_FLAG_DONE, REPLY_TYPE_ERROR, cookie, length);
            out.put_u32(errno);
            out.put_u16(message.len() as u16);
            out.put_slice(message);
        });
    }

    /// The data of a read that began at `offset`: exactly as many bytes as were asked for.
    pub fn reply_read(&mut self, cookie: u64, offset: u64, data: Bytes) {
        self.answered(data.len() as u64);
        if self.structured {
            self.put_data_header(cookie, offset, data.len() as u64, true);
        } else {
            self.output.gather(|out| put_simple(out, 0, cookie));
        }
        self.output.push(data);
    }

    /// A whole read of zeroes, `length` bytes from `offset`.
    pub fn reply_read_hole(&mut self, cookie: u64, offset: u64, length: u32, dont_fragment: bool) {
        self.reply_read_extents(cookie, offset, &[ReadExtent::Hole(length)], dont_fragment);
    }

    /// The outcome of a read that began at `offset`, as consecutive pieces that together are as
    /// long as was asked. Holes cost 12 bytes on the wire where the client can be told of them;
    /// elsewhere, and when it asked not to fragment, zeroes are written out.
    pub fn reply_read_extents(
        &mut self,
        cookie: u64,
        offset: u64,
        extents: &[ReadExtent],
        dont_fragment: bool,
    ) {
        let total_bytes: u64 = extents.iter().map(ReadExtent::bytes).sum();
        let one_hole = matches!(extents, [ReadExtent::Hole(_)]);
        if self.structured && (one_hole || !dont_fragment) {
            self.answered(total_bytes);
            return self.put_content_chunks(cookie, offset, extents);
        }
        self.answered(total_bytes);
        if self.structured {
            self.put_data_header(cookie, offset, total_bytes, true);
        } else {
            self.output.gather(|out| put_simple(out, 0, cookie));
        }
        for extent in extents {
            match extent {
                ReadExtent::Data(data) => self.output.push(data.clone()),
                ReadExtent::Hole(length) => self.put_zeroes(*length as usize),
            }
        }
    }

    /// The `base:allocation` extents from the requested offset on, as (length in bytes, flags
    /// `STATE_HOLE | STATE_ZERO`); at least one, none of zero length.
    pub fn reply_block_status(&mut self, cookie: u64, extents: &[(u32, u32)]) {
        debug_assert!(!extents.is_empty());
        self.answered(0);
        let mut payload = BytesMut::with_capacity(24 + 8 * extents.len());
        let length = 4 + 8 * extents.len() as u32;
        put_chunk(
            &mut payload,
            REPLY_FLAG_DONE,
            REPLY_TYPE_BLOCK_STATUS,
            cookie,
            length,
        );
        payload.put_u32(CONTEXT_BASE_ALLOCATION_ID);
        for (length, flags) in extents {
            payload.put_u32(*length);
            payload.put_u32(*flags);
        }
        self.output.push(payload.freeze());
    }

    fn put_content_chunks(&mut self, cookie: u64, offset: u64, extents: &[ReadExtent]) {
        let mut position = offset;
        let mut extents = extents
            .iter()
            .filter(|extent| extent.bytes() > 0)
            .peekable();
        while let Some(extent) = extents.next() {
            let last = extents.peek().is_none();
            match extent {
                ReadExtent::Data(data) => {
                    self.put_data_header(cookie, position, data.len() as u64, last);
                    self.output.push(data.clone());
                }
                ReadExtent::Hole(length) => self.output.gather(|out| {
                    let flags = if last { REPLY_FLAG_DONE } else { 0 };
                    put_chunk(out, flags, REPLY_TYPE_OFFSET_HOLE, cookie, 12);
                    out.put_u64(position);
                    out.put_u32(*length);
                }),
            }
            position = position.saturating_add(extent.bytes());
        }
    }

    /// The session holds reads to 32 MiB, so that the length of a chunk fits its field.
    fn put_data_header(&mut self, cookie: u64, offset: u64, data_bytes: u64, last: bool) {
        let flags = if last { REPLY_FLAG_DONE } else { 0 };
        let length = u32::try_from(data_bytes.saturating_add(8)).unwrap_or(u32::MAX);
        self.output.gather(|out| {
            put_chunk(out, flags, REPLY_TYPE_OFFSET_DATA, cookie, length);
            out.put_u64(offset);
        });
    }

    fn put_zeroes(&mut self, length_bytes: usize) {
        let mut left = length_bytes;
        while left > 0 {
            let piece = left.min(ZEROES.len());
            self.output
                .push(Bytes::from_static(ZEROES.get(..piece).unwrap_or_default()));
            left -= piece;
        }
    }

    /// An error does not say how long its read was; the meter is set right whenever nothing is in
    /// flight, which a paused session reaches by itself.
    fn answered(&mut self, read_bytes: u64) {
        debug_assert!(self.requests_in_flight > 0, "a reply without a request");
        self.requests_in_flight = self.requests_in_flight.saturating_sub(1);
        self.read_bytes_in_flight = self.read_bytes_in_flight.saturating_sub(read_bytes);
        if self.requests_in_flight == 0 {
            self.read_bytes_in_flight = 0;
        }
    }
}

fn put_simple(out: &mut BytesMut, errno: u32, cookie: u64) {
    out.put_u32(SIMPLE_REPLY_MAGIC);
    out.put_u32(errno);
    out.put_u64(cookie);
}

fn put_chunk(out: &mut BytesMut, flags: u16, kind: u16, cookie: u64, length: u32) {
    out.put_u32(STRUCTURED_REPLY_MAGIC);
    out.put_u16(flags);
    out.put_u16(kind);
    out.put_u64(cookie);
    out.put_u32(length);
}
