//! Transposition on the host.

use assay_protocol::MemoryLevel;

use super::block::{Block, MOST_WIDE, SIDE, Shifted, Tile};
use crate::device::{Team, host};
use crate::simd::wide;
use crate::store::{self, Around};

/// Rows and columns of the input that are done before the next: down the rows first, so that two lines of a row of the output are
/// written one after the other.
const ROWS: usize = 32;
const COLS: usize = 256;
/// How far ahead in a row of the input blocks are fetched: too few lines of it are read at a time for the processor to see what comes
/// next.
const AHEAD: usize = 64;
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
    if !part.streams || part.rows.is_multiple_of(SIDE) {
        by_blocks(part);
    } else if let Some(shifted) = Shifted::new() {
        by_shifted_lines(part, shifted);
    } else {
        by_lines(part);
    }
}

/// Rows of the input that are done before the next, where lines are put together from blocks that are one above the other: the
/// last block of rows before is read again.
const SHIFTED_ROWS: usize = 256;

/// Through registers alone, whatever place in a line rows of the output begin at. What is no whole line at the end of a row, and
/// no whole block of columns, comes last.
fn by_shifted_lines(part: &mut Part, shifted: Shifted) {
    let (rows, cols, width) = (part.rows, part.cols, part.out.len() / part.rows);
    let [whole_rows, whole_width] = [rows, width].map(|size| size / SIDE * SIDE);
    for row in (0..whole_rows).step_by(SHIFTED_ROWS) {
        for column in (0..whole_width).step_by(MOST_WIDE) {
            let size = [
                SHIFTED_ROWS.min(whole_rows - row),
                MOST_WIDE.min(whole_width - column),
            ];
            let (input, at) = (part.input, [row, column]);
            let tile = Tile {
                input,
                cols,
                at,
                size,
            };
            shifted.tile(part.out, rows, part.first, tile);
        }
    }
    // Lines end this much before the last whole block of rows.
    let end = |column: usize| whole_rows.saturating_sub(column * rows % SIDE);
    for row in whole_rows.saturating_sub(SIDE)..rows {
        let line = &part.input[row * cols + part.first..][..width];
        for (column, x) in line.iter().enumerate() {
            if column >= whole_width || row >= end(column) {
                part.out[column * rows + row] = *x;
            }
        }
    }
    for column in whole_width..width {
        for row in 0..whole_rows {
            part.out[column * rows + row] = part.input[row * cols + part.first + column];
        }
    }
    Block::finish();
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
            if part.streams {
                pieces::<AHEAD>(block, (out, rows), (from, cols), size);
            } else {
                pieces::<0>(block, (out, rows), (from, cols), size);
            }
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
/// Of each block the one `AHEAD` columns further on is fetched, if that is any.
#[inline]
fn pieces<const AHEAD: usize>(
    block: Block,
    (out, pitch): (&mut [f32], usize),
    (input, cols): (&[f32], usize),
    [height, width]: [usize; 2],
) {
    for column in (0..width).step_by(SIDE) {
        for row in (0..height).step_by(SIDE) {
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

#[cfg(test)]
mod tests {
    use super::{Kernel, Part, SIDE, Shifted, by_blocks, by_lines, by_shifted_lines, naive};
    use crate::buffer::Buffer;
    use crate::device::Team;
    use crate::element::DType;

    /// What a kernel makes of a matrix, whose columns from the second block on are a part of their own.
    fn transposed(kernel: impl Fn(&mut Part), rows: usize, cols: usize) -> Vec<u32> {
        let team = Team::new(1).unwrap();
        // Begins with a line.
        let mut out = Buffer::zeroed(&team, DType::F32, rows * cols).unwrap();
        let input: Vec<f32> = (0..rows * cols).map(|i| 1.0 + i as f32).collect();
        let (first, second) = out.get_mut().split_at_mut(SIDE.min(cols) * rows);
        for (out, first) in [(first, 0), (second, SIDE)] {
            let mut part = Part {
                out,
                input: &input,
                rows,
                cols,
                first,
                streams: false,
                buffer: vec![0.0; super::PITCH * super::BUFFERED_COLS],
            };
            if !part.out.is_empty() {
                kernel(&mut part);
            }
        }
        out.get::<f32>().iter().map(|x| x.to_bits()).collect()
    }

    /// Fewer rows than a line has elements, more than a tile has, and every place of a line that rows may begin at.
    #[test]
    fn all_ways_give_the_same() {
        let sizes = [(1, 1), (7, 40), (15, 16), (33, 300), (529, 70), (800, 33)];
        for (rows, cols) in (32..64).map(|rows| (rows, 50)).chain(sizes) {
            let exact = transposed(naive as Kernel, rows, cols);
            assert!(exact == transposed(by_blocks, rows, cols), "{rows} {cols}");
            assert!(exact == transposed(by_lines, rows, cols), "{rows} {cols}");
            if let Some(shifted) = Shifted::new() {
                let by_shifted = |part: &mut Part| by_shifted_lines(part, shifted);
                assert!(exact == transposed(by_shifted, rows, cols), "{rows} {cols}");
            }
        }
    }
}
