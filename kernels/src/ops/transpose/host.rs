//! Transposition on the host.

use assay_protocol::MemoryLevel;

use super::block::{Block, SIDE};
use crate::device::{Team, host};
use crate::simd::wide;

/// Rows and columns of the input that are done before the next: as much of the output's pages is touched at a time
/// as of the input's, and every row is read far enough for the processor to see that it is read in order.
const ROWS: usize = 64;
const COLS: usize = 256;

/// Every implementation, the default first.
pub const VARIANTS: [(&str, Kernel); 2] = [("tiled", tiled), ("naive", naive)];

/// Writes some rows of the output.
pub type Kernel = fn(&mut Part);

/// A member's part.
#[derive(Debug)]
pub struct Part<'a> {
    /// Its rows of the output, all of them whole.
    out: &'a mut [f32],
    /// The input.
    input: &'a [f32],
    /// Of the input.
    rows: usize,
    /// Of the input.
    cols: usize,
    /// Column of the input that is the first row here.
    first: usize,
    /// Whether stores should go past the caches.
    streams: bool,
}

/// Runs one on a team, `iterations` times; gives the nanoseconds that it took.
pub fn run(
    kernel: Kernel,
    team: &Team,
    out: &mut [f32],
    input: &[f32],
    [rows, cols]: [usize; 2],
    iterations: u64,
) -> u64 {
    let streams = streams(rows, input);
    // Each member writes some rows of the output, a whole number of blocks, and reads as many columns.
    let parts = team.split_mut(out, SIDE * rows.max(1)).into_iter();
    let mut first = 0;
    let parts = parts.map(|out| {
        let width = out.len() / rows.max(1);
        first += width;
        Part {
            out,
            input,
            rows,
            cols,
            first: first - width,
            streams,
        }
    });
    team.time(iterations, parts.collect(), |_, part| {
        if !part.out.is_empty() {
            kernel(part);
        }
    })
}

/// Whether stores should go past the caches: those of a line that is not there would fetch it first. That is where the
/// matrices do not fit into the caches that cores have to themselves, and rows of the output begin with lines.
fn streams(rows: usize, input: &[f32]) -> bool {
    let bytes = 2 * size_of_val(input) as u64;
    rows.is_multiple_of(SIDE) && host::level_of(bytes) > Some(MemoryLevel::L2)
}

/// By blocks whose cache lines are used up at once.
fn tiled(part: &mut Part) {
    let block = Block::best(part.streams);
    let width = part.out.len() / part.rows;
    for row in (0..part.rows).step_by(ROWS) {
        for column in (0..width).step_by(COLS) {
            for row in (row..part.rows.min(row + ROWS)).step_by(SIDE) {
                for column in (column..width.min(column + COLS)).step_by(SIDE) {
                    part.transpose(block, row, column, width);
                }
            }
        }
    }
    block.finish();
}

impl Part<'_> {
    /// The block at a row and a column of the part, or what there is of it.
    #[inline]
    fn transpose(&mut self, block: Block, row: usize, column: usize, width: usize) {
        let (rows, cols) = (self.rows, self.cols);
        let (to, from) = (column * rows + row, row * cols + self.first + column);
        if row + SIDE <= rows && column + SIDE <= width {
            block.transpose(&mut self.out[to..], rows, &self.input[from..], cols);
            return;
        }
        for c in 0..SIDE.min(width - column) {
            for r in 0..SIDE.min(rows - row) {
                self.out[to + c * rows + r] = self.input[from + r * cols + c];
            }
        }
    }
}

fn naive(part: &mut Part) {
    by_rows(part.out, part.input, part.rows, part.cols, part.first);
}

wide! {
    /// Writes the rows of `out`, which are the columns of `input` from `first` on, one after the other.
    fn by_rows(out: &mut [f32], input: &[f32], rows: usize, cols: usize, first: usize) {
        for (c, line) in out.chunks_exact_mut(rows).enumerate() {
            for (out, line) in line.iter_mut().zip(input.chunks_exact(cols)) {
                *out = line[first + c];
            }
        }
    }
}
