//! Matrix multiplication: `C = A B` with `A` of `m` by `k`, `B` of `k` by `n`, row-major.
//!
//! | device | `variant`      | what it is                                         | `dtype`        |
//! |--------|----------------|----------------------------------------------------|----------------|
//! | CPU    | `library`      | the `gemm` crate                                   | f32            |
//! | CPU    | `blocked`      | [ours](blocked)                                    | f32            |
//! | CUDA   | `register`     | tiles in shared memory, then in registers          | f32            |
//! | CUDA   | `tiled`        | tiles in shared memory                             | f32            |
//! | CUDA   | `naive`        | a thread per element                               | f32            |
//! | CUDA   | `tensor`       | tensor cores, an instruction a warp                | tf32 f16 bf16  |
//! | CUDA   | `tensor-wgmma` | tensor cores of `sm_90`, an instruction four warps | f16 bf16       |
//! | CUDA   | `cublaslt`     | cuBLASLt                                           | all, f8 and i8 |
//!
//! Work: `2 m n k` flops and `(m k + k n)` elements of the inputs' type and `m n` of the output's. Sums are in `f32`, of
//! `i8` in `i32`. The output has the inputs' type; of tf32, whose operands are `f32` of which 10 bits of fraction are
//! multiplied, it is `f32`, of f8 (E4M3, with a scale for each operand) `bf16`, and of `i8` `i32`. Of f8 and i8, `B` is stored by
//! columns, as the library asks for.
//!
//! Each element of `C` is a sum of `k` products, so whatever the order and whether or not operations are
//! fused, its error is at most `gamma_k` times the sum of their magnitudes (Higham, "Accuracy and Stability of Numerical
//! Algorithms", 2nd edition, section 3.5, equation 3.13). For long sums of random numbers that would let
//! the loss of a product pass, so the tolerance is the smaller of that and its probabilistic counterpart
//! ([`crate::bound::likely_gamma`]). [`Kind::tolerance`] says what tensor cores need beyond.

mod blocked;
mod check;
mod cublaslt;
mod cuda;
mod kind;
mod library;
mod reference;

use assay_protocol::{ArithmeticUnit, Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::device::Team;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{Fill, Program};
use check::Matrices;
use kind::Kind;

/// Multiplies two matrices.
pub struct Gemm;

/// Sizes of the product: `m` by `k` times `k` by `n`.
#[derive(Clone, Copy, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

impl Shape {
    fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let shape = Self {
            m: arguments.size("m")?,
            n: arguments.size("n")?,
            k: arguments.size("k")?,
        };
        for (rows, cols) in [(shape.m, shape.k), (shape.k, shape.n), (shape.m, shape.n)] {
            parameters::size_product("`m`, `n` and `k`", &[rows, cols, 8])?;
        }
        Ok(shape)
    }
}

/// Multiplies on the host some times, and returns the nanoseconds that it took.
type Multiply = fn(&Team, u64, Shape, &[f32], &[f32], &mut [f32]) -> u64;

impl Op for Gemm {
    fn info(&self) -> OpInfo {
        let [m, n, k] = ["m", "n", "k"].map(parameters::integer);
        OpInfo {
            name: "gemm",
            summary: "C = A B, row-major",
            parameters: vec![
                m,
                n,
                k,
                parameters::on_cpu(parameters::choice("variant", &["library", "blocked"])),
                parameters::on_cuda(parameters::choice("variant", &cuda::variants())),
                parameters::on_cuda(parameters::choice("dtype", &Kind::ALL.map(Kind::name))),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = Shape::of(arguments)?;
        if arguments.is_cuda() {
            cuda::program(arguments, shape)
        } else {
            on_cpu(arguments, shape)
        }
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        // Beside nothing and little: more columns than a tile has, in lines of whole vectors; and more rows, in others.
        match (parameter, size) {
            ("n", 2..100) => 264,
            ("k", 2..100) => 72,
            ("m", 100..) => 133,
            ("n", 100..) => 69,
            ("k", 100..) => 137,
            _ => size,
        }
    }
}

/// A program with its buffers and its check, and no implementation yet. `is_rounded` is as in [`Matrices`].
fn with_matrices(
    arguments: &Arguments,
    shape: Shape,
    kind: Kind,
    is_rounded: bool,
) -> Result<(Program, Matrices), Failure> {
    let Shape { m, n, k } = shape;
    let mut program = Program::new(work(shape, kind)?);
    let input = kind.input();
    let a = program.input("a", input, m * k, kind.fill(0));
    let b = program.input("b", input, k * n, kind.fill(1));
    let scales = (kind == Kind::F8).then(|| {
        let fill = Fill::Host(Box::new(|scales, _| {
            scales.get_mut::<f32>().copy_from_slice(&kind::SCALES);
        }));
        program.input("scales", DType::F32, kind::SCALES.len(), fill)
    });
    let c = program.output("c", kind.output(), m * n);
    let matrices = Matrices {
        shape,
        kind,
        a,
        b,
        c,
        scales,
        is_rounded,
    };
    let seed = arguments.0.seed.0;
    program.check(move |outcome| matrices.check(outcome, seed));
    Ok((program, matrices))
}

fn on_cpu(arguments: &Arguments, shape: Shape) -> Result<Program, Failure> {
    let variants = [
        ("library", library::time as Multiply),
        ("blocked", blocked::time),
    ];
    let multiply = arguments.choice("variant", &variants)?;
    let (mut program, Matrices { a, b, c, .. }) = with_matrices(arguments, shape, Kind::F32, true)?;
    program.unit = Some(ArithmeticUnit::F32);
    program.on_cpu(move |team, buffers, iterations| {
        let (inputs, c) = buffers.split_last_mut(c);
        let (a, b) = (inputs[a].get(), inputs[b].get());
        if shape.m * shape.n * shape.k == 0 {
            return nothing(team, iterations, c.get_mut());
        }
        multiply(team, iterations, shape, a, b, c.get_mut())
    });
    Ok(program)
}

/// The product where a side is 0: zeros, if anything.
fn nothing(team: &Team, iterations: u64, c: &mut [f32]) -> u64 {
    let parts = team.split_mut(c, 1);
    team.time(iterations, parts, |_, part| part.fill(0.0))
}

fn work(Shape { m, n, k }: Shape, kind: Kind) -> Result<Work, Failure> {
    let product = |factors: &[usize]| {
        let factors: Vec<_> = factors.iter().map(|f| *f as u64).collect();
        parameters::product("`m`, `n` and `k`", &factors)
    };
    let (input, output) = (kind.input(), kind.output());
    let matrices = [
        product(&[input.bytes(), m, k])?,
        product(&[input.bytes(), k, n])?,
        product(&[output.bytes(), m, n])?,
    ];
    let bytes = matrices
        .iter()
        .try_fold(0_u64, |sum, bytes| sum.checked_add(*bytes));
    Ok(Work {
        // Each is at most a few times a number that was counted.
        bytes: Some(bytes.unwrap_or(u64::MAX)),
        flops: Some(product(&[2, m, n, k])?),
        items: Some((m * n) as u64),
        formula: format!(
            "bytes = (m k + k n) sizeof({input}) + m n sizeof({output}), flops = 2 m n k, items = m n"
        ),
    })
}
