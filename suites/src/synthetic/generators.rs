//! Generators: of tables by what was learned of one, and of items by a recipe ([`super::items`]).
//!
//! A model of a table is learned once ([`super::workload::fit`]), can be kept as JSON, and makes row `i` of a seed at any time, in
//! any process.

pub mod copula;
pub mod grammar;
pub mod independent;
pub mod instructions;
pub mod marginal;
pub mod markov;
pub mod mst;
pub mod pictures;
pub mod series;
pub mod spectra;

use serde::{Deserialize, Serialize};

use super::privacy::PrivacyError;
use super::table::{Column, Table, TableError};
use marginal::Marginal;

/// Version of a model on disk.
pub const MODEL_SCHEMA: u32 = 1;

/// Why nothing can be learned.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The table does not do.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The budget does not do.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
}

/// What was learned of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Each column by itself.
    Independent(independent::Independent),
    /// Columns with a Gaussian copula.
    Copula(copula::Copula),
    /// A tree of noisy marginals, differentially private.
    Mst(mst::Mst),
}

impl Model {
    /// Its name, as commands and suites give it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Independent(_) => "independent",
            Self::Copula(_) => "copula",
            Self::Mst(_) => "mst",
        }
    }

    /// Rows `first .. first + rows` under `seed`: the same bits whoever makes them, alone or with others.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Table {
        match self {
            Self::Independent(model) => model.rows(seed, first, rows),
            Self::Copula(model) => model.rows(seed, first, rows),
            Self::Mst(model) => model.rows(seed, first, rows),
        }
    }
}

/// A column's name and what was learned of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The name.
    pub name: String,
    /// What was learned.
    pub marginal: Marginal,
}

/// The marginals of a table's columns.
///
/// # Errors
/// If there is nothing to learn from.
pub fn marginals(table: &Table) -> Result<Vec<Named>, TableError> {
    if table.rows() == 0 {
        return Err(TableError::Table(
            "the table has no rows: nothing can be learned from it".into(),
        ));
    }
    let learn = |column: &Column| Named {
        name: column.name.clone(),
        marginal: Marginal::learn(&column.values),
    };
    Ok(table.columns.iter().map(learn).collect())
}

/// A table of rows that a function makes, a number on (0, 1) for each column and whether it is missing.
fn assemble(columns: &[Named], first: u64, rows: &[Vec<Cell>]) -> Table {
    let columns = columns.iter().enumerate().map(|(index, column)| Column {
        name: column.name.clone(),
        values: column
            .marginal
            .values(first, rows.iter().map(|row| row[index])),
    });
    Table {
        columns: columns.collect(),
    }
}

/// What becomes one value of a column: where in its distribution it lies, or that it is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// As far into the distribution of values that are there.
    At(f64),
    /// Missing.
    Missing,
}
