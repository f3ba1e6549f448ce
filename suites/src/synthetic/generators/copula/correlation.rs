//! The correlation that lies behind what is seen, and its Cholesky factor.

use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

use super::score::{Latent, TERMS};

/// Largest correlation that two variables are given: with 1, one of them would be none.
const MOST: f64 = 0.999;
/// Least eigenvalue of the matrix of correlations.
const LEAST_EIGENVALUE: f64 = 1e-6;
/// Fewer rows in which both values are there say nothing.
const LEAST_ROWS: usize = 8;

/// Lower triangle of the Cholesky factor of the correlations of some variables, row by row.
///
/// Pairs are estimated one by one, and together may be no matrix of correlations: then the nearest in which all
/// eigenvalues are positive, scaled back to ones on the diagonal. Source: R. Rebonato, P. Jäckel, "The most general
/// methodology to create a valid correlation matrix", Journal of Risk 2(2), 2000, section 3.2.
pub fn factor(latents: &[Latent]) -> Vec<Vec<f64>> {
    let n = latents.len();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
    let rhos: Vec<f64> = pairs
        .par_iter()
        .map(|(i, j)| behind(&latents[*i], &latents[*j]))
        .collect();
    let mut matrix = DMatrix::identity(n, n);
    for ((i, j), rho) in pairs.into_iter().zip(rhos) {
        matrix[(i, j)] = rho;
        matrix[(j, i)] = rho;
    }
    let lower = loop {
        if let Some(factor) = matrix.clone().cholesky() {
            break factor.unpack();
        }
        matrix = positive(matrix);
    };
    (0..n)
        .map(|i| (0..=i).map(|j| lower[(i, j)]).collect())
        .collect()
}

/// Eigenvalues raised to be positive, ones on the diagonal.
fn positive(matrix: DMatrix<f64>) -> DMatrix<f64> {
    let mut eigen = SymmetricEigen::new(matrix);
    // A little more each time that it is called, for rounding may undo it.
    eigen
        .eigenvalues
        .iter_mut()
        .for_each(|value| *value = value.max(LEAST_EIGENVALUE) + LEAST_EIGENVALUE);
    let raised = eigen.recompose();
    let scales: Vec<f64> = raised.diagonal().iter().map(|d| d.sqrt()).collect();
    DMatrix::from_fn(raised.nrows(), raised.ncols(), |i, j| {
        if i == j {
            1.0
        } else {
            raised[(i, j)] / (scales[i] * scales[j])
        }
    })
}

/// The correlation of two variables whose scores hang together as these do.
fn behind(a: &Latent, b: &Latent) -> f64 {
    let Some(covariance) = covariance(&a.scores, &b.scores) else {
        return 0.0;
    };
    let seen = |rho: f64| {
        let terms = a.hermite.iter().zip(&b.hermite).skip(1);
        // Horner's rule, from the highest power down; there is no term of power 0.
        terms.rev().fold(0.0, |sum, (x, y)| (sum + x * y) * rho)
    };
    debug_assert_eq!(a.hermite.len(), TERMS);
    let (mut low, mut high) = (-MOST, MOST);
    if covariance <= seen(low) {
        return low;
    }
    if covariance >= seen(high) {
        return high;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if seen(middle) < covariance {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Of the rows in which both are there; `None` where they are too few, or do not vary.
fn covariance(a: &[f64], b: &[f64]) -> Option<f64> {
    let both = || a.iter().zip(b).filter(|(x, y)| !x.is_nan() && !y.is_nan());
    let (mut n, mut sum_a, mut sum_b, mut product) = (0_usize, 0.0, 0.0, 0.0);
    for (x, y) in both() {
        n += 1;
        sum_a += x;
        sum_b += y;
        product += x * y;
    }
    if n < LEAST_ROWS {
        return None;
    }
    let count = n as f64;
    let covariance = product / count - sum_a / count * (sum_b / count);
    (covariance != 0.0).then_some(covariance)
}
