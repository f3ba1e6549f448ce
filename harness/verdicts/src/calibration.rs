//! How much identical code differs from itself here: the noise floor, the deviation at each level, and the smallest change that
//! the default budget can find.
//!
//! Calibration runs measure one environment as two arms. Nothing of this is stored but their records: like every
//! verdict it is computed from rounds when it is read. Runs of a calibration are minutes apart; how much *nights* differ
//! is taken from the runs of the suite as soon as there are enough of them, and each case says which it was.

use assay_protocol::Metric;
use assay_record::{Purpose, RunId};
use assay_stats::gate::CONFIRMATION_PAIRS;
use assay_stats::{
    Levels, Rules, Summary, levels, median, paired_log_ratio, smallest_detectable_effect,
    smallest_detectable_effect_interleaved,
};
use assay_store::{CaseRow, RoundSamples, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::RunView;

/// Name of the arm of a night.
const MAIN_ARM: &str = "main";

/// Names of the two arms, which are the same.
pub const ARMS: [&str; 2] = ["a", "b"];

/// Runs from which nights say how much nights differ.
const MIN_NIGHTS: usize = 5;

/// Newest nights that are looked at.
const NIGHTS: usize = 20;

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
    /// Between rounds, and between runs.
    pub levels: Levels,
    /// What the deviation between runs was taken from.
    pub basis: RunBasis,
    /// Half-width of the 95 % interval of identical arms in one run: differences below it are noise.
    pub noise_floor: f64,
    /// Smallest change that the nightly budget finds on the same night, nine times in ten: suspected against a window of 20
    /// runs and confirmed with interleaved rounds.
    pub detectable: Option<f64>,
    /// Smallest margin within which an unchanged case is called so by one night, nine times in ten.
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
    /// From the newest calibration runs of a suite on a machine; `None` where there is none. Runs of an older definition of a
    /// case are left out.
    pub fn of(store: &Store, suite: &str, machine: &str) -> Result<Option<Self>, StoreError> {
        let rows = store.runs()?;
        let of_purpose = |calibration: bool| -> Result<Vec<RunView>, StoreError> {
            let here = rows.iter().rev().filter(|row| {
                row.suite == suite
                    && row.machine == machine
                    && row.reproduces.is_none()
                    && row.purpose.is_measurement() != calibration
                    && !matches!(row.purpose, Purpose::Confirmation { .. })
            });
            let mut views = here
                .take(NIGHTS)
                .map(|row| RunView::load(store, &row.run))
                .collect::<Result<Vec<_>, _>>()?;
            views.reverse();
            Ok(views)
        };
        let (runs, nights) = (of_purpose(true)?, of_purpose(false)?);
        let Some(last) = runs.last() else {
            return Ok(None);
        };
        let mut cases = Vec::new();
        for row in last.cases.iter().filter(|row| row.arm == ARMS[0]) {
            let samples = store.samples(&last.run.run, &row.case, &row.arm)?;
            cases.extend(CaseCalibration::of(row, &runs, &nights, &samples));
        }
        Ok(Some(Self {
            suite: suite.into(),
            machine: machine.into(),
            runs: runs.iter().map(|view| view.run.run.clone()).collect(),
            cases,
        }))
    }

    /// The margin that is possible for a case, where it is known.
    pub fn margin(&self, case: &str) -> Option<f64> {
        self.cases.iter().find(|one| one.case == case)?.margin
    }
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
                let times = |arm| alike(view, row, arm);
                Some([times(ARMS[0])?, times(ARMS[1])?])
            })
            .collect();
        let (levels, basis) = run_levels(row, &pairs, nights)?;
        let rounds = u32::try_from(pairs.last()?[0].len()).ok()?;
        let paired_sd = paired_sd(&pairs)?;
        Some(Self {
            case: row.case.clone(),
            sample_sd: sample_sd(samples),
            levels,
            basis,
            noise_floor: noise_floor(&pairs)?,
            detectable: detectable(&levels, paired_sd, rounds),
            margin: across(&levels, rounds, 1.0 - Rules::default().confidence),
        })
    }
}

/// Times of a case on an arm where it is the same work; `None` where it was not measured.
fn alike(view: &RunView, row: &CaseRow, arm: &str) -> Option<Vec<f64>> {
    let mut same = view.cases.iter().filter(|other| {
        other.case == row.case && other.arm == arm && other.definition == row.definition
    });
    let times = same.next()?.good_values(Metric::TIME);
    (times.len() >= 2).then_some(times)
}

fn run_levels(
    row: &CaseRow,
    pairs: &[[Vec<f64>; 2]],
    nights: &[RunView],
) -> Option<(Levels, RunBasis)> {
    let nights: Vec<Vec<f64>> = nights
        .iter()
        .filter_map(|view| alike(view, row, MAIN_ARM))
        .collect();
    if nights.len() >= MIN_NIGHTS {
        let runs = nights.len();
        return Some((levels(&nights)?, RunBasis::Nights { runs }));
    }
    let own: Vec<Vec<f64>> = pairs.iter().map(|[first, _]| first.clone()).collect();
    let runs = own.len();
    Some((levels(&own)?, RunBasis::Calibration { runs }))
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
        let pairs = a.len().min(b.len());
        let found = paired_log_ratio(&a[..pairs], &b[..pairs], Rules::default().confidence)?;
        Some((found.high / found.low).ln() / 2.0)
    };
    let widths: Vec<f64> = pairs.iter().filter_map(half_width).collect();
    Some(median(&widths)?.exp_m1())
}

/// What one night against a window finds at a level.
fn across(levels: &Levels, rounds: u32, level: f64) -> Option<f64> {
    let window = NIGHTS as u32;
    smallest_detectable_effect(
        levels.round_sd,
        rounds,
        levels.run_sd,
        window,
        1,
        level,
        POWER,
    )
}

/// What is both suspected and confirmed.
fn detectable(levels: &Levels, paired_sd: f64, rounds: u32) -> Option<f64> {
    let rules = Rules::default();
    let suspected = across(levels, rounds, rules.suspect_level)?;
    let level = rules.family_error / SUSPECTS;
    let confirmed =
        smallest_detectable_effect_interleaved(paired_sd, CONFIRMATION_PAIRS, level, POWER)?;
    Some(suspected.max(confirmed).max(rules.least_effect))
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
