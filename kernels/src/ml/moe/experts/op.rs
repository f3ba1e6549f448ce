//! Experts as ops.

use assay_protocol::{ArithmeticUnit, Failure, Work};

use super::super::routing::{Moved, kept_of};
use super::super::{Mixture, mixture};
use super::{ExpertGradients, Experts, check};
use crate::device::Team;
use crate::device::host::usable_cpus;
use crate::element::DType;
use crate::lane::Lane;
use crate::ml::{product, with_lane};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Fill, Program, Role};

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];
/// Sizes beside experts and choices.
const NAMES: &[&str] = &["width", "hidden", "capacity"];

/// Types of the mixed op.
const HALVES: &[DType] = &[DType::Bf16, DType::F16];

/// Experts as an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpertsOp {
    /// `moe-experts`: in `f32`.
    Full,
    /// `moe-experts-mixed`: what is multiplied is stored in 16 bits, results are `f32`: as trainings have it.
    Mixed,
}

impl Op for ExpertsOp {
    fn info(&self) -> OpInfo {
        let mut parameters = vec![
            parameters::integer("tokens"),
            parameters::integer("width"),
            parameters::integer("hidden"),
            parameters::integer("experts"),
            parameters::integer("capacity"),
            parameters::integer_or("chosen", 2),
            parameters::choice("pass", &PASSES.map(|(name, _)| name)),
        ];
        let (name, summary) = match self {
            Self::Full => (
                "moe-experts",
                "grouped products of experts with SwiGLU, f32",
            ),
            Self::Mixed => {
                parameters.push(parameters::dtype(HALVES));
                (
                    "moe-experts-mixed",
                    "grouped products of experts with SwiGLU, of numbers of 16 bits to f32",
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
        let shape = mixture(arguments, NAMES)?;
        let is_backward = arguments.choice("pass", &PASSES)?;
        let seed = arguments.0.seed.0;
        let dtype = match self {
            Self::Full => DType::F32,
            Self::Mixed => arguments.dtype(HALVES)?,
        };
        let mut program = Program::new(work(&shape, is_backward, dtype, seed)?);
        let unit = product::unit(dtype, arguments.is_cuda());
        program.unit = Some(unit);
        let given = add_inputs(&mut program, shape, dtype);
        if is_backward {
            let how = (unit, seed);
            with_lane!(dtype, add_backward(&mut program, shape, given, how));
            return Ok(program);
        }
        let out = program.output("out", DType::F32, shape.slots() * shape.width);
        shape.experts(&mut program, &given, out);
        program.check(move |outcome| {
            with_lane!(
                dtype,
                check::forward(outcome, &shape, &given, out, (unit, seed))
            )
        });
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match (parameter, size) {
            ("experts", 0..100) => size.clamp(2, 3),
            ("experts", 100..) => 2,
            ("capacity", 2..100) => size / 2 + 3,
            ("capacity", 100..) => 131,
            ("tokens", 100..) => 130,
            ("width", 2..100) => 24,
            ("width", 100..) => 33,
            ("hidden", 2..100) => 136,
            ("hidden", 100..) => 21,
            _ => size,
        }
    }
}

fn work(shape: &Mixture, is_backward: bool, dtype: DType, seed: u64) -> Result<Work, Failure> {
    const ALL: &str = "`tokens`, `width` and `hidden`";
    // What is too large to count is refused before it is counted.
    let choices = shape.choices() as u64;
    let (width, hidden) = (shape.width as u64, shape.hidden as u64);
    parameters::product(ALL, &[12, choices, width, hidden])?;
    let taken = Moved::of(shape, seed).slots;
    let times = if is_backward { 2 } else { 1 };
    let weights = 3 * shape.experts as u64 * width * hidden;
    let formula = match (dtype, is_backward) {
        (DType::F32, false) => "bytes = (3 E d f + 2 M d + 2 M f) 4, flops = 6 M d f",
        (DType::F32, true) => "bytes = (6 E d f + 3 M d + 2 M f) 4, flops = 12 M d f",
        (_, false) => "bytes = (3 E d f + M d) 2 + (M d + 2 M f) 4, flops = 6 M d f",
        (_, true) => "bytes = (3 E d f + 2 M d) 2 + (3 E d f + M d + 2 M f) 4, flops = 12 M d f",
    };
    // What is multiplied, and what comes of it: weights and rows, with the gradients of results; results or gradients, and what is kept.
    let multiplied = weights + times * taken * width;
    let made = (times - 1) * weights + taken * (width + 2 * hidden);
    Ok(Work {
        bytes: Some(dtype.bytes() as u64 * multiplied + 4 * made),
        flops: Some(6 * times * taken * width * hidden),
        items: Some(taken),
        formula: format!(
            "{formula}, items = M; M = tokens chosen, but for those without a slot, E = experts, d = width, f = hidden"
        ),
    })
}

/// Adds inputs, and `gate` and `up`, which nobody compares: what is made of them is.
fn add_inputs(program: &mut Program, shape: Mixture, dtype: DType) -> Experts {
    let weights = shape.experts * shape.width * shape.hidden;
    let kept = Fill::Host(Box::new(move |buffer, seed| {
        buffer
            .get_mut::<u32>()
            .copy_from_slice(&kept_of(&shape, seed));
    }));
    let input = |program: &mut Program, name, stream, len| {
        program.input(name, dtype, len, Fill::signed(stream))
    };
    let rows = input(program, "rows", 0, shape.slots() * shape.width);
    let [w1, w3, w2] = [("w1", 1), ("w3", 2), ("w2", 3)]
        .map(|(name, stream)| input(program, name, stream, weights));
    Experts {
        rows,
        kept: program.input("kept", DType::U32, shape.experts, kept),
        w1,
        w3,
        w2,
        gate: program.scratch("gate", DType::F32, shape.slots() * shape.hidden),
        up: program.scratch("up", DType::F32, shape.slots() * shape.hidden),
    }
}

/// Adds the backward pass. What the forward one keeps, the host has computed before.
fn add_backward<T: Lane>(
    program: &mut Program,
    shape: Mixture,
    given: Experts,
    (unit, seed): (ArithmeticUnit, u64),
) {
    for (place, is_up) in [(given.gate, false), (given.up, true)] {
        program.buffers[place].fill = Fill::Host(Box::new(move |buffer, seed| {
            buffer
                .get_mut::<f32>()
                .copy_from_slice(&kept_on_host::<T>(shape, seed, is_up));
        }));
        program.buffers[place].role = Role::Scratch;
    }
    let d_out = program.input(
        "dout",
        T::DTYPE,
        shape.slots() * shape.width,
        Fill::signed(4),
    );
    let weights = shape.experts * shape.width * shape.hidden;
    let gradients = ExpertGradients {
        rows: program.output("drows", DType::F32, shape.slots() * shape.width),
        w1: program.output("dw1", DType::F32, weights),
        w3: program.output("dw3", DType::F32, weights),
        w2: program.output("dw2", DType::F32, weights),
    };
    shape.experts_backward(program, &given, d_out, &gradients);
    program.check(move |outcome| {
        check::backward::<T>(outcome, &shape, &given, d_out, &gradients, (unit, seed))
    });
}

/// `gate` or `up` of a case.
pub fn kept_on_host<T: Lane>(shape: Mixture, seed: u64, is_up: bool) -> Vec<f32> {
    let mut program = Program::new(Work::default());
    let given = add_inputs(&mut program, shape, T::DTYPE);
    let out = program.output("out", DType::F32, shape.slots() * shape.width);
    shape.experts(&mut program, &given, out);
    let team = Team::new(usable_cpus()).expect("threads");
    let mut buffers = program.host_buffers(&team, seed).expect("memory");
    let mut run = program.take_cpu().expect("steps for the host");
    run(&team, &mut buffers, 1);
    buffers
        .get::<f32>(if is_up { given.up } else { given.gate })
        .to_vec()
}
