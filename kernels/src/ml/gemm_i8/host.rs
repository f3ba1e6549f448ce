//! Products of 8-bit integers on the host: widened to 16 bits once, then multiplied and added in pairs.
#![allow(unsafe_code)] // instructions of the processor's own

use super::Int8Gemm;
use crate::device::Team;
#[cfg(target_arch = "x86_64")]
use crate::simd::has_avx512;
use crate::simd::wide;

/// Rows and columns of a tile of sums, which stay in registers.
const SIDE: usize = 4;
/// Lines are padded with zeros to so many numbers: a vector of 512 bits.
const LANES: usize = 32;
/// Columns of B that stay in the second cache while all rows of A pass by.
const COLUMNS: usize = 64;

/// The rows or columns of a tile.
type Lines<'a> = [&'a [i16]; SIDE];

/// Multiplies, each thread some rows of C.
pub fn multiply(
    team: &Team,
    shape: Int8Gemm,
    [a, b]: [&[i8]; 2],
    [a_scales, b_scales]: [&[f32]; 2],
    c: &mut [f32],
) {
    let Int8Gemm { n, k, .. } = shape;
    if c.is_empty() {
        return;
    }
    let depth = k.div_ceil(LANES) * LANES;
    let b = widened(team, b, n, k, depth);
    let mut first = 0;
    let parts = team.split_mut(c, SIDE * n).into_iter().map(|c| {
        let rows = first..first + c.len() / n;
        first = rows.end;
        (rows, c)
    });
    let parts = parts.collect();
    team.each(parts, |(rows, c)| {
        // Lines of nothing have no numbers to be found.
        let a = if k == 0 {
            &[]
        } else {
            &a[rows.start * k..rows.end * k]
        };
        let a = widen_lines(a, rows.len(), k, depth);
        let scales = [&a_scales[rows.clone()], b_scales];
        multiply_rows([&a, &b], scales, [n, depth], c);
    });
}

/// Lines of `k` numbers in 16 bits, padded to `depth`, by all threads.
fn widened(team: &Team, from: &[i8], lines: usize, k: usize, depth: usize) -> Vec<i16> {
    let mut all = vec![0; lines * depth];
    if depth == 0 {
        return all;
    }
    let parts = team.split_mut(&mut all, depth).into_iter();
    let parts = parts.zip(team.split(from, k)).collect();
    team.each(parts, |(to, from): &mut (&mut [i16], &[i8])| {
        widen(to, from, k, depth);
    });
    all
}

fn widen_lines(from: &[i8], lines: usize, k: usize, depth: usize) -> Vec<i16> {
    let mut all = vec![0; lines * depth];
    if depth > 0 {
        widen(&mut all, from, k, depth);
    }
    all
}

fn widen(to: &mut [i16], from: &[i8], k: usize, depth: usize) {
    for (to, from) in to.chunks_exact_mut(depth).zip(from.chunks_exact(k)) {
        to.iter_mut()
            .zip(from)
            .for_each(|(to, from)| *to = (*from).into());
    }
}

fn multiply_rows(
    [a, b]: [&[i16]; 2],
    [a_scales, b_scales]: [&[f32]; 2],
    [n, depth]: [usize; 2],
    c: &mut [f32],
) {
    let rows = a_scales.len();
    for columns in (0..n).step_by(COLUMNS) {
        let end = n.min(columns + COLUMNS);
        for row in (0..rows).step_by(SIDE) {
            let left = lines(a, row, rows, depth);
            for column in (columns..end).step_by(SIDE) {
                let sums = tile(left, lines(b, column, n, depth));
                for (i, sums) in sums.iter().enumerate().take(rows - row) {
                    for (j, sum) in sums.iter().enumerate().take(end - column) {
                        let scale = a_scales[row + i] * b_scales[column + j];
                        c[(row + i) * n + column + j] = *sum as f32 * scale;
                    }
                }
            }
        }
    }
}

/// Lines from `first` on; where there are no more, the last again.
fn lines(all: &[i16], first: usize, count: usize, depth: usize) -> Lines<'_> {
    std::array::from_fn(|i| &all[(first + i).min(count - 1) * depth..][..depth])
}

fn tile(a: Lines, b: Lines) -> [[i32; SIDE]; SIDE] {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        // SAFETY: the processor has every feature that the function enables.
        return unsafe { tile_avx512(a, b) };
    }
    tile_any(a, b)
}

wide! {
    fn tile_any(a: Lines, b: Lines) -> [[i32; SIDE]; SIDE] {
        let mut sums = [[0; SIDE]; SIDE];
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                let pairs = a.iter().zip(b);
                *sum = pairs.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
            }
        }
        sums
    }
}

/// Sixteen sums at once: each instruction multiplies 32 pairs and adds the products of neighbours.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn tile_avx512(a: Lines, b: Lines) -> [[i32; SIDE]; SIDE] {
    use std::arch::x86_64::{
        _mm512_add_epi32, _mm512_loadu_epi16, _mm512_madd_epi16, _mm512_reduce_add_epi32,
        _mm512_setzero_si512,
    };

    let mut sums = [[_mm512_setzero_si512(); SIDE]; SIDE];
    for first in (0..a[0].len()).step_by(LANES) {
        let mut vectors = [[_mm512_setzero_si512(); SIDE]; 2];
        for (vectors, lines) in vectors.iter_mut().zip([a, b]) {
            for (vector, line) in vectors.iter_mut().zip(lines) {
                let numbers = &line[first..first + LANES];
                // SAFETY: the slice has just the numbers of a vector, and any alignment will do.
                *vector = unsafe { _mm512_loadu_epi16(numbers.as_ptr()) };
            }
        }
        for (sums, a) in sums.iter_mut().zip(vectors[0]) {
            for (sum, b) in sums.iter_mut().zip(vectors[1]) {
                *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(a, b));
            }
        }
    }
    let mut out = [[0; SIDE]; SIDE];
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = _mm512_reduce_add_epi32(sum);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{LANES, tile, tile_any};

    #[test]
    fn every_way_has_the_same_sums() {
        let number = |i: usize| ((i * 37 + i * i) % 256) as i16 - 128;
        let all: Vec<i16> = (0..8 * 5 * LANES).map(number).collect();
        let lines: Vec<_> = all.chunks_exact(5 * LANES).collect();
        let [a, b] = [[0, 1, 2, 3], [4, 5, 6, 7]].map(|of| of.map(|i| lines[i]));
        assert_eq!(tile(a, b), tile_any(a, b));
    }
}
