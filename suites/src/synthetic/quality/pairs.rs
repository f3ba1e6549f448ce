//! Pairs of columns: what hangs together, and whether it still does.

use std::collections::HashMap;

use crate::synthetic::table::Values;

/// Bins of a number beside a category: those of numpy's `histogram_bin_edges` with 10 bins, as `SDMetrics` takes.
const BINS: usize = 10;
/// The bin of a missing number: numpy's `digitize` puts it behind all others.
const MISSING_BIN: u32 = BINS as u32 + 1;

/// `1 - |r - r'| / 2` of Pearson's correlations of two columns of numbers, over rows in which both are there; `None` where
/// one is constant. `SDMetrics`: `CorrelationSimilarity`.
pub fn correlation_similarity(real: [&[f64]; 2], synthetic: [&[f64]; 2]) -> Option<f64> {
    let (a, b) = (
        pearson(real[0], real[1])?,
        pearson(synthetic[0], synthetic[1])?,
    );
    Some(1.0 - (a - b).abs() / 2.0)
}

/// Pearson's correlation over rows in which both are there; `None` where one does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let both = || x.iter().zip(y).filter(|(a, b)| !a.is_nan() && !b.is_nan());
    let count = both().count() as f64;
    let (sum_x, sum_y) = both().fold((0.0, 0.0), |(sx, sy), (a, b)| (sx + a, sy + b));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in both() {
        let (a, b) = (a - mean_x, b - mean_y);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    let scale = (xx * yy).sqrt();
    (scale > 0.0).then(|| (xy / scale).clamp(-1.0, 1.0))
}

/// `1 -` half the 1-norm distance between two joint distributions of codes; a missing value is a code of its own. `SDMetrics`:
/// `ContingencySimilarity`.
pub fn contingency_similarity(real: [&[u32]; 2], synthetic: [&[u32]; 2]) -> Option<f64> {
    let (rows, synthetic_rows) = (real[0].len() as f64, synthetic[0].len() as f64);
    if rows == 0.0 || synthetic_rows == 0.0 {
        return None;
    }
    let mut shares: HashMap<(u32, u32), (f64, f64)> = HashMap::new();
    for (a, b) in real[0].iter().zip(real[1]) {
        shares.entry((*a, *b)).or_default().0 += 1.0;
    }
    for (a, b) in synthetic[0].iter().zip(synthetic[1]) {
        shares.entry((*a, *b)).or_default().1 += 1.0;
    }
    // In an order of its own, so that the sum has the same bits each time.
    let mut shares: Vec<_> = shares.into_iter().collect();
    shares.sort_unstable_by_key(|(pair, _)| *pair);
    let distance: f64 = shares
        .iter()
        .map(|(_, (a, b))| (a / rows - b / synthetic_rows).abs())
        .sum();
    // Many roundings may add up to a little more than all.
    Some((1.0 - distance / 2.0).max(0.0))
}

/// How two columns hang together in both tables: [`correlation_similarity`] of two columns of numbers, otherwise
/// [`contingency_similarity`] with numbers in ten bins of the real range; keys have none.
pub fn trend(real: [&Values; 2], synthetic: [&Values; 2]) -> Option<f64> {
    if let [
        Values::Number { values: a, .. },
        Values::Number { values: b, .. },
    ] = real
        && let [
            Values::Number { values: c, .. },
            Values::Number { values: d, .. },
        ] = synthetic
    {
        return correlation_similarity([a, b], [c, d]);
    }
    let ([a, c], [b, d]) = (codes(real[0], synthetic[0])?, codes(real[1], synthetic[1])?);
    contingency_similarity([&a, &b], [&c, &d])
}

/// The codes of a column in both tables, numbers by bins of the real ones; `None` of keys.
fn codes(real: &Values, synthetic: &Values) -> Option<[Vec<u32>; 2]> {
    match (real, synthetic) {
        (Values::Number { values: a, .. }, Values::Number { values: b, .. }) => {
            let edges = edges(a)?;
            Some([a, b].map(|values| values.iter().map(|x| bin(&edges, *x)).collect()))
        }
        (Values::Category { codes: a, .. }, Values::Category { codes: b, .. }) => {
            Some([a.clone(), b.clone()])
        }
        _ => None,
    }
}

/// Inner edges of bins of equal width over the range of some numbers.
fn edges(values: &[f64]) -> Option<[f64; BINS - 1]> {
    let present = values.iter().copied().filter(|x| !x.is_nan());
    let (mut low, mut high) = present.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| {
        (l.min(x), h.max(x))
    });
    if low > high {
        return None;
    }
    if low >= high {
        // As numpy does.
        (low, high) = (low - 0.5, high + 0.5);
    }
    let step = (high - low) / BINS as f64;
    Some(std::array::from_fn(|i| (i + 1) as f64 * step + low))
}

/// The bin of a number: from 1 on, edges belonging to the bin above.
fn bin(edges: &[f64; BINS - 1], x: f64) -> u32 {
    if x.is_nan() {
        return MISSING_BIN;
    }
    1 + edges.partition_point(|edge| *edge <= x) as u32
}

#[cfg(test)]
mod tests {
    use super::{contingency_similarity, correlation_similarity, pearson};

    #[test]
    fn known_answers() {
        let (x, y) = ([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]);
        assert!((pearson(&x, &y).unwrap() - 1.0).abs() < 1e-15);
        let opposite = [6.0, 4.0, 2.0];
        let similarity = correlation_similarity([&x, &y], [&x, &opposite]).unwrap();
        assert!(similarity.abs() < 1e-15);
        assert!(pearson(&x, &[1.0; 3]).is_none());
        let similarity = contingency_similarity([&[0, 0, 1, 1], &[0, 1, 0, 1]], [&[0, 0], &[0, 0]]);
        assert!((similarity.unwrap() - 0.25).abs() < 1e-15);
    }
}
