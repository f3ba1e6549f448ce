//! How much two sides of few runs differ, one run each as a rule: pure numbers.
//!
//! Two single runs show how much rounds differ, and nothing of how much runs do: another hour, another
//! boot, another neighbour on a shared machine. So the deviation between runs comes from elsewhere:
//!
//! 1. from at least [`MIN_HISTORY`] earlier runs of the series on that machine, shrunk towards 2;
//! 2. else it is taken to be [`RUN_SD`], or the deviation between these very rounds where that is larger:
//!    what moves within a minute moves no less over a night;
//! 3. and it is raised for all cases alike if, among at least [`MIN_SUITE`] cases, the ratios lie further
//!    from their common middle than 1 and 2 explain: a machine that is noisier between runs than within
//!    them shows it there.

use assay_stats::summary::MAD_TO_STANDARD_DEVIATION;
use assay_stats::{median, ratio_across_runs};

use crate::CONFIDENCE;
use crate::effect::{Effect, Origin};

/// What runs on one machine are taken to differ by, at least, where nothing is known: standard deviation of the logarithm.
/// Between the 0.5 % of a quiet machine and the 2 % of a shared one.
pub const RUN_SD: f64 = 0.015;

/// Earlier runs of a series from which its own deviation is used.
pub const MIN_HISTORY: usize = 5;

/// Cases from which the spread of their ratios says something of the machine.
pub const MIN_SUITE: usize = 6;

/// Weight of what is taken against what the history shows, in degrees of freedom.
const PRIOR_WEIGHT: f64 = 2.0;

/// Efficiency of the median absolute deviation against the standard deviation, for normal data: so many degrees of freedom
/// each value is worth. Source: Huber 1981, Robust Statistics, section 5.1.
const MAD_EFFICIENCY: f64 = 0.37;

/// One metric of one case on both sides: per run the medians of its rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Runs of the baseline.
    pub baseline: Vec<Vec<f64>>,
    /// Runs of the candidate.
    pub candidate: Vec<Vec<f64>>,
    /// Estimates of earlier runs of the same series on the same machine, oldest first.
    pub history: Vec<f64>,
}

impl Times {
    /// How many rounds each side has.
    pub fn rounds(&self) -> [usize; 2] {
        [&self.baseline, &self.candidate].map(|runs| runs.iter().map(Vec::len).sum())
    }
}

/// Candidate over baseline for all cases of a suite together; `None` with fewer than two rounds on a side, or values that
/// are not finite and positive.
pub(crate) fn effects(cases: &[Times]) -> Vec<Option<Effect>> {
    let spreads: Vec<Option<Spread>> = cases.iter().map(Spread::of).collect();
    let inflation = inflation(&spreads);
    cases
        .iter()
        .zip(&spreads)
        .map(|(times, spread)| effect(times, spread.as_ref()?, inflation))
        .collect()
}

fn effect(times: &Times, spread: &Spread, inflation: f64) -> Option<Effect> {
    let taken = spread.taken_run_sd() * inflation;
    let compare = |run_sd: f64| {
        let of_mean = run_sd * spread.share_of_run_sd;
        ratio_across_runs(&spread.baseline, &spread.candidate, of_mean, CONFIDENCE)
    };
    let (run_sd, interval, origin) = match history_sd(&times.history) {
        Some(seen) => {
            let weight = MAD_EFFICIENCY * (times.history.len() - 1) as f64;
            let shares = [weight * seen.powi(2), PRIOR_WEIGHT * taken.powi(2)];
            let total = shares[0] + shares[1];
            let run_sd = (total / (weight + PRIOR_WEIGHT)).sqrt();
            // Only what was seen is uncertain (Satterthwaite 1946).
            let degrees = weight * (total / shares[0]).powi(2);
            let interval = compare(run_sd)?.with_degrees_of_freedom(degrees);
            (run_sd, interval, Origin::History(times.history.len()))
        }
        None => (taken, compare(taken)?, Origin::Taken),
    };
    let shortest = times.baseline.iter().chain(&times.candidate).map(Vec::len);
    Some(Effect {
        interval,
        round_sd: spread.round_sd,
        run_sd,
        rounds: shortest.min().unwrap_or(0) as u32,
        origin,
    })
}

/// What the rounds of both sides show.
struct Spread {
    /// Rounds of the baseline, of all its runs.
    baseline: Vec<f64>,
    /// Rounds of the candidate.
    candidate: Vec<f64>,
    /// What the deviation between runs counts for, against one run per side.
    share_of_run_sd: f64,
    /// Standard deviation of the logarithm between rounds.
    round_sd: f64,
    /// Logarithm of the ratio.
    log_ratio: f64,
    /// Standard error of that from the rounds alone.
    round_error: f64,
}

impl Spread {
    fn of(times: &Times) -> Option<Self> {
        let [baseline, candidate] = [&times.baseline, &times.candidate].map(|runs| runs.concat());
        let bare = ratio_across_runs(&baseline, &candidate, 0.0, CONFIDENCE)?;
        // The trimmed standard errors of both sides, turned back into the deviation of one round: one disturbed round
        // widens it little, many do.
        let (n, m) = (baseline.len() as f64, candidate.len() as f64);
        let round_sd = bare.log_standard_error / (1.0 / n + 1.0 / m).sqrt();
        let of_runs = [times.baseline.len(), times.candidate.len()].map(|runs| 1.0 / runs as f64);
        Some(Self {
            share_of_run_sd: f64::midpoint(of_runs[0], of_runs[1]).sqrt(),
            round_sd,
            log_ratio: bare.ratio.ln(),
            round_error: bare.log_standard_error,
            baseline,
            candidate,
        })
    }

    fn taken_run_sd(&self) -> f64 {
        RUN_SD.max(self.round_sd)
    }

    fn taken_error(&self) -> f64 {
        let of_runs = std::f64::consts::SQRT_2 * self.taken_run_sd() * self.share_of_run_sd;
        self.round_error.hypot(of_runs)
    }
}

/// How much further the ratios lie from their middle than is explained; at least 1. The middle, not 1: a change that all
/// cases share is for the reader to see, not for this to hide. The lower end of a 95 % interval, so that chance alone seldom
/// raises it: from n values the deviation is known to about 1 / √(2 · 0.37 n) of itself.
fn inflation(spreads: &[Option<Spread>]) -> f64 {
    let known: Vec<&Spread> = spreads.iter().flatten().collect();
    let logs: Vec<f64> = known.iter().map(|spread| spread.log_ratio).collect();
    let Some(middle) = median(&logs).filter(|_| known.len() >= MIN_SUITE) else {
        return 1.0;
    };
    let scores: Vec<f64> = known
        .iter()
        .map(|spread| ((spread.log_ratio - middle) / spread.taken_error()).abs())
        .collect();
    let error = 1.0 / (2.0 * MAD_EFFICIENCY * known.len() as f64).sqrt();
    let certain = (1.0 - 1.645 * error).max(0.0);
    median(&scores).map_or(1.0, |mad| {
        (MAD_TO_STANDARD_DEVIATION * mad * certain).max(1.0)
    })
}

/// Deviation between neighbouring runs; `None` with too few. Differences of neighbours, and their median: a change some
/// time ago widens one of them only (after von Neumann 1941, Annals of Mathematical Statistics 12(4), 367-395).
fn history_sd(history: &[f64]) -> Option<f64> {
    let is_usable = |time: &f64| time.is_finite() && *time > 0.0;
    if history.len() < MIN_HISTORY || !history.iter().all(is_usable) {
        return None;
    }
    let steps: Vec<f64> = history
        .windows(2)
        .map(|pair| (pair[1] / pair[0]).ln().abs())
        .collect();
    Some(MAD_TO_STANDARD_DEVIATION * median(&steps)? / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use assay_protocol::Philox;

    use super::*;

    /// Runs that differ as much as is taken, so that only the estimate from the history is on trial.
    #[test]
    fn intervals_from_a_short_history_hold_the_truth() {
        let random = Philox::new(1, 0);
        let mut next = 0;
        let mut normal = || {
            next += 2;
            let unit = |at| (f64::from(random.word(at)) + 0.5) / 4_294_967_296.0;
            (-2.0 * unit(next).ln()).sqrt() * (std::f64::consts::TAU * unit(next + 1)).cos()
        };
        let mut run = |rounds| -> Vec<f64> {
            let night = RUN_SD * normal();
            (0..rounds)
                .map(|_| (night + 0.003 * normal()).exp())
                .collect()
        };
        for runs in [5, 8, 20] {
            let held = (0..4_000).filter(|_| {
                let times = Times {
                    history: (0..runs).filter_map(|_| median(&run(6))).collect(),
                    baseline: vec![run(6)],
                    candidate: vec![run(6)],
                };
                let found = effects(&[times]).remove(0).unwrap().interval;
                let agrees = found.contains(1.0) == (found.p_value() >= 0.05);
                assert!(agrees, "{found:?} has p = {}", found.p_value());
                found.contains(1.0)
            });
            let share = held.count() as f64 / 4_000.0;
            println!("after {runs} runs 95 % intervals hold the truth in {share:.3}");
            assert!((0.935..=0.985).contains(&share), "{runs}: {share}");
        }
    }
}
