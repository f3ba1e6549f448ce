//! The network once more, plainly, in `f64`, picture by picture.

use assay_kernels::ml::norm::Kind;

use super::{KERNEL, Shape};
use crate::training::reference::{Reader, Rows, gelu, linear, log_sum_exp, norm};

/// A convolution of one picture, whose pixels are rows, with filters by line, column, channel and filter.
fn convolve(pixels: &Rows, side: usize, filters: &[f64]) -> Rows {
    let channels = pixels[0].len();
    let count = filters.len() / (KERNEL * KERNEL * channels);
    let inside = |at: usize, by: usize| (at + by).checked_sub(KERNEL / 2).filter(|x| *x < side);
    let of_pixel = |pixel: usize| {
        let mut out = vec![0.0; count];
        for place in 0..KERNEL * KERNEL {
            let line = inside(pixel / side, place / KERNEL);
            let column = inside(pixel % side, place % KERNEL);
            let Some((line, column)) = line.zip(column) else {
                continue;
            };
            let seen = pixels[line * side + column].iter().enumerate();
            for (c, x) in seen {
                let filters = &filters[(place * channels + c) * count..][..count];
                out.iter_mut().zip(filters).for_each(|(y, f)| *y += x * f);
            }
        }
        out
    };
    (0..side * side).map(of_pixel).collect()
}

/// Means of squares of pixels.
fn means(pixels: &Rows, side: usize, window: usize) -> Rows {
    let out = side / window;
    let square = |square: usize| {
        let mut mean = vec![0.0; pixels[0].len()];
        for place in 0..window * window {
            let line = square / out * window + place / window;
            let column = square % out * window + place % window;
            let pixel = pixels[line * side + column].iter();
            mean.iter_mut()
                .zip(pixel)
                .for_each(|(mean, x)| *mean += x / (window * window) as f64);
        }
        mean
    };
    (0..out * out).map(square).collect()
}

/// Logits of a picture, given parameters in their order, and what each branch is multiplied by.
pub fn logits(
    shape: &Shape,
    parameters: &[Vec<f64>],
    x: &[f64],
    factor: impl Fn(usize) -> f64,
) -> Vec<f64> {
    let mut reader = Reader::new(parameters);
    let picture: Rows = x
        .chunks_exact(shape.channels)
        .map(<[f64]>::to_vec)
        .collect();
    let mut pixels = convolve(&picture, shape.side, reader.take());
    for branch in 0..shape.stages * shape.blocks {
        let stage = branch / shape.blocks;
        let side = shape.stage(stage)[0];
        if stage > 0 && branch % shape.blocks == 0 {
            pixels = convolve(&means(&pixels, 2 * side, 2), side, reader.take());
        }
        let normal = norm(Kind::Layer, reader.take(), &pixels);
        let mut between = convolve(&normal, side, reader.take());
        let bias = reader.take();
        for pixel in &mut between {
            pixel
                .iter_mut()
                .zip(bias)
                .for_each(|(x, b)| *x = gelu(*x + b));
        }
        let added = convolve(&between, side, reader.take());
        let pairs = pixels.iter_mut().flatten().zip(added.iter().flatten());
        pairs.for_each(|(x, y)| *x += factor(branch) * y);
    }
    let normal = norm(Kind::Layer, reader.take(), &pixels);
    let side = shape.stage(shape.stages - 1)[0];
    linear(&mut reader, &means(&normal, side, side)[0], true)
}

/// Cross-entropy of logits with a soft label.
pub fn soft_loss(logits: &[f64], target: &[f64]) -> f64 {
    let logsum = log_sum_exp(logits);
    let terms = logits.iter().zip(target);
    terms.map(|(x, t)| t * (logsum - x)).sum()
}
