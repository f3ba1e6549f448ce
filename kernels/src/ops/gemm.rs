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

use assay_protocol::{
    CaseSpec, Failure, Measured, Prepared, Verification, Work, Workload, WorkloadInfo,
};

use super::{Op, OpCase};
use crate::bound::likely_gamma;
use crate::buffer::Buffer;
use crate::check;
use crate::device::{Device, Team, memory};
use crate::element::{Element, digest};
use crate::parameters;

/// Multiplies two matrices.
pub struct Gemm;

/// Sizes of the product: `m` by `k` times `k` by `n`.
#[derive(Clone, Copy, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

#[derive(Clone, Copy, Debug)]
enum Variant {
    Library,
    Blocked,
}

impl Op for Gemm {
    fn info(&self) -> WorkloadInfo {
        let [m, n, k] = ["m", "n", "k"].map(parameters::integer);
        let variant = parameters::choice("variant", &["library", "blocked"]);
        super::info("gemm", "C = A B, f32, row-major", [m, n, k, variant])
    }

    fn prepare(&self, device: Device, case: &CaseSpec) -> Result<Box<dyn OpCase>, Failure> {
        let Device::Cpu(team) = device;
        let count = |name| parameters::count(case, name);
        let shape = Shape {
            m: count("m")?,
            n: count("n")?,
            k: count("k")?,
        };
        let variant = match parameters::text(case, "variant")? {
            "library" => Variant::Library,
            "blocked" => Variant::Blocked,
            _ => {
                return Err(parameters::wrong(
                    "variant",
                    "library or blocked",
                    case.params.get("variant"),
                ));
            }
        };
        let work = work(shape)?;
        memory::ensure_fits(work.bytes.unwrap_or(0))?;
        let a = Buffer::random(&team, shape.m * shape.k, case.seed.0, 0, |x| x)?;
        let b = Buffer::random(&team, shape.k * shape.n, case.seed.0, 1, |x| x)?;
        let c = Buffer::poisoned(&team, shape.m * shape.n)?;
        let prepared = Prepared {
            work,
            inputs: [("a".into(), digest(&a)), ("b".into(), digest(&b))].into(),
            deterministic: true,
            ..Prepared::default()
        };
        Ok(Box::new(Case {
            shape,
            variant,
            seed: case.seed.0,
            prepared,
            team,
            a,
            b,
            c,
        }))
    }
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

struct Case {
    shape: Shape,
    variant: Variant,
    seed: u64,
    prepared: Prepared,
    team: Team,
    a: Buffer<f32>,
    b: Buffer<f32>,
    c: Buffer<f32>,
}

impl OpCase for Case {
    #[cfg(test)]
    fn corrupt(&mut self, index: usize) {
        super::corrupt(&mut self.c, index);
    }
}

impl Workload for Case {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let multiply = match self.variant {
            Variant::Library => library::time,
            Variant::Blocked => blocked::time,
        };
        let host_ns = multiply(
            &self.team,
            iterations,
            self.shape,
            &self.a,
            &self.b,
            &mut self.c,
        );
        Ok(Measured {
            host_ns: Some(host_ns),
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let Shape { m, n, k } = self.shape;
        let rows = reference::rows(self.shape, self.seed);
        let worst = |row: usize| {
            let (exact, condition) = reference::row(&self.a[row * k..(row + 1) * k], &self.b, n);
            let found = &self.c[row * n..(row + 1) * n];
            check::worst(n, |j| {
                check::relative(found[j].into(), exact[j], condition[j])
            })
        };
        let error = check::worst(rows.len(), |i| worst(rows[i]));
        let detail = format!(
            "largest |c - exact| / sum of |a| |b|, over {} of {m} rows; bound: the smaller of gamma_k and 10 sqrt(k) u",
            rows.len()
        );
        Ok(check::judge(&self.c, error, tolerance(k as u64), &detail))
    }
}
