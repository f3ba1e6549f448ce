//! What is done with gradients between the backward pass and the optimizer's step.
//!
//! | op              | what it does                                                         | bytes of `n` gradients  |
//! |-----------------|----------------------------------------------------------------------|-------------------------|
//! | `gradient-norm` | the Euclidean norm of all                                            | `4 n`                   |
//! | `clip-norm`     | shrinks all where the norm is above a threshold                      | `8 n`, gone over twice  |
//! | `clip-adaptive` | shrinks rows whose norm is large beside that of their parameters     | `12 n`, 4 of parameters |
//! | `centralise`    | takes the mean out of each row                                       | `8 n`                   |
//! | `loss-scale`    | looks for NaN and infinity, takes the loss's scale out, skips steps  | `8 n`, or `4 n`         |
//!
//! Sources: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
//! algorithm 1 (clipping by norm); A. Brock, S. De, S. L. Smith, K. Simonyan, "High-performance large-scale image recognition
//! without normalization", ICML 2021, equation 3 (adaptive, unit by unit); H. Yong, J. Huang, X. Hua, L. Zhang, "Gradient
//! centralization", ECCV 2020, equation 1; P. Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2
//! (loss scaling; the scale follows overflows as in NVIDIA's mixed precision guide).
//!
//! Sums have the shape of [`crate::ops::reduce`] on the host and, in `gradient-norm` of variant `tree`, the same bits on CUDA devices;
//! `atomic` adds blocks as they finish. A row is summed by one block there.

mod check;
mod host;

use assay_protocol::{Failure, Philox, Work};

use super::optimizer::pace::{self, Clock};
use super::optimizer::schedule::Shape;
use crate::element::DType;
use crate::ml::expect;
use crate::ops::{EVERYWHERE, Op, OpInfo, sum};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Fill, Launch, Program, Source, Step, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/gradient.cu");
const THREADS: u32 = 256;
/// Elements of a block where a thread takes four.
const PER_BLOCK: usize = 4 * THREADS as usize;
/// Elements of a block of the sum in a free order.
const RUN: usize = 16 * THREADS as usize;

/// The sum of squares of some gradients: a brick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquareSum {
    /// How many there are.
    pub elements: usize,
    /// Whether a CUDA device may add as blocks finish, rather than as the host does.
    pub is_free: bool,
}

impl SquareSum {
    /// Adds the step to a program: the sum goes to place `place` of `sums`. In a free order, `sums` has but that.
    pub fn add(self, program: &mut Program, gradients: usize, sums: usize, place: usize) {
        let n = self.elements;
        expect(
            program,
            "SquareSum",
            &[("gradients", gradients, DType::F32, n)],
        );
        program.step_on_cpu(move |team, buffers| {
            let [gradients, sums] = buffers.many([gradients, sums]);
            sums.get_mut::<f32>()[place] = host::square_sum(team, gradients.get());
        });
        let out = Arg::BufferAt {
            buffer: sums,
            byte: 4 * place,
        };
        if self.is_free {
            program.cuda.push(Step::Set {
                buffer: sums,
                byte: 0,
            });
            let grid = blocks(self.elements, RUN, u32::MAX);
            program.launch(Launch::new(&SOURCE, "squares_atomic", grid, THREADS).args([
                out,
                Arg::Buffer(gradients),
                Arg::size(self.elements),
            ]));
        } else {
            sum::cuda::dot_as_on_host::<f32>(program, [gradients; 2], out, self.elements);
        }
    }
}

/// Clipping by norm: a brick. The factor goes to the [`pace`] of optimizer steps, which multiply by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipNorm {
    /// How many sums of squares make up the norm.
    pub sums: usize,
    /// Largest norm that gradients keep; infinite where they are only measured.
    pub most: f32,
}

impl ClipNorm {
    /// Adds the step to a program: the norm, of gradients without the loss's scale, is left in `norm`.
    pub fn add(self, program: &mut Program, sums: usize, norm: usize, pace: usize) {
        let buffers = [
            ("sums", sums, DType::F32, self.sums),
            ("norm", norm, DType::F32, 1),
            ("pace", pace, DType::F32, pace::LEN),
        ];
        expect(program, "ClipNorm", &buffers);
        program.step_on_cpu(move |_, buffers| {
            let [sums, norm, pace] = buffers.many([sums, norm, pace]);
            let pace = pace.get_mut::<f32>();
            let total: f32 = sums.get::<f32>()[..self.sums]
                .iter()
                .fold(0.0, |a, b| a + b);
            let found = total.sqrt() * pace[pace::UNSCALE];
            norm.get_mut::<f32>()[0] = found;
            // A norm that is no number makes every gradient none.
            pace[pace::CLIP] = if found <= self.most {
                1.0
            } else {
                self.most / found
            };
        });
        program.launch(Launch::new(&SOURCE, "clip_factor", 1, 1).args([
            Arg::Buffer(norm),
            Arg::Buffer(pace),
            Arg::Buffer(sums),
            Arg::U32(self.sums as u32),
            Arg::F32(self.most),
        ]));
    }
}

/// Multiplies gradients by the factors of the [`pace`], where no optimizer's step does it: a brick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rescale {
    /// How many there are.
    pub elements: usize,
}

impl Rescale {
    /// Adds the step to a program.
    pub fn add(self, program: &mut Program, gradients: usize, pace: usize) {
        let buffers = [
            ("gradients", gradients, DType::F32, self.elements),
            ("pace", pace, DType::F32, pace::LEN),
        ];
        expect(program, "Rescale", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [gradients, pace] = buffers.many([gradients, pace]);
            let pace = pace.get::<f32>();
            host::rescale(
                team,
                gradients.get_mut(),
                pace[pace::UNSCALE] * pace[pace::CLIP],
            );
        });
        let grid = blocks(self.elements, PER_BLOCK, u32::MAX);
        program.launch(Launch::new(&SOURCE, "rescale", grid, THREADS).args([
            Arg::Buffer(gradients),
            Arg::Buffer(pace),
            Arg::size(self.elements),
        ]));
    }
}

/// Adaptive clipping: a row of gradients is shrunk to `clipping` times the norm of its parameters, or of `epsilon` where that is
/// less. A brick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipAdaptive {
    /// Units.
    pub rows: usize,
    /// Parameters of each.
    pub cols: usize,
    /// lambda
    pub clipping: f32,
    /// Least norm of parameters.
    pub epsilon: f32,
}

impl ClipAdaptive {
    /// Adds the step to a program: `gradients` are changed.
    pub fn add(self, program: &mut Program, gradients: usize, parameters: usize) {
        let n = self.rows * self.cols;
        let buffers = [
            ("gradients", gradients, DType::F32, n),
            ("parameters", parameters, DType::F32, n),
        ];
        expect(program, "ClipAdaptive", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [gradients, parameters] = buffers.many([gradients, parameters]);
            host::clip_adaptive(team, self, gradients.get_mut(), parameters.get());
        });
        program.launch(
            rowwise("clip_adaptive", self.rows)
                .args([gradients, parameters].map(Arg::Buffer))
                .args([Arg::size(self.rows), Arg::size(self.cols)])
                .args([self.clipping, self.epsilon].map(Arg::F32)),
        );
    }
}

/// Centralisation: takes the mean out of each row. A brick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Centralise {
    /// Units.
    pub rows: usize,
    /// Gradients of each.
    pub cols: usize,
}

impl Centralise {
    /// Adds the step to a program: `gradients` are changed.
    pub fn add(self, program: &mut Program, gradients: usize) {
        let n = self.rows * self.cols;
        expect(
            program,
            "Centralise",
            &[("gradients", gradients, DType::F32, n)],
        );
        program.step_on_cpu(move |team, buffers| {
            host::centralise(team, self.cols, buffers.0[gradients].get_mut());
        });
        program.launch(rowwise("centralise", self.rows).args([
            Arg::Buffer(gradients),
            Arg::size(self.rows),
            Arg::size(self.cols),
        ]));
    }
}

/// A launch of a block for each row, up to as many as there may be; blocks go on to further rows.
fn rowwise(kernel: &str, rows: usize) -> Launch {
    Launch::new(
        &SOURCE,
        kernel,
        blocks(rows, 1, i32::MAX.unsigned_abs()),
        THREADS,
    )
}

/// Counts gradients that are no finite number, and takes the loss's scale out of all: a brick. Integers are counted
/// exactly in any order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unscale {
    /// How many there are.
    pub elements: usize,
    /// Whether they are changed. If not, optimizer steps do it, by the [`pace`].
    pub in_place: bool,
}

impl Unscale {
    /// Adds the step to a program: adds to the count in `found`, which [`LossScale`] empties, and reads `scale`.
    pub fn add(self, program: &mut Program, gradients: usize, found: usize, scale: usize) {
        let buffers = [
            ("gradients", gradients, DType::F32, self.elements),
            ("found", found, DType::U32, 2),
            ("scale", scale, DType::F32, LossScale::LEN),
        ];
        expect(program, "Unscale", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [gradients, found, scale] = buffers.many([gradients, found, scale]);
            let factor = self.in_place.then(|| 1.0 / scale.get::<f32>()[0]);
            found.get_mut::<u32>()[0] += host::unscale(team, gradients.get_mut(), factor);
        });
        let kernel = format!("unscale<{}>", self.in_place);
        let grid = blocks(self.elements, PER_BLOCK, u32::MAX);
        program.launch(Launch::new(&SOURCE, kernel, grid, THREADS).args([
            Arg::Buffer(gradients),
            Arg::Buffer(found),
            Arg::Buffer(scale),
            Arg::size(self.elements),
        ]));
    }
}

/// The loss's scale: a step whose gradients are not all finite is skipped, and the scale becomes less; after some steps that
/// were not, it grows. A brick, after [`Unscale`] of all gradients and before [`Clock`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    /// What it grows by.
    pub growth: f32,
    /// What it is multiplied by where a step is skipped.
    pub backoff: f32,
    /// Steps after which it grows.
    pub interval: u32,
    /// Whether [`Unscale`] changed the gradients.
    pub in_place: bool,
}

impl LossScale {
    /// Numbers of its buffer, of `f32`: the scale, and the steps since it changed.
    pub const LEN: usize = 2;

    /// What its buffer holds before the first step.
    pub fn fill(scale: f32) -> Fill {
        Fill::Host(Box::new(move |buffer, _| {
            buffer.get_mut::<f32>().copy_from_slice(&[scale, 0.0]);
        }))
    }

    /// Adds the step to a program: `found` is moved to its second place and emptied, `scale` and `pace` are changed.
    pub fn add(self, program: &mut Program, found: usize, scale: usize, pace: usize) {
        let buffers = [
            ("found", found, DType::U32, 2),
            ("scale", scale, DType::F32, Self::LEN),
            ("pace", pace, DType::F32, pace::LEN),
        ];
        expect(program, "LossScale", &buffers);
        program.step_on_cpu(move |_, buffers| {
            let [found, scale, pace] = buffers.many([found, scale, pace]);
            self.update(found.get_mut(), scale.get_mut(), pace.get_mut());
        });
        program.launch(Launch::new(&SOURCE, "loss_scale", 1, 1).args([
            Arg::Buffer(found),
            Arg::Buffer(scale),
            Arg::Buffer(pace),
            Arg::F32(self.growth),
            Arg::F32(self.backoff),
            Arg::U32(self.interval),
            Arg::U32(u32::from(self.in_place)),
        ]));
    }

    fn update(self, found: &mut [u32], scale: &mut [f32], pace: &mut [f32]) {
        let is_finite = found[0] == 0;
        found[1] = std::mem::take(&mut found[0]);
        pace[pace::PROCEED] = f32::from(is_finite);
        pace[pace::UNSCALE] = if self.in_place { 1.0 } else { 1.0 / scale[0] };
        scale[1] = if is_finite { scale[1] + 1.0 } else { 0.0 };
        if !is_finite {
            scale[0] *= self.backoff;
        } else if scale[1] >= self.interval as f32 {
            scale[0] *= self.growth;
            scale[1] = 0.0;
        }
    }
}

/// The ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientOp {
    /// The norm.
    Norm,
    /// Clipping by it.
    ClipNorm,
    /// Clipping of rows by the norm of their parameters.
    ClipAdaptive,
    /// Rows without their mean.
    Centralise,
    /// Gradients of a scaled loss.
    LossScale,
}

/// The threshold of the case of clipping: all but nothing is above it.
const MOST: f32 = 1.0 / 1024.0 / 1024.0;
/// Constants of the case of adaptive clipping: those of the paper, and a threshold that is always passed.
const ADAPTIVE: [f32; 2] = [1.0 / 1024.0 / 1024.0, 1e-3];
/// The scale of the loss, and what becomes of it.
const SCALE: f32 = 1024.0;
const SCALING: LossScale = LossScale {
    growth: 2.0,
    backoff: 0.5,
    interval: 2,
    in_place: true,
};
const CLOCK: Clock = Clock {
    beta1: 0.9,
    beta2: 0.999,
    peak: 0.001,
    floor: 0.0001,
    warmup: 2,
    steps: 10,
    shape: Shape::Cosine,
};

impl GradientOp {
    fn is_by_rows(self) -> bool {
        matches!(self, Self::ClipAdaptive | Self::Centralise)
    }

    /// How many gradients there are, in rows and columns where that matters.
    fn shape(self, arguments: &Arguments) -> Result<[usize; 2], Failure> {
        if !self.is_by_rows() {
            return Ok([1, arguments.size("elements")?]);
        }
        let shape = [arguments.size("rows")?, arguments.count("cols")?];
        parameters::size_product("`rows` and `cols`", &shape)?;
        Ok(shape)
    }
}

impl Op for GradientOp {
    fn info(&self) -> OpInfo {
        let mut parameters = if self.is_by_rows() {
            vec![parameters::integer("rows"), parameters::integer("cols")]
        } else {
            vec![parameters::integer("elements")]
        };
        let (name, summary) = match self {
            Self::Norm => ("gradient-norm", "Euclidean norm of gradients, f32"),
            Self::ClipNorm => ("clip-norm", "gradients shrunk to a norm, f32"),
            Self::ClipAdaptive => (
                "clip-adaptive",
                "rows of gradients shrunk beside their parameters, f32",
            ),
            Self::Centralise => ("centralise", "rows of gradients without their mean, f32"),
            Self::LossScale => (
                "loss-scale",
                "gradients of a scaled loss: NaN and infinity counted, the scale taken out, the step skipped",
            ),
        };
        match self {
            Self::Norm => {
                parameters.push(parameters::on_cpu(parameters::choice("variant", &["tree"])));
                let variants = parameters::choice("variant", &["tree", "atomic"]);
                parameters.push(parameters::on_cuda(variants));
            }
            Self::LossScale => {
                parameters.push(parameters::choice("variant", &["in-place", "count"]));
            }
            _ => {}
        }
        OpInfo {
            name,
            summary,
            parameters,
            devices: EVERYWHERE,
        }
    }

    /// The first of `clip-norm` counted what is gone over twice as often.
    fn definition(&self) -> u32 {
        match self {
            Self::ClipNorm => 2,
            _ => 1,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let [rows, cols] = self.shape(arguments)?;
        let elements = rows * cols;
        let (bytes, flops) = match self {
            Self::Norm => (4, 2),
            Self::ClipNorm => (8, 3),
            Self::ClipAdaptive => (12, 5),
            Self::Centralise => (8, 2),
            Self::LossScale if arguments.text("variant")? == "count" => (4, 0),
            Self::LossScale => (8, 1),
        };
        let names = if self.is_by_rows() {
            "`rows` and `cols`"
        } else {
            "`elements`"
        };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(names, &[bytes, elements as u64])?),
            flops: Some(flops * elements as u64),
            items: Some(elements as u64),
            formula: format!("bytes = {bytes} n, flops = {flops} n, items = n; n gradients"),
        });
        match self {
            Self::Norm => {
                let variants = [("tree", false), ("atomic", true)];
                add_norm(
                    &mut program,
                    elements,
                    arguments.choice("variant", &variants)?,
                );
            }
            Self::ClipNorm => add_clip_norm(&mut program, elements),
            Self::ClipAdaptive => add_clip_adaptive(&mut program, rows, cols),
            Self::Centralise => add_centralise(&mut program, rows, cols),
            Self::LossScale => {
                let variants = [("in-place", true), ("count", false)];
                let in_place = arguments.choice("variant", &variants)?;
                add_loss_scale(&mut program, elements, in_place);
            }
        }
        Ok(program)
    }
}

fn add_norm(program: &mut Program, elements: usize, is_free: bool) {
    let norm = program.output("norm", DType::F32, 1);
    let gradients = program.input("gradients", DType::F32, elements, Fill::signed(0));
    let sums = program.scratch("square", DType::F32, 1);
    let pace = pace::add(program);
    SquareSum { elements, is_free }.add(program, gradients, sums, 0);
    let measured = ClipNorm {
        sums: 1,
        most: f32::INFINITY,
    };
    measured.add(program, sums, norm, pace);
    program.deterministic = !is_free;
    program.distinct = is_free.then_some(norm);
    program.check(move |outcome| check::norm(outcome, gradients, norm, is_free));
}

fn add_clip_norm(program: &mut Program, elements: usize) {
    let gradients = program.in_out("gradients", DType::F32, elements, Fill::signed(0));
    let norm = program.output("norm", DType::F32, 1);
    let sums = program.scratch("square", DType::F32, 1);
    let pace = pace::add(program);
    let is_free = false;
    SquareSum { elements, is_free }.add(program, gradients, sums, 0);
    let clip = ClipNorm {
        sums: 1,
        most: MOST,
    };
    clip.add(program, sums, norm, pace);
    Rescale { elements }.add(program, gradients, pace);
    program.check(move |outcome| check::clip_norm(outcome, gradients, norm, MOST));
}

fn add_clip_adaptive(program: &mut Program, rows: usize, cols: usize) {
    let elements = rows * cols;
    let gradients = program.in_out("gradients", DType::F32, elements, Fill::signed(0));
    let parameters = program.input("parameters", DType::F32, elements, Fill::signed(1));
    let [clipping, epsilon] = ADAPTIVE;
    let clip = ClipAdaptive {
        rows,
        cols,
        clipping,
        epsilon,
    };
    clip.add(program, gradients, parameters);
    program.check(move |outcome| check::clip_adaptive(outcome, clip, gradients, parameters));
}

fn add_centralise(program: &mut Program, rows: usize, cols: usize) {
    // Numbers on [0, 1), whose mean is not nearly 0.
    let fill = Fill::Unit { stream: 0 };
    let gradients = program.in_out("gradients", DType::F32, rows * cols, fill);
    Centralise { rows, cols }.add(program, gradients);
    program.check(move |outcome| check::centralise(outcome, cols, gradients));
}

fn add_loss_scale(program: &mut Program, elements: usize, in_place: bool) {
    let found = program.in_out("found", DType::U32, 2, Fill::Zero);
    let gradients = program.in_out("gradients", DType::F32, elements, unsound());
    let scale = program.in_out("scale", DType::F32, LossScale::LEN, LossScale::fill(SCALE));
    let pace = program.in_out("pace", DType::F32, pace::LEN, pace::fill());
    let clock = program.in_out("clock", DType::F64, Clock::LEN, Clock::fill());
    Unscale { elements, in_place }.add(program, gradients, found, scale);
    let scaling = LossScale {
        in_place,
        ..SCALING
    };
    scaling.add(program, found, scale, pace);
    CLOCK.add(program, clock, pace);
    program.check(move |outcome| {
        let buffers = [found, gradients, scale, pace, clock];
        check::loss_scale(outcome, buffers, scaling, CLOCK)
    });
}

/// Numbers on [-1, 1), one or a few of which are infinite or no number with every other seed.
fn unsound() -> Fill {
    Fill::Host(Box::new(|buffer, seed| {
        let random = Philox::new(seed, 0);
        let gradients = buffer.get_mut::<f32>();
        random.fill_signed_f32(0, gradients);
        let chosen = Philox::new(seed, 1);
        if gradients.is_empty() || chosen.word(0).is_multiple_of(2) {
            return;
        }
        for (turn, wrong) in (1..).zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]) {
            let place = chosen.word(turn) as usize % gradients.len();
            gradients[place] = wrong;
        }
    }))
}
