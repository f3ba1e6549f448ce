//! What files say of columns beside their texts: JSON lines and Parquet tell numbers, texts and truth values apart, CSV does not.
//!
//! What a file says goes before what texts look like: a text of digits is a text. Rows that are made of a column have the type that its
//! cells had.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schema::{Words, is_missing};
use super::{Column, TRUTHS, Table, TableError, Types, Values};

/// The type of a column's cells in a file that has types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellType {
    /// Text, whatever it looks like.
    Text,
    /// Numbers that are all integers.
    Integer,
    /// Numbers.
    Float,
    /// Truth values.
    Truth,
}

/// Types of columns by their names; others are written as what they hold.
pub type CellTypes = BTreeMap<String, CellType>;

/// How many cells of a column are of which type. What stands for a missing value has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    integers: usize,
    floats: usize,
    texts: usize,
    truths: usize,
    /// How many are texts without a letter, which a file with types tells from nulls.
    pub empty_texts: usize,
    /// The first of them, from 0 on.
    pub first_empty: Option<usize>,
    /// How many rows of the file say nothing of it at all, as objects of JSON lines may.
    pub absent: usize,
    /// The first of them, from 0 on.
    pub first_absent: Option<usize>,
    /// The first row that has a number, text or truth value where those before it have others.
    pub first_other: Option<usize>,
}

impl Seen {
    /// Takes in the next cell that is no null, of a row from 0 on.
    pub fn add(&mut self, cell_type: CellType, text: &str, row: usize) {
        if text.trim().is_empty() {
            self.empty_texts += 1;
            self.first_empty.get_or_insert(row);
        }
        if is_missing(text) {
            return;
        }
        let before = self.kinds();
        match cell_type {
            CellType::Text => self.texts += 1,
            CellType::Integer => self.integers += 1,
            CellType::Float => self.floats += 1,
            CellType::Truth => self.truths += 1,
        }
        if before == 1 && self.kinds() == 2 {
            self.first_other = Some(row);
        }
    }

    /// Takes in that some rows say nothing of it.
    pub fn skip(&mut self, rows: std::ops::Range<usize>) {
        self.absent += rows.len();
        if !rows.is_empty() {
            self.first_absent.get_or_insert(rows.start);
        }
    }

    /// How many are numbers, texts and truth values, with their names.
    pub fn counts(&self) -> [(usize, &'static str); 3] {
        [
            (self.integers + self.floats, "numbers"),
            (self.texts, "texts"),
            (self.truths, "truth values"),
        ]
    }

    fn kinds(&self) -> usize {
        self.counts().iter().filter(|(count, _)| *count > 0).count()
    }

    /// Whether it has numbers, texts and truth values, or two of these.
    pub fn is_mixed(&self) -> bool {
        self.kinds() > 1
    }

    /// The type of all cells, text where they mix others; `None` where the file says nothing.
    pub fn cell_type(&self) -> Option<CellType> {
        match self.counts().map(|(count, _)| count > 0) {
            [false, false, false] => None,
            [true, false, false] if self.floats > 0 => Some(CellType::Float),
            [true, false, false] => Some(CellType::Integer),
            [false, false, true] => Some(CellType::Truth),
            _ => Some(CellType::Text),
        }
    }
}

/// A column as a file has it.
#[derive(Default)]
pub(super) struct Cells {
    pub name: String,
    pub texts: Vec<String>,
    pub seen: Seen,
}

/// A table as a file has it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it means.
    pub table: Table,
    /// What the file says of each column.
    pub seen: Vec<Seen>,
    /// Which texts of each stand for missing values.
    pub words: Vec<Words>,
    /// Lines of the file that are no rows.
    pub blank_lines: BlankLines,
}

/// Lines of a file without anything, which are no rows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlankLines {
    /// How many there are.
    pub count: u64,
    /// The first of them, from 1 on.
    pub first: Option<u64>,
}

impl BlankLines {
    /// Takes in a line that is blank.
    pub fn add(&mut self, line: u64) {
        self.count += 1;
        self.first.get_or_insert(line);
    }
}

impl Source {
    /// Columns as they are declared, or else as what the file says and their texts mean.
    ///
    /// # Errors
    /// If two have one name, or if texts are not what is declared of them.
    pub(super) fn of(columns: Vec<Cells>, types: &Types) -> Result<Self, TableError> {
        let seen: Vec<Seen> = columns.iter().map(|column| column.seen).collect();
        let (table, words) = Table::of_columns(columns, types)?;
        Ok(Self {
            table,
            seen,
            words,
            blank_lines: BlankLines::default(),
        })
    }

    /// The same of a file that has such lines too.
    pub(super) fn with_blank_lines(self, blank_lines: BlankLines) -> Self {
        Self {
            blank_lines,
            ..self
        }
    }

    /// The types that rows made of it are to have.
    pub fn cell_types(&self) -> CellTypes {
        let columns = self.table.columns.iter().zip(&self.seen);
        // Of numbers that are declared, and partly texts in the file, nothing is said.
        let says = |(column, seen): &(&Column, &Seen)| {
            !(seen.is_mixed() && matches!(column.values, Values::Number { .. }))
        };
        let typed = columns.filter(says).filter_map(|(column, seen)| {
            let cell_type = seen.cell_type()?;
            Some((column.name.clone(), cell_type))
        });
        typed.collect()
    }
}

/// The type that values are written with: what is asked for if they are such, and otherwise that of what they hold.
pub(super) fn written(values: &Values, asked: Option<CellType>) -> CellType {
    let own = match values {
        Values::Number {
            decimals: Some(0), ..
        } => CellType::Integer,
        Values::Number { .. } => CellType::Float,
        values if all_labels(values, |label| TRUTHS.contains(&label)) => CellType::Truth,
        _ => CellType::Text,
    };
    let is_number = matches!(values, Values::Number { .. });
    match asked {
        Some(CellType::Text) => CellType::Text,
        Some(CellType::Float) if is_number || all_labels(values, is_json_number) => CellType::Float,
        Some(CellType::Integer) if all_labels(values, is_integer) => CellType::Integer,
        _ => own,
    }
}

/// Whether it holds categories, and all of them are such.
fn all_labels(values: &Values, is_such: impl Fn(&str) -> bool) -> bool {
    let Values::Category { labels, .. } = values else {
        return false;
    };
    !labels.is_empty() && labels.iter().all(|label| is_such(label))
}

/// Whether a text is a number as JSON has them.
fn is_json_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// Whether a text is an integer of 64 bits, as it is written.
fn is_integer(text: &str) -> bool {
    text.parse::<i64>()
        .is_ok_and(|value| value.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::super::categories;
    use super::{CellType, Seen, Values, written};

    fn labels(texts: &[&str]) -> Values {
        categories(texts.iter().map(|text| (*text).to_owned()))
    }

    #[test]
    fn a_column_has_the_type_of_its_cells() {
        use CellType::{Float, Integer, Text, Truth};
        let seen = |cells: &[(CellType, &str)]| {
            let mut seen = Seen::default();
            for (row, (cell_type, text)) in cells.iter().enumerate() {
                seen.add(*cell_type, text, row);
            }
            (seen.cell_type(), seen.first_other)
        };
        assert_eq!(seen(&[]), (None, None));
        assert_eq!(seen(&[(Text, ""), (Text, " NA ")]), (None, None));
        let mut empty = Seen::default();
        for (row, text) in ["x", " ", "NA", ""].into_iter().enumerate() {
            empty.add(Text, text, row);
        }
        assert_eq!((empty.empty_texts, empty.first_empty), (2, Some(1)));
        assert_eq!(seen(&[(Integer, "1"), (Float, "1.5")]), (Some(Float), None));
        assert_eq!(seen(&[(Integer, "1"), (Text, "?")]), (Some(Integer), None));
        assert_eq!(seen(&[(Truth, "true")]), (Some(Truth), None));
        assert_eq!(
            seen(&[(Text, "1"), (Text, "2"), (Integer, "2")]),
            (Some(Text), Some(2))
        );
        assert_eq!(
            seen(&[(Truth, "true"), (Integer, "1")]),
            (Some(Text), Some(1))
        );
    }

    #[test]
    fn values_are_written_as_asked_if_they_are_such() {
        use CellType::{Float, Integer, Text, Truth};
        let number = |decimals| Values::Number {
            values: vec![1.0],
            decimals,
        };
        for (values, asked, expected) in [
            (number(Some(0)), None, Integer),
            (number(Some(0)), Some(Float), Float),
            (number(Some(2)), Some(Integer), Float),
            (number(None), Some(Text), Text),
            (labels(&["true", "false"]), None, Truth),
            (labels(&["true", "false"]), Some(Text), Text),
            (labels(&["true", "maybe"]), Some(Truth), Text),
            (labels(&["0", "-1"]), None, Text),
            (labels(&["0", "-1"]), Some(Integer), Integer),
            (labels(&["0", "007"]), Some(Integer), Text),
            (labels(&["0", "1.5"]), Some(Float), Float),
            (labels(&["0", "+1"]), Some(Float), Text),
            (labels(&[]), Some(Integer), Text),
        ] {
            assert_eq!(written(&values, asked), expected, "{values:?} {asked:?}");
        }
    }
}
