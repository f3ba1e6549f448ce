//! Seeded random numbers: the same on every machine.

use crate::noise::Tail;

/// `SplitMix64` (Steele, Lea and Flood 2014) with Box and Muller's normals (1958).
pub struct Random {
    state: u64,
    spare: Option<f64>,
}

impl Random {
    pub fn seeded(seed: u64) -> Self {
        let mut random = Self {
            state: seed.wrapping_mul(0xD134_2543_DE82_EF95),
            spare: None,
        };
        random.bits();
        random
    }

    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// An index below `count`.
    pub fn index(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.uniform() < probability
    }

    pub fn sign(&mut self) -> f64 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }

    /// Mean 0 and variance 1, of that shape. A t with 3 degrees of freedom has variance 3.
    pub fn shaped(&mut self, tail: Tail) -> f64 {
        let normal = self.normal();
        match tail {
            Tail::Normal => normal,
            Tail::Heavy => {
                let squares = self.normal().powi(2) + self.normal().powi(2) + self.normal().powi(2);
                normal / squares.sqrt()
            }
        }
    }
}
