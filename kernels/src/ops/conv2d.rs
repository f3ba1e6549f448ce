//! Convolution in two dimensions, forward, as networks mean it (a cross-correlation: filters are not turned round).
//!
//! `y[n, p, q, k] = sum over r, s, c of x[n, p stride + r - padding, q stride + s - padding, c] f[r, s, c, k]`, with zeros
//! outside of the image. Images are stored with the channel innermost (NHWC), filters by place, channel, filter (RSCK, also
//! called HWIO). So the windows of all output pixels are the rows of a matrix of `N P Q` by `R S C`, filters as they lie
//! one of `R S C` by `K`, and their product is the output as it lies; what a line of a window takes from an image is one
//! piece of memory, and the matrices of both gradients are these, transposed.
//!
//! | `variant`       | CPU                                              | CUDA                                              |
//! |-----------------|--------------------------------------------------|---------------------------------------------------|
//! | `implicit-gemm` | [windows are packed as they are needed](implicit) | tiles of that product; windows are looked up      |
//! | `direct`        | [windows are read where they are](direct)        | tiles of pixels and of filters in shared memory   |
//!
//! Work: `2 N K P Q C R S` flops; input, filters and output once each (V. Sze, Y.-H. Chen, T.-J. Yang, J. S. Emer,
//! "Efficient processing of deep neural networks: a tutorial and survey", Proc. IEEE 105(12), 2017, section III and equation
//! 1). Products with the zeros outside of the image are counted, as is usual.
//!
//! Each element is a sum of `C R S` products in some fixed order. The tolerance is that of a matrix product of this length:
//! the smaller of `gamma` and its probabilistic counterpart ([`crate::bound::likely_gamma`]).

mod backward;
mod brick;
mod cuda;
mod direct;
mod filters;
mod gradients;
mod implicit;
mod reference;
mod shape;
mod tile;

use assay_protocol::{ArithmeticUnit, Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::device::Team;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{Fill, Program};
pub use brick::{Convolution, Sizes};
pub use gradients::Conv2dBackward;
use shape::Shape;

/// Convolves images with filters.
pub struct Conv2d;

/// Convolves on the host some times, and returns the nanoseconds that it took.
type Convolve = fn(&Team, u64, Shape, &[f32], &[f32], &mut [f32]) -> u64;

/// The buffers of a case, by their numbers.
#[derive(Clone, Copy, Debug)]
struct Tensors {
    input: usize,
    filters: usize,
    output: usize,
}

impl Op for Conv2d {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "conv2d",
            summary: "2D convolution, forward: images NHWC, filters RSCK",
            parameters: parameters_of()
                .into_iter()
                .chain([
                    parameters::choice("variant", &["implicit-gemm", "direct"]),
                    parameters::dtype(&[DType::F32]),
                ])
                .collect(),
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = Shape::of(arguments)?;
        arguments.dtype(&[DType::F32])?;
        let mut program = Program::new(work(&shape)?);
        program.unit = Some(ArithmeticUnit::F32);
        let tensors = Tensors {
            input: program.input("x", DType::F32, shape.inputs(), Fill::signed(0)),
            filters: program.input("f", DType::F32, shape.weights(), Fill::signed(1)),
            output: program.output("y", DType::F32, shape.outputs()),
        };
        if arguments.is_cuda() {
            program.cuda.push(cuda::step(arguments, &shape, tensors)?);
        } else {
            let variants = [
                ("implicit-gemm", implicit::time as Convolve),
                ("direct", direct::time),
            ];
            on_cpu(
                &mut program,
                shape,
                tensors,
                arguments.choice("variant", &variants)?,
            );
        }
        let seed = arguments.0.seed.0;
        program.check(move |outcome| reference::check(&shape, outcome, tensors, seed));
        Ok(program)
    }

    /// Nothing to add up; windows with more border than image; several tiles with strides, of whole vectors; and more, of
    /// parts of vectors.
    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        let [nothing, one, small, large] = match parameter {
            "batch" => [2, 1, 3, 2],
            "channels" => [0, 1, 12, 3],
            "filters" => [3, 1, 72, 133],
            "height" => [0, 1, 9, 13],
            "width" => [5, 1, 23, 11],
            "kernel" => [3, 2, 3, 4],
            "stride" => [1, 1, 2, 1],
            _ => [2, 2, 1, 2],
        };
        match size {
            0 => nothing,
            1 => one,
            2..100 => small,
            _ => large,
        }
    }
}

/// Sizes, as cases give them.
fn parameters_of() -> Vec<assay_protocol::ParameterInfo> {
    let padding = assay_protocol::ParameterInfo {
        minimum: Some(0),
        ..parameters::integer("padding")
    };
    let sizes = shape::PARAMETERS.map(parameters::integer);
    sizes.into_iter().chain([padding]).collect()
}

fn on_cpu(program: &mut Program, shape: Shape, tensors: Tensors, convolve: Convolve) {
    program.on_cpu(move |team, buffers, iterations| {
        let (inputs, output) = buffers.split_last_mut(tensors.output);
        let (input, filters) = (inputs[tensors.input].get(), inputs[tensors.filters].get());
        if shape.is_nothing() {
            return nothing(team, iterations, output.get_mut());
        }
        convolve(team, iterations, shape, input, filters, output.get_mut())
    });
}

/// The output where there is nothing to add up: zeros, if anything.
fn nothing(team: &Team, iterations: u64, output: &mut [f32]) -> u64 {
    let parts = team.split_mut(output, 1);
    team.time(iterations, parts, |_, part| part.fill(0.0))
}

fn work(shape: &Shape) -> Result<Work, Failure> {
    let flops = [2, shape.filters, shape.pixels(), shape.window()].map(|factor| factor as u64);
    // Each was counted in bytes.
    let bytes = [shape.inputs(), shape.weights(), shape.outputs()]
        .iter()
        .fold(0_u64, |sum, len| sum.saturating_add(4 * *len as u64));
    Ok(Work {
        bytes: Some(bytes),
        flops: Some(parameters::product(shape::NAMES, &flops)?),
        items: Some(shape.outputs() as u64),
        formula: "bytes = (N H W C + R S C K + N P Q K) sizeof(f32), flops = 2 N K P Q C R S, items = N P Q K; \
                  P = (H + 2 padding - R) / stride + 1, Q of W and S likewise, R = S = kernel"
            .into(),
    })
}

#[cfg(test)]
mod tests;
