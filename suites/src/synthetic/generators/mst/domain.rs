//! A column as a few levels: the texts of categories, cells between bounds for numbers, and one for what is missing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Measured;
use crate::synthetic::table::{MISSING, Values};

/// Cells of equal width that the range of numbers is divided into before it is measured.
const CELLS: usize = 256;
/// A level whose noisy count is below so many standard deviations of noise is merged with others: `McKenna` and others, section 3.3.
const DEVIATIONS: f64 = 3.0;
/// Numbers are merged to about so many levels of one size: pairs of more would have less rows than noise.
const LEVELS: f64 = 40.0;

/// What the values of a column can be, and the level of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    kind: Kind,
    /// For each value (label or cell, and behind them what is missing) its level.
    level: Vec<u32>,
    /// For each level its values, each with its share of the level.
    members: Vec<Vec<(u32, f64)>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Number {
        low: f64,
        width: f64,
        cells: usize,
        decimals: Option<u8>,
    },
    Category {
        labels: Vec<String>,
    },
    Key,
}

impl Domain {
    /// Of the values of a column: a level for each label, or cell of numbers, and one for missing values.
    pub fn of(values: &Values) -> Self {
        let kind = match values {
            Values::Number { values, decimals } => {
                let present = || values.iter().copied().filter(|x| !x.is_nan());
                let (low, high) = (
                    present().fold(f64::INFINITY, f64::min),
                    present().fold(f64::NEG_INFINITY, f64::max),
                );
                let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
                // Integers have no more cells than there are of them, each its own.
                let unit = decimals.map_or(0.0, |digits| 10_f64.powi(-i32::from(digits)));
                let span = high - low + unit;
                let cells = if unit > 0.0 && span / unit <= CELLS as f64 {
                    (span / unit).round() as usize
                } else {
                    CELLS
                };
                let cells = cells.max(1);
                Kind::Number {
                    low,
                    width: span / cells as f64,
                    cells,
                    decimals: *decimals,
                }
            }
            Values::Category { labels, .. } => Kind::Category {
                labels: labels.to_vec(),
            },
            Values::Key { .. } => Kind::Key,
        };
        let values = kind.values() as u32 + 1;
        Self {
            kind,
            level: (0..values).collect(),
            members: (0..values).map(|value| vec![(value, 1.0)]).collect(),
        }
    }

    /// How many levels there are.
    pub fn levels(&self) -> usize {
        self.members.len()
    }

    /// The level of each row.
    pub fn of_rows(&self, values: &Values) -> Vec<u32> {
        let missing = self.kind.values();
        let level = |value: usize| self.level[value];
        match (&self.kind, values) {
            (
                Kind::Number {
                    low, width, cells, ..
                },
                Values::Number { values, .. },
            ) => {
                let cell = |x: &f64| {
                    if x.is_nan() {
                        missing
                    } else {
                        (((x - low) / width) as usize).min(cells - 1)
                    }
                };
                values.iter().map(|x| level(cell(x))).collect()
            }
            (_, Values::Category { codes, .. }) => {
                let place = |code: &u32| {
                    if *code == MISSING {
                        missing
                    } else {
                        *code as usize
                    }
                };
                codes.iter().map(|code| level(place(code))).collect()
            }
            (_, Values::Key { values }) => values
                .iter()
                .map(|v| level(usize::from(v.is_none())))
                .collect(),
            _ => unreachable!("a domain is asked of the column that it was made of"),
        }
    }

    /// Merges what noise says is rare: labels with each other, cells of numbers with their neighbours. The measurement is
    /// merged alike.
    pub fn compress(&mut self, measured: &mut Measured) {
        let least = DEVIATIONS * measured.variance.sqrt();
        let total: f64 = measured.counts.iter().map(|c| c.max(0.0)).sum();
        let values = self.kind.values();
        let (present, missing) = measured.counts.split_at(values);
        let mut groups: Vec<Vec<u32>> = match self.kind {
            Kind::Number { .. } => neighbours(present, least.max(total / LEVELS)),
            _ => rare_together(present, least),
        };
        if missing[0] >= least || groups.is_empty() {
            groups.push(vec![values as u32]);
        } else if let Some(last) = groups.last_mut() {
            // So few are missing that none is made: the level of the last group, with no share of it.
            last.push(values as u32);
        }
        for (level, group) in (0..).zip(&groups) {
            for value in group {
                self.level[*value as usize] = level;
            }
        }
        let weight = |value: u32| {
            let is_hidden_missing = value as usize == values && missing[0] < least && values > 0;
            if is_hidden_missing {
                0.0
            } else {
                measured.counts[value as usize].max(0.0)
            }
        };
        self.members = groups.iter().map(|group| shares(group, weight)).collect();
        let sum = |group: &Vec<u32>| {
            group
                .iter()
                .map(|value| measured.counts[*value as usize])
                .sum()
        };
        // Of a sum of noisy counts the noise adds up; what is merged is little, and counted as one.
        measured.counts = groups.iter().map(sum).collect();
    }

    /// The values of levels, each with a number on (0, 1) that decides where in its level, from row `first` on.
    pub fn values(&self, first: u64, drawn: impl Iterator<Item = (u32, f64)>) -> Values {
        let missing = self.kind.values() as u32;
        let members = drawn.map(|(level, place)| self.member(level, place));
        match &self.kind {
            Kind::Number {
                low,
                width,
                decimals,
                cells,
            } => {
                let exact =
                    decimals.is_some_and(|d| (width * 10_f64.powi(d.into()) - 1.0).abs() < 1e-9);
                let number = |(cell, place): (u32, f64)| {
                    if cell == missing {
                        return f64::NAN;
                    }
                    let place = if exact { 0.0 } else { place };
                    let x = low + (f64::from(cell) + place) * width;
                    let x = decimals.map_or(x, |digits| {
                        let scale = 10_f64.powi(digits.into());
                        (x * scale).floor() / scale
                    });
                    x.clamp(*low, low + *cells as f64 * width)
                };
                Values::Number {
                    values: members.map(number).collect(),
                    decimals: *decimals,
                }
            }
            Kind::Category { labels } => Values::Category {
                codes: members
                    .map(|(code, _)| if code == missing { MISSING } else { code })
                    .collect(),
                labels: Arc::new(labels.clone()),
            },
            Kind::Key => Values::Key {
                values: members
                    .zip(first..)
                    .map(|((code, _), row)| (code != 1).then(|| format!("key-{row:09}")))
                    .collect(),
            },
        }
    }

    /// A value of a level, and what is left of the number that decided it.
    fn member(&self, level: u32, place: f64) -> (u32, f64) {
        let values = &self.members[level as usize];
        let mut rest = place;
        for (value, share) in values {
            if rest < *share {
                return (*value, rest / share);
            }
            rest -= share;
        }
        (values[values.len() - 1].0, 0.5)
    }
}

impl Kind {
    /// How many values there are that are not missing.
    fn values(&self) -> usize {
        match self {
            Self::Number { cells, .. } => *cells,
            Self::Category { labels } => labels.len(),
            Self::Key => 1,
        }
    }
}

/// Neighbours together until each group has at least `least`; a rest joins the last.
fn neighbours(counts: &[f64], least: f64) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = vec![];
    let (mut open, mut sum) = (vec![], 0.0);
    for (cell, count) in (0..).zip(counts) {
        open.push(cell);
        sum += count.max(0.0);
        if sum >= least {
            groups.push(std::mem::take(&mut open));
            sum = 0.0;
        }
    }
    match groups.last_mut() {
        Some(group) => group.extend(open),
        None if !open.is_empty() => groups.push(open),
        None => {}
    }
    groups
}

/// What is rare in one group, behind all others.
fn rare_together(counts: &[f64], least: f64) -> Vec<Vec<u32>> {
    let (rare, frequent): (Vec<u32>, Vec<u32>) =
        (0..counts.len() as u32).partition(|label| counts[*label as usize] < least);
    let mut groups: Vec<Vec<u32>> = frequent.into_iter().map(|label| vec![label]).collect();
    if !rare.is_empty() {
        groups.push(rare);
    }
    groups
}

/// Each value's share of its group; equal where nothing is known of any.
fn shares(group: &[u32], weight: impl Fn(u32) -> f64) -> Vec<(u32, f64)> {
    let total: f64 = group.iter().map(|value| weight(*value)).sum();
    let share = |value: &u32| {
        let share = if total > 0.0 {
            weight(*value) / total
        } else {
            1.0 / group.len() as f64
        };
        (*value, share)
    };
    group.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::{Domain, Measured, neighbours, rare_together};
    use crate::synthetic::table::Values;

    #[test]
    fn neighbours_are_merged_until_they_are_many() {
        assert_eq!(
            neighbours(&[5.0, 1.0, 3.0, 9.0, 1.0], 4.0),
            [vec![0], vec![1, 2], vec![3, 4]]
        );
        assert_eq!(neighbours(&[1.0, 1.0], 4.0), [vec![0, 1]]);
        assert_eq!(
            rare_together(&[9.0, 0.5, 7.0, -2.0], 3.0),
            [vec![0], vec![2], vec![1, 3]]
        );
    }

    #[test]
    fn integers_come_back_as_themselves() {
        let column = Values::Number {
            values: vec![3.0, 4.0, 4.0, 9.0, f64::NAN],
            decimals: Some(0),
        };
        let mut domain = Domain::of(&column);
        let levels = domain.of_rows(&column);
        let back = domain.values(0, levels.iter().map(|level| (*level, 0.7)));
        assert_eq!(back, column);
        let counts = super::super::histogram(&levels, domain.levels());
        let mut measured = Measured {
            counts: counts.iter().map(|c| 100.0 * *c as f64).collect(),
            variance: 1.0,
        };
        domain.compress(&mut measured);
        let levels = domain.of_rows(&column);
        let back = domain.values(0, levels.iter().map(|level| (*level, 0.999)));
        assert_eq!(
            back, column,
            "cells without rows have no share of their level"
        );
    }
}
