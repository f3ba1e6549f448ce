//! Pulls by AVX-512, whose first guess of an inverse root is good to 14 bits.
//!
//! Of `s`, the squared distance, and `y`, the guess, `s^(-3/2)` is `y^3 (1 - h)^(-3/2)` with `h = 1 - s y^2`, at most 2^-13 in
//! magnitude: `3/2 y^3 (5/3 - s y^2)`, less `15/8 h^2` of it, half a unit of 2^-24. The factor 3/2 is left to the sums. Together with
//! what rounds, the square of the guess three times as much in the difference, that is 8 roundings, less than by the loop. The guess is
//! the processor's own, and may be another on another make.
#![allow(unsafe_code)] // loads and stores of vectors

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_rsqrt14_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::{BLOCK, SOFTENING2};

const LANE: usize = 16;
const VECTORS: usize = 4;
/// Places that are pulled at together: four vectors, beside whose sums there is room for a body.
pub const LANES: usize = VECTORS * LANE;

/// As [`super::pull`].
#[target_feature(enable = "avx512f")]
pub fn pull(place: &[[f32; LANES]; 3], bodies: &[f32]) -> [[f32; LANES]; 3] {
    let place = place.each_ref().map(|axis| {
        let mut vectors = [_mm512_set1_ps(0.0); VECTORS];
        for (vector, lanes) in vectors.iter_mut().zip(axis.as_chunks::<LANE>().0) {
            // SAFETY: as many numbers as a vector has.
            *vector = unsafe { _mm512_loadu_ps(lanes.as_ptr()) };
        }
        vectors
    });
    let mut total = [[_mm512_set1_ps(0.0); VECTORS]; 3];
    for block in bodies.chunks(4 * BLOCK) {
        let sum = pull_of_block(&place, block);
        for (total, sum) in total.as_flattened_mut().iter_mut().zip(sum.as_flattened()) {
            *total = _mm512_add_ps(*total, *sum);
        }
    }
    let mut out = [[0.0; LANES]; 3];
    for (out, total) in out.iter_mut().zip(&total) {
        for (out, total) in out.as_chunks_mut::<LANE>().0.iter_mut().zip(total) {
            let total = _mm512_mul_ps(*total, _mm512_set1_ps(1.5));
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), total) };
        }
    }
    out
}

/// Two thirds of the pulls of a few bodies.
#[inline]
#[target_feature(enable = "avx512f")]
fn pull_of_block(place: &[[__m512; VECTORS]; 3], block: &[f32]) -> [[__m512; VECTORS]; 3] {
    let (softening, five_thirds) = (_mm512_set1_ps(SOFTENING2), _mm512_set1_ps(5.0 / 3.0));
    let mut sum = [[_mm512_set1_ps(0.0); VECTORS]; 3];
    for body in block.as_chunks::<4>().0 {
        let own = body.map(|x| _mm512_set1_ps(x));
        for vector in 0..VECTORS {
            let dx = _mm512_sub_ps(own[0], place[0][vector]);
            let dy = _mm512_sub_ps(own[1], place[1][vector]);
            let dz = _mm512_sub_ps(own[2], place[2][vector]);
            let distance2 = _mm512_fmadd_ps(dz, dz, softening);
            let distance2 = _mm512_fmadd_ps(dx, dx, _mm512_fmadd_ps(dy, dy, distance2));
            let guess = _mm512_rsqrt14_ps(distance2);
            let square = _mm512_mul_ps(guess, guess);
            let right = _mm512_fnmadd_ps(distance2, square, five_thirds);
            let cube = _mm512_mul_ps(square, guess);
            let factor = _mm512_mul_ps(cube, _mm512_mul_ps(own[3], right));
            sum[0][vector] = _mm512_fmadd_ps(dx, factor, sum[0][vector]);
            sum[1][vector] = _mm512_fmadd_ps(dy, factor, sum[1][vector]);
            sum[2][vector] = _mm512_fmadd_ps(dz, factor, sum[2][vector]);
        }
    }
    sum
}
