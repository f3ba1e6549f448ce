//! Numbers of 32 bits rounded to 16: of what linear layers multiply, where they store less.
//!
//! To nearest, ties to even. Work of `n` numbers: `6 n` bytes, and no flops, for rounding is none.

use assay_protocol::{Failure, Work};
use half::{bf16, f16};

use super::{cuda, expect};
use crate::check;
use crate::element::DType;
use crate::lane::{self, Lane};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Outcome, Program, Source, cuda_source};

static SOURCE: Source = cuda_source!("ml/cast.cu");
/// What numbers are rounded to.
const HALVES: &[DType] = &[DType::Bf16, DType::F16];

/// The brick: numbers rounded to another type.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// How many there are.
    pub elements: usize,
    /// What they are rounded to: a type of 16 bits.
    pub to: DType,
}

impl Cast {
    /// Adds `out = x`, rounded, to a program; `x` is of `f32`.
    ///
    /// # Panics
    /// If the type is none of 16 bits.
    pub fn forward(&self, program: &mut Program, x: usize, out: usize) {
        let Self { elements, to } = *self;
        let buffers = [("x", x, DType::F32, elements), ("out", out, to, elements)];
        expect(program, "cast", &buffers);
        match to {
            DType::Bf16 => on_cpu::<bf16>(program, x, out),
            DType::F16 => on_cpu::<f16>(program, x, out),
            other => panic!("numbers of 16 bits, not of {other}"),
        }
        let launch = cuda::by_elements(&SOURCE, "rounded", "", to, (elements, elements));
        program.launch(launch.args([out, x].map(Arg::Buffer)));
    }
}

fn on_cpu<T: Lane>(program: &mut Program, x: usize, out: usize) {
    program.step_on_cpu(move |team, buffers| {
        let [x, out] = buffers.many([x, out]);
        let parts = team.split_mut(out.get_mut::<T>(), 64).into_iter();
        let parts = parts.zip(team.split(x.get::<f32>(), 64)).collect();
        team.each(parts, |(out, x): &mut (&mut [T], &[f32])| {
            lane::narrow(out, x);
        });
    });
}

/// The op: [`Cast::forward`].
#[derive(Clone, Copy, Debug)]
pub struct CastOp;

impl Op for CastOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "cast",
            summary: "numbers of f32 rounded to 16 bits",
            parameters: vec![parameters::integer("elements"), parameters::dtype(HALVES)],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (elements, to) = (arguments.size("elements")?, arguments.dtype(HALVES)?);
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`elements`", &[elements as u64, 6])?),
            flops: Some(0),
            items: Some(elements as u64),
            formula: "bytes = 6 n, flops = 0, items = n; n = elements".into(),
        });
        let x = program.input("x", DType::F32, elements, Fill::signed(0));
        let out = program.output("out", to, elements);
        Cast { elements, to }.forward(&mut program, x, out);
        program.check(move |outcome| match to {
            DType::Bf16 => check::<bf16>(outcome, x, out),
            _ => check::<f16>(outcome, x, out),
        });
        Ok(program)
    }

    fn test_size(&self, _: &str, size: i64) -> i64 {
        super::test_size(size)
    }
}

fn check<T: Lane>(outcome: &Outcome, x: usize, out: usize) -> Checked {
    let (x, out) = (outcome.get::<f32>(x), outcome.get::<T>(out));
    let differs = |i: usize| out[i].to_word() != T::narrow(x[i]).to_word();
    Checked::exact(
        check::count(out.len(), differs),
        "elements that are not the nearest numbers",
    )
}
