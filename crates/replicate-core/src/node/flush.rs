//! Flushes: one at a time, each for everybody who asked before it began; marks clear behind it.

use super::planted::Bug;
use super::{AfterMeta, LocalOp, LocalOutcome, Node, Origin, Reply};
use crate::block::Blocks;
use crate::meta::Mode;
use crate::wire::Message;

/// Who waits for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    /// A client.
    Client(Origin),
    /// The copy or resync has sent everything: in step after this.
    InStep,
    /// The hand-over flushes ahead while requests still come in.
    HandoverAhead,
    /// The hand-over holds requests; this is its last flush.
    HandoverLast,
    /// Nobody: marks shall clear.
    Background,
}

#[derive(Debug)]
struct Running {
    id: u64,
    waiters: Vec<Waiter>,
    local_done: bool,
    peer_done: bool,
    /// The other copy was lost meanwhile: nothing is known about what it holds.
    peer_lost: bool,
}

/// The flush under way and those who wait for the next one.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    running: Option<Running>,
    next: Vec<Waiter>,
    last_us: u64,
}

impl Flushes {
    pub(super) fn is_running(&self, id: u64) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.id == id)
    }

    /// Forgets everything; returns the clients that waited.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Origin> + use<> {
        let running = self.running.take().map(|running| running.waiters);
        running
            .into_iter()
            .flatten()
            .chain(std::mem::take(&mut self.next))
            .filter_map(|waiter| match waiter {
                Waiter::Client(origin) => Some(origin),
                _ => None,
            })
    }

    pub(super) fn forget(&mut self, waiter: Waiter) {
        self.next.retain(|waiting| *waiting != waiter);
        if let Some(running) = &mut self.running {
            running.waiters.retain(|waiting| *waiting != waiter);
        }
    }
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    /// May a flush be answered without the other copy? Only when nothing durable says that the
    /// other copy holds everything.
    fn may_flush_alone(&self) -> bool {
        let claimed = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.mode == Mode::Sync && peer.in_step);
        !claimed && !self.is_persisting(&AfterMeta::Outdated)
    }

    pub(super) fn client_flush(&mut self, origin: Origin) {
        let asynchronous = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.mode == Mode::Async);
        if asynchronous && !self.is_persisting(&AfterMeta::Outdated) {
            // The promise covers this copy only; marks clear behind the background flush.
            let id = self.fresh_id();
            self.local_flushes.insert(id, origin);
            self.local(id, LocalOp::Flush, false);
        } else {
            self.flush_for(Waiter::Client(origin));
        }
    }

    pub(super) fn local_flush_done(&mut self, origin: Origin, outcome: LocalOutcome) {
        match outcome {
            LocalOutcome::Failed(errno) => self.fail_flush(errno, &[Waiter::Client(origin)]),
            _ => {
                self.reply(origin, Reply::Done);
                self.continue_handover();
            }
        }
    }

    pub(super) fn flush_for(&mut self, waiter: Waiter) {
        self.flush.next.push(waiter);
        self.start_flush();
    }

    fn start_flush(&mut self) {
        if self.flush.running.is_some() || self.flush.next.is_empty() {
            return;
        }
        let id = self.fresh_id();
        let mirrored = self.mirrors();
        let alone = self.may_flush_alone();
        self.flush.last_us = self.now_us;
        self.flush.running = Some(Running {
            id,
            waiters: std::mem::take(&mut self.flush.next),
            local_done: false,
            peer_done: !mirrored && alone || self.has(Bug::FlushOnlyLocal),
            peer_lost: !mirrored,
        });
        std::mem::swap(&mut self.closing, &mut self.unflushed);
        self.unflushed.clear_all();
        if self.has(Bug::ClearAtFlushBegin) {
            self.clear_flushed_marks();
        }
        if mirrored && !self.has(Bug::FlushOnlyLocal) {
            self.send(Message::Flush { id });
        }
        self.local(id, LocalOp::Flush, false);
    }

    pub(super) fn flush_local_done(&mut self, outcome: LocalOutcome) {
        if let LocalOutcome::Failed(errno) = outcome {
            let waiters = self
                .flush
                .running
                .take()
                .map(|r| r.waiters)
                .unwrap_or_default();
            self.fail_flush(errno, &waiters);
            return;
        }
        if let Some(running) = &mut self.flush.running {
            running.local_done = true;
        }
        self.end_flush();
    }

    /// The other copy has flushed.
    pub(super) fn flush_acknowledged(&mut self) {
        if let Some(running) = &mut self.flush.running {
            running.peer_done = true;
        }
        self.end_flush();
    }

    /// The other copy was lost: the flush under way says nothing about it. Clients that wait are
    /// answered once "outdated" is durable.
    pub(super) fn flush_lost_its_copy(&mut self) {
        if self.holds_for_protection() {
            // Nobody is answered before the other copy is in step again.
            let waiters = self.flush.running.take().map(|running| running.waiters);
            for waiter in waiters
                .into_iter()
                .flatten()
                .chain(std::mem::take(&mut self.flush.next))
            {
                if let Waiter::Client(origin) = waiter {
                    self.held.push_back((origin, super::Command::Flush));
                }
            }
        }
        if let Some(running) = &mut self.flush.running
            && !running.peer_done
        {
            running.peer_lost = true;
        }
        self.closing.clear_all();
        self.unflushed.clear_all();
    }

    /// "Outdated" is durable: a flush need not wait for the lost copy.
    pub(super) fn release_flush(&mut self) {
        if let Some(running) = &mut self.flush.running
            && running.peer_lost
        {
            running.peer_done = true;
        }
        self.end_flush();
    }

    fn end_flush(&mut self) {
        let finished = self
            .flush
            .running
            .as_ref()
            .is_some_and(|r| r.local_done && r.peer_done);
        if !finished {
            return;
        }
        let Some(running) = self.flush.running.take() else {
            return;
        };
        if !running.peer_lost {
            self.clear_flushed_marks();
        }
        self.closing.clear_all();
        for waiter in running.waiters {
            match waiter {
                Waiter::Client(origin) => self.reply(origin, Reply::Done),
                Waiter::InStep => self.in_step_flushed(!running.peer_lost),
                Waiter::HandoverAhead => self.flushed_ahead(),
                Waiter::HandoverLast => self.flushed_last(!running.peer_lost),
                Waiter::Background => {}
            }
        }
        self.start_flush();
    }

    /// A mark clears when its block was replied to before this flush began, is not written to
    /// now, has not been written to since, and need not be sent.
    fn clear_flushed_marks(&mut self) {
        let mut at = 0;
        while let Some(block) = self.closing.next_set(at) {
            let one = Blocks {
                first: block,
                end: block + 1,
            };
            if !self.unflushed.contains(block)
                && !self.to_send.contains(block)
                && !self.locks.is_held(one)
            {
                self.dirty.clear(one);
            } else if self.locks.is_held(one) {
                // Whoever holds the range puts it among the unflushed when it ends; a range
                // locked for reading (a comparison) does not, so keep it in mind.
                self.unflushed.set(one);
            }
            at = block + 1;
        }
    }

    fn fail_flush(&mut self, errno: u16, waiters: &[Waiter]) {
        for waiter in waiters {
            if let Waiter::Client(origin) = waiter {
                // The client asks again after a reconnection; until then nothing is promised.
                self.held.push_back((*origin, super::Command::Flush));
            }
        }
        self.fail(format!(
            "fdatasync of the image failed (errno {errno}): this copy is no longer trusted"
        ));
    }

    pub(super) fn flush_tick(&mut self) {
        let due = self.now_us.saturating_sub(self.flush.last_us) >= self.config.background_flush_us;
        if due && self.mirrors() && !self.unflushed.is_empty() && self.flush.running.is_none() {
            self.flush_for(Waiter::Background);
        }
    }
}
