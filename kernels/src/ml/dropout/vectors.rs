//! Masks by the processor's own vectors, eight blocks of four words side by side, of several lines.
//!
//! The rounds are those of [`Philox::blocks`], which the compiler makes vectors of, too; but it then takes words out of them one by one.
//! Here blocks lie so that interleaving leaves words in order.
#![allow(unsafe_code)] // vector instructions, chosen at run time

use assay_protocol::Philox;

use crate::lane::WIDTH;

/// A stream's words by vectors, where the processor has those of eight blocks.
pub struct Vectors(#[cfg(target_arch = "x86_64")] x86::Rounds);

impl Vectors {
    /// Of a stream.
    pub fn new(random: Philox) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if crate::simd::has_avx512() {
            // SAFETY: the processor has the features that the function enables.
            return Some(Self(unsafe { x86::Rounds::new(random) }));
        }
        let _ = random;
        None
    }

    /// A bit for each word of some lines that is not below `threshold`: of the blocks from `first` on, eight a line. Nothing where the
    /// counters' upper halves are not 0.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    pub fn kept<const LINES: usize>(&self, first: u64, threshold: u32) -> Option<[u32; LINES]> {
        #[cfg(target_arch = "x86_64")]
        if first <= u64::from(u32::MAX) - (8 * LINES as u64 - 1) {
            // SAFETY: one of these is only made where the processor has the features.
            return Some(unsafe { self.0.kept(first as u32, threshold) });
        }
        let _ = (first, threshold);
        None
    }

    /// Numbers times `factor` where the bit of one is set, else times 0.
    #[inline(always)]
    #[allow(clippy::inline_always, clippy::unused_self)] // as above; that there is one says what the processor has
    pub fn masked(&self, x: &[f32; WIDTH], kept: u32, factor: f32) -> [f32; WIDTH] {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: as above.
            unsafe { x86::masked(x, kept, factor) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            std::array::from_fn(|i| x[i] * if kept >> i & 1 == 1 { factor } else { 0.0 })
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi64, _mm512_cmpge_epu32_mask, _mm512_loadu_ps,
        _mm512_mask_blend_epi32, _mm512_maskz_mov_ps, _mm512_mul_epu32, _mm512_mul_ps,
        _mm512_set_epi64, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_ps, _mm512_slli_epi64,
        _mm512_srli_epi64, _mm512_storeu_ps, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64,
        _mm512_unpacklo_epi64, _mm512_xor_si512,
    };

    use assay_protocol::Philox;

    use crate::lane::WIDTH;

    /// What is the same for all blocks: of the first two rounds half, for only the lowest word of the counter differs.
    pub struct Rounds {
        /// Added to the first round's upper product.
        first: __m512i,
        /// Added to the second round's upper and lower product.
        second: [__m512i; 2],
        /// The last word after two rounds.
        last: __m512i,
        /// Keys of all rounds that come then.
        keys: [[__m512i; 2]; Philox::ROUNDS - 2],
    }

    const MULTIPLIERS: [u32; 2] = Philox::ROUND_MULTIPLIERS;

    /// In the lower half of each 64 bits, where vectors multiply it. What is above does not count.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn set(word: u32) -> __m512i {
        _mm512_set1_epi64(word.into())
    }

    /// As [`super::Vectors::masked`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn masked(x: &[f32; WIDTH], kept: u32, factor: f32) -> [f32; WIDTH] {
        let factor = _mm512_set1_ps(factor);
        let mut out = [0.0; WIDTH];
        for (half, kept) in [kept as u16, (kept >> 16) as u16].into_iter().enumerate() {
            // SAFETY: half of the numbers each.
            unsafe {
                let x = _mm512_loadu_ps(x.as_ptr().add(half * WIDTH / 2));
                let to = out.as_mut_ptr().add(half * WIDTH / 2);
                _mm512_storeu_ps(to, _mm512_mul_ps(x, _mm512_maskz_mov_ps(kept, factor)));
            }
        }
        out
    }

    impl Rounds {
        #[target_feature(enable = "avx512f")]
        pub fn new(random: Philox) -> Self {
            let mut key = random.key();
            let mut next_key = || {
                let this = key;
                for (word, increment) in key.iter_mut().zip(Philox::KEY_INCREMENTS) {
                    *word = word.wrapping_add(increment);
                }
                this
            };
            let ([k0, k1], [l0, l1]) = (next_key(), next_key());
            let [s0, s1] = random.stream();
            let b = u64::from(MULTIPLIERS[1]) * u64::from(s0);
            let a = u64::from(MULTIPLIERS[0]) * u64::from((b >> 32) as u32 ^ k0);
            Self {
                first: set(s1 ^ k1),
                second: [set(b as u32 ^ l0), set((a >> 32) as u32 ^ l1)],
                last: set(a as u32),
                keys: std::array::from_fn(|_| next_key().map(|word| set(word))),
            }
        }

        /// As [`super::Vectors::kept`].
        #[inline]
        #[target_feature(enable = "avx512f")]
        pub fn kept<const LINES: usize>(&self, first: u32, threshold: u32) -> [u32; LINES] {
            let threshold = _mm512_set1_epi32(threshold.cast_signed());
            let mut kept = [0; LINES];
            for (kept, [low, high]) in kept.iter_mut().zip(self.words::<LINES>(first)) {
                let low = _mm512_cmpge_epu32_mask(low, threshold);
                let high = _mm512_cmpge_epu32_mask(high, threshold);
                *kept = u32::from(low) | u32::from(high) << 16;
            }
            kept
        }

        /// The words of eight blocks a line from `first` on, in their order. Each round waits for the one before: of several lines
        /// side by side.
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn words<const LINES: usize>(&self, first: u32) -> [[__m512i; 2]; LINES] {
            const XOR: i32 = 0x96;
            // What is interleaved from even places follows one another, and so does what is from odd ones.
            let places = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
            let [m0, m1] = [set(MULTIPLIERS[0]), set(MULTIPLIERS[1])];
            let upper = |product| _mm512_srli_epi64::<32>(product);
            let mut all = [[self.last; 4]; LINES];
            for (line, [c0, c1, c2, _]) in all.iter_mut().enumerate() {
                let block = _mm512_add_epi64(set(first + 8 * line as u32), places);
                let a = _mm512_mul_epu32(block, m0);
                let b = _mm512_mul_epu32(_mm512_xor_si512(upper(a), self.first), m1);
                *c0 = _mm512_xor_si512(upper(b), self.second[0]);
                *c1 = b;
                *c2 = _mm512_xor_si512(a, self.second[1]);
            }
            for [k0, k1] in &self.keys {
                for [c0, c1, c2, c3] in &mut all {
                    let (a, b) = (_mm512_mul_epu32(*c0, m0), _mm512_mul_epu32(*c2, m1));
                    *c0 = _mm512_ternarylogic_epi64::<XOR>(upper(b), *c1, *k0);
                    *c1 = b;
                    *c2 = _mm512_ternarylogic_epi64::<XOR>(upper(a), *c3, *k1);
                    *c3 = a;
                }
            }
            let pair =
                |low, high| _mm512_mask_blend_epi32(0xaaaa, low, _mm512_slli_epi64::<32>(high));
            // Not by `map`, into which the compiler does not take instructions that not every processor has.
            let mut words = [[self.last; 2]; LINES];
            for (words, [c0, c1, c2, c3]) in words.iter_mut().zip(all) {
                let (left, right) = (pair(c0, c1), pair(c2, c3));
                *words = [
                    _mm512_unpacklo_epi64(left, right),
                    _mm512_unpackhi_epi64(left, right),
                ];
            }
            words
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::Philox;

    use super::{Vectors, WIDTH};

    /// Up to 2^32 blocks, where the counter's second word changes, and with words that are exactly the threshold.
    fn compare<const LINES: usize>() {
        const END: u64 = 1 << 32;
        let x: [f32; WIDTH] = std::array::from_fn(|i| (1 + i) as f32);
        let blocks = 8 * LINES as u64;
        for (seed, stream) in [(1, 2), (u64::MAX, 1 << 40), (7, 0)] {
            let random = Philox::new(seed, stream);
            let Some(vectors) = Vectors::new(random) else {
                continue;
            };
            for first in [0, 5, 1 << 20, END - blocks - 1, END - blocks] {
                for threshold in [0, 1 << 30, random.word(4 * first + 3), u32::MAX] {
                    let kept: Option<[u32; LINES]> = vectors.kept(first, threshold);
                    for (line, kept) in (0..).zip(kept.expect("counters of one word")) {
                        let out = vectors.masked(&x, kept, 2.0);
                        for (i, (out, x)) in (0..).zip(out.iter().zip(&x)) {
                            let word = 4 * first + line * WIDTH as u64 + i;
                            let is_kept = random.word(word) >= threshold;
                            let exact = if is_kept { 2.0 * x } else { 0.0 };
                            assert_eq!(out.to_bits(), exact.to_bits(), "{word} {threshold}");
                        }
                    }
                }
            }
            let beyond = |first| vectors.kept::<LINES>(first, 0).is_none();
            assert!([END - blocks + 1, END, u64::MAX].into_iter().all(beyond));
        }
    }

    #[test]
    fn masks_are_those_of_the_words() {
        compare::<1>();
        compare::<4>();
    }
}
