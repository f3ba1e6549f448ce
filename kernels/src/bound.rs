//! Rounding-error bounds: how far a floating-point result may be from the exact one.
//!
//! Source: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM 2002.
//! All bounds are worst cases, not guesses: a correct implementation cannot exceed them, whatever
//! its inputs, and a result that does is wrong.

use crate::element::Element;

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
pub fn tolerance<T: Element>(roundings: u64, reference_roundings: u64) -> f64 {
    gamma(roundings, T::UNIT_ROUNDOFF) + gamma(reference_roundings, f64::UNIT_ROUNDOFF)
}

/// Height of a balanced binary tree over `leaves` values: additions on its longest path.
pub fn tree_height(leaves: u64) -> u64 {
    u64::from(leaves.max(1).next_power_of_two().trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::{gamma, tree_height};

    #[test]
    fn gamma_grows_until_nothing_can_be_said() {
        assert!((gamma(1, 0.25) - 1.0 / 3.0).abs() < 1e-15);
        assert!(gamma(2, 0.25) > gamma(1, 0.25));
        assert!(gamma(4, 0.25).is_infinite());
    }

    #[test]
    fn tree_heights() {
        let heights = [1, 2, 3, 4, 5, 1024].map(tree_height);
        assert_eq!(heights, [0, 1, 2, 2, 3, 10]);
    }
}
