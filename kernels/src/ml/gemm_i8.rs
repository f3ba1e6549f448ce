//! The product of two quantised matrices: `C = (A B) sa sb` with 8-bit integers, 32-bit sums and `f32` results.
//!
//! A of `m` by `k` has a scale for each row, B of `k` by `n`, stored by columns, one for each column, as
//! [`super::quantise`] leaves them: `c[i][j] = f32(sum_l a[i][l] b[j][l]) * (sa[i] * sb[j])`, each operation rounded in `f32`, so that
//! all devices have the same bits. Sums of up to 2^17 products fit. Beside it stands `gemm` with `dtype = "f16"`, whose
//! operands are twice as large. On CUDA devices `__dp4a` multiplies and adds four at once; on the host pairs are.
//!
//! Work: `2 m n k` operations, `(m + n) k + 4 m n + 4 (m + n)` bytes.

mod host;

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use crate::check;
use crate::element::DType;
use crate::ml::expect;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, cuda_source};

static SOURCE: Source = cuda_source!("ml/gemm_i8.cu");
/// Rows and columns of a block's tile.
const TILE: usize = 64;
/// Most products of a sum: 2^17 times 2^14 is 2^31, and -128 twice is the only product so large.
const MOST_DEPTH: usize = 1 << 16;

/// A product of quantised matrices: a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int8Gemm {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
}

/// Numbers of the buffers of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands {
    /// `m` by `k`, by rows.
    pub a: usize,
    /// `k` by `n`, by columns.
    pub b: usize,
    /// A scale a row of A.
    pub a_scales: usize,
    /// A scale a column of B.
    pub b_scales: usize,
    /// `m` by `n`, by rows.
    pub c: usize,
}

impl Int8Gemm {
    /// Adds the step to a program.
    pub fn add(self, program: &mut Program, operands: Operands) {
        let Operands {
            a,
            b,
            a_scales,
            b_scales,
            c,
        } = operands;
        let Self { m, n, k } = self;
        let buffers = [
            ("a", a, DType::I8, m * k),
            ("b", b, DType::I8, k * n),
            ("a_scales", a_scales, DType::F32, m),
            ("b_scales", b_scales, DType::F32, n),
            ("c", c, DType::F32, m * n),
        ];
        expect(program, "Int8Gemm", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [a, b, sa, sb, c] = buffers.many([a, b, a_scales, b_scales, c]);
            let scales = [sa.get::<f32>(), sb.get::<f32>()];
            host::multiply(team, self, [a.get(), b.get()], scales, c.get_mut());
        });
        // Lines of whole words are loaded as such.
        let kernel = format!("gemm_i8<{}>", self.k.is_multiple_of(4));
        let tiles = self.m.div_ceil(TILE) * self.n.div_ceil(TILE);
        program.launch(
            Launch::new(&SOURCE, kernel, tiles as u32, 256)
                .args([c, a, b, a_scales, b_scales].map(Arg::Buffer))
                .args([self.m, self.n, self.k].map(|size| Arg::U32(size as u32))),
        );
    }
}

/// The op.
pub struct GemmI8;

impl Op for GemmI8 {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "gemm-i8",
            summary: "C = A B of 8-bit integers with scales, 32-bit sums, f32 results",
            parameters: ["m", "n", "k"].map(parameters::integer).to_vec(),
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let brick = Int8Gemm {
            m: arguments.size("m")?,
            n: arguments.size("n")?,
            k: arguments.size("k")?,
        };
        arguments.check_most("k", MOST_DEPTH)?;
        let Int8Gemm { m, n, k } = brick;
        let names = "`m`, `n` and `k`";
        for sides in [[m, k], [k, n], [m, n]] {
            parameters::size_product(names, &[sides[0], sides[1], 16])?;
        }
        // Tiles are counted in 32 bits.
        arguments.check_most("m", 1 << 21)?;
        arguments.check_most("n", 1 << 21)?;
        let mut program = Program::new(Work {
            bytes: Some(((m + n) * k + 4 * m * n + 4 * (m + n)) as u64),
            flops: Some(parameters::product(names, &[2, m, n, k].map(|x| x as u64))?),
            items: Some((m * n) as u64),
            formula: "bytes = (m + n) k + 4 m n + 4 (m + n), flops = 2 m n k, items = m n".into(),
        });
        let operands = Operands {
            c: program.output("c", DType::F32, m * n),
            a: program.input("a", DType::I8, m * k, Fill::Words { stream: 0 }),
            b: program.input("b", DType::I8, k * n, Fill::Words { stream: 1 }),
            a_scales: program.input("a_scales", DType::F32, m, Fill::Unit { stream: 2 }),
            b_scales: program.input("b_scales", DType::F32, n, Fill::Unit { stream: 3 }),
        };
        brick.add(&mut program, operands);
        program.check(move |outcome| check(outcome, brick, operands));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match (parameter, size) {
            ("m", 100..) => 133,
            ("n", 100..) => 69,
            ("k", 100..) => 137,
            ("k", 2..100) => 72,
            _ => size,
        }
    }
}

/// Multiplications that a check may make.
const BUDGET: usize = 1 << 33;

/// Every element, to the bit, as far as the budget goes; of the other rows, their sums.
fn check(outcome: &Outcome, brick: Int8Gemm, operands: Operands) -> Checked {
    let Int8Gemm { m, n, k } = brick;
    let (a, b) = (outcome.get::<i8>(operands.a), outcome.get::<i8>(operands.b));
    let a_scales = outcome.get::<f32>(operands.a_scales);
    let b_scales = outcome.get::<f32>(operands.b_scales);
    let c = outcome.get::<f32>(operands.c);
    let line = |of: &'_ [i8], i: usize| -> std::ops::Range<usize> {
        debug_assert!(of.len() >= (i + 1) * k);
        i * k..(i + 1) * k
    };
    let exact = |row: usize, column: usize| {
        let pairs = a[line(a, row)].iter().zip(&b[line(b, column)]);
        let sum: i32 = pairs.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        sum as f32 * (a_scales[row] * b_scales[column])
    };
    let rows = (BUDGET / (n * k).max(1)).clamp(16, m.max(16));
    let is_chosen = |row: usize| rows >= m || row == m - 1 || row.is_multiple_of(m.div_ceil(rows));
    let wrong_in = |row: usize| {
        let found = &c[row * n..(row + 1) * n];
        let is_wrong =
            |(column, found): &(usize, &f32)| found.to_bits() != exact(row, *column).to_bits();
        found.iter().enumerate().filter(is_wrong).count()
    };
    let different: usize = (0..m)
        .into_par_iter()
        .filter(|row| is_chosen(*row))
        .map(wrong_in)
        .sum();
    let off = if rows >= m {
        0
    } else {
        rows_off(brick, [a, b], [a_scales, b_scales], c)
    };
    Checked::exact(
        different + off,
        "how many elements differ, and how many rows have another sum",
    )
}

/// How many rows of C do not sum up, without scales, to the product of their row of A and the sums of B's rows.
fn rows_off(
    Int8Gemm { m, n, k }: Int8Gemm,
    [a, b]: [&[i8]; 2],
    [a_scales, b_scales]: [&[f32]; 2],
    c: &[f32],
) -> usize {
    let sums: Vec<i64> = (0..k)
        .into_par_iter()
        .map(|l| (0..n).map(|j| i64::from(b[j * k + l])).sum())
        .collect();
    check::count(m, |i| {
        let pairs = a[i * k..][..k].iter().zip(&sums);
        let exact: i64 = pairs.map(|(a, sum)| i64::from(*a) * sum).sum();
        let without = |(j, c): (usize, &f32)| {
            let scale = a_scales[i] * b_scales[j];
            // Nothing can be seen through a scale of 0.
            if scale == 0.0 {
                0.0
            } else {
                f64::from(*c) / f64::from(scale)
            }
        };
        let row = c[i * n..][..n].iter().enumerate();
        let (found, magnitude) = row
            .map(without)
            .fold((0.0, 0.0), |(sum, all), x| (sum + x, all + x.abs()));
        let distance: f64 = found - exact as f64;
        distance.is_nan() || distance.abs() > magnitude * 2_f64.powi(-22) + 1e-3
    })
}
