//! How far the events of each volume's copy were taken over.

use crate::{StoreError, Transaction};

impl Transaction {
    /// Sequence number of the last event taken over from `node`; 0: none yet.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn volume_cursor(&mut self, node: &str) -> Result<u64, StoreError> {
        let rows = fetch!(
            self,
            "read how far events were taken over",
            (i64,),
            "SELECT sequence FROM volume_cursors WHERE node = $1",
            node
        )?;
        Ok(rows
            .first()
            .map_or(0, |(sequence,)| sequence.unsigned_abs()))
    }

    /// Notes that events of `node` were taken over up to `sequence`; never goes back.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn put_volume_cursor(&mut self, node: &str, sequence: u64) -> Result<(), StoreError> {
        let what = "note how far events were taken over";
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        let known = fetch!(
            self,
            what,
            (i64,),
            "SELECT sequence FROM volume_cursors WHERE node = $1",
            node
        )?;
        match known.first() {
            None => execute!(
                self,
                what,
                "INSERT INTO volume_cursors (sequence, node) VALUES ($1, $2)",
                sequence,
                node
            )?,
            Some((before,)) if *before < sequence => execute!(
                self,
                what,
                "UPDATE volume_cursors SET sequence = $1 WHERE node = $2",
                sequence,
                node
            )?,
            Some(_) => 0,
        };
        Ok(())
    }
}
