//! Transposition on the host.

use assay_protocol::MemoryLevel;

use super::block::{Block, SIDE};
use crate::device::{Team, host};
use crate::simd::wide;
use crate::store::{self, Around};

/// Rows and columns of the input that are done before the next: as much of the output's pages is touched at a time
/// as of the input's, and every row is read far enough for the processor to see that it is read in order.
const ROWS: usize = 64;
const COLS: usize = 256;
/// The same where they go through a buffer, 64 KiB with the rows of one more block.
const BUFFERED_ROWS: usize = 256 - SIDE;
const BUFFERED_COLS: usize = 64;
/// Elements of a column of the input in the buffer, and between columns a line that is not used: else the columns of a block
/// would be at the same place of the first cache.
const PITCH: usize = 256 + SIDE;

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
    /// Room for pieces of the output.
    buffer: Vec<f32>,
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
    let streams = streams(input);
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
            buffer: vec![0.0; PITCH * BUFFERED_COLS],
        }
    });
    team.time(iterations, parts.collect(), |_, part| {
        if !part.out.is_empty() {
            kernel(part);
        }
    })
}

/// Whether stores should go past the caches: those of a line that is not there would fetch it first, from pages that
/// change too often to be foreseen. That is where the matrices do not fit into the caches that cores have to themselves.
fn streams(input: &[f32]) -> bool {
    let bytes = 2 * size_of_val(input) as u64;
    host::level_of(bytes) > Some(MemoryLevel::L2)
}

/// By blocks whose cache lines are used up at once.
fn tiled(part: &mut Part) {
    if part.streams && !part.rows.is_multiple_of(SIDE) {
        by_lines(part);
    } else {
        by_blocks(part);
    }
}

/// A block at a time, from the input to the output. If it streams, rows of the output begin with cache lines.
fn by_blocks(part: &mut Part) {
    let block = Block::best(part.streams);
    let (rows, cols, width) = (part.rows, part.cols, part.out.len() / part.rows);
    for row in (0..rows).step_by(ROWS) {
        for column in (0..width).step_by(COLS) {
            let size = [ROWS.min(rows - row), COLS.min(width - column)];
            let from = &part.input[row * cols + part.first + column..];
            let out = &mut part.out[column * rows + row..];
            pieces::<0>(block, (out, rows), (from, cols), size);
        }
    }
    Block::finish();
}

/// Through a buffer, from which whole cache lines are sent off, whatever place in them rows of the output begin at. What is
/// left of a line is done with the rows that follow: the buffer begins a block before them.
fn by_lines(part: &mut Part) {
    let block = Block::best(false);
    let (rows, cols, width) = (part.rows, part.cols, part.out.len() / part.rows);
    let mut out = Around::new(part.out);
    for row in (0..rows).step_by(BUFFERED_ROWS) {
        let (begin, end) = (row.saturating_sub(SIDE), rows.min(row + BUFFERED_ROWS));
        for column in (0..width).step_by(BUFFERED_COLS) {
            let size = [end - begin, BUFFERED_COLS.min(width - column)];
            let from = &part.input[begin * cols + part.first + column..];
            pieces::<BUFFERED_COLS>(block, (&mut part.buffer, PITCH), (from, cols), size);
            for (column, piece) in (column..width).zip(part.buffer.chunks_exact(PITCH)) {
                let line = |row: usize| row.saturating_sub((column * rows + row) % SIDE);
                let (first, last) = (line(row), if end == rows { end } else { line(end) });
                out.send(column * rows + first, &piece[first - begin..last - begin]);
            }
        }
    }
}

/// Transposes the first rows and columns of `input`, whose rows are `cols` apart, to `out`, whose rows are `pitch` apart.
/// Of each block the one `AHEAD` columns further on is fetched, if that is any: too few lines of a row are read at a time for
/// the processor to see what comes next.
#[inline]
fn pieces<const AHEAD: usize>(
    block: Block,
    (out, pitch): (&mut [f32], usize),
    (input, cols): (&[f32], usize),
    [height, width]: [usize; 2],
) {
    for row in (0..height).step_by(SIDE) {
        for column in (0..width).step_by(SIDE) {
            let (out, input) = (
                &mut out[column * pitch + row..],
                &input[row * cols + column..],
            );
            if row + SIDE <= height && column + SIDE <= width {
                if AHEAD > 0 {
                    let ahead = input[AHEAD.min(input.len())..].iter().step_by(cols);
                    ahead.take(SIDE).for_each(store::fetch);
                }
                block.transpose(out, pitch, input, cols);
                continue;
            }
            for c in 0..SIDE.min(width - column) {
                for r in 0..SIDE.min(height - row) {
                    out[c * pitch + r] = input[r * cols + c];
                }
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
