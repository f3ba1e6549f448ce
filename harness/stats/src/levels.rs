//! Comparisons of runs, and how much of what differs is due to rounds and how much to runs.
//!
//! Here a run is the unit, not a round: the rounds of one run share its night (temperature, neighbours, placement of
//! memory), so that however many they are, they say nothing of another night. The variance between runs is therefore
//! estimated from runs, and is in every interval by construction. With too few runs for that there is
//! [`crate::ratio_across_runs`], which takes it from elsewhere.

use serde::{Deserialize, Serialize};

use crate::ratio::RatioInterval;
use crate::sample::{is_confidence, logarithms, mean_and_squares};
use crate::trimmed::location;

/// Fewer baseline runs than this do not show how much runs differ.
pub const MIN_BASELINE_RUNS: usize = 5;

/// Candidate over baseline; each side is some runs, each run the medians of its rounds.
///
/// Student's two-sample t interval with pooled variance on the values of the runs: a run's value is the mean logarithm of its
/// rounds, 20 % trimmed from six on. One candidate run is enough, since its deviation is taken to be that of the
/// baseline's runs; then this is the prediction interval for one more run. `None` for fewer than [`MIN_BASELINE_RUNS`]
/// baseline runs, no candidate, a run without rounds, any value not finite and positive, or a bad confidence.
///
/// Source: Student 1908, Biometrika 6(1), 1-25; Hahn and Meeker 1991, Statistical Intervals, section 4.7 (prediction); the run as the
/// unit: Kalibera and Jones 2013, "Rigorous Benchmarking in Reasonable Time", ISMM, section 6.
pub fn ratio_of_runs(
    baseline: &[Vec<f64>],
    candidate: &[Vec<f64>],
    confidence: f64,
) -> Option<RatioInterval> {
    if baseline.len() < MIN_BASELINE_RUNS || candidate.is_empty() || !is_confidence(confidence) {
        return None;
    }
    let (before, after) = (run_values(baseline)?, run_values(candidate)?);
    let (base_mean, base_squares) = mean_and_squares(&before);
    let (mean, squares) = mean_and_squares(&after);
    let (n, m) = (before.len() as f64, after.len() as f64);
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

/// The value of each run, as a logarithm.
fn run_values(runs: &[Vec<f64>]) -> Option<Vec<f64>> {
    runs.iter()
        .map(|rounds| location(&logarithms(rounds)?))
        .collect()
}
