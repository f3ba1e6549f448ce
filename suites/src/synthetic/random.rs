//! Random numbers of rows: a pure function of seed, stream, row and draw, the same bits on every machine.
//!
//! Nothing here calls the system's mathematical library, whose last bits differ between versions.

pub mod alias;
mod normals;
pub mod permutation;

use assay_protocol::Philox;

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

/// Bits of the operating system that nobody can foresee: what noise must be made of, where data are private.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secret;

impl Bits for Secret {
    /// # Panics
    /// If the system has no random numbers.
    fn word(&mut self) -> u32 {
        getrandom::u32().expect("random bits of the operating system")
    }

    fn long(&mut self) -> u64 {
        getrandom::u64().expect("random bits of the operating system")
    }
}

/// The value that a standard normal variable stays below with probability `p`, to about 1 part in 10^16.
///
/// `p` of 0 and 1 give the infinities, anything outside not a number. Source: M. J. Wichura, "Algorithm AS 241:
/// The percentage points of the normal distribution", Applied Statistics 37(3), 1988, routine PPND16.
#[allow(clippy::excessive_precision, clippy::unreadable_literal)] // as published
pub fn normal_quantile(p: f64) -> f64 {
    const CENTRE: [[f64; 8]; 2] = [
        [
            3.3871328727963666080e0,
            1.3314166789178437745e+2,
            1.9715909503065514427e+3,
            1.3731693765509461125e+4,
            4.5921953931549871457e+4,
            6.7265770927008700853e+4,
            3.3430575583588128105e+4,
            2.5090809287301226727e+3,
        ],
        [
            1.0,
            4.2313330701600911252e+1,
            6.8718700749205790830e+2,
            5.3941960214247511077e+3,
            2.1213794301586595867e+4,
            3.9307895800092710610e+4,
            2.8729085735721942674e+4,
            5.2264952788528545610e+3,
        ],
    ];
    const NEAR: [[f64; 8]; 2] = [
        [
            1.42343711074968357734e0,
            4.63033784615654529590e0,
            5.76949722146069140550e0,
            3.64784832476320460504e0,
            1.27045825245236838258e0,
            2.41780725177450611770e-1,
            2.27238449892691845833e-2,
            7.74545014278341407640e-4,
        ],
        [
            1.0,
            2.05319162663775882187e0,
            1.67638483018380384940e0,
            6.89767334985100004550e-1,
            1.48103976427480074590e-1,
            1.51986665636164571966e-2,
            5.47593808499534494600e-4,
            1.05075007164441684324e-9,
        ],
    ];
    const FAR: [[f64; 8]; 2] = [
        [
            6.65790464350110377720e0,
            5.46378491116411436990e0,
            1.78482653991729133580e0,
            2.96560571828504891230e-1,
            2.65321895265761230930e-2,
            1.24266094738807843860e-3,
            2.71155556874348757815e-5,
            2.01033439929228813265e-7,
        ],
        [
            1.0,
            5.99832206555887937690e-1,
            1.36929880922735805310e-1,
            1.48753612908506148525e-2,
            7.86869131145613259100e-4,
            1.84631831751005468180e-5,
            1.42151175831644588870e-7,
            2.04426310338993978564e-15,
        ],
    ];
    if p.is_nan() || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * rational(CENTRE, 0.180625 - q * q);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-libm::log(tail)).sqrt();
    let magnitude = if r <= 5.0 {
        rational(NEAR, r - 1.6)
    } else {
        rational(FAR, r - 5.0)
    };
    magnitude.copysign(q)
}

/// A quotient of polynomials, coefficients of low powers first.
fn rational([above, below]: [[f64; 8]; 2], x: f64) -> f64 {
    let value = |coefficients: [f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c);
    value(above) / value(below)
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF as _, Normal};

    use super::{Bits as _, Draws, normal_quantile};

    #[test]
    fn rows_have_draws_of_their_own() {
        let first = |seed, stream, row| Draws::of_row(seed, stream, row).long();
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        assert_ne!(first(1, 2, 3), first(1, 2, 4));
        assert_ne!(first(1, 2, 3), first(1, 3, 3));
        assert_ne!(first(1, 2, 3), first(2, 2, 3));
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
