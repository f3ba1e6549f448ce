//! Exact samplers of integers: discrete Laplace and discrete Gaussian noise, without floating point.
//!
//! Source: C. Canonne, G. Kamath, T. Steinke, "The Discrete Gaussian for Differential Privacy", `NeurIPS` 2020,
//! algorithms 1 to 3. All probabilities are quotients of integers, and every comparison is exact.

use super::super::random::Bits;
use super::PrivacyError;

/// What is drawn where data are private: of bits as it should be, and in audits of whole fits with a fault.
pub trait Sampler {
    /// [`laplace`].
    fn laplace(&mut self, scale: Rational) -> i64;
    /// [`gaussian`].
    fn gaussian(&mut self, variance: Rational) -> i64;
    /// [`choose`].
    fn choose(&mut self, scores: &[i64], epsilon: f64) -> usize;
}

impl<B: Bits> Sampler for B {
    fn laplace(&mut self, scale: Rational) -> i64 {
        laplace(self, scale)
    }

    fn gaussian(&mut self, variance: Rational) -> i64 {
        gaussian(self, variance)
    }

    fn choose(&mut self, scores: &[i64], epsilon: f64) -> usize {
        choose(self, scores, epsilon)
    }
}

/// A positive rational number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rational {
    numerator: u64,
    denominator: u64,
}

/// Fraction bits of a scale: it is rounded up to a multiple of 2^-8, so never to less noise.
const FRACTION: u64 = 1 << 8;
/// Largest scale or variance: beyond it the products below would not fit into 128 bits.
pub const MOST: f64 = (1_u64 << 40) as f64;

impl Rational {
    /// The least multiple of 2^-8 that is at least `value`: the scale of Laplace noise, or the variance of Gaussian noise.
    pub fn at_least(value: f64) -> Result<Self, PrivacyError> {
        if !(value > 0.0 && value <= MOST) {
            return Err(PrivacyError::Parameter {
                name: "the size of noise",
                value,
                expected: "a number above 0 and at most 2^40; more epsilon takes less noise",
            });
        }
        Ok(Self {
            numerator: (value * FRACTION as f64).ceil() as u64,
            denominator: FRACTION,
        })
    }

    fn whole(value: u64) -> Self {
        Self {
            numerator: value,
            denominator: 1,
        }
    }

    /// As a number.
    pub fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

/// An integer below `bound`, all with the same probability.
fn below(bits: &mut impl Bits, bound: u128) -> u128 {
    if let Ok(bound) = u64::try_from(bound) {
        return bits.below(bound).into();
    }
    // Of as many bits as the bound has, until one is below it: at most two tries on average.
    let spare = (bound - 1).leading_zeros();
    loop {
        let value = (u128::from(bits.long()) << 64 | u128::from(bits.long())) >> spare;
        if value < bound {
            return value;
        }
    }
}

/// True with probability `exp(-above / below)`: algorithm 1.
fn decays(bits: &mut impl Bits, above: u128, of: u128) -> bool {
    (0..above / of).all(|_| decays_within_one(bits, 1, 1))
        && decays_within_one(bits, above % of, of)
}

/// As [`decays`], of an exponent of at most 1.
fn decays_within_one(bits: &mut impl Bits, above: u128, of: u128) -> bool {
    let mut k = 1;
    while below(bits, of * k) < above {
        k += 1;
    }
    k % 2 == 1
}

/// A number with probability proportional to `exp(-|x| / scale)`: algorithm 2, the two-sided geometric distribution.
///
/// Added to integers of sensitivity `d` in the 1-norm, it is `d / scale`-differentially private.
pub fn laplace(bits: &mut impl Bits, scale: Rational) -> i64 {
    let (t, s) = (scale.numerator, scale.denominator);
    loop {
        let rest = bits.below(t);
        if !decays(bits, rest.into(), t.into()) {
            continue;
        }
        let mut whole = 0_u64;
        while decays_within_one(bits, 1, 1) {
            whole += 1;
        }
        let magnitude = ((rest + t * whole) / s).cast_signed();
        let is_negative = bits.below(2) == 1;
        // Zero has one sign.
        match (is_negative, magnitude) {
            (true, 0) => {}
            (true, _) => return -magnitude,
            (false, _) => return magnitude,
        }
    }
}

/// A number with probability proportional to `exp(-x^2 / (2 variance))`: algorithm 3.
///
/// Added to an integer of sensitivity `d`, it is `d^2 / (2 variance)`-zCDP (theorem 14 there).
pub fn gaussian(bits: &mut impl Bits, variance: Rational) -> i64 {
    let (n, d) = (
        u128::from(variance.numerator),
        u128::from(variance.denominator),
    );
    let whole = (variance.numerator / variance.denominator).isqrt() + 1;
    let t = u128::from(whole);
    loop {
        let x = laplace(bits, Rational::whole(whole));
        // (|x| - n / (d t))^2 / (2 n / d), with both sides multiplied by d t^2 d.
        let distance = (u128::from(x.unsigned_abs()) * d * t).abs_diff(n);
        let (above, of) = (distance.checked_mul(distance), 2 * n * d * t * t);
        // Farther out than 64 bits hold, the probability is beneath e^-1000.
        if above.is_some_and(|above| decays(bits, above, of)) {
            return x;
        }
    }
}

/// The place of one of several integer scores, with probability proportional to `exp(epsilon score / 2)`: the exponential
/// mechanism, `epsilon`-private where scores have sensitivity 1. `epsilon` is rounded down to a multiple of 2^-20.
///
/// Source: F. `McSherry`, K. Talwar, "Mechanism Design via Differential Privacy", FOCS 2007; exact, by rejection: a place is
/// drawn, and kept with probability `exp(epsilon (score - largest) / 2)`.
///
/// # Panics
/// If there are no scores.
pub fn choose(bits: &mut impl Bits, scores: &[i64], epsilon: f64) -> usize {
    const STEPS: f64 = (1_u64 << 20) as f64;
    let largest = *scores.iter().max().expect("something to choose from");
    let steps = (epsilon * STEPS).floor().max(0.0) as u128;
    loop {
        let place = bits.below(scores.len() as u64) as usize;
        let behind = u128::from(largest.abs_diff(scores[place]));
        if decays(bits, steps * behind, 2 * STEPS as u128) {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::random::Draws;
    use super::{Rational, choose, decays, gaussian, laplace};

    fn chi_square(counts: &[f64], expected: &[f64]) -> f64 {
        counts
            .iter()
            .zip(expected)
            .map(|(c, e)| (c - e).powi(2) / e)
            .sum()
    }

    /// How often each of `-span ..= span` comes, and how often the distribution says.
    fn histogram(
        span: i64,
        mut draw: impl FnMut() -> i64,
        weight: impl Fn(f64) -> f64,
    ) -> (Vec<f64>, Vec<f64>) {
        const DRAWS: u32 = 100_000;
        let mut counts = vec![0.0; (2 * span + 1) as usize];
        for _ in 0..DRAWS {
            let x = draw();
            if x.abs() <= span {
                counts[(x + span) as usize] += 1.0;
            }
        }
        let total: f64 = (-10_000..=10_000).map(|x| weight(f64::from(x))).sum();
        let expected = (-span..=span).map(|x| weight(x as f64) / total * f64::from(DRAWS));
        (counts, expected.collect())
    }

    #[test]
    fn exponentials_are_exact() {
        let mut draws = Draws::of_row(3, 0, 0);
        for (above, of) in [(1, 3), (1, 1), (5, 2), (0, 7)] {
            let hits = (0..50_000)
                .filter(|_| decays(&mut draws, above, of))
                .count();
            let exact = (-(above as f64) / of as f64).exp();
            // Four standard deviations of a binomial count.
            let slack = 4.0 * (exact * (1.0 - exact) / 5e4).sqrt();
            assert!(
                (hits as f64 / 5e4 - exact).abs() <= slack,
                "{above}/{of}: {hits}"
            );
        }
    }

    #[test]
    fn laplace_noise_is_distributed_as_it_should() {
        for scale in [0.4, 3.0, 4.3] {
            let exact = Rational::at_least(scale).unwrap();
            let mut draws = Draws::of_row(5, 0, 0);
            let (counts, expected) = histogram(
                1 + (2.5 * scale) as i64,
                || laplace(&mut draws, exact),
                |x| (-x.abs() / exact.value()).exp(),
            );
            // 22 degrees of freedom exceed 48.3 once in a thousand; the draws are fixed.
            assert!(
                chi_square(&counts, &expected) < 48.3,
                "{scale}: {counts:?} {expected:?}"
            );
        }
    }

    #[test]
    fn gaussian_noise_is_distributed_as_it_should() {
        for variance in [0.3, 1.0, 6.5] {
            let exact = Rational::at_least(variance).unwrap();
            let mut draws = Draws::of_row(9, 0, 0);
            let (counts, expected) = histogram(
                1 + (2.5 * variance.sqrt()) as i64,
                || gaussian(&mut draws, exact),
                |x| (-x * x / (2.0 * exact.value())).exp(),
            );
            assert!(
                chi_square(&counts, &expected) < 40.0,
                "{variance}: {counts:?} {expected:?}"
            );
        }
    }

    #[test]
    fn the_largest_scale_fits() {
        let variance = Rational::at_least((1_u64 << 40) as f64).unwrap();
        let mut draws = Draws::of_row(1, 0, 0);
        let values: Vec<f64> = (0..2000)
            .map(|_| gaussian(&mut draws, variance) as f64)
            .collect();
        let spread = (values.iter().map(|x| x * x).sum::<f64>() / 2000.0).sqrt();
        assert!((spread / f64::from(1 << 20) - 1.0).abs() < 0.08, "{spread}");
        assert!(Rational::at_least(2e12).is_err() && Rational::at_least(0.0).is_err());
    }

    #[test]
    fn scales_are_rounded_to_more_noise() {
        let rounded = Rational::at_least(1.001).unwrap().value();
        assert!((1.001..1.005).contains(&rounded));
    }

    #[test]
    fn better_scores_are_chosen_more_often_as_they_should() {
        let mut draws = Draws::of_row(21, 0, 0);
        let scores = [0, 3, 5, 4];
        let mut counts = [0.0; 4];
        for _ in 0..40_000 {
            counts[choose(&mut draws, &scores, 0.5)] += 1.0;
        }
        let weights = scores.map(|score| (0.25 * score as f64).exp());
        let total: f64 = weights.iter().sum();
        let expected = weights.map(|w| w / total * 4e4);
        // 3 degrees of freedom exceed 16.3 once in a thousand; the draws are fixed.
        assert!(
            chi_square(&counts, &expected) < 16.3,
            "{counts:?} {expected:?}"
        );
    }
}
