//! Generators: of tables by what was learned of one, and of items by a recipe ([`super::items`]).
//!
//! A model of a table is learned once ([`super::workload::fit`]), can be kept as JSON, and makes row `i` of a seed at any time, in
//! any process.

#[cfg(test)]
mod audits;
pub mod copula;
pub mod grammar;
pub mod independent;
pub mod instructions;
pub mod language;
pub mod marginal;
pub mod markov;
pub mod mst;
pub mod pictures;
pub mod private;
pub mod series;
pub mod spectra;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::privacy::PrivacyError;
use super::privacy::mechanism::Mechanism;
use super::progress::Progress;
use super::table::{Column, Table, TableError};
use marginal::Marginal;

/// Version of a model on disk: 4 where columns are private without pairs, 3 where types of a file's columns are in it, 2 where a declared table is,
/// and otherwise 1.
pub const MODEL_SCHEMA: u32 = 4;

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
    Mst(private::Private),
    /// Each column by itself, differentially private.
    PrivateIndependent(private::Private),
}

impl Model {
    /// Its name, as commands and suites give it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Independent(_) | Self::PrivateIndependent(_) => "independent",
            Self::Copula(_) => "copula",
            Self::Mst(_) => "mst",
        }
    }

    /// What was paid for it, where it is private.
    pub fn private(&self) -> Option<&private::Private> {
        match self {
            Self::Independent(_) | Self::Copula(_) => None,
            Self::Mst(model) | Self::PrivateIndependent(model) => Some(model),
        }
    }

    /// What its generator was told, by name; nothing where it takes nothing.
    pub fn parameters(&self) -> Value {
        let Some(private) = self.private() else {
            return json!({});
        };
        let mut parameters = json!({"epsilon": private.epsilon, "delta": private.delta});
        if let (Self::PrivateIndependent(_), Some(paid)) = (self, private.ledger.first()) {
            let mechanism = Mechanism::of_words(&paid.mechanism);
            parameters["mechanism"] = json!(mechanism.map(Mechanism::name));
        }
        parameters
    }

    /// Whether its parts go together: a file may be damaged, or written by hand.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Independent(model) => model.check(),
            Self::Copula(model) => model.check(),
            Self::Mst(model) | Self::PrivateIndependent(model) => model.check(),
        }
    }

    /// Rows `first .. first + rows` under `seed`: the same bits whoever makes them, alone or with others.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Table {
        self.rows_at(seed, &places(first, rows))
    }

    /// The rows of some numbers, in their order.
    pub fn rows_at(&self, seed: u64, places: &[u64]) -> Table {
        match self {
            Self::Independent(model) => model.rows_at(seed, places),
            Self::Copula(model) => model.rows_at(seed, places),
            Self::Mst(model) | Self::PrivateIndependent(model) => model.rows_at(seed, places),
        }
    }
}

/// The numbers of rows from `first` on.
pub(super) fn places(first: u64, rows: usize) -> Vec<u64> {
    (first..first + rows as u64).collect()
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

/// Whether marginals are such as are learned.
fn check(columns: &[Named]) -> Result<(), String> {
    let of_column = |column: &Named| {
        let checked = column.marginal.check();
        checked.map_err(|what| format!("column `{}`: {what}", column.name))
    };
    columns.iter().try_for_each(of_column)
}

/// Fails if there is nothing to learn from.
fn ensure_rows(table: &Table) -> Result<(), TableError> {
    if table.rows() > 0 {
        return Ok(());
    }
    Err(TableError::Table(
        "the table has no rows: nothing can be learned from it".into(),
    ))
}

/// The marginals of a table's columns.
///
/// # Errors
/// If there is nothing to learn from.
pub fn marginals(table: &Table, progress: &Progress) -> Result<Vec<Named>, TableError> {
    ensure_rows(table)?;
    progress.begin("distributions of columns", table.columns.len());
    let learn = |column: &Column| {
        let marginal = Marginal::learn(&column.values);
        progress.step();
        Named {
            name: column.name.clone(),
            marginal,
        }
    };
    Ok(table.columns.iter().map(learn).collect())
}

/// A table of rows of these numbers, each a number on (0, 1) for each column or that it is missing.
fn assemble(columns: &[Named], places: &[u64], rows: &[Vec<Cell>]) -> Table {
    let columns = columns.iter().enumerate().map(|(index, column)| Column {
        name: column.name.clone(),
        values: column
            .marginal
            .values(places, rows.iter().map(|row| row[index])),
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
