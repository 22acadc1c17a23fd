//! The secondary's part: carry out what the primary sends, in its order.

use super::{AfterMeta, LocalOp, LocalOutcome, Node};
use crate::meta::Role;
use crate::wire::Message;
use bytes::Bytes;

/// Work for the primary.
#[derive(Debug)]
pub(super) struct PeerOp {
    /// Id of its message.
    message_id: u64,
    /// Link on which it came.
    link: u64,
    flush: bool,
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    fn peer_op(&mut self, message_id: u64, op: LocalOp) {
        if self.meta.role != Role::Secondary {
            self.close_link("the other side acts as primary, and so does this one");
            return;
        }
        let id = self.fresh_id();
        let flush = op == LocalOp::Flush;
        let background = matches!(op, LocalOp::Hash { .. });
        self.peer_ops.insert(
            id,
            PeerOp {
                message_id,
                link: self.link.number,
                flush,
            },
        );
        self.local(id, op, background);
    }

    fn is_within(&mut self, offset: u64, length: u64) -> bool {
        let within = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.meta.size_bytes);
        if !within {
            self.close_link("the other side named a range beyond the end of the volume");
        }
        within
    }

    pub(super) fn peer_write(&mut self, id: u64, offset: u64, data: Bytes) {
        if self.is_within(offset, data.len() as u64) {
            self.empty = false;
            self.peer_op(id, LocalOp::Write { offset, data });
        }
    }

    pub(super) fn peer_zero(&mut self, id: u64, offset: u64, length: u64) {
        if self.is_within(offset, length) {
            self.peer_op(id, LocalOp::Zero { offset, length });
        }
    }

    pub(super) fn peer_flush(&mut self, id: u64) {
        self.peer_op(id, LocalOp::Flush);
    }

    pub(super) fn peer_hash(&mut self, id: u64, offset: u64, length: u64) {
        if self.is_within(offset, length) {
            self.peer_op(id, LocalOp::Hash { offset, length });
        }
    }

    pub(super) fn peer_op_done(&mut self, id: u64, outcome: LocalOutcome) {
        let Some(PeerOp {
            message_id,
            link,
            flush,
        }) = self.peer_ops.remove(&id)
        else {
            return;
        };
        if let (true, LocalOutcome::Failed(errno)) = (flush, &outcome) {
            self.fail(format!(
                "fdatasync of the image failed (errno {errno}): this copy is no longer trusted"
            ));
        }
        if link != self.link.number {
            return;
        }
        let answer = match outcome {
            LocalOutcome::Done | LocalOutcome::Data(_) => Message::Ack { id: message_id },
            LocalOutcome::Hash(hash) => Message::RangeHash {
                id: message_id,
                hash,
            },
            LocalOutcome::Failed(errno) => Message::Nack {
                id: message_id,
                errno,
            },
        };
        self.send(answer);
    }

    pub(super) fn peer_resync_start(&mut self, id: u64) {
        if self.meta.role != Role::Secondary {
            self.close_link("the other side acts as primary, and so does this one");
            return;
        }
        self.meta.consistent = false;
        self.persist(AfterMeta::Ack(id));
    }

    pub(super) fn peer_in_step(&mut self, id: u64) {
        if self.meta.role != Role::Secondary {
            self.close_link("the other side acts as primary, and so does this one");
            return;
        }
        self.meta.consistent = true;
        self.persist(AfterMeta::Ack(id));
        let generation = self.meta.generation;
        self.event(
            "volume.consistent",
            serde_json::json!({"generation": generation}),
        );
    }
}
