//! Scores of each column, of each pair and of all of them, each beside both floors.
//!
//! A generator of independent columns has each column's own distribution: beside a column's score both floors say what chance makes of it,
//! and beside a pair's the second one says what a generator scores that learned nothing of the pair.

use rayon::prelude::*;
use serde::Serialize;

use super::{columns, marginals, pairs};
use crate::synthetic::table::{Column, Table, Values};

/// Sets of columns whose marginals are compared, at most.
pub(in crate::synthetic) const SETS: usize = 455;

/// Means over columns and pairs, and errors of marginals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Mean of the columns' distributions.
    pub shapes: f64,
    /// Mean of the pairs' trends.
    pub trends: f64,
    /// Mean of both. The quality report of `SDMetrics` takes it over the same scores, but for two things: by default it leaves out pairs
    /// that hang together weakly in the real table (its thresholds), and where one column of a pair has numbers and the other categories, it
    /// puts the numbers of either table in bins of its own range, not, as here and in its `ContingencySimilarity`, of the real one's.
    pub quality: f64,
    /// Mean coverage of ranges and categories.
    pub coverage: f64,
    /// Error of marginals of two columns; 0 is best.
    pub two_way: f64,
    /// Error of marginals of three columns; 0 is best.
    pub three_way: f64,
}

/// What a column scores. Floors are of a bootstrap, and of independent columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnScore {
    /// The column.
    pub name: String,
    /// Its distribution; absent for keys, and where nothing is there.
    pub shape: Option<f64>,
    /// The floors of that.
    pub shape_floors: [Option<f64>; 2],
    /// Coverage of its range, or its categories.
    pub coverage: Option<f64>,
    /// The floors of that.
    pub coverage_floors: [Option<f64>; 2],
    /// Share of missing values, in the real and in the synthetic table.
    pub missing: [f64; 2],
    /// The same in the floors.
    pub missing_floors: [f64; 2],
}

/// What a pair of columns scores. Floors are of a bootstrap, and of independent columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairScore {
    /// The columns.
    pub columns: [String; 2],
    /// Whether they hang together as they did.
    pub trend: f64,
    /// The floors of that.
    pub trend_floors: [Option<f64>; 2],
}

/// What the columns and pairs of a table score, in the order of the real one's.
pub(super) struct Parts {
    shapes: Vec<Option<f64>>,
    coverages: Vec<Option<f64>>,
    missing: Vec<f64>,
    /// In the order of [`places`].
    trends: Vec<Option<f64>>,
}

impl Parts {
    /// Of a table that is aligned with the real one.
    pub fn of(real: &Table, table: &Table) -> Self {
        let (a, b) = (&real.columns, &table.columns);
        let of_columns = |score: fn(&Values, &Values) -> Option<f64>| {
            let columns = a.par_iter().zip(b);
            columns.map(|(a, b)| score(&a.values, &b.values)).collect()
        };
        let trend = |[i, j]: [usize; 2]| {
            pairs::trend([&a[i].values, &a[j].values], [&b[i].values, &b[j].values])
        };
        Self {
            shapes: of_columns(columns::shape),
            coverages: of_columns(columns::coverage),
            missing: b
                .iter()
                .map(|column| share_missing(&column.values))
                .collect(),
            trends: places(a.len()).into_par_iter().map(trend).collect(),
        }
    }

    /// In short, with the errors of marginals of that table.
    pub fn scores(&self, real: &Table, table: &Table, seed: u64) -> Scores {
        let mean_of = |scores: &[Option<f64>]| mean(scores.iter().copied().flatten());
        let (shapes, trends) = (mean_of(&self.shapes), mean_of(&self.trends));
        Scores {
            shapes,
            trends,
            quality: mean([shapes, trends].into_iter().filter(|score| !score.is_nan())),
            coverage: mean_of(&self.coverages),
            two_way: marginals::error::<2>(real, table, SETS, seed).unwrap_or(f64::NAN),
            three_way: marginals::error::<3>(real, table, SETS, seed).unwrap_or(f64::NAN),
        }
    }
}

/// All pairs of so many columns.
fn places(columns: usize) -> Vec<[usize; 2]> {
    (0..columns)
        .flat_map(|j| (0..j).map(move |i| [i, j]))
        .collect()
}

fn share_missing(values: &Values) -> f64 {
    values.missing() as f64 / values.len() as f64
}

/// Columns of a synthetic table, a bootstrap and independent columns, beside each other.
pub(super) fn column_scores(real: &Table, parts: &[Parts; 3]) -> Vec<ColumnScore> {
    let score = |(at, column): (usize, &Column)| {
        let [shape, shape_floors @ ..] = parts.each_ref().map(|of| of.shapes[at]);
        let [coverage, coverage_floors @ ..] = parts.each_ref().map(|of| of.coverages[at]);
        let [missing, missing_floors @ ..] = parts.each_ref().map(|of| of.missing[at]);
        ColumnScore {
            name: column.name.clone(),
            shape,
            shape_floors,
            coverage,
            coverage_floors,
            missing: [share_missing(&column.values), missing],
            missing_floors,
        }
    };
    real.columns.iter().enumerate().map(score).collect()
}

/// Pairs of a synthetic table, a bootstrap and independent columns, beside each other.
pub(super) fn pair_scores(real: &Table, parts: &[Parts; 3]) -> Vec<PairScore> {
    let score = |(at, columns): (usize, [usize; 2])| {
        let [trend, trend_floors @ ..] = parts.each_ref().map(|of| of.trends[at]);
        Some(PairScore {
            columns: columns.map(|column| real.columns[column].name.clone()),
            trend: trend?,
            trend_floors,
        })
    };
    let places = places(real.columns.len()).into_iter().enumerate();
    places.filter_map(score).collect()
}

/// The scores in short, of a table that is aligned with the real one.
pub fn scores(real: &Table, synthetic: &Table, seed: u64) -> Scores {
    Parts::of(real, synthetic).scores(real, synthetic, seed)
}

/// Not a number where there is nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use crate::synthetic::generators::copula::Copula;
    use crate::synthetic::quality::report::{Report, report};
    use crate::synthetic::table::census;

    /// A copula's rows of the census.
    fn scored() -> Report {
        let real = census::rows(1, 0, 3000);
        let made = Copula::fit(&real).unwrap().rows(1, 0, 3000);
        report(&real, None, &made, 7).unwrap()
    }

    #[test]
    fn every_column_and_pair_stands_beside_both_floors() {
        let report = scored();
        assert_eq!((report.columns.len(), report.pairs.len()), (15, 105));
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let floors = [&report.bootstrap, &report.independent];
        for (which, floor) in floors.into_iter().enumerate() {
            let shapes = report.columns.iter().map(|one| one.shape_floors[which]);
            let coverages = report.columns.iter().map(|one| one.coverage_floors[which]);
            let trends = report.pairs.iter().map(|one| one.trend_floors[which]);
            for (of_parts, in_short) in [
                (shapes.flatten().collect(), floor.shapes),
                (coverages.flatten().collect(), floor.coverage),
                (trends.flatten().collect(), floor.trends),
            ] {
                assert!((mean(of_parts) - in_short).abs() < 1e-12, "{which}");
            }
        }
    }

    #[test]
    fn a_column_is_as_good_in_both_floors_and_a_pair_only_in_one() {
        let report = scored();
        for column in &report.columns {
            let [again, apart] = column.shape_floors.map(Option::unwrap);
            assert!(again.min(apart) > 0.95, "{column:?}");
            let [real, _] = column.missing;
            assert!(
                column
                    .missing_floors
                    .iter()
                    .all(|share| (share - real).abs() < 0.03)
            );
        }
        let of = |names: [&str; 2]| {
            let is_it = |names: [&str; 2]| report.pairs.iter().find(|pair| pair.columns == names);
            is_it(names)
                .or_else(|| is_it([names[1], names[0]]))
                .unwrap()
        };
        for names in [["income", "rent"], ["occupation", "hours"]] {
            let pair = of(names);
            let [again, apart] = pair.trend_floors.map(Option::unwrap);
            assert!(pair.trend.min(again) > apart + 0.05, "{pair:?}");
        }
    }
}
