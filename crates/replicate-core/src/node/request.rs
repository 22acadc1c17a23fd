//! What clients ask, and what they are answered.

use bytes::Bytes;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client connected to this node.
    Client {
        /// Connection.
        client: u64,
        /// Request within it.
        cookie: u64,
    },
    /// A client connected to the other node, by the id of its forwarded request, valid on the
    /// link of this number.
    Peer {
        /// Id of the forwarded request.
        id: u64,
        /// Number of the link on which it came.
        link: u64,
    },
}

/// What a client asks. Ranges lie within the volume (the face checks).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read.
    Read {
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Write.
    Write {
        /// Bytes.
        offset: u64,
        /// What to write.
        data: Bytes,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make zero (also what TRIM becomes, so that both copies stay equal).
    Zero {
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make everything replied to durable.
    Flush,
}

/// Answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Carried out.
    Done,
    /// What was read.
    Data(Bytes),
    /// Linux errno.
    Error(u16),
}
