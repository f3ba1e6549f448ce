//! Marginals of several columns at once.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{MISSING, Table, Values};

/// Bins of a column of numbers, each with as many real rows.
const BINS: usize = 16;

/// Mean total-variation distance between the `k`-way marginals of two tables, over all sets of `k` columns or, where there are
/// more, `most` of them drawn at random: 0 is best, 1 worst. Numbers are in 16 bins of equally many real rows; a missing value is a
/// value; keys are left out. `None` where there are fewer than `k` columns, or no rows.
///
/// This is the error that R. `McKenna`, G. Miklau and D. Sheldon report ("Winning the NIST Contest", 2021, section 5).
pub fn error(real: &Table, synthetic: &Table, k: usize, most: usize, seed: u64) -> Option<f64> {
    let columns: Vec<[Vec<u32>; 2]> = real
        .columns
        .iter()
        .zip(&synthetic.columns)
        .filter_map(|(a, b)| levels(&a.values, &b.values))
        .collect();
    if columns.len() < k || real.rows() == 0 || synthetic.rows() == 0 {
        return None;
    }
    let sets = sets(columns.len(), k, most, seed);
    let distance = |set: &Vec<usize>| {
        let of = |table: usize| {
            let chosen: Vec<&[u32]> = set
                .iter()
                .map(|column| columns[*column][table].as_slice())
                .collect();
            shares(&chosen)
        };
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

/// The share of rows with each combination of codes, which are below 2^16 or missing.
fn shares(columns: &[&[u32]]) -> HashMap<u64, f64> {
    let rows = columns[0].len();
    let mut counts: HashMap<u64, f64> = HashMap::new();
    for row in 0..rows {
        let key = columns.iter().fold(0_u64, |key, column| {
            key << 16 | u64::from(column[row] & 0xFFFF)
        });
        *counts.entry(key).or_default() += 1.0;
    }
    for count in counts.values_mut() {
        *count /= rows as f64;
    }
    counts
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

/// All sets of `k` of `n` columns, or `most` of them drawn at random without repetition.
fn sets(n: usize, k: usize, most: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..k {
        all = all
            .into_iter()
            .flat_map(|set| {
                let from = set.last().map_or(0, |last| last + 1);
                (from..n).map(move |next| [set.clone(), vec![next]].concat())
            })
            .collect();
    }
    if all.len() > most {
        let mut draws = Draws::of_row(seed, 0, 0);
        for place in 0..most {
            let other = place + draws.below((all.len() - place) as u64) as usize;
            all.swap(place, other);
        }
        all.truncate(most);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{error, sets};
    use crate::synthetic::table::census;

    #[test]
    fn sets_are_all_or_different() {
        assert_eq!(sets(5, 3, 100, 0).len(), 10);
        let mut some = sets(15, 3, 50, 3);
        assert_eq!(some.len(), 50);
        some.sort();
        some.dedup();
        assert_eq!(some.len(), 50);
    }

    #[test]
    fn a_table_is_no_distance_from_itself_and_some_from_another() {
        let (a, b) = (census::rows(1, 0, 2000), census::rows(2, 0, 2000));
        assert!(error(&a, &a, 2, 30, 0).unwrap() < 1e-15);
        let other = error(&a, &b, 2, 30, 0).unwrap();
        assert!((0.01..0.2).contains(&other), "{other}");
        assert!(error(&a, &b, 16, 30, 0).is_none());
    }
}
