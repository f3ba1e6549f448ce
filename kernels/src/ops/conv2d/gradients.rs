//! Gradients of a convolution as an op, and their reference in `f64`.
//!
//! | pass      | what it computes                                                              | flops            |
//! |-----------|-------------------------------------------------------------------------------|------------------|
//! | `input`   | `dx[n, h, w, c] = sum over r, s, k of dy[n, p, q, k] f[r, s, c, k]`           | `2 N K P Q C R S` |
//! | `filters` | `df[r, s, c, k] = sum over n, p, q of x[n, h, w, c] dy[n, p, q, k]`           | `2 N K P Q C R S` |
//!
//! with `h = p stride + r - padding` and `w = q stride + s - padding`. Each element is a sum of at most `R S K`, or of `N P Q`, products in
//! some fixed order, and the tolerance is that of a product of this length. On CUDA devices each is computed by one thread.

use assay_protocol::{ArithmeticUnit, Failure, Philox, Work};

use super::brick::Convolution;
use super::shape::{self, Shape};
use super::{backward, parameters_of};
use crate::bound::likely_gamma;
use crate::check;
use crate::element::{DType, Real};
use crate::matrix::Store;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program};

/// Products that a verification may take.
const BUDGET: usize = 1 << 29;
/// Random stream of the elements that are compared, where not all are.
const CHOICE: u64 = 0xC0E0;

/// Of which operand the gradient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Input,
    Filters,
}

const PASSES: [(&str, Pass); 2] = [("input", Pass::Input), ("filters", Pass::Filters)];

/// The op.
pub struct Conv2dBackward;

impl Op for Conv2dBackward {
    fn info(&self) -> OpInfo {
        let mut parameters = parameters_of();
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        OpInfo {
            name: "conv2d-backward",
            summary: "gradients of a 2D convolution: of images NHWC, or of filters RSCK",
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = Shape::of(arguments)?;
        let brick = Convolution::of(shape)?;
        let pass = arguments.choice("pass", &PASSES)?;
        let mut program = Program::new(work(&shape, pass)?);
        program.unit = Some(ArithmeticUnit::F32);
        let mut input =
            |name, len, stream| program.input(name, DType::F32, len, Fill::signed(stream));
        let dy = input("dy", shape.outputs(), 2);
        let seed = arguments.0.seed.0;
        match pass {
            Pass::Input => {
                let filters = input("f", shape.weights(), 1);
                let dx = program.output("dx", DType::F32, shape.inputs());
                brick.backward_input(&mut program, dy, filters, dx);
                program.check(move |outcome| {
                    let [f, dy] = [filters, dy].map(|index| outcome.get::<f32>(index));
                    let exact = |i| of_input(&shape, f, dy, i);
                    compare(
                        outcome,
                        dx,
                        [shape.window() / shape.channels.max(1) * shape.filters; 2],
                        seed,
                        exact,
                    )
                });
            }
            Pass::Filters => {
                let x = input("x", shape.inputs(), 0);
                let df = program.output("df", DType::F32, shape.weights());
                brick.backward_filters(&mut program, x, dy, df, Store::Set);
                program.check(move |outcome| {
                    let [x, dy] = [x, dy].map(|index| outcome.get::<f32>(index));
                    let exact = |i| of_filters(&shape, x, dy, i);
                    compare(
                        outcome,
                        df,
                        [shape.pixels(), backward::additions(&shape)],
                        seed,
                        exact,
                    )
                });
            }
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        super::Conv2d.test_size(parameter, size)
    }
}

fn work(shape: &Shape, pass: Pass) -> Result<Work, Failure> {
    let flops = [2, shape.filters, shape.pixels(), shape.window()].map(|factor| factor as u64);
    let (of, result) = match pass {
        Pass::Input => ("N H W C", shape.inputs()),
        Pass::Filters => ("R S C K", shape.weights()),
    };
    // Each was counted in bytes.
    let lens = [shape.inputs(), shape.weights(), shape.outputs()];
    let bytes = lens
        .iter()
        .fold(0_u64, |sum, len| sum.saturating_add(4 * *len as u64));
    Ok(Work {
        bytes: Some(bytes),
        flops: Some(parameters::product(shape::NAMES, &flops)?),
        items: Some(result as u64),
        formula: format!(
            "bytes = (N H W C + R S C K + N P Q K) sizeof(f32), flops = 2 N K P Q C R S, items = {of}; \
             P = (H + 2 padding - R) / stride + 1, Q of W and S likewise, R = S = kernel"
        ),
    })
}

/// A sum, and the sum of the magnitudes of its terms.
type Sum = (f64, f64);

fn add(sum: &mut Sum, a: f32, b: f32) {
    let product = f64::from(a) * f64::from(b);
    sum.0 += product;
    sum.1 += product.abs();
}

/// Element `i` of the gradient of the images, by its definition.
#[allow(clippy::many_single_char_names)] // those of the definition: N, H, W, C; K, R, S; P, Q
fn of_input(shape: &Shape, filters: &[f32], dy: &[f32], i: usize) -> Sum {
    let Shape {
        channels,
        kernel,
        stride,
        padding,
        ..
    } = *shape;
    let (c, pixel) = (i % channels, i / channels);
    let (w, h, n) = (
        pixel % shape.width,
        pixel / shape.width % shape.height,
        pixel / shape.width / shape.height,
    );
    // The output's place whose window has element `by` here.
    let place = |at: usize, by: usize, most: usize| {
        let from = (at + padding).checked_sub(by)?;
        (from % stride == 0 && from / stride < most).then_some(from / stride)
    };
    let mut sum = (0.0, 0.0);
    for (r, s) in (0..kernel).flat_map(|r| (0..kernel).map(move |s| (r, s))) {
        let places = place(h, r, shape.out_height).zip(place(w, s, shape.out_width));
        let Some((p, q)) = places else { continue };
        let of_pixel = ((n * shape.out_height + p) * shape.out_width + q) * shape.filters;
        let of_place = ((r * kernel + s) * channels + c) * shape.filters;
        for k in 0..shape.filters {
            add(&mut sum, dy[of_pixel + k], filters[of_place + k]);
        }
    }
    sum
}

/// Element `i` of the gradient of the filters, by its definition.
#[allow(clippy::many_single_char_names)] // those of the definition: N, H, W, C; K, R, S; P, Q
fn of_filters(shape: &Shape, x: &[f32], dy: &[f32], i: usize) -> Sum {
    let Shape {
        channels,
        kernel,
        stride,
        padding,
        ..
    } = *shape;
    let (k, c, place) = (
        i % shape.filters,
        i / shape.filters % channels,
        i / shape.filters / channels,
    );
    let mut sum = (0.0, 0.0);
    for pixel in 0..shape.pixels() {
        let (q, p, n) = (
            pixel % shape.out_width,
            pixel / shape.out_width % shape.out_height,
            pixel / shape.out_width / shape.out_height,
        );
        let h = (p * stride + place / kernel).checked_sub(padding);
        let w = (q * stride + place % kernel).checked_sub(padding);
        let inside = h
            .zip(w)
            .filter(|(h, w)| *h < shape.height && *w < shape.width);
        if let Some((h, w)) = inside {
            let seen = x[((n * shape.height + h) * shape.width + w) * channels + c];
            add(&mut sum, seen, dy[pixel * shape.filters + k]);
        }
    }
    sum
}

/// Compares elements, all or as many as can be computed again, each of which is a sum of at most so many products, with so many
/// additions.
fn compare(
    outcome: &Outcome,
    result: usize,
    [products, additions]: [usize; 2],
    seed: u64,
    exact: impl Fn(usize) -> Sum + Sync,
) -> Checked {
    let found = outcome.get::<f32>(result);
    let count = (BUDGET / products.max(1)).max(64).min(found.len());
    let random = Philox::new(seed, CHOICE);
    let chosen = |turn: usize| match found.len() {
        all if all == count => turn,
        all => {
            // One of each of as many equal parts.
            let (first, end) = (turn * all / count, (turn + 1) * all / count);
            first + random.word(turn as u64) as usize % (end - first)
        }
    };
    let error = check::worst(count, |turn| {
        let i = chosen(turn);
        let (exact, magnitude) = exact(i);
        check::relative(found[i].into(), exact, magnitude)
    });
    let length = additions as u64;
    Checked {
        error,
        tolerance: likely_gamma(length, f32::UNIT_ROUNDOFF)
            + likely_gamma(length, f64::UNIT_ROUNDOFF),
        detail: format!(
            "largest |found - exact| / sum of magnitudes, of {count} of {} elements; bound: the smaller of gamma_n and 10 sqrt(n) u, \
             n = {length}",
            found.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, of_filters, of_input};
    use crate::gradient::{assert_gradient, numbers};

    const SHAPE: Shape = Shape {
        batch: 2,
        channels: 2,
        filters: 3,
        height: 5,
        width: 4,
        kernel: 3,
        stride: 2,
        padding: 1,
        out_height: 3,
        out_width: 2,
    };

    /// The sum of an output with some numbers, of which the gradients are those of these numbers.
    fn forward(x: &[f64], f: &[f64], dy: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (pixel, dy) in dy.chunks_exact(SHAPE.filters).enumerate() {
            let window = SHAPE.window_of(pixel);
            for r in 0..SHAPE.kernel {
                let (at, source) = SHAPE.part_of_line(&window, r);
                let first = r * SHAPE.line() + at;
                for (x, place) in x[source].iter().zip(first..) {
                    let filters = &f[place * SHAPE.filters..][..SHAPE.filters];
                    sum += filters
                        .iter()
                        .zip(dy)
                        .map(|(f, dy)| x * f * dy)
                        .sum::<f64>();
                }
            }
        }
        sum
    }

    /// Numbers that `f32` has exactly.
    fn short(stream: u64, len: usize) -> (Vec<f32>, Vec<f64>) {
        let short: Vec<f32> = numbers(stream, len).iter().map(|x| *x as f32).collect();
        let wide = short.iter().map(|x| f64::from(*x)).collect();
        (short, wide)
    }

    #[test]
    fn the_references_are_the_gradients() {
        let (x, wide_x) = short(0, SHAPE.inputs());
        let (f, wide_f) = short(1, SHAPE.weights());
        let (dy, wide_dy) = short(2, SHAPE.outputs());
        let dx: Vec<f64> = (0..x.len())
            .map(|i| of_input(&SHAPE, &f, &dy, i).0)
            .collect();
        assert_gradient("images", &dx, |x| forward(x, &wide_f, &wide_dy), &wide_x);
        let df: Vec<f64> = (0..f.len())
            .map(|i| of_filters(&SHAPE, &x, &dy, i).0)
            .collect();
        assert_gradient("filters", &df, |f| forward(&wide_x, f, &wide_dy), &wide_f);
    }
}
