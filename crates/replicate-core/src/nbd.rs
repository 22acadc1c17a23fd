//! The Network Block Device protocol as a codec: bytes in, events out; replies in, bytes out.
//!
//! Neither side knows a socket or a clock. A driver reads into [`ServerSession::input`], says how
//! much arrived, takes events until there are none, answers the requests among them in any order,
//! and writes what [`ServerSession::output_slices`] shows. [`ClientSession`] is the other end.
//!
//! What is spoken: fixed newstyle negotiation, structured replies, `base:allocation` block status,
//! and every command of the baseline together with FLUSH, FUA, TRIM, CACHE and WRITE_ZEROES. TLS
//! and the experimental extensions are refused the way the specification asks for. Source of every
//! rule here: "The NBD protocol" (proto.md of the NetworkBlockDevice project, in the public
//! domain).
//!
//! Payloads are copied as rarely as the socket allows: a large WRITE is received straight into the
//! buffer that is handed on, and the data of a READ is queued for `writev` as it is.

mod assembly;
mod client;
mod encode;
mod handshake;
mod input;
mod negotiation;
mod output;
mod pool;
pub mod protocol;
mod reply;
mod request;
mod server;

pub use client::{
    ClientError, ClientEvent, ClientOptions, ClientSession, Connected, ReplyData, ReplyError,
};
pub use output::OutputQueue;
pub use pool::{BufferPool, PooledBuffer};
pub use reply::ReadExtent;
pub use request::{Command, ExportInfo, Request};
pub use server::{ServerSession, SessionEvent};
