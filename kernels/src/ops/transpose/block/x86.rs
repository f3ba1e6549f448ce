//! Blocks with AVX-512 and with AVX2.
//!
//! Pairs of rows are interleaved by elements, pairs of those by pairs, and so on (J. O. Eklundh, "A fast computer method for
//! matrix transposing", IEEE Trans. Computers C-21, 1972): four stages for 16 rows, three for 8.

use std::arch::x86_64::{
    __m256, __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm_sfence, _mm256_castpd_ps,
    _mm256_castps_pd, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_storeu_ps, _mm256_stream_ps,
    _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    _mm512_add_epi32, _mm512_castpd_ps, _mm512_castps_pd, _mm512_load_ps, _mm512_loadu_ps,
    _mm512_mask_storeu_ps, _mm512_permutex2var_ps, _mm512_set_epi32, _mm512_set1_epi32,
    _mm512_shuffle_f32x4, _mm512_store_ps, _mm512_storeu_ps, _mm512_stream_ps, _mm512_unpackhi_pd,
    _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};
use std::array::from_fn;

use super::{Kernel, MOST_WIDE, SIDE};
use crate::simd::{has_avx2, has_avx512};

/// The best kernel that the processor can run.
pub fn best(streams: bool) -> Option<Kernel> {
    if has_avx512() {
        return Some(if streams {
            avx512::<true>
        } else {
            avx512::<false>
        });
    }
    has_avx2().then_some(if streams { avx2::<true> } else { avx2::<false> })
}

/// Every kernel that the processor can run.
#[cfg(test)]
pub fn all() -> Vec<Kernel> {
    let mut all: Vec<Kernel> = vec![];
    if has_avx512() {
        all.extend([avx512::<true> as Kernel, avx512::<false>]);
    }
    if has_avx2() {
        all.extend([avx2::<true> as Kernel, avx2::<false>]);
    }
    all
}

/// Orders stores past the caches before all that follow.
#[inline]
pub fn fence() {
    // SAFETY: every x86-64 processor has it.
    unsafe { _mm_sfence() };
}

/// # Safety
/// As [`super::plain`], on a processor with AVX-512; if it streams, each row of the output begins a cache line.
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const STREAMS: bool>(to: *mut f32, rows: usize, from: *const f32, cols: usize) {
    // SAFETY: 16 rows of 16 elements.
    let block = unsafe { transposed(from, cols) };
    for (column, vector) in block.into_iter().enumerate() {
        // SAFETY: 16 elements of a row of the output's block, which begins a line where it has to.
        unsafe {
            let to = to.add(column * rows);
            if STREAMS {
                _mm512_stream_ps(to, vector);
            } else {
                _mm512_storeu_ps(to, vector);
            }
        }
    }
}

/// The columns of a block.
///
/// # Safety
/// There must be 16 rows of 16 elements, on a processor with AVX-512.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transposed(from: *const f32, cols: usize) -> [__m512; SIDE] {
    // SAFETY: 16 elements of a row of the block.
    let mut block: [__m512; SIDE] = from_fn(|row| unsafe { _mm512_loadu_ps(from.add(row * cols)) });
    block = from_fn(|i| {
        let (a, b) = (block[i & !1], block[i | 1]);
        if i % 2 == 0 {
            _mm512_unpacklo_ps(a, b)
        } else {
            _mm512_unpackhi_ps(a, b)
        }
    });
    // Vector `4 k + c` has columns `c` of rows `4 k ..`, in each of its quarters those of four columns further on.
    block = from_fn(|i| {
        let first = i / 4 * 4 + i % 4 / 2;
        let (a, b) = (
            _mm512_castps_pd(block[first]),
            _mm512_castps_pd(block[first + 2]),
        );
        _mm512_castpd_ps(if i % 2 == 0 {
            _mm512_unpacklo_pd(a, b)
        } else {
            _mm512_unpackhi_pd(a, b)
        })
    });
    // Quarters: first those with even numbers, then those with odd ones, of rows `0 ..` and of rows `8 ..`.
    block = from_fn(|i| {
        let first = i / 8 * 8 + i % 4;
        let (a, b) = (block[first], block[first + 4]);
        if i % 8 < 4 {
            _mm512_shuffle_f32x4::<0x88>(a, b)
        } else {
            _mm512_shuffle_f32x4::<0xdd>(a, b)
        }
    });
    from_fn(|i| {
        let (a, b) = (block[i % 8], block[i % 8 + 8]);
        if i < 8 {
            _mm512_shuffle_f32x4::<0x88>(a, b)
        } else {
            _mm512_shuffle_f32x4::<0xdd>(a, b)
        }
    })
}

/// A cache line.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line([f32; SIDE]);

/// How far ahead in a row of the input lines are fetched, in elements: memory takes longer than a few blocks.
const AHEAD: usize = 4 * SIDE;

/// Transposes a tile whose rows of output begin anywhere in a cache line: each line is put together in registers from two
/// blocks, this one and the one above it, and stored past the caches. What is left of the last block's columns stays to be written.
///
/// # Safety
/// As [`super::Shifted::tile`] checks it.
#[target_feature(enable = "avx512f")]
pub unsafe fn shifted(
    (to, rows): (*mut f32, usize),
    (from, cols): (*const f32, usize),
    [height, width]: [usize; 2],
    is_first: bool,
) {
    let mut above = [Line([0.0; SIDE]); MOST_WIDE];
    // Column `i` of a block begins so many elements behind the beginning of a line.
    let behind: [usize; SIDE] = from_fn(|i| i * rows % SIDE);
    let indices: [__m512i; SIDE] = from_fn(|i| {
        let places = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        _mm512_add_epi32(places, _mm512_set1_epi32((SIDE - behind[i]) as i32))
    });
    if !is_first {
        for (column, above) in (0..width).step_by(SIDE).zip(above.chunks_exact_mut(SIDE)) {
            // SAFETY: there is a block above the first.
            let block = unsafe { transposed(from.sub(SIDE * cols).add(column), cols) };
            keep(above, &block);
        }
    }
    for row in (0..height).step_by(SIDE) {
        for (column, above) in (0..width).step_by(SIDE).zip(above.chunks_exact_mut(SIDE)) {
            // SAFETY: inside the tile; fetching is allowed anywhere.
            let (block, to) = unsafe {
                let from = from.add(row * cols + column);
                for r in 0..SIDE {
                    _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(r * cols + AHEAD).cast());
                }
                (transposed(from, cols), to.add(column * rows + row))
            };
            for i in 0..SIDE {
                // SAFETY: aligned.
                let before = unsafe { _mm512_load_ps(above[i].0.as_ptr()) };
                let line = _mm512_permutex2var_ps(before, indices[i], block[i]);
                if row > 0 || !is_first || behind[i] == 0 {
                    // SAFETY: a line of this column, all of which is in the output.
                    unsafe { _mm512_stream_ps(to.add(i * rows).sub(behind[i]), line) };
                } else {
                    // SAFETY: the first elements of the column, fewer than a line.
                    unsafe { begin(to.add(i * rows), block[i], SIDE - behind[i]) };
                }
            }
            keep(above, &block);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn keep(lines: &mut [Line], block: &[__m512; SIDE]) {
    for (line, vector) in lines.iter_mut().zip(block) {
        // SAFETY: aligned.
        unsafe { _mm512_store_ps(line.0.as_mut_ptr(), *vector) };
    }
}

/// Stores the first elements of a vector.
///
/// # Safety
/// There must be so many.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn begin(to: *mut f32, vector: __m512, count: usize) {
    // SAFETY: the others are masked out.
    unsafe { _mm512_mask_storeu_ps(to, (1 << count) - 1, vector) };
}

/// # Safety
/// As [`super::plain`], on a processor with AVX2; if it streams, each row of the output begins a cache line.
#[target_feature(enable = "avx2")]
unsafe fn avx2<const STREAMS: bool>(to: *mut f32, rows: usize, from: *const f32, cols: usize) {
    for column in [0, 8] {
        // Both halves of the same lines, one right after the other.
        for row in [0, 8] {
            // SAFETY: a quarter of the block.
            unsafe {
                let (to, from) = (to.add(column * rows + row), from.add(row * cols + column));
                quarter::<STREAMS>(to, rows, from, cols);
            }
        }
    }
}

/// # Safety
/// As [`avx2`], with 8 by 8 elements.
#[target_feature(enable = "avx2")]
unsafe fn quarter<const STREAMS: bool>(to: *mut f32, rows: usize, from: *const f32, cols: usize) {
    // SAFETY: 8 elements of a row.
    let mut block: [__m256; 8] = from_fn(|row| unsafe { _mm256_loadu_ps(from.add(row * cols)) });
    block = from_fn(|i| {
        let (a, b) = (block[i & !1], block[i | 1]);
        if i % 2 == 0 {
            _mm256_unpacklo_ps(a, b)
        } else {
            _mm256_unpackhi_ps(a, b)
        }
    });
    block = from_fn(|i| {
        let first = i / 4 * 4 + i % 4 / 2;
        let (a, b) = (
            _mm256_castps_pd(block[first]),
            _mm256_castps_pd(block[first + 2]),
        );
        _mm256_castpd_ps(if i % 2 == 0 {
            _mm256_unpacklo_pd(a, b)
        } else {
            _mm256_unpackhi_pd(a, b)
        })
    });
    block = from_fn(|i| {
        let (a, b) = (block[i % 4], block[i % 4 + 4]);
        if i < 4 {
            _mm256_permute2f128_ps::<0x20>(a, b)
        } else {
            _mm256_permute2f128_ps::<0x31>(a, b)
        }
    });
    for (column, vector) in block.into_iter().enumerate() {
        // SAFETY: 8 elements of a row of the output, aligned to as many where it has to be.
        unsafe {
            let to = to.add(column * rows);
            if STREAMS {
                _mm256_stream_ps(to, vector);
            } else {
                _mm256_storeu_ps(to, vector);
            }
        }
    }
}
