//! How much identical code differs from itself here: the noise floor, the deviation at each level, and the smallest change that
//! the default budget can find.
//!
//! Calibration runs measure one environment as two arms. Nothing of this is stored but their records: like every
//! verdict it is computed from rounds when it is read. Runs of a calibration are minutes apart; how much *nights* differ
//! is taken from the runs of the suite as soon as there are enough of them, and each case says which it was.

use assay_protocol::Metric;
use std::collections::{BTreeMap, BTreeSet};

use assay_record::{Purpose, RunId, RunStatus};
use assay_stats::planning::Noise;
use assay_stats::{Levels, Rules, Summary, levels, median, paired_log_ratio, run_value, value_sd};
use assay_store::{CaseRow, RoundSamples, RunRow, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::RunView;
use crate::rounds::common_rounds;
use crate::window::{MAIN_ARM, newest_nights};

/// Names of the two arms, which are the same.
pub const ARMS: [&str; 2] = ["a", "b"];

/// Runs from which nights say how much nights differ.
const MIN_NIGHTS: usize = 5;

/// Newest nights that are looked at, and newest calibration runs of a case.
const NIGHTS: usize = 20;

/// Newest calibration runs that are looked at: a case may have been left out of some.
const CALIBRATIONS: usize = 60;

/// Probability with which a detectable change is found.
const POWER: f64 = 0.9;

/// Suspects among which a confirmation is planned: what a suite of 150 unchanged cases gives on average.
const SUSPECTS: f64 = 15.0;

/// What is known of the noise of a suite on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Name of the suite.
    pub suite: String,
    /// Name of the machine.
    pub machine: String,
    /// The calibration runs, oldest first.
    pub runs: Vec<RunId>,
    /// Per case, in the order of the suite.
    pub cases: Vec<CaseCalibration>,
}

/// Noise of one case. Deviations are of logarithms: 0.01 is about 1 %. Effects are shares: 0.01 is 1 %.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseCalibration {
    /// Id of the case.
    pub case: String,
    /// Between samples of a round, from their quartiles; absent without two samples after warm-up.
    pub sample_sd: Option<f64>,
    /// Between rounds, and between runs; the latter from neighbouring runs, so that a change among them does not count.
    pub levels: Levels,
    /// What the deviation between runs was taken from.
    pub basis: RunBasis,
    /// Half-width of the 95 % interval of identical arms in one run: differences below it are noise.
    pub noise_floor: f64,
    /// Smallest change of `time` that the nightly budget finds on the same night, nine times in ten: suspected against a full window
    /// and confirmed with interleaved rounds (see [`Noise::detectable`]).
    pub detectable: Option<f64>,
    /// Smallest margin within which the `time` of an unchanged case is called so by one night against a full window, nine times in
    /// ten (see [`Noise::margin`]). It says nothing of other metrics.
    pub margin: Option<f64>,
}

/// Where a deviation between runs comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum RunBasis {
    /// Runs of the suite on so many nights.
    Nights {
        /// How many.
        runs: usize,
    },
    /// The calibration's own runs, one after the other: nights may differ more.
    Calibration {
        /// How many.
        runs: usize,
    },
}

impl Calibration {
    /// From the newest calibration runs of a suite on a machine that came to their end, each case from those that have it; `None`
    /// where there is none. Runs of an older definition of a case are left out.
    pub fn of(store: &Store, suite: &str, machine: &str) -> Result<Option<Self>, StoreError> {
        let samples = |run: &RunId, row: &CaseRow| store.samples(run, &row.case, &row.arm);
        Self::with(store, suite, machine, samples)
    }

    /// The margins that are possible for cases, of those where that is known. Reads no samples.
    pub fn margins(
        store: &Store,
        suite: &str,
        machine: &str,
    ) -> Result<BTreeMap<String, f64>, StoreError> {
        let found = Self::with(store, suite, machine, |_, _| Ok(Vec::new()))?;
        let cases = found.into_iter().flat_map(|found| found.cases);
        let margins = cases.filter_map(|case| Some((case.case, case.margin?)));
        Ok(margins.collect())
    }

    fn with(
        store: &Store,
        suite: &str,
        machine: &str,
        samples: impl Fn(&RunId, &CaseRow) -> Result<Vec<RoundSamples>, StoreError>,
    ) -> Result<Option<Self>, StoreError> {
        let is_here = |row: &RunRow| row.suite == suite && row.machine == machine;
        let is_meant = |row: &&RunRow| {
            is_here(row) && row.purpose == Purpose::Calibration && row.status == RunStatus::Complete
        };
        let all = store.runs()?;
        let newest = all.iter().rev().filter(is_meant).take(CALIBRATIONS);
        let runs = views(store, newest.cloned())?;
        if runs.is_empty() {
            return Ok(None);
        }
        let nights = views(store, newest_nights(store, NIGHTS, is_here)?)?;
        let (mut cases, mut seen) = (Vec::new(), BTreeSet::new());
        for view in runs.iter().rev() {
            for row in view.cases.iter().filter(|row| row.arm == ARMS[0]) {
                if seen.insert(&row.case) {
                    let samples = samples(&view.run.run, row)?;
                    cases.extend(CaseCalibration::of(row, &runs, &nights, &samples));
                }
            }
        }
        Ok(Some(Self {
            suite: suite.into(),
            machine: machine.into(),
            runs: runs.iter().map(|view| view.run.run.clone()).collect(),
            cases,
        }))
    }
}

/// Runs with all they hold, oldest first, from rows that are newest first.
fn views(
    store: &Store,
    rows: impl IntoIterator<Item = RunRow>,
) -> Result<Vec<RunView>, StoreError> {
    let mut rows: Vec<RunRow> = rows.into_iter().collect();
    rows.reverse();
    RunView::load_all(store, rows)
}

impl CaseCalibration {
    fn of(
        row: &CaseRow,
        runs: &[RunView],
        nights: &[RunView],
        samples: &[RoundSamples],
    ) -> Option<Self> {
        let pairs: Vec<[Vec<f64>; 2]> = runs
            .iter()
            .filter_map(|view| {
                let [a, b] = ARMS.map(|arm| alike(view, row, arm));
                Some(common_rounds(a?, b?, Metric::TIME))
            })
            .filter(|[a, _]| a.len() >= 2)
            .collect();
        let pairs = &pairs[pairs.len().saturating_sub(NIGHTS)..];
        let (levels, value_sd, basis) = run_levels(row, pairs, nights)?;
        let rules = Rules::default();
        let noise = Noise {
            value_sd,
            paired_sd: paired_sd(pairs)?,
            power: POWER,
        };
        Some(Self {
            case: row.case.clone(),
            sample_sd: sample_sd(samples),
            levels,
            basis,
            noise_floor: noise_floor(pairs)?,
            detectable: noise.detectable(&rules, SUSPECTS),
            margin: noise.margin(rules.confidence),
        })
    }
}

/// A case on an arm where it is the same work.
fn alike<'a>(view: &'a RunView, row: &CaseRow, arm: &str) -> Option<&'a CaseRow> {
    let other = view.case(&row.case, arm)?;
    (other.definition == row.definition && other.timing == row.timing).then_some(other)
}

/// The levels, the deviation between values of runs, and what both are from.
fn run_levels(
    row: &CaseRow,
    pairs: &[[Vec<f64>; 2]],
    nights: &[RunView],
) -> Option<(Levels, f64, RunBasis)> {
    let nights: Vec<Vec<f64>> = nights
        .iter()
        .filter_map(|view| Some(alike(view, row, MAIN_ARM)?.good_values(Metric::TIME)))
        .filter(|times| times.len() >= 2)
        .collect();
    if nights.len() >= MIN_NIGHTS {
        let runs = nights.len();
        let (levels, value_sd) = unmoved(&nights)?;
        return Some((levels, value_sd, RunBasis::Nights { runs }));
    }
    let own: Vec<Vec<f64>> = pairs.iter().map(|[first, _]| first.clone()).collect();
    let runs = own.len();
    let (levels, value_sd) = unmoved(&own)?;
    Some((levels, value_sd, RunBasis::Calibration { runs }))
}

/// Levels as if nothing had changed from run to run, and the deviation between the values of such runs.
fn unmoved(runs: &[Vec<f64>]) -> Option<(Levels, f64)> {
    let found = levels(runs)?;
    let values: Option<Vec<f64>> = runs.iter().map(|rounds| run_value(rounds)).collect();
    let value_sd = value_sd(&values?)?;
    let rounds_per_run = found.rounds as f64 / found.runs as f64;
    let run_variance = value_sd.powi(2) - found.round_sd.powi(2) / rounds_per_run;
    let run_sd = run_variance.max(0.0).sqrt();
    Some((Levels { run_sd, ..found }, value_sd))
}

/// Deviation of one round as interleaved arms see it: that of the paired differences over √2, pooled over the runs.
fn paired_sd(pairs: &[[Vec<f64>; 2]]) -> Option<f64> {
    let runs: Vec<Vec<f64>> = pairs
        .iter()
        .map(|[a, b]| a.iter().zip(b).map(|(a, b)| b / a).collect())
        .collect();
    Some(levels(&runs)?.round_sd / std::f64::consts::SQRT_2)
}

fn noise_floor(pairs: &[[Vec<f64>; 2]]) -> Option<f64> {
    let half_width = |[a, b]: &[Vec<f64>; 2]| {
        let found = paired_log_ratio(a, b, Rules::default().confidence)?;
        Some((found.high / found.low).ln() / 2.0)
    };
    let widths: Vec<f64> = pairs.iter().filter_map(half_width).collect();
    Some(median(&widths)?.exp_m1())
}

/// Relative deviation of samples within their round: the interquartile range over 1.349, as for normal data, median over rounds.
fn sample_sd(rounds: &[RoundSamples]) -> Option<f64> {
    let of_round = |round: &RoundSamples| {
        let times = round.samples.times_ns();
        let steady = Summary::of(times.get(round.warmup as usize..)?)?;
        (steady.count >= 2)
            .then(|| (steady.third_quartile - steady.first_quartile) / 1.349 / steady.median)
    };
    median(&rounds.iter().filter_map(of_round).collect::<Vec<_>>())
}
