//! Normalisation on the host. A row comes from memory once, and is gone over again in the cache, while the next one is on its way.

use super::{EPSILON, Kind, Norm};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::lane::Lane;
use crate::matrix::Store;
use crate::ml::column_sum::{self, rows_per_block};
use crate::ml::host::{Each, Sink, pointwise, rows_ahead};
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
                    match norm.kind {
                        Kind::Layer => {
                            let kernel = Each(ScaledAndShifted { mean, scale });
                            sink.row(r * cols, &kernel, [x, gains, shifts], [next]);
                        }
                        Kind::Rms => {
                            sink.row(r * cols, &Each(Scaled(scale)), [x, gains], [next]);
                        }
                    }
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

/// Layernorm of a number, its gain and its shift.
struct ScaledAndShifted {
    mean: f32,
    scale: f32,
}

pointwise!(ScaledAndShifted, |this, [x, gain, shift], 3 => 1| {
    [(x - this.mean) * this.scale * gain + shift]
});

/// Rmsnorm of a number and its gain.
struct Scaled(f32);

pointwise!(Scaled, |Scaled(scale), [x, gain], 2 => 1| [x * scale * gain]);

/// The gradient of a number, of it, that of its result, and its gain: `scale (gain dy - level - v along)`.
struct Combined {
    of_row: [f32; 2],
    means: [f32; 2],
}

pointwise!(Combined, |this, [x, dy, gain], 3 => 1| {
    let ([mean, scale], [along, level]) = (this.of_row, this.means);
    let normal = (x - mean) * scale;
    [scale * (dy * gain - level - normal * along)]
});

wide! {
    /// The sum of the squares of differences from a mean, of at most [`reduce::BLOCK`] numbers.
    fn squares(x: &[f32], mean: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        let (rows, rest) = x.as_chunks::<LANES>();
        for row in rows {
            for (lane, x) in lanes.iter_mut().zip(row) {
                *lane += (*x - mean) * (*x - mean);
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += (*x - mean) * (*x - mean);
        }
        fold_lanes(&mut lanes)
    }

    /// Adds `dy v` to the gradient of the gains, with `v` the normal row, and to the partial sums of the row `gain dy v` and
    /// `gain dy`; and if there is one, `dy` to the gradient of the shifts.
    fn add_products<S: Shifts>(x: &[f32], dy: &[f32], of_row: [f32; 2], gains: &[f32], gradients: [&mut [f32]; 2], sums: &mut [[f32; LANES]; 2]) {
        let whole = x.len() / LANES * LANES;
        let [dgains, dshifts] = gradients;
        let [mut along, mut level] = *sums;
        let rows = x.as_chunks::<LANES>().0.iter().zip(dy.as_chunks::<LANES>().0);
        let rows = rows.zip(gains.as_chunks::<LANES>().0.iter().zip(dgains.as_chunks_mut::<LANES>().0));
        for (index, ((x, dy), (gains, dgains))) in rows.enumerate() {
            for lane in 0..LANES {
                let [of_gain, of_along, of_level] = products(x[lane], dy[lane], of_row, gains[lane]);
                dgains[lane] += of_gain;
                along[lane] += of_along;
                level[lane] += of_level;
            }
            if S::ARE_THERE {
                let dshifts = &mut dshifts[index * LANES..][..LANES];
                for (dshift, dy) in dshifts.iter_mut().zip(dy) {
                    *dshift += *dy;
                }
            }
        }
        let lanes = along.iter_mut().zip(level.iter_mut()).zip(&mut dgains[whole..]);
        let rest = x[whole..].iter().zip(&dy[whole..]).zip(&gains[whole..]);
        for (((along, level), dgain), ((x, dy), gain)) in lanes.zip(rest) {
            let [of_gain, of_along, of_level] = products(*x, *dy, of_row, *gain);
            *dgain += of_gain;
            *along += of_along;
            *level += of_level;
        }
        if S::ARE_THERE {
            for (dshift, dy) in dshifts[whole..].iter_mut().zip(&dy[whole..]) {
                *dshift += *dy;
            }
        }
        *sums = [along, level];
    }
}

/// Whether a norm shifts.
trait Shifts {
    /// Whether it does.
    const ARE_THERE: bool;
}

struct Shifted;
struct Unshifted;

impl Shifts for Shifted {
    const ARE_THERE: bool = true;
}

impl Shifts for Unshifted {
    const ARE_THERE: bool = false;
}

/// `dy v`, `gain dy v` and `gain dy`.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn products(x: f32, dy: f32, [mean, scale]: [f32; 2], gain: f32) -> [f32; 3] {
    let normal = (x - mean) * scale;
    let wanted = dy * gain;
    [dy * normal, wanted * normal, wanted]
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
        let (x, dy, gains) = (&x[block.clone()], &dy[block.clone()], &gains[block.clone()]);
        let dgains = &mut dgains[block.clone()];
        if dshifts.is_empty() {
            add_products::<Unshifted>(x, dy, of_row, gains, [dgains, &mut []], &mut lanes);
        } else {
            let gradients = [dgains, &mut dshifts[block]];
            add_products::<Shifted>(x, dy, of_row, gains, gradients, &mut lanes);
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
                    let kernel = Each(Combined { of_row, means });
                    sink.row(r * cols, &kernel, [x, dy, gains], [next_x, next_dy]);
                }
            },
        );
        column_sum::sum_blocks(team, partials, dparameters, Store::Set);
    });
}
