//! Clients' requests at the primary: lock, heat, mark, write here and there, reply.

use super::planted::Bug;
use super::{AfterMeta, Command, Effect, LocalOp, LocalOutcome, Node, Origin, Reply};
use crate::block::Blocks;
use crate::meta::{Mode, Policy};
use crate::wire::Message;
use bytes::Bytes;

/// errno: no space left on device.
const ENOSPC: u16 = 28;
/// errno: disk quota exceeded.
const EDQUOT: u16 = 122;

/// What a write puts there.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Data(Bytes),
    Zero,
}

/// How a write stands with the other copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerWait {
    /// The other copy need not hold it now: it is marked, and "outdated" is durable.
    NotNeeded,
    /// Sent, not acknowledged.
    Sent,
    /// The other copy was lost meanwhile: waits for "outdated" to be durable.
    Outdating,
    /// The other copy was lost meanwhile: waits for it to come back (policy `protect`).
    Protected,
    /// Acknowledged.
    Acknowledged,
}

#[derive(Debug)]
pub(super) struct WriteOp {
    pub(super) origin: Origin,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) content: Content,
    pub(super) fua: bool,
    /// The image was told to write.
    pub(super) started: bool,
    pub(super) local_done: bool,
    /// The image could not write: errno.
    pub(super) failed: Option<u16>,
    pub(super) peer: PeerWait,
}

#[derive(Debug)]
pub(super) struct ReadOp {
    pub(super) origin: Origin,
    offset: u64,
    length: u64,
}

impl ReadOp {
    pub(super) fn command(&self) -> Command {
        Command::Read {
            offset: self.offset,
            length: self.length,
        }
    }
}

impl WriteOp {
    pub(super) fn command(&self) -> Command {
        match &self.content {
            Content::Data(data) => Command::Write {
                offset: self.offset,
                data: data.clone(),
                fua: self.fua,
            },
            Content::Zero => Command::Zero {
                offset: self.offset,
                length: self.length,
                fua: self.fua,
            },
        }
    }

    pub(super) fn blocks(&self) -> Blocks {
        Blocks::touched(self.offset, self.length)
    }

    fn local_op(&self) -> LocalOp {
        match &self.content {
            Content::Data(data) => LocalOp::Write {
                offset: self.offset,
                data: data.clone(),
            },
            Content::Zero => LocalOp::Zero {
                offset: self.offset,
                length: self.length,
            },
        }
    }

    pub(super) fn message(&self, id: u64) -> Message {
        match &self.content {
            Content::Data(data) => Message::Write {
                id,
                offset: self.offset,
                data: data.clone(),
            },
            Content::Zero => Message::Zero {
                id,
                offset: self.offset,
                length: self.length,
            },
        }
    }
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    pub(super) fn foreground(&mut self, origin: Origin, command: Command) {
        match command {
            Command::Read { offset, length } => {
                let id = self.fresh_id();
                let read = ReadOp {
                    origin,
                    offset,
                    length,
                };
                self.reads.insert(id, read);
                self.local(id, LocalOp::Read { offset, length }, false);
            }
            Command::Write { offset, data, fua } => {
                let length = data.len() as u64;
                self.write(origin, offset, length, Content::Data(data), fua);
            }
            Command::Zero {
                offset,
                length,
                fua,
            } => {
                self.write(origin, offset, length, Content::Zero, fua);
            }
            Command::Flush => self.client_flush(origin),
        }
    }

    fn write(&mut self, origin: Origin, offset: u64, length: u64, content: Content, fua: bool) {
        if length == 0 {
            self.reply(origin, Reply::Done);
            return;
        }
        let id = self.fresh_id();
        let op = WriteOp {
            origin,
            offset,
            length,
            content,
            fua,
            started: false,
            local_done: false,
            failed: None,
            peer: PeerWait::NotNeeded,
        };
        let blocks = op.blocks();
        self.writes.insert(id, op);
        if self.locks.lock(id, blocks) {
            self.locked(id);
        }
    }

    /// Someone who waited holds its range now.
    pub(super) fn granted(&mut self, ids: Vec<u64>) {
        for id in ids {
            if self.writes.contains_key(&id) {
                self.locked(id);
            } else {
                self.verify_locked(id);
            }
        }
    }

    fn locked(&mut self, id: u64) {
        let Some(op) = self.writes.get(&id) else {
            return;
        };
        let blocks = op.blocks();
        // Without another copy there is nothing to remember.
        if self.meta.peer.is_none() {
            self.start_write(id);
            return;
        }
        // Heated first: an extent that was cooled here may still be hot on the disk.
        self.activity.heat(blocks);
        if self.activity.is_durable(blocks) {
            self.start_write(id);
        } else {
            self.awaiting_activity.push(id);
            self.persist_activity();
        }
    }

    fn persist_activity(&mut self) {
        if self.activity_persisting {
            return;
        }
        let pages = self.activity.pending_pages();
        if !pages.is_empty() {
            self.activity_persisting = true;
            self.effects.push_back(Effect::PersistActivity { pages });
        }
    }

    /// These pages of the activity log are durable.
    pub fn activity_durable(&mut self, pages: &[(usize, crate::activity::Page)]) {
        self.activity_persisting = false;
        self.activity.pages_durable(pages);
        for id in std::mem::take(&mut self.awaiting_activity) {
            match self.writes.get(&id) {
                Some(op) if self.activity.is_durable(op.blocks()) => self.start_write(id),
                Some(_) => self.awaiting_activity.push(id),
                None => {}
            }
        }
        if !self.awaiting_activity.is_empty() {
            self.persist_activity();
        } else if !self.cooling && self.activity.hot_count() > self.config.hot_extents_max {
            self.cooling = true;
            self.effects.push_back(Effect::SyncBitmap);
        }
    }

    /// The bitmap is durable as it stood when this was asked for: extents in which nothing
    /// happens may be forgotten by the activity log.
    pub fn bitmap_durable(&mut self) {
        self.cooling = false;
        let Self {
            activity,
            locks,
            unflushed,
            closing,
            dirty,
            ..
        } = self;
        activity.cool(|blocks| {
            let quiet = |bitmap: &crate::bitmap::SparseBitmap| {
                bitmap
                    .next_set(blocks.first)
                    .is_none_or(|next| next >= blocks.end)
            };
            !locks.is_held(blocks)
                && quiet(unflushed)
                && quiet(closing)
                && (blocks.first..blocks.end).all(|block| !dirty.contains(block))
        });
    }

    fn start_write(&mut self, id: u64) {
        let length = self.writes.get(&id).map_or(0, |op| op.length);
        let behind = self.mirrors()
            && self.unacknowledged_bytes + length > self.config.async_backlog_bytes_max
            && self
                .meta
                .peer
                .as_ref()
                .is_some_and(|peer| peer.mode == Mode::Async);
        if behind {
            self.fall_behind();
        }
        let mirrored = self.mirrors();
        let planted_late = self.has(Bug::MarkAfterWrite);
        let outdating = self.is_persisting(&AfterMeta::Outdated);
        let Some(op) = self.writes.get_mut(&id) else {
            return;
        };
        let blocks = op.blocks();
        let local = op.local_op();
        op.started = true;
        let Some(peer) = &self.meta.peer else {
            self.local(id, local, false);
            return;
        };
        // The mark comes first: from here on no crash can lose the knowledge that the copies
        // may differ here.
        if !planted_late {
            self.dirty.set(blocks);
        }
        if mirrored {
            op.peer = PeerWait::Sent;
            let message = op.message(id);
            self.unacknowledged_bytes += length;
            self.send(message);
        } else {
            op.peer = if peer.outdated_since_us.is_some() && !outdating {
                PeerWait::NotNeeded
            } else {
                // The link was lost a moment ago, or what is durable still promises more.
                match peer.policy {
                    _ if peer.mode == Mode::Async && !outdating => PeerWait::NotNeeded,
                    _ if peer.mode == Mode::Async => PeerWait::Outdating,
                    Policy::Available => PeerWait::Outdating,
                    Policy::Protect => PeerWait::Protected,
                }
            };
            if self.link.is_agreed() {
                self.to_send.set(blocks);
            }
        }
        self.local(id, local, false);
    }

    pub(super) fn read_done(&mut self, origin: Origin, outcome: LocalOutcome) {
        let reply = match outcome {
            LocalOutcome::Data(data) => Reply::Data(data),
            LocalOutcome::Failed(errno) => Reply::Error(errno),
            LocalOutcome::Done | LocalOutcome::Hash(_) => Reply::Error(5),
        };
        self.reply(origin, reply);
        self.continue_handover();
    }

    pub(super) fn local_write_done(&mut self, id: u64, outcome: LocalOutcome) {
        match outcome {
            LocalOutcome::Failed(errno @ (ENOSPC | EDQUOT)) => {
                // An error would make the client's file system read-only; space can be given.
                self.retries.push((self.now_us + self.config.retry_us, id));
                let size = self.retries.len();
                self.event(
                    "volume.no-space",
                    serde_json::json!({"errno": errno, "writes_waiting": size}),
                );
            }
            LocalOutcome::Failed(errno) => {
                let Some(op) = self.writes.get_mut(&id) else {
                    return;
                };
                // The error is answered when the other copy has answered too: until then the
                // write may still reach that copy, and nobody else may touch the range.
                op.failed = Some(errno);
                op.local_done = true;
                let offset = op.offset;
                self.event(
                    "volume.write-failed",
                    serde_json::json!({"errno": errno, "offset": offset}),
                );
                self.complete_write(id);
            }
            _ => {
                if let Some(op) = self.writes.get_mut(&id) {
                    op.local_done = true;
                    let blocks = op.blocks();
                    if self.has(Bug::MarkAfterWrite) {
                        self.dirty.set(blocks);
                    }
                }
                self.complete_write(id);
            }
        }
    }

    pub(super) fn retry_tick(&mut self) {
        if self.retries.is_empty() {
            return;
        }
        let now_us = self.now_us;
        let due: Vec<u64> = self
            .retries
            .iter()
            .filter(|(at_us, _)| *at_us <= now_us)
            .map(|(_, id)| *id)
            .collect();
        self.retries.retain(|(at_us, _)| *at_us > now_us);
        for id in due {
            if let Some(local) = self.writes.get(&id).map(WriteOp::local_op) {
                self.local(id, local, false);
            }
        }
    }

    /// The other copy holds the write.
    pub(super) fn write_acknowledged(&mut self, id: u64) {
        let size_bytes = self.meta.size_bytes;
        let Some(op) = self.writes.get_mut(&id) else {
            return;
        };
        let awaited = op.peer == PeerWait::Sent;
        op.peer = PeerWait::Acknowledged;
        let covered = Blocks::covered(op.offset, op.length, size_bytes);
        if awaited {
            self.unacknowledged_bytes = self.unacknowledged_bytes.saturating_sub(op.length);
        }
        self.statistics.mirrored_bytes += op.length;
        if !self.to_send.is_empty() {
            self.to_send.clear(covered);
        }
        self.complete_write(id);
    }

    fn complete_write(&mut self, id: u64) {
        let early = self.has(Bug::ReplyEarly);
        let asynchronous = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.mode == Mode::Async);
        let Some(op) = self.writes.get_mut(&id) else {
            return;
        };
        if !op.local_done {
            return;
        }
        let waits = match op.peer {
            PeerWait::NotNeeded | PeerWait::Acknowledged => false,
            PeerWait::Sent => !asynchronous && !early,
            PeerWait::Outdating | PeerWait::Protected => true,
        };
        if waits {
            return;
        }
        let (origin, fua) = (op.origin, op.fua);
        if let Some(errno) = op.failed {
            if op.peer != PeerWait::Sent {
                // The other copy may hold it: it is sent what this one holds, and the copies
                // agree again.
                let blocks = op.blocks();
                if self.mirrors() {
                    self.repair(blocks);
                }
                self.reply(origin, Reply::Error(errno));
                self.end_write(id);
            }
            return;
        }
        let unseen = op.peer == PeerWait::Sent;
        if unseen {
            // Asynchronous: the client is answered now, the range stays locked until the other
            // copy has it, so that overlapping writes keep their order.
            if !op.fua {
                self.reply(origin, Reply::Done);
            } else {
                op.fua = false;
                self.client_flush(origin);
            }
            if let Some(op) = self.writes.get_mut(&id) {
                op.origin = Origin::Peer {
                    id: 0,
                    link: u64::MAX,
                };
            }
            return;
        }
        self.end_write(id);
        if fua {
            self.client_flush(origin);
        } else {
            self.reply(origin, Reply::Done);
        }
    }

    /// Takes a write out: its blocks count as replied to, those who waited for its range go on.
    fn end_write(&mut self, id: u64) {
        let Some(op) = self.writes.remove(&id) else {
            return;
        };
        if self.meta.peer.is_some() {
            self.unflushed.set(op.blocks());
        }
        let granted = self.locks.unlock(id);
        self.granted(granted);
        self.copy();
        self.continue_handover();
    }

    /// Nothing is mirrored any more; what waited for the other copy goes its way.
    pub(super) fn writes_lost_their_copy(&mut self) {
        self.unacknowledged_bytes = 0;
        let (asynchronous, protect) = match &self.meta.peer {
            Some(peer) => (
                peer.mode == Mode::Async,
                peer.policy == Policy::Protect && peer.in_step,
            ),
            None => (false, false),
        };
        let mut done = Vec::new();
        for (id, op) in &mut self.writes {
            if op.peer == PeerWait::Sent {
                op.peer = if asynchronous {
                    PeerWait::NotNeeded
                } else if protect {
                    PeerWait::Protected
                } else {
                    PeerWait::Outdating
                };
                done.push(*id);
            }
        }
        if asynchronous {
            done.sort_unstable();
            for id in done {
                self.complete_write(id);
            }
        }
    }

    /// Writes that wait because the other copy was lost, in the order in which they came.
    fn writes_without_their_copy(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self
            .writes
            .iter()
            .filter(|(_, op)| matches!(op.peer, PeerWait::Outdating | PeerWait::Protected))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// "Outdated" is durable (or there is no target any more): who waited for it goes on.
    pub(super) fn release_writes(&mut self) {
        for id in self.writes_without_their_copy() {
            if let Some(op) = self.writes.get_mut(&id) {
                op.peer = PeerWait::NotNeeded;
            }
            self.complete_write(id);
        }
    }

    /// The other copy is back: writes that policy `protect` held are sent to it again.
    pub(super) fn resend_protected(&mut self) {
        for id in self.writes_without_their_copy() {
            let Some(op) = self.writes.get_mut(&id) else {
                continue;
            };
            op.peer = PeerWait::Sent;
            let (message, length) = (op.message(id), op.length);
            self.unacknowledged_bytes += length;
            self.send(message);
        }
    }

    /// Lets held requests in, in their order.
    pub(super) fn release_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        for (origin, command) in std::mem::take(&mut self.held) {
            self.request(origin, command);
        }
    }
}
