//! Differential privacy: mechanisms, what each costs, and one accountant through which a budget is spent.
//!
//! Neighbouring data sets differ in one row that is there or not, unless a function says otherwise. What is released is
//! made by the samplers of [`discrete`], which are exact: a sampler in floating point gives itself away by
//! the values that it cannot give (I. Mironov, "On significance of the least significant bits for differential
//! privacy", CCS 2012). [`audit`] shows from outside that a mechanism leaks no less than it must hide.

pub mod accountant;
pub mod audit;
pub mod discrete;
pub mod gaussian;
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
        "`{what}` costs rho {cost}, and of the budget of {budget} only {left} is left: nothing was measured"
    )]
    Overspent {
        /// What was to be measured.
        what: String,
        /// Its cost.
        cost: f64,
        /// The whole budget.
        budget: f64,
        /// What is left of it.
        left: f64,
    },
}

/// A delta that is below one over the number of rows of any table of less than a billion. It is the same for all: one that followed from
/// a table would tell its neighbours apart.
pub const USUAL_DELTA: f64 = 1e-9;

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
    pub fn warning(&self, rows: u64) -> Option<String> {
        let most = 1.0 / rows.max(1) as f64;
        (self.delta > most).then(|| {
            format!(
                "delta {} is above one over the number of rows: a mechanism that publishes a whole row would be private enough",
                self.delta
            )
        })
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
    fn a_delta_above_one_row_is_warned_of() {
        let budget = Budget::new(1.0, 1e-3).unwrap();
        assert!(budget.warning(100).is_none());
        let words = budget.warning(100_000).unwrap();
        assert!(words.contains("delta 0.001"), "{words}");
        assert!(Budget::usual(1.0).unwrap().warning(999_999_999).is_none());
    }
}
