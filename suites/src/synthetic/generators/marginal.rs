//! One column's distribution: learned from its values, and values drawn from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Cell;
use crate::synthetic::table::{MISSING, Values};

/// Quantiles that are kept of a column of numbers: what one of them holds is 1/2000 of the rows.
const KNOTS: usize = 2001;

/// A column's distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marginal {
    /// Numbers, by their quantiles.
    Number {
        /// Equally spaced quantiles, the least and the largest value among them. A value that is frequent is there as often.
        knots: Vec<f64>,
        /// Digits behind the point; `None` for all.
        decimals: Option<u8>,
        /// Probability of a missing value.
        missing: f64,
    },
    /// Categories, by their shares.
    Category {
        /// The texts.
        labels: Vec<String>,
        /// Probability of each, among values that are there.
        shares: Vec<f64>,
        /// Probability of a missing value.
        missing: f64,
    },
    /// Keys: made anew, numbered by row.
    Key {
        /// Probability of a missing value.
        missing: f64,
    },
}

impl Marginal {
    /// Of the values of a column.
    pub fn learn(values: &Values) -> Self {
        let missing = values.missing() as f64 / values.len().max(1) as f64;
        match values {
            Values::Number { values, decimals } => {
                let mut present: Vec<f64> =
                    values.iter().copied().filter(|x| !x.is_nan()).collect();
                present.sort_unstable_by(f64::total_cmp);
                Self::Number {
                    knots: quantiles(&present),
                    decimals: *decimals,
                    missing,
                }
            }
            Values::Category { codes, labels } => {
                let mut counts = vec![0.0; labels.len()];
                for code in codes.iter().filter(|code| **code != MISSING) {
                    counts[*code as usize] += 1.0;
                }
                Self::Category {
                    labels: labels.to_vec(),
                    shares: normalised(&counts),
                    missing,
                }
            }
            Values::Key { .. } => Self::Key { missing },
        }
    }

    /// Whether its numbers are such as are learned.
    ///
    /// # Errors
    /// What they are not.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.missing()) {
            return Err("`missing` is no probability".into());
        }
        match self {
            Self::Number { knots, .. } if knots.iter().any(|x| !x.is_finite()) => {
                Err("a quantile that is no number".into())
            }
            Self::Category { labels, shares, .. } if labels.len() != shares.len() => Err(format!(
                "{} labels of {} shares",
                labels.len(),
                shares.len()
            )),
            _ => Ok(()),
        }
    }

    /// Probability of a missing value.
    pub fn missing(&self) -> f64 {
        match self {
            Self::Number { missing, .. }
            | Self::Category { missing, .. }
            | Self::Key { missing } => *missing,
        }
    }

    /// The values of cells, of the rows of these numbers.
    pub fn values(&self, places: &[u64], cells: impl Iterator<Item = Cell>) -> Values {
        match self {
            Self::Number {
                knots, decimals, ..
            } => Values::Number {
                values: cells
                    .map(|cell| match cell {
                        Cell::At(u) => rounded(at(knots, u), *decimals),
                        Cell::Missing => f64::NAN,
                    })
                    .collect(),
                decimals: *decimals,
            },
            Self::Category { labels, shares, .. } => {
                let bounds = cumulative(shares);
                let code = |u| {
                    bounds
                        .partition_point(|bound| *bound <= u)
                        .min(shares.len() - 1)
                };
                let codes = cells.map(|cell| match cell {
                    Cell::At(u) if !shares.is_empty() => code(u) as u32,
                    _ => MISSING,
                });
                Values::Category {
                    codes: codes.collect(),
                    labels: Arc::new(labels.clone()),
                }
            }
            Self::Key { .. } => Values::Key {
                values: cells
                    .zip(places)
                    .map(|(cell, row)| (cell != Cell::Missing).then(|| format!("key-{row:09}")))
                    .collect(),
            },
        }
    }
}

/// Equally spaced quantiles of sorted values; all of them, where they are few.
fn quantiles(sorted: &[f64]) -> Vec<f64> {
    let knots = sorted.len().min(KNOTS);
    let last = sorted.len().saturating_sub(1);
    let knot = |i: usize| sorted[(i * last + (knots - 1) / 2) / (knots - 1).max(1)];
    (0..knots).map(knot).collect()
}

/// The value at `u` of a distribution with these quantiles; not a number where there are none.
fn at(knots: &[f64], u: f64) -> f64 {
    let Some(last) = knots.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = u * last as f64;
    let below = (place.floor() as usize).min(last);
    let (low, high) = (knots[below], knots[(below + 1).min(last)]);
    low + (high - low) * (place - below as f64)
}

/// With so many digits behind the point.
pub fn rounded(x: f64, decimals: Option<u8>) -> f64 {
    decimals.map_or(x, |digits| {
        let scale = 10_f64.powi(digits.into());
        (x * scale).round() / scale
    })
}

/// As parts of one; equal where all are 0.
pub fn normalised(weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    if total > 0.0 {
        return weights.iter().map(|w| w / total).collect();
    }
    vec![1.0 / weights.len() as f64; weights.len()]
}

/// Sums up to and with each.
pub fn cumulative(shares: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |share: &f64| {
        sum += share;
        sum
    };
    shares.iter().map(add).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cell, Marginal, Values};
    use crate::synthetic::table::{MISSING, categories};

    fn drawn(marginal: &Marginal, n: u32) -> Values {
        let cells = (0..n).map(|i| Cell::At((f64::from(i) + 0.5) / f64::from(n)));
        marginal.values(&super::super::places(0, n as usize), cells)
    }

    #[test]
    fn numbers_come_back_with_their_frequent_values_and_bounds() {
        // Half of it exactly 40.
        let values = (0..5000).map(|i| {
            if i % 2 == 0 {
                40.0
            } else {
                f64::from(i) / 10.0
            }
        });
        let learned = Marginal::learn(&Values::Number {
            values: values.collect(),
            decimals: Some(1),
        });
        let Values::Number { values, .. } = drawn(&learned, 10_000) else {
            panic!("numbers")
        };
        let forties = values.iter().filter(|x| (**x - 40.0).abs() < 1e-9).count();
        assert!((4980..5020).contains(&forties), "{forties}");
        assert!(values.iter().all(|x| (0.1..=499.9).contains(x)));
        assert!(
            values
                .iter()
                .all(|x| ((x * 10.0).round() - x * 10.0).abs() < 1e-9)
        );
    }

    #[test]
    fn categories_come_back_in_their_shares() {
        let texts = (0..1000).map(|i| ["a", "a", "a", "b", ""][i % 5].to_owned());
        let learned = Marginal::learn(&categories(texts));
        assert!((learned.missing() - 0.2).abs() < 1e-12);
        let Values::Category { codes, .. } = drawn(&learned, 1000) else {
            panic!("categories")
        };
        assert_eq!(codes.iter().filter(|c| **c == 0).count(), 750);
    }

    #[test]
    fn a_column_of_nothing_gives_nothing() {
        let nothing = Values::Number {
            values: vec![f64::NAN; 3],
            decimals: Some(0),
        };
        let Values::Number { values, .. } = drawn(&Marginal::learn(&nothing), 5) else {
            panic!("numbers")
        };
        assert!(values.iter().all(|x| x.is_nan()));
        let nothing = categories(vec![String::new(); 3]);
        let Values::Category { codes, .. } = drawn(&Marginal::learn(&nothing), 5) else {
            panic!("categories")
        };
        assert_eq!(codes, [MISSING; 5]);
    }

    #[test]
    fn one_value_gives_itself() {
        let one = Values::Number {
            values: vec![7.0],
            decimals: Some(0),
        };
        let Values::Number { values, .. } = drawn(&Marginal::learn(&one), 3) else {
            panic!("numbers")
        };
        assert_eq!(values, [7.0; 3]);
    }
}
