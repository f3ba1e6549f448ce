//! What gradients should have become.

use rayon::prelude::*;

use super::{ClipAdaptive, LossScale, RUN, THREADS};
use crate::check;
use crate::ml::optimizer::pace::{self, Clock};
use crate::ops::reduce;
use crate::program::{Checked, Outcome};
use crate::running::Running;

/// Additions on the longest path through a sum of a row: on the host, or by a block of a CUDA device.
fn row_height(cols: usize) -> u64 {
    let by_block = cols.div_ceil(THREADS as usize) as u64 + 8;
    reduce::height(cols).max(by_block)
}

/// Square root of the sum of squares.
fn norm_of(values: &[Running], height: u64) -> Running {
    Running::sum(values.iter().map(|value| *value * *value), height).sqrt()
}

fn exact(values: &[f32]) -> Vec<Running> {
    values.iter().map(|value| (*value).into()).collect()
}

/// The largest distance of some outputs, in units of their bounds.
fn farthest(found: &[f32], expected: &[Running]) -> f64 {
    check::worst(found.len(), |i| expected[i].distance(found[i].into()))
}

fn bounded(error: f64) -> Checked {
    Checked {
        error,
        tolerance: 1.0,
        detail: "largest |out - exact| in units of its running error bound".into(),
    }
}

/// The norm in some order.
pub fn norm(outcome: &Outcome, gradients: usize, norm: usize, is_free: bool) -> Checked {
    let gradients = exact(outcome.get(gradients));
    let expected = if is_free {
        let height = 16 + 8 + gradients.len().div_ceil(RUN) as u64;
        Running::likely_sum(gradients.iter().map(|g| *g * *g), height).sqrt()
    } else {
        norm_of(&gradients, reduce::height(gradients.len()))
    };
    bounded(farthest(
        outcome.get(norm),
        &[expected * Running::exact(1.0)],
    ))
}

/// Gradients that are shrunk to a norm, again and again, and the norm before the last time.
pub fn clip_norm(outcome: &Outcome, gradients: usize, norm: usize, most: f32) -> Checked {
    let mut expected = exact(outcome.initial(gradients));
    let mut last = Running::default();
    for _ in 0..outcome.iterations {
        last = norm_of(&expected, reduce::height(expected.len()));
        let factor = shrinking(last, Running::from(most));
        expected = expected.iter().map(|g| *g * factor).collect();
    }
    let of_gradients = farthest(outcome.get(gradients), &expected);
    let of_norm = farthest(outcome.get(norm), &[last * Running::exact(1.0)]);
    bounded(larger(of_gradients, of_norm))
}

/// `most / norm`, or 1 where the norm is not above it.
fn shrinking(norm: Running, most: Running) -> Running {
    if norm.value + norm.error <= most.value {
        return Running::exact(1.0);
    }
    (most / norm).clip()
}

fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Rows that are shrunk beside their parameters.
pub fn clip_adaptive(
    outcome: &Outcome,
    brick: ClipAdaptive,
    gradients: usize,
    parameters: usize,
) -> Checked {
    let height = row_height(brick.cols);
    let rows = outcome
        .initial::<f32>(gradients)
        .par_chunks_exact(brick.cols);
    let rows = rows
        .zip(outcome.get::<f32>(parameters).par_chunks_exact(brick.cols))
        .zip(outcome.get::<f32>(gradients).par_chunks_exact(brick.cols));
    let error = rows.map(|((before, parameters), found)| {
        let norm = norm_of(&exact(parameters), height).max(Running::from(brick.epsilon));
        let most = Running::from(brick.clipping) * norm;
        let mut expected = exact(before);
        for _ in 0..outcome.iterations {
            let of_row = norm_of(&expected, height);
            if of_row.value == 0.0 {
                continue;
            }
            let factor = (most / of_row).clip();
            expected = expected.iter().map(|g| *g * factor).collect();
        }
        farthest(found, &expected)
    });
    bounded(error.reduce(|| 0.0, larger))
}

/// Rows without their mean.
pub fn centralise(outcome: &Outcome, cols: usize, gradients: usize) -> Checked {
    let rows = outcome.initial::<f32>(gradients).par_chunks_exact(cols);
    let rows = rows.zip(outcome.get::<f32>(gradients).par_chunks_exact(cols));
    let error = rows.map(|(before, found)| {
        let mut expected = exact(before);
        for _ in 0..outcome.iterations {
            let sum = Running::sum(expected.iter().copied(), row_height(cols));
            let mean = sum / Running::exact(cols as f64);
            expected = expected.iter().map(|g| *g - mean).collect();
        }
        farthest(found, &expected)
    });
    bounded(error.reduce(|| 0.0, larger))
}

/// Everything exactly: scales are powers of two.
pub fn loss_scale(
    outcome: &Outcome,
    [found, gradients, scale, pace, clock]: [usize; 5],
    brick: LossScale,
    clocked: Clock,
) -> Checked {
    let before = outcome.initial::<f32>(gradients);
    let wrong = check::count(before.len(), |i| !before[i].is_finite()) as u32;
    let mut counts = [0, 0];
    let mut scales = [0.0; LossScale::LEN];
    scales.copy_from_slice(outcome.initial(scale));
    let mut paces = [0.0; pace::LEN];
    paces.copy_from_slice(outcome.initial(pace));
    let (mut factor, mut steps) = (1.0_f32, 0);
    for _ in 0..outcome.iterations {
        if brick.in_place {
            factor /= scales[0];
        }
        counts[0] += wrong;
        brick.update(&mut counts, &mut scales, &mut paces);
        steps += u32::from(wrong == 0);
    }
    let is_same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    let after = outcome.get::<f32>(gradients);
    let mut different = check::count(after.len(), |i| !is_same(after[i], before[i] * factor));
    let count = |found: &[f32], expected: &[f32]| {
        let pairs = found.iter().zip(expected);
        pairs.filter(|(a, b)| !is_same(**a, **b)).count()
    };
    different += count(outcome.get(scale), &scales);
    different += usize::from(outcome.get::<u32>(found) != counts);
    different += clock_is_off(outcome, clocked, steps, [pace, clock], &paces);
    Checked::exact(
        different,
        "how many gradients, counts, scales or factors of the next step differ",
    )
}

/// How much of what the clock leaves is wrong after some steps.
fn clock_is_off(
    outcome: &Outcome,
    clocked: Clock,
    steps: u32,
    [pace, clock]: [usize; 2],
    paces: &[f32],
) -> usize {
    let power = |beta: f32| f64::from(beta).powi(steps.cast_signed());
    let [first, second] = [clocked.beta1, clocked.beta2].map(power);
    let rate = if steps == 0 {
        1.0
    } else {
        f64::from(clocked.rate(steps.into()))
    };
    let corrections = if steps == 0 {
        [1.0, 1.0]
    } else {
        [1.0 - first, 1.0 - second]
    };
    let found = outcome.get::<f32>(pace);
    let state = outcome.get::<f64>(clock);
    let pairs = [
        (state[0], f64::from(steps)),
        (state[1], first),
        (state[2], second),
        (found[pace::RATE].into(), rate),
        (found[pace::FIRST].into(), corrections[0]),
        (found[pace::SECOND].into(), corrections[1]),
        (found[pace::PROCEED].into(), paces[pace::PROCEED].into()),
        (found[pace::UNSCALE].into(), paces[pace::UNSCALE].into()),
    ];
    // A cosine and a power may differ in their last bits.
    let is_off = |(found, expected): &&(f64, f64)| {
        found.is_nan() || (found - expected).abs() > 1e-7 * expected
    };
    pairs.iter().filter(is_off).count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use assay_protocol::Philox;

    use super::RUN;
    use crate::buffer::{Buffer, Buffers};
    use crate::device::Team;
    use crate::element::DType;
    use crate::program::Outcome;

    /// The norm of `ml-ops`, whose blocks are added up as they finish.
    #[test]
    fn a_block_left_out_of_a_norm_fails_at_the_size_of_the_suites() {
        let elements = 1 << 24;
        let team = Team::new(1).unwrap();
        let zeros = |len| Buffer::zeroed(&team, DType::F32, len).unwrap();
        let mut buffers = Buffers(vec![zeros(elements), zeros(1)]);
        Philox::new(1, 0).fill_signed_f32(0, buffers.0[0].get_mut());
        let norm_from = |first: usize, buffers: &Buffers| {
            let squares = buffers.get::<f32>(0)[first..].iter();
            let sum: f64 = squares.map(|g| f64::from(*g).powi(2)).sum();
            sum.sqrt() as f32
        };
        for (first, is_right) in [(0, true), (RUN, false)] {
            buffers.0[1].get_mut::<f32>()[0] = norm_from(first, &buffers);
            let outcome = Outcome {
                buffers: &buffers,
                initial: &BTreeMap::new(),
                iterations: 1,
            };
            let checked = super::norm(&outcome, 0, 1, true);
            let passed = checked.error <= checked.tolerance;
            assert_eq!(passed, is_right, "{first}: {checked:?}");
        }
    }
}
