//! The levels on both sides of a change, and how far apart they are.

use assay_stats::{Interval, median_interval};

use crate::CONFIDENCE;

/// The levels on both sides of a change.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Median of the runs before it, with its interval.
    pub before: Interval,
    /// Median of the runs after it.
    pub after: Interval,
    /// The second over the first.
    pub ratio: Option<Interval>,
}

impl Step {
    /// From the estimates of the runs on each side; `None` where one has none.
    pub fn between(before: &[f64], after: &[f64]) -> Option<Self> {
        Some(Self {
            before: median_interval(before, CONFIDENCE)?,
            after: median_interval(after, CONFIDENCE)?,
            ratio: ratio(before, after),
        })
    }
}

/// The ratio of two medians, which lies between the quotients of the ends of their intervals as often as both hold: each has half of
/// what may be missed (Bonferroni). `None` where the lower one may be zero or less.
fn ratio(before: &[f64], after: &[f64]) -> Option<Interval> {
    let each = f64::midpoint(1.0, CONFIDENCE);
    let (before, after) = (
        median_interval(before, each)?,
        median_interval(after, each)?,
    );
    let is_usable = before.low > 0.0 && after.low > 0.0;
    is_usable.then(|| Interval {
        estimate: after.estimate / before.estimate,
        low: after.low / before.high,
        high: after.high / before.low,
        confidence: (before.confidence + after.confidence - 1.0).max(0.0),
    })
}

#[cfg(test)]
mod tests {
    use assay_protocol::Philox;
    use proptest::prelude::*;

    use super::Step;

    #[test]
    fn history_a_step_says_how_sure_its_levels_are() {
        let before: Vec<f64> = (0..20).map(|run| 100.0 + f64::from(run % 5)).collect();
        let after: Vec<f64> = before.iter().map(|value| value * 1.1).collect();
        let step = Step::between(&before, &after).unwrap();
        let ratio = step.ratio.unwrap();
        assert!((ratio.estimate - 1.1).abs() < 1e-12);
        assert!(ratio.low < 1.1 && 1.1 < ratio.high && ratio.confidence >= 0.95);
        // The ends of the ratio lie beyond those of each level alone.
        assert!(ratio.high > step.after.high / step.before.estimate);
        assert!(Step::between(&before, &[]).is_none());
    }

    #[test]
    fn history_a_few_runs_claim_no_confidence_that_they_lack() {
        let step = Step::between(&[1.0, 2.0, 3.0], &[5.0]).unwrap();
        assert!((step.before.confidence - 0.75).abs() < 1e-12);
        assert!(step.ratio.unwrap().confidence < 1e-12);
        assert!(Step::between(&[-1.0, 0.0], &[1.0]).unwrap().ratio.is_none());
    }

    #[test]
    fn history_a_step_holds_the_true_ratio_as_often_as_it_says() {
        let random = Philox::new(7, 0);
        let level = |side: u64, middle: f64| -> Vec<f64> {
            let noise = (0..15).map(|run| f64::from(random.signed_f32(15 * side + run)));
            noise.map(|noise| middle * (1.0 + 0.1 * noise)).collect()
        };
        let holds = |ratio: f64| {
            let held = (0..2000).filter(|pair| {
                let (before, after) = (level(2 * pair, 1.0), level(2 * pair + 1, 1.3));
                let found = Step::between(&before, &after).unwrap().ratio.unwrap();
                found.low <= ratio && ratio <= found.high
            });
            held.count()
        };
        assert!(holds(1.3) >= 1900, "{}", holds(1.3));
        // And is short enough to tell it from another.
        assert!(holds(1.6) <= 200, "{}", holds(1.6));
    }

    proptest! {
        #[test]
        fn history_a_step_lies_in_its_intervals(values in prop::collection::vec(0.1f64..10.0, 2..40)) {
            let (before, after) = values.split_at(values.len() / 2);
            let step = Step::between(before, after).unwrap();
            let ratio = step.ratio.unwrap();
            prop_assert!(ratio.low <= ratio.estimate && ratio.estimate <= ratio.high);
        }
    }
}
