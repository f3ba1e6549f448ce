//! Whether most cases of a suite moved together: one event of the machine, not as many regressions.
//!
//! Cases of one night share the machine, and so their errors are correlated: a test of each against its own history
//! calls them all at once. This looks at the whole suite first. What it finds is described, and taken out of every
//! case with [`RatioInterval::relative_to`], so that a case that moved on its own still shows.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::interval::{Interval, median_interval};
use crate::ratio::RatioInterval;

/// Fewer cases cannot move "together": below this even all in one direction is chance one time in a hundred.
pub const MIN_CASES: usize = 8;

/// "Most": this share of the cases has moved by at least half of the common shift, in its direction.
const MOST: f64 = 2.0 / 3.0;

/// Two-sided level of the sign test.
const LEVEL: f64 = 0.01;

/// A shift that most cases share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonShift {
    /// Median of the cases' ratios, with its interval.
    pub ratio: Interval,
    /// How many cases moved by at least half of it.
    pub moved: usize,
    /// How many there are.
    pub cases: usize,
    /// Two-sided p-value of the sign test.
    pub p_value: f64,
}

/// The shift that most cases share, if there is one.
///
/// Three things must hold: the median of the ratios is beyond `least_effect` (0.01: 1 %); two thirds of the cases moved
/// by at least half of it in its direction; and more cases moved in that direction than chance explains (sign test, two-sided, 1 %).
/// `None` otherwise, and below [`MIN_CASES`].
///
/// Source of the sign test: Conover 1999, Practical Nonparametric Statistics, 3rd ed., section 3.4.
pub fn common_shift(effects: &[RatioInterval], least_effect: f64) -> Option<CommonShift> {
    let cases = effects.len();
    if cases < MIN_CASES {
        return None;
    }
    let logs: Vec<f64> = effects.iter().map(|effect| effect.ratio.ln()).collect();
    let middle = median_interval(&logs, 0.95)?;
    let shift = middle.estimate;
    let along = |least: f64| {
        let moved = logs.iter().filter(|log| *log * shift.signum() > least);
        moved.count()
    };
    let moved = along(shift.abs() / 2.0);
    let p_value = sign_test(along(0.0), cases)?;
    let is_common = shift.abs() >= least_effect.ln_1p()
        && moved as f64 >= MOST * cases as f64
        && p_value <= LEVEL;
    is_common.then(|| CommonShift {
        ratio: Interval {
            estimate: shift.exp(),
            low: middle.low.exp(),
            high: middle.high.exp(),
            confidence: middle.confidence,
        },
        moved,
        cases,
        p_value,
    })
}

/// Two-sided p-value of so many cases in one direction, if both were equally likely.
fn sign_test(along: usize, cases: usize) -> Option<f64> {
    let binomial = Binomial::new(0.5, cases as u64).ok()?;
    let above = match along.checked_sub(1) {
        None => 1.0,
        Some(below) => binomial.sf(below as u64),
    };
    Some((2.0 * above).min(1.0))
}
