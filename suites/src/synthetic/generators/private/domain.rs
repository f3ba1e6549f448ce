//! A column as a few levels: the texts of categories, cells between bounds for numbers, and one for what is missing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Measured;
use crate::synthetic::declared::ColumnSchema;
use crate::synthetic::table::{MISSING, Values};

/// Cells of equal width that the range of numbers is divided into before it is measured.
const CELLS: usize = 256;
/// A level whose noisy count is below so many standard deviations of noise is merged with others: `McKenna` and others, section 3.3.
const DEVIATIONS: f64 = 3.0;
/// Numbers are merged to about so many levels of one size: pairs of more would have less rows than noise.
const LEVELS: f64 = 40.0;
/// Levels of categories at most, however little noise there is: the counts of a pair are as many as the product of both.
const MOST_LEVELS: usize = 2048;

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
    /// Of the values of a column: a level for each label, or cell of numbers, and one for missing values. Where the column is declared,
    /// its range or its labels are those of the declaration, so that they tell nothing of the values: numbers beyond the range, and texts
    /// that are no labels, count as missing.
    pub fn of(values: &Values, declared: Option<&ColumnSchema>) -> Self {
        let kind = match values {
            Values::Number { values, decimals } => {
                let (low, high) = match declared {
                    Some(column) => column.range().unwrap_or_else(|| range(values)),
                    None => range(values),
                };
                let decimals = match declared {
                    Some(ColumnSchema::Number { decimals, .. }) => &Some(*decimals),
                    _ => decimals,
                };
                // Decimals have no more cells than there are of them, each its own.
                let unit = decimals.map_or(0.0, |digits| 10_f64.powi(-i32::from(digits)));
                let span = high - low + unit;
                let cells = if unit > 0.0 && span / unit <= CELLS as f64 {
                    (span / unit).round() as usize
                } else {
                    CELLS
                };
                let cells = cells.max(1);
                let is_empty = declared.is_none() && values.iter().all(|x| x.is_nan());
                Kind::Number {
                    low,
                    width: span / cells as f64,
                    // Without a number there is no range either, and nothing but what is missing can be made.
                    cells: if is_empty { 0 } else { cells },
                    decimals: *decimals,
                }
            }
            Values::Category { labels, .. } => {
                let labels = match declared {
                    Some(ColumnSchema::Category { labels, .. }) => labels,
                    _ => labels.as_ref(),
                };
                // Their order in the table would tell who comes first in it.
                let mut labels = labels.clone();
                labels.sort_unstable();
                Kind::Category { labels }
            }
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

    /// Whether every value has a level, and every level values.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), String> {
        let values = self.kind.values() + 1;
        if self.level.len() != values {
            return Err(format!("{} levels of {values} values", self.level.len()));
        }
        let is_known = |level: &u32| (*level as usize) < self.members.len();
        if !self.level.iter().all(is_known) {
            return Err("a value of a level that is not there".into());
        }
        let is_value =
            |(value, share): &(u32, f64)| (*value as usize) < values && (0.0..=1.0).contains(share);
        let is_whole = |level: &Vec<(u32, f64)>| !level.is_empty() && level.iter().all(is_value);
        if !self.members.iter().all(is_whole) {
            return Err("a level without values, or with ones that are not there".into());
        }
        match self.kind {
            Kind::Number { low, width, .. } if !(low.is_finite() && width.is_finite()) => {
                Err("bounds that are no numbers".into())
            }
            _ => Ok(()),
        }
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
                let steps = self.kind.steps();
                let cell = |x: &f64| match &steps {
                    _ if x.is_nan() || !self.kind.holds(*x) => missing,
                    Some(steps) => steps.cell(*x),
                    // Below the least it is the first: a cast takes what is negative for 0.
                    None => (((x - low) / width) as usize).min(cells - 1),
                };
                values.iter().map(|x| level(cell(x))).collect()
            }
            (
                Kind::Category { labels },
                Values::Category {
                    codes,
                    labels: of_table,
                },
            ) => {
                let place = |label: &String| labels.binary_search(label).unwrap_or(missing);
                let places: Vec<usize> = of_table.iter().map(place).collect();
                let place = |code: &u32| {
                    if *code == MISSING {
                        missing
                    } else {
                        places[*code as usize]
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
            _ => rare_together(present, least, MOST_LEVELS),
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

    /// The values of levels, each with a number on (0, 1) that decides where in its level, of the rows of these numbers.
    pub fn values(&self, places: &[u64], drawn: impl Iterator<Item = (u32, f64)>) -> Values {
        let missing = self.kind.values() as u32;
        let members = drawn.map(|(level, place)| self.member(level, place));
        match &self.kind {
            Kind::Number {
                low,
                width,
                decimals,
                cells,
            } => {
                let steps = self.kind.steps();
                let number = |(cell, place): (u32, f64)| {
                    if cell == missing {
                        return f64::NAN;
                    }
                    if let Some(steps) = &steps {
                        return steps.number(cell, place);
                    }
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
                    .zip(places)
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

    /// Whether a number is in the range; one at its ends is, however they were rounded.
    fn holds(&self, x: f64) -> bool {
        let Self::Number {
            low,
            width,
            cells,
            decimals,
        } = *self
        else {
            return false;
        };
        let unit = decimals.map_or(0.0, |digits| 10_f64.powi(-i32::from(digits)));
        let span = width * cells as f64;
        let slack = (unit / 2.0).max(span * 1e-9);
        (low - slack..=low + (span - unit) + slack).contains(&x)
    }

    /// The steps of decimals, where `f64` counts them without a mistake.
    fn steps(&self) -> Option<Steps> {
        let Self::Number {
            low,
            width,
            cells,
            decimals: Some(digits),
        } = *self
        else {
            return None;
        };
        let scale = 10_f64.powi(digits.into());
        let (first, count) = (
            (low * scale).round(),
            (width * cells as f64 * scale).round(),
        );
        let is_exact = first.abs() + count < (1_u64 << f64::MANTISSA_DIGITS) as f64;
        (is_exact && cells > 0 && count >= cells as f64).then_some(Steps {
            scale,
            first,
            count: count as u64,
            cells: cells as u64,
        })
    }
}

/// The numbers of a column with so many decimals, from the least to the largest, one step apart: they are dealt to cells whole, for
/// what lies across the bound of two would be made too rarely or too often.
struct Steps {
    /// Steps from one integer to the next.
    scale: f64,
    /// The least number, in steps.
    first: f64,
    count: u64,
    cells: u64,
}

impl Steps {
    /// The cell that a number lies in; of one beyond both ends, that at the end.
    fn cell(&self, x: f64) -> usize {
        let step = ((x * self.scale).round() - self.first).max(0.0) as u64;
        let step = step.min(self.count - 1);
        let [step, cells, count] = [step, self.cells, self.count].map(u128::from);
        (((step + 1) * cells - 1) / count) as usize
    }

    /// The number in a cell that `place`, on [0, 1), chooses.
    fn number(&self, cell: u32, place: f64) -> f64 {
        let [count, cells] = [self.count, self.cells].map(u128::from);
        let begin = |cell: u64| (u128::from(cell) * count / cells) as u64;
        let (begin, end) = (begin(cell.into()), begin(u64::from(cell) + 1));
        let own = (place * (end - begin) as f64) as u64;
        let step = begin + own.min(end - begin - 1);
        (self.first + step as f64) / self.scale
    }
}

/// The least and the largest number; 0 both where there is none.
fn range(values: &[f64]) -> (f64, f64) {
    let present = || values.iter().copied().filter(|x| !x.is_nan());
    let (low, high) = (
        present().fold(f64::INFINITY, f64::min),
        present().fold(f64::NEG_INFINITY, f64::max),
    );
    if low <= high { (low, high) } else { (0.0, 0.0) }
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

/// What is rare, or beyond the most frequent `most`, in one group behind all others.
fn rare_together(counts: &[f64], least: f64, most: usize) -> Vec<Vec<u32>> {
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.sort_by(|a, b| counts[*b as usize].total_cmp(&counts[*a as usize]));
    let mut is_frequent = vec![false; counts.len()];
    for label in order.into_iter().take(most) {
        is_frequent[label as usize] = counts[label as usize] >= least;
    }
    let (frequent, rare): (Vec<u32>, Vec<u32>) =
        (0..counts.len() as u32).partition(|label| is_frequent[*label as usize]);
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
    use super::super::histogram;
    use super::{Domain, Measured, neighbours, rare_together};
    use crate::synthetic::declared::ColumnSchema;
    use crate::synthetic::generators::places;
    use crate::synthetic::table::Values;

    fn numbered(rows: usize) -> Vec<u64> {
        places(0, rows)
    }

    #[test]
    fn a_column_without_a_value_has_nothing_but_missing_ones_whatever_the_noise() {
        for decimals in [Some(0), None] {
            let column = Values::Number {
                values: vec![f64::NAN; 9],
                decimals,
            };
            let mut domain = Domain::of(&column, None);
            assert_eq!(domain.check(), Ok(()));
            let mut measured = Measured {
                counts: vec![-4.0; domain.levels()],
                variance: 100.0,
            };
            domain.compress(&mut measured);
            let levels = domain.of_rows(&column);
            let drawn = levels.iter().map(|level| (*level, 0.2));
            let made = domain.values(&numbered(levels.len()), drawn);
            assert_eq!((made.missing(), made.len()), (9, 9));
        }
    }

    #[test]
    fn neighbours_are_merged_until_they_are_many() {
        assert_eq!(
            neighbours(&[5.0, 1.0, 3.0, 9.0, 1.0], 4.0),
            [vec![0], vec![1, 2], vec![3, 4]]
        );
        assert_eq!(neighbours(&[1.0, 1.0], 4.0), [vec![0, 1]]);
        assert_eq!(
            rare_together(&[9.0, 0.5, 7.0, -2.0], 3.0, 9),
            [vec![0], vec![2], vec![1, 3]]
        );
        // More than there may be: those that are most frequent stay.
        assert_eq!(
            rare_together(&[9.0, 8.0, 7.0, 8.0], 3.0, 2),
            [vec![0], vec![1], vec![2, 3]]
        );
    }

    fn numbers(values: impl Iterator<Item = f64>, digits: u8) -> Values {
        Values::Number {
            values: values.collect(),
            decimals: Some(digits),
        }
    }

    #[test]
    fn decimals_come_back_as_themselves() {
        for (scale, digits) in [(10.0, 1), (100.0, 2), (1000.0, 3)] {
            // 0.3 / 0.1 is less than 3.
            let column = numbers((-40..200).map(|step| f64::from(step) / scale), digits);
            let domain = Domain::of(&column, None);
            let levels = domain.of_rows(&column);
            for place in [0.0, 0.5, 0.999] {
                let back = domain.values(
                    &numbered(levels.len()),
                    levels.iter().map(|level| (*level, place)),
                );
                assert_eq!(back, column, "1/{scale} at {place}");
            }
        }
    }

    #[test]
    fn numbers_beyond_a_declared_range_count_as_missing() {
        let column = r#"{"type": "number", "name": "x", "low": -1.5, "high": 0.5, "decimals": 1}"#;
        let column: ColumnSchema = serde_json::from_str(column).unwrap();
        let values = numbers([-1.6, -1.5, 0.0, 0.5, 0.6, 1e300, f64::NAN].into_iter(), 1);
        let domain = Domain::of(&values, Some(&column));
        let missing = domain.levels() as u32 - 1;
        let is_missing: Vec<_> = domain
            .of_rows(&values)
            .iter()
            .map(|level| *level == missing)
            .collect();
        assert_eq!(is_missing, [true, false, false, false, true, true, true]);
        // Of what was seen nothing is beyond, whatever its ends were rounded to.
        for x in [1e15 + 0.3, -7e-300, 0.1] {
            let ends = Values::Number {
                values: vec![x, 3.0 * x, x],
                decimals: None,
            };
            let domain = Domain::of(&ends, None);
            let missing = domain.levels() as u32 - 1;
            assert!(domain.of_rows(&ends).iter().all(|level| *level != missing));
        }
    }

    #[test]
    fn numbers_of_more_steps_than_cells_come_equally_often() {
        for count in [257_u16, 384, 1000, 65_521] {
            let column = numbers((0..count).map(|step| f64::from(step) / 100.0), 2);
            let domain = Domain::of(&column, None);
            let levels = domain.of_rows(&column);
            // As many draws of each cell as it has numbers, at as many places.
            let mut of_cell = vec![0_u32; domain.levels()];
            for level in &levels {
                of_cell[*level as usize] += 1;
            }
            let mut made = vec![0_u32; domain.levels()];
            let place = |level: &u32| {
                let at = &mut made[*level as usize];
                *at += 1;
                let place = (f64::from(*at) - 0.5) / f64::from(of_cell[*level as usize]);
                (*level, place)
            };
            let draws: Vec<_> = levels.iter().map(place).collect();
            assert_eq!(
                domain.values(&numbered(draws.len()), draws.into_iter()),
                column,
                "{count}"
            );
            let (least, most) = (of_cell[..256].iter().min(), of_cell[..256].iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{count}");
        }
    }

    #[test]
    fn integers_come_back_as_themselves() {
        let column = Values::Number {
            values: vec![3.0, 4.0, 4.0, 9.0, f64::NAN],
            decimals: Some(0),
        };
        let mut domain = Domain::of(&column, None);
        let levels = domain.of_rows(&column);
        let back = domain.values(
            &numbered(levels.len()),
            levels.iter().map(|level| (*level, 0.7)),
        );
        assert_eq!(back, column);
        let counts = histogram(&levels, domain.levels());
        let mut measured = Measured {
            counts: counts.iter().map(|c| 100.0 * *c as f64).collect(),
            variance: 1.0,
        };
        domain.compress(&mut measured);
        let levels = domain.of_rows(&column);
        let back = domain.values(
            &numbered(levels.len()),
            levels.iter().map(|level| (*level, 0.999)),
        );
        assert_eq!(
            back, column,
            "cells without rows have no share of their level"
        );
    }
}
