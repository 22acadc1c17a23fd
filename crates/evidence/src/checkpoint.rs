//! Signed checkpoints: the size and root of a log, as a note that its key signed
//! (<https://c2sp.org/tlog-checkpoint>).

use crate::key::{LogKey, VerifierKey};
use signed_note::{Note, NoteError, VerifierList};
use tlog_tiles::{Checkpoint, Hash};

/// A checkpoint whose signature was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedCheckpoint {
    /// The name of the log.
    pub origin: String,
    /// Entries that it covers.
    pub size: u64,
    /// Root hash of the Merkle tree over them.
    pub root: Hash,
    /// The note: what to keep, or to hand to someone else.
    pub text: String,
    /// Names of further signers, witnesses for example, whose keys were not given.
    pub unchecked_signers: Vec<String>,
}

/// Why a text is not a checkpoint of the log.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note, or not in its exact form.
    #[error("it is not a signed note: {0}")]
    NotANote(String),
    /// The log's key did not sign this text.
    #[error("it is not signed by {key}: {reason}")]
    Signature {
        /// The key it was checked with.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The signed text is not a checkpoint of this log.
    #[error("its text is not a checkpoint of the log `{origin}`")]
    NotACheckpoint {
        /// The log expected.
        origin: String,
    },
}

// === impl SignedCheckpoint ===

impl SignedCheckpoint {
    /// Signs size and root.
    ///
    /// # Errors
    ///
    /// Signing failed.
    pub fn sign(key: &LogKey, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        let unsigned = Checkpoint::new(key.origin(), size, root, "").map_err(|_| {
            CheckpointError::NotACheckpoint {
                origin: key.origin().to_owned(),
            }
        })?;
        let failed = |error: NoteError| CheckpointError::Signature {
            key: key.verifier_key().text().to_owned(),
            reason: error.to_string(),
        };
        let mut note = Note::new(&unsigned.to_bytes(), &[]).map_err(failed)?;
        note.add_sigs(&[key.signer()]).map_err(failed)?;
        let text = String::from_utf8_lossy(&note.to_bytes()).into_owned();
        let (origin, unchecked_signers) = (key.origin().to_owned(), Vec::new());
        Ok(Self {
            origin,
            size,
            root,
            text,
            unchecked_signers,
        })
    }

    /// Reads a checkpoint and checks the signature of the log's key.
    ///
    /// # Errors
    ///
    /// Any byte differs from what the key's owner signed and wrote.
    pub fn parse(bytes: &[u8], key: &VerifierKey) -> Result<Self, CheckpointError> {
        let malformed = |reason: &str| CheckpointError::NotANote(reason.to_owned());
        let note = Note::from_bytes(bytes).map_err(|e| malformed(&e.to_string()))?;
        if note.to_bytes() != bytes {
            return Err(malformed("not in its exact form"));
        }
        let known = VerifierList::new(vec![Box::new(key.verifier().clone())]);
        let (_, others) = note
            .verify(&known)
            .map_err(|error| CheckpointError::Signature {
                key: key.text().to_owned(),
                reason: error.to_string(),
            })?;
        let foreign = || CheckpointError::NotACheckpoint {
            origin: key.origin().to_owned(),
        };
        let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| foreign())?;
        if checkpoint.origin() != key.origin() || checkpoint.to_bytes() != note.text() {
            return Err(foreign());
        }
        Ok(Self {
            origin: checkpoint.origin().to_owned(),
            size: checkpoint.size(),
            root: *checkpoint.hash(),
            text: String::from_utf8_lossy(bytes).into_owned(),
            unchecked_signers: others.iter().map(|other| other.name().to_owned()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::record_hash;

    #[test]
    fn any_altered_byte_of_a_checkpoint_is_refused() {
        let key = LogKey::from_seed("bank.example/ledger", &[7; 32]).unwrap();
        let signed = SignedCheckpoint::sign(&key, 600, record_hash(b"x")).unwrap();
        let bytes = signed.text.as_bytes();
        assert_eq!(
            SignedCheckpoint::parse(bytes, key.verifier_key()).unwrap(),
            signed
        );
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.to_vec();
                altered[position] ^= 1 << bit;
                let result = SignedCheckpoint::parse(&altered, key.verifier_key());
                assert!(result.is_err(), "byte {position}, bit {bit}");
            }
        }
    }
}
