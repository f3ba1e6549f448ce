//! One number with its interval from the values of a case's rounds, and rates from that.

use assay_protocol::Work;
use assay_stats::{Interval, geometric_mean_interval, mean_interval, median_interval};

use crate::CONFIDENCE;

/// From this many rounds on, order statistics alone reach 95 %.
const ROBUST_FROM: usize = 6;

/// Estimate over rounds.
///
/// From six rounds on the median with its order-statistic interval: one disturbed round cannot move it, and nothing is
/// assumed of the distribution. With two to five the mean with Student's interval, on logarithms where all values are
/// positive. One round gives its value with confidence 0: it says nothing of the others. None, or any value that is not
/// finite, gives `None`.
pub(crate) fn estimate(rounds: &[f64]) -> Option<Interval> {
    if rounds.len() == 1 || rounds.len() >= ROBUST_FROM {
        return median_interval(rounds, CONFIDENCE);
    }
    geometric_mean_interval(rounds, CONFIDENCE).or_else(|| mean_interval(rounds, CONFIDENCE))
}

/// Work per second (unit symbol, interval) from the work of one iteration and its time in nanoseconds. A short time is a
/// high rate, so the ends change places.
pub(crate) fn rates(work: &Work, time_ns: &Interval) -> Vec<(String, Interval)> {
    let amounts = [
        ("B/s", work.bytes),
        ("FLOP/s", work.flops),
        ("items/s", work.items),
    ];
    amounts
        .into_iter()
        .filter_map(|(unit, amount)| Some((unit.to_owned(), rate(amount? as f64, time_ns)?)))
        .collect()
}

fn rate(amount: f64, time_ns: &Interval) -> Option<Interval> {
    let per_second = |ns: f64| amount / ns * 1e9;
    let is_usable = amount > 0.0 && time_ns.low > 0.0;
    is_usable.then(|| Interval {
        estimate: per_second(time_ns.estimate),
        low: per_second(time_ns.high),
        high: per_second(time_ns.low),
        confidence: time_ns.confidence,
    })
}

#[cfg(test)]
mod tests {
    use assay_protocol::Work;
    use assay_stats::Interval;
    use proptest::prelude::*;

    use super::{estimate, rates};

    #[test]
    fn verdicts_one_round_says_nothing_of_others() {
        let one = estimate(&[5.0]).unwrap();
        assert_eq!((one.low, one.high), (5.0, 5.0));
        assert!(one.confidence < 0.01);
        assert!(estimate(&[]).is_none());
        assert!(estimate(&[1.0, f64::NAN]).is_none());
        assert!(estimate(&[-1.0, 2.0, 0.0]).is_some());
    }

    #[test]
    fn verdicts_one_disturbed_round_moves_nothing() {
        let found = estimate(&[10.0, 10.1, 9.9, 10.0, 10.1, 50.0]).unwrap();
        assert!((found.estimate - 10.05).abs() < 1e-9);
    }

    #[test]
    fn verdicts_rates_swap_their_ends() {
        let work = Work {
            bytes: Some(3000),
            ..Work::default()
        };
        let time = Interval {
            estimate: 1000.0,
            low: 500.0,
            high: 2000.0,
            confidence: 0.95,
        };
        let found = rates(&work, &time);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "B/s");
        for (is, expected) in [
            (found[0].1.estimate, 3e9),
            (found[0].1.low, 1.5e9),
            (found[0].1.high, 6e9),
        ] {
            assert!((is / expected - 1.0).abs() < 1e-12);
        }
        assert!(rates(&Work::default(), &time).is_empty());
    }

    proptest! {
        #[test]
        fn verdicts_estimate_lies_in_its_interval(rounds in prop::collection::vec(1e-3f64..1e9, 1..20)) {
            let found = estimate(&rounds).unwrap();
            let slack = 1e-9 * found.estimate;
            prop_assert!(found.low <= found.estimate + slack && found.estimate <= found.high + slack);
        }
    }
}
