//! A chain of point-wise operations, in one kernel or each in its own: what fusion saves.
//!
//! Each operation is `x <- c - a x` with `a = 1 - 2^-8` and `c = 1/2`: it shrinks no difference so fast that an operation
//! left out could go unnoticed, and no magnitude grows beyond 3/2. Counting each input read once and
//! each output written once, however the chain is run: bytes `2 n sizeof T`, flops `2 k n`, with `n =
//! elements`, `k = operations`, T = f32. What the separate kernels move beyond that is what is measured.

use assay_protocol::{ArithmeticUnit, Failure, Work};

use crate::bound::tolerance;
use crate::buffer::{Buffers, granule};
use crate::check;
use crate::device::Team;
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Program, Source, blocks, cuda_source};
use crate::simd::wide;
use crate::store::{self, Around};

static SOURCE: Source = cuda_source!("system/fusion.cu");
const A: f32 = 1.0 - 1.0 / 256.0;
const C: f32 = 0.5;
/// Launches that a queue of the driver holds, with room for as many samples; and `A` to this power is still a third.
const MOST_OPERATIONS: usize = 256;
const THREADS: u32 = 256;
const PER_BLOCK: usize = 4 * THREADS as usize;

/// The chain.
#[derive(Clone, Copy, Debug)]
pub struct FusionChain;

impl Op for FusionChain {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "fusion-chain",
            summary: "chain of point-wise operations, fused in one kernel or one kernel each",
            parameters: vec![
                parameters::integer("elements"),
                parameters::integer_or("operations", 8),
                parameters::choice("variant", &["fused", "separate"]),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let elements = arguments.size("elements")?;
        let operations = arguments.at_most("operations", MOST_OPERATIONS)?;
        let is_fused = arguments.choice("variant", &[("fused", true), ("separate", false)])?;
        let mut program = Program::new(work(elements as u64, operations as u64)?);
        program.unit = Some(ArithmeticUnit::F32);
        let first = program.input("in", DType::F32, elements, Fill::signed(0));
        let out = program.output("out", DType::F32, elements);
        program.on_cpu(move |team, buffers, iterations| {
            run(
                team,
                buffers,
                [first, out],
                (operations, is_fused),
                iterations,
            )
        });
        if is_fused {
            program.launch(fused([out, first], operations as u32, elements));
        } else {
            program.launch(link([out, first], elements));
            for _ in 1..operations {
                program.launch(link([out, out], elements));
            }
        }
        program.check(move |outcome| {
            difference(outcome.get(out), outcome.get(first), operations as u64)
        });
        Ok(program)
    }
}

fn work(elements: u64, operations: u64) -> Result<Work, Failure> {
    let names = "`elements` and `operations`";
    Ok(Work {
        bytes: Some(parameters::product(names, &[2, elements, 4])?),
        flops: Some(parameters::product(names, &[2, operations, elements])?),
        items: Some(elements),
        formula: "bytes = 2 n sizeof(T), flops = 2 k n, items = n; n = elements, k = operations"
            .into(),
    })
}

/// The whole chain in a launch; buffers by their numbers: output, input.
pub fn fused([out, first]: [usize; 2], operations: u32, elements: usize) -> Launch {
    launch("chain_fused", elements).args([
        Arg::Buffer(out),
        Arg::Buffer(first),
        Arg::U32(operations),
        Arg::size(elements),
    ])
}

/// One operation; output and input may be one.
pub fn link([out, first]: [usize; 2], elements: usize) -> Launch {
    launch("chain_link", elements).args([Arg::Buffer(out), Arg::Buffer(first), Arg::size(elements)])
}

fn launch(kernel: &str, elements: usize) -> Launch {
    Launch::new(
        &SOURCE,
        kernel,
        blocks(elements, PER_BLOCK, u32::MAX),
        THREADS,
    )
}

/// How far a chain's output is from the same in `f64`.
pub fn difference(found: &[f32], first: &[f32], operations: u64) -> Checked {
    // |c| + |a x| <= 1/2 + 3/2; errors of earlier operations shrink.
    const CONDITION: f64 = 2.0;
    let error = check::worst(found.len(), |i| {
        let operation = |x: f64, _| f64::from(C) - f64::from(A) * x;
        let exact = (0..operations).fold(f64::from(first[i]), operation);
        check::relative(found[i].into(), exact, CONDITION)
    });
    Checked {
        error,
        tolerance: tolerance::<f32>(2 * operations, 2 * operations),
        detail: "largest |out - exact| / 2; bound gamma_2k, k operations".into(),
    }
}

fn run(
    team: &Team,
    buffers: &mut Buffers,
    [first, out]: [usize; 2],
    (operations, is_fused): (usize, bool),
    iterations: u64,
) -> u64 {
    let granule = granule::<f32>();
    let (inputs, outputs) = buffers.split_last_mut(out);
    let around = store::goes_around(2 * outputs.bytes().len() as u64);
    let inputs = team.split(inputs[first].get::<f32>(), granule);
    let outputs = team.split_mut(outputs.get_mut::<f32>(), granule);
    let parts: Vec<_> = outputs.into_iter().zip(inputs).collect();
    team.time(iterations, parts, |_, (out, first)| {
        if is_fused {
            all_operations(out, first, operations, around);
        } else {
            first_operation(out, first);
            for _ in 1..operations {
                next_operation(out);
            }
        }
    })
}

wide! {
    fn first_operation(out: &mut [f32], first: &[f32]) {
        for (out, first) in out.iter_mut().zip(first) {
            *out = C - A * *first;
        }
    }

    fn next_operation(out: &mut [f32]) {
        for out in out {
            *out = C - A * *out;
        }
    }

    /// A few vectors at a time stay in registers through all operations. If they go `around` the caches, `out` begins with a line.
    fn all_operations(out: &mut [f32], first: &[f32], operations: usize, around: bool) {
        const AT_ONCE: usize = 128;
        let (outs, out_rest) = out.as_chunks_mut::<AT_ONCE>();
        let (firsts, first_rest) = first.as_chunks::<AT_ONCE>();
        for (out, first) in outs.iter_mut().zip(firsts) {
            let mut x = *first;
            for _ in 0..operations {
                for x in &mut x {
                    *x = C - A * *x;
                }
            }
            if around {
                store::put_lines(out, &x);
            } else {
                *out = x;
            }
        }
        // Orders what went around.
        drop(Around::new(out_rest));
        for (out, first) in out_rest.iter_mut().zip(first_rest) {
            *out = (0..operations).fold(*first, |x, _| C - A * x);
        }
    }
}
