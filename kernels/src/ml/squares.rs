//! The loss of rows that were put together again: `(sum of w (y - x)^2 / 2 + beta divergence) / cols`, in nats a number; `w` are the
//! inverse variances of the noise in `x`, up to what does not depend on `y` its likelihood. Its gradient: `dy = scale / cols w (y - x)`.
//!
//! In `f32`; on CUDA devices a block has a row. Work of `n` numbers: forward `12 n` bytes, backward `16 n`, and `5 n` and `3 n` flops.

use assay_protocol::{Failure, Work};

use super::bound;
use super::expect;
use super::pool::parts;
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/squares.cu");
const THREADS: u32 = 256;
/// The weight of divergences, and the gradient of each loss, in the op.
const BETA: f32 = 0.5;
const SCALE: f32 = 0.25;

/// The brick: squares of differences.
#[derive(Clone, Copy, Debug)]
pub struct Squares {
    /// Rows.
    pub rows: usize,
    /// Numbers of a row, at least 1.
    pub cols: usize,
    /// Weight of the divergence.
    pub beta: f32,
}

/// Buffers of [`Squares`], `rows` by `cols` of `f32` each.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// What was to be put together.
    pub x: usize,
    /// Weights of its numbers.
    pub w: usize,
    /// What became of it.
    pub y: usize,
}

impl Squares {
    fn expect(&self, program: &Program, Compared { x, w, y }: Compared) {
        let named = [("x", x), ("w", w), ("y", y)];
        let len = self.rows * self.cols;
        expect(
            program,
            "squares",
            &named.map(|(name, buffer)| (name, buffer, DType::F32, len)),
        );
    }

    /// Adds the losses of rows to a program.
    pub fn forward(
        self,
        program: &mut Program,
        compared: Compared,
        divergences: usize,
        losses: usize,
    ) {
        let Self { rows, cols, beta } = self;
        self.expect(program, compared);
        let own = [("divergences", divergences), ("losses", losses)];
        expect(
            program,
            "squares",
            &own.map(|(name, buffer)| (name, buffer, DType::F32, rows)),
        );
        let Compared { x, w, y } = compared;
        program.step_on_cpu(move |team, buffers| {
            let [x, w, y, divergences, losses] = buffers.many([x, w, y, divergences, losses]);
            let [x, w, y, divergences] = [x, w, y, divergences].map(|b| b.get::<f32>());
            let losses = parts(team, losses.get_mut::<f32>(), 1);
            team.each(losses, |(first, losses)| {
                for (row, loss) in (*first..).zip(losses.iter_mut()) {
                    let [x, w, y] = [x, w, y].map(|all| &all[row * cols..][..cols]);
                    let terms = x.iter().zip(y).zip(w);
                    let terms = terms.map(|((x, y), w)| 0.5 * w * (y - x) * (y - x));
                    let sum = terms.fold(0.0, |sum, term| sum + term);
                    *loss = (sum + beta * divergences[row]) / cols as f32;
                }
            });
        });
        let grid = blocks(rows, 1, i32::MAX.unsigned_abs());
        program.launch(
            Launch::new(&SOURCE, "squares", grid, THREADS)
                .args([losses, x, w, y, divergences].map(Arg::Buffer))
                .args([rows, cols].map(Arg::size))
                .args([Arg::F32(beta)]),
        );
    }

    /// Adds the gradient of `y`, where that of each loss is `scale`.
    pub fn backward(self, program: &mut Program, compared: Compared, scale: f32, dy: usize) {
        let cols = self.cols;
        self.expect(program, compared);
        self.expect(program, Compared { y: dy, ..compared });
        let scale = scale / cols as f32;
        let Compared { x, w, y } = compared;
        program.step_on_cpu(move |team, buffers| {
            let [x, w, y, dy] = buffers.many([x, w, y, dy]);
            let [x, w, y] = [x, w, y].map(|buffer| buffer.get::<f32>());
            team.each(parts(team, dy.get_mut::<f32>(), cols), |(first, dy)| {
                let from = *first * cols;
                let given = x[from..].iter().zip(&y[from..]).zip(&w[from..]);
                for (dy, ((x, y), w)) in dy.iter_mut().zip(given) {
                    *dy = scale * w * (y - x);
                }
            });
        });
        let n = self.rows * cols;
        let grid = blocks(n, THREADS as usize, u32::MAX >> 1);
        program.launch(
            Launch::new(&SOURCE, "squares_backward", grid, THREADS)
                .args([dy, x, w, y].map(Arg::Buffer))
                .args([Arg::size(n), Arg::F32(scale)]),
        );
    }
}

/// The op: [`Squares::forward`] or [`Squares::backward`].
#[derive(Clone, Copy, Debug)]
pub struct SquaresOp;

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];

impl Op for SquaresOp {
    fn info(&self) -> OpInfo {
        let mut parameters: Vec<_> = ["rows", "cols"].map(parameters::integer).into();
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        OpInfo {
            name: "squares",
            summary: "weighted squares of differences of rows, and their gradient, f32",
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let brick = Squares {
            rows: arguments.size("rows")?,
            cols: arguments.count("cols")?,
            beta: BETA,
        };
        let n = parameters::size_product("`rows` and `cols`", &[brick.rows, brick.cols])?;
        let is_backward = arguments.choice("pass", &PASSES)?;
        let (bytes, flops) = if is_backward { (16, 3) } else { (12, 5) };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[bytes, n as u64],
            )?),
            flops: Some(parameters::product(
                "`rows` and `cols`",
                &[flops, n as u64],
            )?),
            items: Some(brick.rows as u64),
            formula: format!("bytes = {bytes} n, flops = {flops} n, items = rows; n = rows cols"),
        });
        let compared = Compared {
            x: program.input("x", DType::F32, n, Fill::signed(0)),
            w: program.input("w", DType::F32, n, Fill::Unit { stream: 1 }),
            y: program.input("y", DType::F32, n, Fill::signed(2)),
        };
        if is_backward {
            let dy = program.output("dy", DType::F32, n);
            brick.backward(&mut program, compared, SCALE, dy);
            program.check(move |outcome| check_backward(outcome, brick, compared, dy));
        } else {
            let unit = Fill::Unit { stream: 3 };
            let divergences = program.input("divergences", DType::F32, brick.rows, unit);
            let losses = program.output("losses", DType::F32, brick.rows);
            brick.forward(&mut program, compared, divergences, losses);
            let buffers = [divergences, losses];
            program.check(move |outcome| check(outcome, brick, compared, buffers));
        }
        Ok(program)
    }
}

fn check(
    outcome: &Outcome,
    brick: Squares,
    compared: Compared,
    [divergences, losses]: [usize; 2],
) -> Checked {
    let cols = brick.cols;
    let [x, w, y, divergences] =
        [compared.x, compared.w, compared.y, divergences].map(|b| outcome.get::<f32>(b));
    // Nothing is negative: the loss is its own condition.
    let exact = |row: usize| {
        let places = row * cols..(row + 1) * cols;
        let terms = places.map(|i| {
            let apart = f64::from(y[i]) - f64::from(x[i]);
            0.5 * f64::from(w[i]) * apart * apart
        });
        let sum = terms.sum::<f64>() + f64::from(BETA) * f64::from(divergences[row]);
        (sum / cols as f64, sum / cols as f64)
    };
    let detail = "|loss - exact|, relative";
    bound::compare(outcome.get::<f32>(losses), cols as u64 + 12, detail, exact)
}

fn check_backward(outcome: &Outcome, brick: Squares, compared: Compared, dy: usize) -> Checked {
    let [x, w, y] = [compared.x, compared.w, compared.y].map(|b| outcome.get::<f32>(b));
    let exact = |i: usize| {
        let apart = f64::from(y[i]) - f64::from(x[i]);
        let exact = f64::from(SCALE) / brick.cols as f64 * f64::from(w[i]) * apart;
        (exact, exact.abs())
    };
    let detail = "|dy - exact|, relative";
    bound::compare(outcome.get::<f32>(dy), 5, detail, exact)
}
