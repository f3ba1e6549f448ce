//! Sorting of 32-bit keys, alone or each with a payload of 32 bits, by radix.
//!
//! Stable, by four digits of 8 bits from the lowest on. Every pass reads and writes everything whatever the keys are,
//! and none is left out. On the host each thread counts the digits of its part, and moves them one after the
//! other. On CUDA devices `onesweep` reads each key once in a pass, and `three-kernel` twice.
//!
//! Source: M. Zagha, G. E. Blelloch, "Radix sort for vector multiprocessors", Supercomputing 1991 (the host, and three
//! kernels); A. Adinets, D. Merrill, "Onesweep", arXiv:2206.01784, 2022. Work with `n` keys, each read once and written
//! once: `8 n` bytes, or `16 n` with payloads; passes move nine or twelve times `4 n`, which is the algorithm's affair.
//!
//! Keys are `uniform` on all of 32 bits, or one of a `few`: a hundred. Payloads are the keys' places, so that the sorted
//! ones show whether equal keys have kept their order.

mod host;

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use super::{EVERYWHERE, Op, OpInfo};
use crate::buffer::Buffer;
use crate::check;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, blocks, cuda_source,
};

static SOURCE: Source = cuda_source!("order/radix_sort.cu");
/// How many different keys are few.
const FEW: u32 = 100;
/// Counts have 30 bits on CUDA devices.
const MOST: usize = (1 << 30) - 1;
/// Values of a digit, and digits of a key.
const DIGITS: usize = 256;
const PASSES: usize = 4;
/// Threads of a block, and keys that it moves at a time.
const THREADS: u32 = 384;
const TILE: usize = 20 * THREADS as usize;
/// Blocks of the three-kernel variant at most, and of the kernel that counts all digits: a few times as many as run at
/// once.
const MOST_SPANS: usize = 1024;
/// Tiles of a span at least.
const LEAST_TILES: usize = 2;

/// Sorts keys.
pub struct RadixSort;

/// What a CUDA device runs.
#[derive(Clone, Copy)]
enum Variant {
    Onesweep,
    ThreeKernel,
}

/// Keys, and payloads where there are any.
#[derive(Clone, Copy)]
struct Columns {
    keys: usize,
    payload: Option<usize>,
}

impl Columns {
    fn add(payload: bool, mut buffer: impl FnMut(bool) -> usize) -> Self {
        Self {
            keys: buffer(false),
            payload: payload.then(|| buffer(true)),
        }
    }

    /// As arguments of a kernel, which does not look at payloads where there are none.
    fn args(self) -> [Arg; 2] {
        [self.keys, self.payload.unwrap_or(self.keys)].map(Arg::Buffer)
    }
}

/// The three tables that a sort goes through.
#[derive(Clone, Copy)]
struct Places<T> {
    input: T,
    between: T,
    out: T,
}

impl<T: Copy> Places<T> {
    /// Where each pass reads and writes: never into the input, and at last into the output.
    fn passes(self) -> [[T; 2]; PASSES] {
        let Self {
            input,
            between,
            out,
        } = self;
        [
            [input, between],
            [between, out],
            [out, between],
            [between, out],
        ]
    }

    fn map<U>(self, mut of: impl FnMut(T) -> U) -> Places<U> {
        Places {
            input: of(self.input),
            between: of(self.between),
            out: of(self.out),
        }
    }
}

impl Op for RadixSort {
    fn info(&self) -> OpInfo {
        let variant = parameters::choice("variant", &["onesweep", "three-kernel"]);
        OpInfo {
            name: "radix-sort",
            summary: "stable sorting of u32 keys, alone or with payloads",
            parameters: vec![
                parameters::integer("elements"),
                parameters::choice("payload", &["none", "u32"]),
                parameters::choice("distribution", &["uniform", "few"]),
                parameters::on_cuda(variant),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let n = arguments.size("elements")?;
        let payload = arguments.choice("payload", &[("none", false), ("u32", true)])?;
        let few = arguments.choice("distribution", &[("uniform", false), ("few", true)])?;
        let variants = [
            ("onesweep", Variant::Onesweep),
            ("three-kernel", Variant::ThreeKernel),
        ];
        let variant = arguments.cuda_choice("variant", &variants)?;
        arguments.check_most("elements", MOST)?;
        let mut program = Program::new(work(n as u64, payload));
        let places = Places {
            input: Columns::add(payload, |is_payload| {
                input(&mut program, is_payload, n, few)
            }),
            between: Columns::add(payload, |is_payload| {
                let name = if is_payload {
                    "payload-between"
                } else {
                    "keys-between"
                };
                program.scratch(name, DType::U32, n)
            }),
            out: Columns::add(payload, |is_payload| {
                let name = if is_payload {
                    "payload-out"
                } else {
                    "keys-out"
                };
                program.output(name, DType::U32, n)
            }),
        };
        program
            .on_cpu(move |team, buffers, iterations| host::run(team, buffers, places, iterations));
        match variant {
            Variant::Onesweep => add_onesweep(&mut program, places, n),
            Variant::ThreeKernel => add_three_kernels(&mut program, places, n),
        }
        program.check(move |outcome| check(outcome, places));
        Ok(program)
    }
}

fn work(n: u64, payload: bool) -> Work {
    let (columns, text) = if payload {
        (2, "keys and payloads")
    } else {
        (1, "keys")
    };
    Work {
        bytes: Some(2 * columns * n * 4),
        flops: Some(0),
        items: Some(n),
        formula: format!(
            "bytes = 2 n 4 ({text}) = {} n, flops = 0, items = n; n = elements",
            8 * columns
        ),
    }
}

fn input(program: &mut Program, is_payload: bool, n: usize, few: bool) -> usize {
    let fill = match (is_payload, few) {
        (true, _) => Fill::Host(Box::new(|buffer: &mut Buffer, _| number(buffer))),
        (false, true) => Fill::Below {
            stream: 0,
            bound: FEW,
        },
        (false, false) => Fill::Words { stream: 0 },
    };
    let name = if is_payload { "payload" } else { "keys" };
    program.input(name, DType::U32, n, fill)
}

fn number(buffer: &mut Buffer) {
    let places = buffer.get_mut::<u32>().iter_mut().zip(0..);
    places.for_each(|(payload, place)| *payload = place);
}

fn launch(payload: Option<bool>, kernel: &str, grid: usize, threads: u32) -> Launch {
    let kernel = match payload {
        Some(payload) => format!("{kernel}<{payload}>"),
        None => kernel.into(),
    };
    Launch::new(&SOURCE, kernel, blocks(grid, 1, u32::MAX), threads)
}

fn add_onesweep(program: &mut Program, places: Places<Columns>, n: usize) {
    let tiles = n.div_ceil(TILE);
    // All that begins at zero: a count a digit and pass, the tiles taken by each pass, and a word a digit, tile and pass.
    // The tiles taken have a cache line, so that words of tiles begin with one.
    let (counts, taken) = (PASSES * DIGITS, 32);
    let published = tiles * DIGITS;
    let state = program.scratch("state", DType::U32, counts + taken + PASSES * published);
    let at = |word: usize| Arg::BufferAt {
        buffer: state,
        byte: 4 * word,
    };
    program.cuda.push(Step::Set {
        buffer: state,
        byte: 0,
    });
    let [keys, _] = places.input.args();
    let grid = n.div_ceil(4 * TILE).min(MOST_SPANS);
    let count = launch(None, "sort_count_all", grid, THREADS);
    program.launch(count.args([at(0), keys, Arg::size(n)]));
    let begin = launch(None, "sort_begin_all", PASSES, DIGITS as u32);
    program.launch(begin.args([at(0)]));
    for (pass, [from, to]) in places.passes().into_iter().enumerate() {
        let payload = Some(from.payload.is_some());
        let sweep = launch(payload, "sort_sweep", tiles, THREADS)
            .args(to.args())
            .args(from.args())
            .args([
                at(pass * DIGITS),
                at(counts + pass),
                at(counts + taken + pass * published),
                Arg::U32(8 * pass as u32),
                Arg::size(n),
            ]);
        program.launch(sweep);
    }
}

fn add_three_kernels(program: &mut Program, places: Places<Columns>, n: usize) {
    let per_span = n.div_ceil(TILE).div_ceil(MOST_SPANS).max(LEAST_TILES);
    let spans = n.div_ceil(TILE).div_ceil(per_span);
    let counts = Arg::Buffer(program.scratch("counts", DType::U32, DIGITS * spans));
    let totals = Arg::Buffer(program.scratch("totals", DType::U32, DIGITS));
    let [per_span, n] = [per_span, n].map(Arg::size);
    for (pass, [from, to]) in places.passes().into_iter().enumerate() {
        let (payload, shift) = (Some(from.payload.is_some()), Arg::U32(8 * pass as u32));
        let [keys, _] = from.args();
        let count = launch(None, "sort_count", spans, THREADS);
        program.launch(count.args([counts, keys, shift, per_span, n]));
        let offsets = launch(None, "sort_offsets", DIGITS, DIGITS as u32);
        program.launch(offsets.args([counts, totals, Arg::size(spans)]));
        let shuffle = launch(payload, "sort_move", spans, THREADS)
            .args(to.args())
            .args(from.args())
            .args([counts, totals, shift, per_span, n]);
        program.launch(shuffle);
    }
}

fn check(outcome: &Outcome, places: Places<Columns>) -> Checked {
    let (keys, sorted) = (
        outcome.get::<u32>(places.input.keys),
        outcome.get::<u32>(places.out.keys),
    );
    let Some(payload) = places.out.payload else {
        let mut right = keys.to_vec();
        right.par_sort_unstable();
        let is_wrong = |i: usize| f64::from(right[i] != sorted[i]);
        return Checked {
            error: check::worst(sorted.len(), is_wrong),
            tolerance: 0.0,
            detail: "1 if any key is not that of another sort, else 0".into(),
        };
    };
    let payload = outcome.get::<u32>(payload);
    // Payloads are places in the input. Where each leads to its key, and they rise among equal keys, no two are the same:
    // so all are there.
    let is_wrong = |i: usize| {
        let is_its_key = keys.get(payload[i] as usize) == Some(&sorted[i]);
        let follows = i == 0 || (sorted[i - 1], payload[i - 1]) < (sorted[i], payload[i]);
        f64::from(!is_its_key || !follows)
    };
    Checked {
        error: check::worst(sorted.len(), is_wrong),
        tolerance: 0.0,
        detail: "1 if any key does not follow the one before, or its payload is not its place before, else 0".into(),
    }
}
