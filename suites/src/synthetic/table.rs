//! Tables of mixed columns, as generators learn from them and make them.
//!
//! A column holds numbers, categories, or keys (text of which nearly every value is different). What a file's text
//! means is decided once, by [`schema`]; [`csv`], [`jsonl`] and [`parquet`] only carry it, with the types that the latter two
//! have ([`cells`]). What may not have been meant, [`doubts`] says.

pub mod cells;
pub mod census;
pub mod csv;
pub mod doubts;
pub mod file;
mod guard;
pub mod jsonl;
pub mod parquet;
pub mod schema;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use assay_protocol::{Digest, Failure};
use cells::Cells;
use rayon::prelude::*;
use schema::{Types, Words};
use thiserror::Error;

/// What truth values are as texts.
const TRUTHS: [&str; 2] = ["true", "false"];

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

/// What a cell takes while a file of text is read, in bytes: a text of its own and what is learned of it.
const CELL_BYTES: u64 = 48;

/// That reading a file, which takes about so many bytes of memory, will not end this process.
fn ensure_fits(path: &Path, bytes: u64) -> Result<(), TableError> {
    lacking_memory(bytes).map_or(Ok(()), |words| {
        let what = format!("{words}; take a sample of its rows, or a machine with more");
        Err(TableError::format(path, what))
    })
}

/// That what is made of pairs of columns, which takes about so many bytes of memory, will not end this process.
pub(super) fn ensure_pairs_fit(columns: usize, bytes: u64) -> Result<(), TableError> {
    lacking_memory(bytes).map_or(Ok(()), |words| {
        Err(TableError::Table(format!(
            "{words}, for pairs of {columns} columns; leave columns out, or take the generator `independent`, which has no pairs"
        )))
    })
}

/// Why so many bytes are not to be had, in words.
fn lacking_memory(bytes: u64) -> Option<String> {
    match assay_kernels::device::memory::ensure_fits(bytes) {
        Ok(()) => None,
        Err(Failure::Skipped(words) | Failure::Failed(words)) => Some(words),
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

    /// Whether one is missing.
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Number { values, .. } => values[row].is_nan(),
            Self::Category { codes, .. } => codes[row] == MISSING,
            Self::Key { values } => values[row].is_none(),
        }
    }

    /// Takes the values of another column, one after the other, to some rows of this one. Both are of one kind, and their codes mean
    /// the same.
    fn put(&mut self, rows: &[usize], from: &Self) {
        match (self, from) {
            (Self::Number { values, .. }, Self::Number { values: from, .. }) => {
                rows.iter().zip(from).for_each(|(row, x)| values[*row] = *x);
            }
            (Self::Category { codes, .. }, Self::Category { codes: from, .. }) => {
                rows.iter()
                    .zip(from)
                    .for_each(|(row, code)| codes[*row] = *code);
            }
            (Self::Key { values }, Self::Key { values: from }) => {
                rows.iter()
                    .zip(from)
                    .for_each(|(row, key)| values[*row].clone_from(key));
            }
            _ => unreachable!("values of one model are of one kind"),
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
    pub fn text(&self, row: usize) -> Cow<'_, str> {
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

    /// A table of a file's columns, as they are declared or else as what they mean, and which texts of each stand for missing values.
    ///
    /// # Errors
    /// If two have one name, or if texts are not what is declared of them.
    fn of_columns(columns: Vec<Cells>, types: &Types) -> Result<(Self, Vec<Words>), TableError> {
        let columns = columns.into_par_iter().map(|column| {
            let name = column.name.clone();
            let (values, words) = schema::read(types, column).map_err(TableError::Table)?;
            Ok((Column { name, values }, words))
        });
        let columns: Vec<_> = columns.collect::<Result<_, TableError>>()?;
        let (columns, words) = columns.into_iter().unzip();
        Ok((Self::new(columns)?, words))
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

    /// Takes the rows of another table of the same model, one after the other, in the place of some of its own.
    pub(super) fn put(&mut self, rows: &[usize], from: &Self) {
        for (column, from) in self.columns.iter_mut().zip(&from.columns) {
            column.values.put(rows, &from.values);
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

    /// This table, with keys in place of categories that all differ where another has keys: a table may be too short to
    /// tell them apart.
    #[must_use]
    pub fn with_keys_of(&self, other: &Self) -> Cow<'_, Self> {
        let is_key = |column: &Column| {
            let theirs = other.column(&column.name).map(|theirs| &theirs.values);
            let present = column.values.len() - column.values.missing();
            matches!(theirs, Some(Values::Key { .. }))
                && column.values.different_categories() == Some(present)
        };
        if !self.columns.iter().any(is_key) {
            return Cow::Borrowed(self);
        }
        let mut table = self.clone();
        for column in table.columns.iter_mut().filter(|column| is_key(column)) {
            column.values = keys(&column.values);
        }
        Cow::Owned(table)
    }

    /// Names of columns that another table has and this one has not.
    pub fn lacks(&self, other: &Self) -> Vec<String> {
        let names = other.columns.iter().map(|column| &column.name);
        names
            .filter(|name| self.column(name).is_none())
            .cloned()
            .collect()
    }

    /// Some of its columns.
    #[must_use]
    pub fn columns_at(&self, places: &[usize]) -> Self {
        Self {
            columns: places
                .iter()
                .map(|place| self.columns[*place].clone())
                .collect(),
        }
    }

    /// Another table's columns in the order, and with the category codes, of this one; categories that this one lacks
    /// come behind. Numbers beside texts are taken as what this one holds.
    ///
    /// # Errors
    /// If a column is missing there, or holds texts that are no numbers beside numbers of this one.
    pub fn align(&self, other: &Self) -> Result<Self, TableError> {
        let columns = self.columns.iter().map(|column| {
            let name = &column.name;
            let theirs = other.column(name).ok_or_else(|| {
                TableError::Table(format!(
                    "column `{name}` is missing in the other table: take it out of the real one, or make it"
                ))
            })?;
            let values = recoded(&column.values, &theirs.values).map_err(|row| {
                TableError::Table(format!(
                    "column `{name}` holds numbers in one table and {} in the other, whose row {} has {:?}, which is no number: declare what it holds, or mend one",
                    theirs.values.kind(),
                    row + 1,
                    theirs.values.text(row)
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

    /// Names of columns of numbers that are of texts in another table, or the other way about: [`Table::align`] takes them as what this one holds.
    pub fn recast(&self, other: &Self) -> Vec<String> {
        let is_number = |column: &Column| matches!(column.values, Values::Number { .. });
        let differs = |column: &&Column| {
            let theirs = other.column(&column.name);
            theirs.is_some_and(|theirs| is_number(theirs) != is_number(column))
        };
        let columns = self.columns.iter().filter(differs);
        columns.map(|column| column.name.clone()).collect()
    }

    /// How many bytes its CSV form has, with the line of names.
    ///
    /// # Panics
    /// Never: counting fails at nothing.
    pub fn csv_bytes(&self) -> u64 {
        /// Counts what is written.
        struct Counter(u64);
        impl std::io::Write for Counter {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 += bytes.len() as u64;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut counter = Counter(0);
        csv::write_to(&mut counter, self).expect("counting fails at nothing");
        counter.0
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

    /// How many categories occur; `None` where it holds none.
    fn different_categories(&self) -> Option<usize> {
        let Self::Category { codes, .. } = self else {
            return None;
        };
        let present = codes.iter().filter(|code| **code != MISSING);
        Some(present.collect::<HashSet<_>>().len())
    }
}

/// `theirs` with the codes of `ours`.
///
/// # Errors
/// The first row whose text is no number, where ours are such.
fn recoded(ours: &Values, theirs: &Values) -> Result<Values, usize> {
    match (ours, theirs) {
        (Values::Number { decimals, .. }, _) => Ok(Values::Number {
            values: as_numbers(theirs)?,
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
            Ok(Values::Category {
                codes: codes.iter().map(code).collect(),
                labels: Arc::new(all),
            })
        }
        // A key stays one in a table that is too short to show it.
        (Values::Key { .. }, _) => Ok(keys(theirs)),
        // A column of digits whose sample happened to hold text, or the other way: as text both.
        (Values::Category { .. }, Values::Number { .. } | Values::Key { .. }) => {
            let texts = (0..theirs.len()).map(|row| theirs.text(row).into_owned());
            recoded(ours, &categories(texts))
        }
    }
}

/// Values as numbers, texts by what they spell.
///
/// # Errors
/// The first row whose text is no number.
fn as_numbers(values: &Values) -> Result<Vec<f64>, usize> {
    if let Values::Number { values, .. } = values {
        return Ok(values.clone());
    }
    let number = |row| {
        if values.is_missing(row) {
            return Ok(f64::NAN);
        }
        schema::number(&values.text(row)).ok_or(row)
    };
    (0..values.len()).map(number).collect()
}

/// The texts of a column as keys.
pub(super) fn keys(values: &Values) -> Values {
    let key = |row| Some(values.text(row).into_owned()).filter(|text| !text.is_empty());
    Values::Key {
        values: (0..values.len()).map(key).collect(),
    }
}

/// A column of categories; empty texts are missing.
pub fn categories(texts: impl IntoIterator<Item = String>) -> Values {
    categories_after(Vec::new(), texts)
}

/// As [`categories`], with some labels before all others.
fn categories_after(mut labels: Vec<String>, texts: impl IntoIterator<Item = String>) -> Values {
    let mut known: HashMap<String, u32> = labels.iter().cloned().zip(0..).collect();
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

/// A table of named columns, for tests.
#[cfg(test)]
pub(crate) fn table_of<const N: usize>(columns: [(&str, Values); N]) -> Table {
    let column = |(name, values): (&str, Values)| Column {
        name: name.into(),
        values,
    };
    Table::new(columns.map(column).into()).expect("columns of one length")
}

#[cfg(test)]
mod tests;
