//! The accountant: every measurement of private data is paid for here before it is made, or not made.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Budget, PrivacyError, zcdp};

/// What a measurement costs, in the terms of the bound that holds for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cost {
    /// Of zero-concentrated differential privacy ([`zcdp`]).
    Concentrated {
        /// How much of it.
        rho: f64,
    },
    /// Of differential privacy itself.
    Approximate {
        /// The logarithm of the factor.
        epsilon: f64,
        /// The probability of more.
        delta: f64,
    },
}

impl From<Budget> for Cost {
    fn from(Budget { epsilon, delta }: Budget) -> Self {
        Self::Approximate { epsilon, delta }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Concentrated { rho } => write!(f, "rho {rho:.3e}"),
            Self::Approximate { epsilon, delta } => {
                write!(f, "epsilon {epsilon:.6}, delta {delta:e}")
            }
        }
    }
}

/// A measurement that was paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Entry {
    /// What was measured: `marginal of age`.
    pub what: String,
    /// How: `discrete Gaussian, variance 12.5`.
    pub mechanism: String,
    /// What that costs.
    pub cost: Cost,
}

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    what: String,
    mechanism: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rho: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epsilon: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delta: Option<f64>,
}

impl From<Entry> for Written {
    fn from(entry: Entry) -> Self {
        let (rho, epsilon, delta) = match entry.cost {
            Cost::Concentrated { rho } => (Some(rho), None, None),
            Cost::Approximate { epsilon, delta } => (None, Some(epsilon), Some(delta)),
        };
        Self {
            what: entry.what,
            mechanism: entry.mechanism,
            rho,
            epsilon,
            delta,
        }
    }
}

impl TryFrom<Written> for Entry {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let cost = match (written.rho, written.epsilon, written.delta) {
            (Some(rho), None, None) => Cost::Concentrated { rho },
            (None, Some(epsilon), Some(delta)) => Cost::Approximate { epsilon, delta },
            _ => {
                return Err(format!(
                    "`{}`: expected what it costs, `rho` or `epsilon` and `delta`",
                    written.what
                ));
            }
        };
        Ok(Self {
            what: written.what,
            mechanism: written.mechanism,
            cost,
        })
    }
}

/// A budget and what was spent of it.
///
/// Costs of either kind add up (Bun and Steinke, lemma 1.7; C. Dwork, A. Roth, "The Algorithmic Foundations of Differential Privacy",
/// 2014, theorem 3.16). Of both together: what approximate costs leave of epsilon and delta is what concentrated ones are converted to.
#[derive(Clone, Debug)]
pub struct Accountant {
    budget: Budget,
    /// Of concentrated costs, the most beside the approximate ones that were spent.
    rho: f64,
    spent: Spent,
    ledger: Vec<Entry>,
}

/// Sums of costs.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    rho: f64,
    epsilon: f64,
    delta: f64,
}

impl Spent {
    /// With one more.
    fn and(self, cost: Cost) -> Self {
        match cost {
            Cost::Concentrated { rho } => Self {
                rho: self.rho + rho,
                ..self
            },
            Cost::Approximate { epsilon, delta } => Self {
                epsilon: self.epsilon + epsilon,
                delta: self.delta + delta,
                ..self
            },
        }
    }

    /// The most of concentrated costs beside its approximate ones; 0 where these leave nothing.
    fn rho_beside(self, budget: Budget) -> f64 {
        let left = Budget::new(budget.epsilon - self.epsilon, budget.delta - self.delta);
        // So much less that the slack is inside the budget.
        left.map_or(0.0, |left| zcdp::rho(left) * (1.0 - 2.0 * SLACK))
    }
}

/// Rounding of sums: parts of a budget that were divided must be able to add up to it again. Concentrated costs are converted, which rounds too.
const SLACK: f64 = 1e-9;
const ROUNDING: f64 = 1e-12;

impl Accountant {
    /// An accountant with all of a budget before it.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            rho: Spent::default().rho_beside(budget),
            spent: Spent::default(),
            ledger: vec![],
        }
    }

    /// The most of concentrated costs, beside the approximate ones that were spent.
    pub fn rho(&self) -> f64 {
        self.rho
    }

    /// Pays for a measurement.
    ///
    /// # Errors
    /// If there is not so much left, or if the cost is none; then nothing may be measured.
    pub fn spend(
        &mut self,
        what: impl Into<String>,
        mechanism: impl Into<String>,
        cost: Cost,
    ) -> Result<(), PrivacyError> {
        check(cost)?;
        let spent = self.spent.and(cost);
        let rho = match cost {
            Cost::Concentrated { .. } => self.rho,
            Cost::Approximate { .. } => spent.rho_beside(self.budget),
        };
        let fits = spent.rho <= rho * (1.0 + SLACK)
            && spent.epsilon <= self.budget.epsilon * (1.0 + ROUNDING)
            && spent.delta <= self.budget.delta * (1.0 + ROUNDING);
        let what = what.into();
        if !fits {
            return Err(PrivacyError::Overspent {
                what,
                cost: cost.to_string(),
                budget: Cost::from(self.budget).to_string(),
                spent: self.epsilon_spent(),
            });
        }
        (self.spent, self.rho) = (spent, rho);
        self.ledger.push(Entry {
            what,
            mechanism: mechanism.into(),
            cost,
        });
        Ok(())
    }

    /// Everything that was paid for, in order.
    pub fn ledger(&self) -> &[Entry] {
        &self.ledger
    }

    /// What was spent, as epsilon at [`Accountant::delta_spent`]; 0 where nothing was.
    pub fn epsilon_spent(&self) -> f64 {
        let Spent {
            rho,
            epsilon,
            delta,
        } = self.spent;
        if rho > 0.0 {
            epsilon + zcdp::epsilon(rho, self.budget.delta - delta)
        } else {
            epsilon.min(self.budget.epsilon)
        }
    }

    /// What was spent of delta: all of it where concentrated costs are converted to it.
    pub fn delta_spent(&self) -> f64 {
        if self.spent.rho > 0.0 {
            self.budget.delta
        } else {
            self.spent.delta.min(self.budget.delta)
        }
    }

    /// The budget.
    pub fn budget(&self) -> Budget {
        self.budget
    }
}

/// Whether a cost is one.
fn check(cost: Cost) -> Result<(), PrivacyError> {
    match cost {
        Cost::Concentrated { rho } => super::positive("the cost of a measurement", rho).map(drop),
        Cost::Approximate { epsilon, delta } => {
            super::positive("the cost of a measurement", epsilon)?;
            if (0.0..1.0).contains(&delta) {
                return Ok(());
            }
            Err(PrivacyError::Parameter {
                name: "the delta of a measurement",
                value: delta,
                expected: "a probability below 1",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Accountant, Budget, Cost, Entry, PrivacyError, zcdp};

    fn accountant() -> Accountant {
        Accountant::new(Budget::new(1.0, 1e-6).unwrap())
    }

    #[test]
    fn parts_of_a_budget_add_up_to_it_and_to_no_more() {
        for parts in [1, 3, 7, 1000] {
            let whole = accountant();
            let part = 1.0 / f64::from(parts);
            for cost in [
                Cost::Concentrated {
                    rho: whole.rho() * part,
                },
                Cost::Approximate {
                    epsilon: part,
                    delta: 1e-6 * part,
                },
                Cost::Approximate {
                    epsilon: part,
                    delta: 0.0,
                },
            ] {
                let mut accountant = whole.clone();
                for _ in 0..parts {
                    accountant.spend("part", "Gaussian", cost).unwrap();
                }
                assert!(accountant.epsilon_spent() <= 1.0, "{parts} {cost}");
                assert!(accountant.epsilon_spent() > 0.999, "{parts} {cost}");
                assert!(accountant.delta_spent() <= 1e-6, "{parts} {cost}");
                let refused = accountant.spend("one more", "Gaussian", cost);
                assert!(matches!(refused, Err(PrivacyError::Overspent { .. })));
                assert_eq!(accountant.ledger().len(), parts as usize);
            }
        }
    }

    #[test]
    fn costs_of_both_kinds_share_one_budget() {
        let half = Cost::Approximate {
            epsilon: 0.5,
            delta: 5e-7,
        };
        let rest = zcdp::rho(Budget::new(0.5, 5e-7).unwrap()) * 0.999;
        let rest = |part: f64| Cost::Concentrated { rho: rest * part };
        // In either order.
        let mut accountant = self::accountant();
        accountant.spend("half", "Gaussian", half).unwrap();
        accountant.spend("rest", "Gaussian", rest(1.0)).unwrap();
        let spent = (accountant.epsilon_spent(), accountant.delta_spent());
        assert!(
            spent.0 > 0.999 && spent.0 <= 1.0 && spent.1 <= 1e-6,
            "{spent:?}"
        );
        let mut accountant = self::accountant();
        accountant.spend("rest", "Gaussian", rest(1.01)).unwrap();
        let refused = accountant.spend("half", "Gaussian", half).unwrap_err();
        let words = refused.to_string();
        assert!(words.contains("`half` costs epsilon 0.5"), "{words}");
        assert!(words.contains("is spent"), "{words}");
        // Where all of delta is spent nothing can be converted to it.
        let mut accountant = self::accountant();
        let all_of_delta = Cost::Approximate {
            epsilon: 0.1,
            delta: 1e-6,
        };
        accountant.spend("delta", "Gaussian", all_of_delta).unwrap();
        assert!(accountant.spend("rest", "Gaussian", rest(1e-9)).is_err());
        let pure = Cost::Approximate {
            epsilon: 0.9,
            delta: 0.0,
        };
        accountant.spend("pure", "Laplace", pure).unwrap();
    }

    #[test]
    fn what_costs_nothing_is_a_mistake() {
        for cost in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            for cost in [
                Cost::Concentrated { rho: cost },
                Cost::Approximate {
                    epsilon: cost,
                    delta: 0.0,
                },
                Cost::Approximate {
                    epsilon: 0.1,
                    delta: if cost > 0.0 { cost } else { cost - 1.0 },
                },
            ] {
                assert!(accountant().spend("free", "none", cost).is_err(), "{cost}");
            }
        }
        assert!(accountant().epsilon_spent() < 1e-300);
    }

    #[test]
    fn entries_are_written_with_what_they_cost_and_with_nothing_else() {
        for (text, cost) in [
            (
                r#"{"what":"w","mechanism":"m","rho":0.25}"#,
                Cost::Concentrated { rho: 0.25 },
            ),
            (
                r#"{"what":"w","mechanism":"m","epsilon":1.0,"delta":0.0}"#,
                Cost::Approximate {
                    epsilon: 1.0,
                    delta: 0.0,
                },
            ),
        ] {
            let entry: Entry = serde_json::from_str(text).unwrap();
            assert_eq!(entry.cost, cost);
            assert_eq!(serde_json::to_string(&entry).unwrap(), text);
        }
        for text in [
            r#"{"what":"w","mechanism":"m"}"#,
            r#"{"what":"w","mechanism":"m","epsilon":1.0}"#,
            r#"{"what":"w","mechanism":"m","rho":1.0,"epsilon":1.0,"delta":0.0}"#,
            r#"{"what":"w","mechanism":"m","rho":1.0,"more":1}"#,
        ] {
            assert!(serde_json::from_str::<Entry>(text).is_err(), "{text}");
        }
    }
}
