//! Normalisation on the host. A row comes from memory once, and is gone over again in the cache, while the next one is on its way.

use super::{EPSILON, Kind, Norm};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::lane::Lane;
use crate::matrix::Store;
use crate::ml::column_sum::{self, rows_per_block};
use crate::ml::host::{BLOCK, Sink, fetch, rows_ahead};
use crate::ops::reduce::{self, LANES, fold_lanes};
use crate::program::Program;
use crate::simd::wide;

pub fn forward<T: Lane>(program: &mut Program, norm: Norm, buffers: [usize; 4]) {
    let (cols, kept) = (norm.cols, norm.kind.width());
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [x, parameters, out, statistics] = all.many(buffers);
        let traffic = 2 * x.bytes().len();
        let (gains, shifts) = parameters.get::<f32>().split_at(cols);
        let outputs = team
            .split_mut(out.get_mut::<T>(), cols)
            .into_iter()
            .zip(team.split_mut(statistics.get_mut::<f32>(), kept));
        let parts = outputs.zip(team.split(x.get::<T>(), cols));
        team.each(
            parts.collect(),
            |((out, statistics), x): &mut ((&mut [T], &mut [f32]), &[T])| {
                let (mut room, mut sums) = (vec![0.0; cols], vec![]);
                let mut sink = Sink::new(out, traffic);
                let rows = rows_ahead(x, cols).zip(statistics.chunks_exact_mut(kept));
                for (r, ([x, next], statistics)) in rows.enumerate() {
                    let x = T::widen_all(x, &mut room);
                    let [mean, scale] = moments(norm.kind, x, &mut sums);
                    statistics[0] = mean;
                    statistics[kept - 1] = scale;
                    sink.compute(r * cols, cols, |range, out| {
                        fetch(&next[range.clone()]);
                        let (x, gains) = (&x[range.clone()], &gains[range.clone()]);
                        match norm.kind {
                            Kind::Layer => {
                                scaled_and_shifted(out, x, [mean, scale], gains, &shifts[range]);
                            }
                            Kind::Rms => scaled(out, x, scale, gains),
                        }
                    });
                }
            },
        );
    });
}

/// Mean, where it counts, and reciprocal deviation of a row. The room is for sums of blocks.
fn moments(kind: Kind, x: &[f32], sums: &mut Vec<f32>) -> [f32; 2] {
    let mean = match kind {
        Kind::Layer => reduce::sum(x) / x.len() as f32,
        Kind::Rms => 0.0,
    };
    sums.clear();
    sums.extend(reduce::blocks(x.len()).map(|block| squares(&x[block], mean)));
    let variance = reduce::tree(&|index| sums[index], 0, sums.len()) / x.len() as f32;
    [mean, 1.0 / (variance + EPSILON).sqrt()]
}

wide! {
    /// The sum of the squares of differences from a mean, of at most [`reduce::BLOCK`] numbers.
    fn squares(x: &[f32], mean: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        for x in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(x) {
                *lane += (*x - mean) * (*x - mean);
            }
        }
        fold_lanes(&mut lanes)
    }

    fn scaled_and_shifted(out: &mut [f32], x: &[f32], of_row: [f32; 2], gains: &[f32], shifts: &[f32]) {
        let [mean, scale] = of_row;
        let parameters = gains.iter().zip(shifts);
        for ((out, x), (gain, shift)) in out.iter_mut().zip(x).zip(parameters) {
            *out = (*x - mean) * scale * *gain + *shift;
        }
    }

    fn scaled(out: &mut [f32], x: &[f32], scale: f32, gains: &[f32]) {
        for ((out, x), gain) in out.iter_mut().zip(x).zip(gains) {
            *out = *x * scale * *gain;
        }
    }

    /// Adds `dy v` to the gradient of the gains, with `v` the normal row, and to the partial sums of the row `gain dy v` and
    /// `gain dy`.
    fn add_products(x: &[f32], dy: &[f32], of_row: [f32; 2], gains: &[f32], dgains: &mut [f32], sums: &mut [[f32; LANES]; 2]) {
        let [mean, scale] = of_row;
        let [along, level] = sums;
        let rows = x.chunks(LANES).zip(dy.chunks(LANES)).zip(gains.chunks(LANES));
        for (((x, dy), gains), dgains) in rows.zip(dgains.chunks_mut(LANES)) {
            let lanes = along.iter_mut().zip(level.iter_mut()).zip(dgains);
            for (((along, level), dgain), ((x, dy), gain)) in lanes.zip(x.iter().zip(dy).zip(gains)) {
                let normal = (*x - mean) * scale;
                let wanted = *dy * *gain;
                *dgain += *dy * normal;
                *along += wanted * normal;
                *level += wanted;
            }
        }
    }

    /// `scale (gain dy - level - v along)`.
    fn combine(dx: &mut [f32], x: &[f32], dy: &[f32], gains: &[f32], of_row: [f32; 2], means: [f32; 2]) {
        let ([mean, scale], [along, level]) = (of_row, means);
        for ((dx, x), (dy, gain)) in dx.iter_mut().zip(x).zip(dy.iter().zip(gains)) {
            let normal = (*x - mean) * scale;
            *dx = scale * (*dy * *gain - level - normal * along);
        }
    }
}

/// The means over a row of `gain dy v` and of `gain dy`; adds to the sums of the parameters' gradient. The room is for sums of
/// blocks.
fn means(
    [x, dy]: [&[f32]; 2],
    of_row: [f32; 2],
    gains: &[f32],
    gradient: &mut [f32],
    sums: &mut Vec<[f32; 2]>,
) -> [f32; 2] {
    let (dgains, dshifts) = gradient.split_at_mut(x.len());
    sums.clear();
    for block in reduce::blocks(x.len()) {
        let mut lanes = [[0.0; LANES]; 2];
        // So few at a time that they are still in the first cache for the second function.
        for first in block.clone().step_by(BLOCK) {
            let run = first..block.end.min(first + BLOCK);
            let (x, dy, gains) = (&x[run.clone()], &dy[run.clone()], &gains[run.clone()]);
            add_products(x, dy, of_row, gains, &mut dgains[run.clone()], &mut lanes);
            if !dshifts.is_empty() {
                column_sum::add(&mut dshifts[run], dy);
            }
        }
        sums.push(lanes.each_mut().map(fold_lanes));
    }
    let count = x.len() as f32;
    [0, 1].map(|which| reduce::tree(&|index| sums[index][which], 0, sums.len()) / count)
}

pub fn backward<T: Lane>(program: &mut Program, norm: Norm, buffers: [usize; 7]) {
    let (cols, kept, height) = (norm.cols, norm.kind.width(), rows_per_block(norm.rows));
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [x, parameters, statistics, dy, dx, partials, dparameters] = all.many(buffers);
        let traffic = 3 * x.bytes().len();
        let gains = &parameters.get::<f32>()[..cols];
        let inputs = team
            .split(x.get::<T>(), height * cols)
            .into_iter()
            .zip(team.split(dy.get::<T>(), height * cols));
        let inputs = inputs.zip(team.split(statistics.get::<f32>(), height * kept));
        let outputs = team
            .split_mut(dx.get_mut::<T>(), height * cols)
            .into_iter()
            .zip(team.split_mut(partials.get_mut::<f32>(), kept * cols));
        team.each(
            outputs.zip(inputs).collect(),
            |((dx, partials), ((x, dy), statistics))| {
                let (mut x_room, mut dy_room) = (vec![0.0; cols], vec![0.0; cols]);
                let mut sums = vec![];
                let mut sink = Sink::new(dx, traffic);
                partials.fill(0.0);
                let rows = rows_ahead(x, cols)
                    .zip(rows_ahead(dy, cols))
                    .zip(statistics.chunks_exact(kept));
                for (r, (([x, next_x], [dy, next_dy]), statistics)) in rows.enumerate() {
                    let gradient = &mut partials[r / height * kept * cols..][..kept * cols];
                    let (x, dy) = (T::widen_all(x, &mut x_room), T::widen_all(dy, &mut dy_room));
                    let of_row = norm.kind.of_row(statistics);
                    let mut means = means([x, dy], of_row, gains, gradient, &mut sums);
                    if norm.kind == Kind::Rms {
                        means[1] = 0.0;
                    }
                    sink.compute(r * cols, cols, |range, dx| {
                        fetch(&next_x[range.clone()]);
                        fetch(&next_dy[range.clone()]);
                        let (x, dy) = (&x[range.clone()], &dy[range.clone()]);
                        combine(dx, x, dy, &gains[range], of_row, means);
                    });
                }
            },
        );
        column_sum::sum_blocks(team, partials, dparameters, Store::Set);
    });
}
