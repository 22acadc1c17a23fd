//! What must hold at every moment.

use super::world::{Site, World};
use yundu_replicate_core::meta::{Mode, Role};

/// Values with this bit were put on a disk behind everybody's back.
pub const CORRUPT: u64 = 1 << 63;

impl World {
    pub fn check_value(&self, sector: usize, value: u64, began: u64, what: &str) {
        assert!(
            value & CORRUPT != 0 || self.registers.allows(sector, value, began),
            "seed {}: at {} us {what} {:#x} of sector {sector}, begun at step {began}; written: {}",
            self.seed,
            self.now_us,
            value,
            self.registers.explain(sector)
        );
    }

    /// The site that orders the writes.
    pub fn primary(&self) -> Option<usize> {
        (0..2)
            .filter(|site| !self.sites[*site].destroyed)
            .filter(|site| self.sites[*site].meta().role == Role::Primary)
            .max_by_key(|site| self.sites[*site].meta().generation)
    }

    /// Does the primary's durable state say that the other copy holds every reply?
    pub fn claims_other(&self, primary: usize) -> bool {
        let (here, there) = (&self.sites[primary], &self.sites[1 - primary]);
        here.disk.meta.peer.as_ref().is_some_and(|peer| {
            peer.in_step && peer.mode == Mode::Sync && peer.node == there.disk.meta.node
        }) && there.disk.meta.consistent
            && there.disk.meta.failed.is_none()
            && there.meta().role == Role::Secondary
            && !there.destroyed
    }

    pub fn check_who_replies(&mut self, site: usize) {
        if self.split {
            return;
        }
        let active = |site: &Site| {
            site.node
                .as_ref()
                .is_some_and(|node| node.meta().role == Role::Primary && !node.is_holding())
        };
        let seed = self.seed;
        assert!(
            !(active(&self.sites[0]) && active(&self.sites[1])),
            "seed {seed}: both sides act as primary"
        );
        if self.sites[site].meta().role == Role::Primary {
            let generation = self.sites[site].meta().generation;
            let who = *self.replied_as_primary.entry(generation).or_insert(site);
            assert_eq!(
                who, site,
                "seed {seed}: two primaries of generation {generation}"
            );
        }
    }

    /// A write was replied to: every copy that counts holds it.
    pub fn check_copies(&self, first: usize, count: usize, fua: bool, issued: u64) {
        let Some(primary) = self.primary() else {
            return;
        };
        let mut copies = vec![primary];
        if self.claims_other(primary) {
            copies.push(1 - primary);
        }
        for copy in copies {
            let disk = &self.sites[copy].disk;
            for sector in first..first + count {
                if self.sites[copy].power_lost_step < issued {
                    let value = disk.cache[sector];
                    self.check_value(sector, value, self.step, "after a write's reply a copy has");
                }
                if fua {
                    let value = disk.durable[sector];
                    assert!(
                        value & CORRUPT != 0 || self.registers.is_no_older(sector, value, issued),
                        "seed {}: after a FUA reply copy {copy} has, durably, {value:#x} of sector {sector}; written: {}",
                        self.seed,
                        self.registers.explain(sector)
                    );
                }
            }
        }
    }

    /// A flush was replied to: what was replied to before is durable on every copy that counts.
    pub fn check_flush(&self, issued: u64) {
        let Some(primary) = self.primary() else {
            return;
        };
        let mut copies = vec![primary];
        if self.claims_other(primary) {
            copies.push(1 - primary);
        }
        for copy in copies {
            let disk = &self.sites[copy].disk;
            for sector in self.registers.active() {
                let value = disk.durable[sector];
                self.check_value(sector, value, issued, "after a flush a copy has, durably,");
            }
        }
    }

    /// Blocks in which the copies differ are marked at the primary.
    pub fn check_marks(&self) {
        let Some(primary) = self.primary() else {
            return;
        };
        let (here, there) = (&self.sites[primary], &self.sites[1 - primary]);
        let Some(peer) = &here.meta().peer else {
            return;
        };
        let unknown = peer.full_copy_pending
            || peer.node != there.disk.meta.node
            || there.destroyed
            || here.node.is_none() && here.power_lost_step > 0
            || here.disk.cache.len() != there.disk.cache.len()
            || self.split;
        if unknown {
            return;
        }
        let words = match &here.node {
            Some(node) => node.dirty().words(),
            None => &here.disk.words,
        };
        const STRIDE: usize = 256;
        let (mine, yours) = (&here.disk.cache, &there.disk.cache);
        let strides = mine.chunks(STRIDE).zip(yours.chunks(STRIDE)).enumerate();
        for (stride, _) in strides.filter(|(_, (mine, yours))| mine != yours) {
            for sector in stride * STRIDE..((stride + 1) * STRIDE).min(mine.len()) {
                let (mine, yours) = (mine[sector], yours[sector]);
                let block = sector / 8;
                assert!(
                    mine == yours
                        || (mine | yours) & CORRUPT != 0
                        || words[block / 64] >> (block % 64) & 1 == 1,
                    "seed {}: at {} us (step {}) block {block} (sector {sector}) differs unmarked: \
                     primary {primary} has {mine:#x}, the other {yours:#x}; written: {}",
                    self.seed,
                    self.now_us,
                    self.step,
                    self.registers.explain(sector)
                );
            }
        }
    }

    /// Nothing is under way: both copies are equal, and hold every acknowledged write.
    pub fn check_end(&self) {
        let seed = self.seed;
        let primary = self.primary().unwrap();
        let (here, there) = (&self.sites[primary].disk, &self.sites[1 - primary].disk);
        for (sector, (mine, yours)) in here.cache.iter().zip(&there.cache).enumerate() {
            assert_eq!(
                mine, yours,
                "seed {seed}: in the end sector {sector} differs"
            );
            self.check_value(sector, *mine, self.step, "in the end both have");
        }
        for (sector, (mine, yours)) in here.durable.iter().zip(&there.durable).enumerate() {
            assert!(
                *mine == here.cache[sector] && *yours == there.cache[sector],
                "seed {seed}: in the end sector {sector} is not durable"
            );
        }
    }
}
