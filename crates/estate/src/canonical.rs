//! Canonical JSON and its digest: sorted keys, no white space, integers only.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The value cannot be written as JSON at all.
    #[error("the value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Floats have several spellings, so that a digest over them would not be reproducible.
    #[error(
        "the number {0} is not an integer: canonical JSON holds integers only; scale it to a smaller unit"
    )]
    Float(String),
}

/// The canonical JSON of `value`.
pub fn to_string(value: &impl Serialize) -> Result<String, CanonicalError> {
    let mut text = String::new();
    write(&serde_json::to_value(value)?, &mut text)?;
    Ok(text)
}

/// The lower-case hexadecimal SHA-256 of the canonical JSON of `value`.
pub fn digest(value: &impl Serialize) -> Result<String, CanonicalError> {
    Ok(sha256_hex(to_string(value)?.as_bytes()))
}

/// The lower-case hexadecimal SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

// Keys are sorted here and not left to serde_json's map, whose order depends on a feature that
// any other crate in the build may switch on.
fn write(value: &Value, text: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) if !number.is_i64() && !number.is_u64() => {
            return Err(CanonicalError::Float(number.to_string()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write(member, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": {"z": 1, "a": [true, null]}, "a": "中"});
        assert_eq!(
            to_string(&value).unwrap(),
            r#"{"a":"中","b":{"a":[true,null],"z":1}}"#
        );
    }

    #[test]
    fn a_float_has_no_canonical_form() {
        assert!(matches!(
            to_string(&json!([1.5])),
            Err(CanonicalError::Float(_))
        ));
    }
}
