//! Evidence on its way to the ledger.

use crate::{StoreError, Transaction};
use yundu_evidence::Record;

/// A record and where it stands in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// Order in which records were written.
    pub sequence: i64,
    /// Index in the ledger; `None`: not there yet.
    pub ledger_index: Option<u64>,
    /// The record.
    pub record: Record,
}

impl Transaction {
    /// Writes evidence in the same transaction as the change it tells of. `false`: the same record
    /// was written before, and nothing was changed.
    ///
    /// # Errors
    /// [`StoreError::Record`] when it cannot become a ledger entry;
    /// [`StoreError::RecordIdTaken`]; [`StoreError::Query`].
    pub async fn record(&mut self, record: &Record) -> Result<bool, StoreError> {
        let what = "write evidence";
        let text = String::from_utf8_lossy(&record.to_bytes()?).into_owned();
        let known = fetch!(
            self,
            what,
            (String,),
            "SELECT record FROM outbox WHERE record_id = $1",
            &record.id
        )?;
        match known.first() {
            Some((before,)) if *before == text => return Ok(false),
            Some(_) => {
                return Err(StoreError::RecordIdTaken {
                    id: record.id.clone(),
                });
            }
            None => {}
        }
        execute!(
            self,
            what,
            "INSERT INTO outbox (sequence, record_id, subject, kind, record) SELECT COALESCE(MAX(sequence), 0) + 1, $1, $2, $3, $4 FROM outbox",
            &record.id,
            &record.subject,
            &record.kind,
            &text
        )?;
        Ok(true)
    }

    /// Whether a record with this id was written.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn has_record(&mut self, id: &str) -> Result<bool, StoreError> {
        let known = fetch!(
            self,
            "look for evidence",
            (String,),
            "SELECT record_id FROM outbox WHERE record_id = $1",
            id
        )?;
        Ok(!known.is_empty())
    }

    /// Records about `subject`, in the order written, with their places in the ledger.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn records_about(&mut self, subject: &str) -> Result<Vec<OutboxRow>, StoreError> {
        let rows = fetch!(
            self,
            "read evidence",
            (i64, Option<i64>, String),
            "SELECT sequence, ledger_index, record FROM outbox WHERE subject = $1 ORDER BY sequence",
            subject
        )?;
        rows.into_iter().map(outbox_row).collect()
    }

    /// Records that are not in the ledger yet, oldest first, at most `count_max`.
    pub(crate) async fn pending(&mut self, count_max: i64) -> Result<Vec<OutboxRow>, StoreError> {
        let rows = fetch!(
            self,
            "read the outbox",
            (i64, Option<i64>, String),
            "SELECT sequence, ledger_index, record FROM outbox WHERE ledger_index IS NULL ORDER BY sequence LIMIT $1",
            count_max
        )?;
        rows.into_iter().map(outbox_row).collect()
    }

    /// The greatest ledger index noted; `None`: no record is known to be in the ledger.
    pub(crate) async fn greatest_index(&mut self) -> Result<Option<u64>, StoreError> {
        let rows = fetch!(
            self,
            "read the outbox",
            (Option<i64>,),
            "SELECT MAX(ledger_index) FROM outbox"
        )?;
        Ok(rows
            .first()
            .and_then(|(index,)| *index)
            .map(i64::unsigned_abs))
    }

    pub(crate) async fn mark(
        &mut self,
        sequence: i64,
        ledger_index: u64,
    ) -> Result<(), StoreError> {
        let index = i64::try_from(ledger_index).unwrap_or(i64::MAX);
        execute!(
            self,
            "mark the outbox",
            "UPDATE outbox SET ledger_index = $1 WHERE sequence = $2",
            index,
            sequence
        )?;
        Ok(())
    }
}

fn outbox_row(row: (i64, Option<i64>, String)) -> Result<OutboxRow, StoreError> {
    let (sequence, ledger_index, text) = row;
    let record = serde_json::from_str(&text).map_err(|source| StoreError::Document {
        what: "read the outbox",
        key: sequence.to_string(),
        source,
    })?;
    Ok(OutboxRow {
        sequence,
        ledger_index: ledger_index.map(i64::unsigned_abs),
        record,
    })
}
