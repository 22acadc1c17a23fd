//! Files beside a log: they must have the digests in the records that name them.

use super::problem::Problem;
use crate::reader::{ReadError, Reader};
use crate::record::{Artefact, Record};
use crate::tile_path::TILE_WIDTH;
use crate::tile_store::TileStore;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path};

/// Bytes read at a time while a digest is computed.
const BUFFER_BYTES: usize = 64 * 1024;

/// Most artefacts that are remembered.
const ARTEFACTS_MAX: usize = 1_000_000;

/// What became of the artefacts that the records name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArtefactReport {
    /// Artefacts whose file is there and has the digest.
    pub intact_count: u64,
    /// Artefacts whose file is not there: kept elsewhere, or retired.
    pub absent: Vec<String>,
    /// Artefacts whose file has another digest.
    pub problems: Vec<Problem>,
}

/// Compares the files below `directory` with the records; of several records that name the
/// same file, the last one counts.
///
/// # Errors
///
/// The log cannot be read. A file that cannot be read counts as altered.
pub fn verify_artefacts<S: TileStore>(
    reader: &Reader<S>,
    directory: &Path,
) -> Result<ArtefactReport, ReadError> {
    let mut named: BTreeMap<String, (u64, Artefact)> = BTreeMap::new();
    let mut first = 0;
    while first < reader.size() {
        for (index, entry) in (first..).zip(reader.entries(first..first + TILE_WIDTH)?) {
            // Logs of others hold entries that are not records.
            let Ok(record) = Record::from_bytes(&entry) else {
                continue;
            };
            for artefact in record.artefacts {
                if named.len() < ARTEFACTS_MAX || named.contains_key(&artefact.name) {
                    named.insert(artefact.name.clone(), (index, artefact));
                }
            }
        }
        first += TILE_WIDTH;
    }
    let mut report = ArtefactReport::default();
    for (name, (index, artefact)) in named {
        let path = Path::new(&name);
        if !path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            report.absent.push(name);
            continue;
        }
        match digest_file(&directory.join(path)) {
            Ok((digest, size_bytes))
                if digest == artefact.sha256 && size_bytes == artefact.size_bytes =>
            {
                report.intact_count += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => report.absent.push(name),
            _ => report
                .problems
                .push(Problem::ArtefactAltered { name, index }),
        }
    }
    Ok(report)
}

fn digest_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut size_bytes) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        hasher.update(chunk);
        size_bytes += chunk.len() as u64;
    }
    Ok((hex::encode(hasher.finalize()), size_bytes))
}
