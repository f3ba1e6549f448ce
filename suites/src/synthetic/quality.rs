//! How much synthetic rows are like real ones, how useful they are, and what they give away.
//!
//! Scores lie between 0 and 1, 1 being best, where nothing else is said. A docstring that names a metric of `SDMetrics` (version 0.32)
//! has its formula, unless it says how it differs. Every score stands beside two floors: a bootstrap of the real rows, which says what as many rows of the same
//! distribution would score (and, of privacy, what copying does), and independent columns, which says what a generator scores that learned no dependency.

pub mod closeness;
pub mod columns;
pub mod constraints;
pub mod copies;
pub mod detection;
pub mod features;
pub mod figures;
pub mod marginals;
pub mod pairs;
pub mod profile;
pub mod report;
pub mod requirement;
pub mod scores;
pub mod utility;

use super::random::permutation::Permutation;
use super::table::Table;

/// At most so many rows, drawn at random without repetition: files are often sorted, and their first rows are like no others.
fn some_rows(table: &Table, most: usize, seed: u64, stream: u64) -> Table {
    let rows = table.rows();
    if rows == 0 {
        return table.clone();
    }
    let order = Permutation::new(seed, stream, rows as u64);
    let places = (0..rows.min(most) as u64).map(|place| order.at(place) as usize);
    table.select(&places.collect::<Vec<_>>())
}

/// At most so many of the numbers below `of`, drawn at random without repetition, in ascending order.
fn some_places(of: usize, most: usize, seed: u64, stream: u64) -> Vec<usize> {
    if of <= most {
        return (0..of).collect();
    }
    let order = Permutation::new(seed, stream, of as u64);
    let mut places: Vec<usize> = (0..most as u64)
        .map(|place| order.at(place) as usize)
        .collect();
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::some_rows;
    use crate::synthetic::table::{Values, census};

    #[test]
    fn rows_are_drawn_from_all_of_a_table() {
        let table = census::rows(1, 0, 3000);
        let Values::Number { values: all, .. } = &table.columns[0].values else {
            panic!("numbers")
        };
        let mut order: Vec<usize> = (0..3000).collect();
        order.sort_by(|a, b| all[*a].total_cmp(&all[*b]));
        let sorted = table.select(&order);
        let Values::Number { values, .. } = &some_rows(&sorted, 500, 1, 0).columns[0].values else {
            panic!("numbers")
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert_eq!(values.len(), 500);
        assert!((mean(values) - mean(all)).abs() < 3.0);
        assert_eq!(some_rows(&table, 9000, 1, 0).rows(), 3000);
    }
}
