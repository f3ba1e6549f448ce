//! A permutation of the numbers below some number, of which any place is computed alone.

use assay_protocol::Philox;

/// Rounds of the network; four make a pseudorandom permutation of a pseudorandom function (M. Luby, C. Rackoff, SIAM J. Computing
/// 17(2), 1988).
const ROUNDS: u64 = 6;

/// Numbers below a bound in an order of a seed.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    philox: Philox,
    bound: u64,
    half_bits: u32,
}

impl Permutation {
    /// Of the numbers below `bound`, which is at least 1.
    pub fn new(seed: u64, stream: u64, bound: u64) -> Self {
        let bits = u64::BITS - (bound - 1).leading_zeros();
        Self {
            philox: Philox::new(seed, stream),
            bound,
            half_bits: bits.div_ceil(2).max(1),
        }
    }

    /// The number at a place below the bound: another one for each place.
    ///
    /// A Feistel network permutes the numbers of an even count of bits; from one that is too large it goes on, and by that
    /// permutes those below the bound (J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, section 3).
    pub fn at(&self, place: u64) -> u64 {
        let mut now = place;
        loop {
            now = self.turned(now);
            if now < self.bound {
                return now;
            }
        }
    }

    fn turned(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..ROUNDS {
            // Halves have 32 bits at most: the round lies above them.
            let word = u64::from(self.philox.block((round << 32) | right)[0]);
            (left, right) = (right, left ^ (word & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::Permutation;

    #[test]
    fn every_number_comes_once_and_in_another_order_for_each_seed() {
        for bound in [1, 2, 3, 10, 1000, 1025] {
            let of = |seed| -> Vec<u64> {
                let permutation = Permutation::new(seed, 0, bound);
                (0..bound).map(|place| permutation.at(place)).collect()
            };
            let mut sorted = of(1);
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..bound), "{bound}");
            assert!(bound < 10 || of(1) != of(2), "{bound}");
        }
        let large = Permutation::new(1, 0, u64::MAX);
        assert_ne!(large.at(0), large.at(1));
    }
}
