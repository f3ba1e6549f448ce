//! What the spectral ops have in common: transforms on the host, and the references and bounds that judge spectra.
//!
//! Source of the bounds: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 24.1: each of
//! the `log2 n` stages of a fast Fourier transform changes its vector by no more than `eta` times its length, with
//! `eta = mu + gamma_4 (sqrt(2) + mu)`, about `6.7 u` where the weights are off by `mu = u`. Errors of different
//! stages and elements do not depend on each other, so they grow with the root of the number of stages (J. C. Schatzman,
//! "Accuracy of the discrete Fourier transform and the fast Fourier transform", SIAM J. Sci. Comput. 17(5), 1996), and a
//! random signal's spread evenly over its spectrum.
#![allow(unsafe_code)] // pairs of numbers are complex numbers

mod cufft;

use std::f64::consts::{SQRT_2, TAU};
use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftNum, FftPlanner};

use crate::bound::gamma;
use crate::element::Real;

pub use cufft::{Signal, Transforms};

/// A number that transforms are made for.
pub trait Sample: Real + FftNum {}
impl Sample for f32 {}
impl Sample for f64 {}

/// Pairs of numbers as complex numbers.
///
/// # Panics
/// If their number is odd.
pub fn complex<T: Sample>(numbers: &[T]) -> &[Complex<T>] {
    assert!(numbers.len().is_multiple_of(2), "pairs");
    // SAFETY: a complex number is two numbers, one after the other (`repr(C)`), and half as many are as long.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len() / 2) }
}

/// As [`complex`], to be written.
///
/// # Panics
/// If their number is odd.
pub fn complex_mut<T: Sample>(numbers: &mut [T]) -> &mut [Complex<T>] {
    assert!(numbers.len().is_multiple_of(2), "pairs");
    // SAFETY: as in `complex`, and borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len() / 2) }
}

/// The forward transform of `points` points on the host.
pub fn plan<T: Sample>(points: usize) -> Arc<dyn Fft<T>> {
    FftPlanner::new().plan_fft_forward(points)
}

/// Floating-point operations of a transform of complex numbers, as they are counted whatever the algorithm: `5 n log2 n`. Source:
/// M. Frigo, S. G. Johnson, "The design and implementation of FFTW3", Proceedings of the IEEE 93(2), 2005, section
/// III; of real numbers they are half as many.
pub fn flops(points: usize) -> f64 {
    5.0 * points as f64 * (points.max(1) as f64).log2()
}

/// Largest right distance of a transform in `T` from the reference, relative to the signal's length (root of the sum of the
/// squares) plus the magnitude of the exact value. It allows for any algorithm, up to a convolution: three transforms of at
/// most four times as many points. The factor 10 leaves out nothing but once in 10^21 values, as in
/// [`crate::bound::likely_gamma`].
pub fn tolerance<T: Real>(points: usize) -> f64 {
    const LAMBDA: f64 = 10.0;
    let stages = 3.0 * ((points.max(1) as f64).log2().ceil() + 2.0);
    let eta = |u: f64| u + gamma(4, u) * (SQRT_2 + u);
    // The reference is made the same way.
    LAMBDA * stages.sqrt() * (eta(T::UNIT_ROUNDOFF) + eta(f64::UNIT_ROUNDOFF))
}

/// Signals of one length whose spectra are compared with the exact ones.
pub struct Signals<'a> {
    /// Points of a signal.
    pub points: usize,
    /// Signals.
    pub count: usize,
    /// Values of a spectrum that are of interest, the first ones.
    pub bins: usize,
    /// The values of one, as the transform gets them.
    pub signal: &'a (dyn Fn(usize) -> Vec<Complex<f64>> + Sync),
    /// Error of a value, in the measure that the tolerance has, given the signal, the bin, and the exact value.
    pub error: &'a (dyn Fn(usize, usize, Complex<f64>) -> f64 + Sync),
}

impl Signals<'_> {
    /// The largest error: of every value against a fast transform in `f64`, and of a few against the sum that defines them, since
    /// the fast transform may be the very one that is judged.
    pub fn worst(&self) -> f64 {
        if self.points == 0 || self.bins == 0 {
            return 0.0;
        }
        let plan = plan::<f64>(self.points);
        let fast = (0..self.count).into_par_iter().map(|index| {
            let mut values = (self.signal)(index);
            plan.process(&mut values);
            let errors = values[..self.bins].iter().enumerate();
            errors.fold(0.0, |worst, (bin, exact)| {
                larger(worst, (self.error)(index, bin, *exact))
            })
        });
        let defined = self.samples().into_par_iter().map(|(index, bin)| {
            (self.error)(index, bin, by_definition(&(self.signal)(index), bin))
        });
        larger(fast.reduce(|| 0.0, larger), defined.reduce(|| 0.0, larger))
    }

    /// Some places all over signals and bins, so many that the sums stay affordable.
    fn samples(&self) -> Vec<(usize, usize)> {
        const TERMS: usize = 1 << 24;
        let values = self.count * self.bins;
        let samples = (TERMS / self.points).clamp(4, 64).min(values);
        let place =
            |i: usize| (i as u128 * (values - 1) as u128 / (samples - 1).max(1) as u128) as usize;
        let places = (0..samples).map(place);
        places.map(|at| (at / self.bins, at % self.bins)).collect()
    }
}

/// The larger of two errors; infinite where one is not a number.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::INFINITY
    } else {
        a.max(b)
    }
}

/// One value of the discrete Fourier transform.
fn by_definition(signal: &[Complex<f64>], bin: usize) -> Complex<f64> {
    let points = signal.len();
    let term = |j: usize| {
        let turn = (j as u128 * bin as u128 % points as u128) as usize;
        // Of the two ways round, the shorter: the angle's rounding matters less.
        let is_long = 2 * turn > points;
        let turn = if is_long { points - turn } else { turn };
        let weight = Complex::from_polar(1.0, TAU * turn as f64 / points as f64);
        signal[j] * if is_long { weight } else { weight.conj() }
    };
    sum(&term, 0, points)
}

/// By halves, so that errors grow with the logarithm of the number.
fn sum(term: &impl Fn(usize) -> Complex<f64>, first: usize, count: usize) -> Complex<f64> {
    if count <= 16 {
        return (first..first + count).map(term).sum();
    }
    let half = count / 2;
    sum(term, first, half) + sum(term, first + half, count - half)
}

/// Of each of some signals, the root of the sum of the squares.
pub fn lengths(count: usize, signal: impl Fn(usize) -> Vec<Complex<f64>> + Sync) -> Vec<f64> {
    let squares = |index: usize| signal(index).iter().map(Complex::norm_sqr).sum::<f64>();
    (0..count)
        .into_par_iter()
        .map(|index| squares(index).sqrt())
        .collect()
}

/// Distance over the signal's length plus the exact value's magnitude.
pub fn relative(distance: f64, length: f64, exact: Complex<f64>) -> f64 {
    // No length, no rounding: anything but the exact value is wrong.
    if distance == 0.0 {
        0.0
    } else {
        distance / (length + exact.norm())
    }
}

#[cfg(test)]
mod tests {
    use rustfft::num_complex::Complex;

    use super::{Signals, by_definition, flops, lengths, plan, relative, tolerance};

    fn signal(points: usize) -> Vec<Complex<f64>> {
        let random = assay_protocol::Philox::new(5, points as u64);
        let number = |i: usize| f64::from(random.signed_f32(i as u64));
        (0..points)
            .map(|i| Complex::new(number(2 * i), number(2 * i + 1)))
            .collect()
    }

    /// Powers of two, small primes, and primes that need a convolution.
    #[test]
    fn transforms_are_far_within_their_bounds() {
        for points in [1, 2, 3, 64, 60, 97, 131, 1009, 4096, 5003] {
            let exact = signal(points);
            let narrow = exact.iter().map(|z| Complex::new(z.re as f32, z.im as f32));
            let mut found: Vec<Complex<f32>> = narrow.collect();
            plan::<f32>(points).process(&mut found);
            let norm = lengths(1, |_| exact.clone())[0];
            let error = |_: usize, bin: usize, exact: Complex<f64>| {
                let found = Complex::new(f64::from(found[bin].re), f64::from(found[bin].im));
                relative((found - exact).norm(), norm, exact)
            };
            let signals = Signals {
                points,
                count: 1,
                bins: points,
                signal: &|_| exact.clone(),
                error: &error,
            };
            let (worst, tolerance) = (signals.worst(), tolerance::<f32>(points));
            assert!(worst < tolerance / 8.0, "{points}: {worst} {tolerance}");
        }
    }

    #[test]
    fn definition_and_fast_transform_agree() {
        for points in [1, 5, 48, 1009] {
            let signal = signal(points);
            let mut fast = signal.clone();
            plan::<f64>(points).process(&mut fast);
            for bin in [0, points / 3, points / 2, points - 1] {
                let distance = (by_definition(&signal, bin) - fast[bin]).norm();
                assert!(
                    distance < tolerance::<f64>(points) * lengths(1, |_| signal.clone())[0],
                    "{points} {bin}: {distance}"
                );
            }
        }
    }

    #[test]
    fn flops_of_few_points() {
        let counts = [0, 1, 2, 8].map(flops);
        assert_eq!(counts.map(|count| count as u64), [0, 0, 10, 120]);
    }
}
