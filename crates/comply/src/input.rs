//! The recorded input of an evaluation, brought into the one form that has a digest.

use serde_json::Value;
use yundu_evidence::canonical;

/// Why an input has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not a JSON object.
    #[error("the input of a gate is an object with `now_us`, `move`, `evidence`, …; got {found}")]
    NotAnObject {
        /// What came.
        found: &'static str,
    },
    /// A number that is not an integer, nesting too deep …
    #[error("the input of a gate cannot be written canonically: {0}")]
    Canonical(#[from] canonical::CanonicalError),
}

/// Canonical bytes of `input`: sorted keys, integers only, no white space. The lists that are sets
/// by meaning (`evidence`, `approvals`, `people`) are sorted by time, id and content, so that
/// the order in which they were collected changes neither the digest nor the verdict.
///
/// # Errors
/// [`InputError`] names what stands in the way.
pub fn canonical_input(input: &Value) -> Result<Vec<u8>, InputError> {
    let Value::Object(fields) = input else {
        return Err(InputError::NotAnObject {
            found: kind_of(input),
        });
    };
    let mut fields = fields.clone();
    for name in ["evidence", "approvals", "people"] {
        if let Some(Value::Array(items)) = fields.get_mut(name) {
            let mut keyed = Vec::with_capacity(items.len());
            for item in std::mem::take(items) {
                let at_us = item
                    .get("at_us")
                    .and_then(Value::as_i64)
                    .unwrap_or(i64::MIN);
                let id = item
                    .get("id")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned();
                let bytes = canonical::to_bytes(&item)?;
                keyed.push((at_us, id, bytes, item));
            }
            keyed.sort_by(|a, b| (a.0, &a.1, &a.2).cmp(&(b.0, &b.1, &b.2)));
            *items = keyed.into_iter().map(|(.., item)| item).collect();
        }
    }
    Ok(canonical::to_bytes(&Value::Object(fields))?)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
