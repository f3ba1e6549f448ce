//! Tokens of a tile side by side, one in each lane, so that the gate goes over experts and all tokens do the same.
//!
//! With AVX-512 by the processor's own vectors: left to itself the compiler goes over experts side by side, gathering.
#![allow(unsafe_code)] // vector instructions that take addresses, chosen at run time

use crate::ml::moe::MOST_CHOSEN;

/// Tokens of a tile.
pub const TOKENS: usize = 16;

/// A number of each token.
pub type Lanes<T> = [T; TOKENS];

/// Numbers of each expert, of rows of as many, at most [`TOKENS`]. Where there is no row is 0.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn load(tile: &mut [Lanes<f32>], rows: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_whole(tile.len(), rows.len()) && crate::simd::has_avx512() {
        // SAFETY: there are as many rows as lanes, in whole blocks, and the processor has what the function enables.
        unsafe { x86::load(tile, rows.as_ptr()) };
        return;
    }
    let experts = tile.len();
    tile.fill([0.0; TOKENS]);
    for (token, row) in rows.chunks_exact(experts).enumerate() {
        for (lanes, x) in tile.iter_mut().zip(row) {
            lanes[token] = *x;
        }
    }
}

/// The inverse of [`load`].
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn store(rows: &mut [f32], tile: &[Lanes<f32>]) {
    #[cfg(target_arch = "x86_64")]
    if is_whole(tile.len(), rows.len()) && crate::simd::has_avx512() {
        // SAFETY: as above.
        unsafe { x86::store(rows.as_mut_ptr(), tile) };
        return;
    }
    let experts = tile.len();
    for (token, row) in rows.chunks_exact_mut(experts).enumerate() {
        for (x, lanes) in row.iter_mut().zip(tile) {
            *x = lanes[token];
        }
    }
}

/// The largest logit of each token, and the experts with the largest keys, the largest first; of equal ones the one with the lower
/// number.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn choose<const MOST: usize>(tile: &[Lanes<f32>], best: &mut [Lanes<u32>]) -> Lanes<f32> {
    #[cfg(target_arch = "x86_64")]
    if let Some(best) = best.as_mut_array::<MOST>()
        && crate::simd::has_avx512()
    {
        // SAFETY: the processor has what the function enables.
        return unsafe { x86::choose(tile, best) };
    }
    let mut top = [f32::NEG_INFINITY; TOKENS];
    for (token, top) in top.iter_mut().enumerate() {
        let mut keys = [0; MOST_CHOSEN];
        for (expert, lanes) in tile.iter().enumerate() {
            let x = lanes[token];
            *top = if x > *top { x } else { *top };
            let (mut key, mut expert) = (key(x), expert as u32);
            // What makes room was there before, and comes before what is equal.
            let mut makes_room = false;
            for (best_key, best) in keys.iter_mut().zip(best.iter_mut()) {
                if makes_room || key > *best_key {
                    makes_room = true;
                    std::mem::swap(best_key, &mut key);
                    std::mem::swap(&mut best[token], &mut expert);
                }
            }
        }
    }
    top
}

/// What rises with a logit, from 1 on.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn key(logit: f32) -> u32 {
    let bits = logit.to_bits();
    let flipped = (bits.cast_signed() >> 31).cast_unsigned() | 1 << 31;
    (bits ^ flipped).max(1)
}

/// Makes exponentials probabilities, given one over their sum, and adds them to `sums`; what the `experts` got is in `chosen`.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn finish<const MOST: usize>(
    tile: &mut [Lanes<f32>],
    factor: &Lanes<f32>,
    sums: &mut [Lanes<f32>],
    experts: &[Lanes<u32>],
    chosen: &mut [Lanes<f32>],
) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(experts), Some(chosen)) =
        (experts.as_array::<MOST>(), chosen.as_mut_array::<MOST>())
        && crate::simd::has_avx512()
    {
        // SAFETY: the processor has what the function enables.
        unsafe { x86::finish(tile, factor, sums, experts, chosen) };
        return;
    }
    for (lanes, sums) in tile.iter_mut().zip(sums) {
        for ((x, factor), sum) in lanes.iter_mut().zip(factor).zip(sums) {
            *x *= factor;
            *sum += *x;
        }
    }
    for (chosen, experts) in chosen.iter_mut().zip(experts) {
        for (token, (p, expert)) in chosen.iter_mut().zip(experts).enumerate() {
            *p = tile[*expert as usize][token];
        }
    }
}

/// Makes `p (dp - sum p dp)` of `dp`, the gradient of probabilities: that of logits.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn times_difference(dp: &mut [Lanes<f32>], p: &[Lanes<f32>]) {
    #[cfg(target_arch = "x86_64")]
    if crate::simd::has_avx512() {
        // SAFETY: the processor has what the function enables.
        unsafe { x86::times_difference(dp, p) };
        return;
    }
    let mut sum = [0.0; TOKENS];
    for (dp, p) in dp.iter().zip(p) {
        for (sum, (dp, p)) in sum.iter_mut().zip(dp.iter().zip(p)) {
            *sum += dp * p;
        }
    }
    for (dp, p) in dp.iter_mut().zip(p) {
        for (dp, (p, sum)) in dp.iter_mut().zip(p.iter().zip(&sum)) {
            *dp = p * (*dp - sum);
        }
    }
}

/// Experts of a block.
#[cfg(target_arch = "x86_64")]
const SIDE: usize = 8;

/// Whether there are as many rows as lanes, in whole blocks.
#[cfg(target_arch = "x86_64")]
fn is_whole(experts: usize, numbers: usize) -> bool {
    experts.is_multiple_of(SIDE) && numbers == experts * TOKENS
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512i, _mm256_loadu_ps, _mm256_storeu_ps, _mm512_add_ps, _mm512_castpd_ps,
        _mm512_castps_pd, _mm512_castps_si512, _mm512_castps256_ps512, _mm512_castps512_ps256,
        _mm512_cmpeq_epi32_mask, _mm512_cmpgt_epu32_mask, _mm512_extractf32x8_ps,
        _mm512_insertf32x8, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_blend_epi32,
        _mm512_mask_mov_ps, _mm512_max_epu32, _mm512_max_ps, _mm512_min_epu32, _mm512_mul_ps,
        _mm512_permutex2var_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32,
        _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srai_epi32, _mm512_storeu_ps,
        _mm512_storeu_si512, _mm512_sub_ps, _mm512_ternarylogic_epi32, _mm512_unpackhi_pd,
        _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };
    use std::array::from_fn;

    use super::{Lanes, SIDE, TOKENS};

    /// # Safety
    /// There are as many rows of as many numbers as the tile has, a multiple of a block's side.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    pub unsafe fn load(tile: &mut [Lanes<f32>], rows: *const f32) {
        let experts = tile.len();
        for (block, lanes) in tile.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
            let row = |token: usize| rows.wrapping_add(token * experts + block * SIDE);
            // SAFETY: eight numbers of each row.
            let pairs: [__m512; SIDE] = from_fn(|i| unsafe {
                let low = _mm512_castps256_ps512(_mm256_loadu_ps(row(i)));
                _mm512_insertf32x8::<1>(low, _mm256_loadu_ps(row(i + SIDE)))
            });
            for (lanes, vector) in lanes.iter_mut().zip(transposed(&pairs)) {
                // SAFETY: as many lanes.
                unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), vector) };
            }
        }
    }

    /// # Safety
    /// As for [`load`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    pub unsafe fn store(rows: *mut f32, tile: &[Lanes<f32>]) {
        let experts = tile.len();
        for (block, lanes) in tile.as_chunks::<SIDE>().0.iter().enumerate() {
            let row = |token: usize| rows.wrapping_add(token * experts + block * SIDE);
            // SAFETY: as many lanes.
            let vectors = from_fn(|i| unsafe { _mm512_loadu_ps(lanes[i].as_ptr()) });
            for (i, pair) in transposed(&vectors).into_iter().enumerate() {
                // SAFETY: eight numbers of each row.
                unsafe {
                    _mm256_storeu_ps(row(i), _mm512_castps512_ps256(pair));
                    _mm256_storeu_ps(row(i + TOKENS / 2), _mm512_extractf32x8_ps::<1>(pair));
                }
            }
        }
    }

    /// As [`super::choose`], of as many experts.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn choose<const MOST: usize>(
        tile: &[Lanes<f32>],
        best: &mut [Lanes<u32>; MOST],
    ) -> Lanes<f32> {
        let mut top = _mm512_set1_ps(f32::NEG_INFINITY);
        let mut keys = [_mm512_setzero_si512(); MOST];
        let mut experts = [_mm512_setzero_si512(); MOST];
        for (expert, lanes) in tile.iter().enumerate() {
            // SAFETY: as many lanes.
            let x = unsafe { _mm512_loadu_ps(lanes.as_ptr()) };
            // The second, where one is no number.
            top = _mm512_max_ps(x, top);
            let (mut key, mut expert) = (key(x), _mm512_set1_epi32(expert as i32));
            // Where one made room for it: what makes room was there before, and comes before what is equal.
            let mut is_larger = 0;
            for (best_key, best) in keys.iter_mut().zip(&mut experts) {
                is_larger |= _mm512_cmpgt_epu32_mask(key, *best_key);
                let smaller = _mm512_min_epu32(key, *best_key);
                *best_key = _mm512_max_epu32(key, *best_key);
                let other = _mm512_mask_blend_epi32(is_larger, expert, *best);
                *best = _mm512_mask_blend_epi32(is_larger, *best, expert);
                (key, expert) = (smaller, other);
            }
        }
        for (best, experts) in best.iter_mut().zip(experts) {
            // SAFETY: as many lanes.
            unsafe { _mm512_storeu_si512(best.as_mut_ptr().cast(), experts) };
        }
        let mut tops = [0.0; TOKENS];
        // SAFETY: as many lanes.
        unsafe { _mm512_storeu_ps(tops.as_mut_ptr(), top) };
        tops
    }

    /// As [`super::key`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn key(logits: __m512) -> __m512i {
        const FIRST_BUT_ANY_OTHER: i32 = 0x1e; // of (a, b, c): a ^ (b | c)
        let bits = _mm512_castps_si512(logits);
        let (sign, first) = (_mm512_srai_epi32::<31>(bits), _mm512_set1_epi32(i32::MIN));
        let key = _mm512_ternarylogic_epi32::<FIRST_BUT_ANY_OTHER>(bits, sign, first);
        _mm512_max_epu32(key, _mm512_set1_epi32(1))
    }

    /// As [`super::finish`], of as many experts.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn finish<const MOST: usize>(
        tile: &mut [Lanes<f32>],
        factor: &Lanes<f32>,
        sums: &mut [Lanes<f32>],
        experts: &[Lanes<u32>; MOST],
        chosen: &mut [Lanes<f32>; MOST],
    ) {
        // SAFETY: as many lanes of each.
        let factor = unsafe { _mm512_loadu_ps(factor.as_ptr()) };
        let experts = experts.each_ref().map(|lanes| {
            // SAFETY: as above.
            unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
        });
        let mut of_chosen = [_mm512_setzero_ps(); MOST];
        for (expert, (lanes, sums)) in tile.iter_mut().zip(sums).enumerate() {
            // SAFETY: as above.
            let p = unsafe {
                let p = _mm512_mul_ps(_mm512_loadu_ps(lanes.as_ptr()), factor);
                _mm512_storeu_ps(lanes.as_mut_ptr(), p);
                let sum = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), p);
                _mm512_storeu_ps(sums.as_mut_ptr(), sum);
                p
            };
            for (of_chosen, experts) in of_chosen.iter_mut().zip(&experts) {
                let expert = _mm512_set1_epi32(expert as i32);
                let is_it = _mm512_cmpeq_epi32_mask(*experts, expert);
                *of_chosen = _mm512_mask_mov_ps(*of_chosen, is_it, p);
            }
        }
        for (chosen, of_chosen) in chosen.iter_mut().zip(of_chosen) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(chosen.as_mut_ptr(), of_chosen) };
        }
    }

    /// As [`super::times_difference`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn times_difference(dp: &mut [Lanes<f32>], p: &[Lanes<f32>]) {
        let mut sum = _mm512_setzero_ps();
        for (dp, p) in dp.iter().zip(p) {
            // SAFETY: as many lanes of each.
            let (dp, p) = unsafe { (_mm512_loadu_ps(dp.as_ptr()), _mm512_loadu_ps(p.as_ptr())) };
            sum = _mm512_add_ps(sum, _mm512_mul_ps(dp, p));
        }
        for (dp, p) in dp.iter_mut().zip(p) {
            // SAFETY: as above.
            unsafe {
                let difference = _mm512_sub_ps(_mm512_loadu_ps(dp.as_ptr()), sum);
                let product = _mm512_mul_ps(_mm512_loadu_ps(p.as_ptr()), difference);
                _mm512_storeu_ps(dp.as_mut_ptr(), product);
            }
        }
    }

    /// Of eight vectors, the numbers at each place: of either half by itself.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed(rows: &[__m512; SIDE]) -> [__m512; SIDE] {
        // Elements of pairs of rows, then pairs of those, within quarters.
        let rows: [__m512; SIDE] = from_fn(|i| {
            let (a, b) = (rows[i & !1], rows[i | 1]);
            if i % 2 == 0 {
                _mm512_unpacklo_ps(a, b)
            } else {
                _mm512_unpackhi_ps(a, b)
            }
        });
        // Vector `4 k + c` has places `c` and `c + 4` of rows `4 k ..`.
        let rows: [__m512; SIDE] = from_fn(|i| {
            let first = i / 4 * 4 + i % 4 / 2;
            let (a, b) = (
                _mm512_castps_pd(rows[first]),
                _mm512_castps_pd(rows[first + 2]),
            );
            _mm512_castpd_ps(if i % 2 == 0 {
                _mm512_unpacklo_pd(a, b)
            } else {
                _mm512_unpackhi_pd(a, b)
            })
        });
        // Of each half, the first quarters of both, or the second.
        let first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        let second = _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
        from_fn(|i| {
            let quarter = if i < 4 { first } else { second };
            _mm512_permutex2var_ps(rows[i % 4], quarter, rows[i % 4 + 4])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{TOKENS, load, store};

    /// By blocks and without, of as many rows as lanes and fewer.
    #[test]
    fn every_number_goes_to_its_lane_and_back() {
        for experts in [1, 7, 8, 16, 24, 33] {
            for tokens in [1, 15, TOKENS] {
                let rows: Vec<f32> = (1..=experts * tokens).map(|i| i as f32).collect();
                let mut tile = vec![[-1.0; TOKENS]; experts];
                load(&mut tile, &rows);
                for (expert, lanes) in tile.iter().enumerate() {
                    for (token, found) in lanes.iter().enumerate() {
                        let exact = if token < tokens {
                            rows[token * experts + expert]
                        } else {
                            0.0
                        };
                        assert_eq!(found.to_bits(), exact.to_bits(), "{experts} {tokens}");
                    }
                }
                let mut again = vec![-1.0; rows.len()];
                store(&mut again, &tile);
                assert_eq!(again, rows);
            }
        }
    }
}
