//! Robust summaries of one set of samples: quartiles, median, median absolute deviation, and the means.
//!
//! Descriptions only; how sure they are is the business of [`crate::interval`].

use serde::{Deserialize, Serialize};

use crate::sample::{all_finite, logarithms, mean_and_squares, sorted};

/// Turns a median absolute deviation into a standard deviation, for normal data: 1 / Φ⁻¹(3/4).
/// Source: Rousseeuw and Croux 1993, JASA 88(424), 1273-1283, section 1.
pub const MAD_TO_STANDARD_DEVIATION: f64 = 1.482_602_218_505_602;

/// One set of samples in nine numbers, all in the unit of the samples except `count`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// How many samples.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with divisor n - 1; 0 for one sample.
    pub standard_deviation: f64,
    /// Smallest sample.
    pub minimum: f64,
    /// 25 % quantile (type 7, see [`quantile`]).
    pub first_quartile: f64,
    /// 50 % quantile.
    pub median: f64,
    /// 75 % quantile (type 7).
    pub third_quartile: f64,
    /// Largest sample.
    pub maximum: f64,
    /// Median absolute deviation from the median, unscaled (see [`MAD_TO_STANDARD_DEVIATION`]).
    pub mad: f64,
}

impl Summary {
    /// Summarises samples in any order; `None` if there are none or any is not finite.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted(samples)?;
        let (mean, squares) = mean_and_squares(&sorted);
        let count = sorted.len();
        let median = median(samples)?;
        Some(Self {
            count,
            mean,
            standard_deviation: (squares / count.saturating_sub(1).max(1) as f64).sqrt(),
            minimum: sorted[0],
            first_quartile: quantile_of_sorted(&sorted, 0.25),
            median,
            third_quartile: quantile_of_sorted(&sorted, 0.75),
            maximum: sorted[count - 1],
            mad: mad_around(&sorted, median)?,
        })
    }
}

/// The median; `None` if there are no samples or any is not finite. O(n).
pub fn median(samples: &[f64]) -> Option<f64> {
    if !all_finite(samples) {
        return None;
    }
    match *samples {
        [only] => Some(only),
        _ => Some(median_in_place(&mut samples.to_vec())),
    }
}

/// The quantile at `p` in \[0, 1\] of samples in any order, interpolated linearly between order statistics;
/// `None` if there are none, any is not finite, or `p` is outside.
///
/// Source: Hyndman and Fan 1996, The American Statistician 50(4), 361-365, definition 7 (the default of R and `NumPy`).
pub fn quantile(samples: &[f64], p: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&p) {
        return None;
    }
    Some(quantile_of_sorted(&sorted(samples)?, p))
}

/// The geometric mean, exp of the mean logarithm; `None` if there are no samples or any is not finite and positive.
/// The mean for ratios: Fleming and Wallace 1986, CACM 29(3), 218-221.
pub fn geometric_mean(samples: &[f64]) -> Option<f64> {
    Some(mean_and_squares(&logarithms(samples)?).0.exp())
}

/// The median absolute deviation of samples around a given center; `None` as for [`median`].
pub(crate) fn mad_around(samples: &[f64], center: f64) -> Option<f64> {
    median(
        &samples
            .iter()
            .map(|sample| (sample - center).abs())
            .collect::<Vec<_>>(),
    )
}

/// The median of finite samples, which get reordered. There must be at least one.
pub(crate) fn median_in_place(samples: &mut [f64]) -> f64 {
    let middle = samples.len() / 2;
    let is_even = samples.len().is_multiple_of(2);
    let (below, &mut upper, _) = samples.select_nth_unstable_by(middle, f64::total_cmp);
    if is_even {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        f64::midpoint(lower, upper)
    } else {
        upper
    }
}

/// Hyndman-Fan type 7 on sorted, finite, non-empty samples.
fn quantile_of_sorted(sorted: &[f64], p: f64) -> f64 {
    let position = p * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let fraction = position - position.floor();
    if fraction == 0.0 {
        return sorted[below];
    }
    sorted[below] + fraction * (sorted[below + 1] - sorted[below])
}
