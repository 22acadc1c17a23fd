//! Everything the demo puts on the machine outside its own directory, written down *before or as
//! it appears*, so that it can be removed even after the demo itself was killed.

use super::process::{self, Process};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One thing to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resource {
    /// A background process.
    Process {
        /// What it is, for people.
        name: String,
        /// Which one.
        process: Process,
    },
    /// A network namespace.
    Namespace {
        /// Its name.
        name: String,
    },
    /// A mounted file system.
    Mount {
        /// Mount point.
        path: PathBuf,
    },
    /// Whatever loop device stands on this file.
    Loop {
        /// The file.
        backing: PathBuf,
    },
    /// A directory outside the demo's own (under `/run`), removed with its contents.
    Directory {
        /// Its path.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Entry {
    gone: bool,
    resource: Resource,
}

/// The journal of resources of one demo directory.
#[derive(Clone, Debug)]
pub struct Resources {
    path: PathBuf,
}

impl Resources {
    /// The journal kept in `dir`.
    pub fn of(dir: &Path) -> Self {
        Self {
            path: dir.join("resources.jsonl"),
        }
    }

    /// Notes that `resource` exists or is about to.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn record(&self, resource: &Resource) -> Result<()> {
        self.append(&Entry {
            gone: false,
            resource: resource.clone(),
        })
    }

    /// Notes that `resource` was removed in the ordinary way.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn release(&self, resource: &Resource) -> Result<()> {
        self.append(&Entry {
            gone: true,
            resource: resource.clone(),
        })
    }

    fn append(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        // One write with O_APPEND: operators run as processes of their own and share the file.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&line))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// What is still there, in the order in which it appeared.
    pub fn remaining(&self) -> Vec<Resource> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut present: Vec<Resource> = Vec::new();
        // A line torn by a kill is skipped: the thing it named had not been made yet, or is a
        // process that `yundu demo` never saw start.
        for entry in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Entry>(line).ok())
        {
            present.retain(|resource| *resource != entry.resource);
            if !entry.gone {
                present.push(entry.resource);
            }
        }
        present
    }

    /// Removes everything that remains, last made first; going on past what resists. Returns
    /// what could not be removed, in words.
    pub fn clean(&self) -> Vec<String> {
        // An interruption cleans while the story ends by its error: one after the other.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut resisting = Vec::new();
        let mut detached = Vec::new();
        for resource in self.remaining().into_iter().rev() {
            match remove(&resource, &mut detached) {
                Ok(()) => {
                    let _ = self.release(&resource);
                }
                Err(error) => resisting.push(format!("{error:#}")),
            }
        }
        resisting
    }
}

/// Removes one resource; removing what is gone already succeeds.
fn remove(resource: &Resource, detached: &mut Vec<PathBuf>) -> Result<()> {
    match resource {
        Resource::Process { process, .. } => {
            // SIGINT is PostgreSQL's fast shutdown and an orderly end for everything else here.
            process.signal(rustix::process::Signal::CONT);
            process.end(rustix::process::Signal::INT, Duration::from_secs(4));
            Ok(())
        }
        Resource::Namespace { name } => {
            if Path::new("/run/netns").join(name).exists() {
                process::run(&["ip", "netns", "del", name])?;
            }
            Ok(())
        }
        Resource::Mount { path } => {
            let point = path.to_string_lossy();
            if is_mounted(path)
                && process::run_for(&["umount", &point], Duration::from_secs(5)).is_err()
            {
                // The volume below may be dead: detach now, the kernel lets go when it can.
                process::run(&["umount", "--lazy", &point])?;
                detached.push(path.clone());
            }
            Ok(())
        }
        Resource::Loop { backing } => {
            for device in loops_on(backing) {
                process::run_for(&["losetup", "--detach", &device], Duration::from_secs(5))?;
            }
            Ok(())
        }
        Resource::Directory { path } => {
            // Never delete through something that is still mounted below.
            if path.exists() && mounts_below(path).is_empty() {
                std::fs::remove_dir_all(path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
            Ok(())
        }
    }
}

fn mount_points() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .collect()
}

/// Whether something is mounted exactly at `path`.
pub fn is_mounted(path: &Path) -> bool {
    mount_points().iter().any(|point| point == path)
}

fn mounts_below(path: &Path) -> Vec<PathBuf> {
    mount_points()
        .into_iter()
        .filter(|point| point.starts_with(path))
        .collect()
}

/// Loop devices that stand on `backing`.
pub fn loops_on(backing: &Path) -> Vec<String> {
    let listed = process::run(&["losetup", "--noheadings", "--output", "NAME,BACK-FILE"]);
    let listed = listed.unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.trim().split_once(char::is_whitespace))
        .filter(|(_, file)| Path::new(file.trim()) == backing)
        .map(|(device, _)| device.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_released_does_not_remain() {
        let dir = tempfile::tempdir().unwrap();
        let resources = Resources::of(dir.path());
        let first = Resource::Namespace { name: "one".into() };
        let second = Resource::Directory {
            path: "/run/two".into(),
        };
        resources.record(&first).unwrap();
        resources.record(&second).unwrap();
        resources.release(&first).unwrap();
        assert_eq!(resources.remaining(), [second]);
    }

    #[test]
    fn a_torn_last_line_does_not_hide_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let resources = Resources::of(dir.path());
        let first = Resource::Namespace { name: "one".into() };
        resources.record(&first).unwrap();
        let path = dir.path().join("resources.jsonl");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"gone\":false,\"resour").unwrap();
        assert_eq!(resources.remaining(), [first]);
    }

    #[test]
    fn cleaning_ends_a_process_and_spares_one_that_reused_its_pid() {
        let dir = tempfile::tempdir().unwrap();
        let resources = Resources::of(dir.path());
        let log = dir.path().join("log");
        let doomed = process::spawn(&resources, "sleep", &["sleep", "60"], &log).unwrap();
        let other = tempfile::tempdir().unwrap();
        let bystander = process::spawn(
            &Resources::of(other.path()),
            "sleep",
            &["sleep", "60"],
            &log,
        )
        .unwrap();
        let stale = Process {
            pid: bystander.pid,
            start_ticks: bystander.start_ticks + 1,
        };
        resources
            .record(&Resource::Process {
                name: "stale".into(),
                process: stale,
            })
            .unwrap();
        assert_eq!(resources.clean(), Vec::<String>::new());
        assert!(!doomed.is_alive());
        assert!(bystander.is_alive());
        bystander.end(rustix::process::Signal::KILL, Duration::from_secs(2));
    }
}
