//! Blocks and ranges: the unit in which a copy knows what it holds.

/// Size of a block, the grain of the dirty bitmap, bytes.
pub const BLOCK_BYTES: u64 = 4096;

/// A run of blocks, `first..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blocks {
    /// First block.
    pub first: u64,
    /// One past the last block.
    pub end: u64,
}

impl Blocks {
    /// The blocks that `length_bytes` at `offset_bytes` touch, in part or whole.
    pub fn touched(offset_bytes: u64, length_bytes: u64) -> Self {
        Self {
            first: offset_bytes / BLOCK_BYTES,
            end: (offset_bytes + length_bytes).div_ceil(BLOCK_BYTES),
        }
    }

    /// The blocks that `length_bytes` at `offset_bytes` cover from edge to edge. The last block
    /// of a volume counts as covered when the range reaches `size_bytes`.
    pub fn covered(offset_bytes: u64, length_bytes: u64, size_bytes: u64) -> Self {
        let stop_bytes = offset_bytes + length_bytes;
        let first = offset_bytes.div_ceil(BLOCK_BYTES);
        let end = if stop_bytes >= size_bytes {
            size_bytes.div_ceil(BLOCK_BYTES)
        } else {
            stop_bytes / BLOCK_BYTES
        };
        Self {
            first,
            end: end.max(first),
        }
    }

    /// All blocks of a volume.
    pub fn of_volume(size_bytes: u64) -> Self {
        Self {
            first: 0,
            end: size_bytes.div_ceil(BLOCK_BYTES),
        }
    }

    /// Do both contain one block?
    pub fn overlaps(self, other: Self) -> bool {
        self.first < other.end && other.first < self.end
    }

    /// Number of blocks.
    pub fn count(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Is there no block in it?
    pub fn is_empty(self) -> bool {
        self.end <= self.first
    }

    /// Offset of the first byte.
    pub fn offset_bytes(self) -> u64 {
        self.first * BLOCK_BYTES
    }

    /// Length in bytes, cut at the end of a volume of `size_bytes`.
    pub fn length_bytes(self, size_bytes: u64) -> u64 {
        (self.end * BLOCK_BYTES)
            .min(size_bytes)
            .saturating_sub(self.offset_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_blocks_are_touched_but_not_covered() {
        assert_eq!(Blocks::touched(100, 4096), Blocks { first: 0, end: 2 });
        assert!(Blocks::covered(100, 4096, 1 << 20).is_empty());
        assert_eq!(
            Blocks::covered(4096, 8192, 1 << 20),
            Blocks { first: 1, end: 3 }
        );
    }

    #[test]
    fn short_last_block_is_covered_by_a_write_to_the_end() {
        assert_eq!(
            Blocks::covered(4096, 100, 4196),
            Blocks { first: 1, end: 2 }
        );
        assert_eq!(Blocks { first: 1, end: 2 }.length_bytes(4196), 100);
    }
}
