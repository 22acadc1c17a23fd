//! Reading files and directories: the only room of this crate that touches a disk.

use crate::document::{Format, SourceDocument};
use crate::error::{Collector, ImportErrors, more, nothing, verbatim};
use crate::import::{self, FILE_SIZE_BYTES_MAX};
use crate::text::Text;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most files in one import.
const FILES_MAX: usize = 10_000;
/// Deepest directory below the one that was named.
const DEPTH_MAX: usize = 16;
/// Endings of files that are read from a directory.
const ENDINGS: [&str; 4] = ["yaml", "yml", "csv", "json"];

/// Reads every file in `paths`, and every YAML, JSON and CSV file in directories among them, in
/// sorted order. Symbolic links inside directories are not followed.
///
/// # Errors
/// Every error of every file; then nothing may be used.
pub fn import_paths(
    paths: &[PathBuf],
    format: Option<Format>,
    source: Option<&str>,
    at_us: i64,
) -> Result<Vec<SourceDocument>, ImportErrors> {
    let mut refused = ImportErrors::default();
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        if path.is_dir() {
            walk(path, 0, &mut files, &mut refused);
            if files.len() == before && refused.errors.is_empty() {
                let expected = Text::new(
                    "目录中的 YAML、JSON 或 CSV 文件",
                    "YAML, JSON or CSV files in the directory",
                );
                refuse(path, expected, nothing(), &mut refused);
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    let mut documents = Vec::new();
    for file in &files {
        let is_from_directory = !paths.contains(file);
        match read(file) {
            Ok(bytes) => {
                let path = name(file);
                match import::import(import::Input {
                    source,
                    path: &path,
                    format,
                    is_from_directory,
                    bytes: &bytes,
                    at_us,
                }) {
                    Ok(document) => documents.push(document),
                    Err(errors) => refused.errors.extend(errors.errors),
                }
            }
            Err(error) => refuse(
                file,
                Text::new("可读取的文件", "a file that can be read"),
                verbatim(error.to_string()),
                &mut refused,
            ),
        }
    }
    if refused.errors.is_empty() {
        Ok(documents)
    } else {
        Err(refused)
    }
}

/// The path as it is kept: with slashes and without `./`.
fn name(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "/");
    let mut rest = text.as_str();
    while let Some(shorter) = rest.strip_prefix("./") {
        rest = shorter;
    }
    rest.replace("/./", "/").replace("//", "/")
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know that the file is too large.
    std::fs::File::open(path)?
        .take(FILE_SIZE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn walk(directory: &Path, depth: usize, files: &mut Vec<PathBuf>, refused: &mut ImportErrors) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            refuse(
                directory,
                Text::new("可读取的目录", "a directory that can be read"),
                verbatim(error.to_string()),
                refused,
            );
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && depth < DEPTH_MAX {
            walk(&path, depth + 1, files, refused);
        } else if kind.is_file() && is_readable_ending(&path) {
            if files.len() >= FILES_MAX {
                let expected = Text::new(
                    format!("最多 {FILES_MAX} 个文件"),
                    format!("at most {FILES_MAX} files"),
                );
                refuse(directory, expected, more(), refused);
                return;
            }
            files.push(path);
        }
    }
}

fn is_readable_ending(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|it| it.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    ENDINGS.contains(&ending.as_str())
}

fn refuse(path: &Path, expected: Text, found: Text, refused: &mut ImportErrors) {
    let mut collector = Collector::new(&name(path));
    collector.push(0, 0, expected, found);
    refused.errors.extend(collector.into_errors().errors);
}
