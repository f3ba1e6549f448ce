//! Copies: synthetic rows that are real rows, or that came before. Whole tables are compared, since neither costs more than reading
//! them.

use std::collections::HashSet;

use assay_protocol::Digest;
use rayon::prelude::*;

use crate::synthetic::table::{Table, Values};

/// Synthetic rows that are no new ones, among all of a table, keys aside.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Copies {
    /// Synthetic rows that are a real row.
    pub copied_rows: usize,
    /// Synthetic rows that occurred before among them.
    pub repeated_rows: usize,
    /// [`exact_copies`].
    pub exact_copies: f64,
    /// [`duplicates`].
    pub duplicates: f64,
}

/// What of a synthetic table, aligned with the real one, is copied or repeated.
pub fn copies(real: &Table, synthetic: &Table) -> Copies {
    let synthetic = hashes(synthetic);
    let (copied_rows, repeated_rows) = (copied(&hashes(real), &synthetic), repeated(&synthetic));
    Copies {
        copied_rows,
        repeated_rows,
        exact_copies: share(copied_rows, synthetic.len()),
        duplicates: share(repeated_rows, synthetic.len()),
    }
}

/// Share of synthetic rows that are a real row, keys aside, from 0 to 1; the tables are aligned.
pub fn exact_copies(real: &Table, synthetic: &Table) -> f64 {
    share(copied(&hashes(real), &hashes(synthetic)), synthetic.rows())
}

/// Share of rows that occurred before in their table, keys aside, from 0 to 1.
pub fn duplicates(table: &Table) -> f64 {
    share(repeated(&hashes(table)), table.rows())
}

/// Each row as text, numbers with the digits of their column: what a reader would call the same. Hashed, for the sake of memory.
fn hashes(table: &Table) -> Vec<Digest> {
    let hash = |row: usize| {
        let values = table.columns.iter().map(|column| &column.values);
        let values = values.filter(|values| !matches!(values, Values::Key { .. }));
        let texts: Vec<_> = values.map(|values| values.text(row)).collect();
        Digest::of(texts.join("\u{1f}"))
    };
    (0..table.rows()).into_par_iter().map(hash).collect()
}

fn copied(real: &[Digest], synthetic: &[Digest]) -> usize {
    let known: HashSet<&Digest> = real.iter().collect();
    synthetic.iter().filter(|row| known.contains(row)).count()
}

fn repeated(rows: &[Digest]) -> usize {
    rows.len() - rows.iter().collect::<HashSet<_>>().len()
}

fn share(count: usize, rows: usize) -> f64 {
    count as f64 / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{copies, duplicates, exact_copies};
    use crate::synthetic::table::census;

    #[test]
    fn copies_and_repeated_rows_are_counted() {
        let (real, other) = (census::rows(1, 0, 400), census::rows(2, 0, 400));
        let all = copies(&real, &real);
        assert_eq!((all.copied_rows, all.repeated_rows), (400, 0));
        assert!(exact_copies(&real, &other) < 0.01);
        let twice: Vec<usize> = (0..10).chain(0..10).collect();
        assert!((duplicates(&real.select(&twice)) - 0.5).abs() < 1e-12);
        let none = copies(&real, &real.select(&[]));
        assert!(none.exact_copies.abs() < 1e-15 && none.duplicates.abs() < 1e-15);
    }
}
