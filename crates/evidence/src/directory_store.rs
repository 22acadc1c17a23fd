//! A log in a directory, readable by any client of tlog-tiles that is pointed at it.

use crate::tile_store::{Durability, StoreError, TileFile, TileStore};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};

/// Where files are written before they are renamed into place. What a crash leaves here was
/// never acknowledged.
const STAGING: &str = ".staging";

/// Longest file that is read whole: a bundle of 256 entries of 65,535 bytes is 16 MiB.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Most files in a log that is listed: room for 2^32 entries.
const FILE_COUNT_MAX: usize = 40_000_000;

/// Deepest directory below a log's root: `tile/entries` and seven groups of digits, `.p` included.
const DIRECTORY_DEPTH_MAX: usize = 16;

/// A log in a directory.
#[derive(Debug)]
pub struct DirectoryStore {
    root: PathBuf,
    /// Holds the exclusive lock of the one writer while it is open.
    lock: Option<File>,
}

// === impl DirectoryStore ===

impl DirectoryStore {
    /// Opens a directory, made if absent, for the one process that appends.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while another process has it open this way.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(|e| file_error(&root, e))?;
        let lock = File::open(&root).map_err(|e| file_error(&root, e))?;
        // The lock lies on the directory itself: a lock file would be one more file to explain.
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::Locked { path: root }),
            Err(errno) => return Err(file_error(&root, errno.into())),
        }
        Ok(Self {
            root,
            lock: Some(lock),
        })
    }

    /// Opens an existing directory for reading, beside a writer or without one.
    ///
    /// # Errors
    ///
    /// There is no such directory.
    pub fn open_read_only(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        fs::read_dir(&root).map_err(|e| file_error(&root, e))?;
        Ok(Self { root, lock: None })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn locate(&self, path: &str) -> Result<PathBuf, StoreError> {
        let inside = !path.is_empty()
            && Path::new(path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
        if inside {
            Ok(self.root.join(path))
        } else {
            Err(StoreError::Path {
                path: path.to_owned(),
            })
        }
    }

    fn writable(&self) -> Result<(), StoreError> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(StoreError::ReadOnly {
                path: self.root.clone(),
            }),
        }
    }

    /// Makes the directory and notes every directory whose content changes by that.
    fn create_directory(
        &self,
        directory: &Path,
        changed: &mut BTreeSet<PathBuf>,
    ) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        let mut current = directory;
        while !current.is_dir() {
            missing.push(current);
            match current.parent() {
                Some(parent) => current = parent,
                None => break,
            }
        }
        for made in missing.into_iter().rev() {
            fs::create_dir(made).map_err(|e| file_error(made, e))?;
            changed.extend(made.parent().map(Path::to_owned));
        }
        Ok(())
    }

    fn collect(
        &self,
        directory: &Path,
        depth: usize,
        paths: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // A writer removes the directory of a superseded partial tile while we walk.
            Err(error) if error.kind() == ErrorKind::NotFound && depth > 0 => return Ok(()),
            Err(error) => return Err(file_error(directory, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| file_error(directory, e))?;
            let path = entry.path();
            // `file_type` does not follow links: a link is a file that does not belong here.
            let is_directory = entry
                .file_type()
                .map_err(|e| file_error(&path, e))?
                .is_dir();
            if is_directory && depth < DIRECTORY_DEPTH_MAX {
                self.collect(&path, depth + 1, paths)?;
            } else {
                let relative = path.strip_prefix(&self.root).unwrap_or(&path);
                paths.push(relative.to_string_lossy().into_owned());
            }
            if paths.len() > FILE_COUNT_MAX {
                let error = io::Error::other(format!("more than {FILE_COUNT_MAX} files"));
                return Err(file_error(&self.root, error));
            }
        }
        Ok(())
    }
}

impl TileStore for DirectoryStore {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let location = self.locate(path)?;
        match fs::metadata(&location) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                let error = io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes"));
                return Err(file_error(&location, error));
            }
            Err(error) if is_absent(&error) => return Ok(None),
            _ => {}
        }
        match fs::read(&location) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(file_error(&location, error)),
        }
    }

    fn write(&self, files: &[TileFile]) -> Result<(), StoreError> {
        self.writable()?;
        let staging = self.root.join(STAGING);
        let mut changed = BTreeSet::new();
        self.create_directory(&staging, &mut changed)?;
        let mut staged = Vec::with_capacity(files.len());
        for (number, file) in files.iter().enumerate() {
            let source = staging.join(number.to_string());
            let mut handle = File::create(&source).map_err(|e| file_error(&source, e))?;
            handle
                .write_all(&file.bytes)
                .map_err(|e| file_error(&source, e))?;
            handle.sync_all().map_err(|e| file_error(&source, e))?;
            staged.push((source, self.locate(&file.path)?));
        }
        for (source, target) in staged {
            if let Some(parent) = target.parent() {
                self.create_directory(parent, &mut changed)?;
                changed.insert(parent.to_owned());
            }
            fs::rename(&source, &target).map_err(|e| file_error(&target, e))?;
        }
        changed
            .iter()
            .try_for_each(|directory| sync_directory(directory))
    }

    fn remove(&self, paths: &[String], durability: Durability) -> Result<(), StoreError> {
        self.writable()?;
        let mut changed = BTreeSet::new();
        for path in paths {
            let location = self.locate(path)?;
            match fs::remove_file(&location) {
                Ok(()) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(file_error(&location, error)),
            }
            let Some(parent) = location.parent() else {
                continue;
            };
            // The directory of partial tiles goes with its last one.
            let emptied = parent.extension().is_some_and(|extension| extension == "p")
                && fs::remove_dir(parent).is_ok();
            let kept = if emptied {
                parent.parent()
            } else {
                Some(parent)
            };
            changed.extend(kept.map(Path::to_owned));
        }
        match durability {
            Durability::Eventually => Ok(()),
            Durability::Now => changed
                .iter()
                .filter(|directory| directory.is_dir())
                .try_for_each(|directory| sync_directory(directory)),
        }
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let mut paths = Vec::new();
        self.collect(&self.root, 0, &mut paths)?;
        paths.sort_unstable();
        Ok(paths)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
    )
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| file_error(directory, error))
}

fn file_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        path: path.to_owned(),
        source,
    }
}
