//! A record: what was done or measured, on what, by whom or what, when, with the digests of
//! its artefacts.

use crate::canonical::{self, CanonicalError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest canonical form of a record: an entry's length is written in two bytes.
pub const RECORD_BYTES_MAX: usize = 65_535;

/// Longest `id`, `kind`, `subject`, `actor` or artefact name.
pub const NAME_BYTES_MAX: usize = 512;

/// One piece of evidence. Its canonical JSON is the entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Chosen by the writer; the same id means the same event, however often it is sent.
    pub id: String,
    /// What kind of event, such as `gate.verdict` or `volume.cutover`.
    pub kind: String,
    /// What it is about, such as `move/core-ledger`.
    pub subject: String,
    /// The person or component that did or measured it.
    pub actor: String,
    /// When, in microseconds since the Unix epoch, by the writer's clock.
    pub at_us: i64,
    /// The particulars; integers only.
    pub body: Value,
    /// Files that belong to it and lie elsewhere.
    pub artefacts: Vec<Artefact>,
}

/// A file that a record refers to by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// Its path relative to the workspace, with `/` between the parts.
    pub name: String,
    /// SHA-256 of its bytes, 64 lower-case hex digits.
    pub sha256: String,
    /// Its length.
    pub size_bytes: u64,
}

/// Why a record cannot be written, or bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A name is missing, too long or has control characters.
    #[error(
        "record `{id}`: {field} is `{value}`: it must have 1 to {NAME_BYTES_MAX} bytes and no control characters"
    )]
    Name {
        /// The record's id.
        id: String,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// An artefact's digest is not SHA-256 in lower-case hex.
    #[error(
        "record `{id}`: artefact `{name}` has the digest `{digest}`: expected 64 lower-case hex digits of SHA-256"
    )]
    Digest {
        /// The record's id.
        id: String,
        /// The artefact.
        name: String,
        /// The digest given.
        digest: String,
    },
    /// A value has no canonical form.
    #[error("record `{id}`: {source}")]
    Canonical {
        /// The record's id.
        id: String,
        /// Where and why.
        source: CanonicalError,
    },
    /// The record is longer than an entry may be.
    #[error(
        "record `{id}` has {size_bytes} bytes, an entry at most {RECORD_BYTES_MAX}: write the bulk to a file and name it as an artefact"
    )]
    TooLong {
        /// The record's id.
        id: String,
        /// Its length.
        size_bytes: usize,
    },
    /// The bytes are not a record's JSON.
    #[error("the entry is not a record: {0}")]
    NotARecord(serde_json::Error),
    /// The bytes are a record, but not in its canonical form.
    #[error("record `{id}` is not in canonical form (sorted keys, no white space, integers only)")]
    NotCanonical {
        /// The record's id.
        id: String,
    },
}

// === impl Record ===

impl Record {
    /// The canonical JSON, which is the entry of the log.
    ///
    /// # Errors
    ///
    /// An empty or overlong name, a malformed digest, a float, or more than
    /// [`RECORD_BYTES_MAX`] bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        for (field, value) in [
            ("id", &self.id),
            ("kind", &self.kind),
            ("subject", &self.subject),
            ("actor", &self.actor),
        ] {
            self.check_name(field, value)?;
        }
        for artefact in &self.artefacts {
            self.check_name("artefact name", &artefact.name)?;
            let hex_digits = artefact
                .sha256
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if artefact.sha256.len() != 64 || !hex_digits {
                return Err(RecordError::Digest {
                    id: self.id.clone(),
                    name: artefact.name.clone(),
                    digest: artefact.sha256.clone(),
                });
            }
        }
        let canonical_error = |source| RecordError::Canonical {
            id: self.id.clone(),
            source,
        };
        let value = serde_json::to_value(self).map_err(|e| canonical_error(e.into()))?;
        let bytes = canonical::to_bytes(&value).map_err(canonical_error)?;
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong {
                id: self.id.clone(),
                size_bytes: bytes.len(),
            });
        }
        Ok(bytes)
    }

    /// Reads an entry of the log.
    ///
    /// # Errors
    ///
    /// Bytes that [`Record::to_bytes`] would not have written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Record = serde_json::from_slice(bytes).map_err(RecordError::NotARecord)?;
        if record.to_bytes()? != bytes {
            return Err(RecordError::NotCanonical { id: record.id });
        }
        Ok(record)
    }

    fn check_name(&self, field: &'static str, value: &str) -> Result<(), RecordError> {
        if value.is_empty() || value.len() > NAME_BYTES_MAX || value.chars().any(char::is_control) {
            let value = value.chars().take(64).collect();
            return Err(RecordError::Name {
                id: self.id.clone(),
                field,
                value,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn record(body: Value) -> Record {
        Record {
            id: "r-1".into(),
            kind: "volume.cutover".into(),
            subject: "volume/core".into(),
            actor: "node/a".into(),
            at_us: 1,
            body,
            artefacts: vec![Artefact {
                name: "a.txt".into(),
                sha256: "0".repeat(64),
                size_bytes: 3,
            }],
        }
    }

    #[test]
    fn a_record_has_one_form() {
        let bytes = record(json!({"z": 1, "a": "渡"})).to_bytes().unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            format!(
                "{{\"actor\":\"node/a\",\"artefacts\":[{{\"name\":\"a.txt\",\"sha256\":\"{}\",\"size_bytes\":3}}],\"at_us\":1,\"body\":{{\"a\":\"渡\",\"z\":1}},\"id\":\"r-1\",\"kind\":\"volume.cutover\",\"subject\":\"volume/core\"}}",
                "0".repeat(64)
            )
        );
        let mut spaced = bytes;
        spaced.insert(1, b' ');
        assert!(matches!(
            Record::from_bytes(&spaced),
            Err(RecordError::NotCanonical { .. })
        ));
    }

    #[test]
    fn nonsense_is_refused_with_the_field() {
        let mut empty = record(json!({}));
        empty.subject = String::new();
        assert!(
            empty
                .to_bytes()
                .unwrap_err()
                .to_string()
                .contains("subject")
        );
        let mut digest = record(json!({}));
        digest.artefacts[0].sha256 = "AB".repeat(32);
        assert!(matches!(digest.to_bytes(), Err(RecordError::Digest { .. })));
        let error = record(json!({"stall": 1.5}))
            .to_bytes()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("body.stall") && error.contains("r-1"),
            "{error}"
        );
        let long = record(json!("x".repeat(RECORD_BYTES_MAX)));
        assert!(matches!(long.to_bytes(), Err(RecordError::TooLong { .. })));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(body in any_json(), at_us in any::<i64>()) {
            let mut written = record(body);
            written.at_us = at_us;
            let bytes = written.to_bytes().unwrap();
            prop_assert_eq!(Record::from_bytes(&bytes).unwrap(), written);
        }
    }
}
