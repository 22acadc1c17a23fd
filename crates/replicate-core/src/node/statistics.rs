//! What a node counts.

use super::{Node, copier};
use crate::block::BLOCK_BYTES;
use crate::meta::Role;

const RATE_PERIOD_US: u64 = 500_000;

/// How the other copy stands to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// No other copy.
    Alone,
    /// The first full copy is under way, or waits for the link.
    Copying,
    /// Only what was written meanwhile is being sent.
    Resyncing,
    /// Every reply stands on both copies.
    InStep,
    /// The other copy is left behind.
    Degraded,
}

/// Counters since the process started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Sent by the first full copy, bytes.
    pub copy_bytes: u64,
    /// Sent by resynchronisations after link losses, bytes.
    pub resync_bytes: u64,
    /// Union of blocks that had to be sent again after link losses, bytes.
    pub dirtied_bytes: u64,
    /// Sent to repair what a comparison found, bytes.
    pub repair_bytes: u64,
    /// Mirrored foreground writes, bytes.
    pub mirrored_bytes: u64,
    /// Bytes per second of copy and resync.
    pub rate_bytes_per_s: u64,
    period_bytes: u64,
    period_start_us: u64,
}

impl Statistics {
    pub(super) fn sent(&mut self, bytes: u64) {
        self.period_bytes += bytes;
    }

    pub(super) fn tick(&mut self, now_us: u64) {
        let period_us = now_us.saturating_sub(self.period_start_us);
        if period_us >= RATE_PERIOD_US {
            let rate = u128::from(self.period_bytes) * 1_000_000 / u128::from(period_us);
            self.rate_bytes_per_s = u64::try_from(rate).unwrap_or(u64::MAX);
            self.period_bytes = 0;
            self.period_start_us = now_us;
        }
    }
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    /// Counters.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// How the other copy stands.
    pub fn sync_state(&self) -> SyncState {
        let Some(peer) = &self.meta.peer else {
            return SyncState::Alone;
        };
        if self.meta.role == Role::Secondary {
            return match (self.is_linked(), self.meta.consistent) {
                (true, true) => SyncState::InStep,
                (true, false) => SyncState::Resyncing,
                (false, _) => SyncState::Degraded,
            };
        }
        if self.is_in_step() {
            SyncState::InStep
        } else if self.mirrors() && self.copier.is_active() {
            match self.copier.purpose {
                copier::Purpose::FullCopy => SyncState::Copying,
                copier::Purpose::Resync | copier::Purpose::Repair => SyncState::Resyncing,
            }
        } else if peer.full_copy_pending {
            SyncState::Copying
        } else if self.mirrors() {
            SyncState::Resyncing
        } else {
            SyncState::Degraded
        }
    }

    /// Still to be sent until in step, bytes.
    pub fn remaining_bytes(&self) -> u64 {
        let blocks = if self.mirrors() {
            self.to_send.count()
        } else if self.meta.peer.is_some() {
            self.dirty.count()
        } else {
            0
        };
        blocks * BLOCK_BYTES
    }

    /// How much would be lost if this primary vanished now, as time, µs: zero only in step;
    /// `None` when it cannot be known.
    pub fn rpo_us(&self) -> Option<u64> {
        let peer = self.meta.peer.as_ref()?;
        if self.meta.role == Role::Secondary {
            return None;
        }
        if self.is_in_step() && peer.mode == crate::meta::Mode::Sync {
            return Some(0);
        }
        if peer.full_copy_pending {
            return None;
        }
        let since_us = peer.outdated_since_us?;
        u64::try_from(self.unix_us.saturating_sub(since_us)).ok()
    }
}
