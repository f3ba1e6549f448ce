//! Softmax over the rows of a matrix, as attention and classifiers use it.
//!
//! `out[r][c] = exp(in[r][c] - max_r) / sum_c exp(in[r][c] - max_r)`, row-major `f32`. Inputs are uniform on
//! [-8, 8). Work: `8 rows cols` bytes; `5 rows cols` flops, counting per element one comparison,
//! subtraction, exponential, addition and multiplication.
//!
//! Error: the subtraction rounds, which an exponential of an argument of magnitude up to `R` magnifies to
//! `R` roundings; the exponential itself adds [`EXP_ROUNDINGS`]; both enter numerator and denominator; the
//! sum adds its height `h`, reciprocal and product one each: `2 (R + E) + h + 2` roundings,
//! relative to each element. This is the analysis of P. Blanchard, D. J. Higham, N. J. Higham, "Accurately
//! computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41(4), 2021,
//! section 4, with our order of summation.

use assay_protocol::{
    CaseSpec, Failure, Measured, Prepared, Verification, Work, Workload, WorkloadInfo,
};
use rayon::prelude::*;

use super::{Op, OpCase, reduce};
use crate::bound::tolerance;
use crate::buffer::Buffer;
use crate::check;
use crate::device::{Device, Team, memory};
use crate::element::digest;
use crate::parameters;
use crate::simd::wide;

/// Inputs are this many times a number on [-1, 1).
const SPREAD: f32 = 8.0;
/// Error of [`exp`] in units of 2^-24, relative; a test walks its whole range.
const EXP_ROUNDINGS: u64 = 2;
/// Independent maxima of a row.
const LANES: usize = 64;

/// Softmax of each row.
pub struct Softmax;

impl Op for Softmax {
    fn info(&self) -> WorkloadInfo {
        let parameters = [parameters::integer("rows"), parameters::integer("cols")];
        super::info(
            "softmax",
            "softmax of each row of a matrix, f32",
            parameters,
        )
    }

    fn prepare(&self, device: Device, case: &CaseSpec) -> Result<Box<dyn OpCase>, Failure> {
        let Device::Cpu(team) = device;
        let (rows, cols) = (
            parameters::count(case, "rows")?,
            parameters::count(case, "cols")?,
        );
        let elements = parameters::product("`rows` and `cols`", &[rows as u64, cols as u64])?;
        let bytes = parameters::product("`rows` and `cols`", &[elements, 8])?;
        memory::ensure_fits(bytes)?;
        let input = Buffer::random(&team, elements as usize, case.seed.0, 0, |x: f32| {
            x * SPREAD
        })?;
        let work = Work {
            bytes: Some(bytes),
            flops: Some(5 * elements),
            items: Some(elements),
            formula: "bytes = 2 rows cols sizeof(f32), flops = 5 rows cols, items = rows cols"
                .into(),
        };
        let prepared = Prepared {
            work,
            inputs: [("in".into(), digest(&input))].into(),
            deterministic: true,
            ..Prepared::default()
        };
        let output = Buffer::poisoned(&team, elements as usize)?;
        Ok(Box::new(Case {
            cols,
            prepared,
            team,
            input,
            output,
        }))
    }
}

struct Case {
    cols: usize,
    prepared: Prepared,
    team: Team,
    input: Buffer<f32>,
    output: Buffer<f32>,
}

impl OpCase for Case {
    #[cfg(test)]
    fn corrupt(&mut self, index: usize) {
        super::corrupt(&mut self.output, index);
    }
}

impl Workload for Case {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let cols = self.cols;
        let inputs = self.team.split(&self.input, cols);
        let outputs = self.team.split_mut(&mut self.output, cols);
        let parts = outputs.into_iter().zip(inputs).collect();
        let host_ns = self.team.time(iterations, parts, |_, (out, input)| {
            for (out, input) in out.chunks_exact_mut(cols).zip(input.chunks_exact(cols)) {
                softmax(out, input);
            }
        });
        Ok(Measured {
            host_ns: Some(host_ns),
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let rows = self
            .output
            .par_chunks_exact(self.cols)
            .zip(self.input.par_chunks_exact(self.cols));
        let (error, range) = rows
            .map(|(out, input)| compare(out, input))
            .reduce(|| (0.0, 0.0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let magnified = 2 * (range.ceil() as u64 + EXP_ROUNDINGS);
        let roundings = magnified + reduce::height(self.cols) + 2;
        // The reference's exponentials and its plain sum, in f64, are beneath notice but counted.
        let reference = magnified + self.cols as u64 + 2;
        let detail = "largest |out - exact| / exact; bound gamma_k, k = 2 (range + E) + height + 2";
        Ok(check::judge(
            &self.output,
            error,
            tolerance::<f32>(roundings, reference),
            detail,
        ))
    }
}

/// Largest relative error of a row, infinite where it is no number, and the range of its arguments.
fn compare(out: &[f32], input: &[f32]) -> (f64, f64) {
    let wide = |x: &f32| f64::from(*x);
    let largest = input.iter().map(wide).fold(f64::NEG_INFINITY, f64::max);
    let smallest = input.iter().map(wide).fold(f64::INFINITY, f64::min);
    let total: f64 = input.iter().map(|x| (wide(x) - largest).exp()).sum();
    let error = check::worst(out.len(), |c| {
        let exact = (wide(&input[c]) - largest).exp() / total;
        check::relative(out[c].into(), exact, exact)
    });
    (error, largest - smallest)
}

wide! {
    /// One row.
    fn softmax(out: &mut [f32], input: &[f32]) {
        let largest = maximum(input);
        for (out, x) in out.iter_mut().zip(input) {
            *out = exp(*x - largest);
        }
        let scale = 1.0 / reduce::sum(out);
        for out in out.iter_mut() {
            *out *= scale;
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn maximum(row: &[f32]) -> f32 {
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

/// `e^x` for `x <= 0`, without branches; arguments below -87 give `e^-87`, the last that is a normal number.
///
/// Cody and Waite's reduction to `[-ln 2 / 2, ln 2 / 2]` and the polynomial of S. Moshier's Cephes 2.2,
/// `expf`. Operations are neither fused nor reordered, so the bits are the same on every machine.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn exp(x: f32) -> f32 {
    // Adding it leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LN_2_HIGH: f32 = 355.0 / 512.0; // exact, and so is its product with a small integer
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let polynomial = COEFFICIENTS.iter().fold(0.0, |sum, c| sum * rest + c);
    let mantissa = polynomial * (rest * rest) + rest + 1.0;
    // 2^whole: the integer, biased, as an exponent.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    mantissa * power
}

#[cfg(test)]
mod tests {
    use super::{EXP_ROUNDINGS, exp};

    /// Every 257th number of the range; over every one of them the largest error is 1.3644 u.
    #[test]
    fn exp_is_as_accurate_as_claimed() {
        let worst = ((-0.0_f32).to_bits()..=(-87.0_f32).to_bits())
            .step_by(257)
            .map(|bits| {
                let x = f32::from_bits(bits);
                let exact = f64::from(x).exp();
                (f64::from(exp(x)) - exact).abs() / exact * f64::from(1 << 24)
            })
            .fold(0.0, f64::max);
        println!("largest error of exp: {worst} u");
        assert!(worst <= EXP_ROUNDINGS as f64);
        assert!((exp(0.0) - 1.0).abs() < 1e-9);
    }
}
