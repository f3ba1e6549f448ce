//! How much samples that follow one another repeat each other.
//!
//! Intervals here assume independent samples; correlated ones count for less, and these functions say how much less.

use crate::sample::{all_finite, mean_and_squares};

/// Correlations are summed up to this lag, which bounds the cost for series that never lose their memory.
const LONGEST_LAG: usize = 1000;

/// The correlation of each sample with the next, in \[-1, 1\]; 0 for samples that are all equal. `None` for
/// fewer than two samples or any not finite.
///
/// Source: Box and Jenkins 1976, Time Series Analysis, equation 2.1.13 (divisor n at every lag).
pub fn lag_one(samples: &[f64]) -> Option<f64> {
    let series = Centered::of(samples)?;
    (samples.len() >= 2).then(|| series.correlation(1))
}

/// How many independent samples these are worth for their mean, in \[1, n\]. `None` if there are none or any is not finite.
///
/// n / (2 Σ Γ(m) - 1), where Γ(m) = ρ(2m) + ρ(2m+1) is summed while positive, each at most the one
/// before. Negative correlation would
/// give more than n; that is capped, since nobody should stop earlier for it.
///
/// Source: Geyer 1992, "Practical Markov Chain Monte Carlo", Statistical Science 7(4), section 3.3, initial monotone sequence.
pub fn effective_sample_size(samples: &[f64]) -> Option<f64> {
    let series = Centered::of(samples)?;
    let count = samples.len();
    let pairs = (count / 2).min(LONGEST_LAG / 2);
    let mut least = f64::INFINITY;
    let sum: f64 = (0..pairs)
        .map(|pair| series.correlation(2 * pair) + series.correlation(2 * pair + 1))
        .take_while(|&correlation| correlation > 0.0)
        .map(|correlation| {
            least = least.min(correlation);
            least
        })
        .sum();
    let time = (2.0 * sum - 1.0).max(1.0);
    Some((count as f64 / time).max(1.0))
}

/// Samples without their mean, and the sum of their squares.
struct Centered {
    deviations: Vec<f64>,
    squares: f64,
}

impl Centered {
    fn of(samples: &[f64]) -> Option<Self> {
        if !all_finite(samples) {
            return None;
        }
        let (mean, squares) = mean_and_squares(samples);
        Some(Self {
            deviations: samples.iter().map(|sample| sample - mean).collect(),
            squares,
        })
    }

    /// Autocorrelation at a lag; 1 at lag 0, and 0 elsewhere for samples that are all equal.
    fn correlation(&self, lag: usize) -> f64 {
        if lag == 0 {
            return 1.0;
        }
        if self.squares == 0.0 || lag >= self.deviations.len() {
            return 0.0;
        }
        let products: f64 = self
            .deviations
            .iter()
            .zip(&self.deviations[lag..])
            .map(|(early, late)| early * late)
            .sum();
        products / self.squares
    }
}
