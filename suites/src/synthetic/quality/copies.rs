//! What synthetic rows give away: copies, and rows that lie too close to real ones.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::synthetic::table::{MISSING, Table, Values};

/// How close synthetic rows come to real ones.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Closeness {
    /// Share of synthetic rows that are a real row.
    pub exact_copies: f64,
    /// Share of synthetic rows that occurred before among them.
    pub duplicates: f64,
    /// Median distance of a synthetic row from its closest real row.
    pub distance: f64,
    /// The same of rows of independent uniform values, which know nothing of anybody.
    pub random_distance: f64,
    /// `min(1, distance / random_distance)`: 1 where synthetic rows are no closer than random ones. `SDMetrics`:
    /// `DCRBaselineProtection`.
    pub baseline_protection: f64,
    /// `2 (1 - max(1/2, share))`, with the share of synthetic rows that are closer to the rows learned from than to rows held out: 1
    /// where it makes no difference, 0 where all are. `SDMetrics`: `DCROverfittingProtection`.
    pub overfit_protection: f64,
}

/// Compares synthetic rows with those that were learned from, `train`, and as many others of the same distribution, `held_out`.
/// Distances are Gower's: for each column 0 to 1, numbers by the range of the real ones, categories by equality, then the mean (J.
/// Gower, "A general coefficient of similarity and some of its properties", Biometrics 27, 1971). `None` where there is nothing.
pub fn closeness(
    train: &Table,
    held_out: &Table,
    synthetic: &Table,
    random: &Table,
) -> Option<Closeness> {
    if train.rows() == 0 || held_out.rows() == 0 || synthetic.rows() == 0 || random.rows() == 0 {
        return None;
    }
    let scales = scales(train);
    // As many of either, so that none is closer by number alone.
    let rows = train.rows().min(held_out.rows());
    let some = |table: &Table| points(&table.select(&(0..rows).collect::<Vec<_>>()), &scales);
    let (near, far) = (some(train), some(held_out));
    let all = points(train, &scales);
    let width = scales.len();
    let made = points(synthetic, &scales);
    let distance = median(&distances(&made, &all, width));
    let random_distance = median(&distances(&points(random, &scales), &all, width));
    let closer = distances(&made, &near, width)
        .into_iter()
        .zip(distances(&made, &far, width));
    // A row as far from both is half closer.
    let share = closer
        .map(|(n, f)| {
            if n < f {
                1.0
            } else if n > f {
                0.0
            } else {
                0.5
            }
        })
        .sum::<f64>()
        / synthetic.rows() as f64;
    Some(Closeness {
        exact_copies: exact_copies(train, synthetic),
        duplicates: duplicates(synthetic),
        distance,
        random_distance,
        baseline_protection: if random_distance > 0.0 {
            (distance / random_distance).min(1.0)
        } else {
            0.0
        },
        overfit_protection: 2.0 * (1.0 - share.max(0.5)),
    })
}

/// The least and largest number of each column; of categories nothing.
fn scales(table: &Table) -> Vec<Option<(f64, f64)>> {
    let of = |values: &Values| match values {
        Values::Number { values, .. } => {
            let present = values.iter().copied().filter(|x| !x.is_nan());
            Some(
                present.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| {
                    (l.min(x), h.max(x))
                }),
            )
        }
        _ => None,
    };
    table
        .columns
        .iter()
        .map(|column| of(&column.values))
        .collect()
}

/// Rows as points: numbers scaled to the real range, codes as negative integers so that they meet only themselves.
fn points(table: &Table, scales: &[Option<(f64, f64)>]) -> Vec<f32> {
    let width = scales.len();
    let mut all = vec![0.0_f32; width * table.rows()];
    for (column, (values, scale)) in table
        .columns
        .iter()
        .map(|c| &c.values)
        .zip(scales)
        .enumerate()
    {
        for row in 0..table.rows() {
            all[row * width + column] = match (values, scale) {
                (Values::Number { values, .. }, Some((low, high))) if high > low => {
                    ((values[row] - low) / (high - low)) as f32
                }
                (Values::Category { codes, .. }, _) if codes[row] != MISSING => {
                    -2.0 - codes[row] as f32
                }
                (Values::Number { values, .. }, _) if !values[row].is_nan() => 0.0,
                (Values::Key { .. }, _) => 0.0,
                _ => f32::NAN,
            };
        }
    }
    all
}

/// From each of `from` to the closest of `to`.
fn distances(from: &[f32], to: &[f32], width: usize) -> Vec<f32> {
    let closest = |row: &[f32]| {
        to.chunks_exact(width)
            .map(|other| gower(row, other))
            .fold(f32::INFINITY, f32::min)
    };
    from.par_chunks_exact(width).map(closest).collect()
}

fn gower(a: &[f32], b: &[f32]) -> f32 {
    let part = |(x, y): (&f32, &f32)| {
        if x.is_nan() || y.is_nan() {
            f32::from(u8::from(x.is_nan() != y.is_nan()))
        } else if *x <= -2.0 || *y <= -2.0 {
            f32::from(u8::from(x.to_bits() != y.to_bits()))
        } else {
            (x - y).abs().min(1.0)
        }
    };
    a.iter().zip(b).map(part).sum::<f32>() / a.len() as f32
}

fn median(distances: &[f32]) -> f64 {
    let mut sorted = distances.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    f64::from(sorted[sorted.len() / 2])
}

/// A row as text: what a reader would call the same.
fn text(table: &Table, row: usize) -> String {
    let values = table
        .columns
        .iter()
        .filter(|c| !matches!(c.values, Values::Key { .. }));
    values
        .map(|c| c.values.text(row))
        .collect::<Vec<_>>()
        .join("\u{1f}")
}

/// Share of synthetic rows that are a real row, keys aside.
pub fn exact_copies(real: &Table, synthetic: &Table) -> f64 {
    let known: HashSet<String> = (0..real.rows()).map(|row| text(real, row)).collect();
    let copies = (0..synthetic.rows()).filter(|row| known.contains(&text(synthetic, *row)));
    copies.count() as f64 / synthetic.rows().max(1) as f64
}

/// Share of rows that occurred before in their table, keys aside.
pub fn duplicates(table: &Table) -> f64 {
    let mut seen = HashSet::new();
    let again = (0..table.rows()).filter(|row| !seen.insert(text(table, *row)));
    again.count() as f64 / table.rows().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{closeness, duplicates};
    use crate::synthetic::generators::independent::Independent;
    use crate::synthetic::table::census;

    #[test]
    fn copies_are_found_and_fresh_rows_are_none() {
        let (train, held_out) = (census::rows(1, 0, 400), census::rows(1, 400, 400));
        let random = Independent::fit(&train).unwrap().rows(5, 0, 300);
        let copied = closeness(&train, &held_out, &train, &random).unwrap();
        assert!(
            copied.exact_copies > 0.999 && copied.overfit_protection < 0.01,
            "{copied:?}"
        );
        assert!(copied.distance < 1e-9 && copied.baseline_protection < 1e-9);
        let fresh = closeness(&train, &held_out, &census::rows(2, 0, 400), &random).unwrap();
        assert!(
            fresh.exact_copies < 0.01 && fresh.overfit_protection > 0.85,
            "{fresh:?}"
        );
        let twice: Vec<usize> = (0..10).chain(0..10).collect();
        assert!((duplicates(&train.select(&twice)) - 0.5).abs() < 1e-12);
    }
}
