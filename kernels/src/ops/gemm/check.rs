//! Compares a product with the reference.

use std::borrow::Cow;

use assay_protocol::ArithmeticUnit;
use half::{bf16, f16};
use rayon::prelude::*;

use super::kind::{self, Kind};
use super::{Shape, reference};
use crate::bound::{likely_gamma, roundoff_of_sums};
use crate::buffer::Buffer;
use crate::check;
use crate::element::{DType, Real};
use crate::program::{Checked, Outcome};

/// The matrices of a case, by the numbers of their buffers.
#[derive(Clone, Copy, Debug)]
pub struct Matrices {
    pub shape: Shape,
    pub kind: Kind,
    pub a: usize,
    pub b: usize,
    pub c: usize,
    /// Scales of A and B, where they have some.
    pub scales: Option<usize>,
    /// Whether operands of tf32 are rounded as [`kind::round_tf32`] does it, or nobody knows how.
    pub is_rounded: bool,
}

/// What is right, and how much may be wrong.
struct Judge {
    tolerance: f64,
    /// Unit roundoff of results, and their least error.
    rounding: (f64, f64),
}

impl Judge {
    /// How far a result is from the exact one, beyond its own rounding, relative to the sum of the magnitudes of its terms.
    fn element(&self, found: f64, exact: f64, condition: f64) -> f64 {
        let (unit_roundoff, least) = self.rounding;
        let beyond = (found - exact).abs() - unit_roundoff * found.abs() - least;
        if beyond <= 0.0 {
            0.0
        } else {
            beyond / condition
        }
    }

    /// The same of a sum of results with random signs, whose errors and roundings add up as independent ones do: three times
    /// their root mean square is more than they make together.
    fn part(&self, found: (f64, f64), exact: (f64, f64), count: usize) -> f64 {
        const TIMES: f64 = 3.0;
        let (unit_roundoff, least) = self.rounding;
        let rounding = TIMES * (unit_roundoff * found.1 + least * (count as f64).sqrt());
        let beyond = (found.0 - exact.0).abs() - rounding;
        if beyond <= 0.0 {
            0.0
        } else {
            beyond / (TIMES * exact.1)
        }
    }
}

impl Matrices {
    /// Compares `C` with the reference.
    pub fn check(&self, outcome: &Outcome, seed: u64) -> Checked {
        self.check_within(outcome, seed, reference::BUDGET)
    }

    fn check_within(&self, outcome: &Outcome, seed: u64, budget: u64) -> Checked {
        let Shape { batch, m, n, k } = self.shape;
        let a = self.scaled(self.operand(&outcome.buffers.0[self.a]), outcome);
        let b = self.by_rows(self.operand(&outcome.buffers.0[self.b]));
        let c = element(&outcome.buffers.0[self.c]);
        let judge = Judge {
            tolerance: self.kind.tolerance(k as u64, self.is_rounded),
            rounding: self.kind.rounding(),
        };
        let budget = budget / batch.max(1) as u64;
        let products = if m * n == 0 { 0 } else { batch };
        let errors = (0..products).map(|index| {
            let product = Product {
                a: &a[index * m * k..][..m * k],
                b: &b[index * k * n..][..k * n],
                c: &|i| c(index * m * n + i),
                shape: self.shape,
            };
            product.error(&judge, seed, budget)
        });
        let error = errors.fold(0.0, f64::max);
        let compared = reference::rows(self.shape, seed, budget).len().min(m);
        let detail = format!(
            "largest |c - exact| beyond one rounding of c / sum of |a| |b|, of {compared} of {m} rows by element{}; \
             bound: the smaller of gamma_k and 10 sqrt(k) u, or what tensor cores cut off",
            if compared < m { ", of all by sums" } else { "" },
        );
        Checked {
            error,
            tolerance: judge.tolerance,
            detail,
        }
    }

    /// An operand as it is multiplied.
    fn operand<'a>(&self, buffer: &'a Buffer) -> Cow<'a, [f32]> {
        let numbers = numbers(buffer);
        if self.kind == Kind::Tf32 && self.is_rounded {
            return numbers
                .par_iter()
                .map(|x| kind::round_tf32(*x))
                .collect::<Vec<_>>()
                .into();
        }
        numbers
    }

    /// A times both scales, which are powers of two.
    fn scaled<'a>(&self, a: Cow<'a, [f32]>, outcome: &Outcome) -> Cow<'a, [f32]> {
        let Some(scales) = self.scales else {
            return a;
        };
        let scale: f32 = outcome.get::<f32>(scales).iter().product();
        a.par_iter().map(|x| x * scale).collect::<Vec<_>>().into()
    }

    fn by_rows<'a>(&self, b: Cow<'a, [f32]>) -> Cow<'a, [f32]> {
        if !self.kind.is_b_by_columns() {
            return b;
        }
        let Shape { n, k, .. } = self.shape;
        let of_one = k * n;
        let at = |i: usize| {
            let (matrix, i) = (i / of_one, i % of_one);
            b[matrix * of_one + i % n * k + i / n]
        };
        (0..b.len())
            .into_par_iter()
            .map(at)
            .collect::<Vec<_>>()
            .into()
    }
}

/// Compares a product of `f32` matrices with the reference: of `m` by `n`, with sums over `k`, as `sides` are in this order.
/// The result was computed in `f32` by a `unit` of lanes or of tensor cores, whatever it is stored as.
pub fn compare<T: Real>(
    unit: ArithmeticUnit,
    sides: [usize; 3],
    a: &[f32],
    b: &[f32],
    found: &[T],
    seed: u64,
) -> Checked {
    let shape = Shape {
        batch: 1,
        m: sides[0],
        n: sides[1],
        k: sides[2],
    };
    let judge = Judge {
        tolerance: likely_gamma(sides[2] as u64, roundoff_of_sums(unit))
            + likely_gamma(sides[2] as u64, f64::UNIT_ROUNDOFF),
        rounding: match T::DTYPE {
            DType::F16 => Kind::F16.rounding(),
            DType::Bf16 => Kind::Bf16.rounding(),
            _ => Kind::F32.rounding(),
        },
    };
    let element = |i: usize| found[i].into();
    let product = Product {
        a,
        b,
        c: &element,
        shape,
    };
    let error = if sides[0] * sides[1] == 0 {
        0.0
    } else {
        product.error(&judge, seed, reference::BUDGET)
    };
    Checked {
        error,
        tolerance: judge.tolerance,
        detail: "largest |found - exact|, beyond one rounding where it has 16 bits, / sum of magnitudes, as of a GEMM; bound: the smaller of gamma_k and \
                 10 sqrt(k) u, or what tensor cores cut off"
            .into(),
    }
}

/// One product.
struct Product<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a (dyn Fn(usize) -> f64 + Sync),
    shape: Shape,
}

impl Product<'_> {
    /// The largest error of an element or of a sum.
    fn error(&self, judge: &Judge, seed: u64, budget: u64) -> f64 {
        let Shape { m, n, .. } = self.shape;
        let rows = reference::rows(self.shape, seed, budget);
        let by_element = |index: usize| {
            let row = rows[index];
            let (exact, condition) = reference::row(self.row_of_a(row), self.b, n);
            check::worst(n, |j| {
                judge.element((self.c)(row * n + j), exact[j], condition[j])
            })
        };
        let error = check::worst(rows.len(), by_element);
        if rows.len() < m {
            error.max(self.error_of_sums(judge, seed))
        } else {
            error
        }
    }

    fn error_of_sums(&self, judge: &Judge, seed: u64) -> f64 {
        let Shape { m, n, k, .. } = self.shape;
        let signs = reference::signs(n, seed);
        let b = reference::sums_of_parts(k, &signs, |i| self.b[i].into());
        let c = reference::sums_of_parts(m, &signs, self.c);
        let parts = n.div_ceil(reference::PART);
        let errors = (0..m).into_par_iter().map(|row| {
            let exact = reference::parts_of_row(self.row_of_a(row), &b, parts);
            check::worst(parts, |part| {
                judge.part(c[row * parts + part], exact[part], reference::PART.min(n))
            })
        });
        errors.reduce(|| 0.0, f64::max)
    }

    fn row_of_a(&self, row: usize) -> &[f32] {
        &self.a[row * self.shape.k..][..self.shape.k]
    }
}

/// The numbers of an operand.
fn numbers(buffer: &Buffer) -> Cow<'_, [f32]> {
    match buffer.dtype() {
        DType::F32 => Cow::Borrowed(buffer.get::<f32>()),
        DType::F16 => buffer.get::<f16>().par_iter().map(|x| x.to_f32()).collect(),
        DType::Bf16 => buffer
            .get::<bf16>()
            .par_iter()
            .map(|x| x.to_f32())
            .collect(),
        DType::F8 => buffer
            .get::<u8>()
            .par_iter()
            .map(|x| kind::f8_value(*x))
            .collect(),
        DType::I8 => buffer
            .get::<i8>()
            .par_iter()
            .map(|x| f32::from(*x))
            .collect(),
        other => unreachable!("an operand of {other}"),
    }
}

/// A number of the product.
type Element<'a> = Box<dyn Fn(usize) -> f64 + Sync + 'a>;

fn element(buffer: &Buffer) -> Element<'_> {
    match buffer.dtype() {
        DType::F32 => Box::new(|i| buffer.get::<f32>()[i].into()),
        DType::F16 => Box::new(|i| buffer.get::<f16>()[i].into()),
        DType::Bf16 => Box::new(|i| buffer.get::<bf16>()[i].into()),
        DType::I32 => Box::new(|i| buffer.get::<i32>()[i].into()),
        other => unreachable!("a product of {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use assay_protocol::{CaseSpec, DeviceSelector, TimingMode};

    use super::{Kind, Matrices, Shape};
    use crate::buffer::Buffers;
    use crate::device::Team;
    use crate::element::DType;
    use crate::fill;
    use crate::ops::gemm::with_matrices;
    use crate::parameters::Arguments;
    use crate::program::Outcome;

    /// Operands of a kind, and their product as its type has it.
    fn product(kind: Kind, shape: Shape) -> (Matrices, Buffers) {
        let case = CaseSpec {
            workload: "gemm".into(),
            params: BTreeMap::new(),
            seed: 1.into(),
            device: DeviceSelector::CPU,
            timing: TimingMode::Hot,
            command: None,
            kernel: None,
        };
        let (program, matrices) = with_matrices(&Arguments(&case), shape, kind, true).unwrap();
        let mut buffers = fill::buffers(&Team::new(1).unwrap(), &program.buffers, 1).unwrap();
        let a = super::numbers(&buffers.0[matrices.a]).into_owned();
        let b = super::numbers(&buffers.0[matrices.b]).into_owned();
        let b = matrices.by_rows(b.into());
        let scale = if kind == Kind::F8 { 0.125 } else { 1.0 };
        for i in 0..shape.m {
            for j in 0..shape.n {
                let terms = (0..shape.k)
                    .map(|k| f64::from(a[i * shape.k + k]) * f64::from(b[k * shape.n + j]));
                let sum = scale * terms.sum::<f64>();
                write(&mut buffers, matrices.c, i * shape.n + j, sum);
            }
        }
        (matrices, buffers)
    }

    fn write(buffers: &mut Buffers, c: usize, index: usize, value: f64) {
        let buffer = &mut buffers.0[c];
        match buffer.dtype() {
            DType::F32 => buffer.get_mut::<f32>()[index] = value as f32,
            DType::F16 => buffer.get_mut::<half::f16>()[index] = half::f16::from_f64(value),
            DType::Bf16 => buffer.get_mut::<half::bf16>()[index] = half::bf16::from_f64(value),
            _ => buffer.get_mut::<i32>()[index] = value as i32,
        }
    }

    fn verdict(matrices: &Matrices, buffers: &Buffers, budget: u64) -> bool {
        let outcome = Outcome {
            buffers,
            initial: &BTreeMap::new(),
            iterations: 1,
        };
        let checked = matrices.check_within(&outcome, 1, budget);
        checked.error <= checked.tolerance
    }

    #[test]
    fn one_wrong_element_fails_in_any_row() {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Tf32) {
            let shape = Shape {
                batch: 1,
                m: 40,
                n: 600,
                k: 35,
            };
            let (matrices, mut buffers) = product(kind, shape);
            // Every row, and few of them: 16 at least, and the first and the last.
            for budget in [u64::MAX, 0] {
                assert!(verdict(&matrices, &buffers, budget), "{kind:?}");
                for index in [0, 40 * 600 - 1, 599, 20 * 600 + 77, 33 * 600 + 512] {
                    let right = super::element(&buffers.0[matrices.c])(index);
                    // As if it were of other operands: some standard deviations away.
                    let wrong = if kind == Kind::I8 { 1.0 } else { 6.0 };
                    write(&mut buffers, matrices.c, index, right + wrong);
                    assert!(!verdict(&matrices, &buffers, budget), "{kind:?} {index}");
                    write(&mut buffers, matrices.c, index, f64::NAN);
                    let fails = !verdict(&matrices, &buffers, budget);
                    assert!(fails || right.abs() < 0.5, "{kind:?} {index}");
                    write(&mut buffers, matrices.c, index, right);
                }
            }
        }
    }
}
