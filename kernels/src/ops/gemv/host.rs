//! The implementation for the host.
//!
//! Sums are divided by the sizes alone, never by the number of threads: into pieces of their terms, and tiles of their
//! results. A unit is one piece of one tile; threads share the units, and then add up the pieces of each tile in order. So
//! the bits do not depend on the number of threads, nor, since additions are neither reordered nor left to the compiler to
//! fuse, on the width of vectors.
//!
//! [Along rows](rows) a few lines are read side by side, which is what prefetchers are made for, and so they are
//! [down columns](columns). [More vectors](few) than four are bound by arithmetic.

pub(super) mod columns;
mod few;
pub(super) mod rows;
pub(super) mod vectors;

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::operand::Operand;
use super::{Along, Shape};
use crate::device::{Member, Team, chunk};

/// Elements that are multiplied together, whatever the width of the machine's vectors.
pub(super) const LANES: usize = 32;
/// Results that are added up together.
const BATCH: usize = 256;

/// Multiplies `iterations` times, and returns the nanoseconds that it took.
pub fn time<T: Operand>(
    team: &Team,
    iterations: u64,
    shape: Shape,
    (a, b): (&[T], &[T]),
    c: &mut [T],
) -> u64 {
    let division = Division::of(shape);
    let parts: Vec<_> = (0..team.threads())
        .map(|_| RwLock::new(Vec::new()))
        .collect();
    let product = Product {
        shape,
        division,
        a,
        b,
        parts: &parts,
    };
    let mut first = 0;
    let tasks = team.split_mut(c, BATCH).into_iter().map(|c| {
        let task = Share {
            first,
            c,
            room: Room::default(),
        };
        first += task.c.len();
        task
    });
    team.time(iterations, tasks.collect(), |member, share| {
        product.multiply(member, share);
    })
}

/// Roundings on the longest path through a sum.
pub fn height(shape: Shape) -> u64 {
    let division = Division::of(shape);
    let piece = division.piece.min(shape.depth());
    let in_piece = match shape.along {
        Along::Rows if few::takes(shape.width) => {
            let near = few::near(shape.width);
            piece.min(near) + piece.div_ceil(near)
        }
        Along::Rows => piece.div_ceil(LANES) + LANES.ilog2() as usize,
        Along::Columns => piece,
    };
    (in_piece + division.pieces) as u64
}

/// How sums are divided.
#[derive(Clone, Copy, Debug)]
struct Division {
    /// Terms of a piece, at least one, and how many pieces.
    piece: usize,
    pieces: usize,
    /// Lines, rows or columns, of a tile, and how many tiles.
    tile: usize,
    tiles: usize,
}

impl Division {
    fn of(shape: Shape) -> Self {
        let (piece, tile) = match shape.along {
            Along::Rows => (rows::PIECE, rows::TILE),
            Along::Columns => (columns::piece(shape), columns::tile(shape.width)),
        };
        Self {
            piece,
            // Of nothing there is a sum, too.
            pieces: shape.depth().div_ceil(piece).max(1),
            tile,
            tiles: shape.sums().div_ceil(tile),
        }
    }

    fn units(self) -> usize {
        self.pieces * self.tiles
    }
}

/// What all threads know.
struct Product<'a, T: Operand> {
    shape: Shape,
    division: Division,
    a: &'a [T],
    b: &'a [T],
    /// What units came to, those of a thread by itself.
    parts: &'a [RwLock<Vec<T::Sum>>],
}

/// What one thread works on.
struct Share<'a, T: Operand> {
    /// Number of the first of its results.
    first: usize,
    c: &'a mut [T],
    room: Room<T::Sum>,
}

/// What a thread keeps near.
#[derive(Debug, Default)]
struct Room<S> {
    /// Terms of vectors in the order in which they are needed.
    packed: Vec<S>,
    /// Partial sums.
    partial: Vec<[S; LANES]>,
    /// Parts of some lines, where elements are not of the type of sums.
    wide: Vec<S>,
}

/// A piece of a tile: a range of its terms and of its lines.
#[derive(Debug)]
struct Unit {
    terms: Range<usize>,
    lines: Range<usize>,
    /// Whether its terms are not those of the unit before.
    is_new_piece: bool,
}

impl<T: Operand> Product<'_, T> {
    fn multiply(&self, member: &Member, share: &mut Share<T>) {
        self.multiply_units(member.index, &mut share.room);
        member.meet();
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|part| part.read().unwrap_or_else(PoisonError::into_inner))
            .collect();
        self.add_pieces(&parts, share);
    }

    /// The units of a thread. Those of one piece come one after the other.
    fn units(&self, thread: usize) -> Range<usize> {
        chunk(self.division.units(), 1, self.parts.len(), thread)
    }

    fn unit(&self, index: usize, is_first: bool) -> Unit {
        let Division {
            piece, tile, tiles, ..
        } = self.division;
        let (depth, sums) = (self.shape.depth(), self.shape.sums());
        let range = |number: usize, size: usize, end: usize| {
            (number * size).min(end)..(number * size + size).min(end)
        };
        Unit {
            terms: range(index / tiles, piece, depth),
            lines: range(index % tiles, tile, sums),
            is_new_piece: is_first || index.is_multiple_of(tiles),
        }
    }

    /// Results of a unit, with those that are not there.
    fn unit_len(&self) -> usize {
        self.division.tile * self.shape.width
    }

    fn multiply_units(&self, thread: usize, room: &mut Room<T::Sum>) {
        let units = self.units(thread);
        let mut part = self.parts[thread]
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        part.resize(units.len() * self.unit_len(), T::Sum::default());
        for (sums, index) in part.chunks_exact_mut(self.unit_len()).zip(units.clone()) {
            let unit = self.unit(index, index == units.start);
            match self.shape.along {
                Along::Rows if few::takes(self.shape.width) => {
                    few::multiply(self, &unit, room, sums);
                }
                Along::Rows => rows::multiply(self, &unit, room, sums),
                Along::Columns => columns::multiply(self, &unit, room, sums),
            }
        }
    }

    /// The tile of a result, its place in there, and how many results go on there.
    fn place(&self, result: usize) -> (usize, usize, usize) {
        let (tile, len) = (self.division.tile, self.unit_len());
        match self.shape.along {
            Along::Rows => (result / len, result % len, len - result % len),
            Along::Columns => {
                let (vector, column) = (result / self.shape.cols, result % self.shape.cols);
                let left = (tile - column % tile).min(self.shape.cols - column);
                (column / tile, vector * tile + column % tile, left)
            }
        }
    }

    /// What a unit came to.
    fn sums<'p>(&self, parts: &'p [RwLockReadGuard<Vec<T::Sum>>], index: usize) -> &'p [T::Sum] {
        let owner = (0..parts.len()).find(|thread| self.units(*thread).contains(&index));
        let owner = owner.expect("every unit has a thread");
        &parts[owner][(index - self.units(owner).start) * self.unit_len()..]
    }

    /// The results of a thread: pieces in their order.
    fn add_pieces(&self, parts: &[RwLockReadGuard<Vec<T::Sum>>], share: &mut Share<T>) {
        let mut done = 0;
        while done < share.c.len() {
            let (tile, place, left) = self.place(share.first + done);
            let count = left.min(share.c.len() - done).min(BATCH);
            let mut sums = [T::Sum::default(); BATCH];
            for piece in 0..self.division.pieces {
                let unit = self.sums(parts, piece * self.division.tiles + tile);
                let more = &unit[place..place + count];
                for (sum, more) in sums.iter_mut().zip(more) {
                    *sum = *sum + *more;
                }
            }
            for (c, sum) in share.c[done..].iter_mut().zip(&sums[..count]) {
                *c = T::narrow(*sum);
            }
            done += count;
        }
    }
}
