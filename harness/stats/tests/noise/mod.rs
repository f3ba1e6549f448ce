//! Seeded noise for tests: the same numbers on every machine.
#![allow(dead_code, reason = "each test binary uses its own part")]

/// A generator of uniform and normal numbers. `SplitMix64` (Steele, Lea and Flood 2014) and Box-Muller (1958).
pub struct Noise(u64);

impl Noise {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Stationary AR(1) with unit variance.
    pub fn autoregressive(&mut self, count: usize, correlation: f64) -> Vec<f64> {
        let mut state = self.normal();
        let innovation = (1.0 - correlation * correlation).sqrt();
        (0..count)
            .map(|_| {
                state = correlation * state + innovation * self.normal();
                state
            })
            .collect()
    }

    /// Independent values of Student's t with the given degrees of freedom: normal over the root of a mean of squares.
    pub fn heavy_tailed(&mut self, count: usize, degrees_of_freedom: usize) -> Vec<f64> {
        (0..count)
            .map(|_| {
                let squares: f64 = (0..degrees_of_freedom).map(|_| self.normal().powi(2)).sum();
                self.normal() / (squares / degrees_of_freedom as f64).sqrt()
            })
            .collect()
    }

    /// Round medians of one run: `level` times lognormal noise of the night and of each round.
    pub fn run(
        &mut self,
        rounds: usize,
        level: f64,
        round_sd: f64,
        run_to_run_sd: f64,
    ) -> Vec<f64> {
        let night = run_to_run_sd * self.normal();
        (0..rounds)
            .map(|_| level * (night + round_sd * self.normal()).exp())
            .collect()
    }
}
