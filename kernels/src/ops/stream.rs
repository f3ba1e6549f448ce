//! The element-wise kernels of STREAM and `BabelStream`, which measure sustained memory bandwidth.
//!
//! Source: J. D. `McCalpin`, "Memory Bandwidth and Machine Balance in Current High Performance
//! Computers", IEEE TCCA Newsletter, December 1995, and T. Deakin et al., "Evaluating attainable
//! memory bandwidth of parallel programming models via `BabelStream`", IJCSE 17(3), 2018, whose names
//! and scalar (0.4) these are. With `n` elements of type `T`, counting each input read once and each
//! output written once (no write-allocate traffic):
//!
//! | op     | definition              | bytes          | flops |
//! |--------|-------------------------|----------------|-------|
//! | copy   | `c = a`                 | `2 n sizeof T` | 0     |
//! | mul    | `b = scalar c`          | `2 n sizeof T` | `n`   |
//! | add    | `c = a + b`             | `3 n sizeof T` | `n`   |
//! | triad  | `a = b + scalar c`      | `3 n sizeof T` | `2 n` |
//! | nstream| `a = a + b + scalar c`  | `4 n sizeof T` | `3 n` |
//!
//! On CUDA devices `variant` says how a thread moves its elements: one at a time (`scalar`) or 16 bytes at once
//! (`vector`); the host's compiler chooses for itself.

use assay_protocol::{Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::bound::tolerance;
use crate::buffer::{Buffers, granule};
use crate::check;
use crate::device::Team;
use crate::element::{DType, Real, with_real};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};
use crate::simd::wide;
use crate::store::{self, Around};

/// `startScalar` of `BabelStream`.
const SCALAR: f64 = 0.4;
static SOURCE: Source = cuda_source!("memory/stream.cu");
/// Iterations of nstream between two restorations: few enough that one left out stands out from rounding.
const NSTREAM_ITERATIONS: u64 = 256;
const DTYPES: &[DType] = &[DType::F32, DType::F64];

/// An element-wise kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementwise {
    /// `out = first`
    Copy,
    /// `out = scalar first`
    Mul,
    /// `out = first + second`
    Add,
    /// `out = first + scalar second`
    Triad,
    /// `out = out + first + scalar second`
    Nstream,
}

impl Elementwise {
    fn name(self) -> &'static str {
        match self {
            Self::Copy => "stream-copy",
            Self::Mul => "stream-mul",
            Self::Add => "stream-add",
            Self::Triad => "stream-triad",
            Self::Nstream => "stream-nstream",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Copy => "STREAM copy: c = a",
            Self::Mul => "STREAM mul: b = scalar c",
            Self::Add => "STREAM add: c = a + b",
            Self::Triad => "STREAM triad: a = b + scalar c",
            Self::Nstream => "nstream: a = a + b + scalar c",
        }
    }

    /// The functor in the CUDA source.
    fn functor(self) -> &'static str {
        match self {
            Self::Copy => "Copy",
            Self::Mul => "Mul",
            Self::Add => "Add",
            Self::Triad => "Triad",
            Self::Nstream => "Nstream",
        }
    }

    /// Names of the inputs, in the order of their random streams.
    fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::Copy => &["a"],
            Self::Mul => &["c"],
            Self::Add => &["a", "b"],
            Self::Triad | Self::Nstream => &["b", "c"],
        }
    }

    /// Floating-point operations per element, each of which rounds once.
    fn operations(self) -> u64 {
        match self {
            Self::Copy => 0,
            Self::Mul | Self::Add => 1,
            Self::Triad => 2,
            Self::Nstream => 3,
        }
    }

    fn work<T: Real>(self, elements: u64) -> Result<Work, Failure> {
        let reads_out = u64::from(self == Self::Nstream);
        let arrays = self.inputs().len() as u64 + 1 + reads_out;
        let bytes = parameters::product("`elements`", &[arrays, elements, size_of::<T>() as u64])?;
        let flops = match self.operations() {
            0 => "0".into(),
            1 => "n".into(),
            k => format!("{k} n"),
        };
        Ok(Work {
            bytes: Some(bytes),
            flops: Some(elements * self.operations()),
            items: Some(elements),
            formula: format!(
                "bytes = {arrays} n sizeof(T), flops = {flops}, items = n; n = elements"
            ),
        })
    }

    /// One element in `f64`, and the sum of the magnitudes that went into it.
    fn reference<T: Real>(self, first: f64, second: f64) -> (f64, f64) {
        // As the kernel has it: rounded to its type.
        let scalar: f64 = T::from_f64(SCALAR).into();
        let (left, right) = match self {
            Self::Copy => (first, 0.0),
            Self::Mul => (scalar * first, 0.0),
            Self::Add => (first, second),
            Self::Triad | Self::Nstream => (first, scalar * second),
        };
        (left + right, left.abs() + right.abs())
    }

    fn launch<T: Real>(
        self,
        kernel: &str,
        per_item: usize,
        n: usize,
        buffers: [usize; 3],
    ) -> Launch {
        const THREADS: u32 = 256;
        const PER_THREAD: usize = 4;
        let per_block = THREADS as usize * PER_THREAD * per_item;
        let (functor, dtype) = (self.functor(), T::DTYPE.cuda());
        let scalar = match T::DTYPE {
            DType::F64 => Arg::F64(SCALAR),
            _ => Arg::F32(SCALAR as f32),
        };
        let [out, first, second] = buffers.map(Arg::Buffer);
        let name = format!("{kernel}<stream::{functor}<{dtype}>, {dtype}>");
        Launch::new(&SOURCE, name, blocks(n, per_block, u32::MAX), THREADS).args([
            out,
            first,
            second,
            scalar,
            Arg::size(n),
        ])
    }
}

fn program<T: Real>(op: Elementwise, arguments: &Arguments) -> Result<Program, Failure> {
    let elements = arguments.size("elements")?;
    let per_item =
        arguments.cuda_choice("variant", &[("vector", 16 / size_of::<T>()), ("scalar", 1)])?;
    let kernel = if per_item > 1 {
        "stream_vector"
    } else {
        "stream_scalar"
    };
    let mut program = Program::new(op.work::<T>(elements as u64)?);
    let input = |(stream, name): (usize, &&'static str)| {
        program.input(name, T::DTYPE, elements, Fill::signed(stream as u64))
    };
    let inputs: Vec<usize> = op.inputs().iter().enumerate().map(input).collect();
    // A kernel with one input gets it twice, and does not look at the second.
    let (first, second) = (inputs[0], inputs[inputs.len() - 1]);
    let out = if op == Elementwise::Nstream {
        let out = program.in_out("a", T::DTYPE, elements, Fill::signed(2));
        program.most_iterations = NSTREAM_ITERATIONS;
        out
    } else {
        program.output("out", T::DTYPE, elements)
    };
    program.on_cpu(move |team, buffers, iterations| {
        run::<T>(op, team, buffers, [first, second, out], iterations)
    });
    program.launch(op.launch::<T>(kernel, per_item, elements, [out, first, second]));
    program.check(move |outcome| check::<T>(op, outcome, [first, second, out]));
    Ok(program)
}

impl Op for Elementwise {
    fn info(&self) -> OpInfo {
        let variant = parameters::choice("variant", &["vector", "scalar"]);
        OpInfo {
            name: self.name(),
            summary: self.summary(),
            parameters: vec![
                parameters::integer("elements"),
                parameters::dtype(DTYPES),
                parameters::on_cuda(variant),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        with_real!(
            arguments.dtype(DTYPES)?,
            [F32 = f32, F64 = f64],
            program(*self, arguments)
        )
    }
}

/// One member's part of the buffers.
struct Part<'a, T> {
    out: &'a mut [T],
    first: &'a [T],
    second: &'a [T],
}

fn run<T: Real>(
    op: Elementwise,
    team: &Team,
    buffers: &mut Buffers,
    [first, second, out]: [usize; 3],
    iterations: u64,
) -> u64 {
    let granule = granule::<T>();
    let around = store::goes_around(
        buffers
            .0
            .iter()
            .map(|buffer| buffer.bytes().len() as u64)
            .sum(),
    );
    // The output is apart from the inputs, which may be one.
    let (inputs, outputs) = buffers.split_last_mut(out);
    let inputs = team
        .split(inputs[first].get::<T>(), granule)
        .into_iter()
        .zip(team.split(inputs[second].get::<T>(), granule));
    let outputs = team.split_mut(outputs.get_mut::<T>(), granule);
    let parts = outputs.into_iter().zip(inputs);
    let parts = parts
        .map(|(out, (first, second))| Part { out, first, second })
        .collect();
    let scalar = T::from_f64(SCALAR);
    match op {
        Elementwise::Copy => team.time(iterations, parts, |_, p: &mut Part<T>| {
            copy(p.out, p.first, around);
        }),
        Elementwise::Mul => team.time(iterations, parts, |_, p: &mut Part<T>| {
            mul(p.out, p.first, scalar);
        }),
        Elementwise::Add => team.time(iterations, parts, |_, p: &mut Part<T>| {
            add(p.out, p.first, p.second);
        }),
        Elementwise::Triad => team.time(iterations, parts, |_, p: &mut Part<T>| {
            triad(p.out, p.first, p.second, scalar);
        }),
        Elementwise::Nstream => team.time(iterations, parts, |_, p: &mut Part<T>| {
            nstream(p.out, p.first, p.second, scalar);
        }),
    }
}

fn check<T: Real>(op: Elementwise, outcome: &Outcome, [first, second, out]: [usize; 3]) -> Checked {
    let (first, second) = (outcome.get::<T>(first), outcome.get::<T>(second));
    let found = outcome.get::<T>(out);
    let mut roundings = op.operations();
    let error = if op == Elementwise::Nstream {
        // Every iteration adds the same again to what was there.
        let (before, times) = (outcome.initial::<T>(out), outcome.iterations as f64);
        roundings *= outcome.iterations;
        check::worst(found.len(), |i| {
            let (added, condition) = op.reference::<T>(first[i].into(), second[i].into());
            let before: f64 = before[i].into();
            check::relative(
                found[i].into(),
                before + times * added,
                before.abs() + times * condition,
            )
        })
    } else {
        check::worst(found.len(), |i| {
            let (exact, condition) = op.reference::<T>(first[i].into(), second[i].into());
            check::relative(found[i].into(), exact, condition)
        })
    };
    Checked {
        error,
        tolerance: tolerance::<T>(roundings, roundings),
        detail: "largest |out - exact| / sum of magnitudes; bound gamma_k, k roundings per element"
            .into(),
    }
}

/// Bytes of an array beyond which three of them have left a usual L1 cache.
const SMALL: usize = 16 << 10;

/// Whether a kernel is bound by a cache beyond L1, which serves vectors of 256 bits at least as fast as
/// longer ones: on the Xeons where it was measured, 8 % faster from L2, while L1 prefers 512 bits by 20 %.
fn is_large<T>(array: &[T]) -> bool {
    size_of_val(array) > SMALL
}

/// Around the caches, or the system's own copy, which chooses its instructions itself.
fn copy<T: Real>(out: &mut [T], first: &[T], around: bool) {
    if around {
        Around::new(out).send(0, first);
    } else {
        out.copy_from_slice(first);
    }
}

wide! {
    fn mul<T: Real>(out: &mut [T], first: &[T], scalar: T) [is_large(out)] {
        for (out, first) in out.iter_mut().zip(first) {
            *out = scalar * *first;
        }
    }

    fn add<T: Real>(out: &mut [T], first: &[T], second: &[T]) [is_large(out)] {
        for (out, (first, second)) in out.iter_mut().zip(first.iter().zip(second)) {
            *out = *first + *second;
        }
    }

    fn triad<T: Real>(out: &mut [T], first: &[T], second: &[T], scalar: T) [is_large(out)] {
        for (out, (first, second)) in out.iter_mut().zip(first.iter().zip(second)) {
            *out = *first + scalar * *second;
        }
    }

    fn nstream<T: Real>(out: &mut [T], first: &[T], second: &[T], scalar: T) [is_large(out)] {
        for (out, (first, second)) in out.iter_mut().zip(first.iter().zip(second)) {
            *out = *out + (*first + scalar * *second);
        }
    }
}
