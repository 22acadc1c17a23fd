//! Verification of a whole log: every entry, tile and checkpoint, with each problem named.

mod artefacts;
mod beside_writer;
mod findings;
mod problem;
mod survey;

pub use artefacts::{ArtefactReport, verify_artefacts};
pub use findings::PROBLEMS_MAX;
pub use problem::Problem;

use crate::checkpoint::SignedCheckpoint;
use crate::key::VerifierKey;
use crate::repair::is_staging;
use crate::tile_path::{
    CHECKPOINT_FILE, PUBLIC_KEY_FILE, TILE_WIDTH, TileKind, TilePath, hash_count, tile_at,
};
use crate::tile_store::{StoreError, TileStore};
use beside_writer::BesideWriter;
use findings::Findings;
use serde::Serialize;
use survey::Survey;
use tlog_tiles::Hash;

/// How often the end of a running append is waited for.
const PAUSES_MAX: u32 = 25;

/// What verification saw and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The name of the log, from the key.
    pub origin: String,
    /// Whether nothing was found.
    pub verified: bool,
    /// Entries that the checkpoint covers, or, without a usable one, that the files suggest.
    pub size: u64,
    /// Root hash, base64; absent without a usable checkpoint.
    pub root: Option<String>,
    /// Entries of the kept checkpoint, when one was given and is signed.
    pub kept_size: Option<u64>,
    /// Bundles of entries read.
    pub bundle_count: u64,
    /// Tiles of hashes read.
    pub tile_count: u64,
    /// Further signers of the checkpoint, whose keys were not given.
    pub unchecked_signers: Vec<String>,
    /// What was altered, at most [`PROBLEMS_MAX`] things.
    pub problems: Vec<Problem>,
    /// Problems beyond that number.
    pub problems_omitted: u64,
}

/// Checks every file of a log against its public key, which must come from someone trusted,
/// and against a checkpoint that someone else kept, if there is one.
///
/// Superseded partial tiles, which the specification allows to stay, must be the beginning of
/// their successors. Any other file is reported. When the writer appends meanwhile, the log is
/// verified as it stood when this was called.
///
/// # Errors
///
/// Files that cannot be read. What was altered is no error but part of the report.
pub fn verify(
    store: &impl TileStore,
    key: &VerifierKey,
    kept_checkpoint: Option<&str>,
) -> Result<VerifyReport, StoreError> {
    verify_beside_writer(store, key, kept_checkpoint, || ())
}

/// As [`verify`], for a log whose writer may be in the middle of an append: when the findings can
/// come from one, `pause` is called a few times until its checkpoint appears. With a pause of
/// 20 ms, half a second tells a running append from one that a crash cut short.
///
/// # Errors
///
/// Files that cannot be read.
pub fn verify_beside_writer(
    store: &impl TileStore,
    key: &VerifierKey,
    kept_checkpoint: Option<&str>,
    mut pause: impl FnMut(),
) -> Result<VerifyReport, StoreError> {
    let before = store.read(CHECKPOINT_FILE)?.unwrap_or_default();
    let report = verify_once(store, key, kept_checkpoint)?;
    let parsed = |bytes: &[u8]| SignedCheckpoint::parse(bytes, key).map(|parsed| parsed.size);
    let running = report.problems.iter().any(Problem::may_be_a_running_append);
    let Some(size) = parsed(&before).ok().filter(|_| running) else {
        return Ok(report);
    };
    for _ in 0..PAUSES_MAX {
        // A missing or a new file is no finding if the writer has replaced the checkpoint.
        let after = store.read(CHECKPOINT_FILE)?.unwrap_or_default();
        if parsed(&after).is_ok_and(|size_after| size_after > size) {
            let then = BesideWriter {
                store,
                checkpoint: before,
                size,
            };
            return verify_once(&then, key, kept_checkpoint);
        }
        pause();
    }
    Ok(report)
}

fn verify_once(
    store: &impl TileStore,
    key: &VerifierKey,
    kept_checkpoint: Option<&str>,
) -> Result<VerifyReport, StoreError> {
    let mut findings = Findings::default();
    let checkpoint = read_checkpoint(store, key, &mut findings)?;
    let paths = store.list()?;
    let size_of_files = size_of_files(&paths);
    let size = checkpoint
        .as_ref()
        .map_or(size_of_files, |checkpoint| checkpoint.size);
    // A size beyond what the files can hold is reported once, not once for every file missing.
    let readable = size.min(size_of_files);
    if readable < size {
        let missing = tile_at(TileKind::Entries, readable / TILE_WIDTH, size);
        let file = missing.map(|tile| tile.to_string()).unwrap_or_default();
        findings.add(Problem::FileMissing { file });
    }
    let mut survey = Survey::read(store, readable, &mut findings)?;
    let root = checkpoint
        .as_ref()
        .filter(|_| readable == size)
        .map(|checkpoint| checkpoint.root);
    let confirmed = survey.authenticate(root);
    survey.report(store, &mut findings)?;
    if let Some(root) = root
        && (!confirmed || size == 0)
        && findings.is_empty()
        && survey.root_at(store, size)? != root
    {
        findings.add(Problem::RootMismatch {
            file: CHECKPOINT_FILE.to_owned(),
        });
    }
    check_other_files(store, key, &survey, readable, &paths, &mut findings)?;
    let mut kept_size = None;
    if let Some(text) = kept_checkpoint {
        match SignedCheckpoint::parse(text.as_bytes(), key) {
            Ok(kept) => {
                kept_size = Some(kept.size);
                compare_with_kept(store, &survey, readable, &kept, &mut findings)?;
            }
            Err(error) => {
                findings.add(Problem::KeptCheckpointUnusable {
                    reason: error.to_string(),
                });
            }
        }
    }
    let (root, unchecked_signers) = match checkpoint {
        Some(checkpoint) => (
            Some(checkpoint.root.to_string()),
            checkpoint.unchecked_signers,
        ),
        None => (None, Vec::new()),
    };
    Ok(VerifyReport {
        origin: key.origin().to_owned(),
        verified: findings.is_empty(),
        size,
        root,
        kept_size,
        bundle_count: survey.bundle_count,
        tile_count: survey.tile_count,
        unchecked_signers,
        problems: findings.problems,
        problems_omitted: findings.omitted,
    })
}

fn read_checkpoint(
    store: &impl TileStore,
    key: &VerifierKey,
    findings: &mut Findings,
) -> Result<Option<SignedCheckpoint>, StoreError> {
    let file = CHECKPOINT_FILE.to_owned();
    let Some(bytes) = store.read(CHECKPOINT_FILE)? else {
        findings.add(Problem::FileMissing { file });
        return Ok(None);
    };
    match SignedCheckpoint::parse(&bytes, key) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(error) => {
            findings.add(Problem::CheckpointAltered {
                file,
                reason: error.to_string(),
            });
            Ok(None)
        }
    }
}

/// Entries that the bundles and tiles of level 0 have room for, judged by their names; bounded by
/// their number, so that one file with a large number in its name costs nothing.
fn size_of_files(paths: &[String]) -> u64 {
    let (mut end, mut count) = (0_u64, 0_u64);
    for tile in paths.iter().filter_map(|path| TilePath::parse(path)) {
        if tile.level() == 0 {
            end = end.max(tile.first_entry().saturating_add(tile.width));
            count += 1;
        }
    }
    end.min(count.saturating_mul(TILE_WIDTH))
}

/// Everything that is not a current bundle or tile.
fn check_other_files(
    store: &impl TileStore,
    key: &VerifierKey,
    survey: &Survey,
    size: u64,
    paths: &[String],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    for path in paths {
        let file = path.clone();
        if path == CHECKPOINT_FILE {
            continue;
        }
        if path == PUBLIC_KEY_FILE {
            if store.read(path)?.as_deref() != Some(format!("{}\n", key.text()).as_bytes()) {
                findings.add(Problem::PublicKeyDiffers { file });
            }
            continue;
        }
        let Some(tile) = TilePath::parse(path) else {
            let unfinished_append = is_staging(path);
            findings.add(Problem::FileUnexpected {
                file,
                unfinished_append,
            });
            continue;
        };
        let end = tile
            .index
            .saturating_mul(TILE_WIDTH)
            .saturating_add(tile.width);
        match tile_at(tile.kind, tile.index, size) {
            Some(current) if current == tile => {}
            Some(_) if end <= hash_count(tile.level(), size) => {
                check_superseded(store, survey, tile, findings)?;
            }
            _ => findings.add(Problem::FileUnexpected {
                file,
                unfinished_append: true,
            }),
        }
    }
    Ok(())
}

/// A partial tile that a wider one replaced must be its beginning.
fn check_superseded(
    store: &impl TileStore,
    survey: &Survey,
    tile: TilePath,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let expected = survey.hashes_of(store, tile)?;
    let file = tile.to_string();
    match tile.kind {
        TileKind::Hashes(_) => {
            let found = survey::read_hashes(store, tile, findings)?;
            if found.is_some_and(|hashes| hashes != expected) {
                findings.add(Problem::TileAltered { file });
            }
        }
        TileKind::Entries => {
            let found = survey::read_leaves(store, tile, findings)?.unwrap_or_default();
            let differing = found
                .iter()
                .zip(&expected)
                .position(|(found, right)| found != right);
            if let Some(place) = differing {
                let index = tile.first_entry() + place as u64;
                findings.add(Problem::EntryAltered {
                    index,
                    file,
                    record_id: None,
                });
            }
        }
    }
    Ok(())
}

fn compare_with_kept(
    store: &impl TileStore,
    survey: &Survey,
    size: u64,
    kept: &SignedCheckpoint,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    if kept.size > size {
        findings.add(Problem::Shortened {
            kept_size: kept.size,
            size,
        });
        return Ok(());
    }
    let root: Hash = survey.root_at(store, kept.size)?;
    if root != kept.root {
        findings.add(Problem::Rewritten {
            kept_size: kept.size,
            kept_root: kept.root.to_string(),
            root: root.to_string(),
        });
    }
    Ok(())
}
