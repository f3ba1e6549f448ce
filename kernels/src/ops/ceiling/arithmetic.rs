//! Peak arithmetic of ordinary lanes: chains of multiply-adds that never leave their registers.
//!
//! Each of `elements` numbers starts as a random whole number from -2048 to -1025 and goes through `x = a x + b` and
//! `x = a x + c` in turn, `steps` times in all, with `a` = 1, `b` = 2 and `c` = -1, which the compilers do not know. Every value on
//! the way is a whole number that the type holds, so the result is known to the bit. Work: a multiplication and an
//! addition each step, `2 elements steps` flops. Operands that hardly change take little power: the figure is one of the
//! highest clock, which other numbers may not allow.
#![allow(unsafe_code)] // calling functions compiled for more than the baseline

use assay_protocol::{ArithmeticUnit, Failure, Work};
use half::f16;

use crate::buffer::{Buffers, granule};
use crate::check;
use crate::device::Team;
use crate::element::{DType, Real, with_real};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Traffic, blocks, cuda_source,
};

static SOURCE: Source = cuda_source!("ceiling/lanes.cu");
/// What a step multiplies by, and what an odd and an even one add.
const FACTOR: f32 = 1.0;
const ADDENDS: [f32; 2] = [2.0, -1.0];
/// More steps than this could leave the whole numbers that a type has.
const fn most_steps(dtype: DType) -> u64 {
    match dtype {
        DType::F16 => 4096,
        _ => 1 << 20,
    }
}

/// Multiplies and adds in registers.
pub struct PeakArithmetic;

impl Op for PeakArithmetic {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "peak-arithmetic",
            summary: "chains of multiply-adds in registers, on ordinary lanes",
            parameters: vec![
                parameters::on_cpu(parameters::choice("unit", &["f32", "f64"])),
                parameters::on_cuda(parameters::choice("unit", &["f32", "f64", "f16"])),
                parameters::integer("elements"),
                parameters::integer("steps"),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let mut units = vec![
            ("f32", (DType::F32, ArithmeticUnit::F32)),
            ("f64", (DType::F64, ArithmeticUnit::F64)),
        ];
        if arguments.is_cuda() {
            units.push(("f16", (DType::F16, ArithmeticUnit::F16)));
        }
        let (dtype, unit) = arguments.choice("unit", &units)?;
        with_real!(
            dtype,
            [F32 = f32, F64 = f64, F16 = f16],
            program(arguments, unit)
        )
    }
}

fn program<T: Real>(arguments: &Arguments, unit: ArithmeticUnit) -> Result<Program, Failure> {
    let elements = arguments.size("elements")?;
    let steps = steps(arguments, most_steps(T::DTYPE))?;
    let flops = [2, elements as u64, steps.into()];
    let mut program = Program::new(Work {
        bytes: Some(0),
        flops: Some(parameters::product("`elements` and `steps`", &flops)?),
        items: Some(elements as u64),
        formula: "bytes = 0, flops = 2 n steps, items = n; n = elements".into(),
    });
    program.traffic = Traffic::Unbounded;
    program.unit = Some(unit);
    let input = program.input("in", DType::U32, elements, Fill::Words { stream: 0 });
    let out = program.output("out", T::DTYPE, elements);
    if T::DTYPE != DType::F16 {
        program.on_cpu(move |team, buffers, iterations| match T::DTYPE {
            DType::F64 => run::<f64, 80, 40>(team, buffers, steps, iterations),
            _ => run::<f32, 160, 80>(team, buffers, steps, iterations),
        });
    }
    program.launch(launch::<T>([input, out], elements, steps));
    program.check(move |outcome| check::<T>(outcome, [input, out], steps));
    Ok(program)
}

/// The parameter `steps`, of which there may be so many.
pub fn steps(arguments: &Arguments, most: u64) -> Result<u32, Failure> {
    let steps = arguments.size("steps")? as u64;
    if steps > most {
        let expected = format!("an integer of at most {most}");
        let found = arguments.0.params.get("steps");
        return Err(parameters::wrong("steps", &expected, found));
    }
    Ok(steps as u32)
}

/// The whole number that an element starts with.
pub fn start(word: u32) -> f64 {
    f64::from(word & 1023) - 2048.0
}

fn launch<T: Real>([input, out]: [usize; 2], elements: usize, steps: u32) -> Launch {
    const THREADS: u32 = 256;
    const CHAINS: usize = 8;
    // Two elements of 16 bits make one chain.
    let width = if T::DTYPE == DType::F16 { 2 } else { 1 };
    let blocks = blocks(elements, THREADS as usize * CHAINS * width, u32::MAX);
    let kernel = format!("multiply_add<{}>", T::DTYPE.cuda());
    let [odd, even] = ADDENDS.map(Arg::F32);
    Launch::new(&SOURCE, kernel, blocks, THREADS).args([
        Arg::Buffer(out),
        Arg::Buffer(input),
        Arg::size(elements),
        Arg::U32(steps),
        Arg::F32(FACTOR),
        odd,
        even,
    ])
}

fn check<T: Real>(outcome: &Outcome, [input, out]: [usize; 2], steps: u32) -> Checked {
    let (start_words, found) = (outcome.get::<u32>(input), outcome.get::<T>(out));
    let [odd, even] = ADDENDS.map(f64::from);
    let added = f64::from(steps.div_ceil(2)) * odd + f64::from(steps / 2) * even;
    let error = check::worst(found.len(), |i| {
        let found: f64 = found[i].into();
        (found - (start(start_words[i]) + added)).abs()
    });
    Checked {
        error,
        tolerance: 0.0,
        detail: "largest |out - exact|; every value on the way is exact".into(),
    }
}

/// A type of the host's lanes.
trait Lane: Real {
    /// `self * factor + addend`, rounded once.
    fn fused(self, factor: Self, addend: Self) -> Self;
}

impl Lane for f32 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
}

impl Lane for f64 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
}

/// What the steps do, as values that a compiler does not know.
#[derive(Clone, Copy)]
struct Steps<T> {
    count: u32,
    factor: T,
    addends: [T; 2],
}

/// `WIDE` elements are ten vectors of 512 bits, `NARROW` ten of 256: two additions a cycle, each of which takes four,
/// need eight at least.
fn run<T: Lane, const WIDE: usize, const NARROW: usize>(
    team: &Team,
    buffers: &mut Buffers,
    count: u32,
    iterations: u64,
) -> u64 {
    let [input, out] = buffers.many([0, 1]);
    let inputs = team.split(input.get::<u32>(), granule::<T>());
    let outs = team.split_mut(out.get_mut::<T>(), granule::<T>());
    let tasks = inputs.into_iter().zip(outs).collect();
    let steps = std::hint::black_box(Steps {
        count,
        factor: T::from_f64(FACTOR.into()),
        addends: ADDENDS.map(|addend| T::from_f64(addend.into())),
    });
    team.time(iterations, tasks, |_, (input, out)| {
        advance_all::<T, WIDE, NARROW>(input, out, steps);
    })
}

fn advance_all<T: Lane, const WIDE: usize, const NARROW: usize>(
    input: &[u32],
    out: &mut [T],
    steps: Steps<T>,
) {
    #[cfg(target_arch = "x86_64")]
    {
        if crate::simd::has_avx512() {
            // SAFETY: the processor has every feature that the function enables.
            return unsafe { avx512::<T, WIDE>(input, out, steps) };
        }
        if crate::simd::has_avx2() {
            // SAFETY: the processor has every feature that the function enables.
            return unsafe { avx2::<T, NARROW>(input, out, steps) };
        }
    }
    advance::<T, NARROW>(input, out, steps);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn avx512<T: Lane, const LANES: usize>(input: &[u32], out: &mut [T], steps: Steps<T>) {
    advance::<T, LANES>(input, out, steps);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<T: Lane, const LANES: usize>(input: &[u32], out: &mut [T], steps: Steps<T>) {
    advance::<T, LANES>(input, out, steps);
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn advance<T: Lane, const LANES: usize>(input: &[u32], out: &mut [T], steps: Steps<T>) {
    for (words, out) in input.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let mut lanes = [T::default(); LANES];
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = T::from_f64(start(*word));
        }
        let [odd, even] = steps.addends;
        for _ in 0..steps.count / 2 {
            for addend in [odd, even] {
                for lane in &mut lanes {
                    *lane = lane.fused(steps.factor, addend);
                }
            }
        }
        if !steps.count.is_multiple_of(2) {
            for lane in &mut lanes {
                *lane = lane.fused(steps.factor, odd);
            }
        }
        out.copy_from_slice(&lanes[..out.len()]);
    }
}
