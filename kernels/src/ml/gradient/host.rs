//! Gradients on the host.

use super::ClipAdaptive;
use crate::buffer::granule;
use crate::device::Team;
use crate::ops::reduce::{self, BLOCK, block_dot};
use crate::simd::wide;

/// Sum of squares, of one shape for every length and any team.
pub fn square_sum(team: &Team, gradients: &[f32]) -> f32 {
    // A block of nothing has a sum, too.
    let mut sums = vec![0.0_f32; gradients.len().div_ceil(BLOCK).max(1)];
    let parts = team.split_mut(&mut sums, 1).into_iter();
    let parts = parts.zip(team.split(gradients, BLOCK)).collect();
    team.each(parts, |(sums, gradients): &mut (&mut [f32], &[f32])| {
        for (sum, block) in sums.iter_mut().zip(gradients.chunks(BLOCK)) {
            *sum = block_dot(block, block);
        }
    });
    reduce::tree(&|block| sums[block], 0, sums.len())
}

/// Multiplies all by a factor.
pub fn rescale(team: &Team, gradients: &mut [f32], factor: f32) {
    let parts = team.split_mut(gradients, granule::<f32>());
    team.each(parts, |part| multiply(part, factor));
}

/// Shrinks rows whose norm is large beside that of their parameters.
pub fn clip_adaptive(team: &Team, brick: ClipAdaptive, gradients: &mut [f32], parameters: &[f32]) {
    let parts = team.split_mut(gradients, brick.cols).into_iter();
    let parts = parts.zip(team.split(parameters, brick.cols)).collect();
    team.each(
        parts,
        |(gradients, parameters): &mut (&mut [f32], &[f32])| {
            let rows = gradients.chunks_exact_mut(brick.cols);
            for (row, of_row) in rows.zip(parameters.chunks_exact(brick.cols)) {
                let factor = adaptive_factor(brick, row_squares(row), row_squares(of_row));
                // A factor that is no number makes the row none.
                if factor < 1.0 || factor.is_nan() {
                    multiply(row, factor);
                }
            }
        },
    );
}

/// What a row is multiplied by, given the sums of squares of its gradients and parameters; it is kept if that is not below 1.
fn adaptive_factor(brick: ClipAdaptive, of_gradients: f32, of_parameters: f32) -> f32 {
    let norm = of_parameters.sqrt();
    let norm = if norm < brick.epsilon {
        brick.epsilon
    } else {
        norm
    };
    brick.clipping * norm / of_gradients.sqrt()
}

fn row_squares(row: &[f32]) -> f32 {
    let leaf = |block: usize| {
        let rest = &row[block * BLOCK..];
        let block = &rest[..rest.len().min(BLOCK)];
        block_dot(block, block)
    };
    reduce::tree(&leaf, 0, row.len().div_ceil(BLOCK))
}

/// Takes the mean out of each row of `cols`.
pub fn centralise(team: &Team, cols: usize, gradients: &mut [f32]) {
    let count = cols as f32;
    let parts = team.split_mut(gradients, cols);
    team.each(parts, |part| {
        for row in part.chunks_exact_mut(cols) {
            let mean = reduce::sum(row) / count;
            subtract(row, mean);
        }
    });
}

/// Counts what is no finite number, and multiplies all by a factor if there is one.
pub fn unscale(team: &Team, gradients: &mut [f32], factor: Option<f32>) -> u32 {
    let parts = team.split_mut(gradients, granule::<f32>());
    let mut parts: Vec<_> = parts.into_iter().map(|part| (part, 0)).collect();
    let counts: Vec<_> = {
        let cells: Vec<_> = parts.iter_mut().collect();
        team.each(cells, |(part, count)| {
            *count = match factor {
                Some(factor) => count_and_multiply(part, factor),
                None => count_wrong(part),
            };
        });
        parts.iter().map(|(_, count)| *count).collect()
    };
    counts.iter().sum()
}

wide! {
    fn multiply(gradients: &mut [f32], factor: f32) {
        for g in gradients {
            *g *= factor;
        }
    }

    fn subtract(gradients: &mut [f32], mean: f32) {
        for g in gradients {
            *g -= mean;
        }
    }

    fn count_and_multiply(gradients: &mut [f32], factor: f32) -> u32 {
        let mut wrong = 0;
        for g in gradients {
            wrong += u32::from(!g.is_finite());
            *g *= factor;
        }
        wrong
    }

    fn count_wrong(gradients: &[f32]) -> u32 {
        gradients.iter().map(|g| u32::from(!g.is_finite())).sum()
    }
}
