//! The link to the other side: who may follow whom, and what a loss means.

use super::planted::Bug;
use super::{AfterMeta, Effect, Node, Origin, Refusal};
use crate::block::Blocks;
use crate::meta::{Mode, PeerMeta, Policy, Role};
use crate::wire::{Hello, Message, PROTOCOL_VERSION};

/// The present link.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    /// Rises with every link, so that late answers are not sent on the next one.
    pub(super) number: u64,
    up: bool,
    agreed: bool,
    /// Writes are sent to the other side.
    mirroring: bool,
    pub(super) heard_us: u64,
    lost_us: u64,
    pinged_us: u64,
    /// Our hello waits until what it says is durable.
    hello_due: bool,
    /// The other side's hello, which came before ours was sent.
    hello_early: Option<Box<Hello>>,
    /// Requests of our clients may go to the primary.
    pub(super) joined: bool,
    resync_id: Option<u64>,
    /// The primary's question that is answered once earlier work has ended.
    pub(super) resync_ack_due: Option<u64>,
    pub(super) in_step_id: Option<u64>,
    reason: Option<String>,
}

impl LinkState {
    /// Both sides have said who they are, and it fits.
    pub(super) fn is_agreed(&self) -> bool {
        self.up && self.agreed
    }
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    /// Are writes sent to the other copy?
    pub(super) fn mirrors(&self) -> bool {
        self.link.mirroring
    }

    pub(super) fn set_mirroring(&mut self, mirroring: bool) {
        self.link.mirroring = mirroring;
    }

    /// Is the link up and agreed?
    pub fn is_linked(&self) -> bool {
        self.link.is_agreed()
    }

    /// Why the link is down, or was refused.
    pub fn link_reason(&self) -> Option<&str> {
        self.link.reason.as_deref()
    }

    /// Policy `protect` applies: the other copy was in step, nothing is answered without it.
    pub(super) fn holds_for_protection(&self) -> bool {
        self.meta.role == Role::Primary
            && self.meta.peer.as_ref().is_some_and(|peer| {
                peer.policy == Policy::Protect && peer.mode == Mode::Sync && peer.in_step
            })
    }

    /// Policy `protect`, and the other copy is lost or not yet in step again.
    pub(super) fn is_protecting(&self) -> bool {
        let repairing = self.copier.purpose == super::copier::Purpose::Repair;
        self.holds_for_protection()
            && !(self.link.mirroring
                && self.link.in_step_id.is_none()
                && (!self.copier.is_active() || repairing))
    }

    /// Whatever went wrong before: it is tried anew.
    pub(super) fn forget_link_reason(&mut self) {
        self.link.reason = None;
    }

    /// A connection to the other side stands.
    pub fn link_up(&mut self) {
        if self.link.up {
            self.drop_link("replaced by a new connection");
        }
        self.link.number += 1;
        self.link.up = true;
        self.link.agreed = false;
        self.link.heard_us = self.now_us;
        self.link.pinged_us = self.now_us;
        self.link.hello_due = true;
        self.link.hello_early = None;
        self.say_hello();
    }

    /// Says who we are, as soon as that is durable: the other side acts upon it.
    pub(super) fn say_hello(&mut self) {
        if !self.link.hello_due || !self.meta_waiting.is_empty() {
            return;
        }
        self.link.hello_due = false;
        let peer = self.meta.peer.as_ref();
        let size_bytes = self.meta.size_bytes;
        self.send(Message::Hello(Box::new(Hello {
            version: PROTOCOL_VERSION,
            node: self.meta.node.clone(),
            set: self.meta.set.clone(),
            role: self.meta.role,
            generation: self.meta.generation,
            size_bytes,
            empty: self.empty,
            consistent: self.meta.consistent,
            peer: peer.map(|peer| peer.node.clone()).unwrap_or_default(),
            mode: peer.map(|peer| peer.mode),
            policy: peer.map(|peer| peer.policy),
        })));
        if let Some(hello) = self.link.hello_early.take() {
            self.hello(*hello);
        }
    }

    /// The connection is gone.
    pub fn link_down(&mut self, reason: &str) {
        if self.link.up {
            self.drop_link(reason);
        } else if !self.link.agreed && self.link.reason.is_none() {
            self.link.reason = Some(reason.to_owned());
        }
    }

    pub(super) fn close_link(&mut self, reason: &str) {
        self.effects.push_back(Effect::CloseLink {
            reason: reason.to_owned(),
        });
        if self.link.up {
            self.drop_link(reason);
        }
    }

    fn refuse(&mut self, reason: String) {
        let shown = format!("refused: {reason}");
        self.send(Message::Refuse { reason });
        self.close_link(&shown);
    }

    pub(super) fn refused_by_peer(&mut self, reason: String) {
        let reason = format!("the other side refused: {reason}");
        self.close_link(&reason);
    }

    pub(super) fn drop_link(&mut self, reason: &str) {
        let was_agreed = self.link.agreed;
        self.link.up = false;
        self.link.agreed = false;
        self.link.mirroring = false;
        self.link.lost_us = self.now_us;
        self.link.hello_due = false;
        self.link.hello_early = None;
        self.link.joined = false;
        self.link.resync_id = None;
        self.link.resync_ack_due = None;
        self.link.in_step_id = None;
        self.link.reason = Some(reason.to_owned());
        self.peer_queue.clear();
        // The other side asks again on the next link.
        self.held
            .retain(|(origin, _)| matches!(origin, Origin::Client { .. }));
        self.lose_copy(reason);
        if was_agreed {
            self.event(
                "volume.link-lost",
                serde_json::json!({"reason": reason, "generation": self.meta.generation}),
            );
        }
        if self.meta.role == Role::Primary {
            self.outdate_unless_protected();
        }
    }

    /// The other copy is not written to any more.
    fn lose_copy(&mut self, reason: &str) {
        self.verify_lost_link(reason);
        self.copy_lost_its_copy();
        self.flush_lost_its_copy();
        self.writes_lost_their_copy();
        self.handover_lost_link(reason);
    }

    /// Asynchronous: the target cannot keep up. What it lacks is tracked in the bitmap and sent
    /// out of order later, of which the target is told first; its answer comes when it has
    /// worked off what it has.
    pub(super) fn fall_behind(&mut self) {
        self.link.mirroring = false;
        self.link.in_step_id = None;
        self.event(
            "volume.left-behind",
            serde_json::json!({"generation": self.meta.generation}),
        );
        self.lose_copy("the target cannot keep up");
        self.outdate_unless_protected();
        self.ask_resync();
    }

    pub(super) fn outdate_unless_protected(&mut self) {
        if self.holds_for_protection() || self.meta.failed.is_some() {
            return;
        }
        let Some(peer) = &mut self.meta.peer else {
            return;
        };
        if peer.in_step {
            peer.in_step = false;
            peer.outdated_since_us = Some(self.unix_us);
            if peer.mode == Mode::Async {
                // Nobody was promised anything about an asynchronous target.
                self.persist(AfterMeta::Nothing);
            } else {
                self.persist(AfterMeta::Outdated);
                if self.has(Bug::ReleaseBeforeOutdated) {
                    self.outdated_is_durable();
                }
                return;
            }
        }
        if !self.is_persisting(&AfterMeta::Outdated) {
            self.outdated_is_durable();
        }
    }

    /// "Outdated" is durable: nobody waits for the lost copy any more. When it has come back
    /// meanwhile, the writes were sent to it again; a flush that missed it is answered even so.
    pub(super) fn outdated_is_durable(&mut self) {
        if !self.link.mirroring {
            self.release_writes();
        }
        self.release_flush();
        self.release_held();
    }

    /// The other copy may lack what was replied to: says so durably, unless nobody is answered
    /// before it is in step again.
    pub(super) fn outdate_for_resync(&mut self) {
        let claimed = self.meta.peer.as_ref().is_some_and(|peer| peer.in_step);
        if claimed {
            self.outdate_unless_protected();
        }
    }

    pub(super) fn link_tick(&mut self) {
        if self.link.up {
            let silent_us = self.now_us.saturating_sub(self.link.heard_us);
            if silent_us > self.config.silence_us {
                self.close_link(&format!("no sign of life for {} ms", silent_us / 1000));
            } else if self.now_us.saturating_sub(self.link.pinged_us) >= self.config.ping_us {
                self.link.pinged_us = self.now_us;
                self.send(Message::Ping);
            }
        } else if self.meta.role == Role::Primary
            && self.meta.peer.as_ref().is_some_and(|peer| peer.in_step)
            && self.now_us.saturating_sub(self.link.lost_us) > self.config.silence_us
        {
            // After a restart the other side has this long to come back.
            self.outdate_unless_protected();
        }
    }

    pub(super) fn hello(&mut self, hello: Hello) {
        if !self.link.up || self.link.agreed {
            return;
        }
        if self.link.hello_due {
            self.link.hello_early = Some(Box::new(hello));
            return;
        }
        if let Err(Refusal(reason)) = self.weigh(&hello) {
            self.refuse(reason);
        }
    }

    fn weigh(&mut self, hello: &Hello) -> Result<(), Refusal> {
        let refuse = |reason: String| Err(Refusal(reason));
        if hello.version != PROTOCOL_VERSION {
            return refuse(format!(
                "protocol version {} here, {} there: install the same release on both sides",
                PROTOCOL_VERSION, hello.version
            ));
        }
        if hello.node == self.meta.node {
            return refuse("this copy was told to replicate to itself".to_owned());
        }
        if let Some(failed) = &self.meta.failed {
            return refuse(format!(
                "this copy failed ({failed}): replace its image and start anew"
            ));
        }
        let (ours, theirs) = (self.meta.generation, hello.generation);
        match (self.meta.role, hello.role) {
            (Role::Primary, Role::Secondary) => self.weigh_secondary(hello),
            (Role::Secondary, Role::Primary) => self.weigh_primary(hello),
            (Role::Primary, Role::Primary) => {
                self.same_set(hello)?;
                let ceded = self.meta.ceding.as_ref().map(|ceding| ceding.generation);
                if ceded == Some(theirs) {
                    // Our offer was accepted; the answer was lost.
                    let name = self.meta.ceding.take().map(|c| c.name).unwrap_or_default();
                    self.link.agreed = true;
                    self.link.reason = None;
                    self.become_secondary(theirs, name);
                    Ok(())
                } else if ours > theirs {
                    self.follow_me(hello)
                } else if ours < theirs {
                    self.fence(hello);
                    Ok(())
                } else {
                    refuse(format!("both sides are primary of generation {ours}"))
                }
            }
            (Role::Secondary, Role::Secondary) => refuse(
                "neither side is primary: promote one of them (`yundu volume promote`)".to_owned(),
            ),
        }
    }

    fn same_set(&self, hello: &Hello) -> Result<(), Refusal> {
        if self.meta.set == hello.set {
            return Ok(());
        }
        Err(Refusal(format!(
            "replica set {} here, {} there: these copies belong to different volumes",
            self.meta.set, hello.set
        )))
    }

    /// We are primary, the other side offers to follow.
    fn weigh_secondary(&mut self, hello: &Hello) -> Result<(), Refusal> {
        if hello.set.is_empty() {
            if !hello.empty {
                return Err(Refusal(
                    "the target is not empty: give it a new or zeroed image".to_owned(),
                ));
            }
            if hello.size_bytes != 0 && hello.size_bytes < self.meta.size_bytes {
                return Err(Refusal(format!(
                    "the target has {} bytes, the volume {}: give it a larger image",
                    hello.size_bytes, self.meta.size_bytes
                )));
            }
        } else {
            self.same_set(hello)?;
        }
        if hello.generation > self.meta.generation
            && self
                .meta
                .ceding
                .as_ref()
                .is_none_or(|c| c.generation != hello.generation)
        {
            return Err(Refusal(format!(
                "generation {} here, {} there: this primary is stale",
                self.meta.generation, hello.generation
            )));
        }
        if let Some(ceding) = self.meta.ceding.take() {
            // The offer never arrived, and cannot arrive any more: that link is gone.
            self.meta.generation = ceding.generation + 1;
            self.handover.reclaims();
            self.persist(AfterMeta::Reclaimed);
        }
        self.follow_me(hello)
    }

    /// We are primary and the other side will follow: find out what it lacks.
    fn follow_me(&mut self, hello: &Hello) -> Result<(), Refusal> {
        let set_is_new = hello.set.is_empty();
        let Some(peer) = &mut self.meta.peer else {
            return Err(Refusal(
                "this volume is not being replicated: start it with `yundu volume replicate`"
                    .to_owned(),
            ));
        };
        if !peer.node.is_empty() && peer.node != hello.node && !set_is_new {
            return Err(Refusal(
                "this volume is replicated to another copy: detach that one first".to_owned(),
            ));
        }
        self.link.agreed = true;
        self.link.reason = None;
        let met = peer.node == hello.node;
        self.event(
            "volume.link-up",
            serde_json::json!({"node": hello.node, "generation": self.meta.generation}),
        );
        let full = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.full_copy_pending);
        let planned = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.copy_planned);
        if met && !set_is_new && (!full || planned) {
            self.ask_resync();
            return Ok(());
        }
        if let Some(peer) = &mut self.meta.peer {
            peer.node.clone_from(&hello.node);
            peer.full_copy_pending = true;
            peer.copy_planned = false;
            // A copy that belongs to the set already may hold anything where this one has holes.
            peer.overwrite |= !set_is_new && !met;
            peer.in_step = false;
            peer.outdated_since_us.get_or_insert(self.unix_us);
        }
        self.persist(AfterMeta::TargetKnown);
        Ok(())
    }

    pub(super) fn ask_resync(&mut self) {
        if !self.link.is_agreed() || self.link.mirroring {
            return;
        }
        let id = self.fresh_id();
        self.link.resync_id = Some(id);
        if self.has(Bug::ResyncUnannounced) {
            self.acknowledged(id);
            return;
        }
        self.send(Message::ResyncStart { id });
    }

    /// We are secondary, the other side is primary.
    fn weigh_primary(&mut self, hello: &Hello) -> Result<(), Refusal> {
        if self.meta.set.is_empty() {
            if !self.empty {
                return Err(Refusal(
                    "the target is not empty: give it a new or zeroed image".to_owned(),
                ));
            }
            if self.meta.size_bytes != 0 && self.meta.size_bytes < hello.size_bytes {
                return Err(Refusal(format!(
                    "the target has {} bytes, the volume {}: give it a larger image",
                    self.meta.size_bytes, hello.size_bytes
                )));
            }
            self.meta.set.clone_from(&hello.set);
            self.meta.size_bytes = hello.size_bytes;
            self.meta.consistent = false;
            self.effects.push_back(Effect::Resize {
                size_bytes: hello.size_bytes,
            });
        } else {
            self.same_set(hello)?;
        }
        if hello.generation < self.meta.generation {
            return Err(Refusal(format!(
                "generation {} here, {} there: that primary is stale",
                self.meta.generation, hello.generation
            )));
        }
        self.follow(hello);
        Ok(())
    }

    fn follow(&mut self, hello: &Hello) {
        self.meta.generation = hello.generation;
        let address = self
            .meta
            .peer
            .as_ref()
            .map(|peer| peer.address.clone())
            .unwrap_or_default();
        self.meta.peer = Some(PeerMeta {
            node: hello.node.clone(),
            mode: hello.mode.unwrap_or(Mode::Sync),
            policy: hello.policy.unwrap_or(Policy::Available),
            address,
            full_copy_pending: false,
            copy_planned: false,
            overwrite: false,
            in_step: false,
            outdated_since_us: None,
        });
        self.link.agreed = true;
        self.link.reason = None;
        self.event(
            "volume.link-up",
            serde_json::json!({"node": hello.node, "generation": hello.generation}),
        );
        self.persist(AfterMeta::Joined);
    }

    pub(super) fn joined(&mut self) {
        if self.link.is_agreed() && self.meta.role == Role::Secondary && !self.link.joined {
            self.link.joined = true;
            self.resend_forwarded();
        }
    }

    /// A newer primary exists: what was written here since it took over is void.
    fn fence(&mut self, hello: &Hello) {
        self.event(
            "volume.fenced",
            serde_json::json!({"generation": self.meta.generation, "newer": hello.generation}),
        );
        self.meta.role = Role::Secondary;
        self.meta.ceding = None;
        self.meta.consistent = false;
        self.handover.give_up();
        self.dirty.clear(Blocks::of_volume(self.meta.size_bytes));
        self.follow(hello);
        self.surrender();
    }

    /// A message of the primary was carried out by the other side.
    pub(super) fn acknowledged(&mut self, id: u64) {
        if self.writes.contains_key(&id) {
            self.write_acknowledged(id);
        } else if self.copy_acknowledged(id) {
        } else if self.flush.is_running(id) {
            self.flush_acknowledged();
        } else if self.link.resync_id == Some(id) {
            self.link.resync_id = None;
            self.link.mirroring = true;
            self.start_copy();
        } else if self.link.in_step_id == Some(id) {
            self.link.in_step_id = None;
            self.in_step_acknowledged();
        }
    }

    pub(super) fn peer_failed(&mut self, _id: u64, errno: u16) {
        let text = if errno == 28 {
            "no space left on the other side"
        } else {
            "input/output error on the other side"
        };
        self.close_link(&format!("{text} (errno {errno})"));
    }
}
