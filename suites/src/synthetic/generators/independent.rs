//! Independent columns: each as it is, and nothing between them. What every other generator must beat.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Cell, Named, assemble, marginals, places};
use crate::synthetic::progress::Progress;
use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{Table, TableError};

/// Random stream of its rows.
const STREAM: u64 = 1;

/// The marginals of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Independent {
    columns: Vec<Named>,
}

impl Independent {
    /// Learns each column of a table.
    pub fn fit(table: &Table) -> Result<Self, TableError> {
        Self::fit_telling(table, &Progress::default())
    }

    /// As [`Independent::fit`], and says how far it is.
    pub fn fit_telling(table: &Table, progress: &Progress) -> Result<Self, TableError> {
        Ok(Self {
            columns: marginals(table, progress)?,
        })
    }

    /// Whether its parts go together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        super::check(&self.columns)
    }

    /// Rows from `first` on.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Table {
        self.rows_at(seed, &places(first, rows))
    }

    /// The rows of some numbers.
    pub fn rows_at(&self, seed: u64, places: &[u64]) -> Table {
        let row = |row: &u64| {
            let mut draws = Draws::of_row(seed, STREAM, *row);
            let cells = self.columns.iter().map(|column| {
                // Both are drawn, so that no column depends on what another one lacks.
                let (missing, place) = (draws.unit(), draws.unit());
                if missing < column.marginal.missing() {
                    Cell::Missing
                } else {
                    Cell::At(place)
                }
            });
            cells.collect()
        };
        let cells: Vec<Vec<Cell>> = places.par_iter().map(row).collect();
        assemble(&self.columns, places, &cells)
    }
}
