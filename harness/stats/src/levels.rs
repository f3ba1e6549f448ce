//! Comparisons of runs, and how much of what differs is due to rounds and how much to runs.
//!
//! Here a run is the unit, not a round: the rounds of one run share its night (temperature, neighbours, placement of
//! memory), so that however many they are, they say nothing of another night. The variance between runs is therefore
//! estimated from runs, and is in every interval by construction. With too few runs for that there is
//! [`crate::ratio_across_runs`], which takes it from elsewhere.

use serde::{Deserialize, Serialize};

use crate::changepoint::change_points;
use crate::ratio::RatioInterval;
use crate::sample::{all_finite, is_confidence, logarithms, mean_and_squares};
use crate::trimmed::location;

/// Fewer baseline runs than this do not show how much runs differ.
pub const MIN_BASELINE_RUNS: usize = 5;

/// The newest so many baseline runs say where the series is now.
pub const FORECAST_FROM: usize = 8;

/// From this many baseline runs on, the error of that forecast is known from the series itself.
pub const FORECAST_RUNS: usize = 2 * FORECAST_FROM;

/// Errors of overlapping forecasts are correlated: each is worth so many degrees of freedom (by simulation, see METHODOLOGY.md).
const FORECAST_WORTH: f64 = 0.7;

/// Candidate over baseline; each side is some runs, oldest first, each run the medians of its rounds.
///
/// A run's value is the mean logarithm of its rounds, 20 % trimmed from six on. Two rules, by what there is:
///
/// - One candidate run after at least [`FORECAST_RUNS`]: the candidate is compared with the mean of the newest
///   [`FORECAST_FROM`] runs, and the standard error is the root mean square of the errors that this same forecast, as far
///   ahead, made for every baseline run that has so many before it. Drift, runs that resemble their neighbours and runs in two modes are in
///   those errors, so the interval holds for them too.
/// - Otherwise Student's two-sample t interval with pooled variance: one candidate run is enough, since its deviation is taken
///   to be that of the baseline's; then this is the prediction interval for one more run. It assumes independent runs.
///
/// `gap` is how many runs lie between the last of the baseline and the candidate: the forecast is so much further ahead.
///
/// `None` for fewer than [`MIN_BASELINE_RUNS`] baseline runs, no candidate, a run without rounds, any value not finite and positive,
/// or a bad confidence.
///
/// Source: rolling-origin forecast errors: Tashman 2000, International Journal of Forecasting 16(4), 437-450; Student 1908, Biometrika
/// 6(1), 1-25; Hahn and Meeker 1991, Statistical Intervals, section 4.7 (prediction); the run as the unit: Kalibera and Jones
/// 2013, "Rigorous Benchmarking in Reasonable Time", ISMM, section 6.
pub fn ratio_of_runs(
    baseline: &[Vec<f64>],
    candidate: &[Vec<f64>],
    gap: usize,
    confidence: f64,
) -> Option<RatioInterval> {
    ratio_of_values(
        &run_values(baseline)?,
        &run_values(candidate)?,
        gap,
        confidence,
    )
}

/// As [`ratio_of_runs`], from the values of the runs, which are logarithms (see [`run_value`]).
pub fn ratio_of_values(
    baseline: &[f64],
    candidate: &[f64],
    gap: usize,
    confidence: f64,
) -> Option<RatioInterval> {
    let usable = all_finite(baseline) && all_finite(candidate) && is_confidence(confidence);
    if !usable || baseline.len() < MIN_BASELINE_RUNS {
        return None;
    }
    match candidate {
        [one] if baseline.len() >= FORECAST_RUNS + gap => {
            let (center, variance, errors) = forecast(baseline, gap);
            RatioInterval::from_logs(one - center, variance, FORECAST_WORTH * errors, confidence)
        }
        _ => pooled(baseline, candidate, confidence),
    }
}

/// The value of a run from its rounds' medians: mean logarithm, 20 % trimmed from six rounds on. `None` as for [`ratio_of_runs`].
pub fn run_value(rounds: &[f64]) -> Option<f64> {
    location(&logarithms(rounds)?)
}

/// Where the level that a baseline ends at surely began: the number of the first of its newest runs that are all after the last change of
/// level; `None` where the runs show no change surely, or too few would be left.
///
/// `values` are those of a baseline's runs, oldest first ([`run_value`]): the run that is judged must not be among them, so that what is chosen
/// does not depend on it. A change counts if [`change_points`] finds it, abrupt, as large as `least_effect` (0.01: 1 %), and if every run after it
/// is beyond every run before it: nights in two modes, or that resemble their neighbours, seldom are, and a whole window knows of them what
/// a part of it does not. What it costs in false alarms is measured in METHODOLOGY.md.
pub fn known_level(values: &[f64], least_effect: f64) -> Option<usize> {
    let found = change_points(values)?;
    let last = found.last()?;
    let matters = (last.after - last.before).abs() >= least_effect.ln_1p();
    let (before, after) = (&values[..last.earliest], &values[last.latest..]);
    let is_long = after.len() >= KNOWN_LEVEL_RUNS;
    (matters && !last.gradual && is_long && are_apart(before, after)).then_some(last.latest)
}

/// Whether all of one are beyond all of the other.
fn are_apart(one: &[f64], other: &[f64]) -> bool {
    let ends = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    };
    let ((low, high), (other_low, other_high)) = (ends(one), ends(other));
    high < other_low || other_high < low
}

/// Fewer runs since a change are no baseline of their own.
const KNOWN_LEVEL_RUNS: usize = MIN_BASELINE_RUNS;

/// Where the series is now, the mean square of the errors of that forecast in the past, and how many of them there are.
fn forecast(values: &[f64], gap: usize) -> (f64, f64, f64) {
    let mean = |window: &[f64]| window.iter().sum::<f64>() / FORECAST_FROM as f64;
    let errors = values.len() - FORECAST_FROM - gap;
    let squares: f64 = values
        .windows(FORECAST_FROM)
        .zip(&values[FORECAST_FROM + gap..])
        .map(|(before, next)| (next - mean(before)).powi(2))
        .sum();
    let newest = &values[values.len() - FORECAST_FROM..];
    (mean(newest), squares / errors as f64, errors as f64)
}

fn pooled(baseline: &[f64], candidate: &[f64], confidence: f64) -> Option<RatioInterval> {
    let (base_mean, base_squares) = mean_and_squares(baseline);
    let (mean, squares) = mean_and_squares(candidate);
    let (n, m) = (baseline.len() as f64, candidate.len() as f64);
    let degrees_of_freedom = n + m - 2.0;
    let variance = (base_squares + squares) / degrees_of_freedom;
    RatioInterval::from_logs(
        mean - base_mean,
        variance * (1.0 / n + 1.0 / m),
        degrees_of_freedom,
        confidence,
    )
}

/// Standard deviations of logarithms at two levels: 0.01 is about 1 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// Between rounds of one run.
    pub round_sd: f64,
    /// Between runs, without what their rounds explain; 0 where the rounds explain all.
    pub run_sd: f64,
    /// How many runs this rests on.
    pub runs: usize,
    /// How many rounds, in all.
    pub rounds: usize,
}

/// How much rounds and runs differ; each run is the medians of its rounds.
///
/// The moments of the one-way random-effects model for groups of unequal size: within-run mean square `MSW` is the rounds' variance and
/// max(0, (`MSB` - `MSW`) / `n₀`) the runs', with `n₀ = (N - Σ nᵢ² / N) / (k - 1)`. `None` for fewer than two runs, no run with two rounds, or any value not finite and positive.
///
/// Source: Searle, Casella and `McCulloch` 1992, Variance Components, section 3.6.
pub fn levels(runs: &[Vec<f64>]) -> Option<Levels> {
    let logs: Vec<Vec<f64>> = runs
        .iter()
        .map(|run| logarithms(run))
        .collect::<Option<_>>()?;
    let count: usize = logs.iter().map(Vec::len).sum();
    let groups = logs.len();
    if groups < 2 || count <= groups {
        return None;
    }
    let parts: Vec<(f64, f64, f64)> = logs
        .iter()
        .map(|run| {
            let (mean, squares) = mean_and_squares(run);
            (run.len() as f64, mean, squares)
        })
        .collect();
    let total = count as f64;
    let mean = parts.iter().map(|(n, mean, _)| n * mean).sum::<f64>() / total;
    let within = parts.iter().map(|part| part.2).sum::<f64>() / (count - groups) as f64;
    let between = parts
        .iter()
        .map(|(n, own, _)| n * (own - mean).powi(2))
        .sum::<f64>()
        / (groups - 1) as f64;
    let typical = (total - parts.iter().map(|part| part.0.powi(2)).sum::<f64>() / total)
        / (groups - 1) as f64;
    Some(Levels {
        round_sd: within.sqrt(),
        run_sd: ((between - within) / typical).max(0.0).sqrt(),
        runs: groups,
        rounds: count,
    })
}

fn run_values(runs: &[Vec<f64>]) -> Option<Vec<f64>> {
    runs.iter().map(|rounds| run_value(rounds)).collect()
}
