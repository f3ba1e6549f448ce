//! Whether the cases of a suite moved together: one event of the machine, not as many regressions.
//!
//! Cases of one night share the machine, so their errors are correlated, and a test of each against its own history calls
//! them all at once. One night does not show how correlated they are; the nights before do. So the suite's middle is followed
//! from run to run like a series of its own, and tonight's is compared with its own history. Cases are then judged
//! by what they did relative to it, so that one that moved on its own still shows.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::levels::ratio_of_values;
use crate::ratio::RatioInterval;
use crate::summary::median;

/// Fewer cases have no "most".
pub const MIN_CASES: usize = 6;

/// From this many cases on, the middle of the suite is known well enough to be taken out of each of them.
pub const MIN_RELATIVE: usize = 20;

/// Two-sided level against the history of the suite's middle.
const LEVEL: f64 = 0.01;

/// How a suite as a whole moved, run by run. All but `event` are logarithms of ratios to the window's middle.
#[derive(Clone, Debug, PartialEq)]
pub struct Movement {
    /// Of each baseline run; `None` for one with fewer than [`MIN_CASES`] of the cases.
    pub baseline: Vec<Option<f64>>,
    /// Of the candidate.
    pub candidate: f64,
    /// Whether there are enough cases to judge each relative to it.
    pub is_removable: bool,
    /// The candidate's movement as an event, if it is one.
    pub event: Option<CommonShift>,
}

/// A shift of the middle of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonShift {
    /// Candidate over baseline for the middle of the suite, with its interval.
    pub ratio: Interval,
    /// How many cases moved by at least half of it.
    pub moved: usize,
    /// How many there are.
    pub cases: usize,
    /// Two-sided p-value against the history of the suite's middle.
    pub p_value: f64,
}

/// How the suite moved. `baseline[run][case]` and `candidate[case]` are values of runs ([`crate::levels::run_value`]), oldest run
/// first; a case that a run does not have is `None` there. `gap` as for [`crate::ratio_of_runs`].
///
/// The movement of a run is the median over its cases of (value - mean of that case over the baseline). It is an event if
/// tonight's is beyond the earlier ones ([`crate::ratio_of_runs`], p at most 0.01) and beyond `least_effect` (0.01: 1 %), and
/// two thirds of the cases moved by at least half of it in its direction. `None` below [`MIN_CASES`] or if some run has no case in common.
/// The rule is our own; its error over correlated nights is measured in METHODOLOGY.md.
pub fn movement(
    baseline: &[Vec<Option<f64>>],
    candidate: &[Option<f64>],
    gap: usize,
    least_effect: f64,
) -> Option<Movement> {
    let centers: Vec<Option<f64>> = (0..candidate.len())
        .map(|case| mean(baseline.iter().filter_map(|run| run.get(case).copied()?)))
        .collect();
    let deviations = |run: &[Option<f64>]| -> Vec<f64> {
        let known = run.iter().zip(&centers);
        known
            .filter_map(|(value, center)| Some((*value)? - (*center)?))
            .collect()
    };
    let tonight = deviations(candidate);
    if tonight.len() < MIN_CASES {
        return None;
    }
    let moved = median(&tonight)?;
    let earlier: Vec<Option<f64>> = baseline
        .iter()
        .map(|run| median(&deviations(run)).filter(|_| deviations(run).len() >= MIN_CASES))
        .collect();
    let known: Vec<f64> = earlier.iter().flatten().copied().collect();
    Some(Movement {
        event: event(&known, &tonight, moved, gap, least_effect),
        is_removable: tonight.len() >= MIN_RELATIVE,
        baseline: earlier,
        candidate: moved,
    })
}

impl Movement {
    /// What a case did relative to the suite: its values as [`ratio_of_values`] takes them, each without the movement of its run.
    /// `baseline` has the place of each run and the value there, oldest first.
    ///
    /// With too few cases or runs to take every run's movement out, the event alone is taken out of `effect`, the case's own
    /// ratio; without an event that is what is returned.
    pub fn relative(
        &self,
        baseline: &[(usize, f64)],
        candidate: f64,
        gap: usize,
        effect: &RatioInterval,
    ) -> RatioInterval {
        let values = baseline.iter();
        let without = |(run, value): &(usize, f64)| Some(value - (*self.baseline.get(*run)?)?);
        let before: Vec<f64> = values.filter_map(without).collect();
        let after = candidate - self.candidate;
        let removed = ratio_of_values(&before, &[after], gap, effect.confidence);
        let shift = self.event.map_or(1.0, |event| event.ratio.estimate);
        removed
            .filter(|_| self.is_removable)
            .unwrap_or_else(|| effect.relative_to(shift))
    }
}

fn event(
    earlier: &[f64],
    tonight: &[f64],
    moved: f64,
    gap: usize,
    least_effect: f64,
) -> Option<CommonShift> {
    let found = ratio_of_values(earlier, &[moved], gap, 0.95)?;
    let along = tonight
        .iter()
        .filter(|one| *one * moved.signum() >= moved.abs() / 2.0);
    let (along, cases) = (along.count(), tonight.len());
    let p_value = found.p_value();
    let is_event = moved.abs() >= least_effect.ln_1p() && p_value <= LEVEL;
    is_event.then_some(CommonShift {
        ratio: Interval {
            estimate: found.ratio,
            low: found.low,
            high: found.high,
            confidence: found.confidence,
        },
        moved: along,
        cases,
        p_value,
    })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}
