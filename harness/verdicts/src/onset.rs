//! Where a change that a night shows began: the last run of the series that surely is at the old level, and the first that surely is
//! at the new one.
//!
//! A night is compared with a window that leaves out the nights before it, and a change that is not mended gets into later windows. So
//! neither the end of a window nor the night says where the change is; the series between them does. Nearest to which level a run is
//! decides, if it is further from the other one than noise reaches; runs of which that cannot be told widen the range.

use std::collections::BTreeSet;

use assay_record::RunId;
use assay_stats::median;
use assay_stats::summary::MAD_TO_STANDARD_DEVIATION;
use serde::{Deserialize, Serialize};

use crate::few_runs::{MIN_HISTORY, RUN_SD};
use crate::history::Spot;
use crate::series::{Change, Series};

/// How far noise reaches, in standard deviations between runs.
const REACH: f64 = 3.0;

/// Most runs on each side from which the step is told.
const STEP_RUNS: usize = 5;

/// Where a change began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Onset {
    /// The last run that surely is at the old level.
    pub last_before: Spot,
    /// The first after it that surely is at the new one.
    pub first_after: Spot,
    /// The level from there on over the level up to there. What a night is compared with may be older, and other changes lie between.
    pub step: f64,
    /// What changed on the machine meanwhile.
    pub machine: Vec<Change>,
}

impl Onset {
    /// Where the change of `night` against `baseline` began; `None` where the night is not surely at another level than the baseline.
    pub fn of(series: &Series, baseline: &[RunId], night: &RunId) -> Option<Self> {
        let points = &series.points;
        let logs = logs(series)?;
        let levels = Levels::of(series, &logs, baseline, night)?;
        let Levels { night, .. } = levels;
        let is_new = |at: &usize| levels.is_new(logs[*at]);
        let is_old = |at: &usize| levels.is_old(logs[*at]);
        if !is_new(&night) {
            return None;
        }
        let last_before = (0..night).rev().find(is_old)?;
        let first_after = (last_before + 1..=night).find(is_new)?;
        let middle =
            |runs: Vec<usize>| median(&runs.iter().map(|at| logs[*at]).collect::<Vec<f64>>());
        // Only at the level of the place: what lies further from it may be of another change.
        let near = |end: usize| {
            let (logs, reach) = (&logs, levels.reach);
            move |at: &usize| (logs[*at] - logs[end]).abs() <= reach
        };
        let before = (0..=last_before).rev().filter(is_old).take(STEP_RUNS);
        let after = (first_after..=night).filter(is_new).take(STEP_RUNS);
        let before = before.filter(near(last_before)).collect();
        let after = after.filter(near(first_after)).collect();
        Some(Self {
            step: (middle(after)? - middle(before)?).exp(),
            last_before: Spot::of(last_before, &points[last_before]),
            first_after: Spot::of(first_after, &points[first_after]),
            machine: points[last_before + 1..=first_after]
                .iter()
                .flat_map(|point| point.changes.clone())
                .collect(),
        })
    }
}

/// The logarithms of a series' estimates; `None` where one is not positive, for then there is no ratio.
pub(crate) fn logs(series: &Series) -> Option<Vec<f64>> {
    let estimates = series.points.iter().map(|point| point.estimate.estimate);
    estimates
        .map(|estimate| (estimate > 0.0).then(|| estimate.ln()))
        .collect()
}

/// The levels of a baseline and of a night, as logarithms.
pub(crate) struct Levels {
    pub old: f64,
    pub new: f64,
    /// How far noise reaches.
    pub reach: f64,
    /// Number of the night's point.
    pub night: usize,
}

impl Levels {
    /// `None` where the series has nothing of the baseline or of the night.
    pub fn of(series: &Series, logs: &[f64], baseline: &[RunId], night: &RunId) -> Option<Self> {
        let points = &series.points;
        let night = points.iter().position(|point| point.run == *night)?;
        let baseline: BTreeSet<&RunId> = baseline.iter().collect();
        let own = (0..night).filter(|at| baseline.contains(&points[*at].run));
        let values: Vec<f64> = own.map(|at| logs[at]).collect();
        let old = median(&values)?;
        Some(Self {
            old,
            new: logs[night],
            reach: REACH * deviation(&values, old)?,
            night,
        })
    }

    /// How far a value went from the old level to the new: 0 to 1.
    pub fn way(&self, log: f64) -> f64 {
        (log - self.old) / (self.new - self.old)
    }

    fn is_old(&self, log: f64) -> bool {
        self.way(log) < 0.5 && (log - self.new).abs() > self.reach
    }

    pub fn is_new(&self, log: f64) -> bool {
        self.way(log) > 0.5 && (log - self.old).abs() > self.reach
    }
}

/// Standard deviation of the logarithm between runs: from the baseline, or what is taken where it is too short.
fn deviation(values: &[f64], middle: f64) -> Option<f64> {
    if values.len() < MIN_HISTORY {
        return Some(RUN_SD);
    }
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    Some(MAD_TO_STANDARD_DEVIATION * median(&distances)?)
}
