//! How much one side differs from the other in one metric of one case, how sure that is, and what would make it surer.

use assay_stats::{Interval, RatioInterval, rounds_needed, runs_needed};

use crate::CONFIDENCE;
use crate::few_runs::MIN_HISTORY;

/// A ratio, candidate over baseline, with what its error rests on.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    /// The ratio with its interval.
    pub interval: RatioInterval,
    /// Standard deviation of the logarithm between rounds of one run.
    pub round_sd: f64,
    /// The same between runs, as far as that is in the interval.
    pub run_sd: f64,
    /// Rounds of a run.
    pub rounds: u32,
    /// Where the deviations come from.
    pub origin: Origin,
}

/// Where the error of an [`Effect`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From adjacent rounds of one run: what a night does to both cancels.
    Pairs,
    /// From how much the ratios of commits that both sides have differ.
    Commits,
    /// From how much these runs differ among themselves.
    Runs,
    /// From so many earlier runs of the series.
    History(usize),
    /// From what runs are taken to differ by.
    Taken,
    /// Nothing differs within either side: there is no error.
    Constant,
}

/// How an advice ends that names how much it would take.
pub(crate) const SETTLES: &str = "four times in five";

/// What it would take to call equal what is, in words: only of equality can it be said beforehand. `condition` names it, and what else is supposed.
pub(crate) fn advice(condition: &str, needed: &str, margin: f64) -> String {
    let margin = percent(margin);
    format!("if {condition}, {needed} would show it within {margin}, {SETTLES}")
}

/// How many times the runs that are needed are surely enough of them.
const ENOUGH: usize = 2;

/// What an advice supposes.
pub(crate) const EQUAL: &str = "the two are equal";

impl Effect {
    /// Where the error comes from, in words; empty where the sides themselves show it.
    pub fn origin_words(&self) -> String {
        let run_sd = 100.0 * self.run_sd;
        match self.origin {
            Origin::History(runs) => {
                format!("by {runs} earlier runs of this series, runs here differ by {run_sd:.1} %")
            }
            Origin::Taken => format!(
                "runs are taken to differ by {run_sd:.1} %, for want of {MIN_HISTORY} earlier ones of this series on this machine"
            ),
            Origin::Constant => "every round of a side gave the same value".into(),
            Origin::Commits => format!("by the ratios at {} commits", self.rounds),
            Origin::Pairs | Origin::Runs => String::new(),
        }
    }

    /// What would settle an inconclusive comparison of so many runs per side, in words: where fewer should have done so by how most of them
    /// differ, the others are what is in the way.
    pub fn remedy_beyond(&self, at_hand: usize, margin: f64) -> String {
        let needed = runs_needed(self.round_sd, self.rounds, self.run_sd, margin, CONFIDENCE);
        let is_enough = needed.is_some_and(|runs| ENOUGH * runs as usize <= at_hand);
        if self.origin == Origin::Runs && at_hand >= MIN_HISTORY && is_enough {
            return format!(
                "most runs differ little enough for a margin of {}, and some lie far from the rest: the level changed among them, or the machine was disturbed",
                percent(margin)
            );
        }
        self.remedy(margin)
    }

    /// The same, whatever there is.
    pub fn remedy(&self, margin: f64) -> String {
        let needed = match self.origin {
            Origin::Pairs => rounds_needed(self.round_sd, 0.0, margin, CONFIDENCE)
                .map(|rounds| format!("{rounds} rounds of each arm")),
            Origin::Commits => rounds_needed(self.round_sd, 0.0, margin, CONFIDENCE)
                .map(|commits| format!("{commits} commits on both sides")),
            _ => runs_needed(self.round_sd, self.rounds, self.run_sd, margin, CONFIDENCE)
                .map(|runs| runs_of_rounds(runs, self.rounds)),
        };
        needed.map_or_else(
            || {
                format!(
                    "these runs differ too much for a margin of {}: the machine is noisy (see `assay doctor`), or the level changed among them",
                    percent(margin)
                )
            },
            |needed| advice(EQUAL, &needed, margin),
        )
    }
}

/// What each side would have to be, in words.
pub(crate) fn runs_of_rounds(runs: u32, rounds: u32) -> String {
    let plural = |count: u32| if count == 1 { "" } else { "s" };
    format!(
        "{runs} run{} per side of {rounds} round{}",
        plural(runs),
        plural(rounds)
    )
}

/// The ends of a ratio without what only tests need.
pub(crate) fn shown(ratio: &RatioInterval) -> Interval {
    Interval {
        estimate: ratio.ratio,
        low: ratio.low,
        high: ratio.high,
        confidence: ratio.confidence,
    }
}

/// A ratio as a change: `+10.2 % [+8.1, +12.4]`.
pub fn change_words(ratio: &Interval) -> String {
    let [by, low, high] = change_parts(ratio);
    format!("{by} % [{low}, {high}]")
}

/// Estimate and ends of a ratio's interval as changes in percent: with one decimal, or so many more, up to three, that a short
/// interval is seen to be one.
pub fn change_parts(ratio: &Interval) -> [String; 3] {
    let length = 100.0 * (ratio.high - ratio.low);
    let decimals = match length {
        0.0 | 0.3.. => 1,
        0.03.. => 2,
        _ => 3,
    };
    [ratio.estimate, ratio.low, ratio.high].map(|ratio| signed(ratio, decimals))
}

/// A ratio as a change in percent, with its sign: `+10.2`.
pub fn signed(ratio: f64, decimals: usize) -> String {
    let text = format!("{:+.decimals$}", (ratio - 1.0) * 100.0);
    let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    if is_zero {
        text.replace('-', "+")
    } else {
        text
    }
}

/// A share as people write it: `3.0 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::runs_of_rounds;

    #[test]
    fn one_run_is_no_runs() {
        assert_eq!(runs_of_rounds(1, 6), "1 run per side of 6 rounds");
        assert_eq!(runs_of_rounds(2, 1), "2 runs per side of 1 round");
    }
}
