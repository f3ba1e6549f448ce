//! Copies: synthetic rows that are real rows, or that came before. Whole tables are compared, since neither costs more than reading
//! them.

use std::collections::HashSet;

use assay_protocol::Digest;
use rayon::prelude::*;

use crate::synthetic::table::{Column, Table, Values};

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

/// How many keys of a column are keys of the real one.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CopiedKeys {
    /// The column.
    pub column: String,
    /// Synthetic rows whose key is one of the real table's.
    pub copied: usize,
}

/// The same of each column of keys of a synthetic table, aligned with the real one.
pub fn copied_keys(real: &Table, synthetic: &Table) -> Vec<CopiedKeys> {
    let columns = real.columns.iter().zip(&synthetic.columns);
    let of = |(real, synthetic): (&Column, &Column)| {
        let (Values::Key { values: known }, Values::Key { values: made }) =
            (&real.values, &synthetic.values)
        else {
            return None;
        };
        let known: HashSet<&String> = known.iter().flatten().collect();
        let is_copied = |key: &&String| known.contains(*key);
        Some(CopiedKeys {
            column: real.name.clone(),
            copied: made.iter().flatten().filter(is_copied).count(),
        })
    };
    columns.filter_map(of).collect()
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
    use super::{copied_keys, copies, duplicates, exact_copies};
    use crate::synthetic::table::{Values, census, table_of};

    #[test]
    fn keys_that_are_real_ones_are_counted() {
        let keys = |names: &[&str]| Values::Key {
            values: names
                .iter()
                .map(|name| Some((*name).to_owned()).filter(|name| !name.is_empty()))
                .collect(),
        };
        let real = table_of([("id", keys(&["a", "b", ""]))]);
        let made = table_of([("id", keys(&["b", "b", "", "x"]))]);
        let found = copied_keys(&real, &made);
        assert_eq!((found.len(), found[0].copied), (1, 2));
    }

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
