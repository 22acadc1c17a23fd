//! Estate documents, one per imported file.

use crate::query::document;
use crate::{StoreError, Transaction};
use serde_json::Value;

/// What one file said.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// Name of the source.
    pub name: String,
    /// Path of the file within the source.
    pub path: String,
    /// Kind of importer that read it.
    pub kind: String,
    /// Digest of what it said.
    pub digest: String,
    /// Normalised content.
    pub document: Value,
    /// When it was imported, µs since the Unix epoch.
    pub at_us: i64,
}

impl Transaction {
    /// Writes a document, replacing what the same file said before.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn put_source(&mut self, row: &SourceRow) -> Result<(), StoreError> {
        let what = "write an estate document";
        let text = row.document.to_string();
        let changed = execute!(
            self,
            what,
            "UPDATE sources SET kind = $1, digest = $2, document = $3, at_us = $4 WHERE name = $5 AND path = $6",
            &row.kind,
            &row.digest,
            &text,
            row.at_us,
            &row.name,
            &row.path
        )?;
        if changed == 0 {
            execute!(
                self,
                what,
                "INSERT INTO sources (kind, digest, document, at_us, name, path) VALUES ($1, $2, $3, $4, $5, $6)",
                &row.kind,
                &row.digest,
                &text,
                row.at_us,
                &row.name,
                &row.path
            )?;
        }
        Ok(())
    }

    /// Forgets a document; `false`: there was none.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn remove_source(&mut self, name: &str, path: &str) -> Result<bool, StoreError> {
        let removed = execute!(
            self,
            "remove an estate document",
            "DELETE FROM sources WHERE name = $1 AND path = $2",
            name,
            path
        )?;
        Ok(removed > 0)
    }

    /// All documents, by name and path.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn sources(&mut self) -> Result<Vec<SourceRow>, StoreError> {
        let what = "read the estate";
        let rows = fetch!(
            self,
            what,
            (String, String, String, String, String, i64),
            "SELECT name, path, kind, digest, document, at_us FROM sources ORDER BY name, path"
        )?;
        rows.into_iter()
            .map(|(name, path, kind, digest, text, at_us)| {
                let document = document(what, &name, &text)?;
                Ok(SourceRow {
                    name,
                    path,
                    kind,
                    digest,
                    document,
                    at_us,
                })
            })
            .collect()
    }
}
