//! Zero-concentrated differential privacy: costs that add up, and what they mean in epsilon and delta.
//!
//! Source: M. Bun, T. Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower Bounds", TCC 2016;
//! conversion by C. Canonne, G. Kamath, T. Steinke, "The Discrete Gaussian for Differential Privacy", `NeurIPS` 2020.

use super::Budget;

/// Cost of Gaussian noise of variance `variance` on a value of sensitivity `sensitivity` in the 2-norm:
/// `sensitivity^2 / (2 variance)` (Bun and Steinke, proposition 1.6; of the discrete Gaussian the same).
pub fn of_gaussian(sensitivity: f64, variance: f64) -> f64 {
    sensitivity * sensitivity / (2.0 * variance)
}

/// Variance of the Gaussian noise that costs `rho`.
pub fn variance_for(rho: f64, sensitivity: f64) -> f64 {
    sensitivity * sensitivity / (2.0 * rho)
}

/// Cost of a mechanism that is `epsilon`-differentially private: `epsilon^2 / 2` (proposition 1.4).
pub fn of_pure(epsilon: f64) -> f64 {
    epsilon * epsilon / 2.0
}

/// Cost of the exponential mechanism run at `epsilon`: `epsilon^2 / 8`. Source: M. Cesar, R. Rogers, "Bounding,
/// Concentrating, and Truncating: Unifying Privacy Loss Composition for Data Analytics", ALT 2021, lemma 3.2 and theorem 1.
pub fn of_exponential(epsilon: f64) -> f64 {
    epsilon * epsilon / 8.0
}

/// Epsilon of an exponential mechanism that costs `rho`.
pub fn exponential_for(rho: f64) -> f64 {
    (8.0 * rho).sqrt()
}

/// The least delta for which `rho`-zCDP is known to be `(epsilon, delta)`-private.
///
/// `inf over a > 1 of exp((a - 1)(a rho - epsilon)) / (a - 1) (1 - 1/a)^a`: Canonne, Kamath and Steinke, corollary
/// 13. The logarithm is convex in `a`, and its least value is found by bisection of its derivative.
pub fn delta(rho: f64, epsilon: f64) -> f64 {
    if rho <= 0.0 {
        return 0.0;
    }
    let slope = |a: f64| (2.0 * a - 1.0) * rho - epsilon + (-1.0 / a).ln_1p();
    let (mut low, mut high) = (1.0, 2.0);
    while slope(high) < 0.0 {
        high *= 2.0;
    }
    loop {
        let middle = f64::midpoint(low, high);
        // None lies between.
        if middle <= low || middle >= high {
            break;
        }
        if slope(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    // Whatever `a` is, the bound holds.
    let a = high;
    let log = (a - 1.0) * (a * rho - epsilon) - (a - 1.0).ln() + a * (-1.0 / a).ln_1p();
    log.exp().min(1.0)
}

/// The least epsilon, to 1 part in 10^12 and never below it, for which `rho`-zCDP is `(epsilon, delta)`-private.
pub fn epsilon(rho: f64, delta_allowed: f64) -> f64 {
    let is_enough = |epsilon: f64| delta(rho, epsilon) <= delta_allowed;
    let (mut least, mut most) = (0.0, 1.0);
    while !is_enough(most) {
        most *= 2.0;
    }
    while most - least > 1e-12 * most {
        let middle = f64::midpoint(least, most);
        // Among the least numbers that there are, none lies between.
        if middle <= least || middle >= most {
            break;
        }
        if is_enough(middle) {
            most = middle;
        } else {
            least = middle;
        }
    }
    most
}

/// The most that may be spent within a budget, to 1 part in 10^12 and never more.
pub fn rho(budget: Budget) -> f64 {
    let keeps = |rho: f64| delta(rho, budget.epsilon) <= budget.delta;
    let (mut least, mut most) = (0.0, 1.0);
    while keeps(most) {
        most *= 2.0;
    }
    while most - least > 1e-12 * most {
        let middle = f64::midpoint(least, most);
        if middle <= least || middle >= most {
            break;
        }
        if keeps(middle) {
            least = middle;
        } else {
            most = middle;
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Budget;
    use super::super::gaussian::analytic_delta;
    use super::{
        delta, epsilon, exponential_for, of_exponential, of_gaussian, of_pure, rho, variance_for,
    };

    #[test]
    fn known_answers() {
        // cdp2adp.py, which the authors published with their paper: cdp_rho(1, 1e-9), cdp_eps(0.5, 1e-6).
        let budget = Budget::new(1.0, 1e-9).unwrap();
        let spent = rho(budget);
        assert!((spent - 0.014_973_06).abs() < 1e-8, "{spent}");
        let needed = epsilon(0.5, 1e-6);
        assert!((needed - 5.221_534_4).abs() < 1e-6, "{needed}");
        // Bun and Steinke, proposition 1.4; Cesar and Rogers, lemma 3.2.
        assert!((of_pure(0.5) - 0.125).abs() < 1e-15);
        assert!((of_exponential(2.0) - 0.5).abs() < 1e-15);
        assert!((exponential_for(0.5) - 2.0).abs() < 1e-15);
        // Bun and Steinke's own conversion, proposition 1.3, is never better.
        let simple = spent + 2.0 * (spent * 1e9_f64.ln()).sqrt();
        assert!(simple > 1.0 && simple < 1.2, "{simple}");
    }

    proptest! {
        #[test]
        fn conversions_invert_each_other(log_rho in -9.0f64..2.0, log_delta in -15.0f64..-1.0) {
            let (spent, allowed) = (10f64.powf(log_rho), 10f64.powf(log_delta));
            let needed = epsilon(spent, allowed);
            // Where delta alone allows it, epsilon is 0.
            prop_assume!(needed > 1e-9);
            let back = rho(Budget::new(needed, allowed).unwrap());
            prop_assert!((back / spent - 1.0).abs() < 1e-6, "{} {} {}", spent, needed, back);
        }

        #[test]
        fn a_bound_for_all_of_zcdp_is_no_less_than_what_gaussian_noise_leaks(sigma in 0.3f64..30.0, epsilon in 0.01f64..10.0) {
            let exact = analytic_delta(epsilon, sigma);
            // Of numbers near the smallest a difference is of their rounding alone.
            prop_assume!(exact > 1e-290);
            prop_assert!(delta(of_gaussian(1.0, sigma * sigma), epsilon) >= exact * (1.0 - 1e-9));
        }
    }

    #[test]
    fn variance_and_cost_invert_each_other() {
        assert!((of_gaussian(3.0, variance_for(0.07, 3.0)) - 0.07).abs() < 1e-15);
        assert!(delta(0.0, 1.0) < 1e-300);
    }
}
