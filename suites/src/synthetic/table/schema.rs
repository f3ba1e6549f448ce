//! What the texts of a column mean: numbers, categories or keys; learned from the column alone, where nobody declared it.
//!
//! A column is of numbers if every value that is not missing is one. It is of keys if it has more than
//! [`MOST_CATEGORIES`] different texts, if all of at least [`LEAST_KEYS`] differ, or if nearly all of at least
//! [`LEAST_NEAR_KEYS`] do: such texts are no categories, and learning them would copy them. Everything else is of
//! categories; what of it may be a mistake, [`super::doubts`] says.

use std::collections::{BTreeMap, HashSet};

use super::cells::{CellType, Cells};
use super::{Values, categories, categories_after};

/// Most different texts of a column of categories.
pub const MOST_CATEGORIES: usize = 10_000;
/// Values from which on a column is of keys because all differ.
const LEAST_KEYS: usize = 10;
/// Values from which on a column is of keys because nearly all differ.
const LEAST_NEAR_KEYS: usize = 50;
/// How many of a hundred must differ.
const KEY_PERCENT: usize = 95;
/// Integers from it on are not all numbers of 64 bits: identifiers, taken for text.
const MOST_INTEGER: f64 = (1_u64 << 53) as f64;
/// Larger ones are taken for text too: the range of a column is to be a number.
const MOST_NUMBER: f64 = 1e300;
/// Digits behind the point beyond which a column is written with all digits.
const MOST_DECIMALS: usize = 12;

/// Texts that stand for a missing value, besides the empty one, where no label is declared to be one.
const MISSING_TEXTS: [&str; 6] = ["NA", "N/A", "NaN", "nan", "null", "?"];

/// What a column is declared to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Numbers with so many digits behind the point.
    Number {
        /// The digits.
        decimals: u8,
    },
    /// Texts, of which these are known.
    Category {
        /// The texts.
        labels: Vec<String>,
    },
    /// Texts that name rows.
    Key,
    /// Texts that name rows of another table, and occur again: categories, or keys where there are more than
    /// [`MOST_CATEGORIES`] of them.
    Foreign {
        /// Those of the other table that are known.
        labels: Vec<String>,
    },
}

impl Type {
    /// Labels that would otherwise stand for missing values.
    fn kept(&self) -> Vec<&str> {
        match self {
            Self::Number { .. } | Self::Key => vec![],
            Self::Category { labels } | Self::Foreign { labels } => {
                let labels = labels.iter().map(String::as_str);
                labels.filter(|label| is_missing(label)).collect()
            }
        }
    }
}

/// What of a column's texts is not taken as it is: which stand for missing values, how many cells have which, the empty ones aside; and
/// which have blanks around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Each that occurs.
    pub counts: BTreeMap<&'static str, usize>,
    /// The first row that has one, from 0 on.
    pub first: Option<usize>,
    /// How many cells have a text with blanks around it, which are taken away.
    pub blank: usize,
    /// The first of them, from 0 on.
    pub first_blank: Option<usize>,
}

impl Words {
    /// Of texts as a file has them, but for those that are kept.
    fn of(texts: &[String], kept: &[&str]) -> Self {
        let mut words = Self::default();
        for (row, text) in texts.iter().enumerate() {
            let trimmed = text.trim();
            if trimmed.len() < text.len() && !trimmed.is_empty() {
                words.blank += 1;
                words.first_blank.get_or_insert(row);
            }
            let text = trimmed;
            let word = MISSING_TEXTS.into_iter().find(|word| *word == text);
            if let Some(word) = word.filter(|word| !kept.contains(word)) {
                *words.counts.entry(word).or_default() += 1;
                words.first.get_or_insert(row);
            }
        }
        words
    }
}

/// Types of columns by their names; those of others are learned.
pub type Types = BTreeMap<String, Type>;

/// A column of a file as what it is declared to hold, or else as what the file says and its texts mean; and which of its texts stand for
/// missing values.
///
/// # Errors
/// The first text that is no number, in a column of such.
pub(super) fn read(types: &Types, column: Cells) -> Result<(Values, Words), String> {
    let Cells { name, texts, seen } = column;
    let declared = types.get(&name);
    let kept = declared.map(Type::kept).unwrap_or_default();
    let words = Words::of(&texts, &kept);
    let texts = cleaned(texts, &kept);
    let values = match (declared, seen.cell_type()) {
        (None, Some(CellType::Text)) => learn_text(texts),
        (None, _) => learn_cleaned(texts),
        (Some(Type::Number { decimals }), _) => declared_numbers(&name, &texts, *decimals)?,
        (Some(Type::Category { labels }), _) => declared_labels(labels, texts),
        (Some(Type::Foreign { .. }), _) if different(&texts) <= MOST_CATEGORIES => {
            categories(texts)
        }
        (Some(Type::Key | Type::Foreign { .. }), _) => keys(texts),
    };
    Ok((values, words))
}

fn declared_numbers(name: &str, texts: &[String], decimals: u8) -> Result<Values, String> {
    let parse = |(row, text): (usize, &String)| {
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        number(text).ok_or_else(|| {
            format!(
                "row {} of column `{name}` has {text:?}, and numbers are declared: mend it, or leave it empty",
                row + 1
            )
        })
    };
    Ok(Values::Number {
        values: texts
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?,
        decimals: Some(decimals),
    })
}

/// Labels that occur come in the order in which they are declared, others behind them.
fn declared_labels(labels: &[String], texts: Vec<String>) -> Values {
    let present: HashSet<&str> = texts.iter().map(String::as_str).collect();
    let known = labels
        .iter()
        .filter(|label| present.contains(label.as_str()));
    let known = known.cloned().collect();
    categories_after(known, texts)
}

/// A column of texts as what they mean. Surrounding blanks are no part of a value.
pub fn learn(texts: Vec<String>) -> Values {
    learn_cleaned(cleaned(texts, &[]))
}

fn learn_cleaned(texts: Vec<String>) -> Values {
    numbers(&texts).unwrap_or_else(|| learn_text(texts))
}

/// Cleaned texts as categories or keys, whatever they look like.
fn learn_text(texts: Vec<String>) -> Values {
    if is_of_keys(&texts) {
        keys(texts)
    } else {
        categories(texts)
    }
}

fn keys(texts: Vec<String>) -> Values {
    let values = texts
        .into_iter()
        .map(|text| Some(text).filter(|t| !t.is_empty()));
    Values::Key {
        values: values.collect(),
    }
}

/// How many different texts there are, empty ones aside.
fn different(texts: &[String]) -> usize {
    let present = texts.iter().filter(|text| !text.is_empty());
    present.collect::<HashSet<_>>().len()
}

/// Whether a text stands for a missing value.
pub(super) fn is_missing(text: &str) -> bool {
    let trimmed = text.trim();
    trimmed.is_empty() || MISSING_TEXTS.contains(&trimmed)
}

/// Texts without surrounding blanks; empty where they stand for nothing, and are none of those that are kept.
fn cleaned(texts: Vec<String>, kept: &[&str]) -> Vec<String> {
    let clean = |text: String| {
        let trimmed = text.trim();
        if is_missing(trimmed) && !kept.contains(&trimmed) {
            return String::new();
        }
        if trimmed.len() == text.len() {
            return text;
        }
        trimmed.to_owned()
    };
    texts.into_iter().map(clean).collect()
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

/// Whether a text alone would be a number.
pub(super) fn is_number(text: &str) -> bool {
    number(text).is_some()
}

/// A finite number as people and programs write it.
pub(super) fn number(text: &str) -> Option<f64> {
    digits(text)?.ok()
}

/// Why digits are taken for text all the same; `None` of a number, and of what are no digits.
pub(super) fn not_a_number(text: &str) -> Option<&'static str> {
    digits(text)?.err()
}

/// The number that digits stand for, or why they stand for none; `None` where there are others than those of a number.
fn digits(text: &str) -> Option<Result<f64, &'static str>> {
    let unsigned = text.trim_start_matches(['-', '+']);
    let bytes = unsigned.as_bytes();
    // `inf` and hexadecimal digits are words here.
    if !bytes
        .first()
        .is_some_and(|b| b.is_ascii_digit() || *b == b'.')
    {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let is_padded = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    let is_integer = bytes.iter().all(u8::is_ascii_digit);
    Some(if is_padded {
        // They mark an identifier, such as a postal code.
        Err("numbers would lose the leading zeros")
    } else if is_integer && value.abs() >= MOST_INTEGER {
        Err("numbers of 64 bits do not tell integers from 2^53 on apart")
    } else if value.abs() > MOST_NUMBER {
        Err("they are beyond 1e300")
    } else {
        Ok(value)
    })
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
    let present = texts.iter().filter(|text| !text.is_empty()).count();
    let different = different(texts);
    different > MOST_CATEGORIES
        || (present >= LEAST_KEYS && different == present)
        || (present >= LEAST_NEAR_KEYS && different * 100 >= present * KEY_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::super::cells::Cells;
    use super::super::{MISSING, Values};
    use super::{MOST_CATEGORIES, Type, Types, learn, read};

    fn of(texts: &[&str]) -> Values {
        learn(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    fn cells(texts: Vec<String>) -> Cells {
        Cells {
            name: "c".into(),
            texts,
            ..Cells::default()
        }
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
            ["1e301", "1", "2"],
            ["-1e999", "1", "2"],
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
        assert!(matches!(names(9, 9), Values::Category { .. }));
        assert!(matches!(names(10, 10), Values::Key { .. }));
        assert!(matches!(names(49, 48), Values::Category { .. }));
        assert!(matches!(names(50, 48), Values::Key { .. }));
        assert!(matches!(names(1000, 900), Values::Category { .. }));
        let many = MOST_CATEGORIES + 1;
        assert!(matches!(names(10 * many, many), Values::Key { .. }));
    }

    #[test]
    fn what_is_declared_goes_before_what_could_be_learned() {
        let declared = |kind: Type, texts: &[&str]| {
            let types: Types = [("c".to_owned(), kind)].into();
            let texts = texts.iter().map(|text| (*text).to_owned()).collect();
            read(&types, cells(texts)).map(|(values, _)| values)
        };
        let labels = |labels: &[&str]| Type::Category {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        };
        // All of these would be numbers, or keys.
        let Values::Category {
            codes,
            labels: found,
        } = declared(labels(&["x", "2", "1"]), &["1", " 2 ", "NA", "3"]).unwrap()
        else {
            panic!("categories")
        };
        assert_eq!(
            (codes, found.join(" ")),
            (vec![1, 0, MISSING, 2], "2 1 3".into())
        );
        assert_eq!(declared(Type::Key, &["7", "8"]).unwrap().text(1), "8");
        let decimals = Type::Number { decimals: 1 };
        assert_eq!(
            declared(decimals.clone(), &["1", "NA"]).unwrap().text(0),
            "1.0"
        );
        let error = declared(decimals, &["1", "x"]).unwrap_err();
        assert!(error.contains("row 2 of column `c` has \"x\""), "{error}");
        let many: Vec<String> = (0..=MOST_CATEGORIES).map(|i| format!("n{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let foreign = |texts: &[&str]| {
            let labels = vec![];
            declared(Type::Foreign { labels }, texts).unwrap().kind()
        };
        assert_eq!(
            (foreign(&many), foreign(&many[1..])),
            ("keys", "categories")
        );
        assert_eq!(
            read(&Types::new(), cells(vec!["1".into()]))
                .unwrap()
                .0
                .kind(),
            "numbers"
        );
    }

    #[test]
    fn words_for_missing_values_are_counted_and_kept_where_they_are_labels() {
        let texts = ["DE", " NA", "", "NA", "?", "DE"].map(str::to_owned);
        let read_as = |types: &Types| read(types, cells(texts.to_vec())).unwrap();
        let (values, words) = read_as(&Types::new());
        assert_eq!(values.missing(), 4);
        assert_eq!(words.counts, [("NA", 2), ("?", 1)].into());
        assert_eq!(words.first, Some(1));
        let labels = ["DE", "NA"].map(str::to_owned).to_vec();
        for declared in [
            Type::Category {
                labels: labels.clone(),
            },
            Type::Foreign { labels },
        ] {
            let (values, words) = read_as(&[("c".to_owned(), declared)].into());
            assert_eq!((values.text(1), values.missing()), ("NA".into(), 2));
            assert_eq!((words.counts, words.first), ([("?", 1)].into(), Some(4)));
        }
    }

    #[test]
    fn nothing_at_all_is_numbers_that_are_missing() {
        assert!(
            matches!(of(&["", ""]), Values::Number { values, decimals: Some(0) } if values.len() == 2)
        );
    }
}
