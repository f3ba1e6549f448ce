//! Peak bandwidth of a level of memory: reading, over and over, what the level holds.
//!
//! An array of `elements` words of 32 bits is read `passes` times and added up modulo 2^32, which is exact in any order.
//! The level holds them and the next one nearer does not. Work: each word of each
//! pass is read, `4 elements passes` bytes. Reading alone is what no other use of a level exceeds: writing has the same
//! wires and more to do.
//!
//! On the host the threads share the array out, and each reads its part. How many words a level has there depends on the machine and on the
//! threads, so with 0, the default, they are chosen by both (`device::caches`), and a size that lies in another level is skipped. On a CUDA
//! device `dram` and `l2` are read past the first cache by all multiprocessors, and sizes are chosen and skipped by its second cache; for
//! `l1` and `shared` the array is cut into pieces of 16 and 32 KiB, each of which a block reads `passes` times, so `elements`, which a suite has
//! to say, is many times what one multiprocessor holds.
#![allow(unsafe_code)] // vectors of the processor's own

use std::borrow::Cow;
use std::hint::black_box;

use assay_protocol::{Failure, MemoryLevel, Work};
use rayon::prelude::*;

use crate::buffer::{Buffers, granule};
use crate::check;
use crate::device::caches::Caches;
use crate::device::{Team, cuda};
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Traffic, blocks, cuda_source,
};

static SOURCE: Source = cuda_source!("ceiling/bandwidth.cu");
/// Threads of a block.
const THREADS: u32 = 256;
/// Warps of a block, each of which leaves one sum.
const WARPS: usize = 8;
/// Words that a load of a warp gives.
const WARP_LOAD: usize = 32 * 4;

/// Reads memory of one level.
pub struct PeakBandwidth;

impl Op for PeakBandwidth {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "peak-bandwidth",
            summary: "reads what one level of memory holds, over and over",
            parameters: vec![
                parameters::on_cpu(parameters::choice("level", &["l1", "l2", "l3", "dram"])),
                parameters::on_cuda(parameters::choice("level", &["dram", "l2", "l1", "shared"])),
                parameters::integer_from("elements", 0),
                parameters::integer("passes"),
            ],
            devices: EVERYWHERE,
        }
    }

    fn ensure_measures(&self, arguments: &Arguments) -> Result<(), Failure> {
        let (level, elements) = (level_of(arguments)?, arguments.size("elements")?);
        if elements == 0 || is_in_pieces(level, arguments) {
            return Ok(());
        }
        let bytes = parameters::product("`elements`", &[4, elements as u64])?;
        let (caches, threads) = caches_of(arguments)?;
        let is_in_level = caches.ensure_in(level, threads, bytes);
        is_in_level.map_err(Failure::Skipped)
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let level = level_of(arguments)?;
        let passes = u32::try_from(arguments.size("passes")?)
            .map_err(|_| Failure::Failed("parameter `passes`: expected fewer than 2^32".into()))?;
        let elements = elements(level, arguments)?;
        let bytes = [4, elements as u64, u64::from(passes)];
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`elements` and `passes`", &bytes)?),
            flops: Some(0),
            items: Some(elements as u64),
            formula: "bytes = 4 n passes, flops = 0, items = n; n = elements".into(),
        });
        program.traffic = Traffic::Level(level);
        let input = program.input("in", DType::U32, elements, Fill::Words { stream: 0 });
        if arguments.is_cuda() {
            on_cuda(&mut program, level, input, passes);
        } else {
            on_cpu(&mut program, input, passes);
        }
        Ok(program)
    }

    /// Never 0, which is what the machine chooses.
    fn test_default(&self, _parameter: &str, _value: i64, size: i64) -> i64 {
        size.max(1)
    }
}

fn level_of(arguments: &Arguments) -> Result<MemoryLevel, Failure> {
    let names = MemoryLevel::ALL.map(|level| (level.name(), level));
    arguments.choice("level", &names)
}

/// Whether each multiprocessor of a CUDA device has a piece in memory of its own, however large the whole is.
fn is_in_pieces(level: MemoryLevel, arguments: &Arguments) -> bool {
    arguments.is_cuda() && matches!(level, MemoryLevel::L1 | MemoryLevel::Shared)
}

/// The caches of a case's device, and how many threads have a part in them.
fn caches_of(arguments: &Arguments) -> Result<(Cow<'static, Caches>, u64), Failure> {
    if arguments.is_cuda() {
        let device = cuda::select(&arguments.0.device.which)?;
        return Ok((Cow::Owned(Caches::of_device(device.l2_bytes)), 1));
    }
    // Programs that are run without a worker have no such parameter.
    let threads = if arguments.0.params.contains_key("threads") {
        arguments.count("threads")? as u64
    } else {
        1
    };
    Ok((Cow::Borrowed(Caches::host()), threads))
}

/// How many words a case reads: as many as it says, or as are well within the level.
fn elements(level: MemoryLevel, arguments: &Arguments) -> Result<usize, Failure> {
    let elements = arguments.size("elements")?;
    if elements > 0 {
        return Ok(elements);
    }
    if is_in_pieces(level, arguments) {
        return arguments.count("elements");
    }
    let (caches, threads) = caches_of(arguments)?;
    let bytes = caches.size_in(level, threads).map_err(Failure::Skipped)?;
    let words = bytes as usize / 4;
    Ok(match level {
        // Where a GPU's second cache has two halves, each may keep what the other has.
        MemoryLevel::L2 if arguments.is_cuda() => words / 2,
        // Its memory is fast beside that cache: what stays there of one reading to the next would show.
        MemoryLevel::Dram if arguments.is_cuda() => 4 * words,
        _ => words,
    })
}

fn on_cpu(program: &mut Program, input: usize, passes: u32) {
    let out = program.output("sum", DType::U32, 1);
    program.on_cpu(move |team, buffers, iterations| read(team, buffers, passes, iterations));
    program.check(move |outcome| {
        let words = outcome.get::<u32>(input);
        let sum = words.par_iter().copied().reduce(|| 0, u32::wrapping_add);
        let found = outcome.get::<u32>(out)[0];
        Checked::exact(
            usize::from(found != sum.wrapping_mul(passes)),
            "1 if the sum is wrong, else 0",
        )
    });
}

fn read(team: &Team, buffers: &mut Buffers, passes: u32, iterations: u64) -> u64 {
    let (inputs, out) = buffers.split_last_mut(1);
    let parts = team.split(inputs[0].get::<u32>(), granule::<u32>());
    let mut sums = vec![0; team.threads()];
    let tasks = parts.into_iter().zip(&mut sums).collect();
    let host_ns = team.time(iterations, tasks, |_, (part, sum)| {
        **sum = sum_of_passes(part, passes);
    });
    out.get_mut::<u32>()[0] = sums.into_iter().fold(0, u32::wrapping_add);
    host_ns
}

/// The sum of `words`, each of which is read `passes` times.
fn sum_of_passes(words: &[u32], passes: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        if crate::simd::has_avx512() {
            // SAFETY: the processor has every feature that the function enables.
            return unsafe { avx512(words, passes) };
        }
        if crate::simd::has_avx2() {
            // SAFETY: the processor has every feature that the function enables.
            return unsafe { avx2(words, passes) };
        }
    }
    let pass = |sum: u32, _| sum.wrapping_add(sum_of(black_box(words)));
    (0..passes).fold(0, pass)
}

fn sum_of(words: &[u32]) -> u32 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// Reads with vectors of a type, by intrinsics: left to itself the compiler adds up across the vectors in each pass, which
/// in the first cache takes as long as some of the reading.
#[cfg(target_arch = "x86_64")]
macro_rules! read_vectors {
    ($name:ident, $features:literal, $vector:ty, $add:path) => {
        #[target_feature(enable = $features)]
        fn $name(words: &[u32], passes: u32) -> u32 {
            const LANES: usize = size_of::<$vector>() / 4;
            // SAFETY: any bits are a vector.
            let mut sums: [$vector; 8] = unsafe { std::mem::zeroed() };
            let mut rest = 0_u32;
            for _ in 0..passes {
                let (chunks, tail) = black_box(words).as_chunks::<{ 8 * LANES }>();
                for chunk in chunks {
                    let vectors: *const $vector = chunk.as_ptr().cast();
                    for (place, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: the chunk has eight vectors, at any alignment.
                        *sum = $add(*sum, unsafe { vectors.add(place).read_unaligned() });
                    }
                }
                rest = rest.wrapping_add(sum_of(tail));
            }
            // SAFETY: as many words as the vectors have; any bits are a word.
            let lanes: [u32; 8 * LANES] = unsafe { std::mem::transmute(sums) };
            rest.wrapping_add(sum_of(&lanes))
        }
    };
}

#[cfg(target_arch = "x86_64")]
read_vectors!(
    avx512,
    "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma",
    std::arch::x86_64::__m512i,
    std::arch::x86_64::_mm512_add_epi32
);
#[cfg(target_arch = "x86_64")]
read_vectors!(
    avx2,
    "avx2,fma",
    std::arch::x86_64::__m256i,
    std::arch::x86_64::_mm256_add_epi32
);

/// How a kernel takes the array.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// In tiles that blocks take in turn.
    Tiles,
    /// One piece a block, in as many chunks as it has warps, of so many loads of a warp: in pass `p` warp `w` reads chunk
    /// `w + p`.
    Pieces { loads: usize },
}

impl Reading {
    /// Words of a tile or piece.
    fn words(self) -> usize {
        let loads = match self {
            Self::Tiles => 8,
            Self::Pieces { loads } => loads,
        };
        loads * WARPS * WARP_LOAD
    }
}

fn on_cuda(program: &mut Program, level: MemoryLevel, input: usize, passes: u32) {
    let elements = program.buffers[input].len;
    // A block of its own for every tile of DRAM; from L2, tiles come faster than blocks start.
    let (kernel, reading, turns_per_block) = match level {
        MemoryLevel::Shared => ("read_shared", Reading::Pieces { loads: 8 }, 1),
        MemoryLevel::L1 => ("read_l1", Reading::Pieces { loads: 4 }, 1),
        MemoryLevel::L2 => ("read_tiles", Reading::Tiles, 8),
        _ => ("read_tiles", Reading::Tiles, 1),
    };
    let parts = elements.div_ceil(reading.words());
    let turns = match reading {
        Reading::Tiles => parts.saturating_mul(passes as usize),
        Reading::Pieces { .. } => parts,
    };
    let blocks = blocks(turns, turns_per_block, 1 << 30);
    let out = program.output("sums", DType::U32, blocks as usize * WARPS);
    program.launch(Launch::new(&SOURCE, kernel, blocks, THREADS).args([
        Arg::Buffer(out),
        Arg::Buffer(input),
        Arg::size(elements),
        Arg::U32(passes),
    ]));
    program.check(move |outcome| check(outcome, [input, out], reading, passes));
}

fn check(outcome: &Outcome, [input, out]: [usize; 2], reading: Reading, passes: u32) -> Checked {
    let words = outcome.get::<u32>(input);
    let sums = outcome.get::<u32>(out);
    let blocks = sums.len() / WARPS;
    let whole = words.len() / 4 * 4;
    let parts: Vec<_> = words[..whole]
        .par_chunks(reading.words())
        .map(|part| sums_of(part, reading))
        .collect();
    // What is no whole load is left to the first warp of the last block.
    let rest = words[whole..]
        .iter()
        .fold(0, |sum: u32, word| sum.wrapping_add(*word));
    let error = check::worst(sums.len(), |i| {
        let (block, warp) = (i / WARPS, i % WARPS);
        let read = match reading {
            Reading::Tiles => turns(&parts, block, blocks, passes, warp),
            Reading::Pieces { .. } => rotations(parts.get(block), passes, warp),
        };
        let rest = if i == (blocks - 1) * WARPS {
            rest.wrapping_mul(passes)
        } else {
            0
        };
        f64::from(sums[i] != read.wrapping_add(rest))
    });
    Checked {
        error,
        tolerance: 0.0,
        detail: "1 if the sum of any warp is wrong, else 0".into(),
    }
}

/// The sums of a tile by warp, or of a piece by chunk.
fn sums_of(part: &[u32], reading: Reading) -> [u32; WARPS] {
    let mut sums = [0_u32; WARPS];
    for (load, words) in part.chunks(WARP_LOAD).enumerate() {
        let place = match reading {
            Reading::Tiles => load % WARPS,
            Reading::Pieces { loads } => load / loads,
        };
        let sum = words
            .iter()
            .fold(0, |sum: u32, word| sum.wrapping_add(*word));
        sums[place] = sums[place].wrapping_add(sum);
    }
    sums
}

/// What a warp reads of the tiles that come its block's turn.
fn turns(tiles: &[[u32; WARPS]], block: usize, blocks: usize, passes: u32, warp: usize) -> u32 {
    let turns = tiles.len() * passes as usize;
    (block..turns).step_by(blocks).fold(0, |sum, turn| {
        sum.wrapping_add(tiles[turn % tiles.len()][warp])
    })
}

/// What a warp reads of a piece whose chunks it goes round.
fn rotations(piece: Option<&[u32; WARPS]>, passes: u32, warp: usize) -> u32 {
    let chunk = |pass: u32| piece.map_or(0, |piece| piece[(warp + pass as usize) % WARPS]);
    let sum = |passes: std::ops::Range<u32>| passes.map(chunk).fold(0, u32::wrapping_add);
    let rounds = passes / WARPS as u32;
    sum(0..WARPS as u32)
        .wrapping_mul(rounds)
        .wrapping_add(sum(rounds * WARPS as u32..passes))
}

#[cfg(test)]
mod tests {
    use assay_protocol::{CaseSpec, DeviceSelector, Failure, ParamValue, TimingMode};

    use super::{Op, PeakBandwidth};
    use crate::device::caches::Caches;
    use crate::parameters::Arguments;

    fn case(level: &str, elements: i64, threads: i64) -> CaseSpec {
        let params = [
            ("level", ParamValue::Text(level.into())),
            ("elements", ParamValue::Int(elements)),
            ("passes", ParamValue::Int(1)),
            ("threads", ParamValue::Int(threads)),
        ];
        CaseSpec {
            workload: "peak-bandwidth".into(),
            params: params.map(|(name, value)| (name.into(), value)).into(),
            seed: 1.into(),
            device: DeviceSelector::CPU,
            timing: TimingMode::Hot,
            command: None,
            kernel: None,
        }
    }

    fn words(level: &str, elements: i64) -> Result<u64, Failure> {
        let program = PeakBandwidth.program(&Arguments(&case(level, elements, 2)))?;
        Ok(program.work.items.unwrap())
    }

    /// As a suite asks for it that says no size.
    #[test]
    fn a_worker_chooses_a_size() {
        if *Caches::host() == Caches::default() {
            return;
        }
        let entries = crate::ops::catalog().iter();
        let mut entries = entries.filter(|entry| entry.info().name == "peak-bandwidth");
        let prepared = entries.next().unwrap().prepare(&case("l1", 0, 1)).unwrap();
        assert!(prepared.prepared().work.items.unwrap() >= 1024);
    }

    /// The size of a case is that of the machine it runs on, and what is small is no memory.
    #[test]
    fn a_size_lies_in_the_level_that_it_is_taken_for() {
        if *Caches::host() == Caches::default() {
            return;
        }
        for level in [
            assay_protocol::MemoryLevel::L1,
            assay_protocol::MemoryLevel::Dram,
        ] {
            let bytes = 4 * words(level.name(), 0).unwrap();
            assert!(
                Caches::host().ensure_in(level, 2, bytes).is_ok(),
                "{level} {bytes}"
            );
        }
        let refused = PeakBandwidth.ensure_measures(&Arguments(&case("dram", 1024, 2)));
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, Failure::Skipped(why) if why.starts_with("4096 bytes of 2 threads do not lie in `dram`")),
            "{refused}"
        );
    }
}
