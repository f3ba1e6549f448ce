//! How much noise a budget asks for: formulas of the Laplace, Gaussian and analytic Gaussian mechanisms, and the last one's exact form for
//! discrete noise.

use std::f64::consts::PI;

use statrs::function::erf::erfc;

use super::discrete::{MOST, Rational};
use super::{Budget, PrivacyError, positive};

/// Scale of Laplace noise for `epsilon`-differential privacy (delta 0): `sensitivity / epsilon`, with the sensitivity in
/// the 1-norm. Source: C. Dwork, A. Roth, "The Algorithmic Foundations of Differential Privacy", 2014, theorem 3.6.
pub fn laplace_scale(epsilon: f64, sensitivity: f64) -> Result<f64, PrivacyError> {
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return Err(PrivacyError::Epsilon(epsilon));
    }
    Ok(positive("the sensitivity", sensitivity)? / epsilon)
}

/// Standard deviation of the classical Gaussian mechanism, `sensitivity sqrt(2 ln(1.25 / delta)) / epsilon`, with the
/// sensitivity in the 2-norm; it holds for epsilon below 1 only. Source: Dwork and Roth, theorem A.1.
pub fn classical_sigma(budget: Budget, sensitivity: f64) -> Result<f64, PrivacyError> {
    if budget.epsilon >= 1.0 {
        return Err(PrivacyError::Parameter {
            name: "epsilon of the classical Gaussian mechanism",
            value: budget.epsilon,
            expected: "less than 1, where its proof ends; `analytic-gaussian` is for all",
        });
    }
    let factor = (2.0 * (1.25 / budget.delta).ln()).sqrt() / budget.epsilon;
    Ok(factor * positive("the sensitivity", sensitivity)?)
}

/// The least standard deviation of continuous Gaussian noise that keeps a budget, to 1 part in 10^12 and never below it.
///
/// Source: B. Balle, Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy: Analytical Calibration and
/// Optimal Denoising", ICML 2018, theorem 8; found by bisection.
pub fn analytic_sigma(budget: Budget, sensitivity: f64) -> Result<f64, PrivacyError> {
    let sensitivity = positive("the sensitivity", sensitivity)?;
    let is_enough = |sigma: f64| analytic_delta(budget.epsilon, sigma) <= budget.delta;
    let mut most = 1.0;
    while !is_enough(most) {
        most *= 2.0;
    }
    let mut least = most / 2.0;
    while is_enough(least) && least > f64::MIN_POSITIVE {
        least /= 2.0;
    }
    while most - least > 1e-12 * most {
        let middle = f64::midpoint(least, most);
        if is_enough(middle) {
            most = middle;
        } else {
            least = middle;
        }
    }
    Ok(most * sensitivity)
}

/// Delta of continuous Gaussian noise of standard deviation `sigma` at `epsilon`, for sensitivity 1: theorem 8 of Balle and Wang,
/// `Phi(1 / 2s - e s) - exp(e) Phi(-1 / 2s - e s)`.
pub fn analytic_delta(epsilon: f64, sigma: f64) -> f64 {
    let (near, far) = (0.5 / sigma, epsilon * sigma);
    // The second term as one exponential, so that a large factor never meets a small probability.
    let tail = below(-near - far);
    let second = if tail > 0.0 {
        (epsilon + tail.ln()).exp()
    } else {
        0.0
    };
    (below(near - far) - second).max(0.0)
}

/// The probability that a standard normal variable stays below `x`.
pub fn below(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

/// Delta at `epsilon` of discrete Gaussian noise of a variance on counts of which a row changes `changed` by one each: exact for one, and
/// for more never below, and above it by a factor of `theta(variance / 2)^(changed - 1)`, which from a variance of 3 on is 1 to 10 digits.
///
/// The sum `S` of all noise decides: the privacy loss is `(2 S + changed) / (2 variance)`. For one count, and for a sum that is discrete Gaussian
/// itself, this is theorem 7 of C. Canonne, G. Kamath, T. Steinke, "The Discrete Gaussian for Differential Privacy", `NeurIPS` 2020. A
/// sum of two, of variances `v` and `w`, is no more than `theta(v w / (v + w))` times as likely anywhere as discrete Gaussian noise of variance
/// `v + w`, by the Poisson summation formula (as P. Kairouz, Z. Liu, T. Steinke, "The Distributed Discrete Gaussian Mechanism for
/// Federated Learning with Secure Aggregation", ICML 2021, section 4, have it), so no event is.
pub fn discrete_delta(epsilon: f64, variance: f64, changed: usize) -> f64 {
    let columns = changed as f64;
    let of_sum = columns * variance;
    let scale = (2.0 * PI * of_sum).sqrt() * theta(of_sum);
    // Beyond, a term is 0 in f64.
    let end = 40.0 * of_sum.sqrt() + 1.0;
    let mut at = (epsilon * variance - columns / 2.0).floor() + 1.0;
    at = at.max(-end);
    let mut delta = 0.0;
    while at <= end {
        let loss = (2.0 * at + columns) / (2.0 * variance);
        // Rounded, the first loss may lie below epsilon.
        let excess = -(epsilon - loss).exp_m1().min(0.0);
        let term = (-at * at / (2.0 * of_sum)).exp() * excess;
        delta += term;
        // Terms rise to one place, and fall from there ever faster.
        if term < 1e-18 * delta {
            break;
        }
        at += 1.0;
    }
    delta / scale * theta(variance / 2.0).powf(columns - 1.0)
}

/// `1 + 2 sum exp(-2 pi^2 variance j^2)` over all `j` above 0: by how much the sum of `exp(-x^2 / (2 variance))` over integers exceeds the
/// integral.
fn theta(variance: f64) -> f64 {
    let term = |j: f64| (-2.0 * PI * PI * variance * j * j).exp();
    let terms = (1..).map(|j| term(f64::from(j)));
    1.0 + 2.0 * terms.take_while(|term| *term > 1e-20).sum::<f64>()
}

/// The least variance of discrete Gaussian noise, to one part in a thousand and never below it, that keeps a budget on counts of which a
/// row changes `changed` by one each, by [`discrete_delta`].
///
/// # Errors
/// If there is no sampler of so much noise, or the sum of it over these counts has more than 2^20 for its standard deviation.
pub fn discrete_variance(budget: Budget, changed: usize) -> Result<Rational, PrivacyError> {
    /// Where the search ends, as a part of the variance.
    const NEAR: f64 = 1.0 / 1024.0;
    /// What rounding of sums may hide.
    const SLACK: f64 = 1e-9;
    let columns = changed as f64;
    let is_enough = |variance: Rational| {
        let delta = discrete_delta(budget.epsilon, variance.value(), changed);
        delta <= budget.delta * (1.0 - SLACK)
    };
    let candidate = |variance: f64| {
        // As many terms are summed as the noise of all counts together has values.
        let most = MOST / columns;
        Rational::at_least(if variance <= most {
            variance
        } else {
            f64::INFINITY
        })
    };
    // Close to what continuous noise needs.
    let mut most = candidate(analytic_sigma(budget, columns.sqrt())?.powi(2))?;
    let mut least = 0.0;
    while !is_enough(most) {
        least = most.value();
        most = candidate(least * 1.25)?;
    }
    while most.value() - least > NEAR * most.value() {
        let middle = candidate(f64::midpoint(least, most.value()))?;
        if middle == most {
            break;
        }
        if is_enough(middle) {
            most = middle;
        } else {
            least = middle.value();
        }
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        Budget, analytic_delta, analytic_sigma, classical_sigma, discrete_delta, discrete_variance,
        laplace_scale,
    };

    #[test]
    fn known_answers() {
        let budget = Budget::new(0.5, 1e-5).unwrap();
        // sqrt(2 ln 125000) / 0.5.
        assert!((classical_sigma(budget, 1.0).unwrap() - 9.689_611_2).abs() < 1e-6);
        assert!((laplace_scale(0.5, 3.0).unwrap() - 6.0).abs() < 1e-15);
        // The authors' own program, calibrateAnalyticGaussianMechanism(1, 1e-5, 1).
        let sigma = analytic_sigma(Budget::new(1.0, 1e-5).unwrap(), 1.0).unwrap();
        assert!((sigma - 3.730_631_6).abs() < 1e-6, "{sigma}");
    }

    #[test]
    fn calibrated_noise_meets_its_delta_and_less_does_not() {
        for epsilon in [0.01, 0.3, 1.0, 4.0, 20.0] {
            for delta in [1e-12, 1e-6, 0.1] {
                let sigma = analytic_sigma(Budget::new(epsilon, delta).unwrap(), 1.0).unwrap();
                assert!(analytic_delta(epsilon, sigma) <= delta);
                assert!(
                    analytic_delta(epsilon, sigma * 0.999) > delta,
                    "{epsilon} {delta}"
                );
            }
        }
    }

    #[test]
    fn the_analytic_mechanism_needs_less_than_the_classical_one() {
        let budget = Budget::new(0.9, 1e-6).unwrap();
        assert!(analytic_sigma(budget, 2.0).unwrap() < classical_sigma(budget, 2.0).unwrap());
        assert!(classical_sigma(Budget::new(1.0, 1e-6).unwrap(), 1.0).is_err());
        assert!(laplace_scale(1.0, 0.0).is_err() && laplace_scale(-1.0, 1.0).is_err());
    }

    /// Delta of noise on some counts from its definition: the sum over all values of the noise, count by count.
    fn by_definition(epsilon: f64, variance: f64, changed: usize) -> f64 {
        let reach = (14.0 * variance.sqrt()) as i32 + 12;
        let weight = |x: i32| (-f64::from(x * x) / (2.0 * variance)).exp();
        let total: f64 = (-reach..=reach).map(weight).sum();
        let one: Vec<f64> = (-reach..=reach).map(|x| weight(x) / total).collect();
        let mut sum = vec![1.0];
        for _ in 0..changed {
            let mut next = vec![0.0; sum.len() + one.len() - 1];
            for (i, p) in sum.iter().enumerate() {
                for (j, q) in one.iter().enumerate() {
                    next[i + j] += p * q;
                }
            }
            sum = next;
        }
        let zero = changed as f64 * f64::from(reach);
        let term = |(place, p): (usize, &f64)| {
            let loss = (2.0 * (place as f64 - zero) + changed as f64) / (2.0 * variance);
            p * (1.0 - (epsilon - loss).exp()).max(0.0)
        };
        sum.iter().enumerate().map(term).sum()
    }

    #[test]
    fn the_discrete_form_has_known_answers() {
        // By mpmath to 40 digits: of one count by theorem 7, of several by convolution of their noise.
        for (epsilon, variance, changed, expected) in [
            (1.0, 30.0, 1, 1.161_019_606_185_349e-9),
            (0.5, 100.0, 1, 6.934_370_347_517_87e-9),
            (3.0, 1.5, 1, 3.959_456_171_959_99e-5),
            (10.0, 0.3, 1, 1.797_637_939_025_1e-7),
            (1.0, 480.25, 15, 3.707_790_474_108_54e-10),
            (2.0, 3.0, 3, 0.021_505_182_381_960_2),
            (1.0, 4.0, 2, 0.037_969_444_723_544_8),
        ] {
            let found = discrete_delta(epsilon, variance, changed);
            assert!((found / expected - 1.0).abs() < 1e-11, "{changed}: {found}");
        }
        // Sums of little noise are no discrete Gaussians: the bound is above.
        for (epsilon, variance, changed, expected) in [
            (5.0, 0.75, 4, 0.094_576_952_682),
            (8.0, 0.5, 5, 0.123_035_631_635),
        ] {
            let found = discrete_delta(epsilon, variance, changed);
            assert!(found > expected && found < 1.07 * expected, "{found}");
        }
    }

    proptest! {
        #[test]
        fn the_discrete_form_is_never_below_its_definition(
            epsilon in 0.05f64..6.0,
            variance in 0.1f64..20.0,
            changed in 1_usize..5,
        ) {
            let exact = by_definition(epsilon, variance, changed);
            // Of less the tails that the definition lacks are a part.
            prop_assume!(exact > 1e-12);
            let found = discrete_delta(epsilon, variance, changed);
            prop_assert!(found >= exact * (1.0 - 1e-9), "{} {}", found, exact);
            let is_tight = changed == 1 || variance > 3.0;
            prop_assert!(!is_tight || found <= exact * (1.0 + 1e-9), "{} {}", found, exact);
        }

        #[test]
        fn the_classical_formula_does_for_discrete_noise_too(
            epsilon in 0.01f64..0.999_999,
            log_delta in -15.0f64..-0.01,
            changed in 1_usize..200,
        ) {
            let budget = Budget::new(epsilon, 10_f64.powf(log_delta)).unwrap();
            let sigma = classical_sigma(budget, (changed as f64).sqrt()).unwrap();
            prop_assert!(discrete_delta(epsilon, sigma * sigma, changed) <= budget.delta / 3.0);
        }

        #[test]
        fn the_least_discrete_noise_keeps_its_budget_and_less_does_not(
            epsilon in 0.05f64..20.0,
            log_delta in -12.0f64..-0.5,
            changed in 1_usize..40,
        ) {
            let budget = Budget::new(epsilon, 10_f64.powf(log_delta)).unwrap();
            let variance = discrete_variance(budget, changed).unwrap().value();
            prop_assert!(discrete_delta(epsilon, variance, changed) <= budget.delta);
            let less = (0.998 * variance).min(variance - 1.0 / 256.0);
            prop_assume!(less > 0.0);
            prop_assert!(discrete_delta(epsilon, less, changed) > budget.delta);
            // Much noise might as well be continuous.
            let continuous = analytic_sigma(budget, (changed as f64).sqrt()).unwrap().powi(2);
            prop_assert!(variance < 100.0 || (variance / continuous - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn noise_beyond_what_can_be_summed_is_refused() {
        let tiny = Budget::new(1e-7, 1e-9).unwrap();
        assert!(discrete_variance(tiny, 1).is_err());
        let small = Budget::new(1e-4, 1e-9).unwrap();
        assert!(discrete_variance(small, 1).is_ok());
        assert!(discrete_variance(small, 1000).is_err());
    }
}
