//! Shared memory, read or written with a stride: what it costs that lanes of a warp want words of the same bank.
//!
//! Lane `l` of a warp accesses words `l stride + place`. Shared memory has 32 banks of one word of 4 bytes each, so
//! that `gcd(stride, 32)` lanes want the same bank at once and are served one after the other: stride 1 (and every odd one)
//! has no conflict and shows what shared memory can do, 32 has the most. Source: NVIDIA, "CUDA C++ Programming
//! Guide", section "Shared Memory" of its chapter on compute capabilities. A stride beyond 32 meets the banks
//! that it meets modulo 32, and is taken for that one.
//!
//! Work with `elements` accesses of one word each: `4 elements` bytes of shared memory. What a block fetches and stores
//! besides, 8 KiB and one word for each thread, is not counted. A thread makes up to 1024 accesses, in
//! batches of 16 at addresses that no compiler knows: read words are summed, which the check does again; of the
//! written ones the last of each place are.

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
/// Most accesses of a thread.
const PER_THREAD: usize = 1024;
/// As in the source: accesses in a batch, places where one may begin, and words of a block that reads.
const BATCH: usize = 16;
const STARTS: usize = 512;
const WORDS: usize = 2048;

/// Accesses shared memory.
pub struct BankConflict;

/// How the accesses of a case are shared out.
#[derive(Clone, Copy, Debug)]
struct Shares {
    /// Words between two neighbouring lanes: 1 to 32.
    stride: usize,
    /// Threads of all blocks.
    threads: usize,
    /// Accesses of each.
    count: usize,
    /// How many of them, from the first on, make one more.
    rest: usize,
}

impl Op for BankConflict {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "bank-conflict",
            summary: "shared memory, read or written with a stride of words",
            parameters: vec![
                parameters::integer("elements"),
                parameters::integer("stride"),
                parameters::choice("variant", &["read", "write"]),
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let elements = arguments.size("elements")?;
        let shares = Shares::new(elements, arguments.count("stride")?);
        let reads = arguments.choice("variant", &[("read", true), ("write", false)])?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`elements`", &[elements as u64, 4])?),
            flops: Some(0),
            items: Some(elements as u64),
            formula: "bytes = 4 n of shared memory, flops = 0, items = n; n = elements".into(),
        });
        program.traffic = Traffic::Level(MemoryLevel::Shared);
        let data =
            reads.then(|| program.input("data", DType::U32, WORDS, Fill::Words { stream: 0 }));
        let out = program.output("out", DType::U32, shares.threads);
        program.launch(shares.launch(data, out));
        program.check(move |outcome| match data {
            Some(data) => shares.check_read(outcome, data, out),
            None => shares.check_write(outcome, out),
        });
        Ok(program)
    }
}

impl Shares {
    fn new(elements: usize, stride: usize) -> Self {
        let threads = elements.div_ceil(THREADS * PER_THREAD) * THREADS;
        Self {
            stride: (stride - 1) % LANES + 1,
            threads,
            count: elements / threads.max(1),
            rest: elements % threads.max(1),
        }
    }

    fn launch(&self, data: Option<usize>, out: usize) -> Launch {
        let kernel = if data.is_some() {
            "bank_read"
        } else {
            "bank_write"
        };
        let blocks = (self.threads / THREADS) as u32;
        let mut launch = Launch::new(&SOURCE, kernel, blocks, THREADS as u32)
            .args([Arg::Buffer(out)])
            .args(data.map(Arg::Buffer))
            .args([
                Arg::U32(self.stride as u32),
                Arg::U32(self.count as u32),
                Arg::size(self.rest),
            ]);
        if data.is_none() {
            launch.shared_bytes = (4 * THREADS * self.stride) as u32;
        }
        launch
    }

    /// Accesses of a thread.
    fn accesses(&self, thread: usize) -> usize {
        self.count + usize::from(thread < self.rest)
    }

    fn check_read(&self, outcome: &Outcome, data: usize, out: usize) -> Checked {
        let (data, out) = (outcome.get::<u32>(data), outcome.get::<u32>(out));
        // Sums of a batch of a lane from each start.
        let batch = |lane: usize, start: usize, len: usize| {
            let words = (0..len).map(|k| data[lane * self.stride + start % STARTS + LANES * k]);
            words.fold(0, u32::wrapping_add)
        };
        let table: Vec<u32> = (0..LANES * STARTS)
            .map(|i| batch(i / STARTS, i % STARTS, BATCH))
            .collect();
        compare(out, |thread| {
            let (lane, first) = (thread % LANES, thread / LANES);
            let (full, rest) = (self.accesses(thread) / BATCH, self.accesses(thread) % BATCH);
            (first..first + full)
                .map(|start| table[lane * STARTS + start % STARTS])
                .fold(batch(lane, first + full, rest), u32::wrapping_add)
        })
    }

    fn check_write(&self, outcome: &Outcome, out: usize) -> Checked {
        compare(outcome.get(out), |thread| {
            let accesses = self.accesses(thread);
            let value = (thread as u32).wrapping_mul(u32::GOLDEN);
            // The last `stride` batches remain, of each the last word.
            let batches = accesses.div_ceil(BATCH);
            (batches.saturating_sub(self.stride)..batches)
                .map(|b| value.wrapping_add((accesses.min((b + 1) * BATCH) - 1) as u32))
                .fold(0, u32::wrapping_add)
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
