//! What would settle an inconclusive comparison: more rounds, or more runs; and what a gate can find at all.
//!
//! The first two answers are for the friendliest truth, a ratio of exactly 1 that should be called equivalent; a true change
//! close to the margin needs more, one far from it less.

use crate::gate::{CONFIRMATION_PAIRS, Rules};
use crate::levels::FORECAST_FROM;
use crate::sample::{all_finite, is_confidence};
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

/// What the noise of one case lets a gate find with probability [`Noise::power`]: tonight against a full window of 20 nights, the newest two left
/// out, by the forecast of [`crate::ratio_of_values`]; then interleaved rounds, judged by [`crate::confirm`].
///
/// All standard deviations are of logarithms. Values are taken to be normal and nights to be independent: a drift leaves less.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Between the values of nights (see [`value_sd`]).
    pub value_sd: f64,
    /// Of one round as interleaved arms see it: that of the paired differences over √2.
    pub paired_sd: f64,
    /// How sure the answers are to hold, in (0, 1).
    pub power: f64,
}

/// Errors of the forecast that a window of 20 nights two nights before holds: 10, each worth 0.7 degrees of freedom.
const FORECAST_DEGREES: f64 = 7.0;

impl Noise {
    /// The smallest change, as a share, that is both suspected by [`crate::screen`] and confirmed among `suspects` of them.
    /// `None` for bad arguments.
    ///
    /// Each stage is given the root of the power. A change of just `least_effect` is estimated beyond it half of the time, so what is found surely is larger.
    pub fn detectable(&self, rules: &Rules, suspects: f64) -> Option<f64> {
        let power = self.power.sqrt();
        let (pairs, cut) = kept_and_cut(CONFIRMATION_PAIRS as usize);
        let cost = if cut > 0 { TRIMMING_COST } else { 1.0 };
        let confirmed = Stage {
            error: self.paired_sd * (2.0 * cost / f64::from(CONFIRMATION_PAIRS)).sqrt(),
            degrees: (pairs - 1) as f64,
        };
        let least = rules.least_effect.ln_1p();
        let reach = self
            .forecast()
            .finds(rules.suspect_level, least, power)?
            .max(confirmed.finds(rules.family_error / suspects, least, power)?);
        reach.is_finite().then(|| reach.exp_m1())
    }

    /// The smallest margin, as a share, that one night's interval of an unchanged case lies within. `None` for bad arguments.
    pub fn margin(&self, confidence: f64) -> Option<f64> {
        // Two ends, each of which may lie outside: half of what may fail for each.
        let power = f64::midpoint(1.0, self.power);
        let reach = self.forecast().reach(1.0 - confidence, power)?;
        reach.is_finite().then(|| reach.exp_m1())
    }

    fn forecast(&self) -> Stage {
        Stage {
            error: self.value_sd * (1.0 + 1.0 / FORECAST_FROM as f64).sqrt(),
            degrees: FORECAST_DEGREES,
        }
    }
}

/// A t test with its true standard error, which it estimates with some degrees of freedom.
struct Stage {
    error: f64,
    degrees: f64,
}

impl Stage {
    /// The change whose interval excludes 0, and as well whose estimate is beyond `least`, with this power each.
    fn finds(&self, level: f64, least: f64, power: f64) -> Option<f64> {
        let beyond = least + student::normal_quantile(power)? * self.error;
        Some(self.reach(level, power)?.max(beyond))
    }

    /// What lies beyond t · (estimated error) with this power: the noncentral t, approximated.
    /// Source: Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 26.7.10.
    fn reach(&self, level: f64, power: f64) -> Option<f64> {
        let t = student::quantile(1.0 - level / 2.0, self.degrees)?;
        let z = student::normal_quantile(power)?;
        let center = t * (1.0 - 1.0 / (4.0 * self.degrees));
        let spread = (1.0 + t.powi(2) / (2.0 * self.degrees)).sqrt();
        let is_usable = self.error.is_finite() && self.error >= 0.0;
        is_usable.then_some(self.error * (center + z * spread))
    }
}

/// Standard deviation between the values of runs (see [`crate::run_value`]), oldest first, as if none of them had changed.
/// `None` for fewer than two values, or any not finite.
///
/// From the differences of neighbours, of which a change widens one, and one disturbed run two; of every eight differences the largest
/// one is left out, and what that takes from normal values is put back. Source: von Neumann 1941, Annals of Mathematical
/// Statistics 12(4), 367-395; the second moment of the truncated normal: Johnson, Kotz and Balakrishnan 1994, section 13.10.1.
pub fn value_sd(values: &[f64]) -> Option<f64> {
    if values.len() < 2 || !all_finite(values) {
        return None;
    }
    let mut squares: Vec<f64> = values
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).powi(2))
        .collect();
    squares.sort_unstable_by(f64::total_cmp);
    let all = squares.len();
    let kept = all - all / DIFFERENCES_PER_CUT;
    let mean = squares[..kept].iter().sum::<f64>() / kept as f64;
    Some((mean / 2.0 / kept_moment(kept as f64 / all as f64)?).sqrt())
}

/// Of so many differences of neighbours the largest is left out.
const DIFFERENCES_PER_CUT: usize = 8;

/// Second moment of a standard normal value, given that it is among this share nearest to 0.
fn kept_moment(share: f64) -> Option<f64> {
    if share >= 1.0 {
        return Some(1.0);
    }
    let c = student::normal_quantile(f64::midpoint(1.0, share))?;
    let density = (-c.powi(2) / 2.0).exp() / std::f64::consts::TAU.sqrt();
    Some(1.0 - 2.0 * c * density / share)
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
