//! Where warm-up ends: the first sample from which a round is steady.
//!
//! The rule is stated on [`steady_from`]. It judges one round after (or while) it is measured and drops nothing:
//! the caller keeps the samples before the index and flags them. A round that drifts to its end has no such index.
//!
//! It is in the family of Barrett et al. 2017, "Virtual Machine Warmup Blows Hot and Cold", OOPSLA, which
//! showed that a fixed count of warm-up samples is wrong and that many processes never settle; change points
//! there, medians against the tail's median here, because they are cheap and indifferent to outliers.

use crate::sample::all_finite;
use crate::summary::{MAD_TO_STANDARD_DEVIATION, median};

/// Fewer samples than this cannot show that they are steady.
pub const MINIMUM_SAMPLES: usize = 8;

/// A difference that never matters, as a share of the steady level.
const TOLERANCE: f64 = 0.02;

/// How many standard errors of noise a difference may have besides.
const NOISE_WIDTHS: f64 = 4.0;

/// Standard error of a median over that of a mean, for normal data: sqrt(pi / 2).
const MEDIAN_INEFFICIENCY: f64 = 1.253_314_137_315_5;

/// The index of the first steady sample; `None` if the round never settled, has fewer than
/// [`MINIMUM_SAMPLES`], or holds a value that is not finite.
///
/// The rule: the last half of the round is its steady part, if the medians of its two quarters differ by
/// no more than 2 % plus four standard errors (noise from the median absolute deviation without drift or step). Its median
/// is the level. Warm-up ends at the first sample that is itself within 2 % plus four standard deviations of
/// that level and starts a window (an eighth of the round, 3 to 50 samples) whose median is within 2 %
/// plus four standard errors of it; at the latest at the middle. Slower and faster starts count alike.
/// O(n) when steady from the start, O(50 n) at worst.
pub fn steady_from(times: &[f64]) -> Option<usize> {
    if times.len() < MINIMUM_SAMPLES || !all_finite(times) {
        return None;
    }
    let middle = times.len() / 2;
    let level = Level::of_settled(&times[middle..])?;
    let window = (times.len() / 8).clamp(3, 50);
    let is_steady = |&start: &usize| {
        level.is_typical(times[start]) && level.holds_for(&times[start..start + window])
    };
    Some((0..middle).find(is_steady).unwrap_or(middle))
}

/// The steady level and the noise of single samples around it, in the unit of the samples.
struct Level {
    center: f64,
    noise: f64,
}

impl Level {
    /// The level of a tail, or `None` if its two halves disagree.
    fn of_settled(tail: &[f64]) -> Option<Self> {
        let (earlier, later) = tail.split_at(tail.len() / 2);
        let (before, after) = (median(earlier)?, median(later)?);
        let level = Self {
            center: median(tail)?,
            noise: noise(tail, before, after)?,
        };
        let errors = level
            .median_error(earlier.len())
            .hypot(level.median_error(later.len()));
        ((before - after).abs() <= level.allowance(errors)).then_some(level)
    }

    /// Whether one sample could belong to the steady part.
    fn is_typical(&self, time: f64) -> bool {
        (time - self.center).abs() <= self.allowance(self.noise)
    }

    /// Whether the median of a window agrees with the level.
    fn holds_for(&self, window: &[f64]) -> bool {
        median(window).is_some_and(|found| {
            (found - self.center).abs() <= self.allowance(self.median_error(window.len()))
        })
    }

    fn allowance(&self, error: f64) -> f64 {
        TOLERANCE * self.center.abs() + NOISE_WIDTHS * error
    }

    fn median_error(&self, count: usize) -> f64 {
        MEDIAN_INEFFICIENCY * self.noise / (count as f64).sqrt()
    }
}

/// Robust standard deviation of a tail around what its two halves' medians say: the smaller of that around a step
/// between them and that around a line through them, so that neither a step nor a drift hides itself as noise.
fn noise(tail: &[f64], before: f64, after: f64) -> Option<f64> {
    let half = tail.len() / 2;
    let centers_apart = tail.len() as f64 / 2.0;
    let first_center = (half as f64 - 1.0) / 2.0;
    let step = |index: usize| if index < half { before } else { after };
    let line =
        |index: usize| before + (after - before) * (index as f64 - first_center) / centers_apart;
    let around_step = median_deviation(tail, step)?;
    let around_line = median_deviation(tail, line)?;
    Some(MAD_TO_STANDARD_DEVIATION * around_step.min(around_line))
}

/// Median absolute deviation from a center that depends on the index.
fn median_deviation(samples: &[f64], center: impl Fn(usize) -> f64) -> Option<f64> {
    let deviations = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| (sample - center(index)).abs());
    median(&deviations.collect::<Vec<_>>())
}
