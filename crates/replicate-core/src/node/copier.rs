//! The first full copy and every resync: send what the other copy lacks, a window at a time.

use super::flush::Waiter;
use super::planted::Bug;
use super::{AfterMeta, Effect, LocalOp, LocalOutcome, Node};
use crate::block::{BLOCK_BYTES, Blocks};
use crate::meta::Role;
use crate::wire::Message;
use std::collections::HashMap;

/// Why blocks are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first full copy.
    #[default]
    FullCopy,
    /// After the link was lost.
    Resync,
    /// A comparison found leaves that differ.
    Repair,
}

#[derive(Debug)]
struct Step {
    blocks: Blocks,
    /// Messages not yet acknowledged.
    parts: usize,
    read: bool,
}

/// The copy or resync under way.
#[derive(Debug, Default)]
pub(super) struct Copier {
    active: bool,
    pub(super) purpose: Purpose,
    cursor: u64,
    steps: HashMap<u64, Step>,
    /// Message id → step.
    parts: HashMap<u64, u64>,
    under_way_bytes: u64,
    finishing: bool,
    /// Searches for data under way; only the last one counts.
    scans: usize,
    /// Blocks that a resync broken off before had still to send.
    carried_blocks: u64,
}

impl Copier {
    pub(super) fn has(&self, id: u64) -> bool {
        self.steps.contains_key(&id)
    }
    pub(super) fn is_active(&self) -> bool {
        self.active
    }
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    /// Which extents of the image hold data, as [`Effect::ScanData`](super::Effect::ScanData)
    /// asked: offset and length in bytes.
    pub fn data_extents(&mut self, extents: &[(u64, u64)]) {
        self.copier.scans = self.copier.scans.saturating_sub(1);
        if self.copier.scans > 0 || self.meta.role != Role::Primary {
            return;
        }
        let overwrite = self.meta.peer.as_ref().is_some_and(|peer| peer.overwrite);
        if overwrite {
            self.dirty.set(Blocks::of_volume(self.meta.size_bytes));
        } else {
            for (offset, length) in extents {
                self.dirty.set(Blocks::touched(*offset, *length));
            }
        }
        let blocks = self.dirty.count();
        self.event(
            "volume.copy-planned",
            serde_json::json!({"bytes": blocks * BLOCK_BYTES, "size_bytes": self.meta.size_bytes}),
        );
        // Planned only now: after a process death in between, the search is made again.
        if let Some(peer) = &mut self.meta.peer {
            peer.copy_planned = true;
        }
        self.persist(AfterMeta::CopyPlanned);
    }

    pub(super) fn scan_data(&mut self) {
        self.copier.scans += 1;
        self.effects.push_back(Effect::ScanData);
    }

    /// The other copy is ready to be written to out of order.
    pub(super) fn start_copy(&mut self) {
        self.to_send.clear_all();
        self.dirty.copy_into(&mut self.to_send);
        let full = self
            .meta
            .peer
            .as_ref()
            .is_some_and(|peer| peer.full_copy_pending);
        // Reads of a copy broken off before may still be under way: they keep their places.
        self.copier.active = true;
        self.copier.purpose = if full {
            Purpose::FullCopy
        } else {
            Purpose::Resync
        };
        self.copier.cursor = 0;
        self.copier.finishing = false;
        let blocks = self.to_send.count();
        if !full {
            let fresh = blocks.saturating_sub(self.copier.carried_blocks);
            self.statistics.dirtied_bytes += fresh * BLOCK_BYTES;
        }
        let kind = if full {
            "volume.copy-started"
        } else {
            "volume.resync-started"
        };
        self.event(kind, serde_json::json!({"bytes": blocks * BLOCK_BYTES}));
        self.outdate_for_resync();
        self.resend_protected();
        self.copy();
    }

    /// Sends leaves again that a comparison found to differ.
    pub(super) fn repair(&mut self, blocks: Blocks) {
        self.dirty.set(blocks);
        self.to_send.set(blocks);
        if !self.copier.active {
            self.copier.active = true;
            self.copier.purpose = Purpose::Repair;
            self.copier.cursor = 0;
        }
    }

    /// Keeps the window full.
    pub(super) fn copy(&mut self) {
        if !self.copier.active || !self.mirrors() || self.meta.failed.is_some() {
            return;
        }
        let chunk_blocks = (self.config.copy_chunk_bytes / BLOCK_BYTES).max(1);
        let mut wrapped = false;
        while self.copier.under_way_bytes < self.config.copy_window_bytes {
            let Some(run) = self.to_send.next_run(self.copier.cursor, chunk_blocks) else {
                if wrapped || self.copier.cursor == 0 {
                    break;
                }
                wrapped = true;
                self.copier.cursor = 0;
                continue;
            };
            self.copier.cursor = run.end;
            let id = self.fresh_id();
            // A range that is being written to goes later; its writer has the right of way.
            if !self.locks.try_lock(id, run) && !self.has(Bug::CopyWithoutLock) {
                continue;
            }
            let length = run.length_bytes(self.meta.size_bytes);
            self.copier.steps.insert(
                id,
                Step {
                    blocks: run,
                    parts: 0,
                    read: false,
                },
            );
            self.copier.under_way_bytes += length;
            self.local(
                id,
                LocalOp::Read {
                    offset: run.offset_bytes(),
                    length,
                },
                true,
            );
        }
        self.finish_copy();
    }

    pub(super) fn copy_read_done(&mut self, id: u64, outcome: LocalOutcome) {
        let LocalOutcome::Data(data) = outcome else {
            let reason = format!("the image could not be read for the copy: {outcome:?}");
            self.end_copy_step(id, false);
            self.close_link(&reason);
            return;
        };
        let Some(blocks) = self.copier.steps.get(&id).map(|step| step.blocks) else {
            return;
        };
        if !self.mirrors() {
            self.end_copy_step(id, false);
            return;
        }
        let mut parts = 0;
        let mut sent_bytes = 0;
        for (start, end, zero) in zero_runs(&data) {
            let message_id = self.fresh_id();
            self.copier.parts.insert(message_id, id);
            parts += 1;
            let offset = blocks.offset_bytes() + start as u64;
            if zero {
                let length = (end - start) as u64;
                self.send(Message::Zero {
                    id: message_id,
                    offset,
                    length,
                });
            } else {
                sent_bytes += (end - start) as u64;
                self.send(Message::Write {
                    id: message_id,
                    offset,
                    data: data.slice(start..end),
                });
            }
        }
        if let Some(step) = self.copier.steps.get_mut(&id) {
            step.parts = parts;
            step.read = true;
        }
        match self.copier.purpose {
            Purpose::FullCopy => self.statistics.copy_bytes += sent_bytes,
            Purpose::Resync => self.statistics.resync_bytes += sent_bytes,
            Purpose::Repair => self.statistics.repair_bytes += sent_bytes,
        }
        self.statistics.sent(sent_bytes);
    }

    /// Is this the acknowledgement of a part of the copy?
    pub(super) fn copy_acknowledged(&mut self, message_id: u64) -> bool {
        let Some(id) = self.copier.parts.remove(&message_id) else {
            return false;
        };
        let Some(step) = self.copier.steps.get_mut(&id) else {
            return true;
        };
        step.parts -= 1;
        if step.parts == 0 && step.read {
            self.end_copy_step(id, true);
            self.copy();
            self.continue_handover();
        }
        true
    }

    fn end_copy_step(&mut self, id: u64, arrived: bool) {
        let Some(step) = self.copier.steps.remove(&id) else {
            return;
        };
        let length = step.blocks.length_bytes(self.meta.size_bytes);
        self.copier.under_way_bytes = self.copier.under_way_bytes.saturating_sub(length);
        if arrived {
            self.to_send.clear(step.blocks);
            self.unflushed.set(step.blocks);
        }
        let granted = self.locks.unlock(id);
        self.granted(granted);
    }

    /// The link is gone: steps whose parts are on their way end without effect; reads that are
    /// under way end when they come back.
    pub(super) fn copy_lost_its_copy(&mut self) {
        self.copier.carried_blocks = if self.copier.active && self.copier.purpose == Purpose::Resync
        {
            self.to_send.count()
        } else {
            0
        };
        self.copier.active = false;
        self.copier.finishing = false;
        self.copier.parts.clear();
        self.flush.forget(Waiter::InStep);
        let mut sent: Vec<u64> = self
            .copier
            .steps
            .iter()
            .filter(|(_, step)| step.read)
            .map(|(id, _)| *id)
            .collect();
        sent.sort_unstable();
        for id in sent {
            self.end_copy_step(id, false);
        }
    }

    fn finish_copy(&mut self) {
        let done = self.to_send.is_empty() && self.copier.steps.is_empty();
        if done && !self.copier.finishing {
            self.copier.finishing = true;
            self.flush_for(Waiter::InStep);
        }
    }

    /// Everything was sent, and flushed on both copies.
    pub(super) fn in_step_flushed(&mut self, with_peer: bool) {
        self.copier.finishing = false;
        if !with_peer || !self.copier.active {
            return;
        }
        if !self.to_send.is_empty() || !self.copier.steps.is_empty() {
            self.copy();
            return;
        }
        self.copier.active = false;
        self.copier.carried_blocks = 0;
        if self.copier.purpose == Purpose::Repair {
            let bytes = self.statistics.repair_bytes;
            self.event(
                "volume.repaired",
                serde_json::json!({"repair_bytes": bytes}),
            );
            return;
        }
        let id = self.fresh_id();
        self.link.in_step_id = Some(id);
        self.send(Message::InStep { id });
    }

    /// The other copy knows durably that it is consistent.
    pub(super) fn in_step_acknowledged(&mut self) {
        if let Some(peer) = &mut self.meta.peer {
            peer.full_copy_pending = false;
            peer.copy_planned = false;
            peer.overwrite = false;
            peer.in_step = true;
            peer.outdated_since_us = None;
        }
        self.persist(AfterMeta::InStep);
    }

    pub(super) fn in_step_is_durable(&mut self) {
        let body = serde_json::json!({
            "purpose": match self.copier.purpose {
                Purpose::FullCopy => "full-copy",
                Purpose::Resync => "resync",
                Purpose::Repair => "repair",
            },
            "generation": self.meta.generation,
            "copy_bytes": self.statistics.copy_bytes,
            "resync_bytes": self.statistics.resync_bytes,
            "dirtied_bytes": self.statistics.dirtied_bytes,
        });
        if self.is_in_step() {
            self.event("volume.in-step", body);
        }
        self.release_held();
    }
}

/// Splits data into runs of zero blocks and runs of other blocks: (start, end, is zero).
fn zero_runs(data: &[u8]) -> Vec<(usize, usize, bool)> {
    let mut runs: Vec<(usize, usize, bool)> = Vec::new();
    let mut at = 0;
    for block in data.chunks(BLOCK_BYTES as usize) {
        let zero = is_zero(block);
        let end = at + block.len();
        match runs.last_mut() {
            Some(last) if last.2 == zero => last.1 = end,
            _ => runs.push((at, end, zero)),
        }
        at = end;
    }
    runs
}

/// Is every byte zero?
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(64)
        .all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_blocks_are_told_from_others() {
        let mut data = vec![0u8; 5 * 4096];
        data[4096] = 1;
        data[2 * 4096 + 4095] = 1;
        assert_eq!(
            zero_runs(&data),
            vec![(0, 4096, true), (4096, 12288, false), (12288, 20480, true)]
        );
    }
}
