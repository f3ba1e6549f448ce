//! Softmax over the rows of a matrix, as attention and classifiers use it.
//!
//! `out[r][c] = exp(in[r][c] - max_r) / sum_c exp(in[r][c] - max_r)`, row-major `f32`. Inputs are uniform on
//! [-8, 8). Work: `8 rows cols` bytes; `5 rows cols` flops, counting per element one comparison,
//! subtraction, exponential, addition and multiplication.
//!
//! Error: the subtraction rounds, which an exponential of an argument of magnitude up to `R` magnifies to
//! `R` roundings; the exponential itself adds [`math::EXP`]; both enter numerator and denominator; the
//! sum adds its height `h`, reciprocal and product one each: `2 (R + E) + h + 2` roundings,
//! relative to each element. This is the analysis of P. Blanchard, D. J. Higham, N. J. Higham, "Accurately
//! computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41(4), 2021,
//! section 4, with our order of summation.

use assay_protocol::{DeviceKind, Failure, Work};
use rayon::prelude::*;

use super::{Op, OpInfo, reduce};
use crate::bound::tolerance;
use crate::check;
use crate::element::DType;
use crate::math;
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program};
use crate::simd::wide;

/// Inputs are this many times a number on [-1, 1).
const SPREAD: f32 = 8.0;
/// Independent maxima of a row.
const LANES: usize = 64;

/// Softmax of each row.
pub struct Softmax;

impl Op for Softmax {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "softmax",
            summary: "softmax of each row of a matrix, f32",
            parameters: vec![parameters::integer("rows"), parameters::integer("cols")],
            devices: &[DeviceKind::Cpu],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (rows, cols) = (arguments.size("rows")?, arguments.size("cols")?);
        let elements = parameters::size_product("`rows` and `cols`", &[rows, cols])?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[elements as u64, 8],
            )?),
            flops: Some(5 * elements as u64),
            items: Some(elements as u64),
            formula: "bytes = 2 rows cols sizeof(f32), flops = 5 rows cols, items = rows cols"
                .into(),
        });
        let fill = Fill::Signed {
            stream: 0,
            scale: SPREAD,
        };
        let input = program.input("in", DType::F32, elements, fill);
        let out = program.output("out", DType::F32, elements);
        // Rows of nothing are none.
        let width = cols.max(1);
        program.on_cpu(move |team, buffers, iterations| {
            let (inputs, out) = buffers.split_last_mut(out);
            let inputs = team.split(inputs[input].get::<f32>(), width);
            let outputs = team.split_mut(out.get_mut::<f32>(), width);
            let parts = outputs.into_iter().zip(inputs).collect();
            team.time(
                iterations,
                parts,
                |_, (out, input): &mut (&mut [f32], &[f32])| {
                    for (out, input) in out.chunks_exact_mut(width).zip(input.chunks_exact(width)) {
                        softmax(out, input);
                    }
                },
            )
        });
        program.check(move |outcome| check(outcome, [input, out], width));
        Ok(program)
    }
}

fn check(outcome: &Outcome, [input, out]: [usize; 2], cols: usize) -> Checked {
    let rows = outcome
        .get::<f32>(out)
        .par_chunks_exact(cols)
        .zip(outcome.get::<f32>(input).par_chunks_exact(cols));
    let (error, range) = rows
        .map(|(out, input)| compare(out, input))
        .reduce(|| (0.0, 0.0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let magnified = 2 * (range.ceil() as u64 + math::EXP);
    let roundings = magnified + reduce::height(cols) + 2;
    // The reference's exponentials and its plain sum, in f64, are beneath notice but counted.
    let reference = magnified + cols as u64 + 2;
    Checked {
        error,
        tolerance: tolerance::<f32>(roundings, reference),
        detail: "largest |out - exact| / exact; bound gamma_k, k = 2 (range + E) + height + 2"
            .into(),
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
            *out = math::exp(*x - largest);
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
