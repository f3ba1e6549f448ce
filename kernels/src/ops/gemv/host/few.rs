//! Along rows, of more than four vectors: every element of some rows times its factors, which lie side by side.
//!
//! A step loads the factors of one place once for all rows, and of each row one element, for as many products as there are vectors. Sums
//! over what stays near begin at zero, in registers, and are added to those of the unit.

use std::ops::Range;

use super::vectors::ROWS;
use super::{Product, Room, Unit};
use crate::ops::gemv::operand::{Operand, Sum};
use crate::simd::wide;
use crate::store;

/// Rows whose lines of cache stay in the first one while they are read, also where they are a power of two apart.
pub const TILE: usize = ROWS;

/// Whether so many vectors are multiplied here.
pub const fn takes(width: usize) -> bool {
    width > super::rows::FEW.1
}

/// Terms whose factors stay in the first cache.
pub const fn near(width: usize) -> usize {
    2048 / width
}

/// One unit. `sums` are by row, then by vector.
pub(super) fn multiply<T: Operand>(
    product: &Product<T>,
    unit: &Unit,
    room: &mut Room<T::Sum>,
    sums: &mut [T::Sum],
) {
    let (cols, width) = (product.shape.cols, product.shape.width);
    let near = near(width);
    if unit.is_new_piece {
        let factors = &product.b[unit.terms.start * width..unit.terms.end * width];
        room.packed.clear();
        room.packed.extend(factors.iter().map(|x| x.widen()));
    }
    let Room { packed, wide, .. } = room;
    wide.resize(TILE * near, T::Sum::default());
    sums.fill(T::Sum::default());
    let count = unit.lines.len();
    let part = |row: usize, terms: Range<usize>| {
        let line = &product.a[(unit.lines.start + row) * cols..][..cols];
        &line[terms.start.min(cols)..terms.end.min(cols)]
    };
    let chunks = packed.chunks(near * width);
    for (factors, first) in chunks.zip(unit.terms.clone().step_by(near)) {
        let terms = first..first + factors.len() / width;
        let mut lines: [&[T::Sum]; TILE] = [&[]; TILE];
        let rooms = wide.chunks_exact_mut(near);
        for (row, (line, room)) in lines[..count].iter_mut().zip(rooms).enumerate() {
            *line = T::widen_all(part(row, terms.clone()), &mut room[..terms.len()]);
            for next in part(row, terms.end..terms.end + near).chunks(store::LINE / size_of::<T>())
            {
                store::fetch(&next[0]);
            }
        }
        match T::Sum::few() {
            Some(few) if count == TILE => few.add_products(sums, &lines, factors),
            _ => add_products(sums, &lines[..count], factors),
        }
    }
}

wide! {
    /// The same for any number of rows, in the same order.
    pub fn add_products<S: Sum>(sums: &mut [S], lines: &[&[S]], factors: &[S]) {
        let width = sums.len() / TILE;
        let mut added = [S::default(); MOST_VECTORS];
        for (line, sums) in lines.iter().zip(sums.chunks_exact_mut(width)) {
            let added = &mut added[..width];
            added.fill(S::default());
            for (x, factors) in line.iter().zip(factors.chunks_exact(width)) {
                for (added, factor) in added.iter_mut().zip(factors) {
                    *added = x.multiply_add(*factor, *added);
                }
            }
            for (sum, added) in sums.iter_mut().zip(&*added) {
                *sum = *sum + *added;
            }
        }
    }
}

/// The largest width.
const MOST_VECTORS: usize = 16;
