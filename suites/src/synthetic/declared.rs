//! Tables that nobody had before: made of a schema that says types, ranges, keys and constraints.
//!
//! A schema lists tables, each with its columns and what must hold between them: inequalities, values that occur once, and keys of
//! another table. What cannot be satisfied is refused before a row is made, by the names of the columns that it is
//! about. Row `i` depends on seed and `i` alone, unique values and foreign keys among them: the first are a permutation, and the
//! second are values of the other table's rows, computed there.

mod build;
mod check;
mod keep;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::random::normal_quantile;
use super::random::permutation::Permutation;
use super::random::{Bits as _, Draws};
use super::table::schema::{Type, Types};
use super::table::{Column, MISSING, Table, Values};

pub use build::Unsatisfiable;
pub use check::{Rule, Scope, Violation, rules, unchecked, violations};
pub use keep::{Drawn, Keeper, MOST_DRAWS};

/// Version of a schema on disk.
pub const SCHEMA: u32 = 1;

/// Random streams of the rows of each table, and of its permutations: beyond those of generators.
const ROWS: u64 = 1 << 32;
const ORDERS: u64 = 1 << 33;

/// A schema as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The tables; a table of keys may come behind one that uses them.
    pub table: Vec<TableSchema>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSchema {
    /// Its name.
    pub name: String,
    /// How many rows it has; 0, as where nothing is said, of one that is not made but learned or checked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows: u64,
    /// Its columns, in the order of the file.
    pub column: Vec<ColumnSchema>,
    /// What must hold in every row.
    #[serde(default)]
    pub constraint: Vec<Constraint>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnSchema {
    /// A text that no other row has.
    Key {
        /// Its name.
        name: String,
    },
    /// Numbers: integers where no digits are asked for.
    Number {
        /// Its name.
        name: String,
        /// The least value.
        low: f64,
        /// The largest.
        high: f64,
        /// Digits behind the point.
        #[serde(default)]
        decimals: u8,
        /// Mean and standard deviation of a normal distribution that is cut off at the ends; without them all values are as likely.
        #[serde(default)]
        normal: Option<[f64; 2]>,
        /// The share of rows without a value.
        #[serde(default)]
        missing: f64,
    },
    /// One of some texts.
    Category {
        /// Its name.
        name: String,
        /// The texts.
        labels: Vec<String>,
        /// How often each is drawn, in any unit; without them all are as likely.
        #[serde(default)]
        weights: Vec<f64>,
        /// The share of rows without a value.
        #[serde(default)]
        missing: f64,
    },
    /// A value of a column of another table, which must be unique there.
    Foreign {
        /// Its name.
        name: String,
        /// The other table.
        table: String,
        /// Its column.
        column: String,
        /// The share of rows without a value.
        #[serde(default)]
        missing: f64,
    },
}

/// What must hold in every row in which all values are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// The first column is less than the second.
    Less([String; 2]),
    /// The first column is at most the second.
    AtMost([String; 2]),
    /// No value of the column occurs twice.
    Unique(String),
}

impl ColumnSchema {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Key { name }
            | Self::Number { name, .. }
            | Self::Category { name, .. }
            | Self::Foreign { name, .. } => name,
        }
    }

    /// The least and the largest number with its digits; `None` where it holds others than numbers.
    pub fn range(&self) -> Option<(f64, f64)> {
        let Self::Number {
            low,
            high,
            decimals,
            ..
        } = self
        else {
            return None;
        };
        let scale = 10_f64.powi((*decimals).into());
        let (first, last) = build::steps_between(*low, *high, scale);
        Some((first / scale, last / scale))
    }

    /// What it holds, for whoever reads it from a file; the schema says what keys of other tables are.
    fn holds(&self, schema: &Schema) -> Type {
        match self {
            Self::Key { .. } => Type::Key,
            Self::Number { decimals, .. } => Type::Number {
                decimals: *decimals,
            },
            Self::Category { labels, .. } => Type::Category {
                labels: labels.clone(),
            },
            Self::Foreign { table, column, .. } => Type::Foreign {
                labels: schema.labels_of(table, column),
            },
        }
    }

    fn missing(&self) -> f64 {
        match self {
            Self::Key { .. } => 0.0,
            Self::Number { missing, .. }
            | Self::Category { missing, .. }
            | Self::Foreign { missing, .. } => *missing,
        }
    }
}

impl TableSchema {
    /// What its columns hold; it is one of the schema's.
    pub fn types(&self, schema: &Schema) -> Types {
        let columns = self.column.iter();
        columns
            .map(|column| (column.name().to_owned(), column.holds(schema)))
            .collect()
    }

    /// Columns of numbers and categories of which no value may occur twice.
    fn unique_columns(&self) -> impl Iterator<Item = usize> {
        let is_unique = |column: &ColumnSchema| {
            let is_declared = |constraint: &Constraint| matches!(constraint, Constraint::Unique(name) if name == column.name());
            let is_made = matches!(
                column,
                ColumnSchema::Number { .. } | ColumnSchema::Category { .. }
            );
            is_made && self.constraint.iter().any(is_declared)
        };
        let columns = self.column.iter().enumerate();
        columns
            .filter(move |(_, column)| is_unique(column))
            .map(|(place, _)| place)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(rows: &u64) -> bool {
    *rows == 0
}

/// A schema whose constraints can hold, ready to make rows.
pub struct Maker {
    schema: Schema,
    tables: Vec<TableMaker>,
}

struct TableMaker {
    columns: Vec<ColumnMaker>,
    /// The columns in an order in which each comes behind those that it must not be less than.
    order: Vec<usize>,
}

struct ColumnMaker {
    missing: f64,
    values: Kind,
    /// Whether no value occurs twice.
    is_unique: bool,
    /// Columns that this one is at least, and by how many steps more.
    above: Vec<(usize, i64)>,
}

/// Where values come from.
enum Kind {
    Key,
    /// Steps of `unit`: from `low` to `high`, of which the row is to leave room for what must be above.
    Steps {
        low: i64,
        high: i64,
        decimals: u8,
        normal: Option<[f64; 2]>,
    },
    Labels {
        labels: std::sync::Arc<Vec<String>>,
        bounds: Vec<f64>,
    },
    Foreign {
        table: usize,
        column: usize,
    },
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    Missing,
    /// A step, a label, or the row of a key.
    At(i64),
}

impl Schema {
    /// The table for a file of some name: that of the name, or the only one that there is.
    pub fn table_for(&self, name: &str) -> Option<&TableSchema> {
        if let [only] = self.table.as_slice() {
            return Some(only);
        }
        self.table.iter().find(|table| table.name == name)
    }

    /// The labels of a column, which may itself have the keys of another; none where it has no labels.
    fn labels_of(&self, table: &str, column: &str) -> Vec<String> {
        let (mut table, mut column) = (table, column);
        // A schema that was not checked may go in circles.
        for _ in &self.table {
            let of_name = self.table.iter().find(|of| of.name == table);
            let mut columns = of_name.iter().flat_map(|of| &of.column);
            match columns.find(|of| of.name() == column) {
                Some(ColumnSchema::Category { labels, .. }) => return labels.clone(),
                Some(ColumnSchema::Foreign {
                    table: next,
                    column: key,
                    ..
                }) => (table, column) = (next, key),
                _ => break,
            }
        }
        vec![]
    }

    /// Whether it can hold, whatever it says of numbers of rows.
    ///
    /// # Errors
    /// What cannot hold, or names nothing.
    pub fn check(&self) -> Result<(), Unsatisfiable> {
        let mut small = self.clone();
        for table in &mut small.table {
            table.rows = 1;
        }
        small.build().map(drop)
    }

    /// What makes its rows.
    ///
    /// # Errors
    /// What cannot hold, or names nothing.
    pub fn build(&self) -> Result<Maker, Unsatisfiable> {
        Ok(Maker {
            tables: build::tables(self)?,
            schema: self.clone(),
        })
    }
}

impl Maker {
    /// The schema that it was made of.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Rows `first .. first + rows` of the table at a place of the schema.
    pub fn rows(&self, table: usize, seed: u64, first: u64, rows: usize) -> Table {
        let maker = &self.tables[table];
        let cells: Vec<Vec<Cell>> = (first..first + rows as u64)
            .into_par_iter()
            .map(|row| self.row(table, seed, row))
            .collect();
        let columns = maker.columns.iter().enumerate().map(|(index, column)| {
            let cells = cells.iter().map(|row| row[index]);
            Column {
                name: self.schema.table[table].column[index].name().to_owned(),
                values: self.values(table, &column.values, cells),
            }
        });
        Table {
            columns: columns.collect(),
        }
    }

    fn row(&self, table: usize, seed: u64, row: u64) -> Vec<Cell> {
        let maker = &self.tables[table];
        let mut draws = Draws::of_row(seed, ROWS + table as u64, row);
        let mut cells = vec![Cell::Missing; maker.columns.len()];
        for index in &maker.order {
            let column = &maker.columns[*index];
            // Both are drawn, so that no column depends on what another one lacks.
            let (missing, place) = (draws.unit(), draws.unit());
            let least = column
                .above
                .iter()
                .filter_map(|(below, steps)| match cells[*below] {
                    Cell::At(step) => Some(step + steps),
                    Cell::Missing => None,
                });
            let least = least.max().unwrap_or(i64::MIN);
            let value = if column.is_unique {
                self.unique(table, *index, seed, row)
            } else {
                self.draw(column, seed, place, least)
            };
            if missing >= column.missing {
                cells[*index] = Cell::At(value);
            }
        }
        cells
    }

    /// A value of a column whose values may occur again.
    fn draw(&self, column: &ColumnMaker, seed: u64, place: f64, least: i64) -> i64 {
        match &column.values {
            Kind::Key => 0,
            Kind::Steps {
                low,
                high,
                decimals,
                normal,
            } => {
                let low = least.max(*low);
                let scale = 10_f64.powi((*decimals).into());
                let steps = (high - low) as f64 + 1.0;
                let step = match normal {
                    None => low + (place * steps) as i64,
                    Some([mean, deviation]) => {
                        let below = |step: f64| normal_below((step / scale - mean) / deviation);
                        let (from, to) = (below(low as f64 - 0.5), below(*high as f64 + 0.5));
                        let z = normal_quantile(from + (to - from) * place);
                        ((mean + deviation * z) * scale).round() as i64
                    }
                };
                step.clamp(low, *high)
            }
            Kind::Labels { labels, bounds } => {
                let label = bounds.partition_point(|bound| *bound <= place);
                label.min(labels.len() - 1) as i64
            }
            Kind::Foreign { table, column } => {
                let rows = self.schema.table[*table].rows;
                let row = ((place * rows as f64) as u64).min(rows - 1);
                self.unique(*table, *column, seed, row)
            }
        }
    }

    /// The value in a row of a column in which none occurs twice: it needs no other row, and no draw.
    fn unique(&self, table: usize, column: usize, seed: u64, row: u64) -> i64 {
        let order = |bound: u64| {
            let stream = ORDERS + ((table as u64) << 16) + column as u64;
            Permutation::new(seed, stream, bound).at(row)
        };
        match &self.tables[table].columns[column].values {
            Kind::Key => row as i64,
            Kind::Steps { low, high, .. } => low + order((high - low) as u64 + 1) as i64,
            Kind::Labels { labels, .. } => order(labels.len() as u64) as i64,
            Kind::Foreign { table, column } => {
                self.unique(*table, *column, seed, order(self.schema.table[*table].rows))
            }
        }
    }

    /// Cells as the values of a column.
    fn values(&self, table: usize, kind: &Kind, cells: impl Iterator<Item = Cell>) -> Values {
        match kind {
            Kind::Key => {
                let name = &self.schema.table[table].name;
                let text = |cell| match cell {
                    Cell::Missing => None,
                    Cell::At(row) => Some(format!("{name}-{row:09}")),
                };
                Values::Key {
                    values: cells.map(text).collect(),
                }
            }
            Kind::Steps { decimals, .. } => {
                let scale = 10_f64.powi((*decimals).into());
                let number = |cell| match cell {
                    Cell::Missing => f64::NAN,
                    Cell::At(step) => step as f64 / scale,
                };
                Values::Number {
                    values: cells.map(number).collect(),
                    decimals: Some(*decimals),
                }
            }
            Kind::Labels { labels, .. } => {
                let code = |cell| match cell {
                    Cell::Missing => MISSING,
                    Cell::At(label) => label as u32,
                };
                Values::Category {
                    codes: cells.map(code).collect(),
                    labels: std::sync::Arc::clone(labels),
                }
            }
            Kind::Foreign { table, column } => {
                self.values(*table, &self.tables[*table].columns[*column].values, cells)
            }
        }
    }
}

/// The probability that a standard normal variable stays below `x`, the same bits on every machine.
fn normal_below(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests;
