//! Rows as vectors of features, for whatever learns from them, and logistic regression on these.

use rayon::prelude::*;

use crate::synthetic::table::{MISSING, Table, Values};

/// Most features of one column of categories: its rarest labels share the last.
const MOST_LABELS: usize = 30;
/// Weight of the ridge that keeps separable data from sending coefficients to infinity.
const RIDGE: f64 = 1e-3;
/// Newton's method ends after so many steps, or when a step is shorter than this.
const STEPS: usize = 25;
const SHORT: f64 = 1e-8;

/// How rows become features: learned from one table, used for others.
#[derive(Clone, Debug)]
pub struct Encoder {
    columns: Vec<Encoding>,
}

#[derive(Clone, Debug)]
enum Encoding {
    /// Its place among columns, mean and deviation of what is there, and whether some are missing.
    Number {
        column: usize,
        mean: f64,
        deviation: f64,
        has_missing: bool,
    },
    /// Its place, and the feature of each code.
    Category {
        column: usize,
        features: Vec<usize>,
        count: usize,
    },
}

impl Encoder {
    /// Learns means, deviations and frequent labels. The columns in `without`, and keys, are left out.
    pub fn of(table: &Table, without: &[usize]) -> Self {
        let columns = table
            .columns
            .iter()
            .enumerate()
            .filter(|(index, _)| !without.contains(index));
        let columns = columns.filter_map(|(column, named)| match &named.values {
            Values::Number { values, .. } => {
                let present: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
                let mean = present.iter().sum::<f64>() / present.len().max(1) as f64;
                let square = present.iter().map(|x| (x - mean).powi(2)).sum::<f64>()
                    / present.len().max(1) as f64;
                let deviation = if square > 0.0 { square.sqrt() } else { 1.0 };
                Some(Encoding::Number {
                    column,
                    mean,
                    deviation,
                    has_missing: present.len() < values.len(),
                })
            }
            Values::Category { codes, labels } => {
                let mut counts = vec![0_usize; labels.len()];
                for code in codes.iter().filter(|c| **c != MISSING) {
                    counts[*code as usize] += 1;
                }
                let mut order: Vec<usize> = (0..labels.len()).collect();
                order.sort_by_key(|label| std::cmp::Reverse(counts[*label]));
                let mut features = vec![0; labels.len()];
                for (rank, label) in order.into_iter().enumerate() {
                    features[label] = rank.min(MOST_LABELS);
                }
                let count = labels.len().min(MOST_LABELS + 1);
                Some(Encoding::Category {
                    column,
                    features,
                    count,
                })
            }
            Values::Key { .. } => None,
        });
        Self {
            columns: columns.collect(),
        }
    }

    /// Features of a row: one of each number, one of each label, and a one at the end.
    pub fn width(&self) -> usize {
        let width = |encoding: &Encoding| match encoding {
            Encoding::Number { has_missing, .. } => 1 + usize::from(*has_missing),
            Encoding::Category { count, .. } => *count,
        };
        self.columns.iter().map(width).sum::<usize>() + 1
    }

    /// The features of all rows, row-major.
    pub fn rows(&self, table: &Table) -> Vec<f64> {
        let width = self.width();
        let mut all = vec![0.0; width * table.rows()];
        all.par_chunks_exact_mut(width)
            .enumerate()
            .for_each(|(row, features)| self.row(table, row, features));
        all
    }

    fn row(&self, table: &Table, row: usize, features: &mut [f64]) {
        let mut at = 0;
        for encoding in &self.columns {
            match (encoding, &table.columns[encoding.column()].values) {
                (
                    Encoding::Number {
                        mean,
                        deviation,
                        has_missing,
                        ..
                    },
                    Values::Number { values, .. },
                ) => {
                    let x = values[row];
                    features[at] = if x.is_nan() {
                        0.0
                    } else {
                        (x - mean) / deviation
                    };
                    if *has_missing {
                        features[at + 1] = f64::from(u8::from(x.is_nan()));
                        at += 1;
                    }
                    at += 1;
                }
                (
                    Encoding::Category {
                        features: places,
                        count,
                        ..
                    },
                    Values::Category { codes, .. },
                ) => {
                    // A label that was not known is as rare as the rarest.
                    let code = codes[row];
                    if code != MISSING {
                        let place = places.get(code as usize).copied().unwrap_or(count - 1);
                        features[at + place] = 1.0;
                    }
                    at += count;
                }
                _ => unreachable!("tables were aligned"),
            }
        }
        features[at] = 1.0;
    }
}

impl Encoding {
    fn column(&self) -> usize {
        match self {
            Self::Number { column, .. } | Self::Category { column, .. } => *column,
        }
    }
}

/// Logistic regression by Newton's method with a small ridge; `rows` row-major, `targets` 0 or 1. Returns the coefficients.
pub fn logistic(rows: &[f64], width: usize, targets: &[f64]) -> Vec<f64> {
    let mut weights = vec![0.0; width];
    let count = targets.len().max(1) as f64;
    for _ in 0..STEPS {
        let (mut gradient, mut hessian) = sums(rows, width, targets, &weights);
        for i in 0..width {
            gradient[i] = gradient[i] / count + RIDGE * weights[i];
            for value in &mut hessian[i * width..(i + 1) * width] {
                *value /= count;
            }
            hessian[i * width + i] += RIDGE;
        }
        let matrix = nalgebra::DMatrix::from_row_slice(width, width, &hessian);
        let Some(factor) = matrix.cholesky() else {
            break;
        };
        let step = factor.solve(&nalgebra::DVector::from_vec(gradient));
        weights
            .iter_mut()
            .zip(step.iter())
            .for_each(|(w, s)| *w -= s);
        if step.amax() < SHORT {
            break;
        }
    }
    weights
}

/// Gradient and Hessian of the negative log-likelihood, summed over batches in a fixed order.
fn sums(rows: &[f64], width: usize, targets: &[f64], weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
    const BATCH: usize = 512;
    let batches: Vec<(Vec<f64>, Vec<f64>)> = rows
        .par_chunks(BATCH * width)
        .zip(targets.par_chunks(BATCH))
        .map(|(rows, targets)| {
            let (mut gradient, mut hessian) = (vec![0.0; width], vec![0.0; width * width]);
            for (row, target) in rows.chunks_exact(width).zip(targets) {
                let p = sigmoid(dot(row, weights));
                let curvature = p * (1.0 - p);
                for (i, x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                    gradient[i] += (p - target) * x;
                    let line = &mut hessian[i * width..(i + 1) * width];
                    line.iter_mut()
                        .zip(row)
                        .for_each(|(h, y)| *h += curvature * x * y);
                }
            }
            (gradient, hessian)
        })
        .collect();
    let mut total = (vec![0.0; width], vec![0.0; width * width]);
    for (gradient, hessian) in batches {
        total.0.iter_mut().zip(gradient).for_each(|(t, g)| *t += g);
        total.1.iter_mut().zip(hessian).for_each(|(t, h)| *t += h);
    }
    total
}

/// How many features are independent of one another: the rank of the rows as a matrix, a feature counting as a combination of
/// others where these leave less than one part in 10^9 of its sum of squares.
///
/// By a Cholesky decomposition of the matrix of products with complete pivoting (N. Higham, "Accuracy and Stability of Numerical
/// Algorithms", 2002, section 10.3).
pub fn rank(rows: &[f64], width: usize) -> usize {
    const LEAST: f64 = 1e-9;
    let targets = vec![0.0; rows.len() / width];
    // The Hessian where all weights are 0 is the matrix of products, times 1/4.
    let (_, mut products) = sums(rows, width, &targets, &vec![0.0; width]);
    let scales: Vec<f64> = (0..width).map(|i| products[i * width + i].sqrt()).collect();
    for (place, value) in products.iter_mut().enumerate() {
        let scale = scales[place / width] * scales[place % width];
        *value = if scale > 0.0 { *value / scale } else { 0.0 };
    }
    let mut left: Vec<usize> = (0..width).collect();
    while let Some(place) = (0..left.len()).max_by(|a, b| {
        let diagonal = |place: usize| products[left[place] * (width + 1)];
        diagonal(*a).total_cmp(&diagonal(*b))
    }) {
        let pivot = left[place];
        if products[pivot * (width + 1)] <= LEAST {
            break;
        }
        left.swap_remove(place);
        for i in &left {
            let factor = products[i * width + pivot] / products[pivot * (width + 1)];
            for j in &left {
                products[i * width + j] -= factor * products[pivot * width + j];
            }
        }
    }
    width - left.len()
}

/// The probability that each row's target is 1.
pub fn probabilities(rows: &[f64], width: usize, weights: &[f64]) -> Vec<f64> {
    rows.par_chunks_exact(width)
        .map(|row| sigmoid(dot(row, weights)))
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Area under the receiver operating characteristic: the probability that a row of target 1 has the larger score, ties counting
/// half (the Mann-Whitney statistic); 1/2 where there is only one kind.
pub fn auc(scores: &[f64], targets: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut rank_sum, mut positives, mut start) = (0.0, 0.0, 0);
    while start < order.len() {
        let same = order[start..]
            .iter()
            .take_while(|i| scores[**i].total_cmp(&scores[order[start]]).is_eq())
            .count();
        // Ranks from 1, their mean among ties.
        let rank = start as f64 + f64::midpoint(same as f64, 1.0);
        let hits: f64 = order[start..start + same].iter().map(|i| targets[*i]).sum();
        rank_sum += rank * hits;
        positives += hits;
        start += same;
    }
    let negatives = scores.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return 0.5;
    }
    (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

#[cfg(test)]
mod tests {
    use super::{auc, logistic, probabilities, rank};

    #[test]
    fn combinations_of_others_do_not_count() {
        // Two labels and a one; a sum; nothing but zeros.
        let row = |i: u32| {
            let (label, x) = (f64::from(i % 2), f64::from(i % 7));
            [label, 1.0 - label, x, x + 3.0 * label, 0.0, 1.0]
        };
        let rows: Vec<f64> = (0..100).flat_map(row).collect();
        assert_eq!(rank(&rows, 6), 3);
        // Where a label is missing once, two labels and a one are three things.
        let mut gap = rows.clone();
        (gap[0], gap[1]) = (0.0, 0.0);
        assert_eq!(rank(&gap, 6), 4);
    }

    #[test]
    fn areas_by_hand() {
        assert!((auc(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]) - 0.75).abs() < 1e-15);
        assert!((auc(&[0.5; 4], &[0.0, 1.0, 0.0, 1.0]) - 0.5).abs() < 1e-15);
        assert!((auc(&[0.5; 2], &[1.0; 2]) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn a_separable_line_is_found() {
        let rows: Vec<f64> = (0..200)
            .flat_map(|i| [f64::from(i) / 100.0 - 1.0, 1.0])
            .collect();
        let targets: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i >= 100))).collect();
        let weights = logistic(&rows, 2, &targets);
        assert!(auc(&probabilities(&rows, 2, &weights), &targets) > 0.999);
        assert!(weights.iter().all(|w| w.is_finite()));
    }
}
