//! Gradients of losses multiplied by a number of the device's own: the scale of losses, which changes from step to step.
//!
//! `x *= scale[0]`, in `f32`. Work of `n` numbers: `8 n` bytes and `n` flops.

use assay_protocol::{Failure, Work};

use super::{cuda, expect};
use crate::buffer::granule;
use crate::check;
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Outcome, Program, Source, cuda_source};

static SOURCE: Source = cuda_source!("ml/scale.cu");

/// The brick: numbers multiplied by another.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How many there are.
    pub elements: usize,
}

impl Scale {
    /// Adds `x *= scale[0]` to a program, both of `f32`.
    ///
    /// # Panics
    /// If there is no scale.
    pub fn forward(&self, program: &mut Program, x: usize, scale: usize) {
        let elements = self.elements;
        expect(program, "scale", &[("x", x, DType::F32, elements)]);
        let spec = &program.buffers[scale];
        assert!(spec.dtype == DType::F32 && spec.len > 0, "scale: a number");
        program.step_on_cpu(move |team, buffers| {
            let [scale, x] = buffers.many([scale, x]);
            let scale = scale.get::<f32>()[0];
            let parts = team.split_mut(x.get_mut::<f32>(), granule::<f32>());
            team.each(parts, |part| part.iter_mut().for_each(|x| *x *= scale));
        });
        let shape = (elements, elements);
        let launch = cuda::by_elements(&SOURCE, "scaled", "", DType::F32, shape);
        program.launch(launch.args([x, scale].map(Arg::Buffer)));
    }
}

/// The op: [`Scale::forward`].
#[derive(Clone, Copy, Debug)]
pub struct ScaleOp;

impl Op for ScaleOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "scale",
            summary: "gradients multiplied by the scale of the loss, f32",
            parameters: vec![parameters::integer("elements")],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let elements = arguments.size("elements")?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`elements`", &[elements as u64, 8])?),
            flops: Some(elements as u64),
            items: Some(elements as u64),
            formula: "bytes = 8 n, flops = n, items = n; n = elements".into(),
        });
        let scale = program.input("scale", DType::F32, 1, Fill::Unit { stream: 1 });
        let x = program.in_out("x", DType::F32, elements, Fill::signed(0));
        Scale { elements }.forward(&mut program, x, scale);
        program.check(move |outcome| check(outcome, x, scale));
        Ok(program)
    }

    fn test_size(&self, _: &str, size: i64) -> i64 {
        super::test_size(size)
    }
}

fn check(outcome: &Outcome, x: usize, scale: usize) -> Checked {
    let (scale, found) = (outcome.get::<f32>(scale)[0], outcome.get::<f32>(x));
    let before = outcome.initial::<f32>(x);
    let differs = |i: usize| {
        let product = (0..outcome.iterations).fold(before[i], |x, _| x * scale);
        found[i].to_bits() != product.to_bits()
    };
    Checked::exact(
        check::count(found.len(), differs),
        "elements that differ from the rounded product",
    )
}
