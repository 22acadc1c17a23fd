//! The one way from the outbox into the ledger: in order, nothing lost, nothing twice.
//!
//! The ledger cannot take part in a database transaction. So records are appended first and marked
//! after; what a crash leaves appended but unmarked is found again by its record id in the
//! ledger's tail, beyond the greatest index that was marked.

use crate::{Store, StoreError};
use std::collections::HashMap;
use yundu_evidence::{Ledger, TileStore};

/// Records appended at once; the ledger syncs once per batch.
const BATCH_RECORDS: i64 = 256;

/// Ledger entries read at once while looking for a tail that was not marked.
const TAIL_RECORDS: u64 = 256;

/// A place between two operations of the sequencer, where a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The batch was read, nothing is appended.
    BeforeAppend,
    /// The batch is durable in the ledger, nothing is marked.
    AfterAppend,
    /// The batch is marked.
    AfterMark,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records appended now.
    pub appended: u64,
    /// Records that an earlier, interrupted drain had appended, marked now.
    pub recovered: u64,
}

/// Moves every pending record into the ledger. Whoever has the [`Ledger`] open holds its lock, so
/// that there is one sequencer at a time.
///
/// # Errors
/// [`StoreError`]; run again, nothing is lost or doubled.
pub async fn drain<S: TileStore>(
    store: &Store,
    ledger: &mut Ledger<S>,
) -> Result<Drained, StoreError> {
    drain_watched(store, ledger, |_| true).await
}

/// As [`drain`]; `go_on` is asked at each [`Boundary`], and `false` stops there as a crash would.
///
/// # Errors
/// As [`drain`], and [`StoreError::Stopped`].
pub async fn drain_watched<S: TileStore>(
    store: &Store,
    ledger: &mut Ledger<S>,
    mut go_on: impl FnMut(Boundary) -> bool,
) -> Result<Drained, StoreError> {
    let mut watch = |at| {
        if go_on(at) {
            Ok(())
        } else {
            Err(StoreError::Stopped { at })
        }
    };
    let mut drained = Drained {
        recovered: recover(store, ledger).await?,
        ..Drained::default()
    };
    loop {
        let batch = store.read().await?.pending(BATCH_RECORDS).await?;
        if batch.is_empty() {
            return Ok(drained);
        }
        let records: Vec<_> = batch.iter().map(|row| row.record.clone()).collect();
        watch(Boundary::BeforeAppend)?;
        let indices = ledger.append(&records)?;
        watch(Boundary::AfterAppend)?;
        let mut change = store.begin().await?;
        for (row, index) in batch.iter().zip(&indices) {
            change.mark(row.sequence, *index).await?;
        }
        change.commit().await?;
        drained.appended += u64::try_from(indices.len()).unwrap_or(u64::MAX);
        watch(Boundary::AfterMark)?;
    }
}

/// Marks what stands in the ledger's tail but is not marked.
async fn recover<S: TileStore>(store: &Store, ledger: &Ledger<S>) -> Result<u64, StoreError> {
    let mut reading = store.read().await?;
    let greatest = reading.greatest_index().await?;
    let ledger_size = ledger.size();
    if let Some(seen) = greatest.filter(|seen| *seen >= ledger_size) {
        return Err(StoreError::LedgerBehind { ledger_size, seen });
    }
    let mut next = greatest.map_or(0, |seen| seen + 1);
    if next == ledger_size {
        return Ok(0);
    }
    // Batches are appended in order, so an interrupted one is the oldest that is pending.
    let mut pending: HashMap<String, i64> = reading
        .pending(BATCH_RECORDS)
        .await?
        .into_iter()
        .map(|row| (row.record.id, row.sequence))
        .collect();
    drop(reading);
    let mut found = Vec::new();
    while next < ledger_size && !pending.is_empty() {
        let end = ledger_size.min(next + TAIL_RECORDS);
        for (index, record) in (next..end).zip(ledger.records(next..end)?) {
            found.extend(pending.remove(&record.id).map(|sequence| (sequence, index)));
        }
        next = end;
    }
    if found.is_empty() {
        return Ok(0);
    }
    let mut change = store.begin().await?;
    for (sequence, index) in &found {
        change.mark(*sequence, *index).await?;
    }
    change.commit().await?;
    Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
}
