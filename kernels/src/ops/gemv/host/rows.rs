//! Along rows, of one vector or four: as many partial sums as there are lanes, of some rows and all vectors at once.

use super::{LANES, Product, Room, Unit};
use crate::ops::gemv::operand::{Operand, Sum, Widening};
use crate::simd::{instruction_set, wide};

/// Terms of a piece: those of all vectors stay in the second cache.
pub const PIECE: usize = 1 << 14;
/// Rows that are read side by side.
pub const TILE: usize = 8;

/// Rows whose partial sums with one vector are in registers at most: the more, the less often its terms are read.
const MOST_ROWS: usize = 8;
/// Rows and vectors whose partial sums are, of more vectors.
pub const FEW: (usize, usize) = (2, 4);

/// As many rows of one vector as have room in registers.
fn rows_of_one<S>() -> usize {
    let is_long = instruction_set() == "avx512" && size_of::<S>() == size_of::<f32>();
    if is_long { MOST_ROWS } else { MOST_ROWS / 2 }
}

/// Terms that stay in a near cache, with those of all vectors: a multiple of the lanes. Those of one vector may stay in the second:
/// they are read as fast as memory is, and that goes on without a break.
const fn near(width: usize) -> usize {
    if width == 1 { PIECE } else { 1024 }
}

/// One unit. `sums` are by row, then by vector.
pub(super) fn multiply<T: Operand>(
    product: &Product<T>,
    unit: &Unit,
    room: &mut Room<T::Sum>,
    sums: &mut [T::Sum],
) {
    let (cols, width) = (product.shape.cols, product.shape.width);
    let (rows, vectors) = match width {
        1 => (rows_of_one::<T::Sum>(), 1),
        _ => FEW,
    };
    if unit.is_new_piece {
        let terms = &product.b[unit.terms.start * width..unit.terms.end * width];
        pack(&mut room.packed, terms, width, vectors);
    }
    let Room {
        packed,
        partial,
        wide,
    } = room;
    let near = near(width);
    partial.clear();
    partial.resize(TILE * width, [T::Sum::default(); LANES]);
    // A single vector needs none.
    wide.resize(if width == 1 { 0 } else { rows * near }, T::Sum::default());
    let chunks = packed.chunks(near * width);
    for (packed, first) in chunks.zip(unit.terms.clone().step_by(near)) {
        let end = unit.terms.end.min(first + near);
        for row in unit.lines.clone().step_by(rows) {
            let count = rows.min(unit.lines.end - row);
            let partial = &mut partial[(row - unit.lines.start) * width..][..count * width];
            let mut elements: [&[T]; MOST_ROWS] = [&[]; MOST_ROWS];
            for (r, elements) in elements[..count].iter_mut().enumerate() {
                *elements = &product.a[(row + r) * cols..][first..end];
            }
            if width == 1 {
                add_elements(partial, &elements[..count], packed);
                continue;
            }
            let mut lines: [&[T::Sum]; MOST_ROWS] = [&[]; MOST_ROWS];
            let rooms = wide.chunks_mut(near);
            for ((line, elements), wide) in lines.iter_mut().zip(&elements[..count]).zip(rooms) {
                *line = T::widen_all(elements, &mut wide[..elements.len()]);
            }
            T::Sum::add_terms(partial, &lines[..count], packed);
        }
    }
    for (sum, partial) in sums.iter_mut().zip(partial.iter_mut()) {
        *sum = fold(partial);
    }
}

/// Adds the products of some lines and one vector; each element is needed once.
fn add_elements<T: Operand>(partial: &mut [[T::Sum; LANES]], lines: &[&[T]], packed: &[T::Sum]) {
    let done = match (T::add_dots(), partial.first_chunk_mut(), lines.try_into()) {
        (Some(function), Some(sums), Ok(eight)) => {
            crate::rows::add_dots(function, sums, eight, packed)
        }
        _ => 0,
    };
    if done < lines[0].len() {
        let mut rest: [&[T]; MOST_ROWS] = [&[]; MOST_ROWS];
        for (rest, line) in rest.iter_mut().zip(lines) {
            *rest = &line[done..];
        }
        T::add_terms(partial, &rest[..lines.len()], &packed[done..]);
    }
}

/// Terms in the order in which they are needed: those that stay near together, `vectors` at a time; of each vector as many as
/// there are lanes, and zeros where there are no more.
fn pack<T: Operand>(packed: &mut Vec<T::Sum>, terms: &[T], width: usize, vectors: usize) {
    packed.clear();
    for near in terms.chunks(near(width) * width) {
        for first in (0..width).step_by(vectors) {
            for terms in near.chunks(LANES * width) {
                for vector in first..first + vectors {
                    let of_vector = terms[vector..].iter().step_by(width);
                    packed.extend(of_vector.map(|term| term.widen()));
                    packed.resize(packed.len().next_multiple_of(LANES), T::Sum::default());
                }
            }
        }
    }
}

wide! {
    /// Adds the products of some lines and all vectors. `partial` are by line, then by vector.
    pub fn add_terms<W: Widening>(partial: &mut [[W::To; LANES]], lines: &[&[W::From]], packed: &[W::To]) {
        let (packed, _) = packed.as_chunks::<LANES>();
        let width = partial.len() / lines.len();
        match (lines, width) {
            (lines, 1) => {
                if let Ok(lines) = <&[_; 8]>::try_from(lines) {
                    add::<W, 1, 8>(partial, width, lines, packed);
                } else if let Ok(lines) = <&[_; 4]>::try_from(lines) {
                    add::<W, 1, 4>(partial, width, lines, packed);
                } else {
                    for (line, partial) in lines.iter().zip(partial) {
                        add::<W, 1, 1>(std::slice::from_mut(partial), width, &[line], packed);
                    }
                }
            }
            (lines, _) => {
                let steps = packed.len() / width;
                for (group, packed) in packed.chunks_exact(steps * FEW.1).enumerate() {
                    let partial = &mut partial[group * FEW.1..];
                    match lines {
                        [a, b] => add::<W, 4, 2>(partial, width, &[a, b], packed),
                        _ => add::<W, 4, 1>(partial, width, &[lines[0]], packed),
                    }
                }
            }
        }
    }
}

/// Adds the products of `ROWS` lines and `VECTORS` vectors, whose partial sums are the first of each line's `width`.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn add<W: Widening, const VECTORS: usize, const ROWS: usize>(
    partial: &mut [[W::To; LANES]],
    width: usize,
    lines: &[&[W::From]; ROWS],
    packed: &[[W::To; LANES]],
) {
    let mut sums = [[[W::To::default(); LANES]; VECTORS]; ROWS];
    for (sums, partial) in sums.iter_mut().zip(partial.chunks(width)) {
        sums.copy_from_slice(&partial[..VECTORS]);
    }
    let (factors, _) = packed.as_chunks::<VECTORS>();
    let steps = lines[0].len() / LANES;
    for (step, factors) in factors[..steps].iter().enumerate() {
        let at = |line: &&[W::From]| W::widen(&line.as_chunks::<LANES>().0[step]);
        add_step(&mut sums, lines, factors, at);
    }
    if let Some(factors) = factors.get(steps) {
        let padded = |line: &&[W::From]| {
            let tail = &line[steps * LANES..];
            let mut partial = [W::From::default(); LANES];
            partial[..tail.len()].copy_from_slice(tail);
            W::widen(&partial)
        };
        add_step(&mut sums, lines, factors, padded);
    }
    for (sums, partial) in sums.iter().zip(partial.chunks_mut(width)) {
        partial[..VECTORS].copy_from_slice(sums);
    }
}

/// Adds as many terms as there are lanes, those that `at` finds in a line.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn add_step<T, S: Sum, const VECTORS: usize, const ROWS: usize>(
    sums: &mut [[[S; LANES]; VECTORS]; ROWS],
    lines: &[&[T]; ROWS],
    factors: &[[S; LANES]; VECTORS],
    at: impl Fn(&&[T]) -> [S; LANES],
) {
    for (sums, line) in sums.iter_mut().zip(lines) {
        let line = at(line);
        for (sums, factors) in sums.iter_mut().zip(factors) {
            for (sum, (x, factor)) in sums.iter_mut().zip(line.iter().zip(factors)) {
                *sum = x.multiply_add(*factor, *sum);
            }
        }
    }
}

/// The sum of the lanes: of halves, of quarters, and so on.
fn fold<S: Sum>(partial: &mut [S; LANES]) -> S {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            partial[lane] = partial[lane] + partial[lane + width];
        }
        width /= 2;
    }
    partial[0]
}
