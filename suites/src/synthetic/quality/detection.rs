//! Detection: whether logistic regression tells synthetic rows from real ones.

use super::features::{Encoder, auc, logistic, probabilities, rank};
use crate::synthetic::table::Table;

/// Parts of cross-validation.
const FOLDS: usize = 3;
/// Rows of either table that it takes.
pub const LEAST_ROWS: usize = 10 * FOLDS;

/// What was detected.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Detection {
    /// Area under the curve, of rows that the classifier had not seen: 1/2 where nothing tells them apart.
    pub auc: f64,
    /// `1 - (2 max(auc, 1/2) - 1)`: 1 where nothing does. `LogisticDetection` of `SDMetrics` is meant to say the same, by another
    /// formula: its folds are drawn anew each time, categories are numbers to it, and it takes the maximum in each fold.
    pub score: f64,
    /// Mean squared distance of the propensity from its expectation without knowledge.
    pub pmse: f64,
    /// The same over what is expected of rows drawn from the real table's own distribution: 1 is as it should be, more is worse.
    pub pmse_ratio: f64,
    /// How many rows of either table it is taken of.
    pub rows: usize,
}

impl Detection {
    /// Whether the area is below 1/2 by more than chance: by four standard deviations of the area where nothing tells `n` rows from
    /// `n` others, `sqrt((2n + 1) / (12 n^2))` (H. Mann, D. Whitney, "On a test of whether one of two random variables is stochastically
    /// larger than the other", Annals of Mathematical Statistics 18(1), 1947).
    ///
    /// So it is of copies: what is held out of one table has a twin in the part of the other that was learned, and is taken for that.
    pub fn is_upside_down(&self) -> bool {
        let rows = self.rows as f64;
        let deviation = ((2.0 * rows + 1.0) / 12.0).sqrt() / rows;
        self.auc < 0.5 - 4.0 * deviation
    }
}

/// Tells as many synthetic rows as there are, at most as many as real ones, from real ones. `None` where there are too few, or no
/// feature varies.
///
/// pMSE and what is expected of it, `(k - 1) (1 - c)^2 c / N` with `k` coefficients, `N` rows and a share `c` of synthetic ones: J.
/// Snoke, G. Raab, B. Nowok, C. Dibben, A. Slavkovic, "General and specific utility measures for synthetic data", Journal of the Royal
/// Statistical Society A 181(3), 2018, section 3.1 and theorem 1. Coefficients are those that are independent: the [`rank`] of the
/// features. It is the null of that paper: synthetic rows come from the model with the real table's own estimates put in, as a bootstrap
/// of the real rows does. Rows drawn from the truth once more, which is another sample and not a synthesis, have twice as much, since
/// the real rows' own chance is added.
pub fn detect(real: &Table, synthetic: &Table) -> Option<Detection> {
    let rows = real.rows().min(synthetic.rows());
    if rows < LEAST_ROWS {
        return None;
    }
    let encoder = Encoder::of(real, &[]);
    let width = encoder.width();
    let first = |table: &Table| table.select(&(0..rows).collect::<Vec<_>>());
    let (ours, theirs) = (encoder.rows(&first(real)), encoder.rows(&first(synthetic)));
    let mut all = Vec::with_capacity(2 * rows * width);
    let mut targets = Vec::with_capacity(2 * rows);
    // In turn, so that every part has as many of both.
    for (a, b) in ours.chunks_exact(width).zip(theirs.chunks_exact(width)) {
        all.extend_from_slice(a);
        all.extend_from_slice(b);
        targets.extend([0.0, 1.0]);
    }
    let coefficients = rank(&all, width);
    if coefficients < 2 {
        return None;
    }
    let area = (0..FOLDS)
        .map(|fold| area(&all, width, &targets, fold))
        .sum::<f64>()
        / FOLDS as f64;
    let weights = logistic(&all, width, &targets);
    let propensities = probabilities(&all, width, &weights);
    let pmse = propensities.iter().map(|p| (p - 0.5).powi(2)).sum::<f64>() / targets.len() as f64;
    let expected = (coefficients as f64 - 1.0) * 0.125 / targets.len() as f64;
    Some(Detection {
        auc: area,
        score: 1.0 - (2.0 * area.max(0.5) - 1.0),
        pmse,
        pmse_ratio: pmse / expected,
        rows,
    })
}

/// Area under the curve on one part, of a classifier trained on the others.
fn area(all: &[f64], width: usize, targets: &[f64], fold: usize) -> f64 {
    let pairs = targets.len() / 2;
    let is_held_out = |row: usize| (row / 2) * FOLDS / pairs == fold;
    let part = |held_out: bool| {
        let rows = (0..targets.len()).filter(move |row| is_held_out(*row) == held_out);
        let features: Vec<f64> = rows
            .clone()
            .flat_map(|row| all[row * width..(row + 1) * width].to_vec())
            .collect();
        (features, rows.map(|row| targets[row]).collect::<Vec<_>>())
    };
    let (train, train_targets) = part(false);
    let (test, test_targets) = part(true);
    let weights = logistic(&train, width, &train_targets);
    auc(&probabilities(&test, width, &weights), &test_targets)
}

#[cfg(test)]
mod tests {
    use super::detect;
    use crate::synthetic::generators::independent::Independent;
    use crate::synthetic::random::{Bits as _, Draws};
    use crate::synthetic::table::{Column, Table, Values, categories, census};

    #[test]
    fn rows_of_one_distribution_are_not_told_apart_and_others_are() {
        let (a, b) = (census::rows(1, 0, 1500), census::rows(2, 0, 1500));
        let same = detect(&a, &b).unwrap();
        // Another sample of the truth: twice the null.
        assert!(
            same.score > 0.9 && (1.4..2.6).contains(&same.pmse_ratio),
            "{same:?}"
        );
        assert!(!same.is_upside_down(), "{same:?}");
        // The same rows in another order, as they are in a bootstrap or behind a generator that repeats them.
        let turned: Vec<usize> = (700..1500).chain(0..700).collect();
        let copies = detect(&a, &a.select(&turned)).unwrap();
        assert!(copies.is_upside_down(), "{copies:?}");
        let mut shifted = b;
        if let Values::Number { values, .. } = &mut shifted.columns[0].values {
            for age in values.iter_mut() {
                *age += 30.0;
            }
        }
        let other = detect(&a, &shifted).unwrap();
        assert!(other.score < 0.5 && other.pmse_ratio > 5.0, "{other:?}");
        assert!(detect(&a.select(&[0, 1]), &shifted).is_none());
    }

    /// Twenty columns of two labels, each independent of the others.
    fn coins(seed: u64, rows: u64) -> Table {
        let column = |column: u64| {
            let label = |row| {
                let draw = Draws::of_row(seed, 100 + column, row).unit();
                if draw < 0.2 + 0.03 * column as f64 {
                    "a".to_owned()
                } else {
                    "b".to_owned()
                }
            };
            Column {
                name: format!("c{column}"),
                values: categories((0..rows).map(label)),
            }
        };
        Table::new((0..20).map(column).collect()).unwrap()
    }

    #[test]
    fn the_ratio_is_one_under_the_null_of_snoke_and_two_of_another_sample() {
        const SEEDS: u64 = 48;
        const ROWS: u64 = 2000;
        let (mut synthesis, mut sample) = (0.0, 0.0);
        for seed in 0..SEEDS {
            let real = coins(seed, ROWS);
            let ratio = |table: &Table| {
                let table = real.align(table).unwrap();
                detect(&real, &table).unwrap().pmse_ratio / SEEDS as f64
            };
            synthesis += ratio(
                &Independent::fit(&real)
                    .unwrap()
                    .rows(seed, 0, ROWS as usize),
            );
            sample += ratio(&coins(1000 + seed, ROWS));
        }
        // Chi-square of 20 degrees over 20, over 48 seeds: a standard deviation of 0.046, and twice that.
        assert!((0.82..1.18).contains(&synthesis), "{synthesis}");
        assert!((1.64..2.36).contains(&sample), "{sample}");
    }
}
