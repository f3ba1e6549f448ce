//! Marginals of several columns at once.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{MISSING, Table, Values};

/// Bins of a column of numbers, each with as many real rows.
const BINS: usize = 16;

/// Mean total-variation distance between the `K`-way marginals of two tables, over all sets of `K` columns or, where there are
/// more, `most` of them drawn at random: 0 is best, 1 worst. Numbers are in 16 bins of equally many real rows; a missing value is a
/// value; keys are left out. `None` where there are fewer than `K` columns, or no rows.
///
/// This is the error that R. `McKenna`, G. Miklau and D. Sheldon report ("Winning the NIST Contest", 2021, section 5).
pub fn error<const K: usize>(
    real: &Table,
    synthetic: &Table,
    most: usize,
    seed: u64,
) -> Option<f64> {
    error_of_small::<K>(real, synthetic, most, u64::MAX, seed)
}

/// As [`error`], without those sets whose columns' values, as they occur in the real table, make more than `most_cells` combinations. So
/// has it `private-pgm` (its `max_cells`), which takes all values of a domain, though. `None` where no set is left, too.
pub fn error_of_small<const K: usize>(
    real: &Table,
    synthetic: &Table,
    most: usize,
    most_cells: u64,
    seed: u64,
) -> Option<f64> {
    let columns: Vec<[Vec<u32>; 2]> = real
        .columns
        .iter()
        .zip(&synthetic.columns)
        .filter_map(|(a, b)| levels(&a.values, &b.values))
        .collect();
    if columns.len() < K || real.rows() == 0 || synthetic.rows() == 0 {
        return None;
    }
    let different = columns.iter().map(|[real, _]| different(real));
    let cells: Vec<u64> = different.collect();
    let sets: Vec<[usize; K]> = small(sets(columns.len(), most, seed), &cells, most_cells);
    if sets.is_empty() {
        return None;
    }
    let distance = |set: &[usize; K]| {
        let of = |table: usize| shares(set.map(|column| columns[column][table].as_slice()));
        let (a, b) = (of(0), of(1));
        let shared: f64 = a
            .iter()
            .map(|(key, share)| (share - b.get(key).unwrap_or(&0.0)).abs())
            .sum();
        let beyond: f64 = b
            .iter()
            .filter(|(key, _)| !a.contains_key(*key))
            .map(|(_, share)| share)
            .sum();
        f64::midpoint(shared, beyond)
    };
    let distances: Vec<f64> = sets.par_iter().map(distance).collect();
    // Hash maps have no order, so sums differ in their last bits: not in these.
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    Some((mean * 1e12).round() / 1e12)
}

/// The share of rows with each combination of codes.
fn shares<const K: usize>(columns: [&[u32]; K]) -> HashMap<[u32; K], f64> {
    let rows = columns[0].len();
    let mut counts: HashMap<[u32; K], f64> = HashMap::new();
    for row in 0..rows {
        let key = columns.map(|column| column[row]);
        *counts.entry(key).or_default() += 1.0;
    }
    for count in counts.values_mut() {
        *count /= rows as f64;
    }
    counts
}

/// How many codes differ.
fn different(codes: &[u32]) -> u64 {
    codes.iter().collect::<HashSet<_>>().len() as u64
}

/// Sets of columns of so many different values each that make no more than so many combinations.
fn small<const K: usize>(
    mut sets: Vec<[usize; K]>,
    different: &[u64],
    most_cells: u64,
) -> Vec<[usize; K]> {
    sets.retain(|set| {
        let cells = set.iter().fold(1_u64, |cells, column| {
            cells.saturating_mul(different[*column])
        });
        cells <= most_cells
    });
    sets
}

/// Whether [`error_of_small`] finds sets of `K` columns in a table.
pub fn has_sets<const K: usize>(table: &Table, most_cells: u64) -> bool {
    let levels = table.columns.iter().filter_map(|column| {
        let [levels, _] = levels(&column.values, &column.values)?;
        Some(different(&levels))
    });
    let mut different: Vec<u64> = levels.collect();
    different.sort_unstable();
    let least = different.iter().take(K);
    let cells = least.fold(1_u64, |cells, levels| cells.saturating_mul(*levels));
    different.len() >= K && table.rows() > 0 && cells <= most_cells
}

/// The levels of a column in both tables; `None` of keys.
pub fn levels(real: &Values, synthetic: &Values) -> Option<[Vec<u32>; 2]> {
    match (real, synthetic) {
        (Values::Number { values: a, .. }, Values::Number { values: b, .. }) => {
            let mut sorted: Vec<f64> = a.iter().copied().filter(|x| !x.is_nan()).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let mut edges: Vec<f64> = (1..BINS)
                .filter_map(|i| sorted.get(i * sorted.len() / BINS).copied())
                .collect();
            edges.dedup();
            let level = |x: &f64| {
                if x.is_nan() {
                    MISSING
                } else {
                    edges.partition_point(|edge| edge <= x) as u32
                }
            };
            Some([a, b].map(|values| values.iter().map(level).collect()))
        }
        (Values::Category { codes: a, .. }, Values::Category { codes: b, .. }) => {
            Some([a.clone(), b.clone()])
        }
        _ => None,
    }
}

/// All sets of `K` of `n` columns, or `most` of them drawn at random without repetition; each in ascending order.
fn sets<const K: usize>(n: usize, most: usize, seed: u64) -> Vec<[usize; K]> {
    if count(n, K) <= most as u128 {
        return all_sets(n);
    }
    let mut draws = Draws::of_row(seed, 0, 0);
    let (mut sets, mut known) = (vec![], HashSet::new());
    while sets.len() < most {
        let mut set = [0; K];
        for place in 0..K {
            // One of the columns that are not in it yet, counted past those that are.
            let mut column = draws.below((n - place) as u64) as usize;
            for before in &set[..place] {
                column += usize::from(column >= *before);
            }
            set[place] = column;
            set[..=place].sort_unstable();
        }
        if known.insert(set) {
            sets.push(set);
        }
    }
    sets
}

/// How many sets of `k` of `n` things there are, or the largest number where that is more.
fn count(n: usize, k: usize) -> u128 {
    (0..k).fold(1_u128, |sets, place| {
        sets.saturating_mul((n - place) as u128) / (place as u128 + 1)
    })
}

/// All of them, in the order of a dictionary.
fn all_sets<const K: usize>(n: usize) -> Vec<[usize; K]> {
    let mut sets = vec![];
    let mut set: [usize; K] = std::array::from_fn(|place| place);
    loop {
        sets.push(set);
        let Some(place) = (0..K).rev().find(|place| set[*place] < n - K + place) else {
            return sets;
        };
        set[place] += 1;
        for next in place + 1..K {
            set[next] = set[next - 1] + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{error, sets};
    use crate::synthetic::table::{Column, Table, Values, categories, census};

    #[test]
    fn sets_are_all_or_different() {
        let all = sets::<3>(5, 100, 0);
        assert_eq!((all.len(), all[0], all[9]), (10, [0, 1, 2], [2, 3, 4]));
        // One fewer than there are: nearly all must be met.
        for (n, most) in [(15, 50), (15, 454), (3, 1)] {
            let mut some = sets::<2>(n, most.min(n * (n - 1) / 2 - 1), 3);
            let drawn = some.len();
            assert!(some.iter().all(|[a, b]| a < b && *b < n));
            some.sort_unstable();
            some.dedup();
            assert_eq!(some.len(), drawn);
        }
    }

    #[test]
    fn of_many_columns_sets_are_drawn_evenly_without_making_all() {
        // 166 billion sets: whoever made them would not come to an end.
        let some = sets::<3>(10_000, 455, 1);
        assert_eq!(some.len(), 455);
        let low = some.iter().flatten().filter(|column| **column < 5_000);
        assert!((600..765).contains(&low.count()));
        // Of 4 columns there are 4 sets of 3: each is left out about as often.
        let mut counts = [0; 4];
        for seed in 0..4_000 {
            counts[6 - sets::<3>(4, 1, seed)[0].iter().sum::<usize>()] += 1;
        }
        assert!(counts.iter().all(|n| (900..1100).contains(n)), "{counts:?}");
    }

    #[test]
    fn sets_of_many_combinations_are_left_out() {
        // Of 2, 2, 3 and 60 values: the sets without the last have 12 combinations.
        let labels =
            |of: usize| categories((0..600).map(move |row: usize| format!("l{}", row / 7 % of)));
        let column = |name: &str, values: Values| Column {
            name: name.into(),
            values,
        };
        let table = Table::new(vec![
            column("a", labels(2)),
            column("b", categories((0..600).map(|row| (row % 2).to_string()))),
            column("c", labels(3)),
            column("d", labels(60)),
        ])
        .unwrap();
        let mut other = table.clone();
        other.columns[3] = column("d", labels(1));
        let error = |most_cells| super::error_of_small::<3>(&table, &other, 50, most_cells, 1);
        assert_eq!(error(12), Some(0.0), "what differs is left out");
        assert!(error(13 * 60).unwrap() > 0.5);
        assert_eq!(error(11), None);
        let has = |most_cells| super::has_sets::<3>(&table, most_cells);
        assert_eq!([has(11), has(12)], [false, true]);
    }

    #[test]
    fn labels_beyond_sixteen_bits_are_told_apart() {
        let table = |shift: u32| {
            // Code `i + 65536` where the other table has code `i`.
            let texts = (0..70_000_u32).chain((0..100).map(|i| i + shift));
            let texts = texts.map(|i| i.to_string());
            let column = |name: &str| Column {
                name: name.into(),
                values: categories(texts.clone()),
            };
            Table::new(vec![column("a"), column("b")]).unwrap()
        };
        let rows: Vec<usize> = (70_000..70_100).collect();
        let (real, made) = (table(0).select(&rows), table(65_536).select(&rows));
        assert_eq!(error::<2>(&real, &made, 1, 0), Some(1.0));
    }

    #[test]
    fn a_table_is_no_distance_from_itself_and_some_from_another() {
        let (a, b) = (census::rows(1, 0, 2000), census::rows(2, 0, 2000));
        assert!(error::<2>(&a, &a, 30, 0).unwrap() < 1e-15);
        let other = error::<2>(&a, &b, 30, 0).unwrap();
        assert!((0.01..0.2).contains(&other), "{other}");
        assert!(error::<16>(&a, &b, 30, 0).is_none());
    }
}
