//! When to stop sampling: within a round, and adding rounds.
//!
//! Policies are data of the manifest; decisions are pure functions of what was measured so far, so a stored record
//! can be asked again why it stopped. Looking at an interval again and again and stopping when it is short
//! makes its coverage a little lower than stated (Anscombe 1953, JRSS B 15(1), 1-29); the minimum counts
//! keep that small, and verdicts compute their own intervals from rounds, not from these.

use serde::{Deserialize, Serialize};

use crate::autocorrelation::effective_sample_size;
use crate::interval::{Interval, geometric_mean_interval, median_interval};
use crate::ratio::paired_log_ratio;
use crate::sample::{logarithms, mean_and_squares};

/// Confidence of the intervals that stopping looks at.
pub const CONFIDENCE: f64 = 0.95;

/// Fewer rounds than this say nothing about how much rounds differ.
const ROUNDS_THAT_TELL: usize = 3;
/// The error within a round need not be less than this share of the error between rounds: squared, it adds a ninth.
const SHARE_OF_BETWEEN: f64 = 1.0 / 3.0;
/// No round is asked for more than this share of the policy's target.
const FLOOR: f64 = 0.1;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Measure more.
    Continue,
    /// Enough, and why.
    Stop(StopReason),
}

/// Why measuring stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The interval met its target.
    Precise,
    /// The round has its largest number of samples.
    MaxSamples,
    /// The case has its largest number of rounds.
    MaxRounds,
    /// The time is spent.
    Budget,
}

/// The policy within one round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithinRound {
    /// Stop when the interval of the median is at most this share of it to either side: 0.01 is ± 1 %.
    pub target_relative_half_width: f64,
    /// Never call fewer steady samples precise.
    pub min_samples: usize,
    /// Stop at this many steady samples.
    pub max_samples: usize,
    /// Stop when this much time has been spent, in nanoseconds, warm-up included.
    pub budget_ns: u64,
}

impl WithinRound {
    /// Decides from the steady samples so far (warm-up left out) and the time spent on the round.
    ///
    /// The first of these that holds: precise (order-statistic interval, see [`median_interval`], that reaches
    /// 95 %, hence at least 6 samples, and is made wider where samples repeat each other, see [`widening`]), max
    /// samples, budget. Samples that are not finite are never precise.
    pub fn decide(&self, steady_times: &[f64], spent_ns: u64) -> Decision {
        let count = steady_times.len();
        if count >= self.min_samples && self.is_precise(steady_times) {
            Decision::Stop(StopReason::Precise)
        } else if count >= self.max_samples {
            Decision::Stop(StopReason::MaxSamples)
        } else if spent_ns >= self.budget_ns {
            Decision::Stop(StopReason::Budget)
        } else {
            Decision::Continue
        }
    }

    fn is_precise(&self, steady_times: &[f64]) -> bool {
        let interval = median_interval(steady_times, CONFIDENCE);
        // Nothing widens an interval to less: the costlier question comes second.
        meets(interval.as_ref(), self.target_relative_half_width)
            && meets(
                interval.as_ref(),
                self.target_relative_half_width / widening(steady_times),
            )
    }
}

/// By how much an interval for independent samples is too short for these: sqrt(n / effective sample size), at least 1.
///
/// Source: Geyer 1992, as [`effective_sample_size`]; for a median it is an approximation, exact for a mean.
pub fn widening(samples: &[f64]) -> f64 {
    effective_sample_size(samples)
        .map_or(1.0, |effective| (samples.len() as f64 / effective).sqrt())
}

/// The relative half-width at which a round is precise enough, for [`WithinRound`].
///
/// A third of the deviation between rounds where that is known, and no less than a tenth of the policy's target;
/// the policy's target before. More precision within a round hardly narrows an interval that rounds decide.
pub fn round_target(policy_target: f64, deviation_between_rounds: Option<f64>) -> f64 {
    deviation_between_rounds.map_or(policy_target, |deviation| {
        (deviation * SHARE_OF_BETWEEN).max(policy_target * FLOOR)
    })
}

/// Standard deviation of the logarithms of round medians. `None` for fewer than three rounds, or any not finite and positive.
pub fn deviation_between_rounds(medians: &[f64]) -> Option<f64> {
    deviation(&logarithms(medians)?)
}

/// Standard deviation of the log-ratios of paired rounds. `None` as [`deviation_between_rounds`], or for different lengths.
pub fn deviation_of_pairs(one: &[f64], other: &[f64]) -> Option<f64> {
    let (one, other) = (logarithms(one)?, logarithms(other)?);
    let differences: Vec<f64> = one.iter().zip(&other).map(|(a, b)| b - a).collect();
    (one.len() == other.len()).then(|| deviation(&differences))?
}

fn deviation(logarithms: &[f64]) -> Option<f64> {
    let count = logarithms.len();
    let (_, squares) = mean_and_squares(logarithms);
    (count >= ROUNDS_THAT_TELL).then(|| (squares / (count as f64 - 1.0)).sqrt())
}

/// The policy between rounds of one case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcrossRounds {
    /// Stop when the t interval on logarithms of round medians is at most this share to either side.
    pub target_relative_half_width: f64,
    /// Never stop before this many rounds.
    pub min_rounds: usize,
    /// Never start a block that would end beyond this many rounds; wins over `min_rounds`.
    pub max_rounds: usize,
    /// Rounds come in blocks of this many (adjacent pairs: 2); decisions fall only between blocks.
    pub block: usize,
}

impl AcrossRounds {
    /// Decides from the medians of the rounds so far; `Continue` means one more block.
    /// Medians that are not finite and positive are never precise.
    pub fn decide(&self, round_medians: &[f64]) -> Decision {
        let interval = geometric_mean_interval(round_medians, CONFIDENCE);
        let is_precise = meets(interval.as_ref(), self.target_relative_half_width);
        self.judge(round_medians.len(), is_precise)
    }

    /// As [`Self::decide`], from the interval of the ratio of two arms, where `a[i]` and `b[i]` are medians of adjacent
    /// rounds ([`paired_log_ratio`]).
    pub fn decide_paired(&self, a: &[f64], b: &[f64]) -> Decision {
        let is_precise = paired_log_ratio(a, b, CONFIDENCE).is_some_and(|found| {
            (found.high - found.low) / (2.0 * found.ratio) <= self.target_relative_half_width
        });
        self.judge(a.len().min(b.len()), is_precise)
    }

    fn judge(&self, count: usize, is_precise: bool) -> Decision {
        let block = self.block.max(1);
        let is_between_blocks = count >= self.min_rounds && count.is_multiple_of(block);
        if is_precise && (is_between_blocks || count >= self.max_rounds) {
            Decision::Stop(StopReason::Precise)
        } else if count >= self.max_rounds || (is_between_blocks && count + block > self.max_rounds)
        {
            Decision::Stop(StopReason::MaxRounds)
        } else {
            Decision::Continue
        }
    }
}

/// Whether there is an interval with the full confidence that is short enough.
fn meets(interval: Option<&Interval>, target_relative_half_width: f64) -> bool {
    interval.is_some_and(|found| {
        found.confidence >= CONFIDENCE && found.relative_half_width() <= target_relative_half_width
    })
}
