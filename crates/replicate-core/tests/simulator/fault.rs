//! What goes wrong, and what operators do meanwhile.

use super::check::CORRUPT;
use super::disk::Disk;
use super::world::{Happening, Site, World};
use yundu_replicate_core::meta::{Meta, Mode, Policy, Role};
use yundu_replicate_core::node::SyncState;

impl World {
    pub fn fault(&mut self) {
        let site = self.chance.below(2) as usize;
        match self.chance.below(100) {
            0..=11 => {
                let down_us = self.chance.below(2_500_000);
                self.cut_link(down_us);
            }
            12..=19 => {
                let for_us = self.chance.between(100_000, 2_000_000);
                self.stall_link(for_us);
            }
            20..=31 => self.kill_soon(site, false),
            32..=35 => {
                self.kill_soon(0, false);
                self.kill_soon(1, false);
            }
            36..=47 => self.kill_soon(site, true),
            48..=51 => {
                self.kill_soon(0, true);
                self.kill_soon(1, true);
            }
            52..=79 => self.hand_over(site),
            80..=87 => self.verify(),
            88..=91 => {
                let index = self.chance.below(self.clients.len() as u64) as usize;
                self.lose_client(index);
            }
            92..=95 => self.change_target(),
            _ => {
                let for_us = self.chance.between(100_000, 1_500_000);
                self.no_space(site, for_us);
            }
        }
    }

    fn hand_over(&mut self, site: usize) {
        if self.sites[site].node.is_none() {
            return;
        }
        if self.chance.percent(80) {
            self.next_cut += 1;
        }
        let name = format!("cut {}", self.next_cut);
        let to_me = self.node(site).meta().role == Role::Secondary;
        let _refused = self.node(site).hand_over(&name, to_me);
        match self.chance.below(12) {
            0 => self.kill_soon(site, false),
            1 => self.kill_soon(1 - site, false),
            2 => self.kill_soon(1 - site, true),
            3 => {
                self.kill_soon(0, false);
                self.kill_soon(1, false);
            }
            4 | 5 => {
                let delay = self.chance.delay_us(3_000);
                self.after(delay, Happening::Cut);
            }
            _ => {}
        }
        self.pump(site);
    }

    fn verify(&mut self) {
        let Some(primary) = self.primary() else {
            return;
        };
        let repair = self.chance.percent(60);
        let ready = self.sites[primary].node.as_ref().is_some_and(|node| {
            node.sync_state() == SyncState::InStep
                && node.verify_progress().is_none_or(|p| !p.running)
        });
        if !ready || self.sites[1 - primary].disk.cache.is_empty() {
            return;
        }
        if self.chance.percent(60) {
            for _ in 0..self.chance.between(1, 3) {
                let sector = super::client::some_sector(&mut self.chance) as usize;
                self.issued += 1;
                let value = CORRUPT | self.issued;
                let other = 1 - primary;
                self.sites[other].disk.put(sector, value);
                self.sites[other].disk.durable[sector] = value;
                self.corrupted.push((other, sector, value));
            }
        }
        if self.node(primary).start_verify(repair).is_err() {
            self.corrupted.clear();
        }
        self.pump(primary);
    }

    fn lose_client(&mut self, index: usize) {
        let (site, connection) = (self.clients[index].site, self.clients[index].connection);
        if self.sites[site].node.is_none() || !self.clients[index].connected {
            return;
        }
        self.clients[index].connected = false;
        self.clients[index].connection += 1;
        self.node(site).client_gone(connection);
        self.pump(site);
        let delay = self.chance.delay_us(20_000);
        self.after(delay, Happening::Reconnect(index));
    }

    fn change_target(&mut self) {
        let Some(primary) = self.primary() else {
            return;
        };
        if self.sites[primary].node.is_none() {
            return;
        }
        let mode = if self.chance.percent(60) {
            Mode::Sync
        } else {
            Mode::Async
        };
        let policy = if self.chance.percent(60) {
            Policy::Available
        } else {
            Policy::Protect
        };
        self.target_changes += 1;
        let _refused = self.node(primary).set_target("other".into(), mode, policy);
        self.pump(primary);
    }

    // --- the end of one site

    /// The primary burns down. May the other copy take over, and does it hold what it must?
    pub fn destroy_primary(&mut self) {
        let Some(primary) = self.primary() else {
            return;
        };
        let other = 1 - primary;
        if self.sites.iter().any(|site| site.node.is_none()) {
            return;
        }
        self.kill(primary, false);
        self.sites[primary].destroyed = true;
        self.run_for(3_000_000);
        self.take_over(primary, other);
    }

    /// fdatasync fails at the primary.
    pub fn fail_primary(&mut self) {
        let Some(primary) = self.primary() else {
            return;
        };
        let other = 1 - primary;
        if self.sites.iter().any(|site| site.node.is_none()) {
            return;
        }
        self.sites[primary].fail_next_flush = true;
        self.run_for(4_000_000);
        if self.sites[primary].meta().failed.is_none() || self.primary() != Some(primary) {
            self.sites[primary].fail_next_flush = false;
            return;
        }
        self.run_for(2_000_000);
        self.take_over(primary, other);
    }

    fn take_over(&mut self, primary: usize, other: usize) {
        let seed = self.seed;
        self.sites[primary].destroyed = false;
        let claimed = self.claims_other(primary);
        let mode = self.sites[primary]
            .disk
            .meta
            .peer
            .as_ref()
            .map(|peer| peer.mode);
        self.sites[primary].destroyed = true;
        if self.sites[other].node.is_none() {
            self.sites[primary].destroyed = false;
            let epoch = self.sites[primary].epoch;
            self.after(0, Happening::Start(primary, epoch));
            return;
        }
        let meta = self.sites[other].meta();
        let consistent = meta.consistent && meta.failed.is_none();
        assert!(self.node(other).promote(false).is_err());
        let promoted = self.node(other).promote(true);
        assert_eq!(
            promoted.is_ok(),
            consistent,
            "seed {seed}: promotion {promoted:?}"
        );
        if promoted.is_err() {
            // Then it is good that the fire was put out in time.
            self.sites[primary].destroyed = false;
            if self.sites[primary].meta().failed.is_some() {
                self.doomed = true;
            }
            let epoch = self.sites[primary].epoch;
            self.after(0, Happening::Start(primary, epoch));
            return;
        }
        self.promotions += 1;
        let image = self.sites[other].disk.cache.clone();
        if self.sites[other].power_lost_step > 0 {
            self.registers.power_lost(self.step);
        }
        self.step += 1;
        if claimed {
            for (sector, value) in image.iter().enumerate() {
                self.check_value(sector, *value, self.step, "the promoted copy has");
            }
        } else if mode == Some(Mode::Async) && self.target_changes == 0 {
            let cut = self.registers.newest_issue(&image);
            for (sector, value) in image.iter().enumerate() {
                self.check_value(
                    sector,
                    *value,
                    cut,
                    "the promoted asynchronous copy, no prefix, has",
                );
            }
        }
        if !claimed {
            self.registers.forget(self.step, &image);
        }
        self.pump(other);
        // The old site comes back with its old state, or is replaced by an empty one.
        for client in &mut self.clients {
            if client.site == primary {
                client.site = other;
                client.connected = false;
                client.connection += 1;
            }
        }
        let old_returns = self.sites[primary].meta().failed.is_none() && self.chance.percent(50);
        if old_returns {
            self.split = true;
        } else {
            self.replace(primary);
        }
        self.sites[primary].destroyed = false;
        let epoch = self.sites[primary].epoch;
        self.after(200_000, Happening::Start(primary, epoch));
    }

    /// fdatasync fails at the secondary: it is replaced.
    pub fn fail_secondary(&mut self) {
        let Some(primary) = self.primary() else {
            return;
        };
        let other = 1 - primary;
        if self.sites.iter().any(|site| site.node.is_none()) {
            return;
        }
        self.sites[other].fail_next_flush = true;
        self.run_for(3_000_000);
        if self.sites[other].meta().failed.is_none() {
            self.sites[other].fail_next_flush = false;
            return;
        }
        self.replace(other);
        let epoch = self.sites[other].epoch;
        self.after(0, Happening::Start(other, epoch));
    }

    fn replace(&mut self, site: usize) {
        self.kill(site, false);
        let epoch = self.sites[site].epoch + 1;
        self.issued += 1;
        let meta = Meta::new_receiver(format!("new {}", self.issued), "boot".into());
        self.sites[site] = Site::new(Disk::new(meta));
        self.sites[site].epoch = epoch;
    }

    pub fn run_for(&mut self, for_us: u64) {
        let until_us = self.now_us + for_us;
        while self.now_us < until_us {
            self.advance();
        }
    }
}
