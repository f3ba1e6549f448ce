//! Softmax over the rows of a matrix, as attention and classifiers use it, and its gradient.
//!
//! `out[r][c] = exp(in[r][c] - max_r) / sum_c exp(in[r][c] - max_r)`, row-major. With `s` bytes an element: `2 rows cols s`
//! bytes; `5 rows cols` flops, counting per element one comparison, subtraction, exponential, addition and multiplication. On
//! CUDA devices maximum and sum are found in one pass ("online"). Gradient, of `y` the output: `dx = y (dy - sum_c y dy)`;
//! `3 rows cols s` bytes, `4 rows cols` flops.
//!
//! Error: the subtraction rounds, which an exponential of an argument of magnitude up to `R` magnifies to
//! `R` roundings; the exponential itself adds [`EXP`](super::bound::EXP); both enter numerator and denominator; the
//! sum adds its height `h`, reciprocal and product one each: `2 (R + E) + h + 2` roundings,
//! relative to each element. This is the analysis of P. Blanchard, D. J. Higham, N. J. Higham, "Accurately
//! computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41(4), 2021,
//! section 4, with our order of summation. The online sum is rescaled whenever a larger element comes, which rounds no more often
//! than it adds: twice the height; on the host once for each block of a long row. The gradient's sum adds its height to two products and a difference.

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use super::bound::{self, EXP, wide};
use super::host::{Each, Sink, fetch, pointwise, rows_ahead};
use super::{DTYPES, cuda, expect, with_lane};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::element::DType;
use crate::lane::Lane;
use crate::math;
use crate::ops::reduce::{self, LANES, fold_lanes};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Outcome, Program, Source, cuda_source};
use crate::simd::wide;

static SOURCE: Source = cuda_source!("ml/softmax.cu");
/// Inputs are this many times a number on [-1, 1).
const SPREAD: f32 = 8.0;

/// The brick: softmax of each row.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// Rows, each by itself.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Type of all of it.
    pub dtype: DType,
}

impl Softmax {
    /// Adds `out = softmax(x)`; both are `rows` by `cols`.
    pub fn forward(&self, program: &mut Program, x: usize, out: usize) {
        let len = self.rows * self.cols;
        expect(
            program,
            "softmax",
            &[("x", x, self.dtype, len), ("out", out, self.dtype, len)],
        );
        let width = self.cols.max(1);
        with_lane!(self.dtype, forward_on_cpu(program, width, [x, out]));
        let launch = cuda::by_rows(&SOURCE, "softmax", self.dtype, self.rows, self.cols);
        program.launch(launch.args([out, x].map(Arg::Buffer)));
    }

    /// Adds `dx = y (dy - sum y dy)`, where `y` is the output of [`Self::forward`]; all are `rows` by `cols`.
    pub fn backward(&self, program: &mut Program, y: usize, dy: usize, dx: usize) {
        let (dtype, len) = (self.dtype, self.rows * self.cols);
        expect(
            program,
            "softmax",
            &[
                ("y", y, dtype, len),
                ("dy", dy, dtype, len),
                ("dx", dx, dtype, len),
            ],
        );
        let width = self.cols.max(1);
        with_lane!(dtype, backward_on_cpu(program, width, [y, dy, dx]));
        let launch = cuda::by_rows(&SOURCE, "softmax_backward", dtype, self.rows, self.cols);
        program.launch(launch.args([dx, y, dy].map(Arg::Buffer)));
    }
}

fn forward_on_cpu<T: Lane>(program: &mut Program, width: usize, buffers: [usize; 2]) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [x, out] = all.many(buffers);
        let traffic = 2 * x.bytes().len();
        let parts = team
            .split_mut(out.get_mut::<T>(), width)
            .into_iter()
            .zip(team.split(x.get::<T>(), width));
        team.each(parts.collect(), |(out, x): &mut (&mut [T], &[T])| {
            let mut values = vec![0.0; width];
            let mut blocks = Blocks::default();
            let mut sink = Sink::new(out, traffic);
            for (r, [x, next]) in rows_ahead(x, width).enumerate() {
                let [_, sum] = blocks.exponentials([x, next], Some(&mut values));
                blocks.rescale(&mut values);
                sink.row(r * width, &Each(Times(1.0 / sum)), [&values], []);
            }
        });
    });
}

fn backward_on_cpu<T: Lane>(program: &mut Program, width: usize, buffers: [usize; 3]) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [y, dy, dx] = all.many(buffers);
        let traffic = 3 * y.bytes().len();
        let inputs = team
            .split(y.get::<T>(), width)
            .into_iter()
            .zip(team.split(dy.get::<T>(), width));
        let parts = team
            .split_mut(dx.get_mut::<T>(), width)
            .into_iter()
            .zip(inputs);
        team.each(
            parts.collect(),
            |(dx, (y, dy)): &mut (&mut [T], (&[T], &[T]))| {
                let (mut left, mut right) = (vec![0.0; width], vec![0.0; width]);
                let mut sink = Sink::new(dx, traffic);
                let rows = rows_ahead(y, width).zip(rows_ahead(dy, width));
                for (r, ([y, next_y], [dy, next_dy])) in rows.enumerate() {
                    let (y, dy) = (T::widen_all(y, &mut left), T::widen_all(dy, &mut right));
                    let sum = reduce::dot(y, dy);
                    let kernel = Each(Gradient { sum });
                    sink.row(r * width, &kernel, [y, dy], [next_y, next_dy]);
                }
            },
        );
    });
}

/// The exponentials of rows, block by block: a row is read from memory once, and corrected where a later block has a larger number.
#[derive(Default)]
pub struct Blocks {
    /// The largest number of each block of the row.
    tops: Vec<f32>,
    sums: Vec<f32>,
    /// The largest of all.
    top: f32,
    /// For a block.
    room: Vec<f32>,
}

impl Blocks {
    /// The largest number of a row, at least one, and the sum of the exponentials beneath it. `values` gets those exponentials,
    /// before [`Self::rescale`] beneath the largest of their block. The row that comes `next` is asked for meanwhile.
    pub fn exponentials<T: Lane>(
        &mut self,
        [x, next]: [&[T]; 2],
        mut values: Option<&mut [f32]>,
    ) -> [f32; 2] {
        let Self {
            tops,
            sums,
            top,
            room,
        } = self;
        room.resize(reduce::BLOCK, 0.0);
        tops.clear();
        sums.clear();
        for block in reduce::blocks(x.len()) {
            let x = T::widen_all(&x[block.clone()], &mut room[..block.len()]);
            let largest = maximum(x);
            // Of minus infinities alone all exponentials are 0.
            let beneath = if largest == f32::NEG_INFINITY {
                0.0
            } else {
                largest
            };
            let mut lanes = [0.0; LANES];
            let next = &next[block.clone()];
            match &mut values {
                Some(values) => exponentials(&mut values[block], x, next, beneath, &mut lanes),
                None => add_exponentials(x, next, beneath, &mut lanes),
            }
            tops.push(largest);
            sums.push(fold_lanes(&mut lanes));
        }
        *top = maximum(tops);
        let scaled = |index: usize| sums[index] * factor(tops[index], *top);
        [*top, reduce::tree(&scaled, 0, sums.len())]
    }

    /// Makes exponentials beneath the largest number of a block such of the row.
    fn rescale(&self, values: &mut [f32]) {
        for (values, top) in values.chunks_mut(reduce::BLOCK).zip(&self.tops) {
            if top.to_bits() != self.top.to_bits() {
                scale(values, factor(*top, self.top));
            }
        }
    }
}

/// What exponentials beneath `top` are times those beneath `largest`.
fn factor(top: f32, largest: f32) -> f32 {
    if top.to_bits() == largest.to_bits() {
        1.0
    } else {
        math::exp(top - largest)
    }
}

/// Numbers less another.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn less(x: &[f32; LANES], top: f32) -> [f32; LANES] {
    let mut less = *x;
    for x in &mut less {
        *x -= top;
    }
    less
}

/// A number times a factor.
struct Times(f32);

pointwise!(Times, |Times(factor), [x], 1 => 1| [x * factor]);

/// The gradient, of `y` and `dy`, given the sum of their products.
struct Gradient {
    sum: f32,
}

pointwise!(Gradient, |Gradient { sum }, [y, dy], 2 => 1| [y * (dy - sum)]);

wide! {
    /// Exponentials beneath `top`, the largest of all, which are added to partial sums. As many of those that come `next` are fetched.
    fn exponentials<T: Lane>(out: &mut [f32], x: &[f32], next: &[T], top: f32, lanes: &mut [f32; LANES]) {
        let (rows, rest) = x.as_chunks::<LANES>();
        let (out_rows, out_rest) = out.as_chunks_mut::<LANES>();
        let mut sums = *lanes;
        for ((out, x), next) in out_rows.iter_mut().zip(rows).zip(next.as_chunks::<LANES>().0) {
            fetch(next);
            *out = math::exp_beneath_of(&less(x, top));
            for (sum, x) in sums.iter_mut().zip(&*out) {
                *sum += *x;
            }
        }
        for ((lane, out), x) in sums.iter_mut().zip(out_rest).zip(rest) {
            *out = math::exp_beneath(*x - top);
            *lane += *out;
        }
        *lanes = sums;
    }

    /// As [`exponentials`], the sums alone.
    fn add_exponentials<T: Lane>(x: &[f32], next: &[T], top: f32, lanes: &mut [f32; LANES]) {
        let (rows, rest) = x.as_chunks::<LANES>();
        let mut sums = *lanes;
        for (x, next) in rows.iter().zip(next.as_chunks::<LANES>().0) {
            fetch(next);
            for (sum, x) in sums.iter_mut().zip(&math::exp_beneath_of(&less(x, top))) {
                *sum += *x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *sum += math::exp_beneath(*x - top);
        }
        *lanes = sums;
    }

    fn scale(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }

    /// The largest of a row's numbers; what is none shows in the sum.
    pub fn maximum(row: &[f32]) -> f32 {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let mut chunks = row.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = larger(*lane, *x);
            }
        }
        let rest = chunks.remainder().iter().copied();
        lanes
            .into_iter()
            .chain(rest)
            .fold(f32::NEG_INFINITY, larger)
    }
}

/// The ops: [`Softmax::forward`] and [`Softmax::backward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftmaxOp {
    /// `softmax`
    Forward,
    /// `softmax-backward`
    Backward,
}

impl Op for SoftmaxOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match self {
            Self::Forward => ("softmax", "softmax of each row of a matrix"),
            Self::Backward => (
                "softmax-backward",
                "gradient of the softmax of each row of a matrix",
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
        let brick = Softmax {
            rows: arguments.size("rows")?,
            cols: arguments.size("cols")?,
            dtype,
        };
        let elements = parameters::size_product("`rows` and `cols`", &[brick.rows, brick.cols])?;
        let (arrays, flops) = if *self == Self::Forward {
            (2, 5)
        } else {
            (3, 4)
        };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[elements as u64, arrays, dtype.bytes() as u64],
            )?),
            flops: Some(parameters::product(
                "`rows` and `cols`",
                &[elements as u64, flops],
            )?),
            items: Some(elements as u64),
            formula: format!(
                "bytes = {arrays} rows cols sizeof(T), flops = {flops} rows cols, items = rows cols"
            ),
        });
        let width = brick.cols.max(1);
        match self {
            Self::Forward => {
                let x = program.input(
                    "in",
                    dtype,
                    elements,
                    Fill::Signed {
                        stream: 0,
                        scale: SPREAD,
                    },
                );
                let out = program.output("out", dtype, elements);
                brick.forward(&mut program, x, out);
                program.check(move |outcome| with_lane!(dtype, check(outcome, [x, out], width)));
            }
            Self::Backward => {
                let y = program.input("y", dtype, elements, Fill::Unit { stream: 0 });
                let dy = program.input("dy", dtype, elements, Fill::signed(1));
                let dx = program.output("dx", dtype, elements);
                brick.backward(&mut program, y, dy, dx);
                program.check(move |outcome| {
                    with_lane!(dtype, check_backward(outcome, [y, dy, dx], width))
                });
            }
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "rows" {
            size.min(4)
        } else {
            super::test_size(size)
        }
    }
}

/// Additions on the longest path through a sum over a row, on any device: a thread of a CUDA device adds up to 4 packs of 8, or, of
/// long rows, those that 1024 threads have each; then come the threads' sums.
pub fn row_height(cols: usize) -> u64 {
    let of_thread = cols.min(32.max(cols.div_ceil(1024) + 8));
    reduce::height(cols).max(of_thread as u64 + 10)
}

fn check<T: Lane>(outcome: &Outcome, [input, out]: [usize; 2], cols: usize) -> Checked {
    let rows = outcome
        .get::<T>(out)
        .par_chunks_exact(cols)
        .zip(outcome.get::<T>(input).par_chunks_exact(cols));
    let compared = rows.map(|(out, input)| {
        let x = wide(input);
        let exact = exact(&x);
        let range = x.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b))
            - x.iter().fold(f64::INFINITY, |a, b| a.min(*b));
        let roundings = 2 * (range.ceil() as u64 + EXP) + 2 * row_height(cols) + 2;
        bound::compare(out, roundings, "|out - exact| / exact", |c| {
            (exact[c], exact[c])
        })
    });
    bound::worst(compared.collect::<Vec<_>>())
}

fn check_backward<T: Lane>(outcome: &Outcome, [y, dy, dx]: [usize; 3], cols: usize) -> Checked {
    let inputs = outcome
        .get::<T>(y)
        .par_chunks_exact(cols)
        .zip(outcome.get::<T>(dy).par_chunks_exact(cols));
    let compared = outcome
        .get::<T>(dx)
        .par_chunks_exact(cols)
        .zip(inputs)
        .map(|(dx, (y, dy))| {
            let (y, dy) = (wide(y), wide(dy));
            let exact = exact_gradient(&y, &dy);
            let magnitude: f64 = y.iter().zip(&dy).map(|(y, dy)| (y * dy).abs()).sum();
            bound::compare(
                dx,
                row_height(cols) + 3,
                "|dx - exact| / y (|dy| + sum |y dy|)",
                |c| (exact[c], y[c] * (dy[c].abs() + magnitude)),
            )
        });
    bound::worst(compared.collect::<Vec<_>>())
}

/// Softmax of a row.
fn exact(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = x.iter().map(|x| (x - largest).exp()).sum();
    x.iter().map(|x| (x - largest).exp() / total).collect()
}

/// Its gradient, given its output.
fn exact_gradient(y: &[f64], dy: &[f64]) -> Vec<f64> {
    let sum: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
    y.iter().zip(dy).map(|(y, dy)| y * (dy - sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::{exact, exact_gradient};
    use crate::gradient::{assert_gradient, numbers};

    #[test]
    fn the_reference_is_the_gradient() {
        let (x, dy) = (numbers(0, 7), numbers(1, 7));
        let f = |x: &[f64]| exact(x).iter().zip(&dy).map(|(y, dy)| y * dy).sum();
        assert_gradient("softmax", &exact_gradient(&exact(&x), &dy), f, &x);
    }
}
