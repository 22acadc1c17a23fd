//! The hand-over of the primary role: flush ahead, hold, drain, flush and promise, offer, follow.
//!
//! Between the promise (durable here) and the acceptance (durable there) nobody is primary; after
//! a crash in between, the next agreement tells which of the two happened.

use super::flush::Waiter;
use super::planted::Bug;
use super::{AfterMeta, Effect, Node, Refusal};
use crate::block::Blocks;
use crate::meta::{Ceding, Cut, Role};
use crate::wire::Message;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// Most of what must be flushed is flushed while requests still come in.
    Ahead,
    /// Requests are held; those under way end.
    Draining,
    /// The last flush on both copies, and the promise on its way to the disk.
    LastFlush,
    /// Offered; the other side decides.
    Offered,
}

/// The hand-over under way.
#[derive(Debug, Default)]
pub(super) struct Handover {
    phase: Phase,
    name: String,
    asked_here: bool,
    held_since_us: u64,
    /// The last flush is done on both copies.
    flushed: bool,
    /// Version of the meta that holds the promise, and whether it is durable.
    promise_version: Option<u64>,
    promised: bool,
    /// We asked the primary for its role.
    requested: Option<String>,
}

impl Handover {
    /// After a restart: a promise made before still binds.
    pub(super) fn resumed(promised: bool) -> Self {
        Self {
            phase: if promised {
                Phase::Offered
            } else {
                Phase::Idle
            },
            ..Self::default()
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Nobody is answered before the promise is taken back durably.
    pub(super) fn reclaims(&mut self) {
        self.phase = Phase::Offered;
    }

    /// Someone else decided who is primary.
    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Idle;
    }

    pub(super) fn is_holding(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Ahead)
    }
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    /// Moves the primary role: to this side (`to_me`) or to the other one. Ends with
    /// [`Effect::HandoverEnded`]. A cut that already happened under this name is answered at
    /// once.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot begin; nothing was changed.
    pub fn hand_over(&mut self, name: &str, to_me: bool) -> Result<(), Refusal> {
        if self
            .meta
            .last_cut
            .as_ref()
            .is_some_and(|cut| cut.name == name)
        {
            let generation = self.meta.generation;
            self.effects.push_back(Effect::HandoverEnded {
                name: name.to_owned(),
                outcome: Ok(generation),
                hold_us: 0,
            });
            return Ok(());
        }
        let primary = self.meta.role == Role::Primary;
        match (primary, to_me) {
            (true, true) => Err(Refusal("this copy is primary already".to_owned())),
            (false, false) => Err(Refusal("the other copy is primary already".to_owned())),
            (true, false) => {
                self.begin_handover(name)?;
                self.handover.asked_here = true;
                Ok(())
            }
            (false, true) => {
                if !self.link.is_agreed() {
                    return Err(Refusal(
                        "the primary cannot be reached: wait for the link, or promote this copy \
                         (`yundu volume promote`) when the primary is lost for good"
                            .to_owned(),
                    ));
                }
                self.handover.requested = Some(name.to_owned());
                self.send(Message::HandoverRequest {
                    name: name.to_owned(),
                });
                Ok(())
            }
        }
    }

    pub(super) fn handover_requested(&mut self, name: String) {
        if let Err(Refusal(reason)) = self.begin_handover(&name) {
            self.send(Message::HandoverRefuse { reason });
        }
    }

    pub(super) fn handover_refused(&mut self, reason: String) {
        if let Some(name) = self.handover.requested.take() {
            self.effects.push_back(Effect::HandoverEnded {
                name,
                outcome: Err(reason),
                hold_us: 0,
            });
        }
    }

    fn begin_handover(&mut self, name: &str) -> Result<(), Refusal> {
        let refuse = |reason: &str| Err(Refusal(reason.to_owned()));
        if self.meta.role != Role::Primary {
            return refuse("this copy is not primary");
        }
        if self.handover.phase != Phase::Idle || self.meta.ceding.is_some() {
            return refuse("a hand-over is under way");
        }
        if self.meta.failed.is_some() {
            return refuse("this copy failed");
        }
        if !self.is_in_step() {
            return refuse(
                "the other copy is not in step: a cut-over now would lose writes; wait for it \
                 (`yundu volume status`)",
            );
        }
        if self.verify_is_running() {
            return refuse("a comparison of both copies is under way: wait for it to end");
        }
        self.handover.phase = Phase::Ahead;
        name.clone_into(&mut self.handover.name);
        self.handover.asked_here = false;
        self.flush_for(Waiter::HandoverAhead);
        Ok(())
    }

    pub(super) fn flushed_ahead(&mut self) {
        if self.handover.phase == Phase::Ahead {
            self.handover.phase = Phase::Draining;
            self.handover.held_since_us = self.now_us;
            self.continue_handover();
        }
    }

    /// Called whenever something ended that a hand-over may wait for.
    pub(super) fn continue_handover(&mut self) {
        let drained = self.handover.phase == Phase::Draining
            && self.writes.is_empty()
            && self.reads.is_empty()
            && self.local_flushes.is_empty()
            && self.to_send.is_empty()
            && !self.copier.is_active();
        if drained {
            self.handover.phase = Phase::LastFlush;
            self.handover.flushed = false;
            self.flush_for(Waiter::HandoverLast);
            // The promise goes to the disk beside the flush: nothing is offered before both are
            // done, and a promise that was never offered is taken back.
            self.meta.ceding = Some(Ceding {
                name: self.handover.name.clone(),
                generation: self.meta.generation + 1,
            });
            self.persist(AfterMeta::Ceded);
            self.handover.promise_version = Some(self.meta_version);
            self.handover.promised = false;
        }
    }

    pub(super) fn flushed_last(&mut self, with_peer: bool) {
        if self.handover.phase != Phase::LastFlush {
            return;
        }
        if !with_peer {
            self.abort_handover("the other side was lost");
            return;
        }
        self.handover.flushed = true;
        self.offer();
    }

    /// The meta of this version, which held a promise, is durable.
    pub(super) fn ceding_is_durable(&mut self, version: u64) {
        if self.handover.promise_version == Some(version) {
            self.handover.promised = true;
            self.offer();
        }
    }

    fn offer(&mut self) {
        let ready = self.handover.phase == Phase::LastFlush
            && self.handover.flushed
            && self.handover.promised;
        let Some(ceding) = self.meta.ceding.clone().filter(|_| ready) else {
            return;
        };
        self.handover.phase = Phase::Offered;
        if self.mirrors() {
            self.send(Message::HandoverOffer {
                generation: ceding.generation,
                name: ceding.name,
            });
        }
    }

    /// The primary offers its role.
    pub(super) fn offered(&mut self, generation: u64, name: String) {
        let fits = self.meta.role == Role::Secondary
            && self.meta.consistent
            && self.meta.failed.is_none()
            && generation > self.meta.generation;
        if !fits {
            self.close_link("an offer to become primary does not fit the state of this copy");
            return;
        }
        self.meta.role = Role::Primary;
        self.meta.generation = generation;
        self.meta.last_cut = Some(Cut { name, generation });
        if let Some(peer) = &mut self.meta.peer {
            peer.in_step = true;
            peer.full_copy_pending = false;
            peer.copy_planned = false;
            peer.overwrite = false;
            peer.outdated_since_us = None;
        }
        self.dirty.clear(Blocks::of_volume(self.meta.size_bytes));
        self.to_send.clear_all();
        self.unflushed.clear_all();
        if self.has(Bug::AcceptBeforeDurable) {
            self.persist(AfterMeta::Nothing);
            self.acceptance_is_durable();
            return;
        }
        self.persist(AfterMeta::Accepted);
    }

    pub(super) fn acceptance_is_durable(&mut self) {
        let generation = self.meta.generation;
        let name = self
            .meta
            .last_cut
            .as_ref()
            .map(|cut| cut.name.clone())
            .unwrap_or_default();
        self.effects.push_back(Effect::CutPoint {
            name: name.clone(),
            generation,
        });
        if self.link.is_agreed() {
            self.set_mirroring(true);
            self.send(Message::HandoverAccept { generation });
        }
        self.event(
            "volume.became-primary",
            serde_json::json!({"id": name, "generation": generation}),
        );
        if let Some(requested) = self.handover.requested.take() {
            let outcome = if requested == name {
                Ok(generation)
            } else {
                Err(format!("this copy became primary by the cut {name}"))
            };
            self.effects.push_back(Effect::HandoverEnded {
                name: requested,
                outcome,
                hold_us: 0,
            });
        }
        self.release_forwarded();
    }

    /// The other side is primary, durably.
    pub(super) fn accepted(&mut self, generation: u64) {
        let Some(ceding) = self.meta.ceding.take() else {
            return;
        };
        if ceding.generation == generation {
            self.become_secondary(generation, ceding.name);
        } else {
            self.meta.ceding = Some(ceding);
            self.close_link("the other side accepted a generation that was not offered");
        }
    }

    pub(super) fn become_secondary(&mut self, generation: u64, name: String) {
        let hold_us = self.now_us.saturating_sub(self.handover.held_since_us);
        self.meta.role = Role::Secondary;
        self.meta.generation = generation;
        self.meta.ceding = None;
        self.meta.consistent = true;
        self.meta.last_cut = Some(Cut {
            name: name.clone(),
            generation,
        });
        if let Some(peer) = &mut self.meta.peer {
            peer.in_step = false;
            peer.outdated_since_us = None;
        }
        self.dirty.clear(Blocks::of_volume(self.meta.size_bytes));
        self.to_send.clear_all();
        self.unflushed.clear_all();
        self.set_mirroring(false);
        self.link.joined = self.link.is_agreed();
        self.effects.push_back(Effect::CutPoint {
            name: name.clone(),
            generation,
        });
        let measured = self.handover.phase == Phase::Offered;
        let hold_us = if measured { hold_us } else { 0 };
        self.event(
            "volume.handover",
            serde_json::json!({"id": name, "generation": generation, "hold_us": hold_us}),
        );
        if std::mem::take(&mut self.handover.asked_here) {
            self.effects.push_back(Effect::HandoverEnded {
                name,
                outcome: Ok(generation),
                hold_us,
            });
        }
        self.handover.phase = Phase::Idle;
        // Clients first: until this is durable the promise still stands on the disk, and the next
        // agreement after a crash would end here again.
        self.surrender();
        self.persist(AfterMeta::Nothing);
    }

    fn abort_handover(&mut self, reason: &str) {
        let name = std::mem::take(&mut self.handover.name);
        self.handover.phase = Phase::Idle;
        self.handover.promise_version = None;
        if self.meta.ceding.take().is_some() {
            // Nobody was offered anything.
            self.persist(AfterMeta::Nothing);
        }
        self.flush.forget(Waiter::HandoverAhead);
        self.flush.forget(Waiter::HandoverLast);
        self.event(
            "volume.handover-aborted",
            serde_json::json!({"id": name, "reason": reason}),
        );
        let outcome = format!("given up, this side goes on as primary: {reason}");
        if std::mem::take(&mut self.handover.asked_here) {
            self.effects.push_back(Effect::HandoverEnded {
                name,
                outcome: Err(outcome),
                hold_us: 0,
            });
        } else if self.link.is_agreed() {
            self.send(Message::HandoverRefuse { reason: outcome });
        }
        self.release_held();
    }

    pub(super) fn handover_lost_link(&mut self, reason: &str) {
        match self.handover.phase {
            Phase::Idle => {}
            Phase::Ahead | Phase::Draining | Phase::LastFlush => self.abort_handover(reason),
            // Promised: only the other side can say whether it is primary now. Requests wait.
            Phase::Offered => {}
        }
        if let Some(name) = self.handover.requested.take() {
            self.effects.push_back(Effect::HandoverEnded {
                name,
                outcome: Err(format!(
                    "the link was lost ({reason}): ask again under the same name"
                )),
                hold_us: 0,
            });
        }
    }

    pub(super) fn reclaim_is_durable(&mut self) {
        self.handover.phase = Phase::Idle;
        let name = std::mem::take(&mut self.handover.name);
        if std::mem::take(&mut self.handover.asked_here) {
            self.effects.push_back(Effect::HandoverEnded {
                name,
                outcome: Err(
                    "the offer was lost with the link; this side goes on as primary".to_owned(),
                ),
                hold_us: 0,
            });
        }
        self.release_held();
    }

    /// Every reply stands on both copies.
    pub(super) fn is_in_step(&self) -> bool {
        self.mirrors()
            && !self.copier.is_active()
            && self.link.in_step_id.is_none()
            && self.meta.peer.as_ref().is_some_and(|peer| peer.in_step)
    }
}
