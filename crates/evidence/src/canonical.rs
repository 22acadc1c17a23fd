//! Canonical JSON: the one byte string that stands for a JSON value, so that its digest means
//! something.
//!
//! Object keys in ascending order of their UTF-8 bytes, no white space, the shortest escapes,
//! integers only. Python writes the same bytes with
//! `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Deepest nesting of arrays and objects that is written.
pub const DEPTH_MAX: usize = 64;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// A number is a float, or outside the 64-bit integers.
    #[error(
        "`{path}` is {number}, and evidence holds 64-bit integers only: use a smaller unit (microseconds, thousandths) or a string"
    )]
    NotAnInteger {
        /// Where the number stands, as `body.stall_us`.
        path: String,
        /// The number as written.
        number: String,
    },
    /// Arrays and objects are nested too deeply.
    #[error("`{path}` lies deeper than {DEPTH_MAX} levels: flatten the value")]
    TooDeep {
        /// Where the limit was passed.
        path: String,
    },
    /// The Rust value has no JSON form.
    #[error("the value has no JSON form: {0}")]
    NotJson(#[from] serde_json::Error),
}

/// The canonical bytes of `value`.
///
/// # Errors
///
/// A float, an integer beyond 64 bits, or nesting deeper than [`DEPTH_MAX`].
pub fn to_bytes(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut output = Vec::with_capacity(256);
    let mut path = Vec::new();
    write_value(value, &mut output, &mut path)?;
    Ok(output)
}

/// SHA-256 over the canonical bytes of `value`, as 64 lower-case hex digits.
///
/// # Errors
///
/// As [`to_bytes`], or when the value has no JSON form.
pub fn digest(value: &impl Serialize) -> Result<String, CanonicalError> {
    let bytes = to_bytes(&serde_json::to_value(value)?)?;
    Ok(hex::encode(Sha256::digest(&bytes)))
}

fn write_value(
    value: &Value,
    output: &mut Vec<u8>,
    path: &mut Vec<String>,
) -> Result<(), CanonicalError> {
    if path.len() > DEPTH_MAX {
        return Err(CanonicalError::TooDeep {
            path: path.join("."),
        });
    }
    match value {
        Value::Null => output.extend_from_slice(b"null"),
        Value::Bool(true) => output.extend_from_slice(b"true"),
        Value::Bool(false) => output.extend_from_slice(b"false"),
        Value::Number(number) => {
            let text = match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => integer.to_string(),
                (None, Some(integer)) => integer.to_string(),
                (None, None) => {
                    return Err(CanonicalError::NotAnInteger {
                        path: path.join("."),
                        number: number.to_string(),
                    });
                }
            };
            output.extend_from_slice(text.as_bytes());
        }
        Value::String(text) => write_string(text, output)?,
        Value::Array(items) => {
            output.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    output.push(b',');
                }
                path.push(position.to_string());
                write_value(item, output, path)?;
                path.pop();
            }
            output.push(b']');
        }
        Value::Object(map) => {
            // serde_json keeps insertion order when any crate of the build asks it to.
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            output.push(b'{');
            for (position, (key, item)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    output.push(b',');
                }
                write_string(key, output)?;
                output.push(b':');
                path.push(key.clone());
                write_value(item, output, path)?;
                path.pop();
            }
            output.push(b'}');
        }
    }
    Ok(())
}

fn write_string(text: &str, output: &mut Vec<u8>) -> Result<(), CanonicalError> {
    serde_json::to_writer(output, text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_nothing_is_padded() {
        let value = json!({"b": [1, -2, true, null], "a": {"账": "渡\n", "Z": u64::MAX}});
        let text = String::from_utf8(to_bytes(&value).unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"a\":{\"Z\":18446744073709551615,\"账\":\"渡\\n\"},\"b\":[1,-2,true,null]}"
        );
    }

    #[test]
    fn a_float_is_refused_with_its_place() {
        let error = to_bytes(&json!({"body": {"stall": [1, 1.5]}})).unwrap_err();
        assert!(
            error.to_string().contains("`body.stall.1` is 1.5"),
            "{error}"
        );
        assert!(to_bytes(&json!(1.0)).is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut value = json!(1);
        for _ in 0..=DEPTH_MAX {
            value = json!([value]);
        }
        assert!(matches!(
            to_bytes(&value),
            Err(CanonicalError::TooDeep { .. })
        ));
    }
}
