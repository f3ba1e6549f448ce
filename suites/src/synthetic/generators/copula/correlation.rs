//! The correlation that lies behind what is seen, and its Cholesky factor.

use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

use super::score::{Latent, TERMS};
use crate::synthetic::progress::Progress;
use crate::synthetic::table::{TableError, ensure_pairs_fit};

/// Largest correlation that two variables are given: with 1, one of them would be none.
const MOST: f64 = 0.999;
/// Least eigenvalue of the matrix of correlations.
const LEAST_EIGENVALUE: f64 = 1e-6;
/// Matrices of all pairs that are there at a time.
const MATRICES: u64 = 4;
/// The last stage.
const FACTOR: &str = "factor of the correlations";
/// Fewer rows in which both values are there say nothing.
const LEAST_ROWS: usize = 8;

/// That memory holds the [`factor`] of so many variables, and what it is made of.
///
/// # Errors
/// If it does not: how many bytes are lacking.
pub fn ensure_fits(variables: usize) -> Result<(), TableError> {
    ensure_pairs_fit(variables, MATRICES * 8 * (variables as u64).pow(2))
}

/// Lower triangle of the Cholesky factor of the correlations of some variables, row by row.
///
/// Pairs are estimated one by one, and together may be no matrix of correlations: then the nearest in which all
/// eigenvalues are positive, scaled back to ones on the diagonal. Source: R. Rebonato, P. Jäckel, "The most general
/// methodology to create a valid correlation matrix", Journal of Risk 2(2), 2000, section 3.2.
pub fn factor(latents: &[Latent], progress: &Progress) -> Vec<Vec<f64>> {
    let n = latents.len();
    progress.begin("correlations of pairs", n * n.saturating_sub(1) / 2);
    let rows: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let row = latents[..i].iter().map(|other| {
                progress.step();
                behind(&latents[i], other)
            });
            row.collect()
        })
        .collect();
    progress.begin(FACTOR, 0);
    let mut matrix = DMatrix::identity(n, n);
    for (i, row) in rows.into_iter().enumerate() {
        for (j, rho) in row.into_iter().enumerate() {
            matrix[(i, j)] = rho;
            matrix[(j, i)] = rho;
        }
    }
    let lower = loop {
        if let Some(factor) = matrix.clone().cholesky() {
            break factor.unpack();
        }
        // The one step that takes longer than the pairs, where variables are thousands: as the cube of how many there are.
        progress.begin(&format!("eigenvalues of a matrix of {n} variables"), 0);
        matrix = positive(matrix);
        progress.begin(FACTOR, 0);
    };
    let row = |i: usize| (0..=i).map(|j| lower[(i, j)]).collect();
    (0..n).map(row).collect()
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
    let mut terms = [0.0; TERMS];
    for (term, (x, y)) in terms.iter_mut().zip(a.hermite.iter().zip(&b.hermite)) {
        *term = x * y;
    }
    let [at_low, at_high] = seen(&terms, [-MOST, MOST]);
    if covariance <= at_low {
        return -MOST;
    }
    if covariance >= at_high {
        return MOST;
    }
    solved(&terms, covariance)
}

/// The covariance of scores that some correlations behind them give: Horner's rule, from the highest power down; there is no term of
/// power 0.
fn seen<const N: usize>(terms: &[f64; TERMS], rhos: [f64; N]) -> [f64; N] {
    let mut sums = [0.0; N];
    for term in terms.iter().skip(1).rev() {
        for (sum, rho) in sums.iter_mut().zip(&rhos) {
            *sum = (*sum + term) * rho;
        }
    }
    sums
}

/// The correlation that gives a covariance, by halving what it may be sixty times; what three halvings may ask for is computed at once,
/// since one sum alone waits for itself.
fn solved(terms: &[f64; TERMS], covariance: f64) -> f64 {
    let (mut low, mut high) = (-MOST, MOST);
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        let (left, right) = (f64::midpoint(low, middle), f64::midpoint(middle, high));
        // In the order in which they lie.
        let rhos = [
            f64::midpoint(low, left),
            left,
            f64::midpoint(left, middle),
            middle,
            f64::midpoint(middle, right),
            right,
            f64::midpoint(right, high),
        ];
        let below = seen(terms, rhos).map(|found| found < covariance);
        // As three halvings go: the middle one first, then one of those on either side.
        let mut place = 3;
        for step in [2, 1] {
            place = if below[place] {
                place + step
            } else {
                place - step
            };
        }
        if below[place] {
            low = rhos[place];
            high = rhos.get(place + 1).copied().unwrap_or(high);
        } else {
            high = rhos[place];
            low = place.checked_sub(1).map_or(low, |before| rhos[before]);
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

#[cfg(test)]
mod tests {
    use super::{MOST, TERMS, seen, solved};

    /// One halving after the other.
    fn halved(terms: &[f64; TERMS], covariance: f64) -> f64 {
        let (mut low, mut high) = (-MOST, MOST);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            let [found] = seen(terms, [middle]);
            if found < covariance {
                low = middle;
            } else {
                high = middle;
            }
        }
        f64::midpoint(low, high)
    }

    #[test]
    fn three_halvings_at_once_give_the_bits_of_one_after_the_other() {
        let mut terms = [0.0; TERMS];
        for (power, term) in terms.iter_mut().enumerate().skip(1) {
            *term = 0.7_f64.powi(power as i32);
        }
        let [low, high] = seen(&terms, [-MOST, MOST]);
        for step in 1..1000 {
            let covariance = low + (high - low) * f64::from(step) / 1000.0;
            let found = solved(&terms, covariance);
            assert_eq!(
                found.to_bits(),
                halved(&terms, covariance).to_bits(),
                "{covariance}"
            );
            assert!((seen(&terms, [found])[0] - covariance).abs() < 1e-12);
        }
    }
}
