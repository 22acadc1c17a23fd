//! A copy's state machine: what happens comes in, what must be done goes out.
//!
//! A [`Node`] owns everything that one copy of a volume decides: which blocks the other copy may
//! lack, who waits for what, who is primary. It knows no disk, socket or clock. The caller
//! reports events through its methods, each time followed by draining [`Node::next_effect`];
//! effects are carried out in the order in which they come.
//!
//! The promises (see the durability contract in `ARCHITECTURE.md`):
//! - a reply to a write means that this copy and, in step, the other one hold the data;
//! - a reply to a flush means that every write replied to before is durable on both;
//! - before the first reply that the other copy did not see, "outdated" is durable here;
//! - a block is marked before it is written, and its mark clears only after a flush on the other
//!   copy that began after the write's reply;
//! - overlapping writes happen in one order on both copies.

mod config;
mod copier;
mod effect;
mod flush;
mod foreground;
mod forward;
mod handover;
mod link;
mod planted;
mod request;
mod secondary;
mod statistics;
mod verify;

pub use config::Config;
pub use effect::{Effect, LocalOp, LocalOutcome};
#[cfg(feature = "planted-bugs")]
pub use planted::Bug;
#[cfg(not(feature = "planted-bugs"))]
use planted::Bug;
pub use request::{Command, Origin, Reply};
pub use statistics::{Statistics, SyncState};
pub use verify::VerifyProgress;

use crate::activity::ActivityLog;
use crate::bitmap::{DirtyBitmap, SparseBitmap};
use crate::block::Blocks;
use crate::locks::RangeLocks;
use crate::meta::{Meta, Mode, PeerMeta, Policy, Role};
use crate::wire::Message;
use bytes::Bytes;
use std::collections::{HashMap, HashSet, VecDeque};

/// Why a request to the node was refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What waits for `meta` to be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AfterMeta {
    /// Release the writes that the lost copy did not see.
    Outdated,
    /// The receiver has joined: answer the primary's hello.
    Joined,
    /// Answer the primary's message of this id, on the link of this number.
    Ack(u64, u64),
    /// The promise to be inconsistent is durable: answer as soon as earlier work has ended.
    ResyncReady(u64, u64),
    /// Which blocks to copy is marked: begin.
    CopyPlanned,
    /// The source knows its new target: find out what to copy.
    TargetKnown,
    /// In step from now on.
    InStep,
    /// The promise to cede is durable: offer.
    Ceded,
    /// We are primary.
    Accepted,
    /// We stopped waiting for an offer to be accepted.
    Reclaimed,
    /// Promoted without the other side.
    Promoted,
    /// Nothing waits.
    Nothing,
}

/// A copy of a volume.
#[derive(Debug)]
pub struct Node<W> {
    config: Config,
    meta: Meta,
    meta_version: u64,
    meta_waiting: VecDeque<(u64, AfterMeta)>,
    now_us: u64,
    unix_us: i64,
    next_id: u64,
    effects: VecDeque<Effect>,
    /// Blocks that the other copy may lack, or may not yet hold durably.
    dirty: DirtyBitmap<W>,
    /// Blocks that must be sent again while connected.
    to_send: SparseBitmap,
    /// Blocks on both copies whose flush has not begun.
    unflushed: SparseBitmap,
    /// Blocks that the flush under way covers.
    closing: SparseBitmap,
    activity: ActivityLog,
    activity_persisting: bool,
    cooling: bool,
    locks: RangeLocks,
    writes: HashMap<u64, foreground::WriteOp>,
    reads: HashMap<u64, foreground::ReadOp>,
    awaiting_activity: Vec<u64>,
    local_flushes: HashMap<u64, Origin>,
    /// Local writes of a former primary that may still reach the image.
    leftover_writes: HashSet<u64>,
    /// Requests that wait until someone is primary again (or may write again).
    held: VecDeque<(Origin, Command)>,
    retries: Vec<(u64, u64)>,
    flush: flush::Flushes,
    copier: copier::Copier,
    verify: verify::Verify,
    link: link::LinkState,
    handover: handover::Handover,
    forwarded: forward::Forwarded,
    peer_ops: HashMap<u64, secondary::PeerOp>,
    peer_queue: VecDeque<(u64, LocalOp)>,
    unacknowledged_bytes: u64,
    empty: bool,
    statistics: Statistics,
}

/// What a node is started from.
#[derive(Debug)]
pub struct Start<W> {
    /// Limits.
    pub config: Config,
    /// Durable meta, as last written.
    pub meta: Meta,
    /// Words of the dirty bitmap, as they stand.
    pub words: W,
    /// Activity log, as read from disk.
    pub activity: ActivityLog,
    /// The machine restarted since the meta was written: unflushed writes may be gone.
    pub power_lost: bool,
    /// The image holds nothing but zeroes.
    pub empty: bool,
    /// Present time, µs: monotonic, and Unix.
    pub now_us: (u64, i64),
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    /// Starts (again) from what is durable.
    ///
    /// # Errors
    /// [`Refusal`] when the bitmap is too small for the volume.
    pub fn start(start: Start<W>) -> Result<Self, Refusal> {
        let Start {
            config,
            mut meta,
            words,
            activity,
            power_lost,
            empty,
            now_us,
        } = start;
        let blocks = Blocks::of_volume(meta.size_bytes);
        let mut dirty = DirtyBitmap::new(words, blocks.end).ok_or_else(|| {
            Refusal(format!(
                "the dirty bitmap is smaller than {} blocks need",
                blocks.end
            ))
        })?;
        if power_lost && meta.peer.is_some() {
            for hot in activity.hot_blocks() {
                dirty.set(hot);
            }
        }
        if power_lost {
            meta.power_was_lost();
        }
        let handover = handover::Handover::resumed(meta.ceding.is_some());
        let mut node = Self {
            config,
            meta,
            meta_version: 0,
            meta_waiting: VecDeque::new(),
            now_us: now_us.0,
            unix_us: now_us.1,
            next_id: 1,
            effects: VecDeque::new(),
            dirty,
            to_send: SparseBitmap::new(),
            unflushed: SparseBitmap::new(),
            closing: SparseBitmap::new(),
            activity,
            activity_persisting: false,
            cooling: false,
            locks: RangeLocks::default(),
            writes: HashMap::new(),
            reads: HashMap::new(),
            awaiting_activity: Vec::new(),
            local_flushes: HashMap::new(),
            leftover_writes: HashSet::new(),
            held: VecDeque::new(),
            retries: Vec::new(),
            flush: flush::Flushes::default(),
            copier: copier::Copier::default(),
            verify: verify::Verify::default(),
            link: link::LinkState::default(),
            handover,
            forwarded: forward::Forwarded::default(),
            peer_ops: HashMap::new(),
            peer_queue: VecDeque::new(),
            unacknowledged_bytes: 0,
            empty,
            statistics: Statistics::default(),
        };
        if node.has(Bug::ForgetPromise) {
            node.meta.ceding = None;
            node.handover.give_up();
        }
        Ok(node)
    }

    /// The next thing to do.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What is durable, or about to be.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The dirty bitmap.
    pub fn dirty(&self) -> &DirtyBitmap<W> {
        &self.dirty
    }

    /// Replaces the bitmap and the activity log after [`Effect::Resize`], when a receiver has
    /// learned how large it is.
    ///
    /// # Errors
    /// [`Refusal`] when there are too few words.
    pub fn resized(&mut self, words: W, activity: ActivityLog) -> Result<(), Refusal> {
        let blocks = Blocks::of_volume(self.meta.size_bytes).end;
        self.dirty = DirtyBitmap::new(words, blocks).ok_or_else(|| {
            Refusal(format!(
                "the dirty bitmap is smaller than {blocks} blocks need"
            ))
        })?;
        self.activity = activity;
        Ok(())
    }

    /// A client asks. Answered by [`Effect::Reply`].
    pub fn client(&mut self, client: u64, cookie: u64, command: Command) {
        self.request(Origin::Client { client, cookie }, command);
    }

    fn request(&mut self, origin: Origin, command: Command) {
        match self.meta.role {
            Role::Primary if self.holds(&command) => self.held.push_back((origin, command)),
            Role::Primary => {
                // Whoever was held comes first.
                self.release_held();
                self.foreground(origin, command);
            }
            Role::Secondary => match origin {
                Origin::Client { .. } => self.forward(origin, command),
                // The other side believed us primary: it will ask again once it knows better.
                Origin::Peer { .. } => {}
            },
        }
    }

    /// Local work ended.
    pub fn local_done(&mut self, id: u64, outcome: LocalOutcome) {
        if let Some(read) = self.reads.remove(&id) {
            self.read_done(read.origin, outcome);
        } else if self.leftover_writes.remove(&id) {
            self.earlier_work_ended();
        } else if self.writes.contains_key(&id) {
            self.local_write_done(id, outcome);
        } else if let Some(origin) = self.local_flushes.remove(&id) {
            self.local_flush_done(origin, outcome);
        } else if self.flush.is_running(id) {
            self.flush_local_done(outcome);
        } else if self.peer_ops.contains_key(&id) {
            self.peer_op_done(id, outcome);
        } else if self.copier.has(id) {
            self.copy_read_done(id, outcome);
        } else {
            self.verify_local_done(id, outcome);
        }
    }

    /// The meta of this version, and so of every version before, is durable.
    pub fn meta_durable(&mut self, version: u64) {
        while let Some((waiting, _)) = self.meta_waiting.front() {
            if *waiting > version {
                break;
            }
            let Some((waited, after)) = self.meta_waiting.pop_front() else {
                break;
            };
            match after {
                AfterMeta::Outdated => self.outdated_is_durable(),
                AfterMeta::Joined => self.joined(),
                AfterMeta::Ack(id, link) => {
                    if link == self.link.number {
                        self.send(Message::Ack { id });
                    }
                }
                AfterMeta::ResyncReady(id, link) => self.resync_is_durable(id, link),
                AfterMeta::CopyPlanned => self.ask_resync(),
                AfterMeta::TargetKnown => self.scan_data(),
                AfterMeta::InStep => self.in_step_is_durable(),
                AfterMeta::Ceded => self.ceding_is_durable(waited),
                AfterMeta::Accepted => self.acceptance_is_durable(),
                AfterMeta::Reclaimed => self.reclaim_is_durable(),
                AfterMeta::Promoted => self.promotion_is_durable(),
                AfterMeta::Nothing => {}
            }
        }
        self.say_hello();
    }

    /// A message came.
    pub fn peer(&mut self, message: Message) {
        self.link.heard_us = self.now_us;
        if let Message::Hello(hello) = message {
            self.hello(*hello);
            return;
        }
        match message {
            Message::Ping => self.send(Message::Pong),
            Message::Pong | Message::Hello(_) => {}
            Message::Refuse { reason } => self.refused_by_peer(reason),
            _ if !self.link.is_agreed() => {
                self.close_link("the other side sent work before an agreement was reached");
            }
            Message::Ack { id } => self.acknowledged(id),
            Message::Nack { id, errno } => self.peer_failed(id, errno),
            Message::Write { id, offset, data } => self.peer_write(id, offset, data),
            Message::Zero { id, offset, length } => self.peer_zero(id, offset, length),
            Message::Flush { id } => self.peer_flush(id),
            Message::ResyncStart { id } => self.peer_resync_start(id),
            Message::InStep { id } => self.peer_in_step(id),
            Message::HashRange { id, offset, length } => self.peer_hash(id, offset, length),
            Message::RangeHash { id, hash } => self.verify_peer_hash(id, hash),
            Message::HandoverOffer { generation, name } => self.offered(generation, name),
            Message::HandoverAccept { generation } => self.accepted(generation),
            Message::HandoverRequest { name } => self.handover_requested(name),
            Message::HandoverRefuse { reason } => self.handover_refused(reason),
            Message::ForwardRead { id, offset, length } => {
                self.peer_requests(id, Command::Read { offset, length });
            }
            Message::ForwardWrite {
                id,
                offset,
                fua,
                data,
            } => {
                self.peer_requests(id, Command::Write { offset, data, fua });
            }
            Message::ForwardZero {
                id,
                offset,
                length,
                fua,
            } => {
                self.peer_requests(
                    id,
                    Command::Zero {
                        offset,
                        length,
                        fua,
                    },
                );
            }
            Message::ForwardFlush { id } => self.peer_requests(id, Command::Flush),
            Message::ForwardReply { id, errno, data } => self.forward_replied(id, errno, data),
        }
    }

    /// Time passed: `now_us` is monotonic, `unix_us` what the wall clock says.
    pub fn tick(&mut self, now_us: u64, unix_us: i64) {
        self.now_us = self.now_us.max(now_us);
        self.unix_us = unix_us;
        self.link_tick();
        self.retry_tick();
        self.release_held();
        self.flush_tick();
        self.copy();
        self.verify_step();
        self.statistics.tick(self.now_us);
    }

    /// Does this node hold back clients' requests for now?
    pub fn is_holding(&self) -> bool {
        self.holds_everything() || self.is_protecting()
    }

    /// Nobody may be answered: who is primary is not settled, or this copy failed, or work of the
    /// former primary may still reach the image.
    fn holds_everything(&self) -> bool {
        self.handover.is_holding()
            || self.meta.ceding.is_some()
            || self.meta.failed.is_some()
            || self.is_persisting(&AfterMeta::Accepted)
            || self.is_persisting(&AfterMeta::Promoted)
            || self.meta.role == Role::Primary && !self.peer_ops.is_empty()
    }

    /// Must this request wait? Policy `protect` lets reads through.
    fn holds(&self, command: &Command) -> bool {
        self.holds_everything() || self.is_protecting() && !matches!(command, Command::Read { .. })
    }

    /// Bytes and requests that are under way, so that the face can bound what it takes in.
    pub fn requests_under_way(&self) -> usize {
        self.writes.len() + self.reads.len() + self.held.len() + self.forwarded.len()
    }

    /// Starts replicating to a new target, or changes mode, policy or address of the present one.
    ///
    /// # Errors
    /// [`Refusal`] on a secondary.
    pub fn set_target(
        &mut self,
        address: String,
        mode: Mode,
        policy: Policy,
    ) -> Result<(), Refusal> {
        if self.meta.role != Role::Primary {
            return Err(Refusal(
                "this copy is secondary: ask its primary to replicate".to_owned(),
            ));
        }
        let changes = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.mode != mode || peer.policy != policy);
        if changes {
            // Both sides agree anew, so that no reply is judged by two sets of rules.
            self.close_link("mode or policy changed");
        }
        self.forget_link_reason();
        match &mut self.meta.peer {
            Some(peer) => {
                peer.address = address;
                peer.mode = mode;
                peer.policy = policy;
            }
            none => {
                *none = Some(PeerMeta {
                    node: String::new(),
                    mode,
                    policy,
                    address,
                    full_copy_pending: true,
                    copy_planned: false,
                    overwrite: false,
                    in_step: false,
                    outdated_since_us: Some(self.unix_us),
                });
                // What is being written now may land behind the search for data.
                for op in self.writes.values() {
                    self.dirty.set(op.blocks());
                }
            }
        }
        // What is durable may still promise by the rules of before: who is answered by the new
        // ones waits until it does not.
        self.persist_target(changes);
        Ok(())
    }

    fn persist_target(&mut self, changes: bool) {
        let protects = self.holds_for_protection();
        let after = match &mut self.meta.peer {
            Some(peer) if changes && !protects => {
                if std::mem::take(&mut peer.in_step) {
                    peer.outdated_since_us = Some(self.unix_us);
                }
                AfterMeta::Outdated
            }
            _ => AfterMeta::Nothing,
        };
        self.persist(after);
    }

    /// Stops replicating and forgets the target.
    ///
    /// # Errors
    /// [`Refusal`] on a secondary, or while writes wait for the target's answer.
    pub fn forget_target(&mut self) -> Result<(), Refusal> {
        if self.meta.role != Role::Primary {
            return Err(Refusal(
                "this copy is secondary: ask its primary to detach".to_owned(),
            ));
        }
        if self.meta.peer.is_none() {
            return Ok(());
        }
        self.close_link("detached");
        self.drop_link("detached by request");
        self.meta.peer = None;
        self.dirty.clear(Blocks::of_volume(self.meta.size_bytes));
        self.to_send.clear_all();
        self.persist(AfterMeta::Nothing);
        self.release_writes();
        self.release_flush();
        self.release_held();
        Ok(())
    }

    /// Takes the primary role without the other side.
    ///
    /// # Errors
    /// [`Refusal`] when the other side is reachable, when this copy is inconsistent, or when the
    /// caller does not accept that the RPO is unknown.
    pub fn promote(&mut self, accept_unknown_rpo: bool) -> Result<(), Refusal> {
        if self.meta.role == Role::Primary && self.meta.ceding.is_none() {
            return Ok(());
        }
        if self.link.is_agreed() {
            return Err(Refusal(
                "the primary is reachable: use a cut-over, which loses nothing".to_owned(),
            ));
        }
        if let Some(failed) = &self.meta.failed {
            return Err(Refusal(format!(
                "this copy failed and cannot be promoted: {failed}"
            )));
        }
        if !self.meta.consistent {
            return Err(Refusal(
                "this copy is inconsistent (a copy or resync was under way): it cannot be promoted"
                    .to_owned(),
            ));
        }
        if !accept_unknown_rpo {
            return Err(Refusal(
                "without its source this copy cannot know whether it was left behind: RPO is \
                 unknown; accept that explicitly to promote it"
                    .to_owned(),
            ));
        }
        // Past any generation that the old primary may have promised or taken back: this side may
        // have missed two steps, and the next promise is one more.
        self.meta.generation += 4;
        self.handover.give_up();
        self.meta.role = Role::Primary;
        self.meta.ceding = None;
        if let Some(peer) = &mut self.meta.peer {
            peer.in_step = false;
            peer.outdated_since_us = Some(self.unix_us);
            peer.full_copy_pending = true;
            peer.copy_planned = false;
            peer.overwrite = true;
        }
        self.persist(AfterMeta::Promoted);
        Ok(())
    }

    fn promotion_is_durable(&mut self) {
        let generation = self.meta.generation;
        self.event(
            "volume.promoted",
            serde_json::json!({"generation": generation, "rpo": "unknown"}),
        );
        self.release_forwarded();
    }

    fn persist(&mut self, after: AfterMeta) {
        self.meta_version += 1;
        self.meta_waiting.push_back((self.meta_version, after));
        self.effects.push_back(Effect::PersistMeta {
            version: self.meta_version,
            meta: Box::new(self.meta.clone()),
        });
    }

    fn is_persisting(&self, after: &AfterMeta) -> bool {
        self.meta_waiting
            .iter()
            .any(|(_, waiting)| waiting == after)
    }

    fn send(&mut self, message: Message) {
        self.effects.push_back(Effect::Send(message));
    }

    fn event(&mut self, kind: &'static str, body: serde_json::Value) {
        self.effects.push_back(Effect::Event { kind, body });
    }

    fn reply(&mut self, origin: Origin, reply: Reply) {
        if self.meta.failed.is_some() && self.meta.role == Role::Primary {
            // Nothing that this copy says counts any more; the client asks its successor.
            return;
        }
        match origin {
            Origin::Client { client, cookie } => {
                self.effects.push_back(Effect::Reply {
                    client,
                    cookie,
                    reply,
                });
            }
            Origin::Peer { id, link } => {
                if link == self.link.number {
                    let (errno, data) = match reply {
                        Reply::Done => (0, Bytes::new()),
                        Reply::Data(data) => (0, data),
                        Reply::Error(errno) => (errno, Bytes::new()),
                    };
                    self.send(Message::ForwardReply { id, errno, data });
                }
            }
        }
    }

    fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn local(&mut self, id: u64, op: LocalOp, background: bool) {
        self.effects.push_back(Effect::Local { id, op, background });
    }

    /// This copy can no longer be trusted: hold everything and say so. The other copy, in step,
    /// can take over.
    fn fail(&mut self, reason: String) {
        if self.meta.failed.is_none() {
            self.event("volume.failed", serde_json::json!({"reason": reason}));
            // Failed first: the loss of the link that follows must release nobody.
            self.meta.failed = Some(reason);
            self.persist(AfterMeta::Nothing);
            self.close_link("this copy failed: it is no longer trusted");
        }
    }
}
