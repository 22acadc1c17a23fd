//! Verdicts of gates with everything they were computed from.

use crate::query::document;
use crate::{StoreError, Transaction};
use serde_json::Value;

/// A verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictRow {
    /// Name, unique; also the id of its record in the ledger.
    pub id: String,
    /// Which move.
    pub subject: String,
    /// Which gate.
    pub gate: String,
    /// Whether it was open.
    pub open: bool,
    /// SHA-256 of the canonical input.
    pub input_digest: String,
    /// SHA-256 of the bundle of policies.
    pub policy_digest: String,
    /// The input, canonical JSON, exactly the bytes that have the digest.
    pub input: String,
    /// The bundle of policies, exactly the bytes that have the digest.
    pub policy: String,
    /// The verdict.
    pub verdict: Value,
    /// When, µs since the Unix epoch.
    pub at_us: i64,
}

impl Transaction {
    /// Adds a verdict.
    ///
    /// # Errors
    /// [`StoreError::Query`], also when the id is taken.
    pub async fn add_verdict(&mut self, row: &VerdictRow) -> Result<(), StoreError> {
        execute!(
            self,
            "add a verdict",
            "INSERT INTO verdicts (id, subject, gate, opened, input_digest, policy_digest, input, policy, verdict, at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &row.id,
            &row.subject,
            &row.gate,
            i64::from(row.open),
            &row.input_digest,
            &row.policy_digest,
            &row.input,
            &row.policy,
            row.verdict.to_string(),
            row.at_us
        )?;
        Ok(())
    }

    /// All verdicts about a move, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn verdicts(&mut self, subject: &str) -> Result<Vec<VerdictRow>, StoreError> {
        let what = "read verdicts";
        let rows = fetch!(
            self,
            what,
            (
                String, String, String, i64, String, String, String, String, String, i64
            ),
            "SELECT id, subject, gate, opened, input_digest, policy_digest, input, policy, verdict, at_us FROM verdicts WHERE subject = $1 ORDER BY at_us, id",
            subject
        )?;
        rows.into_iter()
            .map(
                |(
                    id,
                    subject,
                    gate,
                    open,
                    input_digest,
                    policy_digest,
                    input,
                    policy,
                    text,
                    at_us,
                )| {
                    let verdict = document(what, &id, &text)?;
                    Ok(VerdictRow {
                        id,
                        subject,
                        gate,
                        open: open != 0,
                        input_digest,
                        policy_digest,
                        input,
                        policy,
                        verdict,
                        at_us,
                    })
                },
            )
            .collect()
    }
}
