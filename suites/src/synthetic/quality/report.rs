//! All scores of a synthetic table beside its floors.

use serde::Serialize;

use super::copies::{Closeness, closeness};
use super::detection::{Detection, detect};
use super::utility::{Utility, utility};
use super::{columns, marginals, pairs};
use crate::synthetic::generators::independent::Independent;
use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{Table, TableError};

/// Sets of columns whose marginals are compared, at most.
const SETS: usize = 455;
/// Rows that are compared one with another, at most: the work grows with the square.
const CLOSE_ROWS: usize = 5_000;
/// Rows of which detection and utility learn, at most.
const LEARNED_ROWS: usize = 20_000;

/// What a table scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Each column.
    pub columns: Vec<ColumnScore>,
    /// Each pair of columns that has a score.
    pub pairs: Vec<PairScore>,
    /// The scores in short.
    pub scores: Scores,
    /// What as many rows drawn from the real ones score: the best that can be hoped for.
    pub bootstrap: Scores,
    /// What independent columns score: what is to be beaten.
    pub independent: Scores,
    /// Whether a classifier tells rows apart.
    pub detection: Option<Detection>,
    /// What can be learned from them, for each column.
    pub utility: Vec<Utility>,
    /// What they give away.
    pub closeness: Option<Closeness>,
}

/// Means over columns and pairs, and errors of marginals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Mean of the columns' distributions.
    pub shapes: f64,
    /// Mean of the pairs' trends.
    pub trends: f64,
    /// Mean of both, as `SDMetrics`' quality report takes it.
    pub quality: f64,
    /// Mean coverage of ranges and categories.
    pub coverage: f64,
    /// Error of marginals of two columns; 0 is best.
    pub two_way: f64,
    /// Error of marginals of three columns; 0 is best.
    pub three_way: f64,
}

/// What a column scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnScore {
    /// The column.
    pub name: String,
    /// Its distribution; absent for keys, and where nothing is there.
    pub shape: Option<f64>,
    /// Coverage of its range, or its categories.
    pub coverage: Option<f64>,
    /// Share of missing values, in the real and in the synthetic table.
    pub missing: [f64; 2],
}

/// What a pair of columns scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairScore {
    /// The columns.
    pub columns: [String; 2],
    /// Whether they hang together as they did.
    pub trend: f64,
}

/// Scores a synthetic table against the real one it was learned from. `held_out` are real rows that it was not learned from,
/// where there are some; without them, utility is tested on the rows that were learned from, and nothing is said of closeness.
///
/// # Errors
/// If the tables have other columns.
pub fn report(
    real: &Table,
    held_out: Option<&Table>,
    synthetic: &Table,
    seed: u64,
) -> Result<Report, TableError> {
    let synthetic = &real.align(synthetic)?;
    if real.rows() == 0 || synthetic.rows() == 0 {
        return Err(TableError::Table(
            "a table without rows has no scores".into(),
        ));
    }
    let held_out = held_out.map(|table| real.align(table)).transpose()?;
    let rows = synthetic.rows();
    let independent = Independent::fit(real)?.rows(seed, 0, rows);
    let independent = real.align(&independent)?;
    let bootstrap = real.select(&drawn(real.rows(), rows, seed));
    let first =
        |table: &Table, most: usize| table.select(&(0..table.rows().min(most)).collect::<Vec<_>>());
    let [train, made] = [real, synthetic].map(|table| first(table, LEARNED_ROWS));
    let test = held_out.as_ref().unwrap_or(real);
    let test = first(test, LEARNED_ROWS);
    let close = held_out.as_ref().and_then(|held_out| {
        let [train, held_out, made, random] =
            [real, held_out, synthetic, &independent].map(|table| first(table, CLOSE_ROWS));
        closeness(&train, &held_out, &made, &random)
    });
    Ok(Report {
        columns: column_scores(real, synthetic),
        pairs: pair_scores(real, synthetic),
        scores: scores(real, synthetic, seed),
        bootstrap: scores(real, &bootstrap, seed),
        independent: scores(real, &independent, seed),
        detection: detect(&train, &made),
        utility: (0..real.columns.len())
            .filter_map(|column| utility(&train, &made, &test, column))
            .collect(),
        closeness: close,
    })
}

/// `rows` of `of` rows, with repetition.
fn drawn(of: usize, rows: usize, seed: u64) -> Vec<usize> {
    let row = |row| Draws::of_row(seed, 4, row).below(of as u64) as usize;
    (0..rows as u64).map(row).collect()
}

fn column_scores(real: &Table, synthetic: &Table) -> Vec<ColumnScore> {
    let columns = real.columns.iter().zip(&synthetic.columns);
    let score = |(a, b): (
        &crate::synthetic::table::Column,
        &crate::synthetic::table::Column,
    )| ColumnScore {
        name: a.name.clone(),
        shape: columns::shape(&a.values, &b.values),
        coverage: columns::coverage(&a.values, &b.values),
        missing: [&a.values, &b.values].map(|values| values.missing() as f64 / values.len() as f64),
    };
    columns.map(score).collect()
}

fn pair_scores(real: &Table, synthetic: &Table) -> Vec<PairScore> {
    let (a, b) = (&real.columns, &synthetic.columns);
    let pairs = (0..a.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    let score = |(i, j): (usize, usize)| {
        let trend = pairs::trend([&a[i].values, &a[j].values], [&b[i].values, &b[j].values])?;
        Some(PairScore {
            columns: [a[i].name.clone(), a[j].name.clone()],
            trend,
        })
    };
    pairs.filter_map(score).collect()
}

/// The scores in short.
pub fn scores(real: &Table, synthetic: &Table, seed: u64) -> Scores {
    let columns = column_scores(real, synthetic);
    let shapes = mean(columns.iter().filter_map(|column| column.shape));
    let trends = mean(pair_scores(real, synthetic).iter().map(|pair| pair.trend));
    let error = |k| marginals::error(real, synthetic, k, SETS, seed).unwrap_or(f64::NAN);
    Scores {
        shapes,
        trends,
        quality: mean([shapes, trends].into_iter().filter(|score| !score.is_nan())),
        coverage: mean(columns.iter().filter_map(|column| column.coverage)),
        two_way: error(2),
        three_way: error(3),
    }
}

/// Not a number where there is nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::synthetic::generators::copula::Copula;
    use crate::synthetic::table::census;

    #[test]
    fn a_copula_lies_between_its_floors() {
        let (real, held_out) = (census::rows(1, 0, 2000), census::rows(1, 2000, 500));
        let made = Copula::fit(&real).unwrap().rows(1, 0, 2000);
        let report = report(&real, Some(&held_out), &made, 7).unwrap();
        assert!(
            report.bootstrap.quality > report.scores.quality,
            "{report:?}"
        );
        assert!(
            report.scores.trends > report.independent.trends + 0.01,
            "{report:?}"
        );
        assert!(
            report.scores.three_way < report.independent.three_way,
            "{report:?}"
        );
        assert!(report.closeness.unwrap().exact_copies < 0.01);
        assert_eq!((report.columns.len(), report.pairs.len()), (15, 105));
    }
}
