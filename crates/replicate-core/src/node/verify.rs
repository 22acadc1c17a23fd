//! Comparison of both copies under load, a leaf at a time: nobody writes to a leaf while both
//! sides hash it.

use super::{LocalOp, LocalOutcome, Node, Refusal};
use crate::block::{BLOCK_BYTES, Blocks};
use crate::wire::Message;

const LISTED_MAX: usize = 1024;

#[derive(Debug)]
struct Leaf {
    id: u64,
    blocks: Blocks,
    here: Option<[u8; 32]>,
    there: Option<[u8; 32]>,
}

/// The comparison under way or last done.
#[derive(Debug, Default)]
pub(super) struct Verify {
    leaf: Option<Leaf>,
    repair: bool,
    cursor: u64,
    progress: Option<VerifyProgress>,
}

/// How far a comparison is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Still under way.
    pub running: bool,
    /// Bytes compared.
    pub compared_bytes: u64,
    /// Leaves that differed.
    pub differing_leaves: u64,
    /// Offsets of differing leaves, bytes; a limited number is listed.
    pub differing_offsets: Vec<u64>,
    /// Leaves that are sent again.
    pub repaired_leaves: u64,
    /// Why it ended early.
    pub aborted: Option<String>,
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> Node<W> {
    /// Starts a comparison.
    ///
    /// # Errors
    /// [`Refusal`] unless this side is primary and in step.
    pub fn start_verify(&mut self, repair: bool) -> Result<(), Refusal> {
        if !self.is_in_step() {
            return Err(Refusal(
                "only a primary whose other copy is in step can compare the two".to_owned(),
            ));
        }
        if !self.handover.is_idle() {
            return Err(Refusal("a hand-over is under way".to_owned()));
        }
        if self.verify_is_running() {
            return Err(Refusal("a comparison is under way".to_owned()));
        }
        self.verify = Verify {
            repair,
            progress: Some(VerifyProgress {
                running: true,
                ..VerifyProgress::default()
            }),
            ..Verify::default()
        };
        self.verify_step();
        Ok(())
    }

    pub(super) fn verify_is_running(&self) -> bool {
        self.verify
            .progress
            .as_ref()
            .is_some_and(|progress| progress.running)
    }

    /// The comparison under way or last done.
    pub fn verify_progress(&self) -> Option<&VerifyProgress> {
        self.verify.progress.as_ref()
    }

    pub(super) fn verify_step(&mut self) {
        if !self.verify_is_running() || self.verify.leaf.is_some() {
            return;
        }
        let volume = Blocks::of_volume(self.meta.size_bytes);
        if self.verify.cursor >= volume.end {
            self.end_verify();
            return;
        }
        let leaf_blocks = (self.config.verify_leaf_bytes / BLOCK_BYTES).max(1);
        let first = self.verify.cursor;
        let blocks = Blocks {
            first,
            end: (first + leaf_blocks).min(volume.end),
        };
        let id = self.fresh_id();
        self.verify.cursor = blocks.end;
        self.verify.leaf = Some(Leaf {
            id,
            blocks,
            here: None,
            there: None,
        });
        if self.locks.lock(id, blocks) {
            self.verify_locked(id);
        }
    }

    /// Does this id belong to the comparison? Then its leaf is locked now.
    pub(super) fn verify_locked(&mut self, id: u64) {
        let Some(leaf) = &self.verify.leaf else {
            return;
        };
        if leaf.id != id {
            return;
        }
        let offset = leaf.blocks.offset_bytes();
        let length = leaf.blocks.length_bytes(self.meta.size_bytes);
        self.send(Message::HashRange { id, offset, length });
        self.local(id, LocalOp::Hash { offset, length }, true);
    }

    pub(super) fn verify_local_done(&mut self, id: u64, outcome: LocalOutcome) {
        let Some(leaf) = &mut self.verify.leaf else {
            return;
        };
        if leaf.id != id {
            return;
        }
        match outcome {
            LocalOutcome::Hash(hash) => {
                leaf.here = Some(hash);
                self.compare();
            }
            other => self.abort_verify(&format!("this copy could not be read: {other:?}")),
        }
    }

    pub(super) fn verify_peer_hash(&mut self, id: u64, hash: [u8; 32]) {
        if let Some(leaf) = &mut self.verify.leaf
            && leaf.id == id
        {
            leaf.there = Some(hash);
            self.compare();
        }
    }

    fn compare(&mut self) {
        let Some(Leaf {
            id,
            blocks,
            here: Some(here),
            there: Some(there),
        }) = self.verify.leaf
        else {
            return;
        };
        self.verify.leaf = None;
        let repair = self.verify.repair;
        let length = blocks.length_bytes(self.meta.size_bytes);
        if let Some(progress) = &mut self.verify.progress {
            progress.compared_bytes += length;
            if here != there {
                progress.differing_leaves += 1;
                if progress.differing_offsets.len() < LISTED_MAX {
                    progress.differing_offsets.push(blocks.offset_bytes());
                }
                progress.repaired_leaves += u64::from(repair);
            }
        }
        if here != there && repair {
            self.repair(blocks);
        }
        let granted = self.locks.unlock(id);
        self.granted(granted);
        self.copy();
        self.verify_step();
    }

    fn end_verify(&mut self) {
        let Some(progress) = &mut self.verify.progress else {
            return;
        };
        progress.running = false;
        let body = serde_json::json!({
            "compared_bytes": progress.compared_bytes,
            "differing_leaves": progress.differing_leaves,
            "differing_offsets": progress.differing_offsets,
            "repaired_leaves": progress.repaired_leaves,
            "leaf_bytes": self.config.verify_leaf_bytes,
            "generation": self.meta.generation,
        });
        self.event("volume.verified", body);
    }

    fn abort_verify(&mut self, reason: &str) {
        if let Some(progress) = &mut self.verify.progress {
            progress.running = false;
            progress.aborted = Some(reason.to_owned());
        }
        if let Some(leaf) = self.verify.leaf.take() {
            let granted = self.locks.cancel(leaf.id);
            self.granted(granted);
        }
    }

    pub(super) fn verify_lost_link(&mut self, reason: &str) {
        if self.verify_is_running() {
            self.abort_verify(reason);
        }
    }
}
