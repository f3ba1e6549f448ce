//! Counters that only grow, such as one of energy, read now and then: how fast one grew in a stretch of time.

use std::ops::RangeInclusive;

/// How fast a counter grew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Growth per second between the first and the last reading in the stretch.
    pub per_second: f64,
    /// Largest relative error that the counter's own period can make.
    pub error: f64,
}

/// Growth of a counter within `stretch_ns`, from readings at `at_ns`.
///
/// The counter is renewed once in `period_ns`, so each reading is the state of some moment up to a period earlier, and the
/// time between two of them is known to within one period: the relative error is at most the period over that time. `None`
/// with fewer than two readings in the stretch, columns of different lengths, times that do not grow, or a counter that
/// went back (it was reset) or is not finite.
pub fn growth(
    at_ns: &[u64],
    values: &[f64],
    stretch_ns: RangeInclusive<u64>,
    period_ns: u64,
) -> Option<Growth> {
    if at_ns.len() != values.len() || !at_ns.is_sorted() {
        return None;
    }
    let first = at_ns.partition_point(|at| at < stretch_ns.start());
    let end = at_ns.partition_point(|at| at <= stretch_ns.end());
    let (at_ns, values) = (at_ns.get(first..end)?, values.get(first..end)?);
    let span_ns = at_ns.last()? - at_ns.first()?;
    let gained = values.last()? - values.first()?;
    if span_ns == 0 || !gained.is_finite() || !values.is_sorted() {
        return None;
    }
    Some(Growth {
        per_second: gained / span_ns as f64 * 1e9,
        error: period_ns as f64 / span_ns as f64,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::growth;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn growth_is_that_of_the_readings_inside() {
        let at = [0, 1, 2, 3, 4].map(|s| s * SECOND);
        let joules = [0.0, 5.0, 105.0, 205.0, 999.0];
        let found = growth(&at, &joules, SECOND..=3 * SECOND, SECOND / 10).unwrap();
        assert!((found.per_second - 100.0).abs() < 1e-9);
        assert!((found.error - 0.05).abs() < 1e-12);
    }

    #[test]
    fn what_says_nothing_gives_none() {
        let at = [0, SECOND, 2 * SECOND];
        let of = |values: &[f64], from, to| growth(&at, values, from..=to, 1);
        assert!(of(&[1.0, 2.0, 3.0], 0, 2 * SECOND).is_some());
        assert!(of(&[1.0, 2.0, 3.0], 1, SECOND).is_none(), "one reading");
        assert!(of(&[1.0, 2.0, 3.0], 5, 4).is_none(), "no stretch");
        assert!(of(&[1.0, 0.5, 3.0], 0, 2 * SECOND).is_none(), "reset");
        assert!(of(&[1.0, f64::NAN, 3.0], 0, 2 * SECOND).is_none());
        assert!(of(&[1.0, 2.0, f64::INFINITY], 0, 2 * SECOND).is_none());
        assert!(of(&[1.0, 2.0], 0, 2 * SECOND).is_none(), "columns");
        assert!(growth(&[], &[], 0..=1, 1).is_none());
        assert!(growth(&[2, 1], &[1.0, 2.0], 0..=9, 1).is_none());
    }

    proptest! {
        /// A counter that lags by up to its period is never further off than is said.
        #[test]
        fn the_error_holds_for_every_lag(
            watts in 1.0f64..1000.0,
            period_ms in 1u64..200,
            phase_ms in 0u64..200,
            step_ms in 5u64..300,
            readings in 2usize..60,
        ) {
            let at: Vec<u64> = (1..=readings as u64).map(|i| (1000 + i * step_ms) * 1_000_000).collect();
            let renewed = |at: &u64| {
                let ms = at / 1_000_000 + phase_ms;
                (ms - ms % period_ms) as f64 / 1000.0 * watts
            };
            let joules: Vec<f64> = at.iter().map(renewed).collect();
            let found = growth(&at, &joules, 0..=u64::MAX, period_ms * 1_000_000).unwrap();
            prop_assert!((found.per_second / watts - 1.0).abs() <= found.error + 1e-9);
        }
    }
}
