//! The dishonest administrator: has the log's real key and every right on the machine, rewrites
//! one record, and builds and signs a log that is right in itself.

use anyhow::{Context as _, Result, bail};
use std::path::Path;
use yundu_evidence::{DirectoryStore, Ledger, LogKey, Reader, Record};

/// What is rewritten: a refusal becomes an opening.
const KIND: &str = "gate.verdict";

/// Copies the ledger of `workspace` to `forged/ledger`, with the first refusal of a gate turned
/// into its opposite, signed with the real key. Returns the index of the rewritten record.
///
/// # Errors
/// When the ledger cannot be read or holds no refusal.
pub(super) fn rewrite(workspace: &Path, forged: &Path) -> Result<u64> {
    let key = LogKey::load(&workspace.join("keys/log.key"))?;
    let honest = workspace.join("ledger");
    let reader = Reader::open(DirectoryStore::open_read_only(&honest)?, key.verifier_key())?;
    let mut records = reader.records(0..reader.size())?;
    let Some(index) = records.iter().position(is_refusal) else {
        bail!("the ledger holds no refusal that could be forged");
    };
    let record = records.get_mut(index).context("the record is gone")?;
    if let Some(body) = record.body.as_object_mut() {
        body.insert("open".to_owned(), true.into());
    }
    std::fs::create_dir_all(forged)?;
    let store = DirectoryStore::open(forged.join("ledger"))?;
    Ledger::create(store, key)?.append(&records)?;
    Ok(u64::try_from(index)?)
}

fn is_refusal(record: &Record) -> bool {
    record.kind == KIND && record.body.get("open").and_then(|open| open.as_bool()) == Some(false)
}
