//! The reference in `f64`: some rows element by element, the others by sums over parts of them.
//!
//! A product of large matrices takes too long to compute again. Rows that are not are compared with
//! `C x = A (B x)`, which takes as long as reading them, for vectors `x` of random signs within
//! [`PART`] columns each (after R. Freivalds, "Probabilistic machines can use less running time", IFIP Congress
//! 1977): an element that is wrong by more than roundings of so many make together shows there too.

use assay_protocol::Philox;
use rayon::prelude::*;

use super::Shape;
use crate::simd::wide;

/// Products that a verification may take element by element: all of a 1024-cube, and some rows of what is larger.
pub const BUDGET: u64 = 1 << 30;
/// Columns that are summed to one number.
pub const PART: usize = 512;
/// Random streams, apart from those of the inputs: one chooses rows, the other signs.
const ROWS: u64 = 0xC0DE;
const SIGNS: u64 = 0xC0DF;

/// The rows to compare element by element: all, or the first, the last, and one at random from each of as many
/// equal parts as the budget allows.
pub fn rows(Shape { m, n, k, .. }: Shape, seed: u64, budget: u64) -> Vec<usize> {
    let cost = (n as u64).saturating_mul(k as u64);
    let count = (budget / cost.max(1)).clamp(16, 1 << 20) as usize;
    if m <= count {
        return (0..m).collect();
    }
    let random = Philox::new(seed, ROWS);
    let within = |part: usize| {
        let (first, end) = (part * m / count, (part + 1) * m / count);
        first + random.word(part as u64) as usize % (end - first)
    };
    [0].into_iter()
        .chain((0..count).map(within))
        .chain([m - 1])
        .collect()
}

/// One row of the product, and for each element the sum of the magnitudes of its terms.
pub fn row(a: &[f32], b: &[f32], n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut sum, mut magnitude) = (vec![0.0; n], vec![0.0; n]);
    for (a, b) in a.iter().zip(b.chunks_exact(n.max(1))) {
        add_multiple(&mut sum, &mut magnitude, f64::from(*a), b);
    }
    (sum, magnitude)
}

wide! {
    fn add_multiple(sum: &mut [f64], magnitude: &mut [f64], a: f64, b: &[f32]) {
        for ((sum, magnitude), b) in sum.iter_mut().zip(magnitude).zip(b) {
            // Exact: two 24-bit significands.
            let product = a * f64::from(*b);
            *sum += product;
            *magnitude += product.abs();
        }
    }
}

/// A sign for each of `n` columns.
pub fn signs(n: usize, seed: u64) -> Vec<f64> {
    let random = Philox::new(seed, SIGNS);
    let sign = |j: usize| {
        if random.word(j as u64) & 1 == 0 {
            1.0
        } else {
            -1.0
        }
    };
    (0..n).map(sign).collect()
}

/// For every part of every row of a matrix the sum of its elements with the signs of its columns, and the root of the sum
/// of their squares; `element(i)` is number `i` of the matrix, row by row.
pub fn sums_of_parts(
    rows: usize,
    signs: &[f64],
    element: impl Fn(usize) -> f64 + Sync,
) -> Vec<(f64, f64)> {
    let n = signs.len();
    let parts = n.div_ceil(PART);
    let sum_of_part = |index: usize| {
        let (row, part) = (index / parts, index % parts);
        let columns = part * PART..n.min((part + 1) * PART);
        let (sum, squares) = columns.fold((0.0, 0.0), |(sum, squares), column| {
            let x = element(row * n + column);
            (sum + signs[column] * x, squares + x * x)
        });
        (sum, squares.sqrt())
    };
    (0..rows * parts).into_par_iter().map(sum_of_part).collect()
}

/// For every part of a row of the product the sum of its elements with signs, and what the root of the sum of the squares of their
/// magnitudes is at most; `b` are the sums of the parts of B.
pub fn parts_of_row(a: &[f32], b: &[(f64, f64)], parts: usize) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); parts];
    for (a, b) in a.iter().zip(b.chunks_exact(parts.max(1))) {
        let a = f64::from(*a);
        for (sum, b) in sums.iter_mut().zip(b) {
            sum.0 += a * b.0;
            sum.1 += a.abs() * b.1;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::{BUDGET, Shape, parts_of_row, row, rows, signs, sums_of_parts};

    #[test]
    fn small_products_are_checked_whole_and_large_ones_in_part() {
        let shape = |m, side| Shape {
            batch: 1,
            m,
            n: side,
            k: side,
        };
        assert_eq!(rows(shape(1024, 1024), 1, BUDGET).len(), 1024);
        let some = rows(shape(8192, 8192), 1, BUDGET);
        assert!(some.len() == 18 && some.contains(&0) && some.contains(&8191));
        assert!(some.is_sorted() && some.iter().all(|row| *row < 8192));
        assert_ne!(some, rows(shape(8192, 8192), 2, BUDGET));
    }

    #[test]
    fn sums_of_a_product_are_those_of_its_rows() {
        let (k, n) = (5, 700);
        let a: Vec<f32> = (0..k as u16).map(|i| f32::from(i) - 2.0).collect();
        let b: Vec<f32> = (0..(k * n) as u16)
            .map(|i| f32::from(i % 37) - 18.0)
            .collect();
        let signs = signs(n, 3);
        let (exact, magnitudes) = row(&a, &b, n);
        let sums = sums_of_parts(k, &signs, |i| b[i].into());
        let found = parts_of_row(&a, &sums, 2);
        let expected = sums_of_parts(1, &signs, |i| exact[i]);
        let most = sums_of_parts(1, &signs, |i| magnitudes[i]);
        for part in 0..2 {
            assert!((expected[part].0 - found[part].0).abs() < 1e-6);
            assert!(found[part].1 >= most[part].1);
        }
    }
}
