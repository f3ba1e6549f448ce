//! Philox4x32-10, a counter-based generator: random numbers without state.
//!
//! Number `i` of stream `s` under seed `k` is a pure function of `(k, s, i)`, so any thread, shard
//! or GPU can make any part of a sequence and the bits agree. Source: Salmon, Moraes, Dror, Shaw,
//! "Parallel random numbers: as easy as 1, 2, 3", SC11, section 3.3 and table 2; checked against
//! the known-answer vectors of their Random123 library.

const ROUND_MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_INCREMENTS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Four random words for one counter under one key.
#[inline]
pub const fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let mut round = 0;
    while round < ROUNDS {
        let a = ROUND_MULTIPLIERS[0] as u64 * counter[0] as u64;
        let b = ROUND_MULTIPLIERS[1] as u64 * counter[2] as u64;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [
            key[0].wrapping_add(KEY_INCREMENTS[0]),
            key[1].wrapping_add(KEY_INCREMENTS[1]),
        ];
        round += 1;
    }
    counter
}

/// A stream of random numbers addressed by index.
#[derive(Clone, Copy, Debug)]
pub struct Philox {
    key: [u32; 2],
    stream: [u32; 2],
}

impl Philox {
    /// Stream `stream` under `seed`. Distinct streams are independent: one per input buffer.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            stream: [stream as u32, (stream >> 32) as u32],
        }
    }

    /// The key of its rounds, for who computes blocks by instructions of his own.
    pub const fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Its number, the upper half of every counter.
    pub const fn stream(&self) -> [u32; 2] {
        self.stream
    }

    /// By how much each word of the key grows from round to round.
    pub const KEY_INCREMENTS: [u32; 2] = KEY_INCREMENTS;
    /// What words of the counter are multiplied by.
    pub const ROUND_MULTIPLIERS: [u32; 2] = ROUND_MULTIPLIERS;
    /// How many rounds there are.
    pub const ROUNDS: usize = ROUNDS;

    /// Words `4 * block .. 4 * block + 4` of the stream.
    #[inline]
    pub const fn block(&self, block: u64) -> [u32; 4] {
        let counter = [
            block as u32,
            (block >> 32) as u32,
            self.stream[0],
            self.stream[1],
        ];
        philox4x32_10(counter, self.key)
    }

    /// Blocks `first .. first + N`, computed side by side, so that loops around it become vectors.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the instruction set of its caller
    pub fn blocks<const N: usize>(&self, first: u64) -> [[u32; 4]; N] {
        let block = |lane: usize| first.wrapping_add(lane as u64);
        // A word in the lower half of 64 bits, where vectors multiply it; what is above does not count.
        let lower = |word: u64| word & 0xffff_ffff;
        let mut c0: [u64; N] = std::array::from_fn(|lane| lower(block(lane)));
        let mut c1: [u64; N] = std::array::from_fn(|lane| block(lane) >> 32);
        let [mut c2, mut c3] = self.stream.map(|word| [u64::from(word); N]);
        let mut key = self.key;
        for _ in 0..ROUNDS {
            let lanes = c0.iter_mut().zip(&mut c1).zip(&mut c2).zip(&mut c3);
            for (((c0, c1), c2), c3) in lanes {
                let a = u64::from(ROUND_MULTIPLIERS[0]) * lower(*c0);
                let b = u64::from(ROUND_MULTIPLIERS[1]) * lower(*c2);
                *c0 = (b >> 32) ^ *c1 ^ u64::from(key[0]);
                *c1 = b;
                *c2 = (a >> 32) ^ *c3 ^ u64::from(key[1]);
                *c3 = a;
            }
            key = [
                key[0].wrapping_add(KEY_INCREMENTS[0]),
                key[1].wrapping_add(KEY_INCREMENTS[1]),
            ];
        }
        std::array::from_fn(|lane| [c0[lane], c1[lane], c2[lane], c3[lane]].map(|word| word as u32))
    }

    /// Word `index` of the stream.
    #[inline]
    pub const fn word(&self, index: u64) -> u32 {
        self.block(index / 4)[(index % 4) as usize]
    }

    /// Number `index` of the stream as `f32`, uniform on [-1, 1): 24 random bits, exact in `f32`.
    #[inline]
    pub fn signed_f32(&self, index: u64) -> f32 {
        signed_unit(self.word(index))
    }

    /// Fills `out` with numbers `first ..` of the stream, uniform on [-1, 1) with 24 random bits.
    pub fn fill_signed_f32(&self, first: u64, out: &mut [f32]) {
        self.fill(first, out, signed_unit);
    }

    /// As [`Self::fill_signed_f32`]; the same values, widened.
    pub fn fill_signed_f64(&self, first: u64, out: &mut [f64]) {
        self.fill(first, out, |word| f64::from(signed_unit(word)));
    }

    /// Fills `out` with words `first ..` of the stream.
    pub fn fill_words(&self, first: u64, out: &mut [u32]) {
        self.fill(first, out, |word| word);
    }

    fn fill<T>(&self, first: u64, out: &mut [T], convert: impl Fn(u32) -> T) {
        let mut index = first;
        let mut rest = out;
        while !rest.is_empty() {
            let words = self.block(index / 4);
            let skip = (index % 4) as usize;
            let take = rest.len().min(4 - skip);
            let (now, later) = rest.split_at_mut(take);
            for (slot, word) in now.iter_mut().zip(&words[skip..]) {
                *slot = convert(*word);
            }
            index += take as u64;
            rest = later;
        }
    }
}

/// The upper 24 bits as a multiple of 2^-23, less 1.
#[inline]
fn signed_unit(word: u32) -> f32 {
    const STEP: f32 = 1.0 / (1 << 23) as f32;
    ((word >> 8) as f32).mul_add(STEP, -1.0)
}

#[cfg(test)]
mod tests {
    use super::{Philox, philox4x32_10};
    use proptest::prelude::*;

    #[test]
    fn blocks_side_by_side_are_the_same() {
        let random = Philox::new(0x1234_5678_9abc_def0, 1 << 40);
        for first in [0, 5, u64::from(u32::MAX) - 1] {
            let expected = std::array::from_fn(|lane| random.block(first + lane as u64));
            assert_eq!(random.blocks::<7>(first), expected);
        }
    }

    /// Random123 1.14, `tests/kat_vectors`, lines `philox4x32 10`.
    #[test]
    fn known_answers() {
        let vectors = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in vectors {
            assert_eq!(philox4x32_10(counter, key), expected);
        }
    }

    proptest! {
        #[test]
        fn any_slice_of_a_stream_is_the_same_bits(seed: u64, stream: u64, first in 0u64..1000, len in 0usize..40) {
            let random = Philox::new(seed, stream);
            let mut out = vec![0.0; len];
            random.fill_signed_f32(first, &mut out);
            for (offset, value) in out.iter().enumerate() {
                prop_assert_eq!(value.to_bits(), random.signed_f32(first + offset as u64).to_bits());
                prop_assert!((-1.0..1.0).contains(value));
            }
        }
    }

    #[test]
    fn streams_and_seeds_differ() {
        let word = |seed, stream| Philox::new(seed, stream).word(0);
        assert_ne!(word(1, 0), word(2, 0));
        assert_ne!(word(1, 0), word(1, 1));
        assert_ne!(word(1, 0), word(1 + (1 << 32), 0));
    }
}
