//! Numbers of the protocol, named as the specification names them (without the `NBD_` prefix).

/// Default and largest payload that we accept or send in one message, bytes. The specification
/// asks that a payload of this size is never taken for an attack.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;
/// Longest string (export name, query, message) that the specification allows, bytes.
pub const STRING_BYTES_MAX: usize = 4096;

/// First magic of a server: `NBDMAGIC`.
pub const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Magic of newstyle negotiation and of each option: `IHAVEOPT`.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Magic of a reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Magic of a request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Magic of a simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Magic of a chunk of a structured reply.
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Handshake flag: fixed newstyle (server bit 0, client bit 0).
pub const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
/// Handshake flag: no 124 zeroes after EXPORT_NAME (server bit 1, client bit 1).
pub const FLAG_NO_ZEROES: u16 = 1 << 1;

/// Transmission flag that is always set.
pub const FLAG_HAS_FLAGS: u16 = 1 << 0;
/// Transmission flag: writes are refused.
pub const FLAG_READ_ONLY: u16 = 1 << 1;
/// Transmission flag: FLUSH is understood.
pub const FLAG_SEND_FLUSH: u16 = 1 << 2;
/// Transmission flag: FUA is understood.
pub const FLAG_SEND_FUA: u16 = 1 << 3;
/// Transmission flag: TRIM is understood.
pub const FLAG_SEND_TRIM: u16 = 1 << 5;
/// Transmission flag: WRITE_ZEROES is understood.
pub const FLAG_SEND_WRITE_ZEROES: u16 = 1 << 6;
/// Transmission flag: "don't fragment" is understood.
pub const FLAG_SEND_DF: u16 = 1 << 7;
/// Transmission flag: a flush on one connection covers the writes of all.
pub const FLAG_CAN_MULTI_CONN: u16 = 1 << 8;
/// Transmission flag: CACHE is understood.
pub const FLAG_SEND_CACHE: u16 = 1 << 10;
/// Transmission flag: FAST_ZERO is understood.
pub const FLAG_SEND_FAST_ZERO: u16 = 1 << 11;

/// Option: choose an export and enter transmission.
pub const OPT_EXPORT_NAME: u32 = 1;
/// Option: end the session.
pub const OPT_ABORT: u32 = 2;
/// Option: list the exports.
pub const OPT_LIST: u32 = 3;
/// Option: begin TLS.
pub const OPT_STARTTLS: u32 = 5;
/// Option: describe an export.
pub const OPT_INFO: u32 = 6;
/// Option: describe an export and enter transmission.
pub const OPT_GO: u32 = 7;
/// Option: structured replies.
pub const OPT_STRUCTURED_REPLY: u32 = 8;
/// Option: list metadata contexts.
pub const OPT_LIST_META_CONTEXT: u32 = 9;
/// Option: choose metadata contexts.
pub const OPT_SET_META_CONTEXT: u32 = 10;

/// Reply to an option: done.
pub const REP_ACK: u32 = 1;
/// Reply to an option: one export.
pub const REP_SERVER: u32 = 2;
/// Reply to an option: one aspect of an export.
pub const REP_INFO: u32 = 3;
/// Reply to an option: one metadata context.
pub const REP_META_CONTEXT: u32 = 4;
/// Bit that marks an error among the replies to options.
pub const REP_ERROR_BIT: u32 = 1 << 31;
/// Error reply: option not known.
pub const REP_ERR_UNSUP: u32 = REP_ERROR_BIT + 1;
/// Error reply: malformed option.
pub const REP_ERR_INVALID: u32 = REP_ERROR_BIT + 3;
/// Error reply: no such export.
pub const REP_ERR_UNKNOWN: u32 = REP_ERROR_BIT + 6;
/// Error reply: too large to process.
pub const REP_ERR_TOO_BIG: u32 = REP_ERROR_BIT + 9;

/// Information: size and transmission flags.
pub const INFO_EXPORT: u16 = 0;
/// Information: canonical name.
pub const INFO_NAME: u16 = 1;
/// Information: description for people.
pub const INFO_DESCRIPTION: u16 = 2;
/// Information: size constraints.
pub const INFO_BLOCK_SIZE: u16 = 3;

/// Command: read.
pub const CMD_READ: u16 = 0;
/// Command: write.
pub const CMD_WRITE: u16 = 1;
/// Command: disconnect.
pub const CMD_DISC: u16 = 2;
/// Command: flush.
pub const CMD_FLUSH: u16 = 3;
/// Command: trim.
pub const CMD_TRIM: u16 = 4;
/// Command: prefetch.
pub const CMD_CACHE: u16 = 5;
/// Command: write zeroes.
pub const CMD_WRITE_ZEROES: u16 = 6;
/// Command: block status.
pub const CMD_BLOCK_STATUS: u16 = 7;

/// Command flag: reply only when on stable storage.
pub const CMD_FLAG_FUA: u16 = 1 << 0;
/// Command flag: zeroes must be allocated.
pub const CMD_FLAG_NO_HOLE: u16 = 1 << 1;
/// Command flag: at most one content chunk.
pub const CMD_FLAG_DF: u16 = 1 << 2;
/// Command flag: only one extent.
pub const CMD_FLAG_REQ_ONE: u16 = 1 << 3;
/// Command flag: fail with ENOTSUP rather than zero slowly.
pub const CMD_FLAG_FAST_ZERO: u16 = 1 << 4;

/// Structured reply flag: last chunk of the reply.
pub const REPLY_FLAG_DONE: u16 = 1 << 0;
/// Chunk without payload.
pub const REPLY_TYPE_NONE: u16 = 0;
/// Chunk with data.
pub const REPLY_TYPE_OFFSET_DATA: u16 = 1;
/// Chunk that stands for zeroes.
pub const REPLY_TYPE_OFFSET_HOLE: u16 = 2;
/// Chunk with extents of a metadata context.
pub const REPLY_TYPE_BLOCK_STATUS: u16 = 5;
/// Bit that marks error chunks.
pub const REPLY_TYPE_ERROR_BIT: u16 = 1 << 15;
/// Error chunk.
pub const REPLY_TYPE_ERROR: u16 = REPLY_TYPE_ERROR_BIT + 1;
/// Error chunk with the offset at which it happened.
pub const REPLY_TYPE_ERROR_OFFSET: u16 = REPLY_TYPE_ERROR_BIT + 2;

/// Name of the only metadata context.
pub const CONTEXT_BASE_ALLOCATION: &str = "base:allocation";
/// Identity that the server gives to [`CONTEXT_BASE_ALLOCATION`].
pub const CONTEXT_BASE_ALLOCATION_ID: u32 = 1;
/// `base:allocation` flag: not allocated.
pub const STATE_HOLE: u32 = 1 << 0;
/// `base:allocation` flag: reads as zeroes.
pub const STATE_ZERO: u32 = 1 << 1;

/// Operation not permitted.
pub const EPERM: u32 = 1;
/// Input/output error.
pub const EIO: u32 = 5;
/// Cannot allocate memory.
pub const ENOMEM: u32 = 12;
/// Invalid argument.
pub const EINVAL: u32 = 22;
/// No space left on device.
pub const ENOSPC: u32 = 28;
/// Value too large.
pub const EOVERFLOW: u32 = 75;
/// Operation not supported.
pub const ENOTSUP: u32 = 95;
/// The server is being shut down.
pub const ESHUTDOWN: u32 = 108;
