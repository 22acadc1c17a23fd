//! The secondary's part: carry out what the primary sends, in its order.

use super::planted::Bug;
use super::{AfterMeta, LocalOp, LocalOutcome, Node};
use crate::meta::{Mode, Role};
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
    writes: bool,
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    fn peer_op(&mut self, message_id: u64, op: LocalOp) {
        if self.meta.role != Role::Secondary {
            self.close_link("the other side acts as primary, and so does this one");
            return;
        }
        let asynchronous = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.mode == Mode::Async);
        let writes = matches!(op, LocalOp::Write { .. } | LocalOp::Zero { .. });
        let writing = || self.peer_ops.values().any(|op| op.writes);
        if asynchronous && writes && (!self.peer_queue.is_empty() || writing()) {
            // One after the other, so that this copy is the primary of some moment, always.
            self.peer_queue.push_back((message_id, op));
        } else {
            self.run_peer_op(message_id, op);
        }
    }

    fn run_peer_op(&mut self, message_id: u64, op: LocalOp) {
        let writes = matches!(op, LocalOp::Write { .. } | LocalOp::Zero { .. });
        let id = self.fresh_id();
        let flush = op == LocalOp::Flush;
        let background = matches!(op, LocalOp::Hash { .. });
        self.peer_ops.insert(
            id,
            PeerOp {
                message_id,
                link: self.link.number,
                flush,
                writes,
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
            writes: _,
        }) = self.peer_ops.remove(&id)
        else {
            return;
        };
        if let (true, LocalOutcome::Failed(errno)) = (flush, &outcome) {
            self.fail(format!(
                "fdatasync of the image failed (errno {errno}): this copy is no longer trusted"
            ));
        }
        if !self.peer_ops.values().any(|op| op.writes)
            && let Some((message_id, op)) = self.peer_queue.pop_front()
        {
            self.run_peer_op(message_id, op);
        }
        if link == self.link.number {
            self.answer_primary(message_id, outcome);
        }
        self.earlier_work_ended();
    }

    fn answer_primary(&mut self, message_id: u64, outcome: LocalOutcome) {
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
        self.persist(AfterMeta::ResyncReady(id, self.link.number));
    }

    pub(super) fn resync_is_durable(&mut self, id: u64, link: u64) {
        if link == self.link.number {
            self.link.resync_ack_due = Some(id);
            self.earlier_work_ended();
        }
    }

    /// Work that came on a former link, or was this copy's own as a primary, must not land on top
    /// of what comes next.
    pub(super) fn earlier_work_ended(&mut self) {
        let waits = !self.peer_ops.is_empty()
            || !self.peer_queue.is_empty()
            || !self.leftover_writes.is_empty();
        if waits && !self.has(Bug::IgnoreEarlierWork) {
            return;
        }
        if let Some(id) = self.link.resync_ack_due.take() {
            self.send(Message::Ack { id });
        }
        if self.meta.role == Role::Primary {
            self.release_held();
        }
    }

    pub(super) fn peer_in_step(&mut self, id: u64) {
        if self.meta.role != Role::Secondary {
            self.close_link("the other side acts as primary, and so does this one");
            return;
        }
        self.meta.consistent = true;
        self.persist(AfterMeta::Ack(id, self.link.number));
        let generation = self.meta.generation;
        self.event(
            "volume.consistent",
            serde_json::json!({"generation": generation}),
        );
    }
}
