//! The tree twice over: as the tiles state it, and as the entries below give it.
//!
//! Where the two differ, the signed root tells which of them is right: it authenticates the
//! partial tiles at the right edge, and every authentic hash authenticates the tile below it.

use super::findings::Findings;
use super::problem::Problem;
use crate::bundle;
use crate::merkle::{Edge, root_of, tile_hashes};
use crate::tile_path::{
    LEVEL_COUNT, TILE_WIDTH, TileKind, TilePath, edge_tile, hash_count, tile_at,
};
use crate::tile_store::{StoreError, TileStore};
use tlog_tiles::{Hash, record_hash};

/// Stands for a hash that cannot be known; no SHA-256 input is known that gives it.
const UNKNOWN: Hash = Hash([0; 32]);

/// One tile, seen from both sides.
#[derive(Debug, Default)]
struct Tile {
    /// Root of what lies below; `None` when the bundle is missing.
    derived_root: Option<Hash>,
    /// Root of the tile's file; `None` when it is missing or malformed.
    stored_root: Option<Hash>,
    /// Hashes of both sides. At level 0 they are kept only when they differ.
    derived: Vec<Hash>,
    /// As `derived`.
    stored: Vec<Hash>,
    choice: Choice,
}

/// Which side of a tile the signed tree confirms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    Neither,
    Stored,
    Derived,
}

/// Every tile of a log.
#[derive(Debug)]
pub(super) struct Survey {
    size: u64,
    levels: Vec<Vec<Tile>>,
    pub(super) bundle_count: u64,
    pub(super) tile_count: u64,
}

// === impl Tile ===

impl Tile {
    fn agrees(&self) -> bool {
        match (self.stored_root, self.derived_root) {
            (Some(stored), Some(derived)) => stored == derived,
            _ => true,
        }
    }

    /// The hashes that are right, or at least stated. Empty at level 0 where both sides agree.
    fn hashes(&self) -> &[Hash] {
        let stored = matches!(self.choice, Choice::Stored) || self.derived.is_empty();
        if stored && !self.stored.is_empty() {
            &self.stored
        } else {
            &self.derived
        }
    }

    fn confirm(&mut self, expected: Option<Hash>) {
        self.choice = match expected {
            Some(root) if self.stored_root == Some(root) => Choice::Stored,
            Some(root) if self.derived_root == Some(root) => Choice::Derived,
            _ => Choice::Neither,
        };
    }
}

// === impl Survey ===

impl Survey {
    /// Reads every bundle and every tile of a log of `size` entries.
    pub(super) fn read(
        store: &impl TileStore,
        size: u64,
        findings: &mut Findings,
    ) -> Result<Self, StoreError> {
        let mut survey = Self {
            size,
            levels: Vec::new(),
            bundle_count: 0,
            tile_count: 0,
        };
        for level in 0..LEVEL_COUNT {
            let mut tiles = Vec::new();
            let kind = TileKind::Hashes(level);
            while let Some(path) = tile_at(kind, tiles.len() as u64, size) {
                let derived = match level {
                    0 => survey.read_leaves(
                        store,
                        TilePath {
                            kind: TileKind::Entries,
                            ..path
                        },
                        findings,
                    )?,
                    _ => Some(survey.roots_below(path)),
                };
                let stored = read_hashes(store, path, findings)?;
                survey.tile_count += u64::from(stored.is_some());
                let mut tile = Tile {
                    derived_root: derived.as_deref().map(root_of),
                    stored_root: stored.as_deref().map(root_of),
                    ..Tile::default()
                };
                let differ = derived.is_some() && stored.is_some() && derived != stored;
                let edge = path.width < TILE_WIDTH;
                if level > 0 || differ || edge {
                    tile.derived = derived.unwrap_or_default();
                    tile.stored = stored.unwrap_or_default();
                }
                tiles.push(tile);
            }
            survey.levels.push(tiles);
        }
        Ok(survey)
    }

    /// Decides for every tile which side the signed root confirms. Returns whether it confirms
    /// any right edge at all; without a root, nothing is confirmed.
    pub(super) fn authenticate(&mut self, root: Option<Hash>) -> bool {
        let edge = root.and_then(|root| self.confirmed_edge(root));
        let found = edge.is_some() || self.size == 0;
        for level in (0..LEVEL_COUNT).rev() {
            let count = hash_count(level, self.size);
            let roots: Vec<Option<Hash>> = (0..count.div_ceil(TILE_WIDTH))
                .map(|index| match (&edge, (index + 1) * TILE_WIDTH <= count) {
                    (Some(_), true) => self.confirmed_hash(level + 1, index),
                    (Some(levels), false) => {
                        levels.get(usize::from(level)).map(|hashes| root_of(hashes))
                    }
                    (None, _) => None,
                })
                .collect();
            for (tile, root) in self.tiles_mut(level).iter_mut().zip(roots) {
                tile.confirm(root);
            }
        }
        found
    }

    /// Names what differs from the confirmed side, or from the other side where neither is
    /// confirmed.
    pub(super) fn report(
        &self,
        store: &impl TileStore,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        for (level, tiles) in (0..LEVEL_COUNT).zip(&self.levels) {
            for (index, tile) in (0_u64..).zip(tiles) {
                let Some(path) = tile_at(TileKind::Hashes(level), index, self.size) else {
                    continue;
                };
                let expected_above = self.parent_is_confirmed(level, index);
                match tile.choice {
                    Choice::Derived if !tile.agrees() => {
                        findings.add(Problem::TileAltered {
                            file: path.to_string(),
                        });
                    }
                    Choice::Stored if !tile.agrees() && level == 0 => {
                        self.report_entries(store, path, tile, findings)?;
                    }
                    Choice::Neither if !tile.agrees() => {
                        findings.add(Problem::TileAltered {
                            file: path.to_string(),
                        });
                        if level == 0 {
                            self.report_entries(store, path, tile, findings)?;
                        }
                    }
                    Choice::Neither if expected_above && tile.derived_root.is_some() => {
                        let span = 1_u64 << (8 * u32::from(level));
                        let first = path.first_entry();
                        let last = first.saturating_add(path.width.saturating_mul(span)) - 1;
                        findings.add(Problem::RangeRewritten {
                            file: path.to_string(),
                            first,
                            last,
                        });
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Root hash of the first `size` entries, as confirmed or at least stated.
    pub(super) fn root_at(&self, store: &impl TileStore, size: u64) -> Result<Hash, StoreError> {
        let mut levels = Vec::new();
        for level in 0..LEVEL_COUNT {
            levels.push(match edge_tile(TileKind::Hashes(level), size) {
                Some(tile) => self.hashes_of(store, tile)?,
                None => Vec::new(),
            });
        }
        Ok(Edge::new(size, levels).root())
    }

    /// The first hashes of a tile, as many as `tile` is wide, confirmed or at least stated.
    pub(super) fn hashes_of(
        &self,
        store: &impl TileStore,
        tile: TilePath,
    ) -> Result<Vec<Hash>, StoreError> {
        let mut hashes = self
            .tile(tile.level(), tile.index)
            .map(Tile::hashes)
            .unwrap_or_default()
            .to_vec();
        if hashes.is_empty() {
            // Level 0, where both sides agree or one of them is missing.
            let mut ignored = Findings::default();
            let kind = TileKind::Hashes(tile.level());
            let current = tile_at(kind, tile.index, self.size).unwrap_or(tile);
            hashes = match read_hashes(store, current, &mut ignored)? {
                Some(hashes) => hashes,
                None => read_leaves(
                    store,
                    TilePath {
                        kind: TileKind::Entries,
                        ..current
                    },
                    &mut ignored,
                )?
                .unwrap_or_default(),
            };
        }
        hashes.resize(usize::try_from(tile.width).unwrap_or_default(), UNKNOWN);
        Ok(hashes)
    }

    fn read_leaves(
        &mut self,
        store: &impl TileStore,
        path: TilePath,
        findings: &mut Findings,
    ) -> Result<Option<Vec<Hash>>, StoreError> {
        let leaves = read_leaves(store, path, findings)?;
        self.bundle_count += u64::from(leaves.is_some());
        Ok(leaves)
    }

    /// Hashes of a tile above level 0, from the tiles below it.
    fn roots_below(&self, path: TilePath) -> Vec<Hash> {
        let first = path.index * TILE_WIDTH;
        (first..first + path.width)
            .map(|index| {
                let below = self.tile(path.level() - 1, index);
                below
                    .and_then(|tile| tile.derived_root.or(tile.stored_root))
                    .unwrap_or(UNKNOWN)
            })
            .collect()
    }

    /// The hashes of the right edge, per level from one side or the other, that give `root`.
    fn confirmed_edge(&self, root: Hash) -> Option<Vec<Vec<Hash>>> {
        let nothing = Vec::new();
        let sides: Vec<[&Vec<Hash>; 2]> = (0..LEVEL_COUNT)
            .map(|level| {
                let edge = edge_tile(TileKind::Hashes(level), self.size);
                let tile = edge.and_then(|edge| self.tile(level, edge.index));
                match tile {
                    Some(tile) if tile.stored.is_empty() => [&tile.derived, &tile.derived],
                    Some(tile) if tile.derived.is_empty() => [&tile.stored, &tile.stored],
                    Some(tile) => [&tile.derived, &tile.stored],
                    None => [&nothing, &nothing],
                }
            })
            .collect();
        let differing: Vec<usize> = (0..)
            .zip(&sides)
            .filter(|(_, [a, b])| a != b)
            .map(|(level, _)| level)
            .collect();
        // At most 2^8 combinations: one bit for each level on which the sides differ.
        (0_u32..1 << differing.len()).find_map(|mask| {
            let levels: Vec<Vec<Hash>> = (0..)
                .zip(&sides)
                .map(|(level, [derived, stored])| {
                    let bit = differing.iter().position(|differs| *differs == level);
                    let take_stored = bit.is_some_and(|bit| mask >> bit & 1 == 1);
                    if take_stored {
                        stored.to_vec()
                    } else {
                        derived.to_vec()
                    }
                })
                .collect();
            (Edge::new(self.size, levels.clone()).root() == root).then_some(levels)
        })
    }

    fn confirmed_hash(&self, level: u8, position: u64) -> Option<Hash> {
        let tile = self.tile(level, position / TILE_WIDTH)?;
        if tile.choice == Choice::Neither {
            return None;
        }
        let within = usize::try_from(position % TILE_WIDTH).ok()?;
        tile.hashes().get(within).copied()
    }

    /// Whether the signed tree says what the root of this tile must be.
    fn parent_is_confirmed(&self, level: u8, index: u64) -> bool {
        self.confirmed_hash(level + 1, index).is_some()
    }

    fn report_entries(
        &self,
        store: &impl TileStore,
        path: TilePath,
        tile: &Tile,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let bundle_path = TilePath {
            kind: TileKind::Entries,
            ..path
        };
        let bytes = store.read(&bundle_path.to_string())?.unwrap_or_default();
        let bundle = bundle::split(&bytes);
        let malformed = is_malformed(&bundle, path.width);
        for (place, (derived, stored)) in tile.derived.iter().zip(&tile.stored).enumerate() {
            if derived == stored {
                continue;
            }
            let record_id = bundle.entries.get(place).and_then(|entry| id_of(entry));
            let file = bundle_path.to_string();
            let index = path.first_entry() + place as u64;
            findings.add(Problem::EntryAltered {
                index,
                file,
                record_id,
            });
            if malformed {
                // A damaged length shifts every later entry: only the first is known.
                break;
            }
        }
        Ok(())
    }

    fn tile(&self, level: u8, index: u64) -> Option<&Tile> {
        self.levels
            .get(usize::from(level))?
            .get(usize::try_from(index).ok()?)
    }

    fn tiles_mut(&mut self, level: u8) -> &mut [Tile] {
        self.levels
            .get_mut(usize::from(level))
            .map(Vec::as_mut_slice)
            .unwrap_or_default()
    }
}

/// Leaf hashes of a bundle; hashes of entries that cannot be read are [`UNKNOWN`].
pub(super) fn read_leaves(
    store: &impl TileStore,
    path: TilePath,
    findings: &mut Findings,
) -> Result<Option<Vec<Hash>>, StoreError> {
    let Some(bytes) = store.read(&path.to_string())? else {
        findings.add(Problem::FileMissing {
            file: path.to_string(),
        });
        return Ok(None);
    };
    let bundle = bundle::split(&bytes);
    if is_malformed(&bundle, path.width) {
        findings.add(Problem::FileMalformed {
            file: path.to_string(),
        });
    }
    let mut leaves: Vec<Hash> = bundle
        .entries
        .iter()
        .map(|entry| record_hash(entry))
        .collect();
    leaves.resize(usize::try_from(path.width).unwrap_or_default(), UNKNOWN);
    Ok(Some(leaves))
}

/// Hashes of a tile's file, if it is there and has the right length.
pub(super) fn read_hashes(
    store: &impl TileStore,
    path: TilePath,
    findings: &mut Findings,
) -> Result<Option<Vec<Hash>>, StoreError> {
    let Some(bytes) = store.read(&path.to_string())? else {
        findings.add(Problem::FileMissing {
            file: path.to_string(),
        });
        return Ok(None);
    };
    let hashes = tile_hashes(&bytes, path.width);
    if hashes.is_none() {
        findings.add(Problem::FileMalformed {
            file: path.to_string(),
        });
    }
    Ok(hashes)
}

fn is_malformed(bundle: &bundle::Bundle<'_>, width: u64) -> bool {
    bundle.rest_bytes > 0 || bundle.entries.len() as u64 != width
}

fn id_of(entry: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(entry).ok()?;
    Some(value.get("id")?.as_str()?.to_owned())
}
