//! What opening a ledger does about a crash: it keeps everything that the checkpoint covers and
//! removes everything that it does not.

use crate::bundle;
use crate::checkpoint::SignedCheckpoint;
use crate::ledger::LedgerError;
use crate::merkle::{Edge, tile_hashes};
use crate::tile_path::{
    CHECKPOINT_FILE, LEVEL_COUNT, PUBLIC_KEY_FILE, TileKind, TilePath, edge_tile, hash_count,
    tile_at,
};
use crate::tile_store::{Durability, TileStore};
use serde::Serialize;
use std::collections::HashSet;
use tlog_tiles::record_hash;

/// What was done when a ledger was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Files of an append that a crash cut short before it was acknowledged: removed.
    pub unacknowledged: Vec<String>,
    /// Partial tiles that a wider one had replaced: removed.
    pub superseded: Vec<String>,
    /// Files that do not belong to a ledger: left alone, and reported by verification.
    pub foreign: Vec<String>,
}

// === impl Repair ===

impl Repair {
    /// Nothing had to be done.
    pub fn is_clean(&self) -> bool {
        self.unacknowledged.is_empty() && self.superseded.is_empty() && self.foreign.is_empty()
    }
}

/// Whether a path is that of a file not yet in its place.
pub(crate) fn is_staging(path: &str) -> bool {
    path.starts_with(".staging/")
}

/// Reads the partial tiles and the partial bundle, and checks them against the signed root.
pub(crate) fn load_edge(
    store: &impl TileStore,
    checkpoint: &SignedCheckpoint,
) -> Result<(Edge, Vec<u8>), LedgerError> {
    let mut levels = Vec::new();
    for level in 0..LEVEL_COUNT {
        let Some(tile) = edge_tile(TileKind::Hashes(level), checkpoint.size) else {
            levels.push(Vec::new());
            continue;
        };
        let hashes = tile_hashes(&read(store, tile)?, tile.width);
        levels.push(hashes.ok_or_else(|| damaged(tile, "its length is wrong"))?);
    }
    let edge = Edge::new(checkpoint.size, levels);
    if edge.root() != checkpoint.root {
        let reason = "the tiles do not give the root that it signs".to_owned();
        return Err(LedgerError::Damaged {
            path: CHECKPOINT_FILE.to_owned(),
            reason,
        });
    }
    let Some(tile) = edge_tile(TileKind::Entries, checkpoint.size) else {
        return Ok((edge, Vec::new()));
    };
    let bytes = read(store, tile)?;
    let bundle = bundle::split(&bytes);
    let leaves = bundle.entries.iter().map(|entry| record_hash(entry));
    if bundle.rest_bytes > 0 || !leaves.eq(edge.hashes(0).iter().copied()) {
        return Err(damaged(
            tile,
            "its entries do not have the hashes that were signed",
        ));
    }
    Ok((edge, bytes))
}

/// Removes what is beyond a log of `size` entries, durably: a later append of the same width
/// must not find an old tile in its place after a power loss.
pub(crate) fn remove_unacknowledged(
    store: &impl TileStore,
    size: u64,
) -> Result<Repair, LedgerError> {
    let paths = store.list()?;
    let present: HashSet<&str> = paths.iter().map(String::as_str).collect();
    let mut repair = Repair::default();
    for path in &paths {
        if path == CHECKPOINT_FILE || path == PUBLIC_KEY_FILE {
            continue;
        }
        let Some(tile) = TilePath::parse(path) else {
            let list = if is_staging(path) {
                &mut repair.unacknowledged
            } else {
                &mut repair.foreign
            };
            list.push(path.clone());
            continue;
        };
        let end = tile.index.saturating_mul(256).saturating_add(tile.width);
        match tile_at(tile.kind, tile.index, size) {
            Some(current) if current == tile => {}
            Some(current) if end <= hash_count(tile.level(), size) => {
                if present.contains(current.to_string().as_str()) {
                    repair.superseded.push(path.clone());
                }
            }
            _ => repair.unacknowledged.push(path.clone()),
        }
    }
    let removed: Vec<String> = repair
        .unacknowledged
        .iter()
        .chain(&repair.superseded)
        .cloned()
        .collect();
    store.remove(&removed, Durability::Now)?;
    Ok(repair)
}

fn read(store: &impl TileStore, tile: TilePath) -> Result<Vec<u8>, LedgerError> {
    store
        .read(&tile.to_string())?
        .ok_or_else(|| damaged(tile, "missing"))
}

fn damaged(tile: TilePath, reason: &str) -> LedgerError {
    LedgerError::Damaged {
        path: tile.to_string(),
        reason: reason.to_owned(),
    }
}
