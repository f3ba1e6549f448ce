//! Scores: where in a standard normal distribution a column's values lie, and what that hides.

use rayon::prelude::*;

use crate::synthetic::generators::marginal::{Marginal, cumulative};
use crate::synthetic::random::normal_quantile;
use crate::synthetic::table::{MISSING, Table, Values};

/// Terms of the expansion in Hermite polynomials.
pub const TERMS: usize = 25;
/// Points of the integrals over the normal distribution, and how far out they lie.
const POINTS: usize = 6000;
const SPAN: f64 = 9.0;
/// A value that makes up less of a column is as good as one that occurs once.
const LEAST_ATOM: f64 = 0.001;

/// The probability that a standard normal variable stays below `x`, the same bits on every machine.
pub fn below(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// What is seen of one normal variable.
pub struct Latent {
    /// The score of each row; not a number where the value is missing.
    pub scores: Vec<f64>,
    /// Coefficients of the score as a function of the variable, in normalised Hermite polynomials.
    pub hermite: [f64; TERMS],
}

/// A value that is frequent: the part of the distribution that it takes up, and its score.
struct Atom {
    from: f64,
    to: f64,
    score: f64,
}

impl Latent {
    /// Of the values of a column; categories in an order of labels.
    pub fn of_values(values: &Values, order: &[u32]) -> Self {
        match values {
            Values::Number { values, .. } => of_ranked(values),
            Values::Category { codes, .. } => {
                let mut ranks = vec![0.0; order.len()];
                for (rank, label) in order.iter().enumerate() {
                    ranks[*label as usize] = rank as f64;
                }
                let rank = |code: &u32| ranks.get(*code as usize).copied().unwrap_or(f64::NAN);
                of_ranked(&codes.iter().map(rank).collect::<Vec<_>>())
            }
            // Keys hang together with nothing.
            Values::Key { values } => Self {
                scores: vec![f64::NAN; values.len()],
                hermite: [0.0; TERMS],
            },
        }
    }

    /// Of whether the values of a column are missing; `None` where none is, or all are.
    pub fn of_missing(values: &Values) -> Option<Self> {
        let missing = values.missing();
        if missing == 0 || missing == values.len() {
            return None;
        }
        // Missing ones come first: a variable below their share means missing.
        let flags: Vec<f64> = match values {
            Values::Number { values, .. } => values
                .iter()
                .map(|x| f64::from(u8::from(!x.is_nan())))
                .collect(),
            Values::Category { codes, .. } => codes
                .iter()
                .map(|c| f64::from(u8::from(*c != MISSING)))
                .collect(),
            Values::Key { values } => values
                .iter()
                .map(|v| f64::from(u8::from(v.is_some())))
                .collect(),
        };
        Some(of_ranked(&flags))
    }
}

/// Of values that have an order.
fn of_ranked(values: &[f64]) -> Latent {
    let (scores, atoms) = scores(values);
    Latent {
        scores,
        hermite: hermite(&atoms),
    }
}

/// The score of each value, and the values that are frequent.
fn scores(values: &[f64]) -> (Vec<f64>, Vec<Atom>) {
    let mut rows: Vec<usize> = (0..values.len())
        .filter(|row| !values[*row].is_nan())
        .collect();
    rows.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let present = rows.len() as f64;
    let mut scores = vec![f64::NAN; values.len()];
    let mut atoms = Vec::new();
    let mut start = 0;
    while start < rows.len() {
        let value = values[rows[start]];
        let same = rows[start..]
            .iter()
            .take_while(|row| values[**row].total_cmp(&value).is_eq());
        let end = start + same.count();
        let (from, to) = (start as f64 / present, end as f64 / present);
        // The middle of the part of the distribution that the value takes up.
        let score = normal_quantile(f64::midpoint(from, to));
        for row in &rows[start..end] {
            scores[*row] = score;
        }
        if to - from >= LEAST_ATOM {
            atoms.push(Atom { from, to, score });
        }
        start = end;
    }
    (scores, atoms)
}

/// Coefficients of a score that is constant over each atom, and the variable itself elsewhere.
fn hermite(atoms: &[Atom]) -> [f64; TERMS] {
    let mut coefficients = [0.0; TERMS];
    let step = 2.0 * SPAN / POINTS as f64;
    let mut atom = 0;
    for point in 0..POINTS {
        let z = (point as f64 + 0.5) * step - SPAN;
        let u = below(z);
        while atom < atoms.len() && atoms[atom].to <= u {
            atom += 1;
        }
        let score = match atoms.get(atom) {
            Some(atom) if atom.from <= u => atom.score,
            _ => z,
        };
        let weight = libm::exp(-0.5 * z * z) * step / (2.0 * std::f64::consts::PI).sqrt();
        // h_0 = 1, h_1 = z, h_(k+1) = (z h_k - sqrt(k) h_(k-1)) / sqrt(k + 1).
        let (mut before, mut now) = (0.0, 1.0);
        for (k, coefficient) in coefficients.iter_mut().enumerate() {
            *coefficient += weight * score * now;
            let next = (z * now - (k as f64).sqrt() * before) / ((k + 1) as f64).sqrt();
            (before, now) = (now, next);
        }
    }
    coefficients
}

/// For each column of categories its labels along the first principal component of the numbers' scores, or by how
/// frequent they are where there are no numbers; for other columns nothing.
pub fn orders(table: &Table) -> Vec<Vec<u32>> {
    let component = component(table);
    let order = |values: &Values| match values {
        Values::Category { codes, labels } => order(codes, labels.len(), component.as_deref()),
        _ => vec![],
    };
    table
        .columns
        .iter()
        .map(|column| order(&column.values))
        .collect()
}

fn order(codes: &[u32], labels: usize, component: Option<&[f64]>) -> Vec<u32> {
    let mut sums = vec![(0.0, 0.0); labels];
    for (row, code) in codes
        .iter()
        .enumerate()
        .filter(|(_, code)| **code != MISSING)
    {
        let (sum, count) = &mut sums[*code as usize];
        *sum += component.map_or(0.0, |component| component[row]);
        *count += 1.0;
    }
    let key = |label: u32| {
        let (sum, count) = sums[label as usize];
        if component.is_some() {
            sum / f64::max(count, 1.0)
        } else {
            -count
        }
    };
    let mut order: Vec<u32> = (0..labels as u32).collect();
    order.sort_by(|a, b| key(*a).total_cmp(&key(*b)));
    order
}

/// The first principal component of the scores of all columns of numbers, by the power method; a row's missing values count as
/// average.
fn component(table: &Table) -> Option<Vec<f64>> {
    const STEPS: usize = 50;
    let of_numbers = |values: &Vec<f64>| -> Vec<f64> {
        let (scores, _) = scores(values);
        let present = |s: f64| if s.is_nan() { 0.0 } else { s };
        scores.into_iter().map(present).collect()
    };
    let scores: Vec<Vec<f64>> = table
        .columns
        .par_iter()
        .filter_map(|column| match &column.values {
            Values::Number { values, .. } => Some(of_numbers(values)),
            _ => None,
        })
        .collect();
    if scores.is_empty() {
        return None;
    }
    // No two weights alike, so that none of a symmetric pair cancels the other.
    let mut weights: Vec<f64> = (0..scores.len()).map(|i| 1.0 + 0.1 * i as f64).collect();
    let project = |weights: &[f64]| -> Vec<f64> {
        let row = |row: usize| scores.iter().zip(weights).map(|(s, w)| s[row] * w).sum();
        (0..table.rows()).map(row).collect()
    };
    for _ in 0..STEPS {
        let projected = project(&weights);
        let dot = |s: &Vec<f64>| s.iter().zip(&projected).map(|(a, b)| a * b).sum::<f64>();
        weights = scores.iter().map(dot).collect();
        let norm = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
        if norm == 0.0 {
            return None;
        }
        for weight in &mut weights {
            *weight /= norm;
        }
    }
    Some(project(&weights))
}

/// Puts the labels of a column of categories into an order.
pub fn reorder(marginal: &mut Marginal, order: &[u32]) {
    if let Marginal::Category { labels, shares, .. } = marginal {
        *labels = order.iter().map(|l| labels[*l as usize].clone()).collect();
        *shares = order.iter().map(|l| shares[*l as usize]).collect();
        debug_assert!((cumulative(shares).last().copied().unwrap_or(1.0) - 1.0).abs() < 1e-6);
    }
}

#[cfg(test)]
mod tests {
    use super::{TERMS, of_ranked};

    #[test]
    fn the_score_of_a_continuous_column_is_the_variable_itself() {
        let values: Vec<f64> = (0..5000).map(f64::from).collect();
        let hermite = of_ranked(&values).hermite;
        assert!((hermite[1] - 1.0).abs() < 1e-6);
        let others = hermite.iter().enumerate().filter(|(k, _)| *k != 1);
        assert!(others.map(|(_, c)| c.abs()).fold(0.0, f64::max) < 1e-6);
    }

    #[test]
    fn the_coefficients_of_a_step_are_known() {
        // Half below, half above: scores -q and q at +-0.6745; a_1 = 2 q phi(0).
        let values: Vec<f64> = (0..1000).map(|i| f64::from(u8::from(i >= 500))).collect();
        let latent = of_ranked(&values);
        let q = 0.674_489_750_196_081_7;
        assert!((latent.scores[0] + q).abs() < 1e-12 && (latent.scores[999] - q).abs() < 1e-12);
        assert!((latent.hermite[1] - 2.0 * q * 0.398_942_280_4).abs() < 2e-3);
        assert!(latent.hermite[0].abs() < 2e-3 && TERMS > 2 && latent.hermite[2].abs() < 2e-3);
    }
}
