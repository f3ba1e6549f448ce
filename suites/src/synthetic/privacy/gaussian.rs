//! How much continuous noise a budget asks for: Laplace, Gaussian, and analytic Gaussian mechanisms.

use statrs::function::erf::erfc;

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
            expected: "less than 1, where its proof ends; the analytic one holds for all",
        });
    }
    let factor = (2.0 * (1.25 / budget.delta).ln()).sqrt() / budget.epsilon;
    Ok(factor * positive("the sensitivity", sensitivity)?)
}

/// The least standard deviation of Gaussian noise that keeps a budget, to 1 part in 10^12 and never below it.
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

/// Delta of Gaussian noise of standard deviation `sigma` at `epsilon`, for sensitivity 1: theorem 8 of Balle and Wang,
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

#[cfg(test)]
mod tests {
    use super::{Budget, analytic_delta, analytic_sigma, classical_sigma, laplace_scale};

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
}
