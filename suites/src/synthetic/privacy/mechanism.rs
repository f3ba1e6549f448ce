//! Mechanisms for counts: how much noise a budget asks for, where a row changes several counts by one each.
//!
//! What is added is always an integer of one of two exact samplers ([`super::discrete`]). Mechanisms differ by the bound that says how much
//! of it is enough, and so by what they promise. The counts of all columns are one release: a row changes one of each column's, which is a
//! sensitivity of as many as there are columns in the 1-norm, and of the root of that in the 2-norm.

use super::accountant::{Accountant, Cost};
use super::discrete::{Rational, Sampler};
use super::{PrivacyError, gaussian, zcdp};

/// Which noise, and by which bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Laplace noise, with a delta of 0. To pay for it in zero-concentrated privacy would be of no use: Gaussian noise that costs as much
    /// there has half the variance.
    Laplace,
    /// Gaussian noise by the classical formula ([`gaussian::classical_sigma`]).
    Gaussian,
    /// The least Gaussian noise that keeps a budget ([`gaussian::discrete_variance`]).
    AnalyticGaussian,
    /// Gaussian noise that is paid for in zero-concentrated privacy ([`zcdp`]).
    DiscreteGaussian,
}

/// Names of mechanisms, as commands and suites give them.
pub const MECHANISMS: [&str; 4] = [
    Mechanism::Laplace.name(),
    Mechanism::Gaussian.name(),
    Mechanism::AnalyticGaussian.name(),
    Mechanism::DiscreteGaussian.name(),
];

impl Mechanism {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Laplace => "laplace",
            Self::Gaussian => "gaussian",
            Self::AnalyticGaussian => "analytic-gaussian",
            Self::DiscreteGaussian => "discrete-gaussian",
        }
    }

    /// That of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [
            Self::Laplace,
            Self::Gaussian,
            Self::AnalyticGaussian,
            Self::DiscreteGaussian,
        ];
        all.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Its name, as a ledger has it.
    pub fn words(self) -> String {
        format!("mechanism `{}`", self.name())
    }

    /// That of an entry of a ledger, which has its name among other words; `None` of one that names none.
    pub fn of_words(words: &str) -> Option<Self> {
        let names = MECHANISMS.into_iter().filter_map(Self::of_name);
        names
            .into_iter()
            .find(|mechanism| words.contains(&mechanism.words()))
    }

    /// The noise on counts of which a row changes `changed` by one each, for all of an accountant's budget.
    ///
    /// # Errors
    /// If the bound says nothing of such a budget, or there is no sampler of so much noise.
    pub fn noise(self, accountant: &Accountant, changed: usize) -> Result<Noise, PrivacyError> {
        let budget = accountant.budget();
        match self {
            Self::Laplace => {
                let scale = gaussian::laplace_scale(budget.epsilon, changed as f64)?;
                Ok(Noise::laplace(Rational::at_least(scale)?, changed))
            }
            Self::Gaussian => {
                // Of all budgets that the formula is for, discrete noise of that variance keeps a third of delta: tests try them.
                let sigma = gaussian::classical_sigma(budget, (changed as f64).sqrt())?;
                Ok(Noise::calibrated(
                    Rational::at_least(sigma * sigma)?,
                    budget.into(),
                ))
            }
            Self::AnalyticGaussian => Ok(Noise::calibrated(
                gaussian::discrete_variance(budget, changed)?,
                budget.into(),
            )),
            Self::DiscreteGaussian => Noise::concentrated(accountant.rho(), changed),
        }
    }
}

/// Noise for counts, and what it costs to add it to all that a row changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    distribution: Distribution,
    cost: Cost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Distribution {
    Laplace { scale: Rational },
    Gaussian { variance: Rational },
}

impl Noise {
    /// Gaussian noise that costs at most `rho` in zero-concentrated privacy, on counts of which a row changes `changed` by one each.
    ///
    /// # Errors
    /// If there is no sampler of so much noise.
    pub fn concentrated(rho: f64, changed: usize) -> Result<Self, PrivacyError> {
        let sensitivity = (changed as f64).sqrt();
        let variance = Rational::at_least(zcdp::variance_for(rho, sensitivity))?;
        let cost = Cost::Concentrated {
            rho: zcdp::of_gaussian(sensitivity, variance.value()),
        };
        Ok(Self::calibrated(variance, cost))
    }

    fn laplace(scale: Rational, changed: usize) -> Self {
        Self {
            distribution: Distribution::Laplace { scale },
            cost: Cost::Approximate {
                epsilon: changed as f64 / scale.value(),
                delta: 0.0,
            },
        }
    }

    fn calibrated(variance: Rational, cost: Cost) -> Self {
        Self {
            distribution: Distribution::Gaussian { variance },
            cost,
        }
    }

    /// What it costs.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The variance of what is added to a count. That of Laplace noise of scale `t` is `2 q / (1 - q)^2` with `q = exp(-1 / t)`.
    pub fn variance(&self) -> f64 {
        match self.distribution {
            Distribution::Gaussian { variance } => variance.value(),
            Distribution::Laplace { scale } => {
                let q = (-1.0 / scale.value()).exp();
                2.0 * q / (1.0 - q).powi(2)
            }
        }
    }

    /// What it is, for a ledger.
    pub fn words(&self) -> String {
        match self.distribution {
            Distribution::Gaussian { variance } => {
                format!("discrete Gaussian of variance {:.4}", variance.value())
            }
            Distribution::Laplace { scale } => {
                format!("discrete Laplace of scale {:.4}", scale.value())
            }
        }
    }

    /// One number of it.
    pub fn draw(&self, sampler: &mut impl Sampler) -> i64 {
        match self.distribution {
            Distribution::Laplace { scale } => sampler.laplace(scale),
            Distribution::Gaussian { variance } => sampler.gaussian(variance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Accountant, Cost, MECHANISMS, Mechanism};
    use crate::synthetic::privacy::gaussian::discrete_delta;
    use crate::synthetic::privacy::{Budget, PrivacyError};

    fn accountant(epsilon: f64, delta: f64) -> Accountant {
        Accountant::new(Budget::new(epsilon, delta).unwrap())
    }

    #[test]
    fn each_spends_all_of_a_budget_and_no_more() {
        for name in MECHANISMS {
            let mechanism = Mechanism::of_name(name).unwrap();
            for changed in [1, 2, 15, 300] {
                for (epsilon, delta) in [(0.02, 1e-9), (0.7, 1e-9), (0.999, 0.01)] {
                    let mut accountant = accountant(epsilon, delta);
                    let noise = mechanism.noise(&accountant, changed).unwrap();
                    accountant
                        .spend("all", noise.words(), noise.cost())
                        .unwrap();
                    let spent = accountant.epsilon_spent();
                    let words = format!("{name}, {changed}, {epsilon}: {spent}");
                    // Scales are multiples of 2^-8.
                    assert!(spent <= epsilon && spent > 0.99 * epsilon, "{words}");
                    let expected = if name == "laplace" { 0.0 } else { delta };
                    assert!(
                        (accountant.delta_spent() - expected).abs() < 1e-300,
                        "{words}"
                    );
                    let again = accountant.spend("again", "", noise.cost());
                    assert!(
                        matches!(again, Err(PrivacyError::Overspent { .. })),
                        "{words}"
                    );
                    // By the exact bound of what is sampled, whatever it was calibrated by.
                    if name != "laplace" {
                        let found = discrete_delta(epsilon, noise.variance(), changed);
                        assert!(found <= delta, "{words}: {found}");
                    }
                }
            }
        }
        assert_eq!(Mechanism::of_name("none"), None);
    }

    #[test]
    fn known_answers() {
        let variance = |mechanism: Mechanism, epsilon, delta, changed| {
            let noise = mechanism
                .noise(&accountant(epsilon, delta), changed)
                .unwrap();
            (noise.variance(), noise.words())
        };
        // 15 columns at epsilon 1: scale 15, of which the variance is 2 exp(-1/15) / (1 - exp(-1/15))^2.
        let (found, words) = variance(Mechanism::Laplace, 1.0, 1e-9, 15);
        assert!((found - 449.833_370_4).abs() < 1e-6, "{found}");
        assert_eq!(words, "discrete Laplace of scale 15.0000");
        // 15 * 2 ln(1.25e9) / .81, above it by less than 1 / 256.
        let (found, words) = variance(Mechanism::Gaussian, 0.9, 1e-9, 15);
        assert!(
            (0.0..1.0 / 256.0).contains(&(found - 775.792_940)),
            "{found}"
        );
        assert!(
            words.starts_with("discrete Gaussian of variance 775.79"),
            "{words}"
        );
        // 15 / (2 * .014 973 06).
        let (found, _) = variance(Mechanism::DiscreteGaussian, 1.0, 1e-9, 15);
        assert!((found - 500.90).abs() < 0.01, "{found}");
        let (found, _) = variance(Mechanism::AnalyticGaussian, 1.0, 1e-9, 15);
        assert!(found < 467.0, "{found}");
    }

    #[test]
    fn budgets_that_a_bound_says_nothing_of_are_refused() {
        let refused = |mechanism: Mechanism, epsilon| {
            let noise = mechanism.noise(&accountant(epsilon, 1e-9), 2);
            noise.unwrap_err().to_string()
        };
        assert!(refused(Mechanism::Gaussian, 1.0).contains("less than 1"));
        for mechanism in MECHANISMS {
            let mechanism = Mechanism::of_name(mechanism).unwrap();
            let words = refused(mechanism, 1e-13);
            assert!(words.contains("more epsilon takes less noise"), "{words}");
        }
    }

    #[test]
    fn what_laplace_noise_costs_is_pure() {
        let noise = Mechanism::Laplace.noise(&accountant(0.3, 0.5), 7).unwrap();
        let Cost::Approximate { epsilon, delta } = noise.cost() else {
            panic!("{:?}", noise.cost());
        };
        assert!(epsilon <= 0.3 && epsilon > 0.299 && delta < 1e-300);
    }
}
