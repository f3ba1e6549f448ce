//! Rounding-error bounds: how far a floating-point result may be from the exact one.
//!
//! Source: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM 2002.
//! Unless they say otherwise, bounds are worst cases: a correct implementation cannot exceed them, whatever
//! its inputs, and a result that does is wrong.

use assay_protocol::ArithmeticUnit;

use crate::element::Real;

/// Stands for the unit roundoff of sums on tensor cores, see `Kind::tolerance` of [GEMM](crate::ops).
pub const TENSOR_ROUNDOFF: f64 = 1.0 / (1 << 22) as f64;

/// Unit roundoff of the sums of a unit that adds up in `f32`: lanes, or tensor cores.
pub fn roundoff_of_sums(unit: ArithmeticUnit) -> f64 {
    match unit {
        ArithmeticUnit::F32 => f32::UNIT_ROUNDOFF,
        _ => TENSOR_ROUNDOFF,
    }
}

/// `gamma_n = n u / (1 - n u)`, Higham equation (3.1) and lemma 3.1: the largest relative change that
/// `n` roundings in a row can make. Infinite where `n u >= 1`, since nothing can be said there.
pub fn gamma(roundings: u64, unit_roundoff: f64) -> f64 {
    let nu = roundings as f64 * unit_roundoff;
    if nu < 1.0 {
        nu / (1.0 - nu)
    } else {
        f64::INFINITY
    }
}

/// Largest distance between a result that took `roundings` roundings per path in `T` and a reference
/// that took `reference_roundings` in `f64`, relative to the condition (the sum of magnitudes).
pub fn tolerance<T: Real>(roundings: u64, reference_roundings: u64) -> f64 {
    gamma(roundings, T::UNIT_ROUNDOFF) + gamma(reference_roundings, f64::UNIT_ROUNDOFF)
}

/// What `n` roundings in a row do to random data: `exp(lambda sqrt(n) u + n u^2 / (1 - u)) - 1`, which errors exceed
/// with a probability below `2 n exp(-lambda^2 (1 - u)^2 / 2)`; with `lambda` 10, once in 10^17
/// results of 1000 roundings. Never more than [`gamma`]. Source: N. J. Higham, T. Mary, "A new approach to
/// probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4.
pub fn likely_gamma(roundings: u64, unit_roundoff: f64) -> f64 {
    const LAMBDA: f64 = 10.0;
    let n = roundings as f64;
    let exponent = LAMBDA * n.sqrt() * unit_roundoff
        + n * unit_roundoff * unit_roundoff / (1.0 - unit_roundoff);
    exponent.exp_m1().min(gamma(roundings, unit_roundoff))
}

/// Height of a balanced binary tree over `leaves` values: additions on its longest path.
pub fn tree_height(leaves: u64) -> u64 {
    u64::from(leaves.max(1).next_power_of_two().trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::{gamma, likely_gamma, tree_height};

    #[test]
    fn gamma_grows_until_nothing_can_be_said() {
        assert!((gamma(1, 0.25) - 1.0 / 3.0).abs() < 1e-15);
        assert!(gamma(2, 0.25) > gamma(1, 0.25));
        assert!(gamma(4, 0.25).is_infinite());
    }

    #[test]
    fn likely_errors_grow_with_the_root() {
        let u = 2_f64.powi(-24);
        assert!((likely_gamma(50, u) - gamma(50, u)).abs() < 1e-30);
        let ratio = likely_gamma(40_000, u) / likely_gamma(10_000, u);
        assert!((ratio - 2.0).abs() < 1e-3, "{ratio}");
    }

    #[test]
    fn tree_heights() {
        let heights = [1, 2, 3, 4, 5, 1024].map(tree_height);
        assert_eq!(heights, [0, 1, 2, 2, 3, 10]);
    }
}
