//! Plans, in the order in which they were made.

use crate::query::document;
use crate::{StoreError, Transaction};
use serde_json::Value;

/// A plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRow {
    /// Digest of the plan.
    pub digest: String,
    /// The plan.
    pub document: Value,
    /// When it was made, µs since the Unix epoch.
    pub at_us: i64,
}

impl Transaction {
    /// Makes this plan the latest; a plan with the same digest is moved to the end.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn put_plan(&mut self, row: &PlanRow) -> Result<(), StoreError> {
        let what = "write a plan";
        execute!(
            self,
            what,
            "DELETE FROM plans WHERE digest = $1",
            &row.digest
        )?;
        execute!(
            self,
            what,
            "INSERT INTO plans (sequence, digest, document, at_us) SELECT COALESCE(MAX(sequence), 0) + 1, $1, $2, $3 FROM plans",
            &row.digest,
            row.document.to_string(),
            row.at_us
        )?;
        Ok(())
    }

    /// The latest plan.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn latest_plan(&mut self) -> Result<Option<PlanRow>, StoreError> {
        let what = "read the plan";
        let rows = fetch!(
            self,
            what,
            (String, String, i64),
            "SELECT digest, document, at_us FROM plans ORDER BY sequence DESC LIMIT 1"
        )?;
        rows.into_iter()
            .next()
            .map(|(digest, text, at_us)| {
                let document = document(what, &digest, &text)?;
                Ok(PlanRow {
                    digest,
                    document,
                    at_us,
                })
            })
            .transpose()
    }
}
