//! Where the files of a log lie. A directory now, a database later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{collections::BTreeMap, io, path::PathBuf};

/// A file of a log, by its path relative to the log's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileFile {
    /// Such as `tile/0/000.p/3`.
    pub path: String,
    /// The whole content.
    pub bytes: Vec<u8>,
}

/// Whether a removal must outlast a power loss before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the call returns.
    Now,
    /// Some time later: the file may reappear after a power loss.
    Eventually,
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory of the store cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process appends to the log.
    #[error(
        "ledger {path} is in use by another process: one process appends at a time; stop it, or open the ledger for reading only",
        path = path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The store was opened for reading only.
    #[error("ledger {path} was opened for reading only", path = path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// A path that leads out of the log.
    #[error("`{path}` is no path inside a ledger")]
    Path {
        /// The path given.
        path: String,
    },
}

/// Files of one log. Paths are relative, with `/` between the parts.
pub trait TileStore {
    /// The whole content of a file, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes files, replacing what was there. When this returns, all of them survive a power
    /// loss. After a crash in the middle, each is wholly there or wholly not, in any order.
    ///
    /// # Errors
    ///
    /// Some file could not be made durable; any subset of them may have been written.
    fn write(&self, files: &[TileFile]) -> Result<(), StoreError>;

    /// Removes files; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// Some file could not be removed; any subset may be gone.
    fn remove(&self, paths: &[String], durability: Durability) -> Result<(), StoreError>;

    /// Paths of every file, in ascending order.
    ///
    /// # Errors
    ///
    /// The store cannot be listed.
    fn list(&self) -> Result<Vec<String>, StoreError>;
}

impl<S: TileStore + ?Sized> TileStore for &S {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).read(path)
    }
    fn write(&self, files: &[TileFile]) -> Result<(), StoreError> {
        (**self).write(files)
    }
    fn remove(&self, paths: &[String], durability: Durability) -> Result<(), StoreError> {
        (**self).remove(paths, durability)
    }
    fn list(&self) -> Result<Vec<String>, StoreError> {
        (**self).list()
    }
}

/// A log in memory, for simulations and tests; clones share the same files.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // A panic elsewhere cannot leave the map half changed: every change is one call.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TileStore for MemoryStore {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.files().get(path).cloned())
    }

    fn write(&self, files: &[TileFile]) -> Result<(), StoreError> {
        let mut present = self.files();
        for file in files {
            present.insert(file.path.clone(), file.bytes.clone());
        }
        Ok(())
    }

    fn remove(&self, paths: &[String], _durability: Durability) -> Result<(), StoreError> {
        let mut present = self.files();
        for path in paths {
            present.remove(path);
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.files().keys().cloned().collect())
    }
}
