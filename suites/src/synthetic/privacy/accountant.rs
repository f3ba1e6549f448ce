//! The accountant: every measurement of private data is paid for here before it is made, or not made.

use serde::{Deserialize, Serialize};

use super::{Budget, PrivacyError, zcdp};

/// A measurement that was paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What was measured: `marginal of age`.
    pub what: String,
    /// How: `discrete Gaussian, variance 12.5`.
    pub mechanism: String,
    /// Its cost in zero-concentrated differential privacy.
    pub rho: f64,
}

/// A budget and what was spent of it.
#[derive(Clone, Debug)]
pub struct Accountant {
    budget: Budget,
    rho: f64,
    spent: f64,
    ledger: Vec<Entry>,
}

/// Rounding of sums: parts of a budget that were divided must be able to add up to it again.
const SLACK: f64 = 1e-9;

impl Accountant {
    /// An accountant with all of a budget before it.
    pub fn new(budget: Budget) -> Self {
        // So much less that the slack is inside the budget.
        let rho = zcdp::rho(budget) * (1.0 - 2.0 * SLACK);
        Self {
            budget,
            rho,
            spent: 0.0,
            ledger: vec![],
        }
    }

    /// The whole budget, as a cost.
    pub fn rho(&self) -> f64 {
        self.rho
    }

    /// What is left of it.
    pub fn left(&self) -> f64 {
        (self.rho - self.spent).max(0.0)
    }

    /// Pays for a measurement. Costs add up: Bun and Steinke, lemma 1.7.
    ///
    /// # Errors
    /// If there is not so much left, or if the cost is none; then nothing may be measured.
    pub fn spend(
        &mut self,
        what: impl Into<String>,
        mechanism: impl Into<String>,
        rho: f64,
    ) -> Result<(), PrivacyError> {
        let rho = super::positive("the cost of a measurement", rho)?;
        let what = what.into();
        if self.spent + rho > self.rho * (1.0 + SLACK) {
            return Err(PrivacyError::Overspent {
                what,
                cost: rho,
                budget: self.rho,
                left: self.left(),
            });
        }
        self.spent += rho;
        self.ledger.push(Entry {
            what,
            mechanism: mechanism.into(),
            rho,
        });
        Ok(())
    }

    /// Everything that was paid for, in order.
    pub fn ledger(&self) -> &[Entry] {
        &self.ledger
    }

    /// What was spent, as epsilon at the budget's delta; 0 where nothing was.
    pub fn epsilon_spent(&self) -> f64 {
        if self.spent > 0.0 {
            zcdp::epsilon(self.spent, self.budget.delta)
        } else {
            0.0
        }
    }

    /// The budget.
    pub fn budget(&self) -> Budget {
        self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::{Accountant, Budget, PrivacyError};

    fn accountant() -> Accountant {
        Accountant::new(Budget::new(1.0, 1e-6).unwrap())
    }

    #[test]
    fn parts_of_a_budget_add_up_to_it_and_to_no_more() {
        for parts in [1, 3, 7, 1000] {
            let mut accountant = accountant();
            let part = accountant.rho() / f64::from(parts);
            for _ in 0..parts {
                accountant.spend("part", "Gaussian", part).unwrap();
            }
            assert!(accountant.epsilon_spent() <= 1.0, "{parts}");
            assert!(accountant.epsilon_spent() > 0.999, "{parts}");
            let refused = accountant.spend("one more", "Gaussian", part);
            assert!(matches!(refused, Err(PrivacyError::Overspent { .. })));
            assert_eq!(accountant.ledger().len(), parts as usize);
        }
    }

    #[test]
    fn what_costs_nothing_is_a_mistake() {
        for cost in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(accountant().spend("free", "none", cost).is_err(), "{cost}");
        }
        assert!(accountant().epsilon_spent() < 1e-300);
    }
}
