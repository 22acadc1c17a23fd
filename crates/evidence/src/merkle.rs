//! The Merkle tree of RFC 6962 in tiles: what an appender must remember (its right edge), and
//! what a reader computes.

use crate::tile_path::{TILE_WIDTH, TileKind, TilePath};
use tlog_tiles::{EMPTY_HASH, HASH_SIZE, Hash, node_hash};

/// The hashes of every partial tile at the right edge, which is all that an append or a root
/// needs. At most 255 hashes for each of eight levels.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// Entries so far.
    size: u64,
    /// Per level, the hashes since the last full tile.
    levels: Vec<Vec<Hash>>,
}

/// A tile that has just become full.
#[derive(Clone, Debug)]
pub struct FullTile {
    /// Its coordinates.
    pub path: TilePath,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

// === impl Edge ===

impl Edge {
    /// The edge of a log of `size` entries, given the hashes of its partial tiles per level.
    pub fn new(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, levels }
    }

    /// Entries so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Hashes of the partial tile of `level`.
    pub fn hashes(&self, level: u8) -> &[Hash] {
        self.levels
            .get(usize::from(level))
            .map_or(&[], Vec::as_slice)
    }

    /// Adds one leaf; tiles that become full are added to `full`.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        let (mut hash, mut level) = (leaf, 0_u8);
        self.size += 1;
        loop {
            let depth = usize::from(level);
            if self.levels.len() <= depth {
                self.levels.resize_with(depth + 1, Vec::new);
            }
            let Some(hashes) = self.levels.get_mut(depth) else {
                return;
            };
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH as usize {
                return;
            }
            let hashes = std::mem::take(hashes);
            hash = root_of(&hashes);
            let index = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            let path = TilePath {
                kind: TileKind::Hashes(level),
                index,
                width: TILE_WIDTH,
            };
            full.push(FullTile { path, hashes });
            level += 1;
        }
    }

    /// The root hash of the log (RFC 6962, section 2.1).
    pub fn root(&self) -> Hash {
        // Perfect subtrees from the largest, leftmost to the smallest: the binary digits of the
        // size, which the widths of the partial tiles spell in base 256.
        let mut subtrees = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            for bit in (0..8).rev() {
                let width = 1 << bit;
                if hashes.len() & width == 0 {
                    continue;
                }
                let Some((subtree, after)) = rest.split_at_checked(width) else {
                    continue;
                };
                subtrees.push(root_of(subtree));
                rest = after;
            }
        }
        let Some(mut root) = subtrees.pop() else {
            return EMPTY_HASH;
        };
        while let Some(left) = subtrees.pop() {
            root = node_hash(left, root);
        }
        root
    }
}

/// The root of any number of neighbouring hashes (RFC 6962, section 2.1).
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => EMPTY_HASH,
        [hash] => *hash,
        _ => {
            let middle = hashes.len().next_power_of_two() / 2;
            match hashes.split_at_checked(middle) {
                Some((left, right)) => node_hash(root_of(left), root_of(right)),
                None => EMPTY_HASH,
            }
        }
    }
}

/// The bytes of a tile.
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile; `None` unless there are exactly `width` of them.
pub fn tile_hashes(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_SIZE>();
    let complete = rest.is_empty() && hashes.len() as u64 == width;
    complete.then(|| hashes.iter().map(|hash| Hash(*hash)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::record_hash;

    #[test]
    fn the_edge_has_the_root_of_the_definition() {
        let mut edge = Edge::default();
        let (mut leaves, mut full) = (Vec::new(), Vec::new());
        assert_eq!(edge.root(), EMPTY_HASH);
        for number in 0..66_000_u64 {
            let leaf = record_hash(&number.to_be_bytes());
            leaves.push(leaf);
            edge.push(leaf, &mut full);
            let size = number + 1;
            if size < 600 || size % 8191 == 0 || (65_500..65_600).contains(&size) {
                assert_eq!(edge.root(), root_of(&leaves), "size {size}");
            }
        }
        let paths: Vec<String> = full.iter().map(|tile| tile.path.to_string()).collect();
        assert_eq!(paths.first().map(String::as_str), Some("tile/0/000"));
        assert_eq!(
            paths.get(255..258),
            Some(
                &[
                    "tile/0/255".to_owned(),
                    "tile/1/000".to_owned(),
                    "tile/0/256".to_owned()
                ][..]
            )
        );
    }
}
