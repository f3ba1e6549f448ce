//! Whether a later run is slower than an earlier one, from the medians of their rounds: pure numbers.
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
//!
//! A change is called only if it is beyond the margin and if its two-sided p-value, corrected by Holm over all
//! cases, is at most [`FAMILY_ERROR`]: as many false alarms per *reproduction*, not per case. "Unchanged" needs the
//! whole 95 % interval within the margin, and is rarely had from one run per side without a history.

use std::fmt::Write as _;

use assay_stats::{
    Interval, Position, RatioInterval, holm, median, position, ratio_across_runs, runs_needed,
};

use crate::{CONFIDENCE, Verdict};

/// What runs on one machine are taken to differ by, at least, where nothing is known: standard deviation of the logarithm.
/// Between the 0.5 % of a quiet machine and the 2 % of a shared one.
pub const RUN_SD: f64 = 0.015;

/// Chance of even one false "regressed" or "improved" in a whole reproduction, if runs differ no more than is taken.
pub const FAMILY_ERROR: f64 = 0.01;

/// Earlier runs of a series from which its own deviation is used.
pub const MIN_HISTORY: usize = 5;

/// Weight of what is taken against what the history shows, in degrees of freedom.
const PRIOR_WEIGHT: f64 = 2.0;

/// Efficiency of the median absolute deviation against the standard deviation, for normal data: so many degrees of freedom
/// each value is worth. Source: Huber 1981, Robust Statistics, section 5.1.
const MAD_EFFICIENCY: f64 = 0.37;

/// Cases from which the spread of their ratios says something of the machine.
pub const MIN_SUITE: usize = 6;

/// Turns a median absolute deviation into a standard deviation, for normal data.
const MAD_TO_SD: f64 = 1.4826;

/// Times of one case on both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Medians of the original's rounds.
    pub original: Vec<f64>,
    /// Medians of the reproduction's rounds.
    pub again: Vec<f64>,
    /// Estimates of earlier runs of the same series on the same machine, oldest first.
    pub history: Vec<f64>,
}

/// What is said of the speed of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// The verdict.
    pub verdict: Verdict,
    /// Reproduction over original with its 95 % interval; absent without two rounds on each side.
    pub ratio: Option<Interval>,
    /// Why, in words.
    pub note: String,
}

/// Judges all cases of a reproduction together. `margin` is the smallest effect that matters: 0.03 is 3 %.
pub fn judge(cases: &[Times], margin: f64) -> Vec<Speed> {
    let spreads: Vec<Option<Spread>> = cases.iter().map(Spread::of).collect();
    let inflation = inflation(&spreads);
    let compared: Vec<Option<Compared>> = cases
        .iter()
        .zip(&spreads)
        .map(|(times, spread)| Compared::of(times, spread.as_ref()?, inflation))
        .collect();
    let p_values: Vec<f64> = compared.iter().flatten().map(Compared::p_value).collect();
    let mut adjusted = holm(&p_values).unwrap_or_default().into_iter();
    let judged = cases
        .iter()
        .zip(compared)
        .map(|(times, compared)| match compared {
            Some(compared) => compared.judged(adjusted.next().unwrap_or(1.0), margin),
            None => Speed::unmeasured(times),
        });
    judged.collect()
}

/// What the rounds of both sides show.
struct Spread {
    /// Standard deviation of the logarithm between rounds.
    round_sd: f64,
    /// Logarithm of the ratio.
    log_ratio: f64,
    /// Standard error of that from the rounds alone.
    round_error: f64,
}

impl Spread {
    fn of(times: &Times) -> Option<Self> {
        let bare = ratio_across_runs(&times.original, &times.again, 0.0, CONFIDENCE)?;
        // The trimmed standard errors of both sides, turned back into the deviation of one round: one disturbed round
        // widens it little, many do.
        let (n, m) = (times.original.len() as f64, times.again.len() as f64);
        let round_sd = bare.log_standard_error / (1.0 / n + 1.0 / m).sqrt();
        Some(Self {
            round_sd,
            log_ratio: bare.ratio.ln(),
            round_error: bare.log_standard_error,
        })
    }

    fn taken_run_sd(&self) -> f64 {
        RUN_SD.max(self.round_sd)
    }

    fn taken_error(&self) -> f64 {
        self.round_error
            .hypot(std::f64::consts::SQRT_2 * self.taken_run_sd())
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
    median(&scores).map_or(1.0, |mad| (MAD_TO_SD * mad * certain).max(1.0))
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
    Some(MAD_TO_SD * median(&steps)? / std::f64::consts::SQRT_2)
}

/// The same interval for a deviation that was estimated with so many degrees of freedom, not known.
/// The quantile of Student's t from the normal one: Abramowitz and Stegun 1964, 26.7.5, with z for 95 %.
fn estimated_with(interval: &RatioInterval, degrees: f64) -> RatioInterval {
    let degrees = degrees.min(interval.degrees_of_freedom);
    let z: f64 = 1.959_964;
    let t = z
        + (z.powi(3) + z) / (4.0 * degrees)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * degrees.powi(2));
    let half_width = t * interval.log_standard_error;
    RatioInterval {
        low: interval.ratio * (-half_width).exp(),
        high: interval.ratio * half_width.exp(),
        degrees_of_freedom: degrees,
        ..*interval
    }
}

/// Where the deviation between runs comes from.
#[derive(Clone, Copy)]
enum Basis {
    History(usize),
    Taken,
}

struct Compared {
    interval: RatioInterval,
    round_sd: f64,
    run_sd: f64,
    rounds: u32,
    basis: Basis,
}

impl Compared {
    fn of(times: &Times, spread: &Spread, inflation: f64) -> Option<Self> {
        let taken = spread.taken_run_sd() * inflation;
        let compare = |run_sd| ratio_across_runs(&times.original, &times.again, run_sd, CONFIDENCE);
        let (run_sd, interval, basis) = match history_sd(&times.history) {
            Some(seen) => {
                let weight = MAD_EFFICIENCY * (times.history.len() - 1) as f64;
                let shares = [weight * seen.powi(2), PRIOR_WEIGHT * taken.powi(2)];
                let total = shares[0] + shares[1];
                let run_sd = (total / (weight + PRIOR_WEIGHT)).sqrt();
                // Only what was seen is uncertain (Satterthwaite 1946).
                let degrees = weight * (total / shares[0]).powi(2);
                let interval = estimated_with(&compare(run_sd)?, degrees);
                (run_sd, interval, Basis::History(times.history.len()))
            }
            None => (taken, compare(taken)?, Basis::Taken),
        };
        Some(Self {
            interval,
            round_sd: spread.round_sd,
            run_sd,
            rounds: times.original.len().min(times.again.len()) as u32,
            basis,
        })
    }

    fn p_value(&self) -> f64 {
        let one_sided = self
            .interval
            .p_value_above(1.0)
            .min(self.interval.p_value_below(1.0));
        (2.0 * one_sided).min(1.0)
    }

    fn judged(&self, adjusted: f64, margin: f64) -> Speed {
        let is_sure = adjusted <= FAMILY_ERROR;
        let verdict = if is_sure && self.interval.ratio > 1.0 + margin {
            Verdict::Regressed
        } else if is_sure && self.interval.ratio < 1.0 / (1.0 + margin) {
            Verdict::Improved
        } else if position(&self.interval, margin) == Position::Within {
            Verdict::Unchanged
        } else {
            Verdict::Inconclusive
        };
        Speed {
            verdict,
            ratio: Some(Interval {
                estimate: self.interval.ratio,
                low: self.interval.low,
                high: self.interval.high,
                confidence: self.interval.confidence,
            }),
            note: self.note(verdict, margin),
        }
    }

    fn note(&self, verdict: Verdict, margin: f64) -> String {
        let margin_shown = 100.0 * margin;
        let mut note = match verdict {
            Verdict::Regressed => format!("slower by more than the margin of {margin_shown:.1} %"),
            Verdict::Improved => format!("faster by more than the margin of {margin_shown:.1} %"),
            Verdict::Unchanged => {
                format!("the whole interval is within the margin of {margin_shown:.1} %")
            }
            Verdict::Inconclusive => {
                format!(
                    "one run per side cannot tell this from no change of more than {margin_shown:.1} %"
                )
            }
        };
        let run_sd = 100.0 * self.run_sd;
        // Writing to a string cannot fail.
        let _ = match self.basis {
            Basis::History(runs) => {
                write!(
                    note,
                    "; by {runs} earlier runs of this series, runs here differ by {run_sd:.1} %"
                )
            }
            Basis::Taken => write!(
                note,
                "; runs are taken to differ by {run_sd:.1} %, for want of {MIN_HISTORY} earlier ones of this series on this machine"
            ),
        };
        if verdict == Verdict::Inconclusive {
            let needed = runs_needed(self.round_sd, self.rounds, self.run_sd, margin, CONFIDENCE);
            let _ = match needed {
                Some(runs) => write!(
                    note,
                    "; {runs} runs per side of {} rounds would probably settle it",
                    self.rounds
                ),
                None => write!(
                    note,
                    "; this machine is too noisy for a margin of {margin_shown:.1} % (see `assay doctor`)"
                ),
            };
        }
        note
    }
}

impl Speed {
    /// Nothing can be said, for the reason given.
    pub fn unknown(note: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            ratio: None,
            note: note.into(),
        }
    }

    fn unmeasured(times: &Times) -> Self {
        let (original, again) = (times.original.len(), times.again.len());
        Self::unknown(if original < 2 || again < 2 {
            format!(
                "{original} good rounds in the original and {again} in the reproduction: at least 2 are needed on each side, and 6 are better"
            )
        } else {
            "the times of a side are not all finite and positive".into()
        })
    }
}
