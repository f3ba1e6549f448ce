//! MST: a tree of noisy two-way marginals, differentially private.
//!
//! Source: R. `McKenna`, G. Miklau, D. Sheldon, "Winning the NIST Contest: A scalable and general approach to differentially
//! private synthetic data", Journal of Privacy and Confidentiality 11(3), 2021. A third of the budget each measures every
//! column, chooses a tree of pairs ([`select`]), and measures these. What is frequent in no column is merged before
//! ([`domain`]), which noise alone decides. Marginals that were measured twice are averaged by their
//! variances and made to agree ([`tree`]); on a tree such marginals are a distribution, from which rows are drawn.
//!
//! The kinds of columns, the bounds and digits of numbers and the texts of categories are taken for known to the public, as in that paper;
//! where they were learned from the table, and not declared, the guarantee does not cover them, and [`Mst::caveats`] says so. Texts are kept in their
//! own order, not in that of the rows.

mod domain;
mod select;
mod tree;

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{FitError, marginals, places};
use crate::synthetic::declared::ColumnSchema;
use crate::synthetic::privacy::accountant::{Accountant, Entry};
use crate::synthetic::privacy::discrete::{self, Rational};
use crate::synthetic::privacy::{Budget, zcdp};
use crate::synthetic::progress::Progress;
use crate::synthetic::random::{Bits, Draws};
use crate::synthetic::table::{Column, Table};
use domain::Domain;
use select::Levels;
use tree::Tree;

/// Random stream of its rows.
const STREAM: u64 = 3;

/// Noisy marginals of a tree, and what they cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mst {
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
struct Measured {
    counts: Vec<f64>,
    variance: f64,
}

impl Mst {
    /// Learns a table within a budget. `bits` decide the noise: [`super::super::random::Secret`] where the table is private.
    pub fn fit(table: &Table, budget: Budget, bits: &mut impl Bits) -> Result<Self, FitError> {
        Self::fit_declared(table, &[], budget, bits, &Progress::default())
    }

    /// As [`Mst::fit`], where some columns are declared: their ranges and texts are those of the declaration, whatever the table has.
    /// `progress` says how far it is.
    pub fn fit_declared(
        table: &Table,
        declared: &[ColumnSchema],
        budget: Budget,
        bits: &mut impl Bits,
        progress: &Progress,
    ) -> Result<Self, FitError> {
        let of_name = |name: &str| declared.iter().find(|column| column.name() == name);
        let mut domains: Vec<Domain> = table
            .columns
            .iter()
            .map(|c| Domain::of(&c.values, of_name(&c.name)))
            .collect();
        // Nothing is kept of it but that there are rows.
        marginals(table, progress)?;
        let mut accountant = Accountant::new(budget);
        // Where there are no pairs, all is for the one column.
        let third = match table.columns.len() {
            0 | 1 => accountant.rho(),
            _ => accountant.rho() / 3.0,
        };
        let fine: Vec<Vec<u32>> = levels(table, &domains);
        let mut singles = Vec::new();
        progress.begin("counts of columns", table.columns.len());
        for ((column, domain), levels) in table.columns.iter().zip(&domains).zip(&fine) {
            let what = format!("marginal of `{}`", column.name);
            let share = third / table.columns.len() as f64;
            let counts = histogram(levels, domain.levels());
            singles.push(measure(&counts, &what, share, &mut accountant, bits)?);
            progress.step();
        }
        for (domain, single) in domains.iter_mut().zip(&mut singles) {
            domain.compress(single);
        }
        let coarse = levels(table, &domains);
        let sizes: Vec<usize> = domains.iter().map(Domain::levels).collect();
        let mut edges = Vec::new();
        let mut pairs = Vec::new();
        if table.columns.len() > 1 {
            let columns = Levels {
                of_rows: &coarse,
                sizes: &sizes,
                singles: &singles,
            };
            edges = select::tree(&columns, third, &mut accountant, bits, progress)?;
            progress.begin("counts along the edges", edges.len());
            for (a, b) in &edges {
                let what = format!(
                    "marginal of `{}` and `{}`",
                    table.columns[*a].name, table.columns[*b].name
                );
                let share = third / edges.len() as f64;
                let counts = select::joint(&coarse[*a], &coarse[*b], sizes[*a], sizes[*b]);
                pairs.push(measure(&counts, &what, share, &mut accountant, bits)?);
                progress.step();
            }
        }
        let columns = table
            .columns
            .iter()
            .zip(domains)
            .map(|(column, domain)| Described {
                name: column.name.clone(),
                domain,
            });
        Ok(Self {
            columns: columns.collect(),
            tree: Tree::new(&edges, &sizes, &singles, &pairs),
            epsilon: accountant.epsilon_spent(),
            delta: budget.delta,
            ledger: accountant.ledger().to_vec(),
            caveats: caveats(table, declared),
        })
    }

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

/// The level of each row in each column.
fn levels(table: &Table, domains: &[Domain]) -> Vec<Vec<u32>> {
    let columns = table.columns.par_iter().zip(domains);
    columns
        .map(|(column, domain)| domain.of_rows(&column.values))
        .collect()
}

/// How many rows have each level.
fn histogram(levels: &[u32], of: usize) -> Vec<u64> {
    let mut counts = vec![0; of];
    for level in levels {
        counts[*level as usize] += 1;
    }
    counts
}

/// Counts with noise, paid for first. One row more or less changes one count by one.
fn measure(
    counts: &[u64],
    what: &str,
    rho: f64,
    accountant: &mut Accountant,
    bits: &mut impl Bits,
) -> Result<Measured, FitError> {
    let variance = Rational::at_least(zcdp::variance_for(rho, 1.0))?;
    let mechanism = format!(
        "discrete Gaussian of variance {:.4} on {} counts",
        variance.value(),
        counts.len()
    );
    accountant.spend(what, mechanism, zcdp::of_gaussian(1.0, variance.value()))?;
    let noisy = counts
        .iter()
        .map(|count| *count as f64 + discrete::gaussian(bits, variance) as f64);
    Ok(Measured {
        counts: noisy.collect(),
        variance: variance.value(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Budget, Draws, FitError, Mst};
    use crate::synthetic::privacy::audit::{Count, epsilon_at_least};
    use crate::synthetic::table::{Column, Table, Values, categories, census};

    fn fit(table: &Table, epsilon: f64) -> Result<Mst, FitError> {
        Mst::fit(
            table,
            Budget::new(epsilon, 1e-6).unwrap(),
            &mut Draws::of_row(1, 0, 0),
        )
    }

    #[test]
    fn it_spends_its_budget_and_no_more() {
        let model = fit(&census::rows(1, 0, 3000), 1.0).unwrap();
        assert!(
            model.epsilon <= 1.0 && model.epsilon > 0.99,
            "{}",
            model.epsilon
        );
        // 15 columns, 14 choices of an edge, 14 pairs.
        assert_eq!(model.ledger.len(), 15 + 14 + 14);
        assert!(!model.caveats.is_empty());
    }

    #[test]
    fn what_hangs_together_is_found_with_a_large_budget() {
        let real = census::rows(1, 0, 20_000);
        let made = fit(&real, 50.0).unwrap().rows(7, 0, 20_000);
        let of = |table: &Table, name: &str| match &real
            .align(table)
            .unwrap()
            .column(name)
            .unwrap()
            .values
        {
            Values::Category { codes, .. } => codes.clone(),
            _ => panic!("categories"),
        };
        let errors = |a: &str, b: &str| {
            let joint = |table: &Table| {
                let mut counts = std::collections::BTreeMap::new();
                for pair in of(table, a).into_iter().zip(of(table, b)) {
                    *counts.entry(pair).or_insert(0.0) += 1.0 / table.rows() as f64;
                }
                counts
            };
            let (real, made) = (joint(&real), joint(&made));
            let keys: std::collections::BTreeSet<_> =
                real.keys().chain(made.keys()).copied().collect();
            let share = |of: &std::collections::BTreeMap<(u32, u32), f64>, key| {
                of.get(key).copied().unwrap_or(0.0)
            };
            keys.iter()
                .map(|key| (share(&real, key) - share(&made, key)).abs())
                .sum::<f64>()
                / 2.0
        };
        assert!(
            errors("employment", "occupation") < 0.05,
            "{}",
            errors("employment", "occupation")
        );
    }

    #[test]
    fn rows_do_not_depend_on_who_makes_them_and_fits_on_their_noise_alone() {
        let table = census::rows(5, 0, 1000);
        let model = fit(&table, 2.0).unwrap();
        let places: Vec<usize> = (50..80).collect();
        assert_eq!(model.rows(3, 0, 100).select(&places), model.rows(3, 50, 30));
        assert_eq!(model, fit(&table, 2.0).unwrap());
        let text = serde_json::to_string(&model).unwrap();
        let back: Mst = serde_json::from_str(&text).unwrap();
        assert_eq!(back.rows(3, 0, 20), model.rows(3, 0, 20));
    }

    /// A lower bound on epsilon, proved by telling models of a table and of that table less one row apart, by what rows they make.
    fn proved(epsilon: f64, columns: usize) -> f64 {
        const TRIALS: u64 = 1500;
        const DELTA: f64 = 1e-3;
        let column = |name: String, more: usize| Column {
            name,
            values: categories((0..24 + more).map(|row| ["a", "b"][usize::from(row < 12)].into())),
        };
        let table = |more| {
            let columns = (0..columns).map(|number| column(number.to_string(), more));
            Table::new(columns.collect()).unwrap()
        };
        let budget = Budget::new(epsilon, DELTA).unwrap();
        // What is told apart: how many of many rows are made with the text that the row more has in all columns.
        let made = |more: usize, trial: u64| {
            let mut noise = Draws::of_row(trial, 77 + more as u64, 0);
            let rows = Mst::fit(&table(more), budget, &mut noise)
                .unwrap()
                .rows(1, 0, 200);
            let is_a = |column: &Column, row| column.values.text(row) == "a";
            (0..200)
                .filter(|row| rows.columns.iter().all(|column| is_a(column, *row)))
                .count()
        };
        let counts = |more| -> Vec<usize> { (0..TRIALS).map(|trial| made(more, trial)).collect() };
        let (without, with) = (counts(0), counts(1));
        let bound = |threshold: usize| {
            let count = |of: &[usize]| Count {
                hits: of.iter().filter(|made| **made >= threshold).count() as u64,
                trials: TRIALS,
            };
            epsilon_at_least(count(&with), count(&without), DELTA, 0.9999)
        };
        (80..200).map(bound).fold(0.0, f64::max)
    }

    #[test]
    fn an_audit_of_whole_fits_refutes_no_claim_and_finds_what_was_overspent() {
        for columns in [1, 2] {
            let sound = proved(4.0, columns);
            assert!(sound > 0.2 && sound <= 4.0, "{columns} columns: {sound}");
            // As if a factor had been forgotten: what is claimed for 1 was fitted with the noise of 40.
            let broken = proved(40.0, columns);
            assert!(broken > 1.0, "{columns} columns: {broken}");
        }
    }

    #[test]
    fn a_model_tells_nothing_of_the_order_of_rows() {
        let table = |texts: [&str; 4]| {
            let values = categories(texts.map(String::from));
            Table::new(vec![Column {
                name: "c".into(),
                values,
            }])
            .unwrap()
        };
        let one = fit(&table(["b", "a", "c", "a"]), 5.0).unwrap();
        let other = fit(&table(["a", "c", "a", "b"]), 5.0).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn damaged_models_are_refused() {
        let model = fit(&census::rows(5, 0, 200), 1.0).unwrap();
        let text = serde_json::to_string(&model).unwrap();
        for (from, to) in [
            ("\"column\":1,", "\"column\":99,"),
            ("\"given\":0,", "\"given\":77,"),
            ("\"members\":[[", "\"members\":[[],["),
            ("\"level\":[0,", "\"level\":[4000,"),
        ] {
            assert!(text.contains(from), "{from}");
            let damaged: Mst = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
            assert!(damaged.check().is_err(), "{to}");
        }
        model.check().unwrap();
    }

    #[test]
    fn one_column_and_one_row_are_tables_too() {
        let table = census::rows(5, 0, 50);
        let one = Table::new(vec![table.columns[1].clone()]).unwrap();
        assert_eq!(fit(&one, 1.0).unwrap().rows(1, 0, 9).rows(), 9);
        assert_eq!(
            fit(&table.select(&[0]), 1.0).unwrap().rows(1, 0, 9).rows(),
            9
        );
        assert!(fit(&table.select(&[]), 1.0).is_err());
    }
}
