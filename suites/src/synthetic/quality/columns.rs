//! Column by column: distributions, ranges, categories and missing values.

use std::collections::HashSet;

use crate::synthetic::table::{MISSING, Values};

/// `1 - KS`: the complement of the largest distance between two empirical distribution functions. Missing values are left
/// out; `None` where nothing is left. `SDMetrics`: `KSComplement`.
pub fn ks_complement(real: &[f64], synthetic: &[f64]) -> Option<f64> {
    let sorted = |values: &[f64]| {
        let mut values: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let (ours, theirs) = (sorted(real), sorted(synthetic));
    if ours.is_empty() || theirs.is_empty() {
        return None;
    }
    let (mut i, mut j, mut largest) = (0, 0, 0.0_f64);
    while i < ours.len() && j < theirs.len() {
        let least = ours[i].min(theirs[j]);
        let up_to = |values: &[f64]| values.iter().take_while(|value| **value <= least).count();
        i += up_to(&ours[i..]);
        j += up_to(&theirs[j..]);
        let (share, other) = (i as f64 / ours.len() as f64, j as f64 / theirs.len() as f64);
        largest = largest.max((share - other).abs());
    }
    Some(1.0 - largest)
}

/// `1 - TV`: the complement of half the 1-norm distance between the shares of categories. Missing values are left out; `None`
/// where nothing is left. Codes must mean the same. `SDMetrics`: `TVComplement`.
pub fn tv_complement(real: &[u32], synthetic: &[u32]) -> Option<f64> {
    let counted = |codes: &[u32]| {
        let present = codes.iter().filter(|code| **code != MISSING);
        let mut counts = vec![];
        let mut total = 0.0;
        for code in present {
            let place = *code as usize;
            if counts.len() <= place {
                counts.resize(place + 1, 0.0);
            }
            counts[place] += 1.0;
            total += 1.0;
        }
        (total > 0.0).then_some((counts, total))
    };
    let ((a, total_a), (b, total_b)) = (counted(real)?, counted(synthetic)?);
    let share =
        |counts: &[f64], total: f64, place: usize| counts.get(place).unwrap_or(&0.0) / total;
    let distance: f64 = (0..a.len().max(b.len()))
        .map(|place| (share(&a, total_a, place) - share(&b, total_b, place)).abs())
        .sum();
    // Many roundings may add up to a little more than all.
    Some((1.0 - distance / 2.0).max(0.0))
}

/// How much of the real range the synthetic values span; `None` where there is no range. `SDMetrics`: `RangeCoverage`.
pub fn range_coverage(real: &[f64], synthetic: &[f64]) -> Option<f64> {
    let bounds = |values: &[f64]| {
        let present = values.iter().copied().filter(|x| !x.is_nan());
        present.fold(None, |bounds: Option<(f64, f64)>, x| {
            Some(bounds.map_or((x, x), |(low, high)| (low.min(x), high.max(x))))
        })
    };
    let ((low, high), (synthetic_low, synthetic_high)) = (bounds(real)?, bounds(synthetic)?);
    let span = high - low;
    if span <= 0.0 {
        return None;
    }
    let missed =
        ((synthetic_low - low) / span).max(0.0) + ((high - synthetic_high) / span).max(0.0);
    Some((1.0 - missed).max(0.0))
}

/// The share of real categories that occur among the synthetic ones; `None` where there are none. `SDMetrics`: `CategoryCoverage`.
pub fn category_coverage(real: &[u32], synthetic: &[u32]) -> Option<f64> {
    let present = |codes: &[u32]| {
        codes
            .iter()
            .copied()
            .filter(|c| *c != MISSING)
            .collect::<HashSet<_>>()
    };
    let (real, synthetic) = (present(real), present(synthetic));
    (!real.is_empty()).then(|| real.intersection(&synthetic).count() as f64 / real.len() as f64)
}

/// `1 -` the distance between the shares of missing values. `SDMetrics`: `MissingValueSimilarity`.
pub fn missing_similarity(real: &Values, synthetic: &Values) -> f64 {
    let share = |values: &Values| values.missing() as f64 / values.len().max(1) as f64;
    1.0 - (share(real) - share(synthetic)).abs()
}

/// Distribution of a column: [`ks_complement`] of numbers, [`tv_complement`] of categories; keys have none.
pub fn shape(real: &Values, synthetic: &Values) -> Option<f64> {
    match (real, synthetic) {
        (Values::Number { values: a, .. }, Values::Number { values: b, .. }) => ks_complement(a, b),
        (Values::Category { codes: a, .. }, Values::Category { codes: b, .. }) => {
            tv_complement(a, b)
        }
        _ => None,
    }
}

/// Coverage of a column: of its range, or of its categories.
pub fn coverage(real: &Values, synthetic: &Values) -> Option<f64> {
    match (real, synthetic) {
        (Values::Number { values: a, .. }, Values::Number { values: b, .. }) => {
            range_coverage(a, b)
        }
        (Values::Category { codes: a, .. }, Values::Category { codes: b, .. }) => {
            category_coverage(a, b)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{category_coverage, ks_complement, range_coverage, tv_complement};
    use crate::synthetic::table::MISSING;

    #[test]
    fn known_answers() {
        // By hand: after 1, F = 1/2 against 0.
        assert!((ks_complement(&[1.0, 3.0], &[2.0, 4.0, f64::NAN]).unwrap() - 0.5).abs() < 1e-15);
        assert!(
            (ks_complement(&[1.0, 1.0, 2.0], &[1.0, 2.0, 2.0]).unwrap() - 2.0 / 3.0).abs() < 1e-15
        );
        assert!(
            (tv_complement(&[0, 0, 1, MISSING], &[0, 1, 1]).unwrap() - 2.0 / 3.0).abs() < 1e-15
        );
        assert!((range_coverage(&[0.0, 10.0], &[1.0, 8.0]).unwrap() - 0.7).abs() < 1e-15);
        assert!((category_coverage(&[0, 1, 2, 3], &[1, 2, 7]).unwrap() - 0.5).abs() < 1e-15);
    }

    #[test]
    fn nothing_has_no_score() {
        assert!(ks_complement(&[f64::NAN], &[1.0]).is_none());
        assert!(tv_complement(&[0], &[MISSING]).is_none());
        assert!(range_coverage(&[2.0, 2.0], &[1.0]).is_none());
        assert!(category_coverage(&[], &[1]).is_none());
    }
}
