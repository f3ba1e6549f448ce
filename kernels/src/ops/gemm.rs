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
//!
//! `gemm-batched` is `batch` such products of matrices that lie one behind the other: on CUDA devices in one launch, on the
//! host each by one thread.

mod batched;
mod blocked;
mod check;
mod cublaslt;
mod cuda;
mod kind;
pub(super) mod library;
mod reference;

use assay_protocol::{ArithmeticUnit, Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::device::Team;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{Fill, Program};
use check::Matrices;
pub use check::compare;
pub use cublaslt::Multiplication;
use kind::Kind;

/// Multiplies matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gemm {
    /// Two.
    One,
    /// Two, many times.
    Batched,
}

/// Sizes of a product: `m` by `k` times `k` by `n`, and how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
}

impl Shape {
    /// That of one product.
    pub(super) fn of_one(m: usize, n: usize, k: usize) -> Self {
        let batch = 1;
        Self { batch, m, n, k }
    }

    fn of(op: Gemm, arguments: &Arguments) -> Result<Self, Failure> {
        let shape = Self {
            batch: match op {
                Gemm::One => 1,
                Gemm::Batched => arguments.size("batch")?,
            },
            m: arguments.size("m")?,
            n: arguments.size("n")?,
            k: arguments.size("k")?,
        };
        for (rows, cols) in [(shape.m, shape.k), (shape.k, shape.n), (shape.m, shape.n)] {
            parameters::size_product(shape.names(), &[shape.batch, rows, cols, 8])?;
        }
        Ok(shape)
    }

    /// Names of the parameters, for messages.
    fn names(self) -> &'static str {
        if self.batch == 1 {
            "`m`, `n` and `k`"
        } else {
            "`batch`, `m`, `n` and `k`"
        }
    }

    /// Elements of A, B and C, of all products.
    fn elements(self) -> [usize; 3] {
        let Self { batch, m, n, k } = self;
        [m * k, k * n, m * n].map(|elements| batch * elements)
    }

    /// Whether there is nothing to multiply.
    fn is_nothing(self) -> bool {
        self.batch == 0 || self.m == 0 || self.n == 0 || self.k == 0
    }
}

/// Multiplies on the host some times, and returns the nanoseconds that it took.
type Multiply = fn(&Team, u64, Shape, &[f32], &[f32], &mut [f32]) -> u64;

impl Op for Gemm {
    fn info(&self) -> OpInfo {
        let [m, n, k] = ["m", "n", "k"].map(parameters::integer);
        let own = [
            m,
            n,
            k,
            parameters::on_cpu(parameters::choice("variant", self.host_variants())),
            parameters::on_cuda(parameters::choice("variant", &cuda::variants())),
            parameters::on_cuda(parameters::choice("dtype", &Kind::ALL.map(Kind::name))),
        ];
        let (name, summary) = match self {
            Self::One => ("gemm", "C = A B, row-major"),
            Self::Batched => ("gemm-batched", "C = A B of many matrices, row-major"),
        };
        let batch = (*self == Self::Batched).then(|| parameters::integer("batch"));
        OpInfo {
            name,
            summary,
            parameters: batch.into_iter().chain(own).collect(),
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = Shape::of(*self, arguments)?;
        if arguments.is_cuda() {
            cuda::program(arguments, shape)
        } else {
            on_cpu(*self, arguments, shape)
        }
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        // Beside nothing and little: more columns than a tile has, in lines of whole vectors, of 16 bytes even of numbers of 8 bits, which
        // cuBLASLt asks for; and more rows, in others.
        match (parameter, size) {
            ("batch", 2..) => 2,
            ("n", 2..100) if *self == Self::Batched => 48,
            ("n", 2..100) => 272,
            ("k", 2..100) => 80,
            ("m", 100..) => 133,
            ("n", 100..) => 69,
            ("k", 100..) => 137,
            _ => size,
        }
    }
}

impl Gemm {
    fn host_variants(self) -> &'static [&'static str] {
        match self {
            Self::One => &["library", "blocked"],
            Self::Batched => &["library"],
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
    let mut program = Program::new(work(shape, kind)?);
    let [of_a, of_b, of_c] = shape.elements();
    let a = program.input("a", kind.input(), of_a, kind.fill(0));
    let b = program.input("b", kind.input(), of_b, kind.fill(1));
    let scales = (kind == Kind::F8).then(|| {
        let fill = Fill::Host(Box::new(|scales, _| {
            scales.get_mut::<f32>().copy_from_slice(&kind::SCALES);
        }));
        program.input("scales", DType::F32, kind::SCALES.len(), fill)
    });
    let c = program.output("c", kind.output(), of_c);
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

fn on_cpu(op: Gemm, arguments: &Arguments, shape: Shape) -> Result<Program, Failure> {
    let multiply = match op {
        Gemm::One => {
            let variants = [
                ("library", library::time as Multiply),
                ("blocked", blocked::time),
            ];
            arguments.choice("variant", &variants)?
        }
        Gemm::Batched => arguments.choice("variant", &[("library", batched::time as Multiply)])?,
    };
    let (mut program, Matrices { a, b, c, .. }) = with_matrices(arguments, shape, Kind::F32, true)?;
    program.unit = Some(ArithmeticUnit::F32);
    program.on_cpu(move |team, buffers, iterations| {
        let (inputs, c) = buffers.split_last_mut(c);
        let (a, b) = (inputs[a].get(), inputs[b].get());
        if shape.is_nothing() {
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

fn work(shape: Shape, kind: Kind) -> Result<Work, Failure> {
    let Shape { batch, m, n, k } = shape;
    let (input, output) = (kind.input(), kind.output());
    // All of them together were counted before.
    let [of_a, of_b, of_c] = shape.elements();
    let bytes = (of_a + of_b) * input.bytes() + of_c * output.bytes();
    let factors = [2, batch, m, n, k].map(|factor| factor as u64);
    let times = if batch == 1 { "" } else { "batch " };
    Ok(Work {
        bytes: Some(bytes as u64),
        flops: Some(parameters::product(shape.names(), &factors)?),
        items: Some(of_c as u64),
        formula: format!(
            "bytes = {times}((m k + k n) sizeof({input}) + m n sizeof({output})), \
             flops = {times}2 m n k, items = {times}m n"
        ),
    })
}
