//! Requests of the transmission phase, and the rules that they must keep.

use super::protocol::*;
use bytes::{Buf, Bytes};

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

/// An error value of the protocol, and the reason for people.
pub(super) type Refusal = (u32, &'static str);

/// A valid request, before its payload.
pub(super) enum Checked {
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
pub(super) struct Header {
    pub(super) flags: u16,
    pub(super) kind: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Header {
    /// `None` when the magic is wrong.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
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

/// What was negotiated, as far as it decides which requests are valid.
pub(super) struct Rules<'a> {
    pub(super) export: &'a ExportInfo,
    pub(super) structured: bool,
    pub(super) block_status: bool,
}

impl Rules<'_> {
    /// Holds a request against flags, access, alignment and size, in this order.
    pub(super) fn check(&self, header: &Header) -> Result<Checked, Refusal> {
        let export = self.export;
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
    fn check_flags(&self, header: &Header) -> Result<(), Refusal> {
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
