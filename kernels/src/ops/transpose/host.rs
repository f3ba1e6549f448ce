//! Transposition on the host.

use crate::device::Team;
use crate::simd::wide;

/// Side of a tile: a cache line of `f32`.
const TILE: usize = 16;

/// Writes some rows of the output: `(out, input, rows, cols, first)`.
pub type Kernel = fn(&mut [f32], &[f32], usize, usize, usize);

/// Every implementation, the default first.
pub const VARIANTS: [(&str, Kernel); 2] = [("tiled", tiled), ("naive", naive)];

/// Runs one on a team, `iterations` times; gives the nanoseconds that it took.
pub fn run(
    kernel: Kernel,
    team: &Team,
    out: &mut [f32],
    input: &[f32],
    [rows, cols]: [usize; 2],
    iterations: u64,
) -> u64 {
    // Each member writes some rows of the output, a whole number of tiles, and reads as many columns.
    let parts = team.split_mut(out, TILE * rows.max(1));
    let mut first = 0;
    let parts = parts.into_iter().map(|part| {
        let column = first;
        first += part.len() / rows.max(1);
        (column, part)
    });
    team.time(iterations, parts.collect(), |_, (column, part)| {
        kernel(part, input, rows, cols, *column);
    })
}

wide! {
    /// Writes the rows of `out`, which are the columns of `input` from `first` on, one after the other.
    fn naive(out: &mut [f32], input: &[f32], rows: usize, cols: usize, first: usize) {
        if out.is_empty() {
            return;
        }
        for (c, line) in out.chunks_exact_mut(rows).enumerate() {
            for (out, line) in line.iter_mut().zip(input.chunks_exact(cols)) {
                *out = line[first + c];
            }
        }
    }

    /// As [`naive`], by tiles whose cache lines, once fetched, are used up.
    fn tiled(out: &mut [f32], input: &[f32], rows: usize, cols: usize, first: usize) {
        if out.is_empty() {
            return;
        }
        for (band_index, band) in out.chunks_mut(TILE * rows).enumerate() {
            let column = first + band_index * TILE;
            for row in (0..rows).step_by(TILE) {
                let height = TILE.min(rows - row);
                for (c, line) in band.chunks_exact_mut(rows).enumerate() {
                    for (r, out) in line[row..row + height].iter_mut().enumerate() {
                        *out = input[(row + r) * cols + column + c];
                    }
                }
            }
        }
    }
}
