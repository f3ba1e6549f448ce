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

/// How many digits that has: an integer of fewer is safe.
const DIGITS: usize = 16;

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
    let bytes = serde_json_canonicalizer::to_vec(value)?;
    if holds_wide_integer(&bytes) {
        // To name it as it was: here it is rounded.
        check_integers(&serde_json::to_value(value)?)?;
    }
    Ok(bytes)
}

/// Whether a number in canonical JSON has so many digits, and nothing else, that it may have been rounded.
fn holds_wide_integer(canonical: &[u8]) -> bool {
    let mut at = 0;
    while at < canonical.len() {
        match canonical[at] {
            b'"' => at = end_of_text(canonical, at),
            b'0'..=b'9' => {
                let rest = &canonical[at..];
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-');
                let end = rest.iter().position(|byte| !is_part(byte));
                let number = &rest[..end.unwrap_or(rest.len())];
                if number.len() >= DIGITS && number.iter().all(u8::is_ascii_digit) {
                    return true;
                }
                at += number.len();
            }
            _ => at += 1,
        }
    }
    false
}

/// The place behind the quote that ends the text which begins at `start`.
fn end_of_text(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < json.len() && json[at] != b'"' {
        at += if json[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
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
    fn digits_within_text_are_no_integer() {
        let text = format!("\"{}\\", u64::MAX);
        let bytes = to_canonical(&json!({"a": text, "9007199254740993": [0.1, 1e300]})).unwrap();
        assert!(
            String::from_utf8(bytes)
                .unwrap()
                .contains("18446744073709551615")
        );
        let wide = to_canonical(&json!({"a": text, "b": [9_007_199_254_740_993_u64]}));
        assert!(wide.unwrap_err().to_string().contains("9007199254740993"));
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
