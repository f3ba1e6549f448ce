//! Conversions of lines with AVX-512.
//!
//! Bits are those of the conversions of single numbers, but for those of what is no number in half precision, which the
//! processor makes quiet when it is widened.
#![allow(unsafe_code)] // loads and stores of vectors

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512i, _CMP_UNORD_Q, _MM_FROUND_TO_NEAREST_INT, _mm256_loadu_si256,
    _mm256_storeu_si256, _mm512_add_epi32, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_cmp_ps_mask, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_cvtps_ph,
    _mm512_fpclass_ps_mask, _mm512_loadu_ps, _mm512_mask_add_epi32, _mm512_mask_mov_epi32,
    _mm512_mask_or_epi32, _mm512_permutex2var_epi16, _mm512_set1_epi32, _mm512_slli_epi32,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_test_epi32_mask,
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub fn narrow_bf16(values: &[f32; WIDTH]) -> [bf16; WIDTH] {
    const SUBNORMAL: i32 = 1 << 5;
    let mut line = [bf16::ZERO; WIDTH];
    // SAFETY: half of the values each.
    let [low, high] = [0, HALF].map(|first| unsafe { _mm512_loadu_ps(values.as_ptr().add(first)) });
    // The processor's own rounding takes subnormal numbers for 0.
    let are_subnormal = [low, high].map(|values| _mm512_fpclass_ps_mask::<SUBNORMAL>(values));
    let halves = if crate::simd::has_avx512_bf16() && are_subnormal == [0, 0] {
        // SAFETY: the processor has the instruction.
        unsafe { nearest_bf16(low, high) }
    } else {
        rounded_to_bf16(low, high)
    };
    // SAFETY: as many results as a vector has.
    unsafe { _mm512_storeu_si512(line.as_mut_ptr().cast(), halves) };
    line
}

/// As [`rounded_to_bf16`] of normal numbers, 0, infinities and what is no number, in one instruction. Its intrinsic would be called,
/// since what it is inlined into has not asked for its feature.
///
/// # Safety
/// The processor must have AVX512-BF16.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn nearest_bf16(low: __m512, high: __m512) -> __m512i {
    let halves;
    // SAFETY: as above; it has no effect but its result.
    unsafe {
        asm!(
            "vcvtne2ps2bf16 {halves}, {high}, {low}",
            halves = lateout(zmm_reg) halves,
            high = in(zmm_reg) high,
            low = in(zmm_reg) low,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    halves
}

/// The nearest numbers, ties to even; what is no number stays none.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rounded_to_bf16(low: __m512, high: __m512) -> __m512i {
    // The upper half of each word of both vectors.
    let places: [u16; WIDTH] = std::array::from_fn(|i| 2 * i as u16 + 1);
    // SAFETY: as many places as a vector has.
    let places: __m512i = unsafe { std::mem::transmute(places) };
    _mm512_permutex2var_epi16(rounded(low), places, rounded(high))
}

/// Words whose upper halves are the nearest numbers, ties to even; what is no number stays none.
#[inline]
#[target_feature(enable = "avx512f")]
fn rounded(values: __m512) -> __m512i {
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
    let mut line = [f16::ZERO; WIDTH];
    // SAFETY: half of the values each.
    let mut both = [0, HALF].map(|first| unsafe { _mm512_loadu_ps(values.as_ptr().add(first)) });
    if _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(both[0], both[1]) != 0 {
        both = both.map(|values| one_nan(values));
    }
    for (first, values) in [0, HALF].into_iter().zip(both) {
        let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
        // SAFETY: half of the line.
        unsafe { _mm256_storeu_si256(line.as_mut_ptr().add(first).cast(), halves) };
    }
    line
}

/// The numbers, and of what is none one pattern and its sign.
#[inline]
#[target_feature(enable = "avx512f")]
fn one_nan(values: __m512) -> __m512 {
    const OR_BEHIND_AND: i32 = 0xea; // of (a, b, c): a b + c
    let bits = _mm512_castps_si512(values);
    let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
    let (sign, nan) = (_mm512_set1_epi32(i32::MIN), _mm512_set1_epi32(0x7fc0_0000));
    let quiet = _mm512_ternarylogic_epi32::<OR_BEHIND_AND>(bits, sign, nan);
    _mm512_castsi512_ps(_mm512_mask_mov_epi32(bits, is_nan, quiet))
}
