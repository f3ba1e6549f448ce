//! The reference in `f64`, row by row.

use assay_protocol::Philox;

use super::Shape;
use crate::simd::wide;

/// Products that a verification may take: all of a 1024-cube, and some rows of what is larger.
const BUDGET: u64 = 1 << 30;
/// Random stream that chooses the rows, apart from those of the inputs.
const STREAM: u64 = 0xC0DE;

/// The rows to compare: all, or the first, the last, and one at random from each of as many equal parts
/// as the budget allows.
pub fn rows(Shape { m, n, k }: Shape, seed: u64) -> Vec<usize> {
    let cost = (n as u64).saturating_mul(k as u64);
    let count = (BUDGET / cost.max(1)).clamp(16, 1 << 20) as usize;
    if m <= count {
        return (0..m).collect();
    }
    let random = Philox::new(seed, STREAM);
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

#[cfg(test)]
mod tests {
    use super::{Shape, rows};

    #[test]
    fn small_products_are_checked_whole_and_large_ones_in_part() {
        let shape = |m, side| Shape {
            m,
            n: side,
            k: side,
        };
        assert_eq!(rows(shape(1024, 1024), 1).len(), 1024);
        let some = rows(shape(8192, 8192), 1);
        assert!(some.len() == 18 && some.contains(&0) && some.contains(&8191));
        assert!(some.is_sorted() && some.iter().all(|row| *row < 8192));
        assert_ne!(some, rows(shape(8192, 8192), 2));
    }
}
