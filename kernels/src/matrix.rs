//! Matrices in memory of the host, as parts of larger ones, and the product of those of `f32`.
//!
//! A view knows where its rows begin and how far columns are apart, so that a head of attention, the rows of an
//! expert or a transposed matrix is a view and no copy. The product is the `gemm` crate's, by one thread; [`multiply_by`]
//! divides a product into tiles whose size does not depend on how many threads there are, each of which one
//! thread computes alone. So the bits are the same for any team.
#![allow(unsafe_code)] // parts of one matrix that several threads write, and the crate's interface of pointers

use std::marker::PhantomData;
use std::ops::Range;

use crate::device::Team;
use crate::lane::{self, Lane};

/// Rows and columns at most of what one thread computes at a time in [`multiply_by`]: large enough that packing operands is
/// little beside multiplying them, small enough that there are several for each thread.
const TILE: [usize; 2] = [384, 512];
/// Rows and columns of tiles are multiples of these.
const GRANULES: [usize; 2] = [8, 16];

/// A matrix that is read.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T = f32> {
    start: *const T,
    rows: usize,
    cols: usize,
    /// Elements from a row to the next, and from a column to the next.
    down: usize,
    right: usize,
    elements: PhantomData<&'a [T]>,
}

// SAFETY: it only reads what it borrows, as a slice does.
unsafe impl<T: Sync> Send for Matrix<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<'_, T> {}

/// A matrix that is written. Nobody else sees its elements; those between its rows belong to others.
#[derive(Debug)]
pub struct MatrixMut<'a, T = f32> {
    start: *mut T,
    rows: usize,
    cols: usize,
    down: usize,
    elements: PhantomData<&'a mut [T]>,
}

// SAFETY: its elements are its own, as those of a slice that is borrowed exclusively.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}

/// Whether a product replaces what is there, or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Replaces it.
    Set,
    /// Is added to it.
    Add,
}

/// Fails unless a matrix lies within its elements.
fn assert_fits(len: usize, rows: usize, cols: usize, stride: usize) {
    let is_empty = rows == 0 || cols == 0;
    assert!(
        is_empty || (cols <= stride && (rows - 1) * stride + cols <= len),
        "{rows} rows of {cols}, {stride} apart, in {len} elements"
    );
}

fn assert_within(part: &Range<usize>, whole: usize) {
    assert!(
        part.start <= part.end && part.end <= whole,
        "{part:?} of {whole}"
    );
}

impl<'a, T> Matrix<'a, T> {
    /// Rows of `cols` elements, `stride` apart.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn new(elements: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert_fits(elements.len(), rows, cols, stride);
        Self {
            start: elements.as_ptr(),
            rows,
            cols,
            down: stride,
            right: 1,
            elements: PhantomData,
        }
    }

    /// Rows one behind the other.
    pub fn whole(elements: &'a [T], rows: usize, cols: usize) -> Self {
        Self::new(elements, rows, cols, cols)
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The same with rows for columns.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            down: self.right,
            right: self.down,
            ..self
        }
    }

    /// Some rows and columns of it.
    ///
    /// # Panics
    /// If it has not so many.
    #[must_use]
    pub fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        assert_within(&rows, self.rows);
        assert_within(&cols, self.cols);
        let first = rows.start * self.down + cols.start * self.right;
        Self {
            start: self.start.wrapping_add(first),
            rows: rows.len(),
            cols: cols.len(),
            ..self
        }
    }

    /// A row.
    ///
    /// # Panics
    /// If there is no such row, or if its elements are not next to each other.
    pub fn row(&self, index: usize) -> &'a [T] {
        assert!(
            index < self.rows && self.right == 1,
            "row {index} of {}, {} apart",
            self.rows,
            self.right
        );
        // SAFETY: the row is within the elements, which outlive the result.
        unsafe { std::slice::from_raw_parts(self.start.add(index * self.down), self.cols) }
    }
}

impl<T: Lane> Matrix<'_, T> {
    /// The same numbers in `f32`, in a room of their own, line after line as they lie here.
    fn widened<'room>(&self, room: &'room mut Vec<f32>) -> Matrix<'room> {
        let is_turned = self.right != 1;
        let plain = if is_turned { self.transposed() } else { *self };
        room.resize(plain.rows * plain.cols, 0.0);
        let lines = room.chunks_exact_mut(plain.cols.max(1)).enumerate();
        lines.for_each(|(row, line)| lane::widen(line, plain.row(row)));
        let wide = Matrix::whole(room, plain.rows, plain.cols);
        if is_turned { wide.transposed() } else { wide }
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// Rows of `cols` elements, `stride` apart.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn new(elements: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert_fits(elements.len(), rows, cols, stride);
        Self {
            start: elements.as_mut_ptr(),
            rows,
            cols,
            down: stride,
            elements: PhantomData,
        }
    }

    /// Rows one behind the other.
    pub fn whole(elements: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::new(elements, rows, cols, cols)
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The same, to be read.
    pub fn view(&self) -> Matrix<'_, T> {
        Matrix {
            start: self.start,
            rows: self.rows,
            cols: self.cols,
            down: self.down,
            right: 1,
            elements: PhantomData,
        }
    }

    /// A row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&mut self, index: usize) -> &mut [T] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        // SAFETY: the row is within the elements, which are borrowed exclusively with this view.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index * self.down), self.cols) }
    }

    /// Some rows of it, while it is not used otherwise.
    ///
    /// # Panics
    /// If it has not so many.
    pub fn rows_of(&mut self, rows: Range<usize>) -> MatrixMut<'_, T> {
        assert_within(&rows, self.rows);
        MatrixMut {
            start: self.start.wrapping_add(rows.start * self.down),
            rows: rows.len(),
            ..*self
        }
    }

    /// All of it, in tiles of so many rows and columns, fewer at the end, row by row.
    ///
    /// # Panics
    /// If a tile has none.
    pub fn tiles(self, rows: usize, cols: usize) -> Vec<MatrixMut<'a, T>> {
        assert!(rows > 0 && cols > 0, "tiles of something");
        let tile = |row: usize, col: usize| MatrixMut {
            // No two tiles share an element.
            start: self.start.wrapping_add(row * self.down + col),
            rows: rows.min(self.rows - row),
            cols: cols.min(self.cols - col),
            down: self.down,
            elements: PhantomData,
        };
        let tile = &tile;
        let row_of_tiles = |row: usize| (0..self.cols).step_by(cols).map(move |col| tile(row, col));
        (0..self.rows)
            .step_by(rows)
            .flat_map(row_of_tiles)
            .collect()
    }
}

/// `c = a b`, or `c += a b`, by this thread. Each element is a sum in the order of the common side.
///
/// # Panics
/// If their sides do not match.
pub fn multiply(c: &mut MatrixMut, a: Matrix, b: Matrix, store: Store) {
    assert!(
        a.rows == c.rows && b.cols == c.cols && a.cols == b.rows,
        "{a:?} times {b:?} into {c:?}"
    );
    if a.cols == 0 {
        if store == Store::Set {
            (0..c.rows).for_each(|row| c.row(row).fill(0.0));
        }
        return;
    }
    // SAFETY: the views are within what they borrow, `c` exclusively, and what it holds is read only where it is added to.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.start,
            1,
            c.down.cast_signed(),
            store == Store::Add,
            a.start,
            a.right.cast_signed(),
            a.down.cast_signed(),
            b.start,
            b.right.cast_signed(),
            b.down.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The side of as few tiles as cover a side with at most `most` each: all of them about as large, for a small one would
/// pack as much as a large one and multiply little.
fn even(side: usize, most: usize, granule: usize) -> usize {
    let tiles = side.div_ceil(most).max(1);
    side.div_ceil(tiles).next_multiple_of(granule).max(granule)
}

/// A part of a product, as one thread computes it.
pub struct Part<'a, B = f32, A = f32> {
    /// Rows and columns of the product that it has.
    pub c: MatrixMut<'a>,
    a: Matrix<'a, A>,
    /// The columns of the right operand that it needs.
    pub b: Matrix<'a, B>,
    /// Where its columns begin.
    pub first_col: usize,
}

impl<'a, B: Copy, A: Copy> Part<'a, B, A> {
    /// All parts of a product.
    ///
    /// # Panics
    /// If the sides of the matrices do not match.
    pub fn all(c: MatrixMut<'a>, a: Matrix<'a, A>, b: Matrix<'a, B>) -> Vec<Self> {
        let (rows, cols) = (c.rows, c.cols);
        assert!(
            a.rows == rows && b.cols == cols && a.cols == b.rows,
            "{:?} times {:?} into {rows} by {cols}",
            [a.rows, a.cols],
            [b.rows, b.cols]
        );
        let [height, width] =
            [0, 1].map(|axis| even([rows, cols][axis], TILE[axis], GRANULES[axis]));
        let per_row = cols.div_ceil(width);
        let part = |(index, c): (usize, MatrixMut<'a>)| {
            let (row, col) = (index / per_row * height, index % per_row * width);
            Self {
                a: a.block(row..row + c.rows, 0..a.cols),
                b: b.block(0..b.rows, col..col + c.cols),
                first_col: col,
                c,
            }
        };
        c.tiles(height, width)
            .into_iter()
            .enumerate()
            .map(part)
            .collect()
    }
}

impl<B> Part<'_, B> {
    /// Multiplies it by what `b` stands for.
    pub fn multiply_by(&mut self, b: Matrix, store: Store) {
        multiply(&mut self.c, self.a, b, store);
    }
}

impl Part<'_> {
    /// Multiplies it.
    pub fn multiply(&mut self, store: Store) {
        multiply(&mut self.c, self.a, self.b, store);
    }
}

impl<T: Lane> Part<'_, T, T> {
    /// Multiplies it in `f32`, with room for both sides.
    pub fn multiply_widened(&mut self, [a, b]: &mut [Vec<f32>; 2], store: Store) {
        multiply(&mut self.c, self.a.widened(a), self.b.widened(b), store);
    }
}

/// `c = a b`, or `c += a b`, by a team. The bits do not depend on how many threads it has.
///
/// # Panics
/// If the sides of the matrices do not match.
pub fn multiply_by(team: &Team, c: MatrixMut, a: Matrix, b: Matrix, store: Store) {
    team.deal(Part::all(c, a, b), |mut part| part.multiply(store));
}

#[cfg(test)]
mod tests {
    use super::{Matrix, MatrixMut, Part, Store, multiply_by};
    use crate::device::Team;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i * 37 % 101) as f32 - 50.0).collect()
    }

    /// Integers, whose sums are exact.
    #[test]
    fn products_of_parts_and_of_transposed_matrices() {
        let (rows, cols, depth, stride) = (300, 530, 7, 540);
        let (a, b) = (numbers(depth * stride), numbers(cols * 9));
        let before = numbers(rows * stride);
        let left = Matrix::new(&a, depth, rows, stride).transposed();
        let right = Matrix::new(&b, cols, depth, 9).transposed();
        for (store, threads) in [(Store::Set, 1), (Store::Add, 3)] {
            let mut found = before.clone();
            let product = MatrixMut::new(&mut found, rows, cols, stride);
            multiply_by(&Team::new(threads).unwrap(), product, left, right, store);
            for (index, found) in found.iter().enumerate() {
                let (row, col) = (index / stride, index % stride);
                let is_inside = col < cols;
                let term = |p: usize| a[p * stride + row] * b[col % cols * 9 + p];
                let sum = (0..depth).map(term).sum::<f32>();
                let sum = if is_inside { sum } else { 0.0 };
                let is_kept = !is_inside || store == Store::Add;
                let old = if is_kept { before[index] } else { 0.0 };
                assert!((*found - (old + sum)).abs() < 1e-9, "{store:?} {row} {col}");
            }
        }
    }

    /// Parts of every form, of numbers of 16 bits that are exact, as those of `f32`.
    #[test]
    fn widened_parts_are_those_of_f32() {
        let (rows, cols, depth) = (390, 17, 5);
        let (a, b) = (numbers(rows * depth), numbers(cols * depth));
        let [half_a, half_b] = [&a, &b].map(|x| {
            let narrow = x.iter().map(|x| half::f16::from_f32(*x));
            narrow.collect::<Vec<_>>()
        });
        for turned in [false, true] {
            let mut found = [vec![0.0; rows * cols], vec![0.0; rows * cols]];
            let [of_half, of_f32] = &mut found;
            let c = MatrixMut::whole(of_half, rows, cols);
            let (left, right) = if turned {
                let left = Matrix::whole(&half_a, depth, rows).transposed();
                (left, Matrix::whole(&half_b, cols, depth).transposed())
            } else {
                let left = Matrix::whole(&half_a, rows, depth);
                (left, Matrix::whole(&half_b, depth, cols))
            };
            let parts = Part::all(c, left, right);
            let mut rooms = [vec![], vec![]];
            for mut part in parts {
                part.multiply_widened(&mut rooms, Store::Set);
            }
            let (left, right) = if turned {
                let left = Matrix::whole(&a, depth, rows).transposed();
                (left, Matrix::whole(&b, cols, depth).transposed())
            } else {
                (
                    Matrix::whole(&a, rows, depth),
                    Matrix::whole(&b, depth, cols),
                )
            };
            let c = MatrixMut::whole(of_f32, rows, cols);
            multiply_by(&Team::new(1).unwrap(), c, left, right, Store::Set);
            assert_eq!(found[0], found[1], "turned: {turned}");
        }
    }

    #[test]
    fn tiles_of_a_side_are_even() {
        let sides = [0, 1, 384, 385, 520, 768, 770].map(|side| super::even(side, 384, 8));
        assert_eq!(sides, [8, 8, 384, 200, 264, 384, 264]);
    }

    #[test]
    fn nothing_times_nothing_is_zero() {
        let mut c = vec![f32::NAN; 6];
        let team = Team::new(1).unwrap();
        let product = |c: &mut [f32], store| {
            let c = MatrixMut::whole(c, 2, 3);
            multiply_by(
                &team,
                c,
                Matrix::whole(&[], 2, 0),
                Matrix::whole(&[], 0, 3),
                store,
            );
        };
        product(&mut c, Store::Set);
        assert!(c.iter().all(|x| x.abs() < 1e-9));
        c.fill(1.0);
        product(&mut c, Store::Add);
        assert!(c.iter().all(|x| (x - 1.0).abs() < 1e-9));
    }

    #[test]
    #[should_panic(expected = "3 rows of 4, 5 apart, in 13 elements")]
    fn a_matrix_lies_within_its_elements() {
        let _ = Matrix::new(&[0.0; 13], 3, 4, 5);
    }
}
