//! Private models: noisy counts of columns, and of pairs along a tree of them, and what these cost.
//!
//! A column is a few levels ([`domain`]), of which what is frequent in no column is merged, as noise alone decides. Counts that were measured
//! twice are averaged by their variances and made to agree ([`tree`]); on a tree, or on no edges at all, they are a distribution, from which
//! rows are drawn. Which pairs are measured, how and at what cost is up to who learns: [`super::mst`], [`histograms`].
//!
//! The kinds of columns, the bounds and digits of numbers and the texts of categories are taken for known to the public, as in the paper of
//! [`super::mst`]; where they were learned from the table, and not declared, the guarantee does not cover them, and [`Private::caveats`] says so.
//! Texts are kept in their own order, not in that of the rows. Nothing else of a table is in a model but what was paid for.

pub(super) mod domain;
pub mod histograms;
pub(super) mod tree;

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{ensure_rows, places};
use crate::synthetic::declared::ColumnSchema;
use crate::synthetic::privacy::accountant::{Accountant, Entry};
use crate::synthetic::privacy::discrete::Sampler;
use crate::synthetic::privacy::mechanism::Noise;
use crate::synthetic::random::Draws;
use crate::synthetic::table::{Column, Table, TableError};
use domain::Domain;
use tree::Tree;

/// Random stream of its rows.
const STREAM: u64 = 3;

/// Noisy counts of columns and pairs, and what they cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Private {
    columns: Vec<Described>,
    tree: Tree,
    /// What was paid, measurement by measurement.
    pub ledger: Vec<Entry>,
    /// What all of it amounts to.
    pub epsilon: f64,
    /// At this probability of more.
    pub delta: f64,
    /// What the guarantee does not cover.
    pub caveats: Vec<String>,
}

/// A column's name and its values as a few levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: String,
    domain: Domain,
}

/// A noisy count of every level, or pair of levels.
pub(super) struct Measured {
    pub counts: Vec<f64>,
    pub variance: f64,
}

impl Measured {
    /// Adds noise, which was paid for, to counts.
    pub fn of(counts: &[u64], noise: &Noise, sampler: &mut impl Sampler) -> Self {
        let measured = counts
            .iter()
            .map(|count| *count as f64 + noise.draw(sampler) as f64);
        Self {
            counts: measured.collect(),
            variance: noise.variance(),
        }
    }
}

/// A table whose columns are levels: what is counted of it.
pub(super) struct Coarse<'a> {
    table: &'a Table,
    declared: &'a [ColumnSchema],
    pub domains: Vec<Domain>,
}

impl<'a> Coarse<'a> {
    /// Of a table with rows: nothing else is asked of it here.
    pub fn of(table: &'a Table, declared: &'a [ColumnSchema]) -> Result<Self, TableError> {
        ensure_rows(table)?;
        let of_name = |name: &str| declared.iter().find(|column| column.name() == name);
        let columns = table.columns.iter();
        let domains = columns.map(|column| Domain::of(&column.values, of_name(&column.name)));
        Ok(Self {
            table,
            declared,
            domains: domains.collect(),
        })
    }

    /// The level of each row in each column.
    pub fn levels(&self) -> Vec<Vec<u32>> {
        let columns = self.table.columns.par_iter().zip(&self.domains);
        columns
            .map(|(column, domain)| domain.of_rows(&column.values))
            .collect()
    }

    /// How many levels each column has.
    pub fn sizes(&self) -> Vec<usize> {
        self.domains.iter().map(Domain::levels).collect()
    }

    /// How many rows have each level of each column.
    pub fn histograms(&self) -> Vec<Vec<u64>> {
        let levels = self.levels();
        let counted = levels.iter().zip(self.sizes());
        counted.map(|(levels, of)| histogram(levels, of)).collect()
    }

    /// Merges levels that noise says are rare, and what was measured of them.
    pub fn compress(&mut self, singles: &mut [Measured]) {
        for (domain, single) in self.domains.iter_mut().zip(singles) {
            domain.compress(single);
        }
    }

    /// What was learned, and paid for.
    pub fn model(self, tree: Tree, accountant: &Accountant) -> Private {
        let columns = self.table.columns.iter().zip(self.domains);
        let columns = columns.map(|(column, domain)| Described {
            name: column.name.clone(),
            domain,
        });
        Private {
            columns: columns.collect(),
            tree,
            epsilon: accountant.epsilon_spent(),
            delta: accountant.delta_spent(),
            ledger: accountant.ledger().to_vec(),
            caveats: caveats(self.table, self.declared),
        }
    }
}

impl Private {
    /// Whether its parts go together, as those of a model that was learned do.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        let mut sizes = Vec::new();
        for Described { name, domain } in &self.columns {
            domain
                .check()
                .map_err(|what| format!("column `{name}`: {what}"))?;
            sizes.push(domain.levels());
        }
        self.tree.check(&sizes)
    }

    /// Rows from `first` on.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Table {
        self.rows_at(seed, &places(first, rows))
    }

    /// The rows of some numbers.
    pub fn rows_at(&self, seed: u64, places: &[u64]) -> Table {
        let drawn: Vec<Vec<(u32, f64)>> = places
            .par_iter()
            .map(|row| self.tree.draw(&mut Draws::of_row(seed, STREAM, *row)))
            .collect();
        let columns = self
            .columns
            .par_iter()
            .enumerate()
            .map(|(index, column)| Column {
                name: column.name.clone(),
                values: column
                    .domain
                    .values(places, drawn.iter().map(|row| row[index])),
            });
        Table {
            columns: columns.collect(),
        }
    }
}

fn caveats(table: &Table, declared: &[ColumnSchema]) -> Vec<String> {
    const TAKEN: &str = "were taken from the table itself: the guarantee covers them only if they are public knowledge";
    const LEARNED: &str = "the kinds of columns, the least and largest numbers and their digits, and the texts of categories";
    // Which keys occur in a table is nowhere but in it.
    let is_said = |column: &&ColumnSchema| !matches!(column, ColumnSchema::Foreign { .. });
    let said: HashSet<&str> = declared
        .iter()
        .filter(is_said)
        .map(ColumnSchema::name)
        .collect();
    let names = table.columns.iter().map(|column| column.name.as_str());
    let open: Vec<&str> = names.filter(|name| !said.contains(name)).collect();
    let learned = match (open.as_slice(), declared.is_empty()) {
        ([], _) => None,
        (_, true) => Some(format!("{LEARNED} {TAKEN}")),
        (open, false) => Some(format!("{LEARNED}, of `{}`, {TAKEN}", open.join("`, `"))),
    };
    learned.into_iter().collect()
}

/// How many rows have each level.
pub(super) fn histogram(levels: &[u32], of: usize) -> Vec<u64> {
    let mut counts = vec![0; of];
    for level in levels {
        counts[*level as usize] += 1;
    }
    counts
}
