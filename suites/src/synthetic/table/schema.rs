//! What the texts of a column mean: numbers, categories or keys; learned from the column alone.
//!
//! A column is of numbers if every value that is not missing is one. It is of keys if it has more than
//! [`MOST_CATEGORIES`] different texts, or if nearly all of at least [`LEAST_KEYS`] differ: such texts are no
//! categories, and learning them would copy them. Everything else is of categories.

use std::collections::HashSet;

use super::{Values, categories};

/// Most different texts of a column of categories.
pub const MOST_CATEGORIES: usize = 10_000;
/// Values from which on a column may be of keys because nearly all differ.
const LEAST_KEYS: usize = 50;
/// How many of a hundred must differ.
const KEY_PERCENT: usize = 95;
/// Integers from it on are not all numbers of 64 bits: identifiers, taken for text.
const MOST_INTEGER: f64 = (1_u64 << 53) as f64;
/// Digits behind the point beyond which a column is written with all digits.
const MOST_DECIMALS: usize = 12;

/// Texts that stand for a missing value, besides the empty one.
const MISSING_TEXTS: [&str; 6] = ["NA", "N/A", "NaN", "nan", "null", "?"];

/// A column of texts as what they mean. Surrounding blanks are no part of a value.
pub fn learn(texts: Vec<String>) -> Values {
    let texts: Vec<String> = texts.into_iter().map(cleaned).collect();
    numbers(&texts).unwrap_or_else(|| {
        if is_of_keys(&texts) {
            let values = texts
                .into_iter()
                .map(|text| Some(text).filter(|t| !t.is_empty()));
            Values::Key {
                values: values.collect(),
            }
        } else {
            categories(texts)
        }
    })
}

/// Without surrounding blanks; empty where it stands for nothing.
fn cleaned(text: String) -> String {
    let trimmed = text.trim();
    if MISSING_TEXTS.contains(&trimmed) {
        return String::new();
    }
    if trimmed.len() == text.len() {
        return text;
    }
    trimmed.to_owned()
}

/// Numbers, if all that is there are; a column without any value is one of numbers that are all missing.
fn numbers(texts: &[String]) -> Option<Values> {
    let mut decimals = Some(0);
    let parse = |text: &String| {
        if text.is_empty() {
            return Some(f64::NAN);
        }
        let value = number(text)?;
        decimals = match (decimals, digits_behind_point(text)) {
            (Some(before), Some(digits)) => Some(before.max(digits)),
            _ => None,
        };
        Some(value)
    };
    let values = texts.iter().map(parse).collect::<Option<_>>()?;
    Some(Values::Number {
        values,
        decimals: decimals.and_then(|digits| u8::try_from(digits).ok()),
    })
}

/// A finite number as people and programs write it; leading zeros mark an identifier, such as a postal code.
fn number(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['-', '+']);
    let bytes = unsigned.as_bytes();
    let is_padded = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    // `inf` and hexadecimal digits are words here.
    if is_padded
        || !bytes
            .first()
            .is_some_and(|b| b.is_ascii_digit() || *b == b'.')
    {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let is_integer = bytes.iter().all(u8::is_ascii_digit);
    (value.is_finite() && !(is_integer && value.abs() >= MOST_INTEGER)).then_some(value)
}

/// Digits behind the point; `None` where there are too many, or where an exponent says otherwise.
fn digits_behind_point(text: &str) -> Option<usize> {
    if text.contains(['e', 'E']) {
        return None;
    }
    let digits = text.split_once('.').map_or(0, |(_, behind)| behind.len());
    (digits <= MOST_DECIMALS).then_some(digits)
}

fn is_of_keys(texts: &[String]) -> bool {
    let present = texts.iter().filter(|text| !text.is_empty());
    let different: HashSet<&str> = present.clone().map(String::as_str).collect();
    let present = present.count();
    different.len() > MOST_CATEGORIES
        || (present >= LEAST_KEYS && different.len() * 100 >= present * KEY_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::super::{MISSING, Values};
    use super::{MOST_CATEGORIES, learn};

    fn of(texts: &[&str]) -> Values {
        learn(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn numbers_keep_their_digits() {
        let Values::Number { values, decimals } = of(&["1", " 2.50", "", "NA", "-3"]) else {
            panic!("numbers")
        };
        assert_eq!((values[1], decimals), (2.5, Some(2)));
        assert_eq!(values.iter().filter(|x| x.is_nan()).count(), 2);
        assert!(matches!(
            of(&["1e-3", "2"]),
            Values::Number { decimals: None, .. }
        ));
    }

    #[test]
    fn what_is_no_number_makes_a_column_of_categories() {
        for texts in [
            ["1", "2", "x"],
            ["007", "008", "009"],
            ["inf", "1", "2"],
            ["1,5", "2", "3"],
            ["9007199254740993", "1", "2"],
            ["0x10", "1", "2"],
        ] {
            assert!(matches!(of(&texts), Values::Category { .. }), "{texts:?}");
        }
        let Values::Category { codes, .. } = of(&["b", "?", "a", "b"]) else {
            panic!("categories")
        };
        assert_eq!(codes, [0, MISSING, 1, 0]);
    }

    #[test]
    fn texts_that_all_differ_are_keys() {
        let names = |n: usize, of: usize| learn((0..n).map(|i| format!("n{}", i % of)).collect());
        assert!(matches!(names(49, 49), Values::Category { .. }));
        assert!(matches!(names(50, 50), Values::Key { .. }));
        assert!(matches!(names(1000, 900), Values::Category { .. }));
        let many = MOST_CATEGORIES + 1;
        assert!(matches!(names(10 * many, many), Values::Key { .. }));
    }

    #[test]
    fn nothing_at_all_is_numbers_that_are_missing() {
        assert!(
            matches!(of(&["", ""]), Values::Number { values, decimals: Some(0) } if values.len() == 2)
        );
    }
}
