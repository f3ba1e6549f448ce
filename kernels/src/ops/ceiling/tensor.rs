//! Peak arithmetic of tensor cores: chains of matrix multiplications into the same accumulators.
//!
//! Each of `elements` accumulators starts as a random whole number from -2048 to -1025 and goes through `C += A B` and
//! `C += A B'` in turn, `steps` times in all. A, B and B' each have one value throughout, so an accumulator gains
//! `K a b` a step, with K the depth of an instruction, and every value on the way is one that even the
//! narrowest accumulators hold (14 bits, for 8-bit floating point on `sm_90`: `DeepSeek-V3` Technical Report, 2024, section
//! 3.3.2). Work: `2 K elements steps` flops. Equal operands take little power: the figure is one of the highest
//! clock, which other numbers may not allow.
//!
//! `mma` is the instruction of a warp, with operands in registers, for all architectures. `wgmma` is that of four warps,
//! with operands in shared memory, which `sm_90` needs for its full rate, and for 8-bit floating point at all. Sums are in
//! `f32`, of 8-bit integers in `i32`; GPUs for desktops sum twice as fast in `f16`.

use assay_protocol::{ArithmeticUnit, DeviceKind, Failure, Work};
use half::{bf16, f16};

use super::arithmetic::{start, steps};
use crate::check;
use crate::element::DType;
use crate::ops::{Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Traffic, blocks, cuda_source,
};

static MMA: Source = cuda_source!("ceiling/tensor.cu");
/// `sm_90` and `sm_100` have no such instruction: compilers make it of others.
static MMA_F8: Source = cuda_source!(
    "ceiling/tensor_f8.cu",
    emulated: true,
    architectures: &["89", "120a", "121a"]
);
static WGMMA: Source = cuda_source!(
    "ceiling/wgmma.cu",
    emulated: true,
    architectures: &["90a"]
);
/// More steps than this could leave the whole numbers that the narrowest accumulators have.
const MOST_STEPS: u64 = 4096;

/// Multiplies small matrices.
pub struct PeakTensor;

/// A kind of operands.
#[derive(Clone, Copy, Debug)]
struct Operands {
    unit: ArithmeticUnit,
    /// Its name in the CUDA sources.
    cuda: &'static str,
    /// K of one instruction.
    depth: u64,
    /// The value of A's elements is 1; these are B's and those of B'.
    values: [f64; 2],
    /// A register full of 1, and of each of these.
    words: [u32; 3],
}

impl Operands {
    fn all() -> [Self; 5] {
        use ArithmeticUnit::{Bf16Tensor, F8Tensor, F16Tensor, I8Tensor, Tf32Tensor};
        let values = [1.0, -0.9375];
        let of = |unit, cuda, depth, element: fn(f64) -> u32| Self {
            unit,
            cuda,
            depth,
            values,
            words: [1.0, values[0], values[1]].map(element),
        };
        [
            of(F16Tensor, "F16Tensor", 16, |x| {
                u32::from(f16::from_f64(x).to_bits()) * 0x1_0001
            }),
            of(Bf16Tensor, "Bf16Tensor", 16, |x| {
                u32::from(bf16::from_f64(x).to_bits()) * 0x1_0001
            }),
            of(Tf32Tensor, "Tf32Tensor", 8, |x| (x as f32).to_bits()),
            // Of 1, and of -1.875 2^-1.
            of(F8Tensor, "F8Tensor", 32, |x| {
                if x > 0.0 { 0x3838_3838 } else { 0xb7b7_b7b7 }
            }),
            Self {
                unit: I8Tensor,
                cuda: "I8Tensor",
                depth: 32,
                values: [2.0, -1.0],
                words: [0x0101_0101, 0x0202_0202, 0xffff_ffff],
            },
        ]
    }

    /// The type of the accumulators.
    fn accumulator(&self) -> DType {
        match self.unit {
            ArithmeticUnit::I8Tensor => DType::I32,
            _ => DType::F32,
        }
    }

    /// What an accumulator gains.
    fn gain(&self, steps: u32) -> f64 {
        let [odd, even] = self.values;
        let sum = f64::from(steps.div_ceil(2)) * odd + f64::from(steps / 2) * even;
        self.depth as f64 * sum
    }
}

impl Op for PeakTensor {
    fn info(&self) -> OpInfo {
        let units = Operands::all().map(|operands| operands.unit.name());
        OpInfo {
            name: "peak-tensor",
            summary: "chains of matrix multiplications in tensor cores",
            parameters: vec![
                parameters::choice("unit", &units),
                parameters::choice("instruction", &["mma", "wgmma"]),
                parameters::integer("elements"),
                parameters::integer("steps"),
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        // Little, and a little more than what is unrolled.
        match (parameter, size) {
            ("steps", 2..100) => 3,
            ("steps", 100..) => 35,
            _ => size,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let kinds = Operands::all().map(|operands| (operands.unit.name(), operands));
        let operands = arguments.choice("unit", &kinds)?;
        let is_wgmma = arguments.choice("instruction", &[("mma", false), ("wgmma", true)])?;
        let elements = arguments.size("elements")?;
        let steps = steps(arguments, MOST_STEPS)?;
        let flops = [2, operands.depth, elements as u64, steps.into()];
        let mut program = Program::new(Work {
            bytes: Some(0),
            flops: Some(parameters::product("`elements` and `steps`", &flops)?),
            items: Some(elements as u64),
            formula: format!(
                "bytes = 0, flops = 2 K n steps, items = n; n = elements, K = {}",
                operands.depth
            ),
        });
        program.traffic = Traffic::Unbounded;
        program.unit = Some(operands.unit);
        let input = program.input("in", DType::U32, elements, Fill::Words { stream: 0 });
        let words = operands.words;
        let fill = Fill::Host(Box::new(move |buffer, _| {
            buffer.get_mut::<u32>().copy_from_slice(&words);
        }));
        let values = program.input("operands", DType::U32, words.len(), fill);
        let out = program.output("out", operands.accumulator(), elements);
        let args = [out, input, values].map(Arg::Buffer);
        let sizes = [Arg::size(elements), Arg::U32(steps)];
        let launch = launch(&operands, is_wgmma, elements);
        program.launch(launch.args(args).args(sizes));
        program.check(move |outcome| check(outcome, [input, out], &operands, steps));
        Ok(program)
    }
}

fn launch(operands: &Operands, is_wgmma: bool, elements: usize) -> Launch {
    const THREADS: u32 = 128;
    let is_f8 = operands.unit == ArithmeticUnit::F8Tensor;
    let (source, kernel, per_thread, shared_bytes) = match (is_wgmma, is_f8) {
        // A, both operands B, and what aligning them may take.
        (true, _) => (&WGMMA, "multiply_groups", 128, (64 + 256) * 128 + 1024),
        (false, true) => (&MMA_F8, "multiply_matrices", 32, 0),
        (false, false) => (&MMA, "multiply_matrices", 32, 0),
    };
    let blocks = blocks(elements, THREADS as usize * per_thread, u32::MAX);
    let kernel = format!("{kernel}<{}>", operands.cuda);
    Launch {
        shared_bytes,
        ..Launch::new(source, kernel, blocks, THREADS)
    }
}

fn check(outcome: &Outcome, [input, out]: [usize; 2], operands: &Operands, steps: u32) -> Checked {
    let words = outcome.get::<u32>(input);
    let found = |i: usize| match operands.accumulator() {
        DType::I32 => f64::from(outcome.get::<i32>(out)[i]),
        _ => f64::from(outcome.get::<f32>(out)[i]),
    };
    let gain = operands.gain(steps);
    let error = check::worst(words.len(), |i| (found(i) - (start(words[i]) + gain)).abs());
    Checked {
        error,
        tolerance: 0.0,
        detail: "largest |out - exact|; every value on the way is exact".into(),
    }
}
