//! Differential privacy: mechanisms, what each costs, and one accountant through which a budget is spent.
//!
//! Neighbouring data sets differ in one row that is there or not, unless a function says otherwise. What is released is
//! made by the samplers of [`discrete`], which are exact: a sampler in floating point gives itself away by
//! the values that it cannot give (I. Mironov, "On significance of the least significant bits for differential
//! privacy", CCS 2012). How much noise is enough says a [`mechanism`]. [`audit`] finds from outside how much a mechanism tells at least.

pub mod accountant;
pub mod audit;
pub mod discrete;
pub mod gaussian;
pub mod mechanism;
pub mod zcdp;

use thiserror::Error;

/// Why something cannot be done in private.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PrivacyError {
    /// Epsilon is no bound.
    #[error("epsilon is {0}: expected a number above 0; less of it is more private, 1 is usual")]
    Epsilon(f64),
    /// Delta is no probability.
    #[error(
        "delta is {0}: expected a probability above 0 and below 1, well below one over the number of rows"
    )]
    Delta(f64),
    /// A scale or sensitivity that is none.
    #[error("{name} is {value:?}: expected {expected}")]
    Parameter {
        /// Which.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// There is not so much left.
    #[error(
        "`{what}` costs {cost}, and of the budget of {budget} epsilon {spent} is spent: nothing was measured"
    )]
    Overspent {
        /// What was to be measured.
        what: String,
        /// Its cost.
        cost: String,
        /// The whole budget.
        budget: String,
        /// What is spent of it.
        spent: f64,
    },
}

/// A delta that is below one over the number of rows of any table of less than a billion. It is the same for all: one that followed from
/// a table would tell its neighbours apart.
pub const USUAL_DELTA: f64 = 1e-9;

/// The most that is taken for a guarantee at all: N. Ponomareva and others, "How to DP-fy ML: A Practical Guide to Machine Learning with
/// Differential Privacy", Journal of Artificial Intelligence Research 77, 2023, section 5.2.
pub const MOST_EPSILON: f64 = 10.0;

/// What may be learned of any one row: the probability of an event changes by at most a factor `e^epsilon`, but for `delta`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Logarithm of the factor.
    pub epsilon: f64,
    /// Probability of more.
    pub delta: f64,
}

impl Budget {
    /// A budget, if it is one.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, PrivacyError> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(PrivacyError::Epsilon(epsilon));
        }
        if !(delta > 0.0 && delta < 1.0) {
            return Err(PrivacyError::Delta(delta));
        }
        Ok(Self { epsilon, delta })
    }

    /// A budget with [`USUAL_DELTA`].
    ///
    /// # Errors
    /// If epsilon is none.
    pub fn usual(epsilon: f64) -> Result<Self, PrivacyError> {
        Self::new(epsilon, USUAL_DELTA)
    }

    /// Why it protects less than one may think, for a table of `rows` rows. It is for who holds the table alone: whether there is
    /// something to say depends on how many rows there are, for which nothing was paid.
    ///
    /// A mechanism that publishes one whole row at random is `(0, 1/n)`-private: C. Dwork, A. Roth, "The
    /// Algorithmic Foundations of Differential Privacy", 2014, section 2.3.
    pub fn warnings(&self, rows: u64) -> Vec<String> {
        let most = 1.0 / rows.max(1) as f64;
        let of_delta = (self.delta > most).then(|| {
            format!(
                "delta {} is above one over the number of rows: a mechanism that publishes a whole row would be private enough",
                self.delta
            )
        });
        let of_epsilon = (self.epsilon > MOST_EPSILON).then(|| {
            format!(
                "epsilon {} is above {MOST_EPSILON}: what is published may be exp({}) times as likely with a row as without it, which promises nothing; 1 is usual",
                self.epsilon, self.epsilon
            )
        });
        of_epsilon.into_iter().chain(of_delta).collect()
    }
}

/// A number above 0, or an error that names it.
fn positive(name: &'static str, value: f64) -> Result<f64, PrivacyError> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(PrivacyError::Parameter {
        name,
        value,
        expected: "a number above 0",
    })
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn budgets_that_are_none_are_refused() {
        for (epsilon, delta) in [
            (0.0, 1e-6),
            (-1.0, 1e-6),
            (f64::NAN, 1e-6),
            (f64::INFINITY, 1e-6),
            (1.0, 0.0),
            (1.0, 1.0),
            (1.0, f64::NAN),
        ] {
            assert!(Budget::new(epsilon, delta).is_err(), "{epsilon} {delta}");
        }
    }

    #[test]
    fn what_promises_nothing_is_warned_of() {
        let budget = Budget::new(1.0, 1e-3).unwrap();
        assert!(budget.warnings(100).is_empty());
        let words = budget.warnings(100_000).concat();
        assert!(words.contains("delta 0.001"), "{words}");
        assert!(
            Budget::usual(10.0)
                .unwrap()
                .warnings(999_999_999)
                .is_empty()
        );
        let words = Budget::usual(1e9).unwrap().warnings(10).concat();
        assert!(words.contains("epsilon 1000000000 is above 10"), "{words}");
    }
}
