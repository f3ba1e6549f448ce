//! Down columns: sums of as many columns as stay near, to which some rows are added at a time.

use super::{Product, Room, Unit};
use crate::ops::gemv::Shape;
use crate::ops::gemv::operand::{Operand, Sum};
use crate::simd::wide;

/// Rows that are added together: sums are loaded and stored once for all of them.
const ROWS: usize = 8;
/// Columns of rows that are added together, which stay in the first cache for all vectors.
const NEAR: usize = 512;
/// Rows whose factors are packed together.
const PACKED: usize = 256;
/// Pieces of a sum: as many as threads may want, where they are worth their sums.
const PIECES: usize = 64;

/// Rows of a piece.
pub fn piece(shape: Shape) -> usize {
    shape.rows.div_ceil(PIECES).max(64 * shape.width)
}

/// Columns of a tile: all their sums stay in a near cache, and a line's part is a page at best.
pub const fn tile(width: usize) -> usize {
    if width <= 4 { 4096 } else { 16_384 / width }
}

/// One unit. `sums` are by vector, then by column.
pub fn multiply<T: Operand>(
    product: &Product<T>,
    unit: &Unit,
    room: &mut Room<T::Sum>,
    sums: &mut [T::Sum],
) {
    let Shape { rows, width, .. } = product.shape;
    let Room { packed, wide, .. } = room;
    sums.fill(T::Sum::default());
    wide.resize(ROWS * NEAR, T::Sum::default());
    for first in unit.terms.clone().step_by(PACKED) {
        let terms = first..unit.terms.end.min(first + PACKED);
        // By rows together, then by vector.
        packed.clear();
        for first in terms.clone().step_by(ROWS) {
            for vector in 0..width {
                let factors = &product.b[vector * rows..][first..terms.end.min(first + ROWS)];
                packed.extend(factors.iter().map(|factor| factor.widen()));
            }
        }
        let groups = packed.chunks(ROWS * width);
        for (factors, row) in groups.zip(terms.step_by(ROWS)) {
            add_rows(product, unit, (row, factors), wide, sums);
        }
    }
}

/// Adds the rows from `row` on for which there are factors.
fn add_rows<T: Operand>(
    product: &Product<T>,
    unit: &Unit,
    (row, factors): (usize, &[T::Sum]),
    wide: &mut [T::Sum],
    sums: &mut [T::Sum],
) {
    let Shape { cols, width, .. } = product.shape;
    let count = factors.len() / width;
    for first in unit.lines.clone().step_by(NEAR) {
        let columns = first..unit.lines.end.min(first + NEAR);
        let mut elements: [&[T]; ROWS] = [&[]; ROWS];
        for (r, elements) in elements[..count].iter_mut().enumerate() {
            *elements = &product.a[(row + r) * cols..][columns.clone()];
        }
        let place = first - unit.lines.start..first - unit.lines.start + columns.len();
        if width == 1 {
            // Each is needed once.
            add_lines::<T>(&mut sums[place], &elements[..count], factors);
            continue;
        }
        let mut lines: [&[T::Sum]; ROWS] = [&[]; ROWS];
        let rooms = wide.chunks_mut(NEAR);
        for ((line, elements), wide) in lines.iter_mut().zip(&elements[..count]).zip(rooms) {
            *line = T::widen_all(elements, &mut wide[..elements.len()]);
        }
        let vectors = sums.chunks_exact_mut(product.division.tile);
        for (factors, sums) in factors.chunks_exact(count).zip(vectors) {
            add_lines::<T::Sum>(&mut sums[place.clone()], &lines[..count], factors);
        }
    }
}

wide! {
    /// Adds lines, each times its factor: all of [`ROWS`] together, or one after the other.
    fn add_lines<T: Operand>(sums: &mut [T::Sum], lines: &[&[T]], factors: &[T::Sum]) {
        let len = sums.len();
        if let ([l0, l1, l2, l3, l4, l5, l6, l7], Some(factors)) = (lines, factors.first_chunk::<ROWS>()) {
            let [l0, l1, l2, l3] = [&l0[..len], &l1[..len], &l2[..len], &l3[..len]];
            let [l4, l5, l6, l7] = [&l4[..len], &l5[..len], &l6[..len], &l7[..len]];
            for i in 0..len {
                let elements = [l0[i], l1[i], l2[i], l3[i], l4[i], l5[i], l6[i], l7[i]];
                let mut sum = sums[i];
                for (element, factor) in elements.iter().zip(factors) {
                    sum = element.widen().multiply_add(*factor, sum);
                }
                sums[i] = sum;
            }
        } else {
            for (line, factor) in lines.iter().zip(factors) {
                for (sum, element) in sums.iter_mut().zip(*line) {
                    *sum = element.widen().multiply_add(*factor, *sum);
                }
            }
        }
    }
}
