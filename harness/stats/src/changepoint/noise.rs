//! The noise that a level stands in: the variance of nights, and how much of it their memory hides.
//!
//! Runs that resemble their neighbours make the mean of n nights less sure than n independent ones would. What counts is the
//! long-run variance: the variance times 1 + 2 Σ ρ(k).

use super::fit::Fit;
use super::sums::{Stretch, Sums};
use crate::effective_sample_size;

/// Correlation of neighbouring nights that is believed at most. Beyond it an estimate from one series cannot tell memory
/// from season or drift, and 1 / (1 - ρ) runs away; the sum of all correlations decides there. Near the limits
/// that are used for prewhitening (Sul, Phillips and Choi 2005, Oxford Bulletin 67(4), use 1 - 1/√n: 0.82 at 30 nights).
const STRONGEST_MEMORY: f64 = 0.8;

/// The noise around a fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    /// Variance of one night.
    pub variance: f64,
    /// By how much more a noisy short piece makes the step unsure than the same noise everywhere would, at least 1.
    pub imbalance: f64,
    /// By how much the memory of nights inflates the variance of their mean, at least 1.
    pub inflation: f64,
    /// Degrees of freedom of `variance`, in nights.
    pub degrees_of_freedom: f64,
}

impl Noise {
    /// The noise around a fit; `None` if there are no nights left to tell.
    ///
    /// The inflation is the larger of two: (1 + ρ) / (1 - ρ) with the correlation of neighbours, and the whole series of
    /// correlations as long as it is positive ([`effective_sample_size`]). The first sees short series better, the
    /// second sees drift.
    pub fn around(fit: &Fit, sums: &Sums) -> Option<Self> {
        let residuals = fit.residuals(sums);
        let nights = residuals.len() as f64;
        let fitted = fit.shape.parameters() * (fit.cuts.len() + 1) as f64;
        let degrees_of_freedom = nights - fitted - 1.0;
        let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
        if degrees_of_freedom < 1.0 {
            return None;
        }
        let memory = memory(&residuals, squares, fitted);
        let inflation = (1.0 + memory) / (1.0 - memory);
        Some(Self {
            variance: squares / degrees_of_freedom,
            imbalance: imbalance(fit, sums),
            inflation: inflation.max(nights / effective_sample_size(&residuals)?),
            degrees_of_freedom,
        })
    }

    /// Long-run variance: what the squared error of a mean of n nights is, times n.
    pub fn long_run(self) -> f64 {
        self.variance * self.imbalance * self.inflation
    }

    /// Degrees of freedom that are left when nights repeat each other.
    pub fn effective_degrees_of_freedom(self) -> f64 {
        (self.degrees_of_freedom / self.inflation).max(1.0)
    }
}

/// The correlation of neighbouring nights: corrected for what fitting took away, and one standard error above that,
/// since too low a value makes false changes and too high a value only costs a little power.
///
/// Source: bias -(1 + 3 ρ) / n per fitted number, Marriott and Pope 1954, Biometrika 41(3/4), 390-402; standard error
/// √((1 - ρ²) / n), Bartlett 1946, Supplement to the JRSS 8(1), 27-41.
fn memory(residuals: &[f64], squares: f64, fitted: f64) -> f64 {
    if squares == 0.0 {
        return 0.0;
    }
    let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let found = products / squares;
    let lost = fitted / residuals.len() as f64;
    let corrected = (found + lost) / (1.0 - 3.0 * lost).max(0.25);
    let error = ((1.0 - found * found).max(0.0) / residuals.len() as f64).sqrt();
    (corrected + error).clamp(0.0, STRONGEST_MEMORY)
}

/// The squared error of a step between two sides with noise of their own over that with shared noise, at least 1.
///
/// A few wild nights in a row look like a step; that they are wild shows in their differences, which the step itself
/// and at most one other change leave alone. Source: Welch 1938, Biometrika 29(3/4), 350-362, with variances from successive differences
/// (von Neumann et al. 1941, Annals of Mathematical Statistics 12(2), 153-162).
fn imbalance(fit: &Fit, sums: &Sums) -> f64 {
    if fit.cuts.is_empty() {
        return 1.0;
    }
    let pieces = fit.pieces();
    let inside = |place: usize| place == 1;
    let [one, other] = [false, true].map(|wanted| {
        let side = pieces.iter().enumerate();
        side.filter(|(place, _)| inside(*place) == wanted)
            .map(|(_, &piece)| Differences::of(sums.values(piece), 1).without_largest())
            .fold(Differences::default(), Differences::with)
    });
    let shared = one.with(other).mean();
    let (nights, other_nights) = (one.nights as f64, other.nights as f64);
    let own = one.mean() / nights + other.mean() / other_nights;
    let found = own / (shared * (1.0 / nights + 1.0 / other_nights));
    if shared > 0.0 { found.max(1.0) } else { 1.0 }
}

/// Squared differences of nights a lag apart.
#[derive(Clone, Copy, Debug, Default)]
struct Differences {
    squares: f64,
    largest: f64,
    count: usize,
    nights: usize,
}

impl Differences {
    fn of(values: &[f64], lag: usize) -> Self {
        let pairs = values.iter().zip(&values[lag..]);
        let squares = pairs.map(|(early, late)| (late - early).powi(2));
        Self {
            squares: squares.clone().sum(),
            largest: squares.fold(0.0, f64::max),
            count: values.len() - lag,
            nights: values.len(),
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            squares: self.squares + other.squares,
            largest: self.largest.max(other.largest),
            count: self.count + other.count,
            nights: self.nights + other.nights,
        }
    }

    /// Without the one largest, which may be a change.
    fn without_largest(self) -> Self {
        Self {
            squares: self.squares - self.largest,
            largest: 0.0,
            count: self.count - 1,
            ..self
        }
    }

    fn mean(self) -> f64 {
        self.squares / self.count as f64
    }
}

/// Long-run variance from the differences of nights alone, which neither a step nor a drift inflates: with an AR(1)
/// noise the mean squared differences over one and two nights are in the ratio 1 : 1 + ρ.
///
/// Source: Chakar et al. 2017, "A robust approach for estimating change-points in the mean of an AR(1) process",
/// Bernoulli 23(2), section 2, with means for medians because the series is free of spikes here.
pub(super) fn long_run_from_differences(sums: &Sums, stretch: Stretch) -> f64 {
    let values = sums.values(stretch);
    let [one, two] = [1, 2].map(|lag| Differences::of(values, lag).mean());
    if one == 0.0 {
        return 0.0;
    }
    let memory = (two / one - 1.0).clamp(0.0, STRONGEST_MEMORY);
    one / 2.0 * (1.0 + memory) / (1.0 - memory).powi(2)
}
