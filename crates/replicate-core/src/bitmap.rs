//! Bitmaps over blocks: the exact one that outlives the process, and sparse ones in memory.

use crate::block::Blocks;

const WORD_BITS: u64 = 64;

/// Number of 64-bit words that a bitmap over `blocks` blocks needs.
pub fn words_for(blocks: u64) -> usize {
    usize::try_from(blocks.div_ceil(WORD_BITS)).unwrap_or(usize::MAX)
}

/// Calls `each(word index, mask)` for every word that `blocks` touches.
fn for_each_word(blocks: Blocks, mut each: impl FnMut(usize, u64)) {
    let mut at = blocks.first;
    while at < blocks.end {
        let bit = at % WORD_BITS;
        let take = (WORD_BITS - bit).min(blocks.end - at);
        let mask = if take == WORD_BITS {
            u64::MAX
        } else {
            ((1 << take) - 1) << bit
        };
        if let Ok(index) = usize::try_from(at / WORD_BITS) {
            each(index, mask);
        }
        at += take;
    }
}

/// The dirty bitmap: one bit for each block that the other copy may lack. Its words live where
/// the caller puts them: a shared file mapping in production, so that they outlive the process.
#[derive(Debug)]
pub struct DirtyBitmap<W> {
    words: W,
    blocks: u64,
    count: u64,
}

impl<W: AsRef<[u64]> + AsMut<[u64]>> DirtyBitmap<W> {
    /// Wraps `words`, which hold the state of before (all zero when new) for a volume of
    /// `blocks` blocks.
    ///
    /// Returns `None` when there are fewer words than the volume needs.
    pub fn new(mut words: W, blocks: u64) -> Option<Self> {
        let needed = words_for(blocks);
        let present = words.as_mut().get_mut(..needed)?;
        let tail_bits = blocks % WORD_BITS;
        if tail_bits != 0
            && let Some(last) = present.last_mut()
        {
            *last &= (1 << tail_bits) - 1;
        }
        let count = present
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
        Some(Self {
            words,
            blocks,
            count,
        })
    }

    /// Marks all of `blocks`.
    pub fn set(&mut self, blocks: Blocks) {
        let words = self.words.as_mut();
        let mut added = 0;
        for_each_word(clip(blocks, self.blocks), |index, mask| {
            if let Some(word) = words.get_mut(index) {
                added += u64::from((mask & !*word).count_ones());
                *word |= mask;
            }
        });
        self.count += added;
    }

    /// Clears all of `blocks`.
    pub fn clear(&mut self, blocks: Blocks) {
        if self.count == 0 {
            return;
        }
        let words = self.words.as_mut();
        let mut removed = 0;
        for_each_word(clip(blocks, self.blocks), |index, mask| {
            if let Some(word) = words.get_mut(index) {
                removed += u64::from((mask & *word).count_ones());
                *word &= !mask;
            }
        });
        self.count -= removed;
    }

    /// Is this block marked?
    pub fn contains(&self, block: u64) -> bool {
        usize::try_from(block / WORD_BITS)
            .ok()
            .and_then(|index| self.words.as_ref().get(index))
            .is_some_and(|word| word & (1 << (block % WORD_BITS)) != 0)
    }

    /// Number of marked blocks.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Copies every mark into `other`.
    pub fn copy_into(&self, other: &mut SparseBitmap) {
        for (index, word) in self.words.as_ref().iter().enumerate() {
            if *word != 0 {
                other.or_word(index, *word);
            }
        }
    }

    /// The words, for the driver that must make them durable.
    pub fn words(&self) -> &W {
        &self.words
    }
}

fn clip(blocks: Blocks, limit: u64) -> Blocks {
    Blocks {
        first: blocks.first.min(limit),
        end: blocks.end.min(limit),
    }
}

const LEAF_WORDS: usize = 512;
const LEAF_BITS: u64 = LEAF_WORDS as u64 * WORD_BITS;

#[derive(Clone, Debug)]
struct Leaf {
    words: [u64; LEAF_WORDS],
    count: u32,
}

/// A bitmap that takes memory only where bits are set: 4 KiB for each 128 MiB of volume touched.
#[derive(Clone, Debug, Default)]
pub struct SparseBitmap {
    leaves: Vec<Option<Box<Leaf>>>,
    count: u64,
}

impl SparseBitmap {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of set bits.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Is no bit set?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Clears everything and gives the memory back.
    pub fn clear_all(&mut self) {
        self.leaves.clear();
        self.count = 0;
    }

    fn leaf_mut(&mut self, leaf_index: usize) -> Option<&mut Box<Leaf>> {
        if self.leaves.len() <= leaf_index {
            self.leaves.resize(leaf_index + 1, None);
        }
        let slot = self.leaves.get_mut(leaf_index)?;
        Some(slot.get_or_insert_with(|| {
            Box::new(Leaf {
                words: [0; LEAF_WORDS],
                count: 0,
            })
        }))
    }

    fn or_word(&mut self, word_index: usize, mask: u64) {
        let Some(leaf) = self.leaf_mut(word_index / LEAF_WORDS) else {
            return;
        };
        let Some(word) = leaf.words.get_mut(word_index % LEAF_WORDS) else {
            return;
        };
        let added = (mask & !*word).count_ones();
        *word |= mask;
        leaf.count += added;
        self.count += u64::from(added);
    }

    /// Sets all of `blocks`.
    pub fn set(&mut self, blocks: Blocks) {
        for_each_word(blocks, |index, mask| self.or_word(index, mask));
    }

    /// Clears all of `blocks`.
    pub fn clear(&mut self, blocks: Blocks) {
        for_each_word(blocks, |index, mask| {
            let Some(slot) = self.leaves.get_mut(index / LEAF_WORDS) else {
                return;
            };
            let Some(leaf) = slot else { return };
            let Some(word) = leaf.words.get_mut(index % LEAF_WORDS) else {
                return;
            };
            let removed = (mask & *word).count_ones();
            *word &= !mask;
            leaf.count -= removed;
            self.count -= u64::from(removed);
            if leaf.count == 0 {
                *slot = None;
            }
        });
    }

    /// Is this block set?
    pub fn contains(&self, block: u64) -> bool {
        self.word(block / WORD_BITS) & (1 << (block % WORD_BITS)) != 0
    }

    fn word(&self, word_index: u64) -> u64 {
        let Ok(index) = usize::try_from(word_index) else {
            return 0;
        };
        match self.leaves.get(index / LEAF_WORDS) {
            Some(Some(leaf)) => leaf.words.get(index % LEAF_WORDS).copied().unwrap_or(0),
            _ => 0,
        }
    }

    /// The first set block at or after `from`.
    pub fn next_set(&self, from: u64) -> Option<u64> {
        let limit = self.leaves.len() as u64 * LEAF_BITS;
        let mut at = from;
        while at < limit {
            let leaf_index = usize::try_from(at / LEAF_BITS).ok()?;
            if !matches!(self.leaves.get(leaf_index), Some(Some(_))) {
                at = (at / LEAF_BITS + 1) * LEAF_BITS;
                continue;
            }
            let rest = self.word(at / WORD_BITS) >> (at % WORD_BITS);
            if rest != 0 {
                return Some(at + u64::from(rest.trailing_zeros()));
            }
            at = (at / WORD_BITS + 1) * WORD_BITS;
        }
        None
    }

    /// The first run of set blocks at or after `from`, at most `blocks_max` long.
    pub fn next_run(&self, from: u64, blocks_max: u64) -> Option<Blocks> {
        let first = self.next_set(from)?;
        let mut end = first + 1;
        while end - first < blocks_max && self.contains(end) {
            end += 1;
        }
        Some(Blocks { first, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn both_bitmaps_agree_with_a_set(
            steps in proptest::collection::vec((any::<bool>(), 0u64..70_000, 1u64..400), 1..60)
        ) {
            let limit = 70_400;
            let mut model = BTreeSet::new();
            let mut dirty = DirtyBitmap::new(vec![0u64; words_for(limit)], limit).unwrap();
            let mut sparse = SparseBitmap::new();
            for (set, first, count) in steps {
                let blocks = Blocks { first, end: first + count };
                if set {
                    model.extend(blocks.first..blocks.end);
                    dirty.set(blocks);
                    sparse.set(blocks);
                } else {
                    for block in blocks.first..blocks.end {
                        model.remove(&block);
                    }
                    dirty.clear(blocks);
                    sparse.clear(blocks);
                }
            }
            prop_assert_eq!(dirty.count(), model.len() as u64);
            prop_assert_eq!(sparse.count(), model.len() as u64);
            let mut walked = BTreeSet::new();
            let mut at = 0;
            while let Some(run) = sparse.next_run(at, 37) {
                prop_assert!(run.count() <= 37);
                walked.extend(run.first..run.end);
                at = run.end;
            }
            prop_assert_eq!(&walked, &model);
            let mut copied = SparseBitmap::new();
            dirty.copy_into(&mut copied);
            prop_assert!(model.iter().all(|block| copied.contains(*block) && dirty.contains(*block)));
            prop_assert_eq!(copied.count(), model.len() as u64);
        }
    }

    #[test]
    fn too_few_words_are_refused() {
        assert!(DirtyBitmap::new(vec![0u64; 1], 65).is_none());
    }
}
