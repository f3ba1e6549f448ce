//! What would settle an inconclusive comparison: more rounds, or more runs.
//!
//! Both answers are for the friendliest truth, a ratio of exactly 1 that should be called equivalent; a true change
//! close to the margin needs more, one far from it less.

use crate::levels::MIN_BASELINE_RUNS;
use crate::sample::is_confidence;
use crate::student;
use crate::trimmed::kept_and_cut;

/// The chance that the planned comparison does settle it.
const POWER: f64 = 0.8;

/// Variance of the 20 % trimmed mean over that of the mean, for many normal values: (∫x²φ over the middle 60 % + 0.4 z²) / 0.36
/// with z = Φ⁻¹(0.8). Source: Huber 1981, Robust Statistics, section 3.3.
const TRIMMING_COST: f64 = 1.145;

/// More than this is no advice.
const MOST: u32 = 1_000;

/// Rounds per side, in all, with which equal code on two single runs would be called within `margin`, four times in five.
///
/// `round_sd` and `run_to_run_sd` are standard deviations of logarithms, between rounds of one run and between
/// runs (0 for interleaved arms; then `round_sd` is that of the paired differences over √2). `None` if the
/// variance between runs alone forbids it (see [`runs_needed`]), if it takes more than 1,000, or for bad arguments.
///
/// Smallest n with (t(1 + confidence)/2 + z(1 - β/2)) · standard error ≤ ln(1 + margin), β = 0.2. Source: Chow, Shao and Wang
/// 2008, Sample Size Calculations in Clinical Research, 2nd ed., section 3.2.3, with Satterthwaite's t instead of z.
pub fn rounds_needed(
    round_sd: f64,
    run_to_run_sd: f64,
    margin: f64,
    confidence: f64,
) -> Option<u32> {
    let plan = Plan::new(round_sd, run_to_run_sd, margin, confidence)?;
    smallest(|rounds| plan.settles(rounds, 1))
}

/// Runs per side, in all, each of `rounds_per_run` rounds, that would settle it as in [`rounds_needed`].
/// `None` if it takes more than 1,000, for fewer than two rounds per run, or for bad arguments.
pub fn runs_needed(
    round_sd: f64,
    rounds_per_run: u32,
    run_to_run_sd: f64,
    margin: f64,
    confidence: f64,
) -> Option<u32> {
    let plan = Plan::new(round_sd, run_to_run_sd, margin, confidence)?;
    smallest(|runs| plan.settles(rounds_per_run, runs))
}

/// The smallest change, as a share, that a comparison of runs finds with probability `power` at a two-sided `level`: one side's
/// mean of `candidate_runs` runs against `baseline_runs`, each of `rounds` rounds. 0.02 is 2 %.
///
/// `round_sd` and `run_sd` are standard deviations of logarithms between rounds and between runs; the result holds for the t interval
/// of [`crate::ratio_of_runs`]. `None` for fewer than 5 baseline runs, none on the other side, no rounds, or bad arguments.
///
/// (t(1 - level/2) + t(power)) · standard error. Source: Chow, Shao and Wang 2008, section 3.2.1, with t for z.
pub fn smallest_detectable_effect(
    round_sd: f64,
    rounds: u32,
    run_sd: f64,
    baseline_runs: u32,
    candidate_runs: u32,
    level: f64,
    power: f64,
) -> Option<f64> {
    if (baseline_runs as usize) < MIN_BASELINE_RUNS || candidate_runs == 0 || rounds == 0 {
        return None;
    }
    let run_variance = run_sd.powi(2) + round_sd.powi(2) / f64::from(rounds);
    let sides = 1.0 / f64::from(baseline_runs) + 1.0 / f64::from(candidate_runs);
    let degrees_of_freedom = f64::from(baseline_runs + candidate_runs - 2);
    detectable(run_variance * sides, degrees_of_freedom, level, power)
}

/// The same for two interleaved arms of `pairs` rounds each, where `round_sd` is the deviation of one round: of the paired
/// differences over √2. `None` for fewer than two pairs or bad arguments.
pub fn smallest_detectable_effect_interleaved(
    round_sd: f64,
    pairs: u32,
    level: f64,
    power: f64,
) -> Option<f64> {
    let squared_error = 2.0 * round_sd.powi(2) / f64::from(pairs);
    detectable(
        squared_error,
        f64::from(pairs.checked_sub(1)?),
        level,
        power,
    )
}

fn detectable(squared_error: f64, degrees_of_freedom: f64, level: f64, power: f64) -> Option<f64> {
    let is_usable = squared_error.is_finite() && squared_error >= 0.0 && degrees_of_freedom >= 1.0;
    let reach = student::quantile(1.0 - level / 2.0, degrees_of_freedom)?
        + student::quantile(power, degrees_of_freedom)?;
    is_usable.then(|| (reach * squared_error.sqrt()).exp_m1())
}

struct Plan {
    round_variance: f64,
    run_variance: f64,
    log_margin: f64,
    confidence: f64,
}

impl Plan {
    fn new(round_sd: f64, run_to_run_sd: f64, margin: f64, confidence: f64) -> Option<Self> {
        let is_usable = [round_sd, run_to_run_sd, margin]
            .iter()
            .all(|value| value.is_finite() && *value >= 0.0);
        (is_usable && margin > 0.0 && is_confidence(confidence)).then(|| Self {
            round_variance: round_sd.powi(2),
            run_variance: run_to_run_sd.powi(2),
            log_margin: margin.ln_1p(),
            confidence,
        })
    }

    /// Whether this many rounds in each of this many runs per side are enough.
    fn settles(&self, rounds: u32, runs: u32) -> bool {
        if rounds < 2 {
            return false;
        }
        let (kept, cut) = kept_and_cut(rounds as usize);
        let cost = if cut > 0 { TRIMMING_COST } else { 1.0 };
        let from_rounds = 2.0 * cost * self.round_variance / (f64::from(rounds) * f64::from(runs));
        let squared_error = from_rounds + 2.0 * self.run_variance / f64::from(runs);
        let estimated_with = 2.0 * f64::from(runs) * (kept - 1) as f64;
        let degrees_of_freedom = if from_rounds > 0.0 {
            estimated_with * (squared_error / from_rounds).powi(2)
        } else {
            student::NORMAL_FROM
        };
        let reach = student::two_sided(self.confidence, degrees_of_freedom)
            .zip(student::normal_quantile(f64::midpoint(1.0, POWER)))
            .map_or(f64::INFINITY, |(error, power)| error + power);
        reach * squared_error.sqrt() <= self.log_margin
    }
}

/// The smallest count that settles it, up to [`MOST`].
fn smallest(settles: impl Fn(u32) -> bool) -> Option<u32> {
    if !settles(MOST) {
        return None;
    }
    (1..=MOST).find(|&count| settles(count))
}
