//! Blocks with AVX-512 and with AVX2.
//!
//! Pairs of rows are interleaved by elements, pairs of those by pairs, and so on (J. O. Eklundh, "A fast computer method for
//! matrix transposing", IEEE Trans. Computers C-21, 1972): four stages for 16 rows, three for 8.

use std::arch::x86_64::{
    __m256, __m512, _mm_sfence, _mm256_castpd_ps, _mm256_castps_pd, _mm256_loadu_ps,
    _mm256_permute2f128_ps, _mm256_storeu_ps, _mm256_stream_ps, _mm256_unpackhi_pd,
    _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps, _mm512_castpd_ps, _mm512_castps_pd,
    _mm512_loadu_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_stream_ps, _mm512_unpackhi_pd,
    _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};
use std::array::from_fn;

use super::Kernel;
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
    // SAFETY: 16 elements of a row of the block.
    let mut block: [__m512; 16] = from_fn(|row| unsafe { _mm512_loadu_ps(from.add(row * cols)) });
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
    block = from_fn(|i| {
        let (a, b) = (block[i % 8], block[i % 8 + 8]);
        if i < 8 {
            _mm512_shuffle_f32x4::<0x88>(a, b)
        } else {
            _mm512_shuffle_f32x4::<0xdd>(a, b)
        }
    });
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
