//! Comparing outputs with references, in parallel and outside any timed region.

use rayon::prelude::*;

/// Elements that one thread compares at a time.
const BATCH: usize = 1 << 14;

/// Largest of the errors of elements `0..len`, each in the measure that the tolerance has; infinite where one
/// is not a number.
pub fn worst(len: usize, error: impl Fn(usize) -> f64 + Sync) -> f64 {
    let batches = len.div_ceil(BATCH);
    let of_batch = |batch: usize| {
        let range = batch * BATCH..len.min((batch + 1) * BATCH);
        range.map(&error).fold(0.0, larger)
    };
    (0..batches)
        .into_par_iter()
        .map(of_batch)
        .reduce(|| 0.0, larger)
}

/// For how many of `0..len` something holds.
pub fn count(len: usize, holds: impl Fn(usize) -> bool + Sync) -> usize {
    (0..len)
        .into_par_iter()
        .with_min_len(BATCH)
        .filter(|i| holds(*i))
        .count()
}

fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::INFINITY
    } else {
        a.max(b)
    }
}

/// Distance of `found` from `exact` in units of `condition`, the sum of the magnitudes that went into it.
pub fn relative(found: f64, exact: f64, condition: f64) -> f64 {
    let distance = (found - exact).abs();
    // No magnitudes, no rounding: anything but the exact value is wrong.
    if distance == 0.0 {
        0.0
    } else {
        distance / condition
    }
}

#[cfg(test)]
mod tests {
    use super::{relative, worst};

    #[test]
    fn the_worst_element_counts_wherever_it_is() {
        for bad in [0, 1, 16_383, 16_384, 40_000] {
            let error = |value| worst(40_001, |i| if i == bad { value } else { 0.5 });
            assert!((error(2.0) - 2.0).abs() < 1e-15);
            assert!(error(f64::NAN).is_infinite());
        }
    }

    #[test]
    fn exact_where_nothing_can_round() {
        assert!(relative(0.0, 0.0, 0.0) < 1e-300);
        assert!(relative(1e-30, 0.0, 0.0).is_infinite());
    }
}
