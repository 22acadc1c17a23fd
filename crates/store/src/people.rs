//! People with their roles and public keys.

use crate::query::document;
use crate::{StoreError, Transaction};
use serde_json::Value;

/// A person.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonRow {
    /// Name, unique.
    pub id: String,
    /// The person.
    pub document: Value,
    /// Since when, µs since the Unix epoch.
    pub at_us: i64,
}

impl Transaction {
    /// Adds a person; `false`: somebody has this id already, and nothing was changed.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn add_person(&mut self, row: &PersonRow) -> Result<bool, StoreError> {
        let what = "add a person";
        let known = fetch!(
            self,
            what,
            (String,),
            "SELECT id FROM people WHERE id = $1",
            &row.id
        )?;
        if !known.is_empty() {
            return Ok(false);
        }
        execute!(
            self,
            what,
            "INSERT INTO people (id, document, at_us) VALUES ($1, $2, $3)",
            &row.id,
            row.document.to_string(),
            row.at_us
        )?;
        Ok(true)
    }

    /// All people, by id.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Document`].
    pub async fn people(&mut self) -> Result<Vec<PersonRow>, StoreError> {
        let what = "read people";
        let rows = fetch!(
            self,
            what,
            (String, String, i64),
            "SELECT id, document, at_us FROM people ORDER BY id"
        )?;
        rows.into_iter()
            .map(|(id, text, at_us)| {
                let document = document(what, &id, &text)?;
                Ok(PersonRow {
                    id,
                    document,
                    at_us,
                })
            })
            .collect()
    }
}
