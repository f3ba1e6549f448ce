//! The ratio of two sides with its interval, from the medians of their rounds.
//!
//! A round (a fresh process) is the unit here: samples within a round are not independent evidence, so they come in only
//! through its median. Work is on logarithms, so that scale drops out and swapping the sides inverts the
//! result exactly; means are 20 % trimmed from six rounds on, so that one disturbed round neither makes nor hides a
//! change. A comparison across runs adds the variance between runs, which rounds cannot show.
//! Hierarchy of variance: Kalibera and Jones 2013, "Rigorous Benchmarking in Reasonable Time", ISMM, sections 6-7.

use serde::{Deserialize, Serialize};

use crate::sample::{is_confidence, logarithms};
use crate::student;
use crate::trimmed::TrimmedMean;

/// Candidate over baseline, with its interval: for times, above 1 is slower.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatioInterval {
    /// The point estimate.
    pub ratio: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence of the interval, in (0, 1).
    pub confidence: f64,
    /// Standard error of the logarithm of the ratio.
    pub log_standard_error: f64,
    /// Degrees of freedom of that standard error; one million stands for infinity.
    pub degrees_of_freedom: f64,
}

impl RatioInterval {
    /// Builds the interval from a difference of logarithms.
    pub(crate) fn from_logs(
        difference: f64,
        squared_error: f64,
        degrees_of_freedom: f64,
        confidence: f64,
    ) -> Option<Self> {
        let log_standard_error = squared_error.sqrt();
        let degrees_of_freedom = degrees_of_freedom.min(student::NORMAL_FROM);
        let half_width = student::two_sided(confidence, degrees_of_freedom)? * log_standard_error;
        let (low, high) = (
            (difference - half_width).exp(),
            (difference + half_width).exp(),
        );
        let found = Self {
            ratio: difference.exp(),
            low,
            high,
            confidence,
            log_standard_error,
            degrees_of_freedom,
        };
        (found.low > 0.0 && found.high.is_finite()).then_some(found)
    }

    /// Whether the interval, ends included, holds `ratio`.
    pub fn contains(&self, ratio: f64) -> bool {
        (self.low..=self.high).contains(&ratio)
    }

    /// Two-sided p-value against "the true ratio is 1". Two sides without any spread that are equal give 1, others 0.
    pub fn p_value(&self) -> f64 {
        (2.0 * self.p_value_above(1.0).min(self.p_value_below(1.0))).min(1.0)
    }

    /// The same effect, seen from a `shift` that others share: a ratio of 1.10 relative to 1.05 is 1.048. The shift counts as known.
    #[must_use]
    pub fn relative_to(&self, shift: f64) -> Self {
        Self {
            ratio: self.ratio / shift,
            low: self.low / shift,
            high: self.high / shift,
            ..*self
        }
    }

    /// The same effect with at most so many degrees of freedom for its p-values; the interval stays.
    pub(crate) fn with_degrees(&self, most: f64) -> Self {
        Self {
            degrees_of_freedom: self.degrees_of_freedom.min(most),
            ..*self
        }
    }

    /// The same effect and error, if that error was estimated with at most so many degrees of freedom: a wider interval.
    #[must_use]
    pub fn with_degrees_of_freedom(&self, most: f64) -> Self {
        let fewer = self.with_degrees(most);
        let rebuilt = Self::from_logs(
            self.ratio.ln(),
            self.log_standard_error.powi(2),
            fewer.degrees_of_freedom,
            self.confidence,
        );
        rebuilt.unwrap_or(fewer)
    }

    /// One-sided p-value against "the true ratio is at most `bound`": small means surely above. With `bound` 1
    /// this is what [`crate::correction`] corrects over a suite; a `bound` that is not positive gives 1.
    pub fn p_value_above(&self, bound: f64) -> f64 {
        self.upper_tail((self.ratio / bound).ln(), bound)
    }

    /// One-sided p-value against "the true ratio is at least `bound`": small means surely below.
    pub fn p_value_below(&self, bound: f64) -> f64 {
        self.upper_tail((bound / self.ratio).ln(), bound)
    }

    fn upper_tail(&self, distance: f64, bound: f64) -> f64 {
        let is_usable = bound.is_finite() && bound > 0.0;
        if !is_usable || (distance <= 0.0 && self.log_standard_error == 0.0) {
            return 1.0;
        }
        student::upper_tail(distance / self.log_standard_error, self.degrees_of_freedom)
    }
}

/// Candidate over baseline from two separate runs, each given as the medians of its rounds.
///
/// Yuen's trimmed Welch test on logarithms, with 2 `run_to_run_sd`² added to the squared error: each side is one
/// run, and the rounds of one run share its night. `run_to_run_sd` is the standard deviation of the logarithm between
/// runs (0.01 is about 1 %), taken as known, so that it counts with infinite degrees of freedom in Satterthwaite's
/// formula. `None` for fewer than two rounds on a side, any not finite and positive, a negative or non-finite
/// `run_to_run_sd`, or a bad confidence.
///
/// Source: Yuen 1974, Biometrika 61(1), 165-170; Welch 1947, Biometrika 34, 28-35; Satterthwaite 1946,
/// Biometrics Bulletin 2(6), 110-114; a known component beside an estimated one: JCGM 100:2008 (GUM), G.4.1.
pub fn ratio_across_runs(
    baseline: &[f64],
    candidate: &[f64],
    run_to_run_sd: f64,
    confidence: f64,
) -> Option<RatioInterval> {
    if !is_confidence(confidence) || !run_to_run_sd.is_finite() || run_to_run_sd < 0.0 {
        return None;
    }
    let before = TrimmedMean::of(&logarithms(baseline)?)?;
    let after = TrimmedMean::of(&logarithms(candidate)?)?;
    let squared_error = before.squared_error + after.squared_error + 2.0 * run_to_run_sd.powi(2);
    let degrees_of_freedom = satterthwaite(squared_error, &[before, after]);
    RatioInterval::from_logs(
        after.mean - before.mean,
        squared_error,
        degrees_of_freedom,
        confidence,
    )
}

/// b over a for two interleaved arms, where `a[i]` and `b[i]` are medians of adjacent rounds.
///
/// One-sample trimmed t interval on the differences of logarithms: what both rounds of a pair share (the hour, the
/// temperature, a drift) cancels. `None` for different lengths, fewer than two pairs, any value not finite and
/// positive, or a bad confidence.
///
/// Source: Tukey and `McLaughlin` 1963, Sankhya A 25(3), 331-352; plain paired t (Student 1908) below six pairs.
pub fn paired_log_ratio(a: &[f64], b: &[f64], confidence: f64) -> Option<RatioInterval> {
    if a.len() != b.len() || !is_confidence(confidence) {
        return None;
    }
    let (before, after) = (logarithms(a)?, logarithms(b)?);
    let differences: Vec<f64> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after - before)
        .collect();
    let found = TrimmedMean::of(&differences)?;
    RatioInterval::from_logs(
        found.mean,
        found.squared_error,
        found.degrees_of_freedom,
        confidence,
    )
}

/// Degrees of freedom of a sum of squared errors; what is in `total` beyond `estimated` counts as known, so
/// that a total which is all known has infinitely many.
fn satterthwaite(total: f64, estimated: &[TrimmedMean]) -> f64 {
    let uncertainty: f64 = estimated
        .iter()
        .map(|part| part.squared_error.powi(2) / part.degrees_of_freedom)
        .sum();
    if total == 0.0 {
        return estimated.iter().map(|part| part.degrees_of_freedom).sum();
    }
    total.powi(2) / uncertainty
}
