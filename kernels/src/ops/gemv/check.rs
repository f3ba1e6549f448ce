//! Compares a product with the reference in `f64`.

use rayon::prelude::*;

use super::operand::Operand;
use super::{Along, Places, Shape};
use crate::bound::likely_gamma;
use crate::check;
use crate::element::{DType, Real};
use crate::program::{Checked, Outcome};
use crate::simd::wide;

/// Columns that a thread goes down together.
const STRIP: usize = 256;

/// Compares `C` with the reference. `height` is the number of roundings on the longest path through a sum.
pub fn check<T: Operand>(outcome: &Outcome, places: Places, shape: Shape, height: u64) -> Checked {
    let (a, b) = (outcome.get::<T>(places.a), outcome.get::<T>(places.b));
    let c = outcome.get::<T>(places.c);
    let judge = Judge::of::<T>();
    let error = match shape.along {
        Along::Rows => (0..shape.rows)
            .into_par_iter()
            .map(|row| {
                let line = &a[row * shape.cols..][..shape.cols];
                let found = &c[row * shape.width..][..shape.width];
                row_error(&judge, line, b, found)
            })
            .reduce(|| 0.0, f64::max),
        Along::Columns => (0..shape.cols.div_ceil(STRIP))
            .into_par_iter()
            .map(|strip| strip_error(&judge, shape, strip * STRIP, a, b, c))
            .reduce(|| 0.0, f64::max),
    };
    let reference = likely_gamma(shape.depth() as u64 + 1, f64::UNIT_ROUNDOFF);
    Checked {
        error,
        tolerance: likely_gamma(height, <T::Sum as Real>::UNIT_ROUNDOFF) + reference,
        detail: "largest |c - exact| beyond one rounding of c / sum of |a| |b|; \
                 bound: probabilistic gamma_h, h roundings on the longest path"
            .into(),
    }
}

/// How sums become results: unit roundoff, and the least error of one.
struct Judge {
    unit_roundoff: f64,
    least: f64,
}

impl Judge {
    fn of<T: Real>() -> Self {
        match T::DTYPE {
            // Half of the smallest subnormal number.
            DType::F16 => Self {
                unit_roundoff: T::UNIT_ROUNDOFF,
                least: 1.0 / f64::from(1 << 25),
            },
            DType::Bf16 => Self {
                unit_roundoff: T::UNIT_ROUNDOFF,
                least: 0.0,
            },
            _ => Self {
                unit_roundoff: 0.0,
                least: 0.0,
            },
        }
    }

    /// How far a result is from the exact one, beyond its own rounding, relative to the sum of the magnitudes of its terms.
    /// Infinite where it is no number.
    fn error(&self, found: f64, exact: f64, condition: f64) -> f64 {
        let beyond = (found - exact).abs() - self.unit_roundoff * found.abs() - self.least;
        if beyond <= 0.0 {
            return 0.0;
        }
        let error = beyond / condition;
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

/// The largest error of the sums along a row.
fn row_error<T: Operand>(judge: &Judge, line: &[T], b: &[T], found: &[T]) -> f64 {
    let width = found.len();
    let (mut sums, mut magnitudes) = (vec![0.0; width], vec![0.0; width]);
    add_multiples(&mut sums, &mut magnitudes, line, b);
    let errors = found.iter().zip(sums.iter().zip(&magnitudes));
    errors.fold(0.0, |worst, (found, (exact, condition))| {
        judge.error((*found).into(), *exact, *condition).max(worst)
    })
}

wide! {
    /// For each element of a row, that many times the same row of `b`.
    fn add_multiples<T: Operand>(sums: &mut [f64], magnitudes: &mut [f64], line: &[T], b: &[T]) {
        for (a, b) in line.iter().zip(b.chunks_exact(sums.len())) {
            let a: f64 = a.widen().into();
            for ((sum, magnitude), b) in sums.iter_mut().zip(magnitudes.iter_mut()).zip(b) {
                let b: f64 = b.widen().into();
                *sum += a * b;
                *magnitude += (a * b).abs();
            }
        }
    }

    /// A number times some elements of a row.
    fn add_multiple<T: Operand>(sums: &mut [f64], magnitudes: &mut [f64], factor: f64, line: &[T]) {
        for ((sum, magnitude), a) in sums.iter_mut().zip(magnitudes).zip(line) {
            let a: f64 = a.widen().into();
            *sum += a * factor;
            *magnitude += (a * factor).abs();
        }
    }
}

/// The largest error of the sums down some columns from `first` on.
fn strip_error<T: Operand>(
    judge: &Judge,
    shape: Shape,
    first: usize,
    a: &[T],
    b: &[T],
    c: &[T],
) -> f64 {
    let Shape {
        rows, cols, width, ..
    } = shape;
    let count = STRIP.min(cols - first);
    let (mut sums, mut magnitudes) = (vec![0.0; width * count], vec![0.0; width * count]);
    for row in 0..rows {
        let line = &a[row * cols + first..][..count];
        for (vector, sums) in sums.chunks_exact_mut(count).enumerate() {
            let factor: f64 = b[vector * rows + row].widen().into();
            let magnitudes = &mut magnitudes[vector * count..][..count];
            add_multiple(sums, magnitudes, factor, line);
        }
    }
    check::worst(width * count, |i| {
        let found: f64 = c[i / count * cols + first + i % count].into();
        judge.error(found, sums[i], magnitudes[i])
    })
}
