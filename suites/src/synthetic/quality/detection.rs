//! Detection: whether logistic regression tells synthetic rows from real ones.

use super::features::{Encoder, auc, logistic, probabilities};
use crate::synthetic::table::Table;

/// Parts of cross-validation.
const FOLDS: usize = 3;

/// What was detected.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Detection {
    /// Area under the curve, of rows that the classifier had not seen: 1/2 where nothing tells them apart.
    pub auc: f64,
    /// `1 - (2 max(auc, 1/2) - 1)`: 1 where nothing does. `SDMetrics`: `LogisticDetection`, which trains another classifier.
    pub score: f64,
    /// Mean squared distance of the propensity from its expectation without knowledge.
    pub pmse: f64,
    /// The same over what it would be if both tables came from one distribution: 1 is as it should be, more is worse.
    pub pmse_ratio: f64,
}

/// Tells as many synthetic rows as there are, at most as many as real ones, from real ones. `None` where there are too few.
///
/// pMSE and its null, `(k - 1) (1 - c)^2 c / N` with `k` coefficients, `N` rows and a share `c` of synthetic ones: J. Snoke,
/// G. Raab, B. Nowok, C. Dibben, A. Slavkovic, "General and specific utility measures for synthetic data", Journal of the Royal
/// Statistical Society A 181(3), 2018, section 3.1 and theorem 1.
pub fn detect(real: &Table, synthetic: &Table) -> Option<Detection> {
    let rows = real.rows().min(synthetic.rows());
    if rows < 10 * FOLDS {
        return None;
    }
    let encoder = Encoder::of(real, &[]);
    let width = encoder.width();
    let some = |table: &Table| table.select(&(0..rows).collect::<Vec<_>>());
    let (ours, theirs) = (encoder.rows(&some(real)), encoder.rows(&some(synthetic)));
    let mut all = Vec::with_capacity(2 * rows * width);
    let mut targets = Vec::with_capacity(2 * rows);
    // In turn, so that every part has as many of both.
    for (a, b) in ours.chunks_exact(width).zip(theirs.chunks_exact(width)) {
        all.extend_from_slice(a);
        all.extend_from_slice(b);
        targets.extend([0.0, 1.0]);
    }
    let area = (0..FOLDS)
        .map(|fold| area(&all, width, &targets, fold))
        .sum::<f64>()
        / FOLDS as f64;
    let weights = logistic(&all, width, &targets);
    let propensities = probabilities(&all, width, &weights);
    let pmse = propensities.iter().map(|p| (p - 0.5).powi(2)).sum::<f64>() / targets.len() as f64;
    let expected = (width as f64 - 1.0) * 0.125 / targets.len() as f64;
    Some(Detection {
        auc: area,
        score: 1.0 - (2.0 * area.max(0.5) - 1.0),
        pmse,
        pmse_ratio: pmse / expected,
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
    use crate::synthetic::table::{Values, census};

    #[test]
    fn rows_of_one_distribution_are_not_told_apart_and_others_are() {
        let (a, b) = (census::rows(1, 0, 1500), census::rows(2, 0, 1500));
        let same = detect(&a, &b).unwrap();
        assert!(
            same.score > 0.9 && (0.4..2.0).contains(&same.pmse_ratio),
            "{same:?}"
        );
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
}
