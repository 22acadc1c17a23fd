//! Moves and their steps.

use crate::query::document;
use crate::{StoreError, Transaction};
use serde_json::Value;

/// A move.
#[derive(Clone, Debug, PartialEq)]
pub struct MoveRow {
    /// Name, unique.
    pub id: String,
    /// Where it stands.
    pub state: String,
    /// What people approve.
    pub digest: String,
    /// The move.
    pub document: Value,
    /// When it last changed, µs since the Unix epoch.
    pub at_us: i64,
}

/// A step of a move.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRow {
    /// Of which move.
    pub move_id: String,
    /// Name, unique within the move.
    pub step_id: String,
    /// Where it stands.
    pub state: String,
    /// The step's life so far.
    pub document: Value,
    /// When it last changed, µs since the Unix epoch.
    pub at_us: i64,
}

impl Transaction {
    /// Writes a move, replacing what was known of it.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn put_move(&mut self, row: &MoveRow) -> Result<(), StoreError> {
        let what = "write a move";
        let text = row.document.to_string();
        let changed = execute!(
            self,
            what,
            "UPDATE moves SET state = $1, digest = $2, document = $3, at_us = $4 WHERE id = $5",
            &row.state,
            &row.digest,
            &text,
            row.at_us,
            &row.id
        )?;
        if changed == 0 {
            execute!(
                self,
                what,
                "INSERT INTO moves (state, digest, document, at_us, id) VALUES ($1, $2, $3, $4, $5)",
                &row.state,
                &row.digest,
                &text,
                row.at_us,
                &row.id
            )?;
        }
        Ok(())
    }

    /// One move.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn move_row(&mut self, id: &str) -> Result<Option<MoveRow>, StoreError> {
        let rows = fetch!(
            self,
            "read a move",
            (String, String, String, String, i64),
            "SELECT id, state, digest, document, at_us FROM moves WHERE id = $1",
            id
        )?;
        rows.into_iter().next().map(move_row).transpose()
    }

    /// All moves, by id.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn moves(&mut self) -> Result<Vec<MoveRow>, StoreError> {
        let rows = fetch!(
            self,
            "read the moves",
            (String, String, String, String, i64),
            "SELECT id, state, digest, document, at_us FROM moves ORDER BY id"
        )?;
        rows.into_iter().map(move_row).collect()
    }

    /// Writes a step, replacing what was known of it.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn put_step(&mut self, row: &StepRow) -> Result<(), StoreError> {
        let what = "write a step";
        let text = row.document.to_string();
        let changed = execute!(
            self,
            what,
            "UPDATE steps SET state = $1, document = $2, at_us = $3 WHERE move_id = $4 AND step_id = $5",
            &row.state,
            &text,
            row.at_us,
            &row.move_id,
            &row.step_id
        )?;
        if changed == 0 {
            execute!(
                self,
                what,
                "INSERT INTO steps (state, document, at_us, move_id, step_id) VALUES ($1, $2, $3, $4, $5)",
                &row.state,
                &text,
                row.at_us,
                &row.move_id,
                &row.step_id
            )?;
        }
        Ok(())
    }

    /// Forgets a step that was never begun; `false`: there was none.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn remove_step(&mut self, move_id: &str, step_id: &str) -> Result<bool, StoreError> {
        let removed = execute!(
            self,
            "remove a step",
            "DELETE FROM steps WHERE move_id = $1 AND step_id = $2",
            move_id,
            step_id
        )?;
        Ok(removed > 0)
    }

    /// Steps of a move that have a row, by id; their order stands in the move.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn steps(&mut self, move_id: &str) -> Result<Vec<StepRow>, StoreError> {
        let what = "read the steps of a move";
        let rows = fetch!(
            self,
            what,
            (String, String, String, String, i64),
            "SELECT move_id, step_id, state, document, at_us FROM steps WHERE move_id = $1 ORDER BY step_id",
            move_id
        )?;
        rows.into_iter()
            .map(|(move_id, step_id, state, text, at_us)| {
                let document = document(what, &step_id, &text)?;
                Ok(StepRow {
                    move_id,
                    step_id,
                    state,
                    document,
                    at_us,
                })
            })
            .collect()
    }
}

fn move_row(row: (String, String, String, String, i64)) -> Result<MoveRow, StoreError> {
    let (id, state, digest, text, at_us) = row;
    let document = document("read a move", &id, &text)?;
    Ok(MoveRow {
        id,
        state,
        digest,
        document,
        at_us,
    })
}
