//! Confidence intervals for the middle of one set of samples.
//!
//! The order-statistic interval assumes nothing about the distribution and is cheap enough to run between
//! chunks of samples; the t intervals are for the few, nearly normal logarithms of round medians. All assume
//! independent samples: for correlated ones see [`crate::autocorrelation`].

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::sample::{all_finite, is_confidence, logarithms, mean_and_squares};
use crate::student;
use crate::summary::median_in_place;

/// An estimate and an interval around it, in the unit of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The point estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The confidence that this interval has, in \[0, 1): not always the one that was asked for.
    pub confidence: f64,
}

impl Interval {
    /// Half of the interval's length.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Half-width as a share of the estimate: 0.01 is "± 1 %". Infinite if only the estimate is zero.
    pub fn relative_half_width(&self) -> f64 {
        if self.half_width() == 0.0 {
            return 0.0;
        }
        self.half_width() / self.estimate.abs()
    }

    /// Whether the interval, ends included, holds `x`.
    pub fn contains(&self, x: f64) -> bool {
        (self.low..=self.high).contains(&x)
    }

    /// `None` instead of an interval that overflowed.
    fn finite(self) -> Option<Self> {
        [self.estimate, self.low, self.high]
            .iter()
            .all(|end| end.is_finite())
            .then_some(self)
    }
}

/// Distribution-free interval for the median: \[x(k), x(n+1-k)\] with the largest k whose exact coverage
/// 1 - 2 P(Binomial(n, 1/2) < k) still reaches `confidence`.
///
/// `confidence` of the result is that exact coverage: at least what was asked for, or, where even the extremes
/// do not reach it (n < 6 for 95 %), the coverage of \[min, max\] (0 for one sample). `None` if there are no samples,
/// any is not finite, or `confidence` is not in (0, 1). O(n).
///
/// Source: Conover 1999, Practical Nonparametric Statistics, 3rd ed., section 3.2; Thompson 1936,
/// Annals of Mathematical Statistics 7(3), 122-128.
pub fn median_interval(samples: &[f64], confidence: f64) -> Option<Interval> {
    if !all_finite(samples) || !is_confidence(confidence) {
        return None;
    }
    if let [only] = *samples {
        return Some(Interval {
            estimate: only,
            low: only,
            high: only,
            confidence: 0.0,
        });
    }
    let count = samples.len();
    let (rank, attained) = median_rank(count, confidence)?;
    let mut samples = samples.to_vec();
    let low = nth(&mut samples, rank - 1);
    let high = nth(&mut samples, count - rank);
    Interval {
        estimate: median_in_place(&mut samples),
        low,
        high,
        confidence: attained,
    }
    .finite()
}

/// Student's t interval for the mean; `None` for fewer than two samples, non-finite ones, or a bad confidence.
///
/// Source: Student 1908, Biometrika 6(1), 1-25.
pub fn mean_interval(samples: &[f64], confidence: f64) -> Option<Interval> {
    if !all_finite(samples) || samples.len() < 2 || !is_confidence(confidence) {
        return None;
    }
    let (estimate, squares) = mean_and_squares(samples);
    let degrees_of_freedom = (samples.len() - 1) as f64;
    let standard_error = (squares / degrees_of_freedom / samples.len() as f64).sqrt();
    let half_width = student::two_sided(confidence, degrees_of_freedom)? * standard_error;
    Interval {
        estimate,
        low: estimate - half_width,
        high: estimate + half_width,
        confidence,
    }
    .finite()
}

/// Student's t interval on logarithms, transformed back: for the geometric mean of ratios or round medians.
///
/// `None` for fewer than two samples, any not finite and positive, or a bad confidence. Source: as
/// [`mean_interval`]; the lognormal median in Aitchison and Brown 1957, The Lognormal Distribution, chapter 5.
pub fn geometric_mean_interval(samples: &[f64], confidence: f64) -> Option<Interval> {
    let logs = mean_interval(&logarithms(samples)?, confidence)?;
    Interval {
        estimate: logs.estimate.exp(),
        low: logs.low.exp(),
        high: logs.high.exp(),
        confidence,
    }
    .finite()
}

/// The largest 1-based rank whose symmetric interval reaches `confidence`, with its exact coverage; rank 1 if none does.
fn median_rank(count: usize, confidence: f64) -> Option<(usize, f64)> {
    let binomial = Binomial::new(0.5, count as u64).ok()?;
    let coverage = |rank: usize| (1.0 - 2.0 * binomial.cdf(rank as u64 - 1)).max(0.0);
    let (mut reaches, mut fails) = (1, count / 2 + 1);
    while fails - reaches > 1 {
        let middle = usize::midpoint(reaches, fails);
        if coverage(middle) >= confidence {
            reaches = middle;
        } else {
            fails = middle;
        }
    }
    Some((reaches, coverage(reaches)))
}

/// The value at a 0-based rank; the samples get reordered.
fn nth(samples: &mut [f64], rank: usize) -> f64 {
    *samples.select_nth_unstable_by(rank, f64::total_cmp).1
}
