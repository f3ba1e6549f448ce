//! Down columns: sums of as many columns as stay near, to which some rows are added at a time.

use super::{LANES, Product, Room, Unit};
use crate::ops::gemv::Shape;
use crate::ops::gemv::operand::{Operand, Plain, Sum, Widening};
use crate::rows::{self, ROWS};
use crate::simd::wide;
use crate::store;

/// Columns of rows that are added together, which stay in the first cache for all vectors.
const NEAR: usize = 512;
/// The same for one vector: their sums stay there, and memory is read in longer pieces.
const NEAR_ONE: usize = 2048;
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
pub(super) fn multiply<T: Operand>(
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
    let near = if width == 1 { NEAR_ONE } else { NEAR };
    for first in unit.lines.clone().step_by(near) {
        let columns = first..unit.lines.end.min(first + near);
        let mut elements: [&[T]; ROWS] = [&[]; ROWS];
        for (r, elements) in elements[..count].iter_mut().enumerate() {
            *elements = &product.a[(row + r) * cols..][columns.clone()];
        }
        let place = first - unit.lines.start..first - unit.lines.start + columns.len();
        if width == 1 {
            // Each is needed once, and the rows that come next after these.
            add_elements(&mut sums[place], &elements[..count], factors, ROWS * cols);
            continue;
        }
        let mut lines: [&[T::Sum]; ROWS] = [&[]; ROWS];
        let rooms = wide.chunks_mut(NEAR);
        for ((line, elements), wide) in lines.iter_mut().zip(&elements[..count]).zip(rooms) {
            *line = T::widen_all(elements, &mut wide[..elements.len()]);
        }
        let pitch = product.division.tile;
        let done = match T::Sum::few() {
            Some(few) if count == ROWS => {
                // What is widened lies here, and what comes next elsewhere.
                let is_in_place = size_of::<T>() == size_of::<T::Sum>();
                let ahead = if is_in_place { ROWS * cols } else { 0 };
                few.add_lines(
                    &mut sums[place.start..],
                    &lines,
                    factors,
                    [width, pitch, ahead],
                )
            }
            _ => 0,
        };
        let rest = place.start + done..place.end;
        let lines = lines.map(|line| line.get(done..).unwrap_or_default());
        for (factors, sums) in factors
            .chunks_exact(count)
            .zip(sums.chunks_exact_mut(pitch))
        {
            add_lines::<Plain<T::Sum>>(&mut sums[rest.clone()], &lines[..count], factors, 0);
        }
    }
}

/// As [`add_lines`], by the processor's own vectors where all of [`ROWS`] are there.
fn add_elements<T: Operand>(sums: &mut [T::Sum], lines: &[&[T]], factors: &[T::Sum], ahead: usize) {
    match (T::add_rows(), lines.try_into(), factors.first_chunk()) {
        (Some(function), Ok(lines), Some(eight)) => {
            let done = rows::add(function, sums, lines, eight, ahead);
            add_behind(&mut sums[done..], lines, eight, done);
        }
        _ => add_lines::<Plain<T>>(sums, lines, factors, ahead),
    }
}

wide! {
    /// Adds the elements of lines from `first` on.
    fn add_behind<T: Operand>(sums: &mut [T::Sum], lines: &[&[T]; ROWS], factors: &[T::Sum; ROWS], first: usize) {
        for (line, factor) in lines.iter().zip(factors) {
            add_rest(sums, &line[first..], *factor);
        }
    }

    /// Adds lines, each times its factor: all of [`ROWS`] together, or one after the other. Meanwhile what lies `ahead` elements behind
    /// those is fetched, unless that is 0: too little of a line is read at a time for the processor to see where it goes on.
    fn add_lines<W: Widening>(sums: &mut [W::To], lines: &[&[W::From]], factors: &[W::To], ahead: usize) {
        if let (Ok(lines), Some(factors)) = (<&[&[W::From]; ROWS]>::try_from(lines), factors.first_chunk::<ROWS>()) {
            if ahead > 0 {
                add_together::<W, true>(sums, lines, factors, ahead);
            } else {
                add_together::<W, false>(sums, lines, factors, ahead);
            }
        } else {
            for (line, factor) in lines.iter().zip(factors) {
                add_rest(sums, line, *factor);
            }
        }
    }
}

/// Adds to each sum the elements of all lines, in their order.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn add_together<W: Widening, const FETCHES: bool>(
    sums: &mut [W::To],
    lines: &[&[W::From]; ROWS],
    factors: &[W::To; ROWS],
    ahead: usize,
) {
    let whole = sums.len() / LANES * LANES;
    for (index, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut added = *sums;
        for (line, factor) in lines.iter().zip(factors) {
            let line = &line.as_chunks::<LANES>().0[index];
            if FETCHES {
                for part in line.chunks(store::LINE / size_of::<W::From>()) {
                    store::fetch_behind(&part[0], ahead);
                }
            }
            let line = W::widen(line);
            for (sum, x) in added.iter_mut().zip(&line) {
                *sum = x.multiply_add(*factor, *sum);
            }
        }
        *sums = added;
    }
    for (line, factor) in lines.iter().zip(factors) {
        add_rest(&mut sums[whole..], &line[whole..], *factor);
    }
}

/// Adds a line times its factor.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn add_rest<T: Operand>(sums: &mut [T::Sum], line: &[T], factor: T::Sum) {
    for (sum, element) in sums.iter_mut().zip(line) {
        *sum = element.widen().multiply_add(factor, *sum);
    }
}
