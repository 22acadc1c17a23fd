//! A log as it stood at one checkpoint, while its writer goes on.

use crate::bundle;
use crate::repair::is_staging;
use crate::tile_path::{CHECKPOINT_FILE, TILE_WIDTH, TileKind, TilePath, hash_count, tile_at};
use crate::tile_store::{Durability, StoreError, TileFile, TileStore};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tlog_tiles::HASH_SIZE;

/// Shows the files that belong to a log of `size` entries. A partial tile that the writer has
/// replaced since is cut out of its successor; what lies beyond is not evidence yet.
#[derive(Debug)]
pub(super) struct BesideWriter<'a, S> {
    pub(super) store: &'a S,
    pub(super) checkpoint: Vec<u8>,
    pub(super) size: u64,
}

// === impl BesideWriter ===

impl<S: TileStore> BesideWriter<'_, S> {
    /// The file as it was called when the log had `size` entries; `None` for one of later.
    fn name_then(&self, path: String) -> Option<String> {
        let Some(tile) = TilePath::parse(&path) else {
            return (!is_staging(&path)).then_some(path);
        };
        let end = tile
            .index
            .saturating_mul(TILE_WIDTH)
            .saturating_add(tile.width);
        if end <= hash_count(tile.level(), self.size) {
            return Some(path);
        }
        tile_at(tile.kind, tile.index, self.size).map(|then| then.to_string())
    }
}

impl<S: TileStore> TileStore for BesideWriter<'_, S> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if path == CHECKPOINT_FILE {
            return Ok(Some(self.checkpoint.clone()));
        }
        let Some(tile) = TilePath::parse(path) else {
            return self.store.read(path);
        };
        if tile_at(tile.kind, tile.index, self.size) != Some(tile) {
            return self.store.read(path);
        }
        for width in tile.width..=TILE_WIDTH {
            let wider = TilePath { width, ..tile };
            if let Some(bytes) = self.store.read(&wider.to_string())? {
                return Ok(Some(if width == tile.width {
                    bytes
                } else {
                    cut(bytes, tile)
                }));
            }
        }
        Ok(None)
    }

    fn write(&self, _files: &[TileFile]) -> Result<(), StoreError> {
        Err(read_only())
    }

    fn remove(&self, _paths: &[String], _durability: Durability) -> Result<(), StoreError> {
        Err(read_only())
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let paths = self.store.list()?.into_iter();
        let names: BTreeSet<String> = paths.filter_map(|path| self.name_then(path)).collect();
        Ok(names.into_iter().collect())
    }
}

/// The first hashes or entries of a wider tile.
fn cut(mut bytes: Vec<u8>, tile: TilePath) -> Vec<u8> {
    let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
    let end = match tile.kind {
        TileKind::Hashes(_) => width.saturating_mul(HASH_SIZE),
        TileKind::Entries => bundle::split(&bytes)
            .entries
            .iter()
            .take(width)
            .map(|entry| entry.len() + 2)
            .sum(),
    };
    bytes.truncate(end);
    bytes
}

fn read_only() -> StoreError {
    StoreError::ReadOnly {
        path: PathBuf::new(),
    }
}
