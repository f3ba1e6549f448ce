//! Random numbers of rows: a pure function of seed, stream, row and draw, the same bits on every machine.
//!
//! Nothing here calls the system's mathematical library, whose last bits differ between versions.

pub mod alias;
mod normals;
pub mod permutation;

pub use assay_kernels::normal::quantile as normal_quantile;
use assay_protocol::Philox;
pub use normals::quantiles;

/// Blocks of four words that belong to one row: 2^22 words, more than any row draws.
const BLOCKS_PER_ROW: u32 = 20;
/// Blocks that are made side by side.
const BLOCKS: usize = 4;

/// A source of random bits.
pub trait Bits {
    /// The next 32 of them.
    fn word(&mut self) -> u32;

    /// The next 64.
    fn long(&mut self) -> u64 {
        u64::from(self.word()) | u64::from(self.word()) << 32
    }

    /// An integer below `bound`, each with exactly the same probability.
    ///
    /// Source: D. Lemire, "Fast random integer generation in an interval", ACM TOMACS 29(1), 2019, algorithm 5.
    ///
    /// # Panics
    /// If `bound` is 0.
    fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an integer below 0");
        let mut product = u128::from(self.long()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.long()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A number uniform on (0, 1): odd multiples of 2^-54, so neither end is ever met.
    fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.long() >> 11) as f64 + 0.5) * STEP
    }

    /// A number of the standard normal distribution, by inversion: one draw, and monotone in it.
    fn normal(&mut self) -> f64 {
        normal_quantile(self.unit())
    }
}

/// The draws of one row.
#[derive(Clone, Debug)]
pub struct Draws {
    philox: Philox,
    /// The block that is made next.
    block: u64,
    words: [u32; 4 * BLOCKS],
    /// How many words there are, and how many of them were drawn.
    made: usize,
    used: usize,
}

impl Draws {
    /// Those of row `row` in stream `stream` under `seed`. Rows below 2^44 have draws of their own.
    pub fn of_row(seed: u64, stream: u64, row: u64) -> Self {
        Self {
            philox: Philox::new(seed, stream),
            block: row << BLOCKS_PER_ROW,
            words: [0; 4 * BLOCKS],
            made: 0,
            used: 0,
        }
    }

    /// One block at first, for many rows need no more; then some side by side.
    fn make(&mut self) {
        self.used = 0;
        if self.made == 0 {
            self.words[..4].copy_from_slice(&self.philox.block(self.block));
            self.made = 4;
        } else {
            let blocks = self.philox.blocks::<BLOCKS>(self.block);
            self.words.copy_from_slice(blocks.as_flattened());
            self.made = 4 * BLOCKS;
        }
        self.block += self.made as u64 / 4;
    }

    /// The first block of which no word was drawn; draws go on there.
    fn next_block(&mut self) -> u64 {
        let block = self.block - ((self.made - self.used) / 4) as u64;
        self.used = self.made;
        block
    }
}

impl Bits for Draws {
    #[inline]
    fn word(&mut self) -> u32 {
        if self.used == self.made {
            self.make();
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

/// Bits of the operating system that nobody can foresee: what noise must be made of, where data are private. They are asked for some
/// thousand at a time, for to ask takes longer than all else that noise needs. Neither copied nor shown: no bit is used twice.
pub struct Secret {
    bytes: [u8; 1 << 12],
    used: usize,
}

impl Default for Secret {
    fn default() -> Self {
        let bytes = [0; 1 << 12];
        Self {
            used: bytes.len(),
            bytes,
        }
    }
}

impl Bits for Secret {
    /// # Panics
    /// If the system has no random numbers.
    fn word(&mut self) -> u32 {
        if self.used == self.bytes.len() {
            getrandom::fill(&mut self.bytes).expect("random bits of the operating system");
            self.used = 0;
        }
        let word = &mut self.bytes[self.used..][..4];
        self.used += 4;
        let drawn = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        word.fill(0);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF as _, Normal};

    use super::{Bits as _, Draws, Secret, normal_quantile};

    #[test]
    fn rows_have_draws_of_their_own() {
        let first = |seed, stream, row| Draws::of_row(seed, stream, row).long();
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        assert_ne!(first(1, 2, 3), first(1, 2, 4));
        assert_ne!(first(1, 2, 3), first(1, 3, 3));
        assert_ne!(first(1, 2, 3), first(2, 2, 3));
    }

    #[test]
    fn secret_bits_are_all_new_and_half_of_them_are_set() {
        let mut secret = Secret::default();
        let words: Vec<u32> = (0..5000).map(|_| secret.word()).collect();
        let different: std::collections::HashSet<_> = words.iter().collect();
        // Two of 5000 words are the same in one test of 340; two pairs are no chance.
        assert!(different.len() > 4997, "{}", different.len());
        let ones: u32 = words.iter().map(|word| word.count_ones()).sum();
        // Six standard deviations of 160,000 bits.
        assert!(ones.abs_diff(80_000) < 1200, "{ones}");
    }

    #[test]
    fn integers_below_a_bound_are_uniform() {
        let mut draws = Draws::of_row(7, 0, 0);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[draws.below(6) as usize] += 1;
        }
        // Chi-square with 5 degrees of freedom exceeds 20.5 once in a thousand; the draws are fixed.
        let chi: f64 = counts
            .iter()
            .map(|c| (f64::from(*c) - 1e4).powi(2) / 1e4)
            .sum();
        assert!(chi < 20.5, "{counts:?}");
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        let normal = Normal::standard();
        for p in [
            1e-300, 1e-20, 1e-9, 0.001, 0.07, 0.0751, 0.3, 0.5, 0.8, 0.925, 0.9999,
        ] {
            let back = normal.cdf(normal_quantile(p));
            assert!((back / p - 1.0).abs() < 1e-9, "{p}: {back}");
        }
        // R 4.3, qnorm(0.975), to all digits.
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-15);
        assert!(normal_quantile(0.0).is_infinite() && normal_quantile(1.5).is_nan());
    }

    #[test]
    fn normal_draws_have_the_moments() {
        let mut draws = Draws::of_row(11, 0, 0);
        let values: Vec<f64> = (0..100_000).map(|_| draws.normal()).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }
}
