//! Histograms: how often each of `bins` values is there.
//!
//! Values are `uniform` below `bins`, or `few`: below a thirty-second of them, and at least two, so that threads count the same at the same
//! time. On the host each thread counts its part in tables of its own, which are then added up. On CUDA devices blocks count
//! in shared memory (`shared`), or every element adds to the result in global memory (`global`).
//!
//! Work with `n` values, each read once, and each of the counts written once: `4 n + 4 bins` bytes. It is not these that
//! bound it: on the host a core stores one count in a cycle, and may read more than four bytes in that
//! (`benches/limits.c`, `table-stores`, measures stores alone); on CUDA devices atomic operations on the same count wait for
//! each other.
#![allow(unsafe_code)] // counts by values that were looked at before

use std::sync::atomic::AtomicU32;

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use super::{EVERYWHERE, Op, OpInfo};
use crate::buffer::{Buffers, granule};
use crate::check;
use crate::device::{Team, chunk};
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, blocks, cuda_source,
};
use crate::simd::wide;
use crate::word::Word;

static SOURCE: Source = cuda_source!("order/histogram.cu");
/// Of these values few are one.
const FEW: usize = 32;
/// Bins at most, and as many as have room in a block's shared memory.
const MOST_BINS: usize = 1 << 20;
const MOST_SHARED_BINS: usize = 1 << 13;
/// Threads of a block.
const THREADS: u32 = 256;
/// Blocks at most: a few times as many as run at once.
const MOST_BLOCKS: u32 = 2048;

/// Counts values.
pub struct Histogram;

/// Where a CUDA device counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Shared,
    Global,
}

impl Op for Histogram {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "histogram",
            summary: "how often each of the values below `bins` is there",
            parameters: vec![
                parameters::integer("elements"),
                parameters::integer_or("bins", 256),
                parameters::choice("distribution", &["uniform", "few"]),
                parameters::on_cuda(parameters::choice("variant", &["shared", "global"])),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (n, bins) = (arguments.size("elements")?, arguments.count("bins")?);
        let few = arguments.choice("distribution", &[("uniform", false), ("few", true)])?;
        let memories = [("shared", Memory::Shared), ("global", Memory::Global)];
        let memory = arguments.cuda_choice("variant", &memories)?;
        arguments.check_most("elements", u32::MAX as usize)?;
        arguments.check_most("bins", MOST_BINS)?;
        if arguments.is_cuda() && memory == Memory::Shared {
            arguments.check_most("bins", MOST_SHARED_BINS)?;
        }
        let mut program = Program::new(Work {
            bytes: Some(4 * n as u64 + 4 * bins as u64),
            flops: Some(0),
            items: Some(n as u64),
            formula: "bytes = 4 n + 4 bins, flops = 0, items = n; n = elements".into(),
        });
        let bound = if few {
            bins.div_ceil(FEW).max(2).min(bins)
        } else {
            bins
        };
        let bound = bound as u32;
        let input = program.input("in", DType::U32, n, Fill::Below { stream: 0, bound });
        let out = program.output("counts", DType::U32, bins);
        program
            .on_cpu(move |team, buffers, iterations| run(team, buffers, [input, out], iterations));
        add_steps(&mut program, memory, [input, out], n, bins);
        program.check(move |outcome| check(outcome, [input, out]));
        Ok(program)
    }
}

fn add_steps(
    program: &mut Program,
    memory: Memory,
    [input, out]: [usize; 2],
    n: usize,
    bins: usize,
) {
    program.cuda.push(Step::Set {
        buffer: out,
        byte: 0,
    });
    // A block has more elements to count than bins to add.
    let grid = blocks(n, (16 * bins).max(32 * THREADS as usize), MOST_BLOCKS);
    let buffers = [Arg::Buffer(out), Arg::Buffer(input)];
    let launch = match memory {
        Memory::Shared => {
            let copies = (MOST_SHARED_BINS / bins).clamp(1, THREADS as usize / 32);
            let sizes = [bins, copies].map(|size| Arg::U32(size as u32));
            let mut launch = Launch::new(&SOURCE, "histogram_shared", grid, THREADS)
                .args(buffers)
                .args(sizes);
            launch.shared_bytes = (4 * bins * copies) as u32;
            launch
        }
        Memory::Global => Launch::new(&SOURCE, "histogram_global", grid, THREADS).args(buffers),
    };
    program.launch(launch.args([Arg::size(n)]));
}

/// Counts of all tables of a thread at most, which its first cache holds, where it is to have several tables.
const MOST_COUNTS: usize = 1 << 13;
/// Values that are looked at before they are counted.
const BLOCK: usize = 1 << 10;

/// Counts values, each of which is less than the number of bins, in some tables, one behind the other.
type Count = fn(&[u32], &mut [u32], usize);

/// Tables that a thread counts in, in turn, so that it need not wait for the count before where values are equal.
fn tables(bins: usize) -> (usize, Count) {
    match MOST_COUNTS / bins {
        8.. => (8, count::<8>),
        4.. => (4, count::<4>),
        2.. => (2, count::<2>),
        _ => (1, count::<1>),
    }
}

fn run(team: &Team, buffers: &mut Buffers, [input, out]: [usize; 2], iterations: u64) -> u64 {
    let [input, out] = buffers.many([input, out]);
    let (bins, out) = (out.len(), u32::share(out.get_mut()));
    let (own, count) = tables(bins);
    let parts = team.split(input.get::<u32>(), granule::<u32>()).into_iter();
    // What all tables of a member have, one member after the other.
    let counts: Vec<_> = (0..team.threads() * bins)
        .map(|_| AtomicU32::new(0))
        .collect();
    let parts = parts.map(|part| (part, vec![0; own * bins]));
    team.time(iterations, parts.collect(), |member, (part, tables)| {
        tables.fill(0);
        count(part, tables, bins);
        for (bin, place) in counts[member.index * bins..][..bins].iter().enumerate() {
            u32::store(
                place,
                (0..own).map(|table| tables[table * bins + bin]).sum(),
            );
        }
        member.meet();
        for bin in chunk(bins, granule::<u32>(), team.threads(), member.index) {
            let of_members = (0..team.threads()).map(|member| &counts[member * bins + bin]);
            u32::store(&out[bin], of_members.map(u32::load).sum());
        }
    })
}

fn count<const TABLES: usize>(values: &[u32], tables: &mut [u32], bins: usize) {
    assert!(tables.len() == TABLES * bins, "all tables");
    for block in values.chunks(BLOCK) {
        assert!(
            (largest(block) as usize) < bins,
            "values are below the bins"
        );
        let (rows, rest) = block.as_chunks::<TABLES>();
        let mut add = |table: usize, value: u32| {
            // SAFETY: the table is one of them, and no value of the block is beyond its end.
            unsafe { *tables.get_unchecked_mut(table * bins + value as usize) += 1 };
        };
        for row in rows {
            for (table, value) in row.iter().enumerate() {
                add(table, *value);
            }
        }
        for value in rest {
            add(0, *value);
        }
    }
}

wide! {
    /// The largest of some values; 0 of none.
    fn largest(values: &[u32]) -> u32 {
        values.iter().copied().fold(0, u32::max)
    }
}

/// Elements that a thread checks at a time.
const BATCH: usize = 1 << 20;

fn check(outcome: &Outcome, [input, out]: [usize; 2]) -> Checked {
    let (input, found) = (outcome.get::<u32>(input), outcome.get::<u32>(out));
    let of_batch = |batch: &[u32]| {
        let mut counts = vec![0_u64; found.len()];
        for value in batch {
            counts[*value as usize] += 1;
        }
        counts
    };
    let add = |mut sums: Vec<u64>, counts: Vec<u64>| {
        sums.iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum += count);
        sums
    };
    let none = || vec![0; found.len()];
    let right = input.par_chunks(BATCH).map(of_batch).reduce(none, add);
    Checked {
        error: check::worst(found.len(), |bin| {
            right[bin].abs_diff(found[bin].into()) as f64
        }),
        tolerance: 0.0,
        detail: "largest difference of a count from that of a plain loop".into(),
    }
}
