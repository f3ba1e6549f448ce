//! Attention: `out = softmax(q k^T / sqrt(d) + bias) v` for each head of width `d`, with sums of `f32`.
//!
//! Queries, keys, values and outputs are `[batch, length, heads, d]`: rows of tokens as linear layers leave them, with all
//! heads side by side. With a causal mask a query sees no later key. Queries and keys may be rotated by their places
//! inside ([`Position::Rope`]), or scores have linear biases ([`Position::Alibi`]).
//!
//! | variant | forward                                          | it keeps                 | backward                       |
//! |---------|--------------------------------------------------|--------------------------|--------------------------------|
//! | `fused` | blocks of scores in cache or shared memory, a softmax that is corrected as it goes | the logarithm of the sum of exponentials of each query | computes probabilities again |
//! | `naive` | all scores in memory                             | all probabilities        | from those                     |
//!
//! Sources: A. Vaswani et al., "Attention is all you need", 2017, equation 1; the fused variant is that of T. Dao,
//! "`FlashAttention-2`: faster attention with better parallelism and work partitioning", 2023, algorithms 1 and 2, but for the
//! gradient of queries, which on CUDA devices a kernel of its own computes: so all sums have a fixed order, for two products
//! more than the five of the algorithm.
//!
//! Work of `B` sequences of length `S` and `H` heads of width `D`: forward `4 B H S^2 D` flops, half with a causal mask; backward
//! 2.5 times as much. Bytes are those of inputs and outputs, each once; `naive` moves its scores besides.
//!
//! # Errors
//! A score is off by at most `delta`: `gamma` of its roundings (`D + 2`, of rotations in `f32` 6 more, of biases 3) times its sum of
//! magnitudes. The exponential magnifies that, and the rounding of its argument, which is at most the range `R` of scores (and
//! for the backward pass the logarithms kept), to a relative error; a correction as the softmax goes adds some for each block of
//! keys; the sum adds its own. Numerator and denominator have these each, so that a probability is off by
//! `rho = 2 delta + gamma(2 (2 R + E + b (E + 2))) + gamma(S)`, relatively, with `E` roundings of an exponential and `b` blocks. An
//! output is a mean of values with these weights: relative to `sum p |v|` it is off by `rho + gamma(S)`. In the backward pass
//! `ds = p (dp - d)` has such an error three times, relative to `p` times the magnitudes of `dp` and `d`, and the products
//! that it enters add theirs: `3 rho + gamma(2 D + 2 S)`. Of long sums the tolerance takes what is
//! [likely](crate::bound::likely_gamma). An output of 16 bits is rounded once more, to its type; so was the one that `d` is the
//! sum of in the backward pass, `u sum |dout out|` of it.
//!
//! On tensor cores sums have [their own roundoff](crate::bound::TENSOR_ROUNDOFF), and operands are rounded to the type, whose unit
//! roundoff is `u`. An error of a score need not be tiny, so `e^(2 delta) - 1` stands for `2 delta` in `rho`, on any device.
//! - Rotated queries and keys are rounded by the reference, too: scores have the roundings of those that are not rotated. Where such a
//!   number is within the error of its rotation, `gamma(3)` in `f32`, of halfway between two of the type, it may be rounded to either. A
//!   score `s` is then off by the distance of the two, times what it is multiplied by, and with it a probability by `e^(s + t) - 1`, where
//!   `t = ln sum p e^s` is what the logarithm of the sum is off by: that is allowed just where it can be.
//! - Probabilities are rounded before they weight values: an output is off by `(1 + rho) (1 + u) - 1 + gamma(S)`.
//! - In the backward pass probabilities or gradients of scores are: `u` of each, after what cancels in them has. What a case is given of the
//!   forward pass the host has computed, without roundings of what is rotated: the reference takes the logarithms and `d` from such a pass.
//!
//! Exponents are of 2, and their scale is multiplied into them: a rounding more, `3 R` for `2 R`. What is nearer to 0 than half of the
//! smallest number of `f16` is lost: that much of each result, and as much times the sum of the magnitudes of what those numbers would
//! have been multiplied by.

mod check;
mod cuda;
mod host;
mod reference;

use assay_protocol::{ArithmeticUnit, Failure, Work};

use super::position::{Alibi, Rope};
use super::{expect, product, with_lane, workspace};
use crate::device::Team;
use crate::device::host::usable_cpus;
use crate::element::DType;
use crate::lane::Lane;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Fill, Program, Role};

/// Columns of a head at most, where it is fused: a block's keys and values lie in shared memory.
const MOST_WIDTH: usize = 128;

/// How attention learns where a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Not at all.
    None,
    /// Queries and keys are rotated.
    Rope,
    /// Scores have linear biases.
    Alibi,
}

/// How attention is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Without scores in memory.
    Fused,
    /// With all scores in memory.
    Naive,
}

/// Attention of `batch` sequences of `length` tokens with `heads` heads in `width` columns.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// Heads, at least one.
    pub heads: usize,
    /// Columns of a token: those of all heads.
    pub width: usize,
    /// Whether a query sees no later key.
    pub is_causal: bool,
    /// Where a token is.
    pub position: Position,
    /// How it is computed.
    pub variant: Variant,
}

/// The buffers of a forward pass, by their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// Queries.
    pub q: usize,
    /// Keys.
    pub k: usize,
    /// Values.
    pub v: usize,
    /// What [`Attention::table`] adds.
    pub table: Option<usize>,
    /// The output.
    pub out: usize,
    /// What the backward pass needs to know: `f32`, [`Attention::kept_len`] of them.
    pub kept: usize,
}

impl Attention {
    /// Columns of a head.
    pub fn head_width(&self) -> usize {
        self.width / self.heads.max(1)
    }

    /// Elements of queries, keys, values or outputs.
    pub fn len(&self) -> usize {
        self.batch * self.length * self.width
    }

    /// Whether there is nothing to attend to.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements that the forward pass keeps.
    pub fn kept_len(&self) -> usize {
        let rows = self.batch * self.heads * self.length;
        match self.variant {
            Variant::Fused => rows,
            Variant::Naive => rows * self.length,
        }
    }

    fn rope(&self) -> Rope {
        let Self {
            batch,
            length,
            heads,
            width,
            ..
        } = *self;
        Rope {
            batch,
            length,
            heads,
            width,
        }
    }

    /// Adds the table of angles or slopes to a program, where there is one: all layers of a model may share it.
    pub fn table(&self, program: &mut Program) -> Option<usize> {
        match self.position {
            Position::None => None,
            Position::Rope => Some(self.rope().table(program)),
            Position::Alibi => {
                let Self {
                    batch,
                    heads,
                    length,
                    ..
                } = *self;
                let alibi = Alibi {
                    batch,
                    heads,
                    length,
                };
                Some(alibi.table(program))
            }
        }
    }

    fn expect(&self, program: &Program, given: &Given, dtype: DType) {
        let len = self.len();
        let mut buffers = vec![
            ("q", given.q, dtype, len),
            ("k", given.k, dtype, len),
            ("v", given.v, dtype, len),
            ("out", given.out, dtype, len),
            ("kept", given.kept, DType::F32, self.kept_len()),
        ];
        let of_table = match self.position {
            Position::None => None,
            Position::Rope => Some(self.length * self.head_width() / 2 * 2),
            Position::Alibi => Some(self.heads),
        };
        assert_eq!(
            given.table.is_some(),
            of_table.is_some(),
            "attention: a table where places are told"
        );
        buffers.extend(
            given
                .table
                .zip(of_table)
                .map(|(table, len)| ("table", table, DType::F32, len)),
        );
        expect(program, "attention", &buffers);
    }

    /// Computes `out` and `kept`. Fused, queries, keys, values and outputs may be of 16 bits, all of one type; else they are `f32`.
    pub fn forward(&self, program: &mut Program, given: &Given) {
        let dtype = self.dtype(program, given);
        self.expect(program, given, dtype);
        match self.variant {
            Variant::Fused => with_lane!(dtype, fused_on_cpu(program, *self, *given)),
            Variant::Naive => {
                let (shape, given) = (*self, *given);
                program.step_on_cpu(move |team, buffers| host::naive(&shape, given, team, buffers));
            }
        }
        match self.variant {
            Variant::Fused => cuda::fused(self, *given, program),
            Variant::Naive => cuda::naive(self, *given, program),
        }
    }

    /// Computes the gradients of queries, keys and values, given that of the output: all are of the type of queries.
    pub fn backward(
        &self,
        program: &mut Program,
        given: &Given,
        d_out: usize,
        [dq, dk, dv]: [usize; 3],
    ) {
        let dtype = self.dtype(program, given);
        self.expect(program, given, dtype);
        let len = self.len();
        let all = [("dout", d_out), ("dq", dq), ("dk", dk), ("dv", dv)];
        expect(
            program,
            "attention",
            &all.map(|(name, buffer)| (name, buffer, dtype, len)),
        );
        let (shape, given) = (*self, *given);
        let of_work = match self.variant {
            // What each query's gradients of scores are beneath.
            Variant::Fused => self.batch * self.heads * self.length,
            // All gradients of scores.
            Variant::Naive => self.kept_len(),
        };
        let work = workspace(program, "attention-work", DType::F32, of_work);
        let gradients = [dq, dk, dv];
        match self.variant {
            Variant::Fused => {
                let of_output = (d_out, gradients);
                with_lane!(
                    dtype,
                    fused_backward_on_cpu(program, shape, given, of_output)
                );
                cuda::fused_backward(self, given, d_out, gradients, work, program);
            }
            Variant::Naive => {
                program.step_on_cpu(move |team, buffers| {
                    host::naive_backward(&shape, given, d_out, [dq, dk, dv, work], team, buffers);
                });
                cuda::naive_backward(self, given, d_out, gradients, work, program);
            }
        }
    }

    /// The type of all that attention reads and writes but what it keeps.
    fn dtype(&self, program: &Program, given: &Given) -> DType {
        match self.variant {
            Variant::Fused => program.buffers[given.q].dtype,
            Variant::Naive => DType::F32,
        }
    }
}

fn fused_on_cpu<T: Lane>(program: &mut Program, shape: Attention, given: Given) {
    program.step_on_cpu(move |team, buffers| host::fused::<T>(&shape, given, team, buffers));
}

fn fused_backward_on_cpu<T: Lane>(
    program: &mut Program,
    shape: Attention,
    given: Given,
    (d_out, gradients): (usize, [usize; 3]),
) {
    program.step_on_cpu(move |team, buffers| {
        host::fused_backward::<T>(&shape, given, d_out, gradients, team, buffers);
    });
}

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];
const MASKS: [(&str, bool); 2] = [("causal", true), ("none", false)];
const POSITIONS: [(&str, Position); 3] = [
    ("none", Position::None),
    ("rope", Position::Rope),
    ("alibi", Position::Alibi),
];
const VARIANTS: [(&str, Variant); 2] = [("fused", Variant::Fused), ("naive", Variant::Naive)];

/// Types of the half op.
const HALVES: &[DType] = &[DType::Bf16, DType::F16];

/// Attention as an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionOp {
    /// `attention`: all of it, in `f32`.
    Full,
    /// `attention-half`: what there is of 16 bits, the fused one.
    Half,
}

impl Op for AttentionOp {
    fn info(&self) -> OpInfo {
        let sizes = ["batch", "length", "heads", "width"].map(parameters::integer);
        let mut parameters: Vec<_> = sizes.into();
        parameters.push(parameters::choice("mask", &MASKS.map(|(name, _)| name)));
        parameters.push(parameters::choice(
            "position",
            &POSITIONS.map(|(name, _)| name),
        ));
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        let (name, summary) = match self {
            Self::Full => {
                parameters.push(parameters::choice(
                    "variant",
                    &VARIANTS.map(|(name, _)| name),
                ));
                ("attention", "softmax attention of many heads, f32")
            }
            Self::Half => {
                parameters.push(parameters::dtype(HALVES));
                (
                    "attention-half",
                    "fused softmax attention of many heads, stored in 16 bits and added up in f32",
                )
            }
        };
        OpInfo {
            name,
            summary,
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (variant, dtype) = match self {
            Self::Full => (arguments.choice("variant", &VARIANTS)?, DType::F32),
            Self::Half => (Variant::Fused, arguments.dtype(HALVES)?),
        };
        let shape = shape(arguments, variant)?;
        let is_backward = arguments.choice("pass", &PASSES)?;
        let mut program = Program::new(work(&shape, is_backward, dtype)?);
        let unit = product::unit(dtype, arguments.is_cuda());
        program.unit = Some(unit);
        let how = (unit, arguments.0.seed.0);
        if is_backward {
            let inputs = add_inputs(&mut program, shape, dtype);
            let table = shape.table(&mut program);
            with_lane!(dtype, add_backward(&mut program, shape, inputs, table, how));
            return Ok(program);
        }
        let given = add_forward(&mut program, shape, dtype);
        shape.forward(&mut program, &given);
        program
            .check(move |outcome| with_lane!(dtype, check::forward(outcome, &shape, &given, how)));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        // Two heads of two sequences, then one wide head; several blocks with something left over.
        match (parameter, size) {
            ("batch" | "heads", 2..100) | ("width", 1) => 2,
            ("batch" | "heads", 100..) => 1,
            ("width", 2..100) => 36,
            ("length", 2..100) => 37,
            ("length", 100..) if *self == Self::Half => 150,
            // Of 16 bits, rows of whole vectors, of which tiles have more.
            ("width", 100..) if *self == Self::Half => 72,
            ("width" | "length", 100..) => 70,
            _ => size,
        }
    }
}

/// Names of the sizes.
const NAMES: &str = "`batch`, `length`, `heads` and `width`";

fn shape(arguments: &Arguments, variant: Variant) -> Result<Attention, Failure> {
    let shape = Attention {
        batch: arguments.size("batch")?,
        length: arguments.size("length")?,
        heads: arguments.count("heads")?,
        width: arguments.size("width")?,
        is_causal: arguments.choice("mask", &MASKS)?,
        position: arguments.choice("position", &POSITIONS)?,
        variant,
    };
    let Attention {
        batch,
        length,
        heads,
        width,
        position,
        ..
    } = shape;
    let wrong = |expected: String| {
        Err(Failure::Failed(format!(
            "parameter `width`: expected {expected}; found {width}"
        )))
    };
    if !width.is_multiple_of(heads) {
        return wrong(format!("a multiple of `heads`, {heads}"));
    }
    if position == Position::Rope && !width.is_multiple_of(2 * heads) {
        return wrong(format!(
            "a multiple of twice `heads`, {}, since `rope` rotates pairs of a head",
            2 * heads
        ));
    }
    if variant == Variant::Fused && width / heads > MOST_WIDTH {
        return wrong(format!(
            "at most {MOST_WIDTH} columns for each of {heads} heads, of which variant `fused` keeps blocks in shared memory"
        ));
    }
    parameters::size_product(NAMES, &[batch, length, width, 16])?;
    let rows = parameters::size_product(NAMES, &[batch, heads, length])?;
    parameters::size_product(NAMES, &[rows, length, 16])?;
    if rows > i32::MAX as usize {
        return Err(Failure::Failed(format!(
            "parameters {NAMES}: expected fewer than 2^31 queries of all heads together"
        )));
    }
    Ok(shape)
}

fn work(shape: &Attention, is_backward: bool, dtype: DType) -> Result<Work, Failure> {
    let Attention {
        batch,
        length,
        width,
        is_causal,
        ..
    } = *shape;
    let factors = [4, batch, length, length, width].map(|factor| factor as u64);
    let mut flops = parameters::product(NAMES, &factors)?;
    let mut formula = String::from("4 B H S^2 D");
    if is_causal {
        flops /= 2;
        formula += " / 2";
    }
    // Queries, keys, values and outputs; with the gradients of all.
    let mut tensors = 4;
    if is_backward {
        flops = parameters::product(NAMES, &[flops, 5])? / 2;
        formula = format!("2.5 ({formula})");
        tensors = 8;
    }
    Ok(Work {
        bytes: Some(dtype.bytes() as u64 * tensors * shape.len() as u64),
        flops: Some(flops),
        items: Some((batch * length) as u64),
        formula: format!(
            "bytes = {tensors} B S H D sizeof({dtype}), flops = {formula}, items = B S; \
             B = batch, S = length, H = heads, D = width / heads"
        ),
    })
}

/// Adds the backward pass. What it is given of the forward one, the host has computed before.
fn add_backward<T: Lane>(
    program: &mut Program,
    shape: Attention,
    [q, k, v]: [usize; 3],
    table: Option<usize>,
    how: (ArithmeticUnit, u64),
) {
    let len = shape.len();
    let d_out = program.input("dout", T::DTYPE, len, Fill::signed(3));
    let mut given = |name: &'static str, dtype, len, which: usize| {
        let fill = Fill::Host(Box::new(move |buffer, seed| {
            let made = &forward_on_host(shape, T::DTYPE, seed)[which];
            buffer.bytes_mut().copy_from_slice(made);
        }));
        program.add(name, dtype, len, Role::Scratch, fill)
    };
    let out = given("out", T::DTYPE, len, 0);
    let kept = given("kept", DType::F32, shape.kept_len(), 1);
    let given = Given {
        q,
        k,
        v,
        table,
        out,
        kept,
    };
    let gradients = ["dq", "dk", "dv"].map(|name| program.output(name, T::DTYPE, len));
    shape.backward(program, &given, d_out, gradients);
    program
        .check(move |outcome| check::backward::<T>(outcome, &shape, &given, d_out, gradients, how));
}

/// The bytes of the output of a case's forward pass, and of what it keeps.
fn forward_on_host(shape: Attention, dtype: DType, seed: u64) -> [Vec<u8>; 2] {
    let mut program = Program::new(Work::default());
    let given = add_forward(&mut program, shape, dtype);
    shape.forward(&mut program, &given);
    // A team, and as much memory as the case itself has already.
    let team = Team::new(usable_cpus()).expect("threads");
    let mut buffers = program.host_buffers(&team, seed).expect("memory");
    let mut run = program.take_cpu().expect("steps for the host");
    run(&team, &mut buffers, 1);
    [given.out, given.kept].map(|buffer| buffers.0[buffer].bytes().to_vec())
}

/// Adds the buffers of a forward pass.
fn add_forward(program: &mut Program, shape: Attention, dtype: DType) -> Given {
    let [q, k, v] = add_inputs(program, shape, dtype);
    let table = shape.table(program);
    let out = program.output("out", dtype, shape.len());
    let kept = program.output("kept", DType::F32, shape.kept_len());
    Given {
        q,
        k,
        v,
        table,
        out,
        kept,
    }
}

fn add_inputs(program: &mut Program, shape: Attention, dtype: DType) -> [usize; 3] {
    [("q", 0), ("k", 1), ("v", 2)]
        .map(|(name, stream)| program.input(name, dtype, shape.len(), Fill::signed(stream)))
}
