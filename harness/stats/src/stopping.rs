//! When to stop sampling: within a round, and adding rounds.
//!
//! Policies are data of the manifest; decisions are pure functions of what was measured so far, so a stored record
//! can be asked again why it stopped. Looking at an interval again and again and stopping when it is short
//! makes its coverage a little lower than stated (Anscombe 1953, JRSS B 15(1), 1-29); the minimum counts
//! keep that small, and verdicts compute their own intervals from rounds, not from these.

use serde::{Deserialize, Serialize};

use crate::interval::{Interval, geometric_mean_interval, median_interval};

/// Confidence of the intervals that stopping looks at.
pub const CONFIDENCE: f64 = 0.95;

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
    /// 95 %, hence at least 6 samples), max samples, budget. Samples that are not finite are never precise.
    pub fn decide(&self, steady_times: &[f64], spent_ns: u64) -> Decision {
        let count = steady_times.len();
        let interval = || median_interval(steady_times, CONFIDENCE);
        if count >= self.min_samples && meets(interval(), self.target_relative_half_width) {
            Decision::Stop(StopReason::Precise)
        } else if count >= self.max_samples {
            Decision::Stop(StopReason::MaxSamples)
        } else if spent_ns >= self.budget_ns {
            Decision::Stop(StopReason::Budget)
        } else {
            Decision::Continue
        }
    }
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

impl Default for AcrossRounds {
    /// Three to ten pairs, to ± 1 %.
    fn default() -> Self {
        Self {
            target_relative_half_width: 0.01,
            min_rounds: 6,
            max_rounds: 20,
            block: 2,
        }
    }
}

impl AcrossRounds {
    /// Decides from the medians of the rounds so far; `Continue` means one more block.
    /// Medians that are not finite and positive are never precise.
    pub fn decide(&self, round_medians: &[f64]) -> Decision {
        let count = round_medians.len();
        let block = self.block.max(1);
        if count >= self.max_rounds {
            return Decision::Stop(self.at_the_end(round_medians));
        }
        if count < self.min_rounds || !count.is_multiple_of(block) {
            return Decision::Continue;
        }
        if self.is_precise(round_medians) || count + block > self.max_rounds {
            return Decision::Stop(self.at_the_end(round_medians));
        }
        Decision::Continue
    }

    fn at_the_end(&self, round_medians: &[f64]) -> StopReason {
        if self.is_precise(round_medians) {
            StopReason::Precise
        } else {
            StopReason::MaxRounds
        }
    }

    fn is_precise(&self, round_medians: &[f64]) -> bool {
        meets(
            geometric_mean_interval(round_medians, CONFIDENCE),
            self.target_relative_half_width,
        )
    }
}

/// Whether there is an interval with the full confidence that is short enough.
fn meets(interval: Option<Interval>, target_relative_half_width: f64) -> bool {
    interval.is_some_and(|found| {
        found.confidence >= CONFIDENCE && found.relative_half_width() <= target_relative_half_width
    })
}
