//! What is drawn of two tables side by side: the distribution of every column, and how strongly each pair hangs together.

use std::collections::HashMap;

use serde::Serialize;

use crate::synthetic::table::{Column, MISSING, Table, Values, number_text};

/// Bins of a column of numbers, and most labels of a column of categories that have one of their own.
const BINS: usize = 24;
const LABELS: usize = 12;
/// Bins of numbers where pairs are looked at, equally full.
const PAIR_BINS: usize = 8;

/// The shares of a column's values in the real and in the synthetic table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// The column.
    pub name: String,
    /// Whether bins are of numbers, and so have an order.
    pub is_number: bool,
    /// Labels, or where bins of numbers begin; what is in none is in the last.
    pub bins: Vec<String>,
    /// The share of each bin in the real table, and in the synthetic one, of the values that are there.
    pub shares: [Vec<f64>; 2],
}

/// How strongly two columns hang together in the real and in the synthetic table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Association {
    /// Places of the columns.
    pub columns: [usize; 2],
    /// Cramér's V, from 0 to 1; absent where one of the columns does not vary.
    pub strength: [Option<f64>; 2],
}

/// The distributions of all columns that are no keys. `synthetic` is aligned with `real`.
pub fn distributions(real: &Table, synthetic: &Table) -> Vec<Distribution> {
    let columns = real.columns.iter().zip(&synthetic.columns);
    columns.filter_map(|(a, b)| distribution(a, b)).collect()
}

fn distribution(real: &Column, synthetic: &Column) -> Option<Distribution> {
    let (is_number, bins, shares) = match (&real.values, &synthetic.values) {
        (
            Values::Number {
                values: a,
                decimals,
            },
            Values::Number { values: b, .. },
        ) => {
            let edges = edges(a, *decimals)?;
            let words = edges.iter().map(|edge| number_text(*edge, *decimals));
            let shares = [a, b].map(|values| {
                let present = values.iter().filter(|x| !x.is_nan());
                let bin = |x: &f64| edges.partition_point(|edge| edge <= x).saturating_sub(1);
                shares(present.map(bin), edges.len())
            });
            (true, words.collect(), shares)
        }
        (Values::Category { codes: a, labels }, Values::Category { codes: b, .. }) => {
            let (bin, bins) = frequent(a, labels);
            let others = bins.len() - 1;
            let shares = [a, b].map(|codes| {
                let present = codes.iter().filter(|code| **code != MISSING);
                let of = |code: &u32| bin.get(code).copied().unwrap_or(others);
                shares(present.map(of), bins.len())
            });
            (false, bins, shares)
        }
        _ => return None,
    };
    Some(Distribution {
        name: real.name.clone(),
        is_number,
        bins,
        shares,
    })
}

/// Where bins begin: equally wide from the least to the largest, but for the outer thousandths, which go to the outer bins.
fn edges(values: &[f64], decimals: Option<u8>) -> Option<Vec<f64>> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let (low, high) = (sorted[last / 1000], sorted[last - last / 1000]);
    if high <= low {
        return Some(vec![low]);
    }
    // Integers: whole ones to a bin, as many to each.
    let width = (high - low) / BINS as f64;
    let width = if decimals == Some(0) {
        width.ceil().max(1.0)
    } else {
        width
    };
    let bins = ((high - low) / width).floor() as usize + usize::from(decimals == Some(0));
    Some(
        (0..bins.max(1))
            .map(|bin| low + bin as f64 * width)
            .collect(),
    )
}

/// A bin for each of the most frequent labels, one for the others, and what they are called.
fn frequent(codes: &[u32], labels: &[String]) -> (HashMap<u32, usize>, Vec<String>) {
    let mut counts = vec![0_u64; labels.len()];
    for code in codes.iter().filter(|code| **code != MISSING) {
        counts[*code as usize] += 1;
    }
    let mut order: Vec<u32> = (0..labels.len() as u32).collect();
    order.sort_by_key(|code| std::cmp::Reverse(counts[*code as usize]));
    order.truncate(LABELS);
    let mut bins: Vec<String> = order
        .iter()
        .map(|code| labels[*code as usize].clone())
        .collect();
    bins.push("others".into());
    (order.into_iter().zip(0..).collect(), bins)
}

fn shares(bins: impl Iterator<Item = usize>, of: usize) -> Vec<f64> {
    let (mut counts, mut total) = (vec![0.0; of], 0.0);
    for bin in bins {
        counts[bin] += 1.0;
        total += 1.0;
    }
    counts
        .iter()
        .map(|count| count / f64::max(total, 1.0))
        .collect()
}

/// How strongly all pairs of columns hang together. `synthetic` is aligned with `real`.
pub fn associations(real: &Table, synthetic: &Table) -> Vec<Association> {
    let codes: Vec<Option<[Vec<u32>; 2]>> = real
        .columns
        .iter()
        .zip(&synthetic.columns)
        .map(|(a, b)| codes(&a.values, &b.values))
        .collect();
    let pairs = (0..codes.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    let strength = |(a, b): (usize, usize)| {
        let (x, y) = (codes[a].as_ref()?, codes[b].as_ref()?);
        Some(Association {
            columns: [a, b],
            strength: [0, 1].map(|side| cramer(&x[side], &y[side])),
        })
    };
    pairs.filter_map(strength).collect()
}

/// The codes of a column in both tables, numbers by their octile in the real one; a missing value is a code of its own.
fn codes(real: &Values, synthetic: &Values) -> Option<[Vec<u32>; 2]> {
    match (real, synthetic) {
        (Values::Number { values: a, .. }, Values::Number { values: b, .. }) => {
            let mut sorted: Vec<f64> = a.iter().copied().filter(|x| !x.is_nan()).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let bound = |bin: usize| sorted.get(bin * sorted.len() / PAIR_BINS).copied();
            let bounds: Vec<f64> = (1..PAIR_BINS).filter_map(bound).collect();
            let code = |x: &f64| {
                if x.is_nan() {
                    MISSING
                } else {
                    bounds.partition_point(|bound| bound <= x) as u32
                }
            };
            Some([a, b].map(|values| values.iter().map(code).collect()))
        }
        (Values::Category { codes: a, .. }, Values::Category { codes: b, .. }) => {
            Some([a.clone(), b.clone()])
        }
        _ => None,
    }
}

/// Cramér's V of two columns of codes: the root of chi-square over rows and the lesser number of values less one. H. Cramér,
/// "Mathematical Methods of Statistics", 1946, section 21.9.
fn cramer(a: &[u32], b: &[u32]) -> Option<f64> {
    let mut joint: HashMap<(u32, u32), f64> = HashMap::new();
    let mut singles: [HashMap<u32, f64>; 2] = Default::default();
    for (a, b) in a.iter().zip(b) {
        *joint.entry((*a, *b)).or_default() += 1.0;
        *singles[0].entry(*a).or_default() += 1.0;
        *singles[1].entry(*b).or_default() += 1.0;
    }
    let lesser = singles[0].len().min(singles[1].len());
    if lesser < 2 {
        return None;
    }
    // Chi-square over rows is sum of n_ab^2 / (n_a n_b), less 1; in an order of its own, so that the sum has the same bits each time.
    let mut joint: Vec<_> = joint.into_iter().collect();
    joint.sort_unstable_by_key(|(pair, _)| *pair);
    let terms = joint
        .iter()
        .map(|((a, b), count)| count * count / (singles[0][a] * singles[1][b]));
    let square = (terms.sum::<f64>() - 1.0) / (lesser - 1) as f64;
    Some(square.clamp(0.0, 1.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::{associations, cramer, distributions};
    use crate::synthetic::generators::independent::Independent;
    use crate::synthetic::table::census;

    #[test]
    fn shares_add_up_and_are_alike_where_tables_are() {
        let real = census::rows(1, 0, 4000);
        let made = real.align(&census::rows(1, 4000, 4000)).unwrap();
        let all = distributions(&real, &made);
        assert_eq!(all.len(), 15);
        for distribution in &all {
            let [a, b] = &distribution.shares;
            assert_eq!(
                (a.len(), b.len()),
                (distribution.bins.len(), distribution.bins.len())
            );
            assert!(
                (a.iter().sum::<f64>() - 1.0).abs() < 1e-9
                    && (b.iter().sum::<f64>() - 1.0).abs() < 1e-9
            );
            let most = a
                .iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            assert!(most < 0.05, "{}: {most}", distribution.name);
        }
    }

    #[test]
    fn associations_are_those_of_the_formula_and_lost_by_independent_columns() {
        assert_eq!(cramer(&[0, 0, 1, 1], &[1, 1, 0, 0]), Some(1.0));
        assert_eq!(cramer(&[0, 0, 1, 1], &[0, 1, 0, 1]), Some(0.0));
        // 30, 10; 10, 30: chi-square 20 of 80.
        let a: Vec<u32> = (0..80).map(|i| u32::from(i >= 40)).collect();
        let b: Vec<u32> = (0..80)
            .map(|i| u32::from((30..40).contains(&i) || i >= 50))
            .collect();
        assert!((cramer(&a, &b).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(cramer(&[1, 1], &[0, 1]), None);
        let real = census::rows(1, 0, 4000);
        let made = real
            .align(&Independent::fit(&real).unwrap().rows(1, 0, 4000))
            .unwrap();
        let all = associations(&real, &made);
        assert_eq!(all.len(), 105);
        let employed = all.iter().find(|pair| pair.columns == [5, 6]).unwrap();
        assert!(
            employed.strength[0].unwrap() > 0.4 && employed.strength[1].unwrap() < 0.1,
            "{employed:?}"
        );
    }
}
