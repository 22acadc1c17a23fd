//! Decisions of people, each with its signature.

use crate::query::document;
use crate::{StoreError, Transaction};
use serde_json::Value;

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalRow {
    /// Name, unique.
    pub id: String,
    /// What it is about, such as the id of a move; by this it is found, whatever digest it binds.
    pub about: String,
    /// Kind of the thing decided on.
    pub subject_kind: String,
    /// Digest of the thing decided on.
    pub subject_digest: String,
    /// Who decided.
    pub person: String,
    /// The signed decision.
    pub document: Value,
    /// When, µs since the Unix epoch.
    pub at_us: i64,
}

impl Transaction {
    /// Adds a decision; `false`: it is there already.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn add_approval(&mut self, row: &ApprovalRow) -> Result<bool, StoreError> {
        let what = "add an approval";
        let known = fetch!(
            self,
            what,
            (String,),
            "SELECT id FROM approvals WHERE id = $1",
            &row.id
        )?;
        if !known.is_empty() {
            return Ok(false);
        }
        execute!(
            self,
            what,
            "INSERT INTO approvals (id, about, subject_kind, subject_digest, person, document, at_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &row.id,
            &row.about,
            &row.subject_kind,
            &row.subject_digest,
            &row.person,
            row.document.to_string(),
            row.at_us
        )?;
        Ok(true)
    }

    /// All decisions about something, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn approvals(&mut self, about: &str) -> Result<Vec<ApprovalRow>, StoreError> {
        let what = "read approvals";
        let rows = fetch!(
            self,
            what,
            (String, String, String, String, String, String, i64),
            "SELECT id, about, subject_kind, subject_digest, person, document, at_us FROM approvals WHERE about = $1 ORDER BY at_us, id",
            about
        )?;
        rows.into_iter()
            .map(
                |(id, about, subject_kind, subject_digest, person, text, at_us)| {
                    let document = document(what, &id, &text)?;
                    Ok(ApprovalRow {
                        id,
                        about,
                        subject_kind,
                        subject_digest,
                        person,
                        document,
                        at_us,
                    })
                },
            )
            .collect()
    }
}
