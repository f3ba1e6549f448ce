//! Which pairs are measured: a tree, its edges chosen one by one by the exponential mechanism.

use rayon::prelude::*;

use super::Measured;
use crate::synthetic::generators::FitError;
use crate::synthetic::privacy::accountant::Accountant;
use crate::synthetic::privacy::{discrete, zcdp};
use crate::synthetic::random::Bits;

/// The edges of a tree over all columns. The score of a pair is the distance in the 1-norm between its counts and what its
/// columns, if independent, would give: one row more or less changes it by at most one (`McKenna` and others, algorithm
/// 3). Scores are rounded down to integers, which keeps that so.
pub fn tree(
    levels: &[Vec<u32>],
    sizes: &[usize],
    singles: &[Measured],
    rho: f64,
    accountant: &mut Accountant,
    bits: &mut impl Bits,
) -> Result<Vec<(usize, usize)>, FitError> {
    let columns = sizes.len();
    let pairs: Vec<(usize, usize)> = (0..columns)
        .flat_map(|b| (0..b).map(move |a| (a, b)))
        .collect();
    let scores: Vec<i64> = pairs
        .par_iter()
        .map(|(a, b)| {
            distance(
                &joint(&levels[*a], &levels[*b], sizes[*a], sizes[*b]),
                &singles[*a],
                &singles[*b],
            )
            .floor() as i64
        })
        .collect();
    let share = rho / (columns - 1) as f64;
    let epsilon = zcdp::exponential_for(share);
    let mut part: Vec<usize> = (0..columns).collect();
    let mut edges = Vec::new();
    while edges.len() + 1 < columns {
        let open: Vec<usize> = (0..pairs.len())
            .filter(|p| part[pairs[*p].0] != part[pairs[*p].1])
            .collect();
        let of_open: Vec<i64> = open.iter().map(|pair| scores[*pair]).collect();
        let what = format!("edge {} of {}", edges.len() + 1, columns - 1);
        let mechanism = format!(
            "exponential mechanism, epsilon {epsilon:.6}, among {} pairs",
            open.len()
        );
        accountant.spend(what, mechanism, zcdp::of_exponential(epsilon))?;
        let (a, b) = pairs[open[discrete::choose(bits, &of_open, epsilon)]];
        let (kept, joined) = (part[a], part[b]);
        part.iter_mut()
            .filter(|p| **p == joined)
            .for_each(|p| *p = kept);
        edges.push((a, b));
    }
    Ok(edges)
}

/// How many rows have each pair of levels, row-major.
pub fn joint(a: &[u32], b: &[u32], of_a: usize, of_b: usize) -> Vec<u64> {
    let mut counts = vec![0; of_a * of_b];
    for (a, b) in a.iter().zip(b) {
        counts[*a as usize * of_b + *b as usize] += 1;
    }
    counts
}

/// In the 1-norm, from what independent columns would give.
fn distance(joint: &[u64], a: &Measured, b: &Measured) -> f64 {
    let total = |m: &Measured| m.counts.iter().map(|c| c.max(0.0)).sum::<f64>().max(1.0);
    let (total_a, total_b) = (total(a), total(b));
    let columns = b.counts.len();
    let expected = |place: usize| {
        let (x, y) = (
            a.counts[place / columns].max(0.0),
            b.counts[place % columns].max(0.0),
        );
        x * y / f64::midpoint(total_a, total_b)
    };
    joint
        .iter()
        .enumerate()
        .map(|(place, count)| (*count as f64 - expected(place)).abs())
        .sum()
}
