//! The reference in `f64`: some pixels filter by filter, all by a sum over their filters.
//!
//! Large convolutions take too long to compute again. Of every pixel the sum of its filters with random signs is compared
//! with that of its window and the filters summed likewise, which takes as long as one filter (after R. Freivalds,
//! "Probabilistic machines can use less running time", IFIP Congress 1977): an element that is wrong by more than
//! roundings of so many make together shows there too.

use assay_protocol::Philox;
use rayon::prelude::*;

use super::Tensors;
use super::shape::Shape;
use crate::bound::likely_gamma;
use crate::check;
use crate::element::Real;
use crate::program::{Checked, Outcome};
use crate::simd::wide;

/// Products that a verification may take filter by filter.
const BUDGET: u64 = 1 << 30;
/// Filters that are summed to one number.
const PART: usize = 512;
/// Random streams, apart from those of the inputs: one chooses pixels, the other signs.
const PIXELS: u64 = 0xC0DE;
const SIGNS: u64 = 0xC0DF;

/// A sum, and the sum of the magnitudes of its terms, or what is in their stead.
type Sum = (f64, f64);

/// Compares the output with the reference.
pub fn check(shape: &Shape, outcome: &Outcome, tensors: Tensors, seed: u64) -> Checked {
    let [input, filters, output] =
        [tensors.input, tensors.filters, tensors.output].map(|index| outcome.get::<f32>(index));
    let reference = Reference {
        shape,
        input,
        filters,
        output,
    };
    reference.check(seed, BUDGET)
}

struct Reference<'a> {
    shape: &'a Shape,
    input: &'a [f32],
    filters: &'a [f32],
    output: &'a [f32],
}

impl Reference<'_> {
    fn check(&self, seed: u64, budget: u64) -> Checked {
        let all = self.shape.pixels();
        let pixels = self.chosen(seed, budget);
        let mut error = pixels
            .par_iter()
            .map(|pixel| self.pixel_error(*pixel))
            .reduce(|| 0.0, f64::max);
        if pixels.len() < all {
            error = error.max(self.sums_error(seed));
        }
        let others = if pixels.len() < all {
            ", of all by sums over filters"
        } else {
            ""
        };
        let length = self.shape.window() as u64;
        Checked {
            error,
            tolerance: likely_gamma(length, f32::UNIT_ROUNDOFF)
                + likely_gamma(length, f64::UNIT_ROUNDOFF),
            detail: format!(
                "largest |y - exact| / sum of |x| |f|, of {} of {all} pixels by filter{others}; \
                 bound: the smaller of gamma_n and 10 sqrt(n) u, n = R S C",
                pixels.len(),
            ),
        }
    }

    /// The pixels to compare filter by filter: all, or the first, the last, and one at random from each of as many equal
    /// parts as the budget allows.
    fn chosen(&self, seed: u64, budget: u64) -> Vec<usize> {
        let all = self.shape.pixels();
        let count = (budget / (self.shape.weights() as u64).max(1)).clamp(16, 1 << 20) as usize;
        if all <= count {
            return (0..all).collect();
        }
        let random = Philox::new(seed, PIXELS);
        let within = |part: usize| {
            let (first, end) = (part * all / count, (part + 1) * all / count);
            first + random.word(part as u64) as usize % (end - first)
        };
        let mut chosen: Vec<_> = (0..count).map(within).chain([0, all - 1]).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Calls `add` with each element of a pixel's window that is in the image, and its place in the window.
    fn each_of_window(&self, pixel: usize, mut add: impl FnMut(f64, usize)) {
        let window = self.shape.window_of(pixel);
        for r in 0..self.shape.kernel {
            let (at, source) = self.shape.part_of_line(&window, r);
            let first = r * self.shape.line() + at;
            for (x, place) in self.input[source].iter().zip(first..) {
                add(f64::from(*x), place);
            }
        }
    }

    fn pixel_error(&self, pixel: usize) -> f64 {
        let count = self.shape.filters;
        let (mut sums, mut magnitudes) = (vec![0.0; count], vec![0.0; count]);
        self.each_of_window(pixel, |x, place| {
            let filters = &self.filters[place * count..][..count];
            add_multiple(&mut sums, &mut magnitudes, x, filters);
        });
        let found = &self.output[pixel * count..][..count];
        check::worst(count, |k| {
            check::relative(found[k].into(), sums[k], magnitudes[k])
        })
    }

    /// The largest error of a sum of filters of a pixel. Errors of its terms add up as independent ones do: three times their
    /// root mean square is more than they make together.
    fn sums_error(&self, seed: u64) -> f64 {
        const TIMES: f64 = 3.0;
        let count = self.shape.filters;
        let signs = signs(count, seed);
        let parts = count.div_ceil(PART);
        let of_filters: Vec<Vec<Sum>> = self
            .filters
            .par_chunks_exact(count.max(1))
            .map(|filters| sums_of_parts(filters, &signs))
            .collect();
        let of_pixel = |pixel: usize| {
            let mut exact = vec![(0.0, 0.0); parts];
            self.each_of_window(pixel, |x, place| {
                for (sum, of_part) in exact.iter_mut().zip(&of_filters[place]) {
                    sum.0 += x * of_part.0;
                    sum.1 += x.abs() * of_part.1;
                }
            });
            let found = sums_of_parts(&self.output[pixel * count..][..count], &signs);
            check::worst(parts, |part| {
                check::relative(found[part].0, exact[part].0, TIMES * exact[part].1)
            })
        };
        (0..self.shape.pixels())
            .into_par_iter()
            .map(of_pixel)
            .reduce(|| 0.0, f64::max)
    }
}

wide! {
    fn add_multiple(sums: &mut [f64], magnitudes: &mut [f64], x: f64, filters: &[f32]) {
        for ((sum, magnitude), f) in sums.iter_mut().zip(magnitudes).zip(filters) {
            // Exact: two 24-bit significands.
            let product = x * f64::from(*f);
            *sum += product;
            *magnitude += product.abs();
        }
    }
}

/// A sign for each of `count` filters.
fn signs(count: usize, seed: u64) -> Vec<f64> {
    let random = Philox::new(seed, SIGNS);
    let sign = |k: usize| f64::from(random.word(k as u64) & 1) * 2.0 - 1.0;
    (0..count).map(sign).collect()
}

/// For every part the sum of its elements with their signs, and the root of the sum of their squares.
fn sums_of_parts(elements: &[f32], signs: &[f64]) -> Vec<Sum> {
    let of_part = |(elements, signs): (&[f32], &[f64])| {
        let (sum, squares) =
            elements
                .iter()
                .zip(signs)
                .fold((0.0, 0.0), |(sum, squares), (x, sign)| {
                    let x = f64::from(*x);
                    (sum + sign * x, squares + x * x)
                });
        (sum, squares.sqrt())
    };
    elements
        .chunks(PART)
        .zip(signs.chunks(PART))
        .map(of_part)
        .collect()
}

#[cfg(test)]
mod tests;
