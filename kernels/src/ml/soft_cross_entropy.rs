//! Cross-entropy of logits with soft labels `t`, which add up to 1: `loss = sum over c of t[c] (logsum - x[c])`, and `dx = scale
//! (softmax x - t)`.
//!
//! In `f32`; on CUDA devices a block has a row. Work of `n` logits: forward `8 n` bytes, backward `12 n`, and `6 n` flops of either.
//! Error: that of a logarithm of a sum of exponentials, as of [`super::cross_entropy`], and of a sum over classes; relative to the sum of
//! `t (1 + |max| + |ln sum| + |x|)`, backward to `scale (p (1 + |x| + |logsum|) + t)` with the probability `p`.

use assay_protocol::{Failure, Work};

use super::bound::{self, EXP, LN};
use super::expect;
use super::pool::parts;
use crate::element::DType;
use crate::math;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/soft_cross_entropy.cu");
/// Logits of the op are this many times a number on [-1, 1).
const SPREAD: f32 = 8.0;
/// The gradient of each loss in the op.
const SCALE: f32 = 0.25;

/// The brick: cross-entropy with soft labels.
#[derive(Clone, Copy, Debug)]
pub struct SoftCrossEntropy {
    /// Rows.
    pub rows: usize,
    /// Numbers of a row, at least 1.
    pub classes: usize,
}

/// The logarithm of the sum of exponentials.
fn logsum(x: &[f32]) -> f32 {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum = x.iter().fold(0.0, |sum, x| sum + math::exp(*x - largest));
    largest + math::ln(sum)
}

impl SoftCrossEntropy {
    fn expect(&self, program: &Program, [logits, targets]: [usize; 2]) {
        let len = self.rows * self.classes;
        let buffers = [
            ("logits", logits, DType::F32, len),
            ("targets", targets, DType::F32, len),
        ];
        expect(program, "soft cross-entropy", &buffers);
    }

    fn launch(&self, kernel: &str) -> Launch {
        let threads = self.classes.next_power_of_two().clamp(32, 256);
        let grid = blocks(self.rows, 1, i32::MAX.unsigned_abs());
        Launch::new(&SOURCE, kernel, grid, threads as u32)
            .args([self.rows, self.classes].map(Arg::size))
    }

    /// Adds the loss of each row to a program.
    pub fn forward(self, program: &mut Program, [logits, targets]: [usize; 2], losses: usize) {
        let classes = self.classes;
        self.expect(program, [logits, targets]);
        let own = [("losses", losses, DType::F32, self.rows)];
        expect(program, "soft cross-entropy", &own);
        program.step_on_cpu(move |team, buffers| {
            let [logits, targets, losses] = buffers.many([logits, targets, losses]);
            let (x, t) = (logits.get::<f32>(), targets.get::<f32>());
            let losses = parts(team, losses.get_mut::<f32>(), 1);
            team.each(losses, |(first, losses)| {
                for (row, loss) in (*first..).zip(losses.iter_mut()) {
                    let [x, t] = [x, t].map(|all| &all[row * classes..][..classes]);
                    let logsum = logsum(x);
                    let terms = x.iter().zip(t).map(|(x, t)| t * (logsum - x));
                    *loss = terms.fold(0.0, |sum, term| sum + term);
                }
            });
        });
        let launch = self.launch("soft_cross_entropy");
        program.launch(launch.args([losses, logits, targets].map(Arg::Buffer)));
    }

    /// Adds the gradient of the logits, where that of each loss is `scale`.
    pub fn backward(
        self,
        program: &mut Program,
        [logits, targets]: [usize; 2],
        scale: f32,
        d_logits: usize,
    ) {
        let classes = self.classes;
        self.expect(program, [logits, targets]);
        self.expect(program, [d_logits, targets]);
        program.step_on_cpu(move |team, buffers| {
            let [logits, targets, d] = buffers.many([logits, targets, d_logits]);
            let (x, t) = (logits.get::<f32>(), targets.get::<f32>());
            team.each(parts(team, d.get_mut::<f32>(), classes), |(first, d)| {
                for (row, d) in (*first..).zip(d.chunks_exact_mut(classes)) {
                    let [x, t] = [x, t].map(|all| &all[row * classes..][..classes]);
                    let logsum = logsum(x);
                    for (d, (x, t)) in d.iter_mut().zip(x.iter().zip(t)) {
                        *d = (math::exp(x - logsum) - t) * scale;
                    }
                }
            });
        });
        let launch = self.launch("soft_cross_entropy_backward");
        program.launch(
            launch
                .args([d_logits, logits, targets].map(Arg::Buffer))
                .args([Arg::F32(scale)]),
        );
    }
}

/// The op: [`SoftCrossEntropy::forward`] or [`SoftCrossEntropy::backward`].
#[derive(Clone, Copy, Debug)]
pub struct SoftCrossEntropyOp;

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];

impl Op for SoftCrossEntropyOp {
    fn info(&self) -> OpInfo {
        let mut parameters: Vec<_> = ["rows", "classes"].map(parameters::integer).into();
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        OpInfo {
            name: "soft-cross-entropy",
            summary: "cross-entropy of rows of logits with soft labels, and its gradient, f32",
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let brick = SoftCrossEntropy {
            rows: arguments.size("rows")?,
            classes: arguments.at_most("classes", u32::MAX as usize)?,
        };
        let n = parameters::size_product("`rows` and `classes`", &[brick.rows, brick.classes])?;
        let is_backward = arguments.choice("pass", &PASSES)?;
        let bytes = if is_backward { 12 } else { 8 };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`rows` and `classes`",
                &[bytes, n as u64],
            )?),
            flops: Some(parameters::product("`rows` and `classes`", &[6, n as u64])?),
            items: Some(brick.rows as u64),
            formula: format!("bytes = {bytes} n, flops = 6 n, items = rows; n = rows classes"),
        });
        let spread = Fill::Signed {
            stream: 0,
            scale: SPREAD,
        };
        let logits = program.input("logits", DType::F32, n, spread);
        // What they add up to makes no difference to what is computed, and little to its error.
        let targets = program.input("targets", DType::F32, n, Fill::Unit { stream: 1 });
        let given = [logits, targets];
        if is_backward {
            let out = program.output("dlogits", DType::F32, n);
            brick.backward(&mut program, given, SCALE, out);
            program.check(move |outcome| check_backward(outcome, brick.classes, given, out));
        } else {
            let out = program.output("losses", DType::F32, brick.rows);
            brick.forward(&mut program, given, out);
            program.check(move |outcome| check(outcome, brick.classes, given, out));
        }
        Ok(program)
    }
}

/// The logarithm of the sum of a row's exponentials, and the magnitudes that went into it.
fn exact_logsum(x: &[f32]) -> [f64; 2] {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = x.iter().map(|x| f64::from(*x - largest).exp()).sum();
    let largest = f64::from(largest);
    [largest + sum.ln(), 1.0 + largest.abs() + sum.ln().abs()]
}

/// Roundings of a logarithm of a sum: of exponents, of exponentials and their sum, and of the logarithm.
fn roundings(classes: usize) -> u64 {
    2 * SPREAD as u64 + EXP + 2 * classes as u64 + LN + 8
}

fn check(outcome: &Outcome, classes: usize, [logits, targets]: [usize; 2], out: usize) -> Checked {
    let (x, t) = (outcome.get::<f32>(logits), outcome.get::<f32>(targets));
    let exact = |row: usize| {
        let [x, t] = [x, t].map(|all| &all[row * classes..][..classes]);
        let [logsum, magnitude] = exact_logsum(x);
        let terms = x.iter().zip(t).map(|(x, t)| (f64::from(*x), f64::from(*t)));
        terms.fold((0.0, 0.0), |(sum, condition), (x, t)| {
            (
                sum + t * (logsum - x),
                condition + t * (magnitude + x.abs()),
            )
        })
    };
    let roundings = roundings(classes) + classes as u64;
    let detail = "|loss - exact| beside the magnitudes of its terms";
    bound::compare(outcome.get::<f32>(out), roundings, detail, exact)
}

fn check_backward(
    outcome: &Outcome,
    classes: usize,
    [logits, targets]: [usize; 2],
    out: usize,
) -> Checked {
    let (x, t) = (outcome.get::<f32>(logits), outcome.get::<f32>(targets));
    let logsums: Vec<_> = x.chunks_exact(classes).map(exact_logsum).collect();
    let exact = |i: usize| {
        let [logsum, magnitude] = logsums[i / classes];
        let (x, t) = (f64::from(x[i]), f64::from(t[i]));
        let p = (x - logsum).exp();
        let condition = p * (1.0 + x.abs() + magnitude) + t;
        (f64::from(SCALE) * (p - t), f64::from(SCALE) * condition)
    };
    let detail = "|dlogit - exact| beside its probability and its label";
    bound::compare(
        outcome.get::<f32>(out),
        roundings(classes) + EXP,
        detail,
        exact,
    )
}
