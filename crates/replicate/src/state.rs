//! The state directory beside an image (`IMAGE.yundu/`): what a copy must still know after a
//! crash.
//!
//! - `node.meta`: two slots, written in turn; the newer whole one counts
//! - `dirty.bitmap`: the mapped marks
//! - `activity.log`: hot extents
//! - `events.jsonl`: what happened, for the evidence ledger
//! - `lock`: held while a process serves the image

use crate::control::Event;
use crate::mapped::MappedWords;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use yundu_replicate_core::activity::{ActivityLog, PAGE_BYTES, Page};
use yundu_replicate_core::bitmap::words_for;
use yundu_replicate_core::block::Blocks;
use yundu_replicate_core::meta::Meta;

const SLOT_BYTES: usize = 8192;
const SLOT_MAGIC: &[u8; 4] = b"YDM1";
/// magic, CRC-32, version, length
const SLOT_HEADER_BYTES: usize = 4 + 4 + 8 + 4;
/// Events given out at once.
const EVENTS_MAX: usize = 1000;

/// Why the state of a copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refuses.
    #[error("{path}: {source}; check that the directory is writable and the disk not full")]
    Io {
        /// Path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Another process serves the image.
    #[error("{path} is served by another process: stop that one first (`yundu volume stop`)")]
    Busy {
        /// Image.
        path: PathBuf,
    },
    /// Both slots of the meta are damaged.
    #[error(
        "{path} is damaged in both slots: restore it, or remove the state directory and copy anew"
    )]
    Damaged {
        /// Path.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Slot {
    meta: Meta,
}

/// An open, locked state directory.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    meta: File,
    version: u64,
    activity: File,
    events: File,
    event_sequence: u64,
    _lock: File,
}

impl StateDirectory {
    /// `IMAGE.yundu` for an image.
    pub fn path_for(image: &Path) -> PathBuf {
        let mut name = image.as_os_str().to_owned();
        name.push(".yundu");
        PathBuf::from(name)
    }

    /// Opens (or makes) and locks the directory; returns the meta when there is one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path) -> Result<(Self, Option<Meta>), StateError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        std::fs::create_dir_all(path).map_err(io(path))?;
        let open = |name: &str| {
            let path = path.join(name);
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(io(&path))
        };
        let lock = open("lock")?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(StateError::Busy {
                path: path.to_owned(),
            });
        }
        let meta = open("node.meta")?;
        let meta_path = path.join("node.meta");
        let (version, stored) = read_slots(&meta).map_err(io(&meta_path))?;
        let damaged = stored.is_none() && meta.metadata().map_err(io(&meta_path))?.len() > 0;
        if damaged {
            return Err(StateError::Damaged { path: meta_path });
        }
        let mut events = open("events.jsonl")?;
        let event_sequence = repair_events(&mut events).map_err(io(&path.join("events.jsonl")))?;
        let state = Self {
            path: path.to_owned(),
            meta,
            version,
            activity: open("activity.log")?,
            events,
            event_sequence,
            _lock: lock,
        };
        Ok((state, stored.map(|slot| slot.meta)))
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `meta` durable in the older slot.
    ///
    /// # Errors
    /// Whatever the disk says; the newer slot is untouched then.
    pub fn write_meta(&mut self, meta: &Meta) -> io::Result<()> {
        let version = self.version + 1;
        let json = serde_json::to_vec(&Slot { meta: meta.clone() })?;
        if json.len() + SLOT_HEADER_BYTES > SLOT_BYTES {
            return Err(io::Error::other(
                "the meta of this copy does not fit its slot",
            ));
        }
        let mut body = Vec::with_capacity(json.len() + 12);
        body.extend_from_slice(&version.to_le_bytes());
        body.extend_from_slice(&u32::try_from(json.len()).unwrap_or(0).to_le_bytes());
        body.extend_from_slice(&json);
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(SLOT_MAGIC);
        slot.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        slot.extend_from_slice(&body);
        slot.resize(SLOT_BYTES, 0);
        let offset = (version % 2) * SLOT_BYTES as u64;
        self.meta.write_all_at(&slot, offset)?;
        self.meta.sync_data()?;
        self.version = version;
        Ok(())
    }

    /// The marks of a volume of `size_bytes`.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn map_bitmap(&self, size_bytes: u64) -> Result<MappedWords, StateError> {
        let path = self.path.join("dirty.bitmap");
        MappedWords::open(&path, words_for(Blocks::of_volume(size_bytes).end))
            .map_err(|source| StateError::Io { path, source })
    }

    /// The activity log of a volume of `size_bytes`.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn load_activity(&self, size_bytes: u64) -> Result<ActivityLog, StateError> {
        let bytes =
            std::fs::read(self.path.join("activity.log")).map_err(|source| StateError::Io {
                path: self.path.join("activity.log"),
                source,
            })?;
        Ok(ActivityLog::load(size_bytes, &bytes))
    }

    /// A handle with which another thread writes pages of the activity log.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn activity_file(&self) -> io::Result<File> {
        self.activity.try_clone()
    }

    /// A handle with which another thread makes events durable.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn events_file(&self) -> io::Result<File> {
        self.events.try_clone()
    }

    /// Sequence number of the last event.
    pub fn event_sequence(&self) -> u64 {
        self.event_sequence
    }

    /// Writes an event; it outlives the process at once, and a power loss after the next sync.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn append_event(
        &mut self,
        meta: &Meta,
        at_us: i64,
        kind: &str,
        body: serde_json::Value,
    ) -> io::Result<()> {
        let event = Event {
            sequence: self.event_sequence + 1,
            node: meta.node.clone(),
            set: meta.set.clone(),
            at_us,
            kind: kind.to_owned(),
            body,
        };
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        self.events.write_all(&line)?;
        self.event_sequence += 1;
        Ok(())
    }

    /// Events after `since`, in order, at most 1,000.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn events_since(&self, since: u64) -> io::Result<Vec<Event>> {
        let file = File::open(self.path.join("events.jsonl"))?;
        let mut events = Vec::new();
        for line in BufReader::new(file).lines() {
            if let Ok(event) = serde_json::from_str::<Event>(&line?)
                && event.sequence > since
            {
                events.push(event);
                if events.len() == EVENTS_MAX {
                    break;
                }
            }
        }
        Ok(events)
    }
}

/// Writes pages of the activity log, durably.
///
/// # Errors
/// Whatever the disk says.
pub fn write_activity(file: &File, pages: &[(usize, Page)]) -> io::Result<()> {
    for (index, page) in pages {
        file.write_all_at(page, (index * PAGE_BYTES) as u64)?;
    }
    file.sync_data()
}

fn read_slots(file: &File) -> io::Result<(u64, Option<Slot>)> {
    let mut newest: (u64, Option<Slot>) = (0, None);
    for index in 0..2 {
        let mut bytes = vec![0; SLOT_BYTES];
        if file
            .read_exact_at(&mut bytes, index * SLOT_BYTES as u64)
            .is_err()
        {
            continue;
        }
        if let Some((version, slot)) = read_slot(&bytes)
            && version > newest.0
        {
            newest = (version, Some(slot));
        }
    }
    Ok(newest)
}

fn read_slot(bytes: &[u8]) -> Option<(u64, Slot)> {
    let rest = bytes.strip_prefix(SLOT_MAGIC)?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (version, after) = rest.split_first_chunk::<8>()?;
    let (length, json) = after.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let json = json.get(..length)?;
    if crc32fast::hash(rest.get(..12 + length)?) != u32::from_le_bytes(*checksum) {
        return None;
    }
    Some((
        u64::from_le_bytes(*version),
        serde_json::from_slice(json).ok()?,
    ))
}

/// Cuts a torn last line off, moves to the end, and returns the last sequence number.
fn repair_events(file: &mut File) -> io::Result<u64> {
    let mut last = 0;
    let mut whole_bytes = 0;
    let mut reader = BufReader::new(file.try_clone()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        match serde_json::from_slice::<Event>(&line) {
            Ok(event) if line.ends_with(b"\n") => {
                last = event.sequence;
                whole_bytes += read as u64;
            }
            _ => break,
        }
    }
    file.set_len(whole_bytes)?;
    file.seek(SeekFrom::End(0))?;
    Ok(last)
}

/// Identity of this start of the machine, to tell a process death from a power loss.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(generation: u64) -> Meta {
        let mut meta = Meta::new_primary("n".into(), "s".into(), 1 << 20, "b".into());
        meta.generation = generation;
        meta
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v.yundu");
        let (mut state, none) = StateDirectory::open(&path).unwrap();
        assert!(none.is_none());
        for generation in 1..=3 {
            state.write_meta(&meta(generation)).unwrap();
        }
        drop(state);
        let file = File::options()
            .write(true)
            .open(path.join("node.meta"))
            .unwrap();
        file.write_all_at(&[0xff; 100], SLOT_BYTES as u64 + 30)
            .unwrap();
        let (_, found) = StateDirectory::open(&path).unwrap();
        assert_eq!(found.unwrap().generation, 2);
    }

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v.yundu");
        let first = StateDirectory::open(&path).unwrap();
        assert!(matches!(
            StateDirectory::open(&path),
            Err(StateError::Busy { .. })
        ));
        drop(first);
        StateDirectory::open(&path).unwrap();
    }

    #[test]
    fn a_torn_event_is_cut_off_and_numbers_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v.yundu");
        let (mut state, _) = StateDirectory::open(&path).unwrap();
        for _ in 0..3 {
            state
                .append_event(&meta(1), 1, "volume.started", serde_json::json!({}))
                .unwrap();
        }
        state.events.write_all(b"{\"sequence\":4,\"no").unwrap();
        drop(state);
        let (mut state, _) = StateDirectory::open(&path).unwrap();
        assert_eq!(state.event_sequence(), 3);
        state
            .append_event(&meta(1), 1, "volume.started", serde_json::json!({}))
            .unwrap();
        let sequences: Vec<u64> = state
            .events_since(1)
            .unwrap()
            .iter()
            .map(|event| event.sequence)
            .collect();
        assert_eq!(sequences, vec![2, 3, 4]);
    }
}
