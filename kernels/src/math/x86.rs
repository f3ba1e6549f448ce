//! Functions of [`super`] where AVX-512 has an instruction that does more of them at once.
#![allow(unsafe_code)] // loads and stores of vectors

use std::arch::x86_64::{
    _CMP_NLT_UQ, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_scalef_ps,
    _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::{EXP_LEAST, LN_2_HIGH, LN_2_LOW, POWER, ROUND};

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
