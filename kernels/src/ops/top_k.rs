//! The `k` largest of many numbers with their places: the largest first, and of equal ones the earlier first.
//!
//! So the answer is one, bit for bit, whatever the order of work. A number and its place make a key of 64 bits, which
//! rises as the number does; of equal numbers the earlier has the larger. On the host each thread passes over blocks whose
//! largest number is not above the least that it has kept. On CUDA devices the elements are read once for the largest key
//! of each chunk, the k-th largest of those of groups of chunks bounds the answer from below, and only chunks that reach
//! it are looked at again (`order/top_k.cu`).
//!
//! Source of the selection by digits: A. Gaihre et al., "Dr. Top-k: delegate-centric top-k on GPUs", SC 2021, whose
//! delegates are the largest keys here. Work with `n` numbers, each read once, and `k` results of 8 bytes written once:
//! `4 n + 8 k` bytes.

mod host;

use assay_protocol::{Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::check;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, blocks, cuda_source,
};

static SOURCE: Source = cuda_source!("order/top_k.cu");
/// Results at most: a block's threads.
const MOST: usize = 1024;
/// Threads of a block, and of one that works alone.
const THREADS: u32 = 256;
const ALONE: u32 = 1024;
/// Chunks that a block has, one a warp.
const WARPS: usize = THREADS as usize / 32;
/// Elements of a row, and rows of a chunk at most.
const ROW: usize = 128;
const MOST_ROWS: usize = 8;
/// Groups at most: a block sorts out their largest keys alone.
const MOST_GROUPS: usize = 8192;

/// Finds the largest.
pub struct TopK;

impl Op for TopK {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "top-k",
            summary: "the k largest of f32 numbers and their places, in order",
            parameters: vec![
                parameters::integer("elements"),
                parameters::integer_or("k", 64),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        arguments.check_most("elements", u32::MAX as usize)?;
        arguments.check_most("k", MOST)?;
        let n = arguments.count("elements")?;
        let k = arguments.at_most_as_many("k", "elements")?;
        let mut program = Program::new(Work {
            bytes: Some(4 * n as u64 + 8 * k as u64),
            flops: Some(0),
            items: Some(n as u64),
            formula: "bytes = 4 n + 8 k, flops = 0, items = n; n = elements".into(),
        });
        let input = program.input("in", DType::F32, n, Fill::signed(0));
        let values = program.output("values", DType::F32, k);
        let places = program.output("places", DType::U32, k);
        program.on_cpu(move |team, buffers, iterations| {
            host::run(team, buffers, [input, values, places], iterations)
        });
        add_steps(&mut program, [input, values, places], n, k);
        program.check(move |outcome| check(outcome, [input, values, places]));
        Ok(program)
    }

    fn test_default(&self, parameter: &str, value: i64, size: i64) -> i64 {
        // No more than there is.
        if parameter == "k" {
            value.min(size.max(1))
        } else {
            value
        }
    }
}

/// How a CUDA device divides the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Rows of a chunk.
    rows: usize,
    chunks: usize,
    /// Chunks of a group.
    per_group: usize,
    groups: usize,
    /// Keys that are not less than the k-th largest of the groups', at most.
    candidates: usize,
}

impl Shape {
    fn new(n: usize, k: usize) -> Self {
        // Small chunks as long as there are few, so that there are enough to choose from.
        let rows = n
            .div_ceil(ROW * MOST_GROUPS)
            .next_power_of_two()
            .min(MOST_ROWS);
        let chunks = n.div_ceil(rows * ROW);
        let per_group = chunks.div_ceil(MOST_GROUPS).max(1);
        let groups = chunks.div_ceil(per_group);
        let candidates = if groups < k {
            n
        } else {
            n.min(k * per_group * rows * ROW)
        };
        Self {
            rows,
            chunks,
            per_group,
            groups,
            candidates,
        }
    }
}

fn add_steps(program: &mut Program, [input, values, places]: [usize; 3], n: usize, k: usize) {
    let shape = Shape::new(n, k);
    let maxima = program.scratch("maxima", DType::U64, shape.chunks);
    let groups = program.scratch("groups", DType::U64, shape.groups);
    let threshold = program.scratch("threshold", DType::U64, 1);
    let keys = program.scratch("keys", DType::U64, shape.candidates);
    let collected = program.scratch("collected", DType::U32, 1);
    let [input, values, places] = [input, values, places].map(Arg::Buffer);
    let [maxima, groups, threshold, keys] = [maxima, groups, threshold, keys].map(Arg::Buffer);
    let [rows, least] = [shape.rows, k].map(|count| Arg::U32(count as u32));
    let n = Arg::size(n);
    let warps = |items: usize, kernel: &str| {
        Launch::new(&SOURCE, kernel, blocks(items, WARPS, u32::MAX), THREADS)
    };
    let alone = |kernel: &str| Launch::new(&SOURCE, kernel, 1, ALONE);
    program.launch(warps(shape.chunks, "top_k_maxima").args([maxima, input, rows, n]));
    let sizes = [shape.per_group, shape.chunks].map(Arg::size);
    program.launch(
        warps(shape.groups, "top_k_groups")
            .args([groups, maxima])
            .args(sizes),
    );
    let count = Arg::size(shape.groups);
    program.launch(alone("top_k_threshold").args([threshold, groups, count, least]));
    program.cuda.push(Step::Set {
        buffer: collected,
        byte: 0,
    });
    let collected = Arg::Buffer(collected);
    program.launch(
        warps(shape.chunks.div_ceil(32), "top_k_collect")
            .args([keys, collected, input, maxima, threshold])
            .args([rows, Arg::size(shape.chunks), n]),
    );
    program.launch(alone("top_k_finish").args([values, places, keys, collected, least]));
}

/// A number's bits, changed so that they rise as the number does.
fn rising(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}

/// The key of the number at a place. Places have 32 bits.
fn key(value: f32, place: usize) -> u64 {
    u64::from(rising(value)) << 32 | u64::from(!(place as u32))
}

fn check(outcome: &Outcome, [input, values, places]: [usize; 3]) -> Checked {
    let input = outcome.get::<f32>(input);
    let (values, places) = (outcome.get::<f32>(values), outcome.get::<u32>(places));
    let found = |i: usize| key(values[i], places[i] as usize);
    // They are of the input, and fall; then they are the largest if no others are above the last.
    let is_wrong = |i: usize| {
        let of_input = input.get(places[i] as usize).copied();
        let is_there = of_input.map(f32::to_bits) == Some(values[i].to_bits());
        f64::from(!is_there || (i > 0 && found(i - 1) <= found(i)))
    };
    let last = values.len().checked_sub(1).map_or(u64::MAX, found);
    let is_above = |i: usize| key(input[i], i) >= last;
    Checked {
        error: check::worst(values.len(), is_wrong)
            .max(check::count(input.len(), is_above).abs_diff(values.len()) as f64),
        tolerance: 0.0,
        detail: "how many numbers too many or too few are not below the last result; at least 1 if one is not that of its place, or out of order".into(),
    }
}
