//! Tables of mixed columns, as generators learn from them and make them.
//!
//! A column holds numbers, categories, or keys (text of which nearly every value is different). What a file's text
//! means is decided once, by [`schema`]; [`csv`], [`jsonl`] and [`parquet`] only carry it.

pub mod census;
pub mod csv;
pub mod file;
pub mod jsonl;
pub mod parquet;
pub mod schema;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use assay_protocol::Digest;
use thiserror::Error;

/// Code of a category that is missing.
pub const MISSING: u32 = u32::MAX;

/// What is wrong with a table or its file.
#[derive(Debug, Error)]
pub enum TableError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong, where, and what to do.
        what: String,
    },
    /// The table cannot be learned from, or made.
    #[error("{0}")]
    Table(String),
}

impl TableError {
    /// An error of a file's contents.
    pub fn format(path: &Path, what: impl Into<String>) -> Self {
        Self::Format {
            path: path.display().to_string(),
            what: what.into(),
        }
    }

    /// An error of reading or writing a file.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.display().to_string(),
            source,
        }
    }
}

/// Columns of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// In the order of the file; names differ.
    pub columns: Vec<Column>,
}

/// A named column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// The values of a column.
#[derive(Clone, Debug)]
pub enum Values {
    /// Numbers; missing ones are not a number.
    Number {
        /// In the order of rows.
        values: Vec<f64>,
        /// Digits behind the point that they are written with: 0 for integers; `None` where every digit is.
        decimals: Option<u8>,
    },
    /// One of several texts.
    Category {
        /// Places in `labels`, or [`MISSING`].
        codes: Vec<u32>,
        /// Every text, none twice, in the order of first appearance.
        labels: Arc<Vec<String>>,
    },
    /// Texts that nearly all differ: names, identifiers. They are never learned, only counted.
    Key {
        /// In the order of rows; missing ones are `None`.
        values: Vec<Option<String>>,
    },
}

impl PartialEq for Values {
    /// Missing numbers are equal.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Number {
                    values: a,
                    decimals: da,
                },
                Self::Number {
                    values: b,
                    decimals: db,
                },
            ) => {
                let same = |(x, y): (&f64, &f64)| x == y || (x.is_nan() && y.is_nan());
                da == db && a.len() == b.len() && a.iter().zip(b).all(same)
            }
            (
                Self::Category {
                    codes: a,
                    labels: la,
                },
                Self::Category {
                    codes: b,
                    labels: lb,
                },
            ) => a == b && la == lb,
            (Self::Key { values: a }, Self::Key { values: b }) => a == b,
            _ => false,
        }
    }
}

impl Values {
    /// How many there are, missing ones among them.
    pub fn len(&self) -> usize {
        match self {
            Self::Number { values, .. } => values.len(),
            Self::Category { codes, .. } => codes.len(),
            Self::Key { values } => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are missing.
    pub fn missing(&self) -> usize {
        match self {
            Self::Number { values, .. } => values.iter().filter(|x| x.is_nan()).count(),
            Self::Category { codes, .. } => codes.iter().filter(|c| **c == MISSING).count(),
            Self::Key { values } => values.iter().filter(|v| v.is_none()).count(),
        }
    }

    /// The rows of some numbers, in their order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Number { values, decimals } => Self::Number {
                values: rows.iter().map(|row| values[*row]).collect(),
                decimals: *decimals,
            },
            Self::Category { codes, labels } => Self::Category {
                codes: rows.iter().map(|row| codes[*row]).collect(),
                labels: Arc::clone(labels),
            },
            Self::Key { values } => Self::Key {
                values: rows.iter().map(|row| values[*row].clone()).collect(),
            },
        }
    }

    /// A value as files of text have it; missing ones are empty.
    pub fn text(&self, row: usize) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Number { values, decimals } => number_text(values[row], *decimals).into(),
            Self::Category { codes, labels } => match codes[row] {
                MISSING => "".into(),
                code => labels[code as usize].as_str().into(),
            },
            Self::Key { values } => values[row].as_deref().unwrap_or("").into(),
        }
    }
}

/// A number as text, with the digits that its column has.
pub fn number_text(value: f64, decimals: Option<u8>) -> String {
    match decimals {
        _ if value.is_nan() => String::new(),
        Some(digits) => {
            let text = format!("{value:.*}", usize::from(digits));
            // Rounding leaves no negative zero.
            if value <= 0.0 && text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.')) {
                text.trim_start_matches('-').to_owned()
            } else {
                text
            }
        }
        None => value.to_string(),
    }
}

impl Table {
    /// A table of columns.
    ///
    /// # Errors
    /// If they differ in length, or if two have one name.
    pub fn new(columns: Vec<Column>) -> Result<Self, TableError> {
        let rows = columns.first().map_or(0, |column| column.values.len());
        let mut seen = HashMap::new();
        for (index, column) in columns.iter().enumerate() {
            let (name, len) = (&column.name, column.values.len());
            if len != rows {
                return Err(TableError::Table(format!(
                    "column `{name}` has {len} rows, the first column {rows}"
                )));
            }
            if let Some(before) = seen.insert(name.as_str(), index) {
                return Err(TableError::Table(format!(
                    "columns {} and {} are both called `{name}`: rename one",
                    before + 1,
                    index + 1
                )));
            }
        }
        Ok(Self { columns })
    }

    /// One column of texts.
    pub fn of_texts(name: &str, texts: impl IntoIterator<Item = String>) -> Self {
        let values = texts.into_iter().map(Some).collect();
        Self {
            columns: vec![Column {
                name: name.into(),
                values: Values::Key { values },
            }],
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The rows of some numbers, in their order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| Column {
            name: column.name.clone(),
            values: column.values.select(rows),
        });
        Self {
            columns: columns.collect(),
        }
    }

    /// Another table's columns in the order, and with the category codes, of this one; categories that this one lacks
    /// come behind.
    ///
    /// # Errors
    /// If a column is missing there, or holds something else.
    pub fn align(&self, other: &Self) -> Result<Self, TableError> {
        let columns = self.columns.iter().map(|column| {
            let name = &column.name;
            let theirs = other.column(name).ok_or_else(|| {
                TableError::Table(format!("column `{name}` is missing in the other table"))
            })?;
            let values = recoded(&column.values, &theirs.values).ok_or_else(|| {
                TableError::Table(format!(
                    "column `{name}` holds {} in one table and {} in the other",
                    column.values.kind(),
                    theirs.values.kind()
                ))
            })?;
            Ok(Column {
                name: name.clone(),
                values,
            })
        });
        Ok(Self {
            columns: columns.collect::<Result<_, TableError>>()?,
        })
    }

    /// SHA-256 over its CSV form: what names a table, whatever file it came from.
    ///
    /// # Panics
    /// Never: memory takes everything.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        csv::write_to(&mut bytes, self).expect("memory takes everything");
        Digest::of(bytes)
    }
}

impl Values {
    /// What it holds, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Number { .. } => "numbers",
            Self::Category { .. } => "categories",
            Self::Key { .. } => "keys",
        }
    }
}

/// `theirs` with the codes of `ours`; `None` where they are of two kinds.
fn recoded(ours: &Values, theirs: &Values) -> Option<Values> {
    match (ours, theirs) {
        (Values::Number { decimals, .. }, Values::Number { values, .. }) => Some(Values::Number {
            values: values.clone(),
            decimals: *decimals,
        }),
        (Values::Category { labels, .. }, Values::Category { codes, labels: old }) => {
            let mut all = labels.as_ref().clone();
            let mut known: HashMap<String, u32> = all.iter().cloned().zip(0..).collect();
            let new: Vec<u32> = old
                .iter()
                .map(|label| {
                    *known.entry(label.clone()).or_insert_with(|| {
                        all.push(label.clone());
                        (all.len() - 1) as u32
                    })
                })
                .collect();
            let code = |code: &u32| new.get(*code as usize).copied().unwrap_or(MISSING);
            Some(Values::Category {
                codes: codes.iter().map(code).collect(),
                labels: Arc::new(all),
            })
        }
        (Values::Key { .. }, Values::Key { .. }) => Some(theirs.clone()),
        // A column of digits whose sample happened to hold text, or the other way: as text both.
        (Values::Category { .. }, Values::Number { .. } | Values::Key { .. }) => {
            let texts = (0..theirs.len()).map(|row| theirs.text(row).into_owned());
            recoded(ours, &categories(texts))
        }
        _ => None,
    }
}

/// A column of categories; empty texts are missing.
pub fn categories(texts: impl IntoIterator<Item = String>) -> Values {
    let mut labels = Vec::new();
    let mut known: HashMap<String, u32> = HashMap::new();
    let codes = texts.into_iter().map(|text| {
        if text.is_empty() {
            return MISSING;
        }
        *known.entry(text).or_insert_with_key(|text| {
            labels.push(text.clone());
            (labels.len() - 1) as u32
        })
    });
    let codes = codes.collect();
    Values::Category {
        codes,
        labels: Arc::new(labels),
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, Table, Values, categories, number_text};

    fn column(name: &str, values: Values) -> Column {
        Column {
            name: name.into(),
            values,
        }
    }

    fn texts(texts: &[&str]) -> Values {
        categories(texts.iter().map(|text| (*text).to_owned()))
    }

    #[test]
    fn columns_that_do_not_fit_are_named() {
        let error = Table::new(vec![column("a", texts(&["x"])), column("b", texts(&[]))]);
        assert!(error.unwrap_err().to_string().contains("`b` has 0 rows"));
        let error = Table::new(vec![column("a", texts(&["x"])), column("a", texts(&["y"]))]);
        assert!(error.unwrap_err().to_string().contains("columns 1 and 2"));
    }

    #[test]
    fn categories_are_aligned_by_their_text() {
        let ours = Table::new(vec![column("c", texts(&["x", "y", ""]))]).unwrap();
        let theirs = Table::new(vec![column("c", texts(&["y", "z", "", "x"]))]).unwrap();
        let aligned = ours.align(&theirs).unwrap();
        let Values::Category { codes, labels } = &aligned.columns[0].values else {
            panic!("categories")
        };
        assert_eq!(codes, &[1, 2, super::MISSING, 0]);
        assert_eq!(labels.as_slice(), ["x", "y", "z"]);
        let numbers = Values::Number {
            values: vec![1.0],
            decimals: Some(0),
        };
        let numbers = Table::new(vec![column("c", numbers)]).unwrap();
        assert!(
            numbers
                .align(&ours)
                .unwrap_err()
                .to_string()
                .contains("numbers")
        );
    }

    #[test]
    fn numbers_have_their_columns_digits() {
        assert_eq!(number_text(2.5, Some(2)), "2.50");
        assert_eq!(number_text(-0.001, Some(2)), "0.00");
        assert_eq!(number_text(-1.0, Some(0)), "-1");
        assert_eq!(number_text(0.1, None), "0.1");
        assert_eq!(number_text(f64::NAN, Some(1)), "");
    }
}
