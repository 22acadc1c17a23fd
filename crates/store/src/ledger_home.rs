//! Where the ledger and its key lie, opened for just as long as it takes to feed it.

use crate::sequencer::{Drained, drain};
use crate::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use yundu_evidence::{DirectoryStore, Ledger, LogKey, Reader, Record, StoreError as TileError};

/// How often opening is tried while another process feeds the ledger.
const LOCK_TRIES_MAX: u32 = 400;

/// Between two tries.
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The ledger of a workspace.
#[derive(Clone, Debug)]
pub struct LedgerHome {
    directory: PathBuf,
    key_file: PathBuf,
}

// === impl LedgerHome ===

impl LedgerHome {
    /// The ledger in `directory`, signed with the key in `key_file`.
    pub fn new(directory: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            key_file: key_file.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens the ledger for appending, waiting for another process that has it open.
    ///
    /// # Errors
    /// [`StoreError::Ledger`], [`StoreError::LogKey`].
    pub async fn open(&self) -> Result<Ledger<DirectoryStore>, StoreError> {
        let mut tries = 0;
        let directory = loop {
            match DirectoryStore::open(&self.directory) {
                Err(TileError::Locked { .. }) if tries < LOCK_TRIES_MAX => tries += 1,
                other => break other.map_err(yundu_evidence::LedgerError::from)?,
            }
            tokio::time::sleep(LOCK_WAIT).await;
        };
        let key = LogKey::load(&self.key_file)?;
        Ok(Ledger::open(directory, key)?.0)
    }

    /// Moves everything pending into the ledger.
    ///
    /// # Errors
    /// [`StoreError`]; run again, nothing is lost or doubled.
    pub async fn settle(&self, store: &Store) -> Result<Drained, StoreError> {
        drain(store, &mut self.open().await?).await
    }

    /// The records about `subject` as they stand in the ledger, oldest first, after moving
    /// everything pending there: what a gate reads is what an outsider can check.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn records_about(
        &self,
        store: &Store,
        subject: &str,
    ) -> Result<Vec<Record>, StoreError> {
        self.settle(store).await?;
        let key = LogKey::load(&self.key_file)?;
        let directory = DirectoryStore::open_read_only(&self.directory)
            .map_err(yundu_evidence::LedgerError::from)?;
        let reader = Reader::open(directory, key.verifier_key())?;
        let rows = store.read().await?.records_about(subject).await?;
        let mut records = Vec::with_capacity(rows.len());
        for index in rows.into_iter().filter_map(|row| row.ledger_index) {
            records.push(reader.record(index)?);
        }
        Ok(records)
    }
}
