//! Stochastic depth: of each picture a branch is left out with probability `p`, and else multiplied by `1 / (1 - p)`, so that its
//! mean is that of the whole network. Source: G. Huang et al., "Deep networks with stochastic depth", ECCV 2016, section 3, with
//! the factor of the test moved into the training.
//!
//! `out[b] = f x[b]`, in `f32`, with `f` 0 where word `t batch + b` of a Philox stream is below `p 2^32`; the gradient is multiplied
//! by the same. Work of `n` numbers: `8 n` bytes and `n` flops.

use assay_protocol::{Failure, Philox, Work};

use super::expect;
use super::pool::parts;
use crate::check;
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/depth.cu");
const THREADS: u32 = 256;

/// The brick: a branch that is left out of some pictures.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Probability that it is left out, in units of 2^-32.
    pub threshold: u32,
    /// Pictures.
    pub batch: usize,
    /// Seed of what is left out.
    pub seed: u64,
    /// Stream of it: another one of each branch.
    pub stream: u64,
}

impl Depth {
    /// What a branch that is not left out is multiplied by.
    fn kept(&self) -> f32 {
        (1.0 / (1.0 - f64::from(self.threshold) / 2_f64.powi(32))) as f32
    }

    /// What the branch of picture `b` is multiplied by in a turn.
    pub fn factor(&self, turn: u64, b: usize) -> f32 {
        let index = turn.wrapping_mul(self.batch as u64).wrapping_add(b as u64);
        let word = Philox::new(self.seed, self.stream).word(index);
        if word < self.threshold {
            0.0
        } else {
            self.kept()
        }
    }

    /// Adds the multiplication of what a branch has for each picture, or of the gradient of that, to a program; `turn` is one
    /// `u64`, which stays as it is.
    ///
    /// # Panics
    /// If pictures are not whole.
    pub fn forward(self, program: &mut Program, turn: usize, from: usize, to: usize) {
        let len = program.buffers[from].len;
        let image = (len / self.batch.max(1)).max(1);
        let buffers = [
            ("turn", turn, DType::U64, 1),
            ("from", from, DType::F32, self.batch * image.min(len)),
            ("to", to, DType::F32, len),
        ];
        expect(program, "depth", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [turn, from, to] = buffers.many([turn, from, to]);
            let (turn, from) = (turn.get::<u64>()[0], from.get::<f32>());
            team.each(parts(team, to.get_mut::<f32>(), image), |(first, part)| {
                for (b, out) in (*first..).zip(part.chunks_exact_mut(image)) {
                    let factor = self.factor(turn, b);
                    let x = &from[b * image..][..image];
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = factor * x);
                }
            });
        });
        let grid = blocks(len, THREADS as usize, u32::MAX >> 1);
        program.launch(
            Launch::new(&SOURCE, "stochastic_depth", grid, THREADS)
                .args([to, from, turn].map(Arg::Buffer))
                .args([self.batch, image, len].map(Arg::size))
                .args([
                    Arg::U32(self.threshold),
                    Arg::F32(self.kept()),
                    Arg::U64(self.seed),
                    Arg::U64(self.stream),
                ]),
        );
    }
}

/// The op: [`Depth::forward`], of a branch that is left out half the time, after which the turn is counted.
#[derive(Clone, Copy, Debug)]
pub struct DepthOp;

impl Op for DepthOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "stochastic-depth",
            summary: "a branch that is left out of some pictures, f32",
            parameters: ["batch", "elements"].map(parameters::integer).into(),
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (batch, image) = (arguments.size("batch")?, arguments.size("elements")?);
        let n = parameters::size_product("`batch` and `elements`", &[batch, image])?;
        let depth = Depth {
            threshold: 1 << 31,
            batch,
            seed: arguments.0.seed.0,
            stream: 1,
        };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`batch` and `elements`",
                &[8, n as u64],
            )?),
            flops: Some(n as u64),
            items: Some(n as u64),
            formula: "bytes = 8 n, flops = n, items = n; n = batch elements".into(),
        });
        let x = program.input("x", DType::F32, n, Fill::signed(0));
        let turn = program.in_out("turn", DType::U64, 1, Fill::Words { stream: 2 });
        let out = program.output("out", DType::F32, n);
        depth.forward(&mut program, turn, x, out);
        super::draw::count(&mut program, turn);
        program.check(move |outcome| check(outcome, depth, image, [turn, x, out]));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "batch" {
            size.min(9)
        } else {
            size
        }
    }
}

fn check(outcome: &Outcome, depth: Depth, image: usize, [turn, x, out]: [usize; 3]) -> Checked {
    let (last, is_counted) = super::draw::last_turn(outcome, turn);
    let (x, found) = (outcome.get::<f32>(x), outcome.get::<f32>(out));
    let differs = |i: usize| {
        let expected = depth.factor(last, i / image) * x[i];
        found[i].to_bits() != expected.to_bits()
    };
    let wrong = check::count(found.len(), differs) + usize::from(!is_counted);
    Checked::exact(
        wrong,
        "elements that are not multiplied by their picture's factor",
    )
}
