//! The ledger as its one writer sees it.
//!
//! An append writes the new bundles and tiles, waits until they are durable, and then replaces
//! the checkpoint. The checkpoint is the commit: what it does not cover was never acknowledged,
//! and what it covers was durable before. Superseded partial tiles go last.

use crate::bundle;
use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::key::{LogKey, VerifierKey};
use crate::merkle::{Edge, tile_bytes};
use crate::proof::{ConsistencyProof, InclusionProof};
use crate::reader::{ReadError, Reader};
use crate::record::{Record, RecordError};
use crate::repair::{self, Repair};
use crate::tile_path::{
    CHECKPOINT_FILE, PUBLIC_KEY_FILE, TILE_WIDTH, TileKind, TilePath, edge_tile, kinds,
};
use crate::tile_store::{Durability, StoreError, TileFile, TileStore};
use std::collections::HashSet;
use std::ops::Range;
use tlog_tiles::record_hash;

/// Most records that one append takes: bounds its memory to 1 GiB at the very worst.
pub const BATCH_RECORDS_MAX: usize = 16_384;

/// The evidence ledger, open for appending.
#[derive(Debug)]
pub struct Ledger<S> {
    store: S,
    key: LogKey,
    checkpoint: SignedCheckpoint,
    /// Hashes of the partial tiles.
    edge: Edge,
    /// Bytes of the partial bundle.
    bundle: Vec<u8>,
    /// A write failed: what is on disk is known again only after [`Ledger::open`].
    poisoned: bool,
}

/// Why a ledger cannot be made, opened or appended to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The files cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoint cannot be signed.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// There is a ledger, or something else, where one should be made.
    #[error("`{path}` exists: a ledger is made in an empty place")]
    NotEmpty {
        /// The first file found.
        path: String,
    },
    /// A file that the checkpoint covers is not what was written.
    #[error(
        "ledger not opened: {path}: {reason}. Run `yundu ledger verify` to see everything that was altered, and restore the ledger from a copy"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A record cannot be written; nothing of its batch was.
    #[error("nothing was appended: {0}")]
    Record(#[from] RecordError),
    /// The same id twice in one batch.
    #[error("nothing was appended: record id `{id}` stands twice in the batch")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// Too many records at once.
    #[error(
        "nothing was appended: {count} records at once, at most {BATCH_RECORDS_MAX}: split the batch"
    )]
    BatchTooLarge {
        /// Records given.
        count: usize,
    },
    /// An earlier append failed half-way.
    #[error(
        "an earlier append failed, so the state of the files is not known: open the ledger again, which repairs it"
    )]
    Poisoned,
}

// === impl Ledger ===

impl<S: TileStore> Ledger<S> {
    /// Makes an empty ledger: its public key and a checkpoint of size 0.
    ///
    /// # Errors
    ///
    /// Anything lies in the store already, except a public key from a making that was cut short.
    pub fn create(store: S, key: LogKey) -> Result<Self, LedgerError> {
        let present = store.list()?;
        let known = |path: &str| path == PUBLIC_KEY_FILE || repair::is_staging(path);
        if let Some(path) = present.into_iter().find(|path| !known(path)) {
            return Err(LedgerError::NotEmpty { path });
        }
        let edge = Edge::default();
        let checkpoint = SignedCheckpoint::sign(&key, 0, edge.root())?;
        store.write(&[public_key_file(key.verifier_key())])?;
        store.write(&[checkpoint_file(&checkpoint)])?;
        Ok(Self {
            store,
            key,
            checkpoint,
            edge,
            bundle: Vec::new(),
            poisoned: false,
        })
    }

    /// Opens a ledger, checks its right edge against the signed checkpoint, and removes what a
    /// crash left behind that was never acknowledged.
    ///
    /// # Errors
    ///
    /// No ledger, a checkpoint that the key did not sign, or an edge that does not fit it; in
    /// every case nothing was changed.
    pub fn open(store: S, key: LogKey) -> Result<(Self, Repair), LedgerError> {
        let checkpoint = Reader::open(&store, key.verifier_key())?
            .checkpoint()
            .clone();
        let public_key = public_key_file(key.verifier_key());
        match store.read(PUBLIC_KEY_FILE)? {
            Some(bytes) if bytes == public_key.bytes => {}
            found => {
                let reason = if found.is_some() {
                    "not the key that signs this ledger"
                } else {
                    "missing"
                };
                return Err(LedgerError::Damaged {
                    path: public_key.path,
                    reason: reason.to_owned(),
                });
            }
        }
        let (edge, bundle) = repair::load_edge(&store, &checkpoint)?;
        let repair = repair::remove_unacknowledged(&store, checkpoint.size)?;
        Ok((
            Self {
                store,
                key,
                checkpoint,
                edge,
                bundle,
                poisoned: false,
            },
            repair,
        ))
    }

    /// Appends records and returns their places. When this returns, they are durable and
    /// covered by the checkpoint. A batch goes in whole or, after an error, perhaps in whole
    /// (open the ledger again and look for the ids), but never in part.
    ///
    /// # Errors
    ///
    /// A record that cannot be written (nothing was appended), or a store that fails (the
    /// ledger must be opened again).
    pub fn append(&mut self, records: &[Record]) -> Result<Vec<u64>, LedgerError> {
        if self.poisoned {
            return Err(LedgerError::Poisoned);
        }
        if records.len() > BATCH_RECORDS_MAX {
            return Err(LedgerError::BatchTooLarge {
                count: records.len(),
            });
        }
        let mut ids = HashSet::with_capacity(records.len());
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            if !ids.insert(record.id.as_str()) {
                return Err(LedgerError::DuplicateId {
                    id: record.id.clone(),
                });
            }
            entries.push(record.to_bytes()?);
        }
        self.append_entries(&entries)
    }

    /// Appends entries that are known to be at most 65,535 bytes long.
    fn append_entries(&mut self, entries: &[Vec<u8>]) -> Result<Vec<u64>, LedgerError> {
        let old_size = self.size();
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut edge = self.edge.clone();
        let (mut full, mut files) = (Vec::new(), Vec::new());
        self.poisoned = true;
        let mut bundle = std::mem::take(&mut self.bundle);
        for entry in entries {
            bundle::push(&mut bundle, entry);
            edge.push(record_hash(entry), &mut full);
            if edge.size().is_multiple_of(TILE_WIDTH) {
                let index = edge.size() / TILE_WIDTH - 1;
                let path = TilePath {
                    kind: TileKind::Entries,
                    index,
                    width: TILE_WIDTH,
                };
                files.push(TileFile {
                    path: path.to_string(),
                    bytes: std::mem::take(&mut bundle),
                });
            }
        }
        for tile in full {
            files.push(TileFile {
                path: tile.path.to_string(),
                bytes: tile_bytes(&tile.hashes),
            });
        }
        let mut superseded = Vec::new();
        for kind in kinds() {
            let (old, new) = (edge_tile(kind, old_size), edge_tile(kind, edge.size()));
            if old == new {
                continue;
            }
            superseded.extend(old.map(|tile| tile.to_string()));
            if let Some(tile) = new {
                let bytes = match kind {
                    TileKind::Entries => bundle.clone(),
                    TileKind::Hashes(level) => tile_bytes(edge.hashes(level)),
                };
                files.push(TileFile {
                    path: tile.to_string(),
                    bytes,
                });
            }
        }
        let checkpoint = SignedCheckpoint::sign(&self.key, edge.size(), edge.root())?;
        self.store.write(&files)?;
        self.store.write(&[checkpoint_file(&checkpoint)])?;
        self.checkpoint = checkpoint;
        self.edge = edge;
        self.bundle = bundle;
        self.poisoned = false;
        // The records are durable and acknowledged; a left-over tile is removed at the next
        // opening if it cannot be removed now.
        let _ = self.store.remove(&superseded, Durability::Eventually);
        Ok((old_size..self.size()).collect())
    }

    /// Entries in the ledger.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The signed checkpoint as text: give it to someone else to keep.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint.text
    }

    /// The public key with which anyone checks this ledger.
    pub fn verifier_key(&self) -> &VerifierKey {
        self.key.verifier_key()
    }

    /// Where the files lie.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// One record.
    ///
    /// # Errors
    ///
    /// No such entry, or files that were damaged.
    pub fn record(&self, index: u64) -> Result<Record, ReadError> {
        self.reader().record(index)
    }

    /// Records of a range; an end beyond the ledger means its end.
    ///
    /// # Errors
    ///
    /// Too large a range, or files that were damaged.
    pub fn records(&self, range: Range<u64>) -> Result<Vec<Record>, ReadError> {
        self.reader().records(range)
    }

    /// Proof that entry `index` is in the ledger.
    ///
    /// # Errors
    ///
    /// No such entry, or files that were damaged.
    pub fn prove(&self, index: u64) -> Result<InclusionProof, ReadError> {
        self.reader().prove(index)
    }

    /// Proof that the ledger begins with its first `old_size` entries, for someone who kept
    /// the checkpoint of that size.
    ///
    /// # Errors
    ///
    /// An `old_size` of 0 or beyond the ledger, or files that were damaged.
    pub fn prove_consistency(&self, old_size: u64) -> Result<ConsistencyProof, ReadError> {
        self.reader().prove_consistency(old_size)
    }

    fn reader(&self) -> Reader<&S> {
        Reader::at(&self.store, self.checkpoint.clone())
    }
}

fn public_key_file(key: &VerifierKey) -> TileFile {
    let bytes = format!("{}\n", key.text()).into_bytes();
    TileFile {
        path: PUBLIC_KEY_FILE.to_owned(),
        bytes,
    }
}

fn checkpoint_file(checkpoint: &SignedCheckpoint) -> TileFile {
    let bytes = checkpoint.text.clone().into_bytes();
    TileFile {
        path: CHECKPOINT_FILE.to_owned(),
        bytes,
    }
}
