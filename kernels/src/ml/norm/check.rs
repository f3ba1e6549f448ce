//! Normalisation in `f64`, and how far results may be from it.

use rayon::prelude::*;

use super::{EPSILON, Kind, Norm};
use crate::lane::Lane;
use crate::ml::bound::{self, wide};
use crate::ml::column_sum;
use crate::ml::softmax::row_height;
use crate::program::{Checked, Outcome};

/// A row in `f64`: mean, variance and reciprocal deviation.
fn moments(kind: Kind, x: &[f64]) -> [f64; 3] {
    let n = x.len() as f64;
    let mean = if kind == Kind::Layer {
        x.iter().sum::<f64>() / n
    } else {
        0.0
    };
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    [mean, variance, 1.0 / (variance + f64::from(EPSILON)).sqrt()]
}

/// The mean has `h` roundings relative to the mean magnitude `m`, and so have the differences; what that does to the variance is
/// of second order. The variance has `h + 4` relative to itself, its reciprocal root half of that and three, and three come after;
/// all relative to `|gain| (|x| + m) s + |shift|`.
pub fn forward<T: Lane>(
    outcome: &Outcome,
    norm: Norm,
    [x, parameters, out, statistics]: [usize; 4],
) -> Checked {
    let (cols, kept, height) = (norm.cols, norm.kind.width(), row_height(norm.cols));
    let (gains, shifts) = outcome.get::<f32>(parameters).split_at(cols);
    let rows = outcome
        .get::<T>(x)
        .par_chunks_exact(cols)
        .zip(outcome.get::<T>(out).par_chunks_exact(cols));
    let rows = rows.zip(outcome.get::<f32>(statistics).par_chunks_exact(kept));
    let compared = rows.map(|((x, out), statistics)| {
        let x = wide(x);
        let [mean, _, scale] = moments(norm.kind, &x);
        let magnitude = if norm.kind == Kind::Layer {
            x.iter().map(|x| x.abs()).sum::<f64>() / cols as f64
        } else {
            0.0
        };
        let roundings = 2 * height + 10;
        let of_out = bound::compare(
            out,
            roundings,
            "|out - exact| / |gain| (|x| + m) s + |shift|",
            |c| {
                let (gain, shift) = (
                    f64::from(gains[c]),
                    shifts.get(c).map_or(0.0, |shift| f64::from(*shift)),
                );
                let exact = (x[c] - mean) * scale * gain + shift;
                (
                    exact,
                    gain.abs() * (x[c].abs() + magnitude) * scale + shift.abs(),
                )
            },
        );
        let of_row = bound::compare(
            statistics,
            roundings,
            "|statistic - exact| / magnitude",
            |i| {
                if i + 1 == kept {
                    (scale, scale)
                } else {
                    (mean, magnitude)
                }
            },
        );
        bound::worst([of_out, of_row])
    });
    bound::worst(compared.collect::<Vec<_>>())
}

/// Gradient of a row's input, and the magnitudes that went into each element.
fn exact_gradient(
    kind: Kind,
    x: &[f64],
    gains: &[f64],
    [mean, scale]: [f64; 2],
    dy: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let n = x.len() as f64;
    let normal: Vec<f64> = x.iter().map(|x| (x - mean) * scale).collect();
    let of_normal: Vec<f64> = normal.iter().map(|v| v.abs()).collect();
    let wanted: Vec<f64> = gains.iter().zip(dy).map(|(gain, dy)| gain * dy).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n;
    let magnitudes: Vec<f64> = wanted.iter().map(|w| w.abs()).collect();
    let (along, of_along) = (dot(&wanted, &normal), dot(&magnitudes, &of_normal));
    let is_layer = f64::from(u8::from(kind == Kind::Layer));
    let (level, of_level) = (
        is_layer * wanted.iter().sum::<f64>() / n,
        is_layer * magnitudes.iter().sum::<f64>() / n,
    );
    let dx = wanted
        .iter()
        .zip(&normal)
        .map(|(w, v)| scale * (w - level - v * along));
    let conditions = magnitudes
        .iter()
        .zip(&of_normal)
        .map(|(w, v)| scale.abs() * (w + of_level + v * of_along));
    (dx.collect(), conditions.collect())
}

pub fn backward<T: Lane>(
    outcome: &Outcome,
    norm: Norm,
    [x, parameters, statistics, dy]: [usize; 4],
    [dx, dparameters]: [usize; 2],
) -> Checked {
    let (cols, kept, kind) = (norm.cols, norm.kind.width(), norm.kind);
    let (x, dy, statistics) = (
        outcome.get::<T>(x),
        outcome.get::<T>(dy),
        outcome.get::<f32>(statistics),
    );
    let gains = wide(&outcome.get::<f32>(parameters)[..cols]);
    let of_row = |r: usize| {
        kind.of_row(&statistics[kept * r..kept * (r + 1)])
            .map(f64::from)
    };
    let rows = outcome.get::<T>(dx).par_chunks_exact(cols).enumerate();
    let compared = rows.map(|(r, dx)| {
        let range = r * cols..(r + 1) * cols;
        let (exact, conditions) = exact_gradient(
            kind,
            &wide(&x[range.clone()]),
            &gains,
            of_row(r),
            &wide(&dy[range]),
        );
        bound::compare(
            dx,
            row_height(cols) + 9,
            "|dx - exact| / sum of magnitudes",
            |c| (exact[c], conditions[c]),
        )
    });
    let of_rows = bound::worst(compared.collect::<Vec<_>>());
    let of_columns =
        column_sum::compare_sums(outcome.get::<f32>(dparameters), norm.rows, 3, |r, c| {
            let [mean, scale] = of_row(r);
            let gradient: f64 = dy[r * cols + c % cols].into();
            if c < cols {
                gradient * (x[r * cols + c].into() - mean) * scale
            } else {
                gradient
            }
        });
    bound::worst([of_rows, of_columns])
}

#[cfg(test)]
mod tests {
    use super::{Kind, exact_gradient, moments};
    use crate::gradient::{assert_gradient, numbers};

    #[test]
    fn the_reference_is_the_gradient() {
        let (x, gains, dy) = (numbers(0, 6), numbers(1, 6), numbers(2, 6));
        for kind in [Kind::Layer, Kind::Rms] {
            let normal = |x: &[f64]| -> Vec<f64> {
                let [mean, _, scale] = moments(kind, x);
                x.iter().map(|x| (x - mean) * scale).collect()
            };
            let loss = |x: &[f64], gains: &[f64]| {
                normal(x)
                    .iter()
                    .zip(gains)
                    .zip(&dy)
                    .map(|((v, gain), dy)| v * gain * dy)
                    .sum()
            };
            let [mean, _, scale] = moments(kind, &x);
            let dx = exact_gradient(kind, &x, &gains, [mean, scale], &dy).0;
            assert_gradient("norm", &dx, |x| loss(x, &gains), &x);
            let dgains: Vec<f64> = normal(&x).iter().zip(&dy).map(|(v, dy)| v * dy).collect();
            assert_gradient("gains", &dgains, |gains| loss(&x, gains), &gains);
        }
    }
}
