//! Announced spans of time (link faults, application switches), as a file of lines that any
//! process of the demo appends to, and what is computed from them.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, µs since the Unix epoch.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// One span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What happened in it.
    pub name: String,
    /// Unix time, µs.
    pub begin_us: i64,
    /// Unix time, µs; far in the future while it is open.
    pub end_us: i64,
}

impl Window {
    /// Whether the span from `begin_us` to `end_us` touches this one.
    pub fn touches(&self, begin_us: i64, end_us: i64) -> bool {
        begin_us <= self.end_us && end_us >= self.begin_us
    }
}

#[derive(Serialize, Deserialize)]
struct Mark {
    name: String,
    at_us: i64,
    begins: bool,
}

/// Notes that `name` begins or ends now.
///
/// # Errors
/// When the file cannot be written.
pub fn mark(path: &Path, name: &str, begins: bool) -> Result<i64> {
    let at_us = now_us();
    let mut line = serde_json::to_vec(&Mark {
        name: name.to_owned(),
        at_us,
        begins,
    })?;
    line.push(b'\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(&line))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(at_us)
}

/// The spans noted in the file, in order of beginning; none when it does not exist.
pub fn load(path: &Path) -> Vec<Window> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut windows: Vec<Window> = Vec::new();
    for mark in text
        .lines()
        .filter_map(|line| serde_json::from_str::<Mark>(line).ok())
    {
        if mark.begins {
            windows.push(Window {
                name: mark.name,
                begin_us: mark.at_us,
                end_us: i64::MAX,
            });
        } else if let Some(open) = windows
            .iter_mut()
            .rev()
            .find(|w| w.name == mark.name && w.end_us == i64::MAX)
        {
            open.end_us = mark.at_us;
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_never_ended_stays_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("windows");
        mark(&path, "cut", true).unwrap();
        mark(&path, "cut", false).unwrap();
        mark(&path, "hang", true).unwrap();
        let windows = load(&path);
        assert_eq!(windows.len(), 2);
        assert!(windows[0].end_us < i64::MAX);
        assert!(windows[1].touches(now_us(), now_us()));
        assert!(!windows[0].touches(windows[0].end_us + 1, i64::MAX));
    }
}
