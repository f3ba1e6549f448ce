//! Permutations that look random and are a function of seed, stream and place alone: any element can be had without the
//! others, so that threads can make parts of one.

use assay_protocol::Philox;

const ROUNDS: usize = 4;

/// A permutation of the numbers below a length.
///
/// Each round adds a key, multiplies by an odd number and folds the upper half of the bits onto the lower, all
/// of which can be undone within the bits that the length needs. A number that lands beyond the length is sent
/// on until one lands below ("cycle walking", J. Black and P. Rogaway, "Ciphers with Arbitrary Finite
/// Domains", CT-RSA 2002, method 2), in less than two turns on average.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    len: u32,
    mask: u32,
    shift: u32,
    rounds: [Round; ROUNDS],
}

#[derive(Clone, Copy, Debug)]
struct Round {
    key: u32,
    factor: u32,
}

impl Permutation {
    /// That of a seed and a stream over the numbers below `len`.
    pub fn new(len: u32, seed: u64, stream: u64) -> Self {
        let bits = u32::BITS - len.saturating_sub(1).leading_zeros();
        let random = Philox::new(seed, stream);
        let round = |i: usize| Round {
            key: random.word(2 * i as u64),
            factor: random.word(2 * i as u64 + 1) | 1,
        };
        Self {
            len,
            mask: u32::MAX.checked_shr(u32::BITS - bits).unwrap_or(0),
            shift: bits.div_ceil(2).max(1),
            rounds: std::array::from_fn(round),
        }
    }

    /// Where it sends `number`, which is below its length.
    #[inline]
    pub fn at(&self, number: u32) -> u32 {
        debug_assert!(number < self.len, "{number} of {}", self.len);
        let mut number = number;
        loop {
            for round in &self.rounds {
                number = number.wrapping_add(round.key).wrapping_mul(round.factor) & self.mask;
                number ^= number >> self.shift;
            }
            if number < self.len {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Permutation;

    proptest! {
        #[test]
        fn every_number_is_met_once(len in 1_u32..5000, seed: u64, stream: u64) {
            let permutation = Permutation::new(len, seed, stream);
            let mut met: Vec<_> = (0..len).map(|i| permutation.at(i)).collect();
            met.sort_unstable();
            prop_assert!(met.into_iter().eq(0..len));
        }
    }

    #[test]
    fn neighbours_are_sent_apart() {
        for len in [1 << 16, 100_003, u32::MAX] {
            let permutation = Permutation::new(len, 3, 1);
            let places: Vec<_> = (0..10_000).map(|i| permutation.at(i)).collect();
            let near = |pair: &&[u32]| pair[0].abs_diff(pair[1]) < len / 1000;
            // Two in a thousand of random pairs are.
            assert!(places.windows(2).filter(near).count() < 60, "{len}");
            let lower = places.iter().filter(|place| **place < len / 2).count();
            assert!((4700..5300).contains(&lower), "{len}: {lower}");
        }
    }

    #[test]
    fn seeds_and_streams_differ() {
        let first = |seed, stream| Permutation::new(1 << 20, seed, stream).at(0);
        assert_ne!(first(1, 0), first(2, 0));
        assert_ne!(first(1, 0), first(1, 1));
    }
}
