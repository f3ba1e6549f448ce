//! The 7-point stencil on a regular grid in three dimensions: a step of the heat equation.
//!
//! `out = c0 a + c1 (sum of the six neighbours of a)` with `c0` 0.4 and `c1` 0.1; points outside of the grid count as 0.
//! Point `(x, y, z)` is element `(z ny + y) nx + x`. Source: K. Datta et al., "Stencil computation optimization and
//! auto-tuning on state-of-the-art multicore architectures", SC08, section 2, which counts 8 flops per point. Work with
//! `n = nx ny nz` points of type `T`, each read once and written once: `2 n sizeof T` bytes and `8 n` flops.
//!
//! On CUDA devices `variant` says where neighbours come from: through the caches (`naive`), or from shared memory
//! and registers in a sweep over the planes (`tiled`).
#![allow(unsafe_code)] // points by vectors

mod vectors;

use std::ops::Range;

use assay_protocol::{Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::bound::tolerance;
use crate::buffer::Buffers;
use crate::check;
use crate::device::{Team, chunk};
use crate::element::{DType, Real, with_real};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};
use crate::simd::wide;
use crate::store::{self, Around};
use vectors::Rows;

/// Weights of the centre and of each neighbour. They add up to 1: where the temperature is the same everywhere, it stays.
const WEIGHTS: [f64; 2] = [0.4, 0.1];
/// Roundings on the longest path to a point: three additions, two products, one more addition.
const ROUNDINGS: u64 = 6;
const DTYPES: &[DType] = &[DType::F32, DType::F64];
static SOURCE: Source = cuda_source!("grid/stencil.cu");

/// The 7-point stencil.
pub struct Stencil;

impl Op for Stencil {
    fn info(&self) -> OpInfo {
        let variant = parameters::choice("variant", &["tiled", "naive"]);
        OpInfo {
            name: "stencil",
            summary: "7-point stencil in 3D: out = c0 a + c1 (six neighbours)",
            parameters: vec![
                parameters::integer("nx"),
                parameters::integer("ny"),
                parameters::integer("nz"),
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

    /// Several tiles and sweeps in each direction.
    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match parameter {
            "nx" => size,
            "ny" => size.min(19),
            _ => size.min(17),
        }
    }
}

fn program<T: Real>(arguments: &Arguments) -> Result<Program, Failure> {
    const NAMES: &str = "`nx`, `ny` and `nz`";
    let grid = Grid {
        nx: arguments.size("nx")?,
        ny: arguments.size("ny")?,
        nz: arguments.size("nz")?,
    };
    let tiled = arguments.cuda_choice("variant", &[("tiled", true), ("naive", false)])?;
    let points = parameters::size_product(NAMES, &[grid.nx, grid.ny, grid.nz])?;
    let bytes = parameters::product(NAMES, &[points as u64, 2, size_of::<T>() as u64])?;
    let mut program = Program::new(Work {
        bytes: Some(bytes),
        flops: Some(parameters::product(NAMES, &[points as u64, 8])?),
        items: Some(points as u64),
        formula: "bytes = 2 n sizeof(T), flops = 8 n, items = n; n = nx ny nz".into(),
    });
    let input = program.input("a", T::DTYPE, points, Fill::signed(0));
    let out = program.output("out", T::DTYPE, points);
    program.on_cpu(move |team, buffers, iterations| {
        run::<T>(grid, team, buffers, [input, out], iterations)
    });
    program.launch(grid.launch::<T>(tiled, [input, out]));
    program.check(move |outcome| check::<T>(grid, outcome, [input, out]));
    Ok(program)
}

/// Points in each direction.
#[derive(Clone, Copy, Debug)]
struct Grid {
    nx: usize,
    ny: usize,
    nz: usize,
}

impl Grid {
    fn rows(self) -> usize {
        self.ny * self.nz
    }

    fn launch<T: Real>(self, tiled: bool, [input, out]: [usize; 2]) -> Launch {
        const TILE: [usize; 2] = [32, 8];
        const MOST: u32 = 65_535;
        let planes = self.planes_per_block(TILE);
        let dtype = T::DTYPE.cuda();
        let name = if tiled { "tiled" } else { "naive" };
        let depth = if tiled { planes } else { 1 };
        let mut launch = Launch::new(&SOURCE, format!("stencil_{name}<{dtype}>"), 0, 0);
        launch.grid = [
            blocks(self.nx, TILE[0], u32::MAX),
            blocks(self.ny, TILE[1], MOST),
            blocks(self.nz, depth, MOST),
        ];
        launch.block = [TILE[0] as u32, TILE[1] as u32, 1];
        let sizes = [self.nx, self.ny, self.nz].map(Arg::size);
        let scalars = WEIGHTS.map(|weight| match T::DTYPE {
            DType::F64 => Arg::F64(weight),
            _ => Arg::F32(weight as f32),
        });
        launch
            .args([Arg::Buffer(out), Arg::Buffer(input)])
            .args(sizes)
            .args(tiled.then(|| Arg::size(planes)))
            .args(scalars)
    }

    /// Planes of a sweep: as many as leave enough blocks for a large device, since the planes at its ends are loaded twice.
    fn planes_per_block(self, [x, y]: [usize; 2]) -> usize {
        const ENOUGH_BLOCKS: usize = 8192;
        const FEWEST: usize = 8;
        let tiles = self.nx.div_ceil(x).saturating_mul(self.ny.div_ceil(y));
        let sweeps = (ENOUGH_BLOCKS / tiles.max(1)).max(1);
        self.nz.div_ceil(sweeps).max(FEWEST)
    }
}

fn check<T: Real>(grid: Grid, outcome: &Outcome, [input, out]: [usize; 2]) -> Checked {
    let (input, out) = (outcome.get::<T>(input), outcome.get::<T>(out));
    // As the kernels have them: rounded to the type.
    let [centre, neighbour] = WEIGHTS.map(|weight| -> f64 { T::from_f64(weight).into() });
    let Grid { nx, ny, nz } = grid;
    let error = check::worst(out.len(), |i| {
        let (x, y, z) = (i % nx, i / nx % ny, i / (nx * ny));
        let a = |is_inside: bool, index: usize| if is_inside { input[index].into() } else { 0.0 };
        let neighbours: [f64; 6] = [
            a(x > 0, i.wrapping_sub(1)),
            a(x + 1 < nx, i + 1),
            a(y > 0, i.wrapping_sub(nx)),
            a(y + 1 < ny, i + nx),
            a(z > 0, i.wrapping_sub(nx * ny)),
            a(z + 1 < nz, i + nx * ny),
        ];
        let middle = centre * a(true, i);
        let sum: f64 = neighbours.iter().sum();
        let magnitudes: f64 = neighbours.iter().map(|a| a.abs()).sum();
        let condition = middle.abs() + neighbour * magnitudes;
        check::relative(out[i].into(), middle + neighbour * sum, condition)
    });
    Checked {
        error,
        tolerance: tolerance::<T>(ROUNDINGS, ROUNDINGS + 2),
        detail: "largest |out - exact| / sum of magnitudes; bound gamma_6".into(),
    }
}

fn run<T: Real>(
    grid: Grid,
    team: &Team,
    buffers: &mut Buffers,
    [input, out]: [usize; 2],
    iterations: u64,
) -> u64 {
    let (inputs, out) = buffers.split_last_mut(out);
    let (input, out) = (inputs[input].get::<T>(), out.get_mut::<T>());
    let sweep = Sweep::new(grid, input);
    let (rows, members) = (grid.rows(), team.threads());
    let parts = (0..members).zip(team.split_mut(out, grid.nx.max(1)));
    let parts = parts.map(|(index, out)| Part {
        rows: chunk(rows, 1, members, index),
        out,
        piece: vec![T::default(); sweep.piece_rows * grid.nx],
    });
    team.time(iterations, parts.collect(), |_, part| sweep.run(part))
}

/// Rows of the output that are one member's, and a buffer for a few of them.
struct Part<'a, T> {
    rows: Range<usize>,
    out: &'a mut [T],
    piece: Vec<T>,
}

/// How the host goes through a grid: strips of rows that are few enough for three planes of a strip to stay in the second
/// cache, in each all planes, in each plane pieces that stay in the first.
struct Sweep<'a, T> {
    grid: Grid,
    input: &'a [T],
    /// What lies outside.
    zeros: Vec<T>,
    strip_rows: usize,
    piece_rows: usize,
    /// Whether output is written around the caches.
    around: bool,
}

impl<'a, T: Real> Sweep<'a, T> {
    fn new(grid: Grid, input: &'a [T]) -> Self {
        const STRIP_BYTES: usize = 192 << 10;
        const PIECE_BYTES: usize = 4 << 10;
        let row_bytes = (grid.nx * size_of::<T>()).max(1);
        Self {
            grid,
            input,
            zeros: vec![T::default(); grid.nx],
            strip_rows: (STRIP_BYTES / row_bytes).max(1),
            piece_rows: (PIECE_BYTES / row_bytes).clamp(1, grid.ny.max(1)),
            around: store::goes_around(2 * size_of_val(input) as u64),
        }
    }

    fn run(&self, part: &mut Part<T>) {
        let nx = self.grid.nx;
        let Part { rows, out, piece } = part;
        let whole = self.around && Around::has_whole_lines(out, nx);
        if let Some(kernels) = vectors::best(T::DTYPE).filter(|_| whole) {
            let mut out = Around::new(out);
            self.pieces(rows, |first, count| {
                for r in first..first + count {
                    let (beside, ahead) = (self.beside(rows.start + r), self.ahead(rows.start + r));
                    put_row(kernels, true, out.lines(r * nx, nx), beside, ahead);
                }
            });
        } else if self.around {
            let mut out = Around::new(out);
            self.pieces(rows, |first, count| {
                let piece = &mut piece[..count * nx];
                self.rows(piece, rows.start + first);
                out.send(first * nx, piece);
            });
        } else {
            self.pieces(rows, |first, count| {
                self.rows(&mut out[first * nx..][..count * nx], rows.start + first);
            });
        }
    }

    /// Calls `piece` with the first row, counted from that of the part, and the number of rows of each piece.
    fn pieces(&self, rows: &Range<usize>, mut piece: impl FnMut(usize, usize)) {
        let Grid { nx, ny, .. } = self.grid;
        if nx == 0 || rows.is_empty() {
            return;
        }
        let planes = rows.start / ny..=(rows.end - 1) / ny;
        for strip in (0..ny).step_by(self.strip_rows) {
            let strip_end = ny.min(strip + self.strip_rows);
            for z in planes.clone() {
                let first = rows.start.max(z * ny + strip);
                let end = rows.end.min(z * ny + strip_end);
                for first in (first..end).step_by(self.piece_rows) {
                    piece(first - rows.start, self.piece_rows.min(end - first));
                }
            }
        }
    }

    /// Rows from `first` on, all of one plane.
    fn rows(&self, out: &mut [T], first: usize) {
        let weights = WEIGHTS.map(T::from_f64);
        let kernels = vectors::best(T::DTYPE);
        for (out, r) in out.chunks_exact_mut(self.grid.nx).zip(first..) {
            match kernels {
                Some(kernels) => put_row(kernels, false, out, self.beside(r), self.ahead(r)),
                None => write_row(out, self.beside(r), weights),
            }
        }
    }

    /// A row of the input and the four beside it.
    fn beside(&self, r: usize) -> [&[T]; 5] {
        let ny = self.grid.ny;
        let y = r % ny;
        [
            self.row(Some(r)),
            self.row((y > 0).then(|| r - 1)),
            self.row((y + 1 < ny).then_some(r + 1)),
            self.row(r.checked_sub(ny)),
            self.row(Some(r + ny)),
        ]
    }

    /// What of the plane above comes next, some pages on, which the processor does not fetch by itself: it stops at the end
    /// of each page. All else is in a near cache.
    fn ahead(&self, r: usize) -> &[T] {
        const AHEAD_BYTES: usize = 8 << 10;
        let first = (r + self.grid.ny) * self.grid.nx + AHEAD_BYTES / size_of::<T>();
        self.input.get(first..).unwrap_or_default()
    }

    /// A row of the input, or zeros where there is none.
    fn row(&self, row: Option<usize>) -> &[T] {
        let nx = self.grid.nx;
        let row = row.filter(|row| *row < self.grid.rows());
        row.map_or(&self.zeros, |row| &self.input[row * nx..][..nx])
    }
}

wide! {
    /// One row, which is not empty, of its own row of the input, which comes first, and the four beside it.
    fn write_row<T: Real>(out: &mut [T], rows: [&[T]; 5], weights: [T; 2]) {
        let len = out.len();
        let rows = rows.map(|row| &row[..len]);
        out[0] = point(rows, 0, weights);
        out[len - 1] = point(rows, len - 1, weights);
        let Some(inner) = len.checked_sub(2) else {
            return;
        };
        // Each from its own first point on, so that the compiler sees vectors.
        let (left, right) = (&rows[0][..inner], &rows[0][2..]);
        let [centre, north, south, below, above] = rows.map(|row| &row[1..=inner]);
        for (x, out) in out[1..=inner].iter_mut().enumerate() {
            let sum = ((left[x] + right[x]) + (north[x] + south[x])) + (below[x] + above[x]);
            *out = weights[0] * centre[x] + weights[1] * sum;
        }
    }
}

/// One row, which is not empty, by the processor's vectors, around the caches if it `streams`: then it is whole lines. Meanwhile it
/// fetches `ahead`.
fn put_row<T: Real>(kernels: Rows, streams: bool, to: &mut [T], rows: [&[T]; 5], ahead: &[T]) {
    let (len, bytes) = (to.len(), size_of_val(to));
    assert!(
        !streams || Around::has_whole_lines(to, len),
        "whole lines, which begin here"
    );
    let row = if streams {
        kernels.streaming
    } else {
        kernels.storing
    };
    let addresses = rows.map(|row| row[..len].as_ptr().cast());
    // SAFETY: rows of one length, and whole lines where they have to be; `best` found out what the processor can do.
    unsafe {
        row(
            to.as_mut_ptr().cast(),
            addresses,
            bytes,
            WEIGHTS,
            ahead.as_ptr().cast(),
        );
    }
}

/// A point whose neighbours in the row may not be there.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn point<T: Real>(rows: [&[T]; 5], x: usize, weights: [T; 2]) -> T {
    let side = |x: usize| rows[0].get(x).copied().unwrap_or_default();
    let [centre, north, south, below, above] = rows.map(|row| row[x]);
    let sum = ((side(x.wrapping_sub(1)) + side(x + 1)) + (north + south)) + (below + above);
    weights[0] * centre + weights[1] * sum
}

#[cfg(test)]
mod tests {
    use super::{Grid, Sweep, WEIGHTS, put_row, store, vectors, write_row};
    use crate::buffer::Buffer;
    use crate::device::Team;
    use crate::element::Real;
    use crate::store::Around;

    fn compare<T: Real>(nx: usize) {
        let Some(kernels) = vectors::best(T::DTYPE) else {
            return;
        };
        let random = assay_protocol::Philox::new(1, nx as u64);
        let input: Vec<T> = (0..9 * nx)
            .map(|i| T::from_f64(random.signed_f32(i as u64).into()))
            .collect();
        let (ny, nz) = (3, 3);
        let sweep = Sweep::new(Grid { nx, ny, nz }, &input);
        let mut lines = Buffer::zeroed(&Team::new(1).unwrap(), T::DTYPE, nx + 2).unwrap();
        for r in 0..9 {
            let (mut plain, beside) = (vec![T::default(); nx], sweep.beside(r));
            write_row(&mut plain, beside, WEIGHTS.map(T::from_f64));
            let end = T::from_f64(7.0);
            let lines = lines.get_mut::<T>();
            lines.fill(end);
            put_row(kernels, false, &mut lines[1..=nx], beside, sweep.ahead(r));
            assert!(lines[1..=nx] == plain, "row {r} of {nx}");
            assert!(lines[0] == end && lines[nx + 1] == end, "row {r} of {nx}");
            if size_of_val(plain.as_slice()).is_multiple_of(store::LINE) {
                let mut out = Around::new(lines);
                put_row(kernels, true, out.lines(0, nx), beside, sweep.ahead(r));
                drop(out);
                assert!(lines[..nx] == plain, "row {r} of {nx}");
            }
        }
    }

    /// Rows of one point, of one line and of several, and of no whole number of them, at all borders of the grid.
    #[test]
    fn vectors_give_the_same_bits() {
        for points in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 80] {
            compare::<f32>(points);
            compare::<f64>(points);
        }
    }
}
