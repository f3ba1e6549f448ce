//! Conversions of lines with AVX-512.
//!
//! Bits are those of the conversions of single numbers, but for those of what is no number in half precision, which the
//! processor makes quiet when it is widened.
#![allow(unsafe_code)] // loads and stores of vectors

use std::arch::x86_64::{
    __m512, __m512i, _CMP_UNORD_Q, _MM_FROUND_TO_NEAREST_INT, _mm256_loadu_si256,
    _mm256_storeu_si256, _mm512_add_epi32, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_cmp_ps_mask, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_cvtps_ph, _mm512_loadu_ps,
    _mm512_mask_add_epi32, _mm512_mask_mov_epi32, _mm512_mask_or_epi32, _mm512_permutex2var_epi16,
    _mm512_set1_epi32, _mm512_slli_epi32, _mm512_storeu_ps, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_test_epi32_mask,
};

use half::{bf16, f16};

use super::WIDTH;

/// Numbers of a vector.
const HALF: usize = WIDTH / 2;

#[inline]
#[target_feature(enable = "avx512f")]
pub fn widen_bf16(line: &[bf16; WIDTH]) -> [f32; WIDTH] {
    let mut wide = [0.0; WIDTH];
    for first in [0, HALF] {
        // SAFETY: half of either.
        unsafe {
            let narrow = _mm256_loadu_si256(line.as_ptr().add(first).cast());
            let bits = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow));
            _mm512_storeu_ps(wide.as_mut_ptr().add(first), _mm512_castsi512_ps(bits));
        }
    }
    wide
}

#[inline]
#[target_feature(enable = "avx512f")]
pub fn widen_f16(line: &[f16; WIDTH]) -> [f32; WIDTH] {
    let mut wide = [0.0; WIDTH];
    for first in [0, HALF] {
        // SAFETY: half of either.
        unsafe {
            let narrow = _mm256_loadu_si256(line.as_ptr().add(first).cast());
            _mm512_storeu_ps(wide.as_mut_ptr().add(first), _mm512_cvtph_ps(narrow));
        }
    }
    wide
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn narrow_bf16(values: &[f32; WIDTH]) -> [bf16; WIDTH] {
    // The upper half of each word of both vectors.
    let places: [u16; WIDTH] = std::array::from_fn(|i| 2 * i as u16 + 1);
    let mut line = [bf16::ZERO; WIDTH];
    // SAFETY: half of the values each, and as many places and results as a vector has.
    unsafe {
        let [low, high] = [0, HALF].map(|first| _mm512_loadu_ps(values.as_ptr().add(first)));
        let [low, high] = [rounded_to_bf16(low), rounded_to_bf16(high)];
        let places: __m512i = std::mem::transmute(places);
        let halves = _mm512_permutex2var_epi16(low, places, high);
        _mm512_storeu_si512(line.as_mut_ptr().cast(), halves);
    }
    line
}

/// Words whose upper halves are the nearest numbers, ties to even; what is no number stays none.
#[inline]
#[target_feature(enable = "avx512f")]
fn rounded_to_bf16(values: __m512) -> __m512i {
    let bits = _mm512_castps_si512(values);
    let is_odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << 16));
    let below = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    let rounded = _mm512_mask_add_epi32(below, is_odd, below, _mm512_set1_epi32(1));
    let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
    _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x40 << 16))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub fn narrow_f16(values: &[f32; WIDTH]) -> [f16; WIDTH] {
    const OR_BEHIND_AND: i32 = 0xea; // of (a, b, c): a b + c
    let mut line = [f16::ZERO; WIDTH];
    for first in [0, HALF] {
        // SAFETY: half of either.
        unsafe {
            let values = _mm512_loadu_ps(values.as_ptr().add(first));
            let bits = _mm512_castps_si512(values);
            // One pattern for what is no number, and its sign.
            let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
            let (sign, nan) = (_mm512_set1_epi32(i32::MIN), _mm512_set1_epi32(0x7fc0_0000));
            let quiet = _mm512_ternarylogic_epi32::<OR_BEHIND_AND>(bits, sign, nan);
            let bits = _mm512_mask_mov_epi32(bits, is_nan, quiet);
            let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_castsi512_ps(bits));
            _mm256_storeu_si256(line.as_mut_ptr().add(first).cast(), halves);
        }
    }
    line
}
