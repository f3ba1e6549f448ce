//! Reductions of one shape for every length: blocks summed in lanes, then a balanced tree over the blocks.
//!
//! Since the shape depends on nothing but the length, the bits of a sum depend neither on the number of
//! threads nor on the width of the machine's vectors. Its height, which bounds the rounding error (Higham,
//! "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 4.2), grows with
//! the logarithm of the length.

use std::ops::Range;

use rayon::prelude::*;

use crate::bound::tree_height;
use crate::element::Real;
use crate::simd::wide;

/// Elements of a block.
pub const BLOCK: usize = 4096;
/// Independent partial sums of a block: enough to hide the latency of an addition.
pub(crate) const LANES: usize = 64;

wide! {
    /// Sum of a block of at most [`BLOCK`] elements.
    pub fn block_sum<T: Real>(block: &[T]) -> T {
        let mut lanes = [T::default(); LANES];
        let mut rows = block.chunks_exact(LANES);
        for row in &mut rows {
            for (lane, x) in lanes.iter_mut().zip(row) {
                *lane = *lane + *x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rows.remainder()) {
            *lane = *lane + *x;
        }
        fold_lanes(&mut lanes)
    }

    /// Sum of the products of two blocks of one length, at most [`BLOCK`].
    pub fn block_dot<T: Real>(left: &[T], right: &[T]) -> T {
        let mut lanes = [T::default(); LANES];
        let mut rows = left.chunks_exact(LANES).zip(right.chunks_exact(LANES));
        for (left, right) in &mut rows {
            for (lane, (x, y)) in lanes.iter_mut().zip(left.iter().zip(right)) {
                *lane = *lane + *x * *y;
            }
        }
        let whole = left.len() / LANES * LANES;
        for (lane, (x, y)) in lanes.iter_mut().zip(left[whole..].iter().zip(&right[whole..])) {
            *lane = *lane + *x * *y;
        }
        fold_lanes(&mut lanes)
    }
}

/// The sum of partial sums, in pairs.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub(crate) fn fold_lanes<T: Real>(lanes: &mut [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[lane] + lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of the values of `leaf` over `first..first + count`: of pairs, of pairs of pairs, and so on, with nothing added to
/// what has no other of its pair. `count` is at least 1.
pub fn tree<T: Real>(leaf: &impl Fn(usize) -> T, first: usize, count: usize) -> T {
    if count == 1 {
        return leaf(first);
    }
    let half = count.next_power_of_two() / 2;
    tree(leaf, first, half) + tree(leaf, first + half, count - half)
}

/// The blocks of `len` elements.
pub fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    let block = move |first: usize| first..len.min(first + BLOCK);
    (0..len).step_by(BLOCK).map(block)
}

/// Sum of any number of elements, at least one, by one thread.
pub fn sum<T: Real>(elements: &[T]) -> T {
    let leaf = |block: usize| {
        let rest = &elements[block * BLOCK..];
        block_sum(&rest[..rest.len().min(BLOCK)])
    };
    tree(&leaf, 0, elements.len().div_ceil(BLOCK))
}

/// Sum of the products of two rows of one length, at least 1, by one thread.
pub fn dot<T: Real>(left: &[T], right: &[T]) -> T {
    let leaf = |block: usize| {
        let range = block * BLOCK..left.len().min((block + 1) * BLOCK);
        block_dot(&left[range.clone()], &right[range])
    };
    tree(&leaf, 0, left.len().div_ceil(BLOCK))
}

/// Additions on the longest path through the sum of a block.
pub fn block_height(len: usize) -> u64 {
    len.min(BLOCK).div_ceil(LANES) as u64 + tree_height(LANES as u64)
}

/// Additions on the longest path through a sum of `len` elements.
pub fn height(len: usize) -> u64 {
    block_height(len) + tree_height(len.div_ceil(BLOCK) as u64)
}

/// The sum of `term(i)` over `0..len`, and of the magnitudes, as if computed with twice the precision of `f64`.
///
/// Each term is the unevaluated product of two `f64`. Source: T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and
/// dot product", SIAM J. Sci. Comput. 26(6), 2005, algorithm 5.3 (Dot2), whose result is as
/// accurate as if rounded once, plus `gamma_n(u)^2` times the condition, which vanishes beside it.
pub fn reference(len: usize, term: impl Fn(usize) -> (f64, f64) + Sync) -> (f64, f64) {
    let batch = |batch: usize| {
        let range = batch * BLOCK..len.min((batch + 1) * BLOCK);
        range.fold(Double::default(), |total, i| total.add_product(term(i)))
    };
    let batches: Vec<_> = (0..len.div_ceil(BLOCK))
        .into_par_iter()
        .map(batch)
        .collect();
    let total = batches.into_iter().fold(Double::default(), Double::add);
    (total.sum + total.lost, total.magnitude)
}

/// A running sum, what it lost to rounding, and the sum of the magnitudes.
#[derive(Clone, Copy, Default)]
struct Double {
    sum: f64,
    lost: f64,
    magnitude: f64,
}

impl Double {
    fn add_product(self, (x, y): (f64, f64)) -> Self {
        let product = x * y;
        let lost = x.mul_add(y, -product);
        self.add(Self {
            sum: product,
            lost,
            magnitude: product.abs(),
        })
    }

    fn add(self, other: Self) -> Self {
        let (sum, lost) = two_sum(self.sum, other.sum);
        Self {
            sum,
            lost: self.lost + other.lost + lost,
            magnitude: self.magnitude + other.magnitude,
        }
    }
}

/// Knuth's error-free sum: `a + b = sum + lost` exactly.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLOCK, height, reference, sum};
    use crate::bound::tolerance;

    proptest! {
        #[test]
        fn sums_are_within_their_bound(values in prop::collection::vec(-1e3_f32..1e3, 1..3 * BLOCK)) {
            let (exact, magnitude) = reference(values.len(), |i| (f64::from(values[i]), 1.0));
            let error = (f64::from(sum(&values)) - exact).abs() / magnitude.max(f64::MIN_POSITIVE);
            prop_assert!(error <= tolerance::<f32>(height(values.len()), 2));
        }
    }

    #[test]
    fn the_reference_keeps_what_f64_would_lose() {
        let terms = [(1e20, 1.0), (1.0, 1.0), (-1e20, 1.0), (0.1, 0.1)];
        let (exact, magnitude) = reference(terms.len(), |i| terms[i]);
        assert!((exact - 1.01).abs() < 1e-15, "{exact}");
        assert!(magnitude > 1e20);
    }
}
