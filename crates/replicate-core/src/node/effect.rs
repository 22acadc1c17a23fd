//! What the driver must do.

use super::Reply;
use crate::activity::Page;
use crate::meta::Meta;
use crate::wire::Message;
use bytes::Bytes;

/// Work on this node's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalOp {
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
    },
    /// Make zero, giving the space back where the image can.
    Zero {
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// fdatasync: covers every write reported done before.
    Flush,
    /// BLAKE3 of a range.
    Hash {
        /// Bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// How local work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalOutcome {
    /// Carried out.
    Done,
    /// What was read.
    Data(Bytes),
    /// Digest of the range.
    Hash([u8; 32]),
    /// Linux errno.
    Failed(u16),
}

/// Something the driver must do, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Work on the image; answered by [`Node::local_done`] with the same id. `background` work
    /// may give way to other work.
    Local {
        /// Id.
        id: u64,
        /// Work.
        op: LocalOp,
        /// May give way.
        background: bool,
    },
    /// Send to the other side, if the link is still up.
    Send(Message),
    /// Close the link; the driver reports [`Node::link_down`] afterwards as for any loss.
    CloseLink {
        /// For people.
        reason: String,
    },
    /// Answer a client.
    Reply {
        /// Connection.
        client: u64,
        /// Request within it.
        cookie: u64,
        /// Answer.
        reply: Reply,
    },
    /// Make the meta durable; answered by [`Node::meta_durable`] with the same version.
    PersistMeta {
        /// Rises by one.
        version: u64,
        /// What to write.
        meta: Box<Meta>,
    },
    /// Make these pages of the activity log durable; answered by [`Node::activity_durable`].
    PersistActivity {
        /// Index and content.
        pages: Vec<(usize, Page)>,
    },
    /// Make the mapped bitmap durable; answered by [`Node::bitmap_durable`].
    SyncBitmap,
    /// Which extents of the image hold data? Answered by [`Node::data_extents`].
    ScanData,
    /// Make the image this large (a receiver that was given to a set).
    Resize {
        /// Bytes.
        size_bytes: u64,
    },
    /// Both copies hold the same bytes at this moment; the next effects may change them.
    CutPoint {
        /// Name of the cut.
        name: String,
        /// Generation that begins.
        generation: u64,
    },
    /// A hand-over that was asked for here ended.
    HandoverEnded {
        /// Name of the cut.
        name: String,
        /// Generation, or why not.
        outcome: Result<u64, String>,
        /// Time during which requests were held, µs (0 when this side does not know).
        hold_us: u64,
    },
    /// Something worth evidence happened.
    Event {
        /// `volume.…`
        kind: &'static str,
        /// Integers and strings.
        body: serde_json::Value,
    },
}
