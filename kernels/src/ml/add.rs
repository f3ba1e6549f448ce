//! Sums, element by element: where a residual joins its branch, and where a gradient comes from more than one place.
//!
//! `out = a + b` in any type of activations, and `sum += x` in `f32`, each exact but for one rounding. Work of `n` elements of `s`
//! bytes: `3 n s` bytes and `n` flops, of either.

use assay_protocol::{Failure, Work};

use super::column_sum::add;
use super::host::{Each, elementwise, pointwise};
use super::{DTYPES, cuda, expect, with_lane};
use crate::buffer::granule;
use crate::check;
use crate::element::DType;
use crate::lane::Lane;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Outcome, Program, Source, cuda_source};

static SOURCE: Source = cuda_source!("ml/add.cu");

/// The brick: sums of elements at the same places.
#[derive(Clone, Copy, Debug)]
pub struct Add {
    /// How many there are.
    pub elements: usize,
    /// Type of all of it.
    pub dtype: DType,
}

impl Add {
    /// Adds `out = a + b` to a program.
    pub fn forward(&self, program: &mut Program, [a, b]: [usize; 2], out: usize) {
        let Self { elements, dtype } = *self;
        let buffers = [("a", a), ("b", b), ("out", out)];
        expect(
            program,
            "add",
            &buffers.map(|(role, buffer)| (role, buffer, dtype, elements)),
        );
        with_lane!(
            dtype,
            elementwise < _,
            _ > (program, [a, b], [out], Each(Sum))
        );
        let launch = cuda::by_elements(&SOURCE, "sums", "", dtype, (elements, elements));
        program.launch(launch.args([out, a, b].map(Arg::Buffer)));
    }

    /// Adds `sum += x` to a program.
    ///
    /// # Panics
    /// If the type is not `f32`: sums of many are kept in that alone.
    pub fn accumulate(&self, program: &mut Program, x: usize, sum: usize) {
        let Self { elements, dtype } = *self;
        assert_eq!(dtype, DType::F32, "what is accumulated");
        let buffers = [("x", x), ("sum", sum)];
        expect(
            program,
            "add",
            &buffers.map(|(role, buffer)| (role, buffer, dtype, elements)),
        );
        program.step_on_cpu(move |team, buffers| {
            let [x, sum] = buffers.many([x, sum]);
            let (x, sum) = (x.get::<f32>(), sum.get_mut::<f32>());
            let parts = team.split_mut(sum, granule::<f32>()).into_iter();
            let parts = parts.zip(team.split(x, granule::<f32>())).collect();
            team.each(parts, |(sum, x): &mut (&mut [f32], &[f32])| add(sum, x));
        });
        let launch = cuda::by_elements(&SOURCE, "sums", "", dtype, (elements, elements));
        program.launch(launch.args([sum, sum, x].map(Arg::Buffer)));
    }
}

/// The sum of two.
struct Sum;

pointwise!(Sum, |_, [a, b], 2 => 1| [a + b]);

/// The ops: [`Add::forward`] and [`Add::accumulate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddOp {
    /// `residual-add`
    Forward,
    /// `accumulate`
    Accumulate,
}

impl Op for AddOp {
    fn info(&self) -> OpInfo {
        let (name, summary, dtypes) = match self {
            Self::Forward => ("residual-add", "sums of activations", DTYPES),
            Self::Accumulate => (
                "accumulate",
                "gradients added to those before",
                &DTYPES[..1],
            ),
        };
        OpInfo {
            name,
            summary,
            parameters: vec![parameters::integer("elements"), parameters::dtype(dtypes)],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (elements, dtype) = (arguments.size("elements")?, arguments.dtype(DTYPES)?);
        let brick = Add { elements, dtype };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`elements`",
                &[elements as u64, 3, dtype.bytes() as u64],
            )?),
            flops: Some(elements as u64),
            items: Some(elements as u64),
            formula: "bytes = 3 n sizeof(T), flops = n, items = n; n = elements".into(),
        });
        let a = program.input("a", dtype, elements, Fill::signed(0));
        if *self == Self::Accumulate {
            let sum = program.in_out("sum", dtype, elements, Fill::signed(1));
            brick.accumulate(&mut program, a, sum);
            program.check(move |outcome| check_accumulated(outcome, [a, sum]));
            return Ok(program);
        }
        let b = program.input("b", dtype, elements, Fill::signed(1));
        let out = program.output("out", dtype, elements);
        brick.forward(&mut program, [a, b], out);
        program.check(move |outcome| with_lane!(dtype, check(outcome, [a, b, out])));
        Ok(program)
    }

    fn test_size(&self, _: &str, size: i64) -> i64 {
        super::test_size(size)
    }
}

const DETAIL: &str = "elements that differ from the rounded sum";

fn check<T: Lane>(outcome: &Outcome, [a, b, out]: [usize; 3]) -> Checked {
    let (a, b, out) = (
        outcome.get::<T>(a),
        outcome.get::<T>(b),
        outcome.get::<T>(out),
    );
    let differs = |i: usize| out[i].to_word() != T::narrow(a[i].widen() + b[i].widen()).to_word();
    Checked::exact(check::count(out.len(), differs), DETAIL)
}

fn check_accumulated(outcome: &Outcome, [x, sum]: [usize; 2]) -> Checked {
    let (x, found) = (outcome.get::<f32>(x), outcome.get::<f32>(sum));
    let before = outcome.initial::<f32>(sum);
    let differs = |i: usize| {
        let sum = (0..outcome.iterations).fold(before[i], |sum, _| sum + x[i]);
        found[i].to_bits() != sum.to_bits()
    };
    Checked::exact(check::count(found.len(), differs), DETAIL)
}
