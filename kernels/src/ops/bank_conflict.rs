//! Shared memory, read or written with a stride: what it costs that lanes of a warp want words of the same bank.
//!
//! Lane `l` of a warp accesses words `l stride + place`. Shared memory has 32 banks of one word of 4 bytes each, so
//! that `gcd(stride, 32)` lanes want the same bank at once and are served one after the other: stride 1 (and every odd one)
//! has no conflict and shows what shared memory can do, 32 has the most. Source: NVIDIA, "CUDA C++ Programming
//! Guide", section "Shared Memory" of its chapter on compute capabilities. A stride beyond 32 meets the banks
//! that it meets modulo 32, and is taken for that one.
//!
//! Work with `blocks` of 256 threads that make `accesses` each, of one word: `4 256 blocks accesses` bytes of shared memory.
//! What a block fetches and stores besides, 8 KiB and one word for each thread, is not counted. Accesses
//! come in batches of 16 at addresses that no compiler knows: words that were read are summed, which the check
//! does again; of those that were written the last of each place are.

use assay_protocol::{DeviceKind, Failure, MemoryLevel, Work};

use super::{Op, OpInfo};
use crate::check;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, Traffic, cuda_source};
use crate::word::Word as _;

static SOURCE: Source = cuda_source!("shared/bank_conflict.cu");
const THREADS: usize = 256;
const LANES: usize = 32;
/// As in the source: accesses in a batch, places where one may begin, and words of a block that reads.
const BATCH: usize = 16;
const STARTS: usize = 512;
const WORDS: usize = 2048;

/// Most blocks that a grid can have, and most accesses of a thread.
const MOST: usize = i32::MAX as usize;

/// Accesses shared memory.
pub struct BankConflict;

/// What threads do.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    /// Words between two neighbouring lanes: 1 to 32.
    stride: usize,
    /// Accesses of a thread.
    accesses: u32,
}

impl Op for BankConflict {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "bank-conflict",
            summary: "shared memory, read or written with a stride of words",
            parameters: vec![
                parameters::integer("blocks"),
                parameters::integer("accesses"),
                parameters::integer("stride"),
                parameters::choice("variant", &["read", "write"]),
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        arguments.check_most("blocks", MOST)?;
        arguments.check_most("accesses", MOST)?;
        let blocks = arguments.size("blocks")? as u32;
        let pattern = Pattern {
            stride: (arguments.count("stride")? - 1) % LANES + 1,
            accesses: arguments.size("accesses")? as u32,
        };
        let reads = arguments.choice("variant", &[("read", true), ("write", false)])?;
        let threads = blocks as usize * THREADS;
        let counts = [threads as u64, pattern.accesses.into()];
        let items = parameters::product("`blocks` and `accesses`", &counts)?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`blocks` and `accesses`", &[items, 4])?),
            flops: Some(0),
            items: Some(items),
            formula: "bytes = 4 n of shared memory, flops = 0, items = n; n = 256 blocks accesses"
                .into(),
        });
        program.traffic = Traffic::Level(MemoryLevel::Shared);
        let words = Fill::Words { stream: 0 };
        let data = reads.then(|| program.input("data", DType::U32, WORDS, words));
        let out = program.output("out", DType::U32, threads);
        program.launch(pattern.launch(blocks, data, out));
        program.check(move |outcome| match data {
            Some(data) => pattern.check_read(outcome, data, out),
            None => pattern.check_write(outcome, out),
        });
        Ok(program)
    }
}

impl Pattern {
    fn launch(&self, blocks: u32, data: Option<usize>, out: usize) -> Launch {
        let (kernel, shared_words) = match data {
            Some(_) => ("bank_read", 0),
            None => ("bank_write", THREADS * self.stride),
        };
        let launch = Launch {
            shared_bytes: 4 * shared_words as u32,
            ..Launch::new(&SOURCE, kernel, blocks, THREADS as u32)
        };
        let sizes = [Arg::U32(self.stride as u32), Arg::U32(self.accesses)];
        launch
            .args([Arg::Buffer(out)])
            .args(data.map(Arg::Buffer))
            .args(sizes)
    }

    fn check_read(&self, outcome: &Outcome, data: usize, out: usize) -> Checked {
        let (data, out) = (outcome.get::<u32>(data), outcome.get::<u32>(out));
        let batch = |lane: usize, start: usize, len: usize| {
            let first = lane * self.stride + start % STARTS;
            let words = (0..len).map(|k| data[first + LANES * k]);
            words.fold(0, u32::wrapping_add)
        };
        let batches: Vec<u32> = (0..LANES * STARTS)
            .map(|i| batch(i % LANES, i / LANES, BATCH))
            .collect();
        // What a lane finds whose first batch begins at some place: warps share these.
        let (full, rest) = (
            self.accesses as usize / BATCH,
            self.accesses as usize % BATCH,
        );
        let sum = |lane: usize, start: usize| {
            let sums = (start..start + full).map(|start| batches[start % STARTS * LANES + lane]);
            sums.fold(batch(lane, start + full, rest), u32::wrapping_add)
        };
        let sums: Vec<u32> = (0..out.len().min(LANES * STARTS))
            .map(|i| sum(i % LANES, i / LANES))
            .collect();
        compare(out, |thread| sums[thread % (STARTS * LANES)])
    }

    fn check_write(&self, outcome: &Outcome, out: usize) -> Checked {
        let (accesses, batch) = (self.accesses, BATCH as u32);
        // The last batches remain, one to each place, and of each the last word.
        let batches = accesses.div_ceil(batch);
        let remaining = batches.saturating_sub(self.stride as u32)..batches;
        compare(outcome.get(out), |thread| {
            let value = (thread as u32).wrapping_mul(u32::GOLDEN);
            let last = |b: u32| value.wrapping_add(accesses.min(batch * b + batch) - 1);
            remaining.clone().map(last).fold(0, u32::wrapping_add)
        })
    }
}

fn compare(out: &[u32], exact: impl Fn(usize) -> u32 + Sync) -> Checked {
    Checked {
        error: check::worst(out.len(), |thread| f64::from(out[thread] != exact(thread))),
        tolerance: 0.0,
        detail: "1 if the sum of any thread differs, else 0".into(),
    }
}
