//! Access with a stride, and misaligned access: what it costs to use a part of every cache line.
//!
//! An array holds the `n` elements `offset + i stride`, which are read, written or copied to the same places of another
//! array; what lies between is left alone. Source: J. `McCalpin` and M. Smotherman, "A benchmark
//! synthesis methodology for memory hierarchies", 1995, and the strided and offset copies of NVIDIA's "CUDA C++ Best
//! Practices Guide", section "Coalesced Access to Global Memory". Work counts useful bytes alone, whatever
//! lines they come in: `n sizeof T` to read or to write, twice that to copy.
//!
//! A read gives the wrapping sum of each [`CHUNK`] elements; a write puts `i` times a constant. All is exact.

use std::ops::Range;

use assay_protocol::{Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::buffer::Buffers;
use crate::check;
use crate::device::{Team, chunk};
use crate::element::with_real;
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};
use crate::simd::wide;
use crate::store::{self, Around};
use crate::word::{DTYPES, Word};

static SOURCE: Source = cuda_source!("memory/strided.cu");
/// Elements whose sum is one output of a read.
const CHUNK: usize = 4096;
const VARIANTS: &[(&str, Access)] = &[
    ("read", Access::Read),
    ("write", Access::Write),
    ("copy", Access::Copy),
];

/// Access with a stride.
pub struct Strided;

/// What is done with the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Copy,
}

/// Where the elements are.
#[derive(Clone, Copy, Debug)]
struct Layout {
    elements: usize,
    stride: usize,
    offset: usize,
}

impl Op for Strided {
    fn info(&self) -> OpInfo {
        let names: Vec<_> = VARIANTS.iter().map(|(name, _)| *name).collect();
        OpInfo {
            name: "strided",
            summary: "reads, writes or copies the elements offset + i stride",
            parameters: vec![
                parameters::integer("elements"),
                parameters::integer("stride"),
                parameters::integer_from("offset", 0),
                parameters::dtype(DTYPES),
                parameters::choice("variant", &names),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        with_real!(
            arguments.dtype(DTYPES)?,
            [U32 = u32, U64 = u64],
            program(arguments)
        )
    }
}

fn program<T: Word>(arguments: &Arguments) -> Result<Program, Failure> {
    let access = arguments.choice("variant", VARIANTS)?;
    let layout = Layout {
        elements: arguments.size("elements")?,
        stride: arguments.count("stride")?,
        offset: arguments.size("offset")?,
    };
    let len = layout.len()?;
    let mut program = Program::new(work::<T>(access, layout.elements)?);
    let input = (access != Access::Write)
        .then(|| program.input("in", T::DTYPE, len, Fill::Words { stream: 0 }));
    let out = match access {
        Access::Read => program.output("sums", T::DTYPE, layout.elements.div_ceil(CHUNK)),
        Access::Write | Access::Copy => program.output("out", T::DTYPE, len),
    };
    program.on_cpu(move |team, buffers, iterations| match access {
        Access::Read => run_read::<T>(layout, team, buffers, iterations),
        Access::Write => run_write::<T>(layout, team, buffers, iterations),
        Access::Copy => run_copy::<T>(layout, team, buffers, iterations),
    });
    program.launch(layout.launch::<T>(access, input, out));
    program.check(move |outcome| match access {
        Access::Read => check_sums::<T>(layout, outcome),
        Access::Write => layout.check(outcome.get::<T>(out), |i, _| {
            T::from_u64(i as u64).wrapping_mul(T::GOLDEN)
        }),
        Access::Copy => {
            let input = outcome.get::<T>(0);
            layout.check(outcome.get::<T>(out), |_, place| input[place])
        }
    });
    Ok(program)
}

fn work<T: Word>(access: Access, elements: usize) -> Result<Work, Failure> {
    let (times, text) = if access == Access::Copy {
        (2, "2 n")
    } else {
        (1, "n")
    };
    let counts = [times, elements as u64, size_of::<T>() as u64];
    Ok(Work {
        bytes: Some(parameters::product("`elements`", &counts)?),
        flops: Some(0),
        items: Some(elements as u64),
        formula: format!("bytes = {text} sizeof(T), flops = 0, items = n; n = elements"),
    })
}

impl Layout {
    /// Elements of an array that ends with the last one used.
    fn len(&self) -> Result<usize, Failure> {
        if self.elements == 0 {
            return Ok(0);
        }
        let names = "`elements`, `stride` and `offset`";
        let last = parameters::size_product(names, &[self.elements - 1, self.stride])?;
        last.checked_add(self.offset)
            .and_then(|last| last.checked_add(1))
            .ok_or_else(|| Failure::Failed(format!("parameters {names}: too large to address")))
    }

    /// From the first element that is used on.
    fn used<'a, T>(&self, array: &'a [T]) -> &'a [T] {
        array.get(self.offset..).unwrap_or_default()
    }

    /// The elements of each member of a team, by their numbers, and the part of an array that they lie in.
    fn split<'a, T>(&self, team: &Team, array: &'a mut [T]) -> Vec<(Range<usize>, &'a mut [T])> {
        let mut rest = array.get_mut(self.offset..).unwrap_or_default();
        self.ranges(team)
            .map(|range| {
                let len = (range.len() * self.stride).min(rest.len());
                let (part, later) = std::mem::take(&mut rest).split_at_mut(len);
                rest = later;
                (range, part)
            })
            .collect()
    }

    fn ranges(&self, team: &Team) -> impl Iterator<Item = Range<usize>> {
        let (elements, threads) = (self.elements, team.threads());
        (0..threads).map(move |index| chunk(elements, CHUNK, threads, index))
    }

    fn launch<T: Word>(&self, access: Access, input: Option<usize>, out: usize) -> Launch {
        const THREADS: u32 = 256;
        const PER_BLOCK: usize = 8 * THREADS as usize;
        // Nothing has no first element, either.
        let byte = size_of::<T>() * if self.elements == 0 { 0 } else { self.offset };
        let (kernel, per_block) = match access {
            Access::Read => ("strided_read", CHUNK),
            Access::Write => ("strided_write", PER_BLOCK),
            Access::Copy => ("strided_copy", PER_BLOCK),
        };
        let to = if access == Access::Read {
            Arg::Buffer(out)
        } else {
            Arg::BufferAt { buffer: out, byte }
        };
        let from = input.map(|buffer| Arg::BufferAt { buffer, byte });
        let sizes = [Arg::size(self.elements), Arg::size(self.stride)];
        let name = format!("{kernel}<{}>", T::DTYPE.cuda());
        let grid = blocks(self.elements, per_block, u32::MAX);
        Launch::new(&SOURCE, name, grid, THREADS)
            .args([to])
            .args(from)
            .args(sizes)
    }

    /// Compares an array with `exact(i, place)` where it is used, and with poison elsewhere.
    fn check<T: Word>(&self, found: &[T], exact: impl Fn(usize, usize) -> T + Sync) -> Checked {
        let error = check::worst(found.len(), |place| {
            let exact = match place.checked_sub(self.offset) {
                Some(from) if from.is_multiple_of(self.stride) => exact(from / self.stride, place),
                _ => T::POISON,
            };
            f64::from(found[place] != exact)
        });
        Checked {
            error,
            tolerance: 0.0,
            detail:
                "1 if any element is not what it should be, or one between them was changed, else 0"
                    .into(),
        }
    }
}

fn run_read<T: Word>(layout: Layout, team: &Team, buffers: &mut Buffers, iterations: u64) -> u64 {
    let (inputs, out) = buffers.split_last_mut(1);
    let used = layout.used(inputs[0].get::<T>());
    let sums = team.split_mut(out.get_mut::<T>(), 1);
    let parts = layout.ranges(team).zip(sums).collect();
    team.time(iterations, parts, |_, (range, sums)| {
        for (sum, first) in sums.iter_mut().zip(range.clone().step_by(CHUNK)) {
            let last = range.end.min(first + CHUNK) - 1;
            let chunk = &used[first * layout.stride..=last * layout.stride];
            *sum = read(chunk, layout.stride);
        }
    })
}

fn run_write<T: Word>(layout: Layout, team: &Team, buffers: &mut Buffers, iterations: u64) -> u64 {
    let parts = layout.split(team, buffers.0[0].get_mut::<T>());
    team.time(iterations, parts, |_, (range, out)| {
        write(out, layout.stride, range.start);
    })
}

fn run_copy<T: Word>(layout: Layout, team: &Team, buffers: &mut Buffers, iterations: u64) -> u64 {
    let (inputs, out) = buffers.split_last_mut(1);
    let used = layout.used(inputs[0].get::<T>());
    // Where every element is written, no line need be read before.
    let around = layout.stride == 1 && store::goes_around(2 * size_of_val(used) as u64);
    let parts = layout.split(team, out.get_mut::<T>());
    team.time(iterations, parts, |_, (range, out)| {
        let input = &used[range.start * layout.stride..];
        if around {
            let input = &input[..out.len()];
            Around::new(out).send(0, input);
        } else {
            copy(out, input, layout.stride);
        }
    })
}

fn check_sums<T: Word>(layout: Layout, outcome: &Outcome) -> Checked {
    let (input, sums) = (outcome.get::<T>(0), outcome.get::<T>(1));
    let error = check::worst(sums.len(), |k| {
        let chunk = k * CHUNK..layout.elements.min((k + 1) * CHUNK);
        let elements = chunk.map(|i| input[layout.offset + i * layout.stride]);
        let exact = elements.fold(T::default(), T::wrapping_add);
        f64::from(sums[k] != exact)
    });
    Checked {
        error,
        tolerance: 0.0,
        detail: "1 if any sum differs, else 0".into(),
    }
}

wide! {
    /// The sum of every `stride`-th element from the first on.
    fn read<T: Word>(data: &[T], stride: usize) -> T {
        if stride == 1 {
            data.iter().fold(T::default(), |sum, value| sum.wrapping_add(*value))
        } else {
            data.iter().step_by(stride).fold(T::default(), |sum, value| sum.wrapping_add(*value))
        }
    }

    /// Sets every `stride`-th element, the first of which is number `first`.
    fn write<T: Word>(out: &mut [T], stride: usize, first: usize) {
        let value = |i: usize| T::from_u64((first + i) as u64).wrapping_mul(T::GOLDEN);
        if stride == 1 {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = value(i));
        } else {
            out.iter_mut().step_by(stride).enumerate().for_each(|(i, out)| *out = value(i));
        }
    }

    /// Copies every `stride`-th element.
    fn copy<T: Word>(out: &mut [T], input: &[T], stride: usize) {
        if stride == 1 {
            out.copy_from_slice(&input[..out.len()]);
        } else {
            let places = out.iter_mut().step_by(stride);
            places.zip(input.iter().step_by(stride)).for_each(|(out, input)| *out = *input);
        }
    }
}
