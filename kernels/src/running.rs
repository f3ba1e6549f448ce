//! Numbers with a bound on their error, carried along operation by operation: references of ops that compute more than a sum.
//!
//! Each operation knows how far its result in some type can be from that of exact arithmetic, given how far its operands
//! are. So a reference is written as the paper's formula, and its bound comes out beside it: a worst case that no
//! correct implementation exceeds, with or without fused operations. Source: N. J. Higham, "Accuracy and Stability of
//! Numerical Algorithms", 2nd edition, SIAM 2002, section 3.3 (running error analysis).

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::bound::{gamma, likely_gamma};
use crate::element::Real;

/// A number in exact arithmetic, or nearly, and how far what was computed in `f32` may be from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    /// The number, in `f64`.
    pub value: f64,
    /// Largest distance of a right result.
    pub error: f64,
}

/// Unit roundoff of what is bounded, and what the reference itself loses on top.
const ROUNDOFF: f64 = f32::UNIT_ROUNDOFF + 4.0 * f64::UNIT_ROUNDOFF;
/// What the rounding of a subnormal number may lose.
const LEAST: f64 = 1.0 / (1_u64 << 63) as f64 / (1_u64 << 63) as f64 / (1_u64 << 24) as f64;

impl Running {
    /// A number that both have exactly.
    pub const fn exact(value: f64) -> Self {
        Self { value, error: 0.0 }
    }

    /// A number that is off by no more than what its operands bring, and one rounding.
    fn rounded(value: f64, inherited: f64) -> Self {
        Self {
            value,
            error: inherited + (value.abs() + inherited) * ROUNDOFF + LEAST,
        }
    }

    /// Its square root.
    #[must_use]
    pub fn sqrt(self) -> Self {
        let [low, high] = [self.value - self.error, self.value + self.error];
        let value = self.value.sqrt();
        let inherited = (high.max(0.0).sqrt() - value).max(value - low.max(0.0).sqrt());
        Self::rounded(value, inherited)
    }

    /// -1, 0 or 1; any of them where the sign is not sure.
    #[must_use]
    pub fn signum(self) -> Self {
        if self.value == 0.0 && self.error == 0.0 {
            Self::exact(0.0)
        } else if self.value.abs() <= self.error {
            Self {
                value: 0.0,
                error: 1.0,
            }
        } else {
            Self::exact(self.value.signum())
        }
    }

    /// The larger of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            value: self.value.max(other.value),
            error: self.error.max(other.error),
        }
    }

    /// The nearest number of magnitude 1 at most.
    #[must_use]
    pub fn clip(self) -> Self {
        let is_beyond = self.value.abs() - self.error > 1.0;
        Self {
            value: self.value.clamp(-1.0, 1.0),
            error: if is_beyond { 0.0 } else { self.error.min(2.0) },
        }
    }

    /// The sum of the terms, in an order with at most `height` additions on a path.
    pub fn sum(terms: impl Iterator<Item = Self>, height: u64) -> Self {
        Self::sum_within(terms, gamma(height + 1, f32::UNIT_ROUNDOFF))
    }

    /// The same with what is [likely](likely_gamma) to be lost: of a free order, whose worst case is so long that whole blocks would be
    /// hidden by it.
    pub fn likely_sum(terms: impl Iterator<Item = Self>, height: u64) -> Self {
        Self::sum_within(terms, likely_gamma(height + 1, f32::UNIT_ROUNDOFF))
    }

    /// The sum of the terms, of whose magnitudes at most this share is lost.
    fn sum_within(terms: impl Iterator<Item = Self>, share: f64) -> Self {
        let (mut value, mut magnitude, mut inherited) = (0.0, 0.0, 0.0);
        for term in terms {
            value += term.value;
            magnitude += term.value.abs() + term.error;
            inherited += term.error;
        }
        // The reference's own sum, in the order of its terms, is beneath notice: a fraction of a rounding.
        Self {
            value,
            error: inherited + share * magnitude + LEAST,
        }
    }

    /// Distance of what was found, in units of the largest that is right.
    pub fn distance(self, found: f64) -> f64 {
        let distance = (found - self.value).abs();
        if distance == 0.0 {
            0.0
        } else {
            distance / self.error
        }
    }
}

impl From<f32> for Running {
    fn from(value: f32) -> Self {
        Self::exact(value.into())
    }
}

impl Add for Running {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::rounded(self.value + other.value, self.error + other.error)
    }
}

impl Neg for Running {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            value: -self.value,
            ..self
        }
    }
}

impl Sub for Running {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Running {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let inherited = self.value.abs() * other.error
            + other.value.abs() * self.error
            + self.error * other.error;
        Self::rounded(self.value * other.value, inherited)
    }
}

impl Div for Running {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        // Nothing is known of a quotient whose divisor may be 0.
        let least = (other.value.abs() - other.error).max(0.0);
        let inherited = (self.error + value.abs() * other.error) / least;
        Self::rounded(value, inherited)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Running;

    fn formula<T>(x: [T; 3], root: impl Fn(T) -> T) -> T
    where
        T: Copy
            + std::ops::Add<Output = T>
            + std::ops::Sub<Output = T>
            + std::ops::Mul<Output = T>
            + std::ops::Div<Output = T>,
    {
        let [a, b, c] = x;
        (a * b - c) / (root(a * a + b) + c) + a * c
    }

    proptest! {
        #[test]
        fn what_f32_computes_is_within_the_bound(x in [0.01_f32..4.0, 0.01_f32..4.0, 0.01_f32..4.0]) {
            let bounded = formula(x.map(Running::from), Running::sqrt);
            let found = formula(x, f32::sqrt);
            prop_assert!(bounded.distance(found.into()) <= 1.0, "{bounded:?} {found}");
            // And no wider than what a mistake would be.
            prop_assert!(bounded.error < 1e-4 * bounded.value.abs().max(1.0) / f64::from(x[2]));
        }
    }

    #[test]
    fn signs_near_nothing_are_open() {
        let nearly = Running::from(0.1) * Running::from(3.0) - Running::from(0.3);
        assert!(nearly.signum().error > 0.5);
        assert!(Running::from(-0.3).signum().distance(-1.0) <= 0.0);
        assert!(Running::from(-0.3).signum().distance(1.0) > 1.0);
    }
}
