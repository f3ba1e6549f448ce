//! Canonical JSON (RFC 8785) and digests over it.
//!
//! RFC 8785 writes every number as an IEEE double. Canonicalizer crates round larger integers
//! without a word; two different manifests could then have one digest. So integers past 2^53 are
//! refused here: types that need them use [`assay_protocol::U64`], which is a string.

use assay_protocol::Digest;
use serde::Serialize;
use serde_json::Value;

/// Largest integer that a double holds exactly together with its neighbours.
const MAX_SAFE: f64 = ((1u64 << 53) - 1) as f64;

/// A value that has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// An integer that a double would round.
    #[error("the integer {0} is past 2^53 and would be rounded; write it as a string")]
    Unsafe(String),
    /// A value that is not JSON at all.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The canonical bytes of a value.
pub fn to_canonical(value: &impl Serialize) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value)?;
    check_integers(&value)?;
    Ok(serde_json_canonicalizer::to_vec(&value)?)
}

/// SHA-256 over the canonical bytes of a value.
pub fn digest(value: &impl Serialize) -> Result<Digest, CanonicalError> {
    to_canonical(value).map(Digest::of)
}

fn check_integers(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => {
            // Floats too: the canonical form of 2e16 is an integer; from 1e21 on it has an exponent.
            let rounded = |x: f64| x.fract() == 0.0 && x.abs() > MAX_SAFE && x.abs() < 1e21;
            let exact = number.is_f64() && !number.as_f64().is_some_and(rounded)
                || number.as_f64().is_some_and(|x| x.abs() <= MAX_SAFE);
            if exact {
                Ok(())
            } else {
                Err(CanonicalError::Unsafe(number.to_string()))
            }
        }
        Value::Array(items) => items.iter().try_for_each(check_integers),
        Value::Object(fields) => fields.values().try_for_each(check_integers),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::to_canonical;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn rfc_8785_example() {
        // Section 3.2.4, without the control characters that its listing escapes.
        let value = json!({"numbers": [333_333_333.333_333_3, 1E30, 4.50, 2e-3, 1e-27], "literals": [null, true, false]});
        assert_eq!(
            String::from_utf8(to_canonical(&value).unwrap()).unwrap(),
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}"#
        );
    }

    #[test]
    fn integers_that_would_be_rounded_are_refused() {
        assert!(to_canonical(&json!((1u64 << 53) - 1)).is_ok());
        assert!(to_canonical(&json!([{"deep": 1u64 << 53}])).is_err());
        assert!(to_canonical(&json!(-(1i64 << 53))).is_err());
    }

    proptest! {
        #[test]
        fn parsing_and_canonicalising_again_changes_nothing(text in ".*", n in -(1i64 << 53) + 1..(1i64 << 53), x in proptest::num::f64::NORMAL) {
            let x = if x.abs() > 1e15 { 1.0 / x } else { x };
            let bytes = to_canonical(&json!({"text": text, "n": n, "x": x, "a": [n, x]})).unwrap();
            let again: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(to_canonical(&again).unwrap(), bytes);
        }
    }
}
