//! Functions of [`super`] where AVX-512 has an instruction that does more of them at once.
#![allow(unsafe_code)] // loads and stores of vectors

use std::arch::x86_64::{
    __m512, _CMP_LT_OQ, _CMP_NLT_UQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_fmadd_ps,
    _mm512_fnmadd_ps, _mm512_fnmsub_ps, _mm512_loadu_ps, _mm512_mask_fmadd_ps,
    _mm512_maskz_scalef_ps, _mm512_max_ps, _mm512_min_ps, _mm512_rcp14_ps, _mm512_scalef_ps,
    _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::{EXP_LEAST, LN_2_HIGH, LN_2_LOW, POWER, ROUND, WIDTH};

/// Numbers that go side by side: four vectors, beside which there is room for all that is known of them.
pub const ABREAST: usize = 64;
const LANE: usize = 16;

/// As [`super::exp_beneath_of`]. To scale by a power of two adds to the exponent, and leaves alone what is no number.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn exp_beneath_of(x: &[f32; ABREAST]) -> [f32; ABREAST] {
    let mut rest = [_mm512_set1_ps(0.0); ABREAST / LANE];
    for (rest, x) in rest.iter_mut().zip(x.as_chunks::<LANE>().0) {
        // SAFETY: as many numbers as a vector has.
        *rest = unsafe { _mm512_loadu_ps(x.as_ptr()) };
    }
    let (round, least) = (_mm512_set1_ps(ROUND), _mm512_set1_ps(EXP_LEAST));
    let log2_e = _mm512_set1_ps(std::f32::consts::LOG2_E);
    let (mut is_normal, mut whole) = ([0; ABREAST / LANE], [round; ABREAST / LANE]);
    for ((is_normal, whole), x) in is_normal.iter_mut().zip(&mut whole).zip(&rest) {
        *is_normal = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(*x, least);
        *whole = _mm512_sub_ps(_mm512_fmadd_ps(*x, log2_e, round), round);
    }
    for part in [-LN_2_HIGH, -LN_2_LOW] {
        let part = _mm512_set1_ps(part);
        for (rest, whole) in rest.iter_mut().zip(&whole) {
            *rest = _mm512_fmadd_ps(*whole, part, *rest);
        }
    }
    let mut powers = [_mm512_set1_ps(POWER[0]); ABREAST / LANE];
    for coefficient in &POWER[1..] {
        let coefficient = _mm512_set1_ps(*coefficient);
        for (power, rest) in powers.iter_mut().zip(&rest) {
            *power = _mm512_fmadd_ps(*power, *rest, coefficient);
        }
    }
    let mut out = [0.0; ABREAST];
    let scaled = is_normal.iter().zip(&powers).zip(&whole);
    for (out, ((mask, power), whole)) in out.as_chunks_mut::<LANE>().0.iter_mut().zip(scaled) {
        // SAFETY: as above.
        unsafe {
            let scaled = _mm512_maskz_scalef_ps(*mask, *power, *whole);
            _mm512_storeu_ps(out.as_mut_ptr(), scaled);
        }
    }
    out
}

/// As [`super::sigmoid_of`]: the reciprocal from a guess of 14 bits and a step of Newton's.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sigmoid_of(x: &[f32; WIDTH]) -> [f32; WIDTH] {
    each(x, |x| {
        let shifted = _mm512_fnmadd_ps(x, log2_e(), _mm512_set1_ps(ROUND));
        let whole = _mm512_sub_ps(shifted, _mm512_set1_ps(ROUND));
        let rest = _mm512_fnmsub_ps(whole, _mm512_set1_ps(LN_2_HIGH), x);
        let rest = _mm512_fnmadd_ps(whole, _mm512_set1_ps(LN_2_LOW), rest);
        let below = one_and(&POWER, rest, whole);
        let guess = _mm512_rcp14_ps(below);
        let off = _mm512_fnmadd_ps(below, guess, _mm512_set1_ps(1.0));
        let is_finite = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(below, _mm512_set1_ps(f32::INFINITY));
        _mm512_mask_fmadd_ps(guess, is_finite, off, guess)
    })
}

/// As [`super::sigmoid_roughly`]: a shorter polynomial, of `2^x`, off by at most 2^-18, and the guess itself, by 2^-14.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sigmoid_roughly(x: &[f32; WIDTH]) -> [f32; WIDTH] {
    const POWER_OF_2: [f32; 5] = [
        9.570_111e-3,
        5.591_785_5e-2,
        2.402_474_4e-1,
        6.931_218e-1,
        9.999_993e-1,
    ];
    each(x, |x| {
        let shifted = _mm512_fnmadd_ps(x, log2_e(), _mm512_set1_ps(ROUND));
        let whole = _mm512_sub_ps(shifted, _mm512_set1_ps(ROUND));
        let rest = _mm512_fnmsub_ps(x, log2_e(), whole);
        _mm512_rcp14_ps(one_and(&POWER_OF_2, rest, whole))
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn log2_e() -> __m512 {
    _mm512_set1_ps(std::f32::consts::LOG2_E)
}

/// A function of the vectors of a line, kept within what powers of e can be told from 0 and infinity; what is no number stays none.
#[inline]
#[target_feature(enable = "avx512f")]
fn each(x: &[f32; WIDTH], of: impl Fn(__m512) -> __m512) -> [f32; WIDTH] {
    const FAR: f32 = 120.0;
    let mut out = [0.0; WIDTH];
    let lanes = out.as_chunks_mut::<LANE>().0.iter_mut();
    for (out, x) in lanes.zip(x.as_chunks::<LANE>().0) {
        // SAFETY: as many numbers as a vector has.
        let x = unsafe { _mm512_loadu_ps(x.as_ptr()) };
        let x = _mm512_max_ps(_mm512_set1_ps(-FAR), _mm512_min_ps(_mm512_set1_ps(FAR), x));
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), of(x)) };
    }
    out
}

/// One and a polynomial times a power of two.
#[inline]
#[target_feature(enable = "avx512f")]
fn one_and<const N: usize>(coefficients: &[f32; N], rest: __m512, whole: __m512) -> __m512 {
    let mut power = _mm512_set1_ps(coefficients[0]);
    for coefficient in &coefficients[1..] {
        power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(*coefficient));
    }
    _mm512_add_ps(_mm512_set1_ps(1.0), _mm512_scalef_ps(power, whole))
}
