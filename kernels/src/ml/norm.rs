//! Normalisation of rows: layer normalisation and root-mean-square normalisation, and their gradients.
//!
//! With `n = cols`, row by row:
//!
//! | kind  | normal `v`                                      | out            | parameters   | statistics of a row |
//! | layer | `(x - mean) / sqrt(mean((x - mean)^2) + eps)`   | `gain v + shift` | gain, shift | mean, reciprocal deviation |
//! | rms   | `x / sqrt(mean(x^2) + eps)`                     | `gain v`         | gain        | reciprocal deviation |
//!
//! Sources: J. Ba, J. Kiros, G. Hinton, "Layer Normalization", arXiv:1607.06450, 2016, equation (4), with the variance's `eps` of
//! every implementation (1e-5 here); B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", `NeurIPS` 2019, equation (4).
//! Gradients, with `w = gain dy` and `s` the reciprocal deviation: `dx = s (w - mean(w) - v mean(w v))`, without `mean(w)` for
//! rms; `d gain = sum over rows of dy v`, `d shift = sum over rows of dy`, in the order of [`super::column_sum`].
//!
//! Work with `s` bytes an element, parameters and statistics not counted: forward `2 rows cols s` bytes, backward `3 rows cols s`;
//! flops per element 7 and 16 (layer), 4 and 12 (rms).

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use super::bound;
use super::column_sum::{self, blocks_of, rows_per_block};
use super::host::Sink;
use super::softmax::row_height;
use super::{DTYPES, cuda, expect, with_lane, workspace};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::element::DType;
use crate::lane::Lane;
use crate::ops::{EVERYWHERE, Op, OpInfo, reduce};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, cuda_source};
use crate::simd::wide;

static SOURCE: Source = cuda_source!("ml/norm.cu");
/// Added to variances.
const EPSILON: f32 = 1e-5;

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Layer normalisation: mean 0, deviation 1.
    Layer,
    /// Root mean square 1.
    Rms,
}

impl Kind {
    /// Numbers that a row keeps of itself, and parameters of a column.
    const fn width(self) -> usize {
        match self {
            Self::Layer => 2,
            Self::Rms => 1,
        }
    }

    const fn kernel(self) -> &'static str {
        match self {
            Self::Layer => "layer_norm",
            Self::Rms => "rms_norm",
        }
    }
}

/// The brick: normalisation of each row.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Which.
    pub kind: Kind,
    /// Rows, each by itself.
    pub rows: usize,
    /// Elements of a row, at least 1.
    pub cols: usize,
    /// Type of activations.
    pub dtype: DType,
}

impl Norm {
    /// Elements of `parameters` and of their gradient, `f32`: of layer normalisation all gains, then all shifts; else gains.
    pub fn parameters(&self) -> usize {
        self.kind.width() * self.cols
    }

    /// Elements of `statistics`, `f32`: a row's mean, where there is one, and reciprocal deviation, row by row.
    pub fn statistics(&self) -> usize {
        self.kind.width() * self.rows
    }

    /// Adds `out = norm(x)`, both `rows` by `cols`; `statistics` are kept for [`Self::backward`].
    pub fn forward(
        &self,
        program: &mut Program,
        x: usize,
        parameters: usize,
        out: usize,
        statistics: usize,
    ) {
        let (dtype, len) = (self.dtype, self.rows * self.cols);
        let own = [
            ("parameters", parameters, DType::F32, self.parameters()),
            ("statistics", statistics, DType::F32, self.statistics()),
        ];
        expect(
            program,
            "norm",
            &[("x", x, dtype, len), ("out", out, dtype, len)],
        );
        expect(program, "norm", &own);
        with_lane!(
            dtype,
            forward_on_cpu(program, *self, [x, parameters, out, statistics])
        );
        let launch = cuda::by_rows(&SOURCE, self.kind.kernel(), dtype, self.rows, self.cols);
        let buffers = [out, statistics, x, parameters].map(Arg::Buffer);
        program.launch(launch.args(buffers).args([Arg::F32(EPSILON)]));
    }

    /// Adds `dx` and the gradient of the parameters, given `x`, `parameters` and `statistics` of [`Self::forward`] and `dy`.
    pub fn backward(
        &self,
        program: &mut Program,
        [x, parameters, statistics, dy]: [usize; 4],
        dx: usize,
        dparameters: usize,
    ) {
        let (dtype, len) = (self.dtype, self.rows * self.cols);
        expect(
            program,
            "norm",
            &[
                ("x", x, dtype, len),
                ("dy", dy, dtype, len),
                ("dx", dx, dtype, len),
            ],
        );
        for (role, buffer, count) in [
            ("parameters", parameters, self.parameters()),
            ("statistics", statistics, self.statistics()),
            ("dparameters", dparameters, self.parameters()),
        ] {
            expect(program, "norm", &[(role, buffer, DType::F32, count)]);
        }
        let blocks = blocks_of(self.rows);
        let partials = workspace(
            program,
            "partial-gradients",
            DType::F32,
            blocks * self.parameters(),
        );
        with_lane!(
            dtype,
            backward_on_cpu(
                program,
                *self,
                [x, parameters, statistics, dy, dx, partials, dparameters]
            )
        );
        let kernel = format!("{}_backward", self.kind.kernel());
        let launch = cuda::by_rows(&SOURCE, &kernel, dtype, self.rows, self.cols);
        program.launch(launch.args([dx, x, parameters, statistics, dy].map(Arg::Buffer)));
        program.launch(self.partial_gradients([partials, x, statistics, dy]));
        column_sum::sum_blocks_on_cuda(program, blocks, self.parameters(), partials, dparameters);
    }

    fn partial_gradients(&self, buffers: [usize; 4]) -> Launch {
        let kernel = format!(
            "norm_parameters<{}, {}>",
            self.dtype.cuda(),
            self.kind == Kind::Layer
        );
        Launch {
            grid: [
                self.cols.div_ceil(32) as u32,
                blocks_of(self.rows) as u32,
                1,
            ],
            block: [32, 8, 1],
            ..Launch::new(&SOURCE, kernel, 0, 0)
        }
        .args(buffers.map(Arg::Buffer))
        .args([self.rows, self.cols, rows_per_block(self.rows)].map(Arg::size))
    }
}

fn forward_on_cpu<T: Lane>(program: &mut Program, norm: Norm, buffers: [usize; 4]) {
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
                let (mut room, mut values) = (vec![0.0; cols], vec![0.0; cols]);
                let mut sink = Sink::new(out, traffic);
                let rows = x.chunks_exact(cols).zip(statistics.chunks_exact_mut(kept));
                for (r, (x, statistics)) in rows.enumerate() {
                    let x = T::widen_all(x, &mut room);
                    let mean = if norm.kind == Kind::Layer {
                        reduce::sum(x) / cols as f32
                    } else {
                        0.0
                    };
                    less(&mut values, x, mean);
                    let scale =
                        1.0 / (reduce::dot(&values, &values) / cols as f32 + EPSILON).sqrt();
                    if norm.kind == Kind::Layer {
                        scaled_and_shifted(&mut values, scale, gains, shifts);
                    } else {
                        scaled(&mut values, scale, gains);
                    }
                    statistics[0] = mean;
                    statistics[kept - 1] = scale;
                    sink.put(r * cols, &values);
                }
            },
        );
    });
}

wide! {
    fn less(out: &mut [f32], x: &[f32], mean: f32) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = *x - mean;
        }
    }

    fn scaled_and_shifted(values: &mut [f32], scale: f32, gains: &[f32], shifts: &[f32]) {
        for (value, (gain, shift)) in values.iter_mut().zip(gains.iter().zip(shifts)) {
            *value = *value * scale * *gain + *shift;
        }
    }

    fn scaled(values: &mut [f32], scale: f32, gains: &[f32]) {
        for (value, gain) in values.iter_mut().zip(gains) {
            *value = *value * scale * *gain;
        }
    }

    /// The normal row, in place of `x`, and `gain dy`; adds `dy v` to the gradient of the gains.
    fn prepare(normal: &mut [f32], wanted: &mut [f32], dy: &[f32], gains: &[f32], dgains: &mut [f32], of_row: [f32; 2]) {
        let [mean, scale] = of_row;
        let outputs = normal.iter_mut().zip(wanted.iter_mut()).zip(dgains.iter_mut());
        for (((normal, wanted), dgain), (dy, gain)) in outputs.zip(dy.iter().zip(gains)) {
            *normal = (*normal - mean) * scale;
            *wanted = *dy * *gain;
            *dgain += *dy * *normal;
        }
    }

    /// `scale (wanted - level - normal along)`, in place of `wanted`.
    fn combine(wanted: &mut [f32], normal: &[f32], scale: f32, level: f32, along: f32) {
        for (wanted, normal) in wanted.iter_mut().zip(normal) {
            *wanted = scale * (*wanted - level - *normal * along);
        }
    }
}

/// Memory of one thread for rows as it goes.
struct Rooms {
    normal: Vec<f32>,
    wanted: Vec<f32>,
    dy: Vec<f32>,
}

impl Rooms {
    /// `dx` of a row in `wanted`; adds to the sums of the parameters' gradient.
    fn row<T: Lane>(
        &mut self,
        kind: Kind,
        [x, dy]: [&[T]; 2],
        statistics: &[f32],
        gains: &[f32],
        sums: &mut [f32],
    ) {
        let cols = x.len();
        crate::lane::widen(&mut self.normal, x);
        let dy = T::widen_all(dy, &mut self.dy);
        let (dgains, dshifts) = sums.split_at_mut(cols);
        let scale = statistics[statistics.len() - 1];
        let mean = if kind == Kind::Layer {
            statistics[0]
        } else {
            0.0
        };
        prepare(
            &mut self.normal,
            &mut self.wanted,
            dy,
            gains,
            dgains,
            [mean, scale],
        );
        let along = reduce::dot(&self.wanted, &self.normal) / cols as f32;
        let level = if kind == Kind::Layer {
            reduce::sum(&self.wanted) / cols as f32
        } else {
            0.0
        };
        column_sum::add(dshifts, &dy[..dshifts.len()]);
        combine(&mut self.wanted, &self.normal, scale, level, along);
    }
}

fn backward_on_cpu<T: Lane>(program: &mut Program, norm: Norm, buffers: [usize; 7]) {
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
                let room = || vec![0.0; cols];
                let mut rooms = Rooms {
                    normal: room(),
                    wanted: room(),
                    dy: room(),
                };
                let mut sink = Sink::new(dx, traffic);
                partials.fill(0.0);
                let rows = x
                    .chunks_exact(cols)
                    .zip(dy.chunks_exact(cols))
                    .zip(statistics.chunks_exact(kept));
                for (r, ((x, dy), statistics)) in rows.enumerate() {
                    let sums = &mut partials[r / height * kept * cols..][..kept * cols];
                    rooms.row(norm.kind, [x, dy], statistics, gains, sums);
                    sink.put(r * cols, &rooms.wanted);
                }
            },
        );
        column_sum::sum_blocks(team, partials, dparameters);
    });
}

/// The ops: a kind of norm, forward or backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormOp {
    kind: Kind,
    is_backward: bool,
}

impl NormOp {
    /// `layernorm`
    pub const LAYER: Self = Self {
        kind: Kind::Layer,
        is_backward: false,
    };
    /// `layernorm-backward`
    pub const LAYER_BACKWARD: Self = Self {
        kind: Kind::Layer,
        is_backward: true,
    };
    /// `rmsnorm`
    pub const RMS: Self = Self {
        kind: Kind::Rms,
        is_backward: false,
    };
    /// `rmsnorm-backward`
    pub const RMS_BACKWARD: Self = Self {
        kind: Kind::Rms,
        is_backward: true,
    };

    fn work(self, norm: &Norm) -> Result<Work, Failure> {
        let elements =
            parameters::product("`rows` and `cols`", &[norm.rows as u64, norm.cols as u64])?;
        let (arrays, flops) = match (self.kind, self.is_backward) {
            (Kind::Layer, false) => (2, 7),
            (Kind::Rms, false) => (2, 4),
            (Kind::Layer, true) => (3, 16),
            (Kind::Rms, true) => (3, 12),
        };
        Ok(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[elements, arrays, norm.dtype.bytes() as u64],
            )?),
            flops: Some(parameters::product(
                "`rows` and `cols`",
                &[elements, flops],
            )?),
            items: Some(elements),
            formula: format!(
                "bytes = {arrays} rows cols sizeof(T), flops = {flops} rows cols, items = rows cols"
            ),
        })
    }
}

impl Op for NormOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match (self.kind, self.is_backward) {
            (Kind::Layer, false) => ("layernorm", "layer normalisation of each row of a matrix"),
            (Kind::Layer, true) => (
                "layernorm-backward",
                "gradients of layer normalisation: of its input and parameters",
            ),
            (Kind::Rms, false) => (
                "rmsnorm",
                "root-mean-square normalisation of each row of a matrix",
            ),
            (Kind::Rms, true) => (
                "rmsnorm-backward",
                "gradients of root-mean-square normalisation: of its input and parameters",
            ),
        };
        OpInfo {
            name,
            summary,
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("cols"),
                parameters::dtype(DTYPES),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let dtype = arguments.dtype(DTYPES)?;
        let norm = Norm {
            kind: self.kind,
            rows: arguments.size("rows")?,
            cols: arguments.count("cols")?,
            dtype,
        };
        let mut program = Program::new(self.work(&norm)?);
        let len = parameters::size_product("`rows` and `cols`", &[norm.rows, norm.cols, 2])? / 2;
        let x = program.input(
            "x",
            dtype,
            len,
            Fill::Signed {
                stream: 0,
                scale: 2.0,
            },
        );
        let parameters = program.input(
            "parameters",
            DType::F32,
            norm.parameters(),
            Fill::Unit { stream: 1 },
        );
        if self.is_backward {
            // Whatever they are: the gradients are functions of them.
            let statistics = program.input(
                "statistics",
                DType::F32,
                norm.statistics(),
                Fill::Unit { stream: 2 },
            );
            let dy = program.input("dy", dtype, len, Fill::signed(3));
            let dx = program.output("dx", dtype, len);
            let dparameters = program.output("dparameters", DType::F32, norm.parameters());
            let inputs = [x, parameters, statistics, dy];
            norm.backward(&mut program, inputs, dx, dparameters);
            program.check(move |outcome| {
                with_lane!(
                    dtype,
                    check_backward(outcome, norm, inputs, [dx, dparameters])
                )
            });
        } else {
            let out = program.output("out", dtype, len);
            let statistics = program.output("statistics", DType::F32, norm.statistics());
            norm.forward(&mut program, x, parameters, out, statistics);
            program.check(move |outcome| {
                with_lane!(
                    dtype,
                    check(outcome, norm, [x, parameters, out, statistics])
                )
            });
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "rows" {
            size.min(if self.is_backward { 70 } else { 4 })
        } else {
            super::test_size(size)
        }
    }
}

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

fn wide<T: Lane>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| (*x).into()).collect()
}

/// The mean has `h` roundings relative to the mean magnitude `m`, and so have the differences; what that does to the variance is
/// of second order. The variance has `h + 4` relative to itself, its reciprocal root half of that and three, and three come after;
/// all relative to `|gain| (|x| + m) s + |shift|`.
fn check<T: Lane>(
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

fn check_backward<T: Lane>(
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
        let mean = if kind == Kind::Layer {
            statistics[kept * r].into()
        } else {
            0.0
        };
        [mean, f64::from(statistics[kept * r + kept - 1])]
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
