//! Reading a log: one entry, a range of them, and the hashes that proofs are made of.

use crate::bundle;
use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::key::VerifierKey;
use crate::merkle::tile_hashes;
use crate::proof::{ConsistencyProof, InclusionProof, ProofError};
use crate::record::{Record, RecordError};
use crate::tile_path::{CHECKPOINT_FILE, TILE_WIDTH, TileKind, TilePath, tile_at};
use crate::tile_store::{StoreError, TileStore};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use tlog_tiles::{HASH_SIZE, Hash, HashReader, Tile};

/// Height of a tile in levels of the tree: 2^8 hashes.
const TILE_HEIGHT: u8 = 8;

/// Most records that one call returns.
pub const RECORDS_MAX: u64 = 1 << 20;

/// A log, read up to one signed checkpoint. It needs no lock and works beside a writer.
#[derive(Debug)]
pub struct Reader<S> {
    store: S,
    checkpoint: SignedCheckpoint,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The files cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no checkpoint: not a log, or one whose making was cut short.
    #[error("there is no ledger here: no file `{CHECKPOINT_FILE}`")]
    NoLedger,
    /// The checkpoint was not signed by the log's key.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A file that the checkpoint covers is missing or malformed.
    #[error("{path} is {reason}: run `yundu ledger verify` to see everything that was altered")]
    Damaged {
        /// The file.
        path: String,
        /// Missing or malformed.
        reason: &'static str,
    },
    /// No such entry.
    #[error("there is no entry {index}: the ledger has {size}, counted from 0")]
    NoEntry {
        /// The index asked for.
        index: u64,
        /// Entries in the log.
        size: u64,
    },
    /// Too many entries at once.
    #[error("{count} entries at once: ask for at most {RECORDS_MAX}")]
    TooMany {
        /// Entries asked for.
        count: u64,
    },
    /// The entry is not a record.
    #[error("entry {index}: {source}")]
    Record {
        /// The entry.
        index: u64,
        /// What is wrong.
        source: RecordError,
    },
    /// A proof cannot be made from these files.
    #[error("no proof can be made: {0}: run `yundu ledger verify` to see what was altered")]
    Proof(#[from] ProofError),
}

// === impl Reader ===

impl<S: TileStore> Reader<S> {
    /// Opens a log at its present checkpoint.
    ///
    /// # Errors
    ///
    /// No checkpoint, or one that `key` did not sign.
    pub fn open(store: S, key: &VerifierKey) -> Result<Self, ReadError> {
        let bytes = store.read(CHECKPOINT_FILE)?.ok_or(ReadError::NoLedger)?;
        let checkpoint = SignedCheckpoint::parse(&bytes, key)?;
        Ok(Self { store, checkpoint })
    }

    pub(crate) fn at(store: S, checkpoint: SignedCheckpoint) -> Self {
        Self { store, checkpoint }
    }

    /// The checkpoint up to which this reads.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Entries in the log.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The bytes of entries `range`; an end beyond the log means its end.
    ///
    /// # Errors
    ///
    /// More than [`RECORDS_MAX`] entries, or a bundle that is missing or malformed.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, ReadError> {
        let end = range.end.min(self.size());
        let count = end.saturating_sub(range.start);
        if count > RECORDS_MAX {
            return Err(ReadError::TooMany { count });
        }
        let mut entries = Vec::new();
        let mut next = range.start;
        while next < end {
            let first = next - next % TILE_WIDTH;
            let (tile, bytes) = read_tile(
                &self.store,
                TileKind::Entries,
                next / TILE_WIDTH,
                self.size(),
            )?;
            let bundle = bundle::split(&bytes);
            let until = end.min(first + TILE_WIDTH);
            for index in next..until {
                let entry = usize::try_from(index - first)
                    .ok()
                    .and_then(|i| bundle.entries.get(i));
                let path = || tile.to_string();
                let entry = entry.ok_or_else(|| ReadError::Damaged {
                    path: path(),
                    reason: "malformed",
                })?;
                entries.push(entry.to_vec());
            }
            next = until;
        }
        Ok(entries)
    }

    /// The bytes of one entry.
    ///
    /// # Errors
    ///
    /// As [`Reader::entries`], and when there is no such entry.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, ReadError> {
        let no_entry = || ReadError::NoEntry {
            index,
            size: self.size(),
        };
        let end = index.checked_add(1).ok_or_else(no_entry)?;
        self.entries(index..end)?.pop().ok_or_else(no_entry)
    }

    /// One record.
    ///
    /// # Errors
    ///
    /// As [`Reader::entry`], and when the entry is not a record.
    pub fn record(&self, index: u64) -> Result<Record, ReadError> {
        Record::from_bytes(&self.entry(index)?)
            .map_err(|source| ReadError::Record { index, source })
    }

    /// Records of a range; an end beyond the log means its end.
    ///
    /// # Errors
    ///
    /// As [`Reader::entries`], and when an entry is not a record.
    pub fn records(&self, range: Range<u64>) -> Result<Vec<Record>, ReadError> {
        let first = range.start;
        (first..)
            .zip(self.entries(range)?)
            .map(|(index, entry)| {
                Record::from_bytes(&entry).map_err(|source| ReadError::Record { index, source })
            })
            .collect()
    }

    /// Proof that entry `index` is in the log of this checkpoint.
    ///
    /// # Errors
    ///
    /// No such entry, or files that do not give the signed root.
    pub fn prove(&self, index: u64) -> Result<InclusionProof, ReadError> {
        let record = self.record(index)?;
        let hashes = TileHashes::new(&self.store, self.size());
        let path = tlog_tiles::prove_record(self.size(), index, &hashes);
        let path = hashes.finish(path)?;
        Ok(InclusionProof::try_new(
            record,
            index,
            &self.checkpoint,
            &path,
        )?)
    }

    /// Proof that the log of this checkpoint begins with its first `old_size` entries.
    ///
    /// # Errors
    ///
    /// An `old_size` of 0 or beyond the log, or files that do not give the signed root.
    pub fn prove_consistency(&self, old_size: u64) -> Result<ConsistencyProof, ReadError> {
        if old_size == 0 || old_size > self.size() {
            return Err(ReadError::NoEntry {
                index: old_size,
                size: self.size(),
            });
        }
        let hashes = TileHashes::new(&self.store, self.size());
        let path = tlog_tiles::prove_tree(self.size(), old_size, &hashes);
        let path = hashes.finish(path)?;
        Ok(ConsistencyProof::new(old_size, &self.checkpoint, &path))
    }
}

/// Reads the tile at `index` as a log of `size` entries has it. A writer may have replaced a
/// partial tile by a wider one in the meantime: its beginning is the same.
fn read_tile(
    store: &impl TileStore,
    kind: TileKind,
    index: u64,
    size: u64,
) -> Result<(TilePath, Vec<u8>), ReadError> {
    let needed = tile_at(kind, index, size).ok_or(ReadError::NoEntry { index, size })?;
    for width in needed.width..=TILE_WIDTH {
        let tile = TilePath { width, ..needed };
        if let Some(bytes) = store.read(&tile.to_string())? {
            return Ok((tile, bytes));
        }
    }
    Err(ReadError::Damaged {
        path: needed.to_string(),
        reason: "missing",
    })
}

fn malformed(tile: TilePath) -> ReadError {
    ReadError::Damaged {
        path: tile.to_string(),
        reason: "malformed",
    }
}

/// Serves hashes of the tree to the proof algorithms, out of tiles.
struct TileHashes<'a, S> {
    store: &'a S,
    size: u64,
    tiles: RefCell<HashMap<(u8, u64), Vec<u8>>>,
    failure: RefCell<Option<ReadError>>,
}

impl<'a, S: TileStore> TileHashes<'a, S> {
    fn new(store: &'a S, size: u64) -> Self {
        Self {
            store,
            size,
            tiles: RefCell::default(),
            failure: RefCell::default(),
        }
    }

    fn hash(&self, stored_index: u64) -> Result<Hash, ReadError> {
        let wanted = Tile::from_index(TILE_HEIGHT, stored_index);
        let (level, index) = (wanted.level(), wanted.level_index());
        let mut tiles = self.tiles.borrow_mut();
        let kind = TileKind::Hashes(level);
        let absent = ReadError::NoEntry {
            index,
            size: self.size,
        };
        let needed = tile_at(kind, index, self.size).ok_or(absent)?;
        let bytes = match tiles.entry((level, index)) {
            Entry::Occupied(tile) => tile.into_mut(),
            Entry::Vacant(place) => {
                let (tile, bytes) = read_tile(self.store, kind, index, self.size)?;
                if tile_hashes(&bytes, tile.width).is_none() {
                    return Err(malformed(tile));
                }
                place.insert(bytes)
            }
        };
        let width = u32::try_from(bytes.len() / HASH_SIZE).map_err(|_| malformed(needed))?;
        Tile::new(TILE_HEIGHT, level, index, width, false)
            .hash_at_index(bytes, stored_index)
            .map_err(|_| malformed(needed))
    }

    /// Prefers our own error, which names the file, to the algorithm's.
    fn finish<T>(self, result: Result<T, tlog_tiles::Error>) -> Result<T, ReadError> {
        match (self.failure.into_inner(), result) {
            (Some(failure), _) => Err(failure),
            (None, Ok(value)) => Ok(value),
            (None, Err(error)) => Err(ProofError::Tree(error.to_string()).into()),
        }
    }
}

impl<S: TileStore> HashReader for TileHashes<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        indexes
            .iter()
            .map(|index| {
                self.hash(*index).map_err(|failure| {
                    self.failure.replace(Some(failure));
                    tlog_tiles::Error::IndexesNotInTree
                })
            })
            .collect()
    }
}
