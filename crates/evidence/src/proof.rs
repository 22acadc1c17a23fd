//! Proofs that travel: one file, checked with nothing but the log's public key.

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::key::VerifierKey;
use crate::record::{Record, RecordError};
use serde::{Deserialize, Serialize};
use tlog_tiles::{Hash, check_record, check_tree, record_hash};

/// Longest path of a proof in a log of 2^64 entries, and some.
const PATH_LENGTH_MAX: usize = 128;

/// Proof that a record is in a log: its entry, its place, the neighbouring hashes up to the
/// root, and the signed checkpoint that holds the root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// Place of the entry, counted from 0.
    pub index: u64,
    /// The record; its canonical JSON is the entry.
    pub record: Record,
    /// Hashes from the leaf to the root, base64 (RFC 6962, section 2.1.1).
    pub hashes: Vec<String>,
    /// The signed note.
    pub checkpoint: String,
}

/// Proof that a log still begins with what an earlier checkpoint covered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Entries that the earlier checkpoint covered.
    pub old_size: u64,
    /// Hashes, base64 (RFC 6962, section 2.1.2).
    pub hashes: Vec<String>,
    /// The later signed note.
    pub checkpoint: String,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The checkpoint in the proof is not the log's.
    #[error("the checkpoint of the proof: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The earlier checkpoint is not the log's.
    #[error("the kept checkpoint: {0}")]
    Kept(CheckpointError),
    /// The earlier checkpoint has another size than the proof is for.
    #[error("the kept checkpoint covers {kept} entries, the proof is for {proof}")]
    KeptSize {
        /// Entries of the kept checkpoint.
        kept: u64,
        /// Entries of the proof.
        proof: u64,
    },
    /// The record has no canonical form.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A hash is not base64 of 32 bytes, or there are too many.
    #[error("hash {position} of the proof is not the base64 of 32 bytes, or the path is too long")]
    Hash {
        /// Its place in the path.
        position: usize,
    },
    /// The hashes do not lead to the signed root.
    #[error("the hashes do not lead to the signed root: {0}")]
    Tree(String),
}

// === impl InclusionProof ===

impl InclusionProof {
    /// A proof from the hashes found in a log; checked before it is handed out.
    pub(crate) fn try_new(
        record: Record,
        index: u64,
        checkpoint: &SignedCheckpoint,
        path: &[Hash],
    ) -> Result<Self, ProofError> {
        let proof = Self {
            index,
            record,
            hashes: path.iter().map(Hash::to_string).collect(),
            checkpoint: checkpoint.text.clone(),
        };
        proof.check_against(checkpoint)?;
        Ok(proof)
    }

    /// Checks the proof with the public key of the log, which must come from someone trusted.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn check(&self, key: &VerifierKey) -> Result<SignedCheckpoint, ProofError> {
        let checkpoint = SignedCheckpoint::parse(self.checkpoint.as_bytes(), key)?;
        self.check_against(&checkpoint)?;
        Ok(checkpoint)
    }

    fn check_against(&self, checkpoint: &SignedCheckpoint) -> Result<(), ProofError> {
        let leaf = record_hash(&self.record.to_bytes()?);
        let path = parse_path(&self.hashes)?;
        check_record(&path, checkpoint.size, checkpoint.root, self.index, leaf)
            .map_err(|error| ProofError::Tree(error.to_string()))
    }
}

// === impl ConsistencyProof ===

impl ConsistencyProof {
    pub(crate) fn new(old_size: u64, checkpoint: &SignedCheckpoint, path: &[Hash]) -> Self {
        let hashes = path.iter().map(Hash::to_string).collect();
        Self {
            old_size,
            hashes,
            checkpoint: checkpoint.text.clone(),
        }
    }

    /// Checks that the log of this proof begins with everything that `kept` covered.
    ///
    /// # Errors
    ///
    /// What does not hold; [`ProofError::Tree`] means that history was rewritten.
    pub fn check(&self, kept: &[u8], key: &VerifierKey) -> Result<SignedCheckpoint, ProofError> {
        let kept = SignedCheckpoint::parse(kept, key).map_err(ProofError::Kept)?;
        if kept.size != self.old_size {
            return Err(ProofError::KeptSize {
                kept: kept.size,
                proof: self.old_size,
            });
        }
        let checkpoint = SignedCheckpoint::parse(self.checkpoint.as_bytes(), key)?;
        let path = parse_path(&self.hashes)?;
        check_tree(
            &path,
            checkpoint.size,
            checkpoint.root,
            kept.size,
            kept.root,
        )
        .map_err(|error| ProofError::Tree(error.to_string()))?;
        Ok(checkpoint)
    }
}

fn parse_path(hashes: &[String]) -> Result<Vec<Hash>, ProofError> {
    if hashes.len() > PATH_LENGTH_MAX {
        return Err(ProofError::Hash {
            position: PATH_LENGTH_MAX,
        });
    }
    hashes
        .iter()
        .enumerate()
        .map(|(position, hash)| Hash::parse_hash(hash).map_err(|_| ProofError::Hash { position }))
        .collect()
}
