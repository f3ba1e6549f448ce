//! A sparse matrix times a vector, `y = A x`, with `A` in CSR.
//!
//! `A` is square, with `rows` rows and `rows per_row` non-zeros. How they are spread over the rows is the parameter
//! `shape`: `uniform`, evenly between half and three halves of the mean; or `skewed`, as in the graph of a network: the row of
//! rank `r` has a share of about `1 / (2 sqrt(r rows))`, so that the longest has `sqrt(rows)` times the mean, and the
//! shortest half of it. Which row gets which length is random. The columns of a row ascend, one in each of as many equal
//! parts of the matrix. On CUDA devices `variant` gives each row a warp (`vector`) or a thread (`scalar`): N. Bell,
//! M. Garland, "Implementing sparse matrix-vector multiplication on throughput-oriented processors", SC09.
//!
//! Work with `m` rows and `n` non-zeros of type `T`, each array once: `n (sizeof T + 4)` bytes of values and columns,
//! `4 (m + 1)` of offsets and `2 m sizeof T` of `x` and `y`, and `2 n` flops. Where `x` is larger than a core's own caches, what
//! bounds it on the host is a load of it from a random place for each non-zero (`benches/limits.c`, `random-loads`).

use std::ops::Range;

use assay_protocol::{Failure, MemoryLevel, Philox, Work};
use rayon::prelude::*;

use super::{EVERYWHERE, Op, OpInfo};
use crate::bound::{gamma, likely_gamma};
use crate::buffer::Buffers;
use crate::check;
use crate::device::{Team, host};
use crate::element::{DType, Real, with_real};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};
use crate::simd::wide;
use crate::store;

const DTYPES: &[DType] = &[DType::F32, DType::F64];
static SOURCE: Source = cuda_source!("sparse/spmv.cu");
/// Random streams of the matrix's structure.
const LENGTHS_STREAM: u64 = 2;
const COLUMNS_STREAM: u64 = 3;

/// A sparse matrix times a vector.
pub struct Spmv;

impl Op for Spmv {
    fn info(&self) -> OpInfo {
        let variant = parameters::choice("variant", &["vector", "scalar"]);
        OpInfo {
            name: "spmv",
            summary: "y = A x, A sparse in CSR",
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("per_row"),
                parameters::choice("shape", &["uniform", "skewed"]),
                parameters::dtype(DTYPES),
                parameters::on_cuda(variant),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        with_real!(
            arguments.dtype(DTYPES)?,
            [F32 = f32, F64 = f64],
            program(arguments)
        )
    }
}

/// Numbers of the buffers.
#[derive(Clone, Copy)]
struct Places {
    offsets: usize,
    columns: usize,
    values: usize,
    x: usize,
    y: usize,
}

fn program<T: Real>(arguments: &Arguments) -> Result<Program, Failure> {
    let (rows, per_row) = (arguments.size("rows")?, arguments.size("per_row")?);
    let shape = arguments.choice(
        "shape",
        &[("uniform", Shape::Uniform), ("skewed", Shape::Skewed)],
    )?;
    let lanes = arguments.cuda_choice("variant", &[("vector", 32), ("scalar", 1)])?;
    let nonzeros = parameters::size_product("`rows` and `per_row`", &[rows, per_row])?;
    if rows.max(nonzeros) > u32::MAX as usize {
        return Err(Failure::Failed(format!(
            "parameters `rows` and `per_row`: {rows} rows and {nonzeros} non-zeros, but indices have 32 bits"
        )));
    }
    let structure = Structure {
        rows,
        nonzeros,
        shape,
    };
    let mut program = Program::new(work::<T>(rows as u64, nonzeros as u64));
    let offsets = Fill::Host(Box::new(move |buffer, seed| {
        structure.fill_offsets(buffer.get_mut(), seed);
    }));
    let columns = Fill::Host(Box::new(move |buffer, seed| {
        structure.fill_columns(buffer.get_mut(), seed);
    }));
    let places = Places {
        offsets: program.input("offsets", DType::U32, rows + 1, offsets),
        columns: program.input("columns", DType::U32, nonzeros, columns),
        values: program.input("values", T::DTYPE, nonzeros, Fill::signed(0)),
        x: program.input("x", T::DTYPE, rows, Fill::signed(1)),
        y: program.output("y", T::DTYPE, rows),
    };
    program.on_cpu(move |team, buffers, iterations| run::<T>(team, buffers, places, iterations));
    program.launch(launch::<T>(rows, lanes, places));
    program.check(move |outcome| check::<T>(outcome, places, lanes.min(LANES)));
    Ok(program)
}

fn work<T: Real>(rows: u64, nonzeros: u64) -> Work {
    let size = size_of::<T>() as u64;
    Work {
        bytes: Some(nonzeros * (size + 4) + 4 * (rows + 1) + 2 * rows * size),
        flops: Some(2 * nonzeros),
        items: Some(nonzeros),
        formula: "bytes = n (sizeof(T) + 4) + 4 (m + 1) + 2 m sizeof(T), flops = 2 n, items = n; m = rows, n = rows per_row".into(),
    }
}

fn launch<T: Real>(rows: usize, lanes: usize, places: Places) -> Launch {
    const THREADS: usize = 256;
    let name = if lanes == 1 { "scalar" } else { "vector" };
    let kernel = format!("spmv_{name}<{}>", T::DTYPE.cuda());
    let Places {
        offsets,
        columns,
        values,
        x,
        y,
    } = places;
    Launch::new(
        &SOURCE,
        kernel,
        blocks(rows, THREADS / lanes, u32::MAX),
        THREADS as u32,
    )
    .args([y, offsets, columns, values, x].map(Arg::Buffer))
    .args([Arg::size(rows)])
}

/// How lengths of rows differ.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Uniform,
    Skewed,
}

impl Shape {
    /// Share of the non-zeros that the first of the rows have, from the longest to the shortest or the other way round, as a
    /// function of their share of the rows. It is 0 at 0 and 1 at 1.
    fn share(self, rows: f64) -> f64 {
        match self {
            Self::Uniform => f64::midpoint(rows, rows * rows),
            Self::Skewed => rows.sqrt(),
        }
    }
}

/// Where the non-zeros are.
#[derive(Clone, Copy, Debug)]
struct Structure {
    rows: usize,
    nonzeros: usize,
    shape: Shape,
}

impl Structure {
    fn fill_offsets(self, offsets: &mut [u32], seed: u64) {
        let count = self.nonzeros as f64;
        let before =
            |rank: usize| (self.shape.share(rank as f64 / self.rows as f64) * count).round() as u32;
        let lengths = &mut offsets[1..];
        for (rank, length) in lengths.iter_mut().enumerate() {
            *length = before(rank + 1) - before(rank);
        }
        shuffle(lengths, Philox::new(seed, LENGTHS_STREAM));
        for row in 1..offsets.len() {
            offsets[row] += offsets[row - 1];
        }
    }

    fn fill_columns(self, columns: &mut [u32], seed: u64) {
        /// Rows that a thread fills at a time.
        const BATCH: usize = 4096;
        let mut offsets = vec![0; self.rows + 1];
        self.fill_offsets(&mut offsets, seed);
        let random = Philox::new(seed, COLUMNS_STREAM);
        let mut rest = columns;
        let mut batches = vec![];
        for first in (0..self.rows).step_by(BATCH) {
            let offsets = &offsets[first..=self.rows.min(first + BATCH)];
            let count = offsets[offsets.len() - 1] - offsets[0];
            let (batch, later) = std::mem::take(&mut rest).split_at_mut(count as usize);
            rest = later;
            batches.push((offsets, batch));
        }
        batches.into_par_iter().for_each(|(offsets, batch)| {
            random.fill_words(offsets[0].into(), batch);
            for row in offsets.windows(2) {
                let (first, end) = (row[0] - offsets[0], row[1] - offsets[0]);
                self.spread(&mut batch[first as usize..end as usize]);
            }
        });
    }

    /// Makes of random words the columns of a row.
    fn spread(self, row: &mut [u32]) {
        let width = self.rows as f64 / row.len() as f64;
        for (part, column) in row.iter_mut().enumerate() {
            let place = part as f64 + f64::from(*column) / 4_294_967_296.0;
            *column = ((place * width) as u32).min(self.rows as u32 - 1);
        }
    }
}

/// Puts values into a random order: R. Durstenfeld, "Algorithm 235: random permutation", CACM 7(7), 1964.
fn shuffle(values: &mut [u32], random: Philox) {
    for last in (1..values.len()).rev() {
        let word = u64::from(random.word(last as u64));
        values.swap(last, ((word * (last as u64 + 1)) >> 32) as usize);
    }
}

fn check<T: Real>(outcome: &Outcome, places: Places, lanes: usize) -> Checked {
    let (columns, values) = (
        outcome.get::<u32>(places.columns),
        outcome.get::<T>(places.values),
    );
    let (offsets, x) = (
        outcome.get::<u32>(places.offsets),
        outcome.get::<T>(places.x),
    );
    let y = outcome.get::<T>(places.y);
    let error = check::worst(y.len(), |row| {
        let (mut exact, mut condition) = (0.0, 0.0);
        let nonzeros = offsets[row] as usize..offsets[row + 1] as usize;
        let length = nonzeros.len();
        for k in nonzeros {
            let (value, x): (f64, f64) = (values[k].into(), x[columns[k] as usize].into());
            exact += value * x;
            condition += (value * x).abs();
        }
        let bound = likely_gamma(height(length, lanes), T::UNIT_ROUNDOFF)
            + gamma(length as u64 + 1, f64::UNIT_ROUNDOFF);
        check::relative(y[row].into(), exact, condition * bound)
    });
    Checked {
        error,
        tolerance: 1.0,
        detail: "largest |y - exact| / (bound of the row: probabilistic gamma_h, h roundings, times its sum of magnitudes)"
            .into(),
    }
}

/// Roundings on the longest path through a row that `lanes` share: a product, the elements of a lane, the lanes together.
fn height(length: usize, lanes: usize) -> u64 {
    1 + length.div_ceil(lanes) as u64 + 7
}

/// Rows of one member and their part of `y`.
struct Part<'a, T> {
    rows: Range<usize>,
    y: &'a mut [T],
}

fn run<T: Real>(team: &Team, buffers: &mut Buffers, places: Places, iterations: u64) -> u64 {
    let (inputs, y) = buffers.split_last_mut(places.y);
    let offsets = inputs[places.offsets].get::<u32>();
    let x = inputs[places.x].get::<T>();
    let matrix = Matrix {
        offsets,
        columns: inputs[places.columns].get(),
        values: inputs[places.values].get::<T>(),
        is_x_far: host::level_of(size_of_val(x) as u64) > Some(MemoryLevel::L2),
    };
    let mut rest = y.get_mut::<T>();
    // As many non-zeros for each member as whole rows allow.
    let (rows, members) = (rest.len(), team.threads());
    let nonzeros = matrix.values.len();
    let bound = |index: usize| {
        let target = nonzeros as u128 * index as u128 / members as u128;
        let bound = offsets.partition_point(|offset| u128::from(*offset) < target);
        if index == members { rows } else { bound }
    };
    let parts = (0..members).map(|index| {
        let rows = bound(index)..bound(index + 1);
        let (y, later) = std::mem::take(&mut rest).split_at_mut(rows.len());
        rest = later;
        Part { rows, y }
    });
    team.time(iterations, parts.collect(), |_, part| {
        multiply(part.y, &matrix, part.rows.start, x);
    })
}

/// A matrix in CSR.
struct Matrix<'a, T> {
    offsets: &'a [u32],
    columns: &'a [u32],
    values: &'a [T],
    /// Whether elements of `x` come from further away than a core's own caches.
    is_x_far: bool,
}

impl<T> Matrix<'_, T> {
    /// Columns of as many non-zeros some way behind a row, whose elements of `x` it pays to fetch meanwhile: where rows end
    /// cannot be foreseen, and the loads alone would wait for memory each time it was not.
    #[inline]
    fn ahead(&self, row: &Range<usize>) -> Option<&[u32]> {
        const AHEAD: usize = 256;
        let end = self.columns.len();
        let ahead = (row.start + AHEAD).min(end)..(row.end + AHEAD).min(end);
        self.is_x_far.then(|| &self.columns[ahead])
    }
}

/// Partial sums of a row: enough to hide the latency of an addition.
const LANES: usize = 8;

wide! {
    /// Rows from `first` on.
    fn multiply<T: Real>(y: &mut [T], matrix: &Matrix<T>, first: usize, x: &[T]) {
        let offsets = &matrix.offsets[first..][..=y.len()];
        for (y, row) in y.iter_mut().zip(offsets.windows(2)) {
            let row = row[0] as usize..row[1] as usize;
            if let Some(ahead) = matrix.ahead(&row) {
                for column in ahead {
                    store::fetch(&x[*column as usize]);
                }
            }
            let mut lanes = [T::default(); LANES];
            let mut values = matrix.values[row.clone()].chunks_exact(LANES);
            let mut columns = matrix.columns[row].chunks_exact(LANES);
            for (values, columns) in (&mut values).zip(&mut columns) {
                for (lane, (value, column)) in lanes.iter_mut().zip(values.iter().zip(columns)) {
                    *lane = *lane + *value * x[*column as usize];
                }
            }
            let rest = values.remainder().iter().zip(columns.remainder());
            for (lane, (value, column)) in lanes.iter_mut().zip(rest) {
                *lane = *lane + *value * x[*column as usize];
            }
            *y = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6]))
                + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, Structure};

    fn structure(rows: usize, per_row: usize, shape: Shape) -> (Vec<u32>, Vec<u32>) {
        let structure = Structure {
            rows,
            nonzeros: rows * per_row,
            shape,
        };
        let (mut offsets, mut columns) = (vec![0; rows + 1], vec![0; rows * per_row]);
        structure.fill_offsets(&mut offsets, 7);
        structure.fill_columns(&mut columns, 7);
        (offsets, columns)
    }

    #[test]
    fn rows_have_the_lengths_that_their_shape_says() {
        for (shape, shortest, longest) in [(Shape::Uniform, 8, 24), (Shape::Skewed, 8, 1600)] {
            let (offsets, _) = structure(10_000, 16, shape);
            let lengths: Vec<u32> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert_eq!(offsets[10_000], 160_000);
            assert_eq!(lengths.iter().min(), Some(&shortest));
            assert_eq!(lengths.iter().max(), Some(&longest));
            // The longest are not all in one place.
            let front: u32 = lengths[..5000].iter().sum();
            assert!((60_000..100_000).contains(&front), "{front}");
        }
    }

    #[test]
    fn columns_ascend_within_the_matrix() {
        for (rows, per_row) in [(1, 1), (1, 9), (5000, 3), (300, 400)] {
            for shape in [Shape::Uniform, Shape::Skewed] {
                let (offsets, columns) = structure(rows, per_row, shape);
                assert!(columns.iter().all(|column| (*column as usize) < rows));
                for row in offsets.windows(2) {
                    let row = &columns[row[0] as usize..row[1] as usize];
                    assert!(row.is_sorted(), "{rows} {per_row} {shape:?}: {row:?}");
                }
            }
        }
    }
}
