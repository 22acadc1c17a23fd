//! Range locks: writes that overlap happen one after the other, on both copies in the same
//! order; a copied or compared range is not written to meanwhile.

use crate::block::Blocks;
use std::collections::VecDeque;

/// Exclusive locks over runs of blocks, granted in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct RangeLocks {
    held: Vec<(u64, Blocks)>,
    waiting: VecDeque<(u64, Blocks)>,
}

impl RangeLocks {
    /// Locks `blocks` for `id`, or queues it; `true` when it is held at once.
    pub fn lock(&mut self, id: u64, blocks: Blocks) -> bool {
        let blocked = self.is_held(blocks) || self.waiting.iter().any(|(_, w)| w.overlaps(blocks));
        if blocked {
            self.waiting.push_back((id, blocks));
        } else {
            self.held.push((id, blocks));
        }
        !blocked
    }

    /// Locks `blocks` for `id` only if nobody holds them or waits for them.
    pub fn try_lock(&mut self, id: u64, blocks: Blocks) -> bool {
        let blocked = self.is_held(blocks) || self.waiting.iter().any(|(_, w)| w.overlaps(blocks));
        if !blocked {
            self.held.push((id, blocks));
        }
        !blocked
    }

    /// Does anybody hold one of `blocks`?
    pub fn is_held(&self, blocks: Blocks) -> bool {
        self.held.iter().any(|(_, held)| held.overlaps(blocks))
    }

    /// As [`RangeLocks::unlock`], for someone who may still be waiting.
    pub fn cancel(&mut self, id: u64) -> Vec<u64> {
        self.waiting.retain(|(waiter, _)| *waiter != id);
        self.unlock(id)
    }

    /// Releases what `id` holds and returns who holds a lock now that waited before.
    pub fn unlock(&mut self, id: u64) -> Vec<u64> {
        if let Some(position) = self.held.iter().position(|(holder, _)| *holder == id) {
            self.held.swap_remove(position);
        }
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let mut granted = Vec::new();
        let mut still_waiting: VecDeque<(u64, Blocks)> =
            VecDeque::with_capacity(self.waiting.len());
        for (waiter, blocks) in std::mem::take(&mut self.waiting) {
            let blocked =
                self.is_held(blocks) || still_waiting.iter().any(|(_, w)| w.overlaps(blocks));
            if blocked {
                still_waiting.push_back((waiter, blocks));
            } else {
                self.held.push((waiter, blocks));
                granted.push(waiter);
            }
        }
        self.waiting = still_waiting;
        granted
    }

    /// Nothing held, nothing waiting.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_ranges_are_granted_in_order_of_arrival() {
        let mut locks = RangeLocks::default();
        assert!(locks.lock(1, Blocks { first: 0, end: 4 }));
        assert!(!locks.lock(2, Blocks { first: 2, end: 6 }));
        // 3 does not overlap what is held, but 2 came first.
        assert!(!locks.lock(3, Blocks { first: 5, end: 7 }));
        assert!(locks.lock(4, Blocks { first: 8, end: 9 }));
        assert!(!locks.try_lock(5, Blocks { first: 6, end: 7 }));
        assert_eq!(locks.unlock(1), vec![2]);
        assert_eq!(locks.unlock(2), vec![3]);
        assert!(locks.unlock(3).is_empty());
        assert!(locks.unlock(4).is_empty());
        assert!(locks.is_idle());
    }
}
