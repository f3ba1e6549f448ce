//! Matrix multiplication: `C = A B` with `A` of `m` by `k`, `B` of `k` by `n`, `f32`, row-major.
//!
//! Two variants of one definition: `library` is the `gemm` crate, `blocked` is [ours](blocked). Work:
//! `2 m n k` flops and `4 (m k + k n + m n)` bytes. Each element of `C` is a sum of `k`
//! products, so whatever the order and whether or not operations are fused, its error is at most `gamma_k`
//! times the sum of their magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd
//! edition, section 3.5, equation 3.13). For long sums of random numbers that would let the loss of a product
//! pass, so the tolerance is the smaller of that and its probabilistic counterpart
//! ([`crate::bound::likely_gamma`]).

mod blocked;
mod library;
mod reference;

use assay_protocol::{ArithmeticUnit, DeviceKind, Failure, Work};

use super::{Op, OpInfo};
use crate::bound::likely_gamma;
use crate::check;
use crate::device::Team;
use crate::element::{DType, Real};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program};

/// Multiplies two matrices.
pub struct Gemm;

/// Sizes of the product: `m` by `k` times `k` by `n`.
#[derive(Clone, Copy, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

/// Multiplies on the host some times, and returns the nanoseconds that it took.
type Multiply = fn(&Team, u64, Shape, &[f32], &[f32], &mut [f32]) -> u64;

impl Op for Gemm {
    fn info(&self) -> OpInfo {
        let [m, n, k] = ["m", "n", "k"].map(parameters::integer);
        let variant = parameters::choice("variant", &["library", "blocked"]);
        OpInfo {
            name: "gemm",
            summary: "C = A B, f32, row-major",
            parameters: vec![m, n, k, variant],
            devices: &[DeviceKind::Cpu],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = Shape {
            m: arguments.size("m")?,
            n: arguments.size("n")?,
            k: arguments.size("k")?,
        };
        let variants = [
            ("library", library::time as Multiply),
            ("blocked", blocked::time),
        ];
        let multiply = arguments.choice("variant", &variants)?;
        let mut program = Program::new(work(shape)?);
        program.unit = Some(ArithmeticUnit::F32);
        let a = program.input("a", DType::F32, shape.m * shape.k, Fill::signed(0));
        let b = program.input("b", DType::F32, shape.k * shape.n, Fill::signed(1));
        let c = program.output("c", DType::F32, shape.m * shape.n);
        program.on_cpu(move |team, buffers, iterations| {
            let (inputs, c) = buffers.split_last_mut(c);
            let (a, b) = (inputs[a].get(), inputs[b].get());
            if shape.m * shape.n * shape.k == 0 {
                return nothing(team, iterations, c.get_mut());
            }
            multiply(team, iterations, shape, a, b, c.get_mut())
        });
        let seed = arguments.0.seed.0;
        program.check(move |outcome| check(outcome, [a, b, c], shape, seed));
        Ok(program)
    }
}

/// The product where a side is 0: zeros, if anything.
fn nothing(team: &Team, iterations: u64, c: &mut [f32]) -> u64 {
    let parts = team.split_mut(c, 1);
    team.time(iterations, parts, |_, part| part.fill(0.0))
}

fn work(Shape { m, n, k }: Shape) -> Result<Work, Failure> {
    let product =
        |factors: [usize; 3]| parameters::product("`m`, `n` and `k`", &factors.map(|f| f as u64));
    let flops = parameters::product("`m`, `n` and `k`", &[2, product([m, n, k])?])?;
    let matrices = [
        product([4, m, k])?,
        product([4, k, n])?,
        product([4, m, n])?,
    ];
    let bytes = matrices
        .iter()
        .try_fold(0_u64, |sum, bytes| sum.checked_add(*bytes));
    Ok(Work {
        // Each is at most four times a number that was counted.
        bytes: Some(bytes.unwrap_or(u64::MAX)),
        flops: Some(flops),
        items: Some((m * n) as u64),
        formula: "bytes = (m k + k n + m n) sizeof(f32), flops = 2 m n k, items = m n".into(),
    })
}

/// Largest error of a sum of `k` products in `f32`, seen from a sum in `f64`, relative to the sum of magnitudes.
fn tolerance(k: u64) -> f64 {
    likely_gamma(k, f32::UNIT_ROUNDOFF) + likely_gamma(k, f64::UNIT_ROUNDOFF)
}

fn check(outcome: &Outcome, [a, b, c]: [usize; 3], shape: Shape, seed: u64) -> Checked {
    let Shape { m, n, k } = shape;
    let (a, b, c) = (
        outcome.get::<f32>(a),
        outcome.get::<f32>(b),
        outcome.get::<f32>(c),
    );
    let rows = reference::rows(shape, seed);
    let worst = |row: usize| {
        let (exact, condition) = reference::row(&a[row * k..(row + 1) * k], b, n);
        let found = &c[row * n..(row + 1) * n];
        check::worst(n, |j| {
            check::relative(found[j].into(), exact[j], condition[j])
        })
    };
    let error = check::worst(rows.len(), |i| worst(rows[i]));
    let detail = format!(
        "largest |c - exact| / sum of |a| |b|, over {} of {m} rows; bound: the smaller of gamma_k and 10 sqrt(k) u",
        rows.len()
    );
    Checked {
        error,
        tolerance: tolerance(k as u64),
        detail,
    }
}
