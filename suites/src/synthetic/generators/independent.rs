//! Independent columns: each as it is, and nothing between them. What every other generator must beat.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Cell, Named, assemble, marginals};
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
        Ok(Self {
            columns: marginals(table)?,
        })
    }

    /// Rows from `first` on.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Table {
        let row = |row: u64| {
            let mut draws = Draws::of_row(seed, STREAM, first + row);
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
        let cells: Vec<Vec<Cell>> = (0..rows as u64).into_par_iter().map(row).collect();
        assemble(&self.columns, first, &cells)
    }
}
