//! Linear layers that are not trained, whose weights are kept as [codes](super::super::quantise) of 8 bits: integers from -127 to 127, with
//! a scale for each row of `W`, so that an input's weights share one.
//!
//! | pass             | what it computes      | flops                   |
//! |------------------|-----------------------|-------------------------|
//! | `forward`        | `y = x W`, plus `b`   | `2 rows inputs outputs` |
//! | `backward-input` | `dx = dy W^T`         | `2 rows inputs outputs` |
//!
//! `W[i][o] = code[i][o] scale[i]`, rounded in `f32`; results, biases and sums are `f32`, and `x` and `dy` are that or 16 bits. The products
//! that make numbers of codes are no flops. Weights have a quarter of the bytes of `f32`, and `f32` of all of them is nowhere, see
//! [`Product::append_codes`](crate::ml::product::Product::append_codes). Quantisation moves a weight by half of its scale at most.
//! Sources: T. Dettmers et al., "`LLM.int8()`", `NeurIPS` 2022, section 2, for scales of absolute maxima by rows; "`QLoRA`", `NeurIPS` 2023,
//! equation 5, for adapters beside weights that are dequantised in the product.
//!
//! The tolerance is that of a [layer](super), relative to the numbers that the codes stand for.

use assay_protocol::{ArithmeticUnit, Failure, Work};
use half::{bf16, f16};

use super::{Form, Linear, NAMES, Store, turned, wide, with_bias};
use crate::element::DType;
use crate::lane::Lane;
use crate::ops::{EVERYWHERE, Op, OpInfo, gemm};
use crate::parameters::{self, Arguments};
use crate::program::{Fill, Outcome, Program};

impl Linear {
    /// As [`Self::forward`], of weights that are codes and scales.
    pub fn forward_codes(
        &self,
        program: &mut Program,
        x: usize,
        weights: [usize; 2],
        bias: Option<usize>,
        y: usize,
    ) {
        let product = self.product(Form::Plain, Store::Set);
        product.append_codes(program, x, weights, bias, y);
    }

    /// As [`Self::backward_input`], of weights that are codes and scales.
    pub fn backward_input_codes(
        &self,
        program: &mut Program,
        dy: usize,
        weights: [usize; 2],
        dx: usize,
        store: Store,
    ) {
        let product = self.product(Form::RightTurned, store);
        product.append_codes(program, dy, weights, None, dx);
    }
}

/// The op `linear-i8`.
#[derive(Clone, Copy, Debug)]
pub struct CodedLinear;

/// Whether the pass is the forward one.
const PASSES: [(&str, bool); 2] = [("forward", true), ("backward-input", false)];
/// Types of `x` and `dy`.
const GIVEN: &[DType] = &[DType::F32, DType::Bf16, DType::F16];

/// A case of the op.
#[derive(Clone, Copy, Debug)]
struct Case {
    layer: Linear,
    is_forward: bool,
    has_bias: bool,
    seed: u64,
}

impl Op for CodedLinear {
    fn info(&self) -> OpInfo {
        let mut parameters: Vec<_> = NAMES.map(parameters::integer).into();
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        parameters.push(parameters::choice("bias", &["no", "yes"]));
        parameters.push(parameters::dtype(GIVEN));
        OpInfo {
            name: "linear-i8",
            summary: "y = x W + b, and its backward product to x, with W of 8 bits and scales",
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let [rows, inputs, outputs] = NAMES.map(|name| arguments.size(name));
        let layer = Linear::new(rows?, inputs?, outputs?);
        for name in NAMES {
            arguments.check_most(name, i32::MAX as usize)?;
        }
        let is_forward = arguments.choice("pass", &PASSES)?;
        let has_bias = arguments.choice("bias", &[("no", false), ("yes", true)])?;
        let case = Case {
            layer,
            is_forward,
            has_bias: has_bias && is_forward,
            seed: arguments.0.seed.0,
        };
        let dtype = arguments.dtype(GIVEN)?;
        let mut program = Program::new(work(&case, dtype)?);
        program.unit = Some(ArithmeticUnit::F32);
        match dtype {
            DType::Bf16 => add::<bf16>(&mut program, case),
            DType::F16 => add::<f16>(&mut program, case),
            _ => add::<f32>(&mut program, case),
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        super::LinearOp::Full.test_size(parameter, size)
    }
}

fn work(case: &Case, dtype: DType) -> Result<Work, Failure> {
    const ALL: &str = "`rows`, `inputs` and `outputs`";
    let Linear {
        rows,
        inputs,
        outputs,
        ..
    } = case.layer;
    let count = |a, b| parameters::size_product(ALL, &[a, b, 16]).map(|bytes| bytes / 16);
    let weights = count(inputs, outputs)?;
    let [x, y] = [count(rows, inputs)?, count(rows, outputs)?];
    let (given, result, [of_x, of_y], of_result) = if case.is_forward {
        (x, y, [dtype, DType::F32], "rows outputs")
    } else {
        (y, x, [DType::F32, dtype], "rows inputs")
    };
    let (bias, with_bias) = if case.has_bias {
        (outputs, " + outputs sizeof(f32)")
    } else {
        (0, "")
    };
    let bytes = given * dtype.bytes() + 4 * result + weights + 4 * (inputs + bias);
    let factors = [2, rows, inputs, outputs].map(|factor| factor as u64);
    Ok(Work {
        bytes: Some(bytes as u64),
        flops: Some(parameters::product(ALL, &factors)?),
        items: Some(result as u64),
        formula: format!(
            "bytes = rows inputs sizeof({of_x}) + rows outputs sizeof({of_y}) + inputs outputs + inputs sizeof(f32){with_bias}, flops = 2 \
             rows inputs outputs, items = {of_result}"
        ),
    })
}

/// Adds operands, result and check.
fn add<T: Lane>(program: &mut Program, case: Case) {
    let Case {
        layer,
        is_forward,
        has_bias,
        seed,
    } = case;
    let Linear {
        rows,
        inputs,
        outputs,
        ..
    } = layer;
    let words = Fill::Words { stream: 1 };
    let codes = program.input("codes", DType::I8, inputs * outputs, words);
    let unit = Fill::Unit { stream: 4 };
    let scales = program.input("scales", DType::F32, inputs, unit);
    let weights = [codes, scales];
    let [of_x, of_y] = [rows * inputs, rows * outputs];
    if is_forward {
        let x = program.input("x", T::DTYPE, of_x, Fill::signed(0));
        let bias = has_bias.then(|| program.input("b", DType::F32, outputs, Fill::signed(2)));
        let y = program.output("y", DType::F32, of_y);
        layer.forward_codes(program, x, weights, bias, y);
        program.check(move |outcome| {
            let bias = bias.map(|bias| outcome.get::<f32>(bias));
            let (x, w) = (wide::<T>(outcome, x), numbers(outcome, weights, outputs));
            let (sides, x, w) = with_bias([rows, outputs, inputs], x, w, bias);
            gemm::compare(
                ArithmeticUnit::F32,
                sides,
                &x,
                &w,
                outcome.get::<f32>(y),
                seed,
            )
        });
    } else {
        let dy = program.input("dy", T::DTYPE, of_y, Fill::signed(3));
        let dx = program.output("dx", DType::F32, of_x);
        layer.backward_input_codes(program, dy, weights, dx, Store::Set);
        program.check(move |outcome| {
            let w = turned(&numbers(outcome, weights, outputs), outputs);
            let (sides, dy) = ([rows, inputs, outputs], wide::<T>(outcome, dy));
            gemm::compare(
                ArithmeticUnit::F32,
                sides,
                &dy,
                &w,
                outcome.get::<f32>(dx),
                seed,
            )
        });
    }
}

/// What codes stand for.
fn numbers(outcome: &Outcome, [codes, scales]: [usize; 2], outputs: usize) -> Vec<f32> {
    let (codes, scales) = (outcome.get::<i8>(codes), outcome.get::<f32>(scales));
    let number = |(i, code): (usize, &i8)| f32::from(*code) * scales[i / outputs];
    codes.iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::{Linear, Store};
    use crate::device::Team;
    use crate::element::DType;
    use crate::ml::quantise::code::Code;
    use crate::ml::quantise::{Dequantise, Per, Quantise, Quantised};
    use crate::program::{Fill, Program};

    /// More than a tile of every side.
    const LAYER: [usize; 3] = [400, 270, 530];

    /// `y` and `dx`, the latter added to what is there, with weights as codes and as the numbers that these stand for.
    fn results(threads: usize) -> [[Vec<f32>; 2]; 2] {
        let [rows, inputs, outputs] = LAYER;
        let layer = Linear::new(rows, inputs, outputs);
        let shape = Quantised {
            rows: inputs,
            cols: outputs,
            code: Code::I8,
            per: Per::Row,
        };
        let mut program = Program::new(assay_protocol::Work::default());
        let mut add = |name: &'static str, stream, len| {
            program.input(name, DType::F32, len, Fill::signed(stream))
        };
        let [w, x, dy, b] = [
            add("w", 0, inputs * outputs),
            add("x", 1, rows * inputs),
            add("dy", 2, rows * outputs),
            add("b", 3, outputs),
        ];
        let [y, y_of_numbers] = ["y", "y2"].map(|name| add(name, 4, rows * outputs));
        let [dx, dx_of_numbers] = ["dx", "dx2"].map(|name| add(name, 5, rows * inputs));
        let codes = program.output("codes", DType::I8, inputs * outputs);
        let scales = program.output("scales", DType::F32, inputs);
        let numbers = program.output("numbers", DType::F32, inputs * outputs);
        Quantise(shape).add(&mut program, w, codes, scales);
        Dequantise(shape).add(&mut program, codes, scales, numbers);
        let program_of = &mut program;
        layer.forward_codes(program_of, x, [codes, scales], Some(b), y);
        layer.backward_input_codes(program_of, dy, [codes, scales], dx, Store::Add);
        layer.forward(program_of, x, numbers, Some(b), y_of_numbers);
        layer.backward_input(program_of, dy, numbers, dx_of_numbers, Store::Add);
        let team = Team::new(threads).unwrap();
        let mut buffers = program.host_buffers(&team, 3).unwrap();
        program.take_cpu().unwrap()(&team, &mut buffers, 1);
        [[y, dx], [y_of_numbers, dx_of_numbers]]
            .map(|pair| pair.map(|buffer| buffers.get::<f32>(buffer).to_vec()))
    }

    #[test]
    fn codes_give_the_bits_of_what_they_stand_for_with_any_team() {
        let [of_codes, of_numbers] = results(1);
        assert_eq!(of_codes, of_numbers);
        for threads in [2, 5] {
            assert_eq!(results(threads)[0], of_codes);
        }
    }

    #[test]
    #[should_panic(expected = "product of codes: `scales` is to be 3 elements of f32")]
    fn scales_are_those_of_rows() {
        let mut program = Program::new(assay_protocol::Work::default());
        let mut add = |name: &'static str, dtype, len| {
            program.input(name, dtype, len, Fill::Words { stream: 0 })
        };
        let [x, y] = [("x", 6), ("y", 8)].map(|(name, len)| add(name, DType::F32, len));
        let weights = [add("codes", DType::I8, 12), add("scales", DType::F32, 4)];
        Linear::new(2, 3, 4).forward_codes(&mut program, x, weights, None, y);
    }
}
