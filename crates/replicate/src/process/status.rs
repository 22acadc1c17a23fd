//! What a volume process says of itself.

use super::VolumeProcess;
use crate::control::{Link, Status, SyncState, Verification};
use std::time::Instant;
use yundu_replicate_core::node;

/// What clients felt.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pub(super) requests: u64,
    pub(super) errors: u64,
    wait_us_max: u64,
}

impl Meters {
    pub(super) fn replied(&mut self, since: Instant) {
        self.requests += 1;
        let wait_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.wait_us_max = self.wait_us_max.max(wait_us);
    }

    pub(super) fn reset(&mut self) {
        self.wait_us_max = 0;
    }
}

impl VolumeProcess {
    pub(super) fn status(&self) -> Status {
        let meta = self.node.meta();
        let statistics = self.node.statistics();
        let peer = meta.peer.as_ref();
        let link = match peer {
            None => Link::None,
            Some(_) if self.node.is_linked() => Link::Up,
            Some(_) => Link::Down,
        };
        Status {
            volume: self.options.name.clone(),
            image: self.image.path().to_owned(),
            set: meta.set.clone(),
            role: meta.role,
            generation: meta.generation,
            size_bytes: meta.size_bytes,
            link,
            sync: match self.node.sync_state() {
                node::SyncState::Alone => SyncState::Alone,
                node::SyncState::Copying => SyncState::Copying,
                node::SyncState::Resyncing => SyncState::Resyncing,
                node::SyncState::InStep => SyncState::InStep,
                node::SyncState::Degraded => SyncState::Degraded,
            },
            mode: peer.map(|peer| peer.mode),
            policy: peer.map(|peer| peer.policy),
            peer: peer
                .map(|peer| peer.address.clone())
                .filter(|address| !address.is_empty()),
            link_reason: meta
                .failed
                .clone()
                .or_else(|| self.node.link_reason().map(str::to_owned)),
            remaining_bytes: self.node.remaining_bytes(),
            copy_bytes: statistics.copy_bytes,
            resync_bytes: statistics.resync_bytes,
            dirtied_bytes: statistics.dirtied_bytes,
            mirrored_bytes: statistics.mirrored_bytes,
            rate_bytes_per_s: statistics.rate_bytes_per_s,
            client_requests: self.meters.requests,
            client_errors: self.meters.errors,
            wait_us_max: self.meters.wait_us_max,
            rpo_us: self.node.rpo_us(),
            verification: self.node.verify_progress().map(|progress| Verification {
                running: progress.running,
                compared_bytes: progress.compared_bytes,
                differing_offsets: progress.differing_offsets.clone(),
                differing_leaves: progress.differing_leaves,
                leaf_bytes: self.options.config.verify_leaf_bytes,
                repaired_leaves: progress.repaired_leaves,
                aborted: progress.aborted.clone(),
            }),
            cut_digest: self.cut_hash.as_ref().map(crate::cut_hash::CutHash::digest),
            handover: self.handover.clone(),
            exports: self.exports.clone(),
            event_sequence: self.state.event_sequence(),
        }
    }
}
