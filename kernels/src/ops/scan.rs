//! Prefix sums: `out[i] = in[0] + ... + in[i]`, or of those before `i` alone (`exclusive`).
//!
//! Of unsigned integers, whose sums are exact modulo 2^32 or 2^64: every implementation has the same bits. On the host
//! each thread waits for the sum of all before its tile, passes it on, and writes the tile's sums from its cache; meanwhile it reads
//! its next tile, which brings that there, and adds it up, so that memory is read and written all the time. On CUDA devices `look-back` does the same with one kernel that reads each element once, and
//! `three-kernel` sums all spans first and reads them again.
//!
//! Source of the first: D. Merrill, M. Garland, "Single-pass parallel prefix scan with decoupled look-back",
//! NVIDIA technical report NVR-2016-002; of the host's: S. Yan, G. Long, Y. Zhang, "`StreamScan`: fast scan algorithms for
//! GPUs without global barrier synchronization", `PPoPP` 2013. Work with `n` elements of type `T`, each read once and each
//! sum written once: `2 n sizeof T` bytes.

mod vectors;

use std::sync::atomic::{AtomicU64, Ordering};

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use self::vectors::Vectors;
use super::{EVERYWHERE, Op, OpInfo};
use crate::buffer::Buffers;
use crate::device::{Member, Team};
use crate::element::{DType, Element};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, blocks, cuda_source,
};
use crate::simd::wide;
use crate::store::{self, Around};
use crate::word::{DTYPES, Word};

static SOURCE: Source = cuda_source!("order/scan.cu");
/// Bytes of a tile of the host, of which a core's second cache holds several.
const HOST_TILE_BYTES: usize = 64 << 10;
/// Threads of a block.
const THREADS: u32 = 256;
/// Bytes of a block's tile: 8 loads of 16 bytes by each thread.
const TILE_BYTES: usize = 8 * 16 * THREADS as usize;
/// Blocks of the three-kernel variant at most: a few times as many as run at once, and few enough sums for one block.
const MOST_SPANS: usize = 2048;
/// Tiles of a block at least.
const LEAST_TILES: usize = 2;

/// Prefix sums.
pub struct Scan;

/// What a CUDA device runs.
#[derive(Clone, Copy)]
enum Variant {
    LookBack,
    ThreeKernel,
}

impl Op for Scan {
    fn info(&self) -> OpInfo {
        let variant = parameters::choice("variant", &["look-back", "three-kernel"]);
        OpInfo {
            name: "scan",
            summary: "prefix sums: out[i] = in[0] + ... + in[i]",
            parameters: vec![
                parameters::integer("elements"),
                parameters::dtype(DTYPES),
                parameters::choice("kind", &["inclusive", "exclusive"]),
                parameters::on_cuda(variant),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        if arguments.dtype(DTYPES)? == DType::U32 {
            program::<u32>(arguments)
        } else {
            program::<u64>(arguments)
        }
    }
}

fn program<T: Vectors>(arguments: &Arguments) -> Result<Program, Failure> {
    let n = arguments.size("elements")?;
    let inclusive = arguments.choice("kind", &[("inclusive", true), ("exclusive", false)])?;
    let variants = [
        ("look-back", Variant::LookBack),
        ("three-kernel", Variant::ThreeKernel),
    ];
    let variant = arguments.cuda_choice("variant", &variants)?;
    let bytes = parameters::product("`elements`", &[2, n as u64, size_of::<T>() as u64])?;
    let mut program = Program::new(Work {
        bytes: Some(bytes),
        flops: Some(0),
        items: Some(n as u64),
        formula: "bytes = 2 n sizeof(T), flops = 0, items = n; n = elements".into(),
    });
    let input = program.input("in", T::DTYPE, n, Fill::Words { stream: 0 });
    let out = program.output("out", T::DTYPE, n);
    program.on_cpu(move |team, buffers, iterations| {
        run::<T>(team, buffers, [input, out], inclusive, iterations)
    });
    match variant {
        Variant::LookBack => add_look_back::<T>(&mut program, [input, out], inclusive, n),
        Variant::ThreeKernel => add_three_kernels::<T>(&mut program, [input, out], inclusive, n),
    }
    program.check(move |outcome| check::<T>(outcome, [input, out], inclusive));
    Ok(program)
}

fn tiles<T: Element>(n: usize) -> usize {
    n.div_ceil(TILE_BYTES / size_of::<T>())
}

fn add_look_back<T: Element>(
    program: &mut Program,
    [input, out]: [usize; 2],
    inclusive: bool,
    n: usize,
) {
    // As many words as `publish` in the source takes for a tile, and one for their number.
    let words = if T::DTYPE == DType::U32 { 1 } else { 3 };
    let states = program.scratch("states", DType::U64, 1 + words * tiles::<T>(n));
    program.cuda.push(Step::Set {
        buffer: states,
        byte: 0,
    });
    let kernel = format!("scan_look_back<{}, {inclusive}>", T::DTYPE.cuda());
    let [input, out, states] = [input, out, states].map(Arg::Buffer);
    let grid = blocks(tiles::<T>(n), 1, u32::MAX);
    program.launch(Launch::new(&SOURCE, kernel, grid, THREADS).args([
        out,
        input,
        states,
        Arg::size(n),
    ]));
}

fn add_three_kernels<T: Element>(
    program: &mut Program,
    [input, out]: [usize; 2],
    inclusive: bool,
    n: usize,
) {
    let per_span = tiles::<T>(n).div_ceil(MOST_SPANS).max(LEAST_TILES);
    let spans = tiles::<T>(n).div_ceil(per_span);
    let sums = Arg::Buffer(program.scratch("sums", T::DTYPE, spans));
    let [input, out] = [input, out].map(Arg::Buffer);
    let [count, per_span, n] = [spans, per_span, n].map(Arg::size);
    let grid = blocks(spans, 1, u32::MAX);
    let dtype = T::DTYPE.cuda();
    let launch = |kernel: String, blocks, threads, args: &[Arg]| {
        Launch::new(&SOURCE, kernel, blocks, threads).args(args.iter().copied())
    };
    let name = format!("scan_sums<{dtype}>");
    program.launch(launch(name, grid, THREADS, &[sums, input, per_span, n]));
    let name = format!("scan_offsets<{dtype}>");
    program.launch(launch(name, grid.min(1), 1024, &[sums, count]));
    let name = format!("scan_spans<{dtype}, {inclusive}>");
    let args = [out, input, sums, per_span, n];
    program.launch(launch(name, grid, THREADS, &args));
}

/// What is passed on from tile to tile.
#[derive(Default)]
struct Chain {
    /// Tiles, over all iterations, whose sum is in `before`.
    tiles: AtomicU64,
    before: AtomicU64,
}

impl Chain {
    /// Waits for the tiles before tile `number` of `tiles`, and adds `sum` to what they sum to, which it gives.
    fn pass<T: Word>(&self, member: &Member, (number, tiles): (usize, usize), sum: T) -> T {
        let turn = member.iteration * tiles as u64 + number as u64;
        member.wait_until(|| self.tiles.load(Ordering::Acquire) == turn);
        let before = match number {
            0 => T::default(),
            _ => T::from_u64(self.before.load(Ordering::Relaxed)),
        };
        self.before
            .store(before.wrapping_add(sum).into(), Ordering::Relaxed);
        self.tiles.store(turn + 1, Ordering::Release);
        before
    }
}

fn run<T: Vectors>(
    team: &Team,
    buffers: &mut Buffers,
    [input, out]: [usize; 2],
    inclusive: bool,
    iterations: u64,
) -> u64 {
    let [input, out] = buffers.many([input, out]);
    let elements = HOST_TILE_BYTES / size_of::<T>();
    let (input, out) = (input.get::<T>(), out.get_mut::<T>());
    let tiles = input.len().div_ceil(elements);
    // Tiles go round, so that those which are worked on are adjacent.
    let mut shares: Vec<_> = (0..team.threads()).map(|_| vec![]).collect();
    let parts = out.chunks_mut(elements).zip(input.chunks(elements));
    for (number, part) in parts.enumerate() {
        shares[number % team.threads()].push((number, part));
    }
    let scan = Scanner {
        inclusive,
        around: store::goes_around(2 * size_of_val(input) as u64),
    };
    let chain = Chain::default();
    team.time(iterations, shares, |member, share| {
        let mut sum = share
            .first()
            .map_or(T::default(), |(_, (_, input))| sum_of(input));
        let mut rest = share.as_mut_slice();
        while let Some(((number, (out, input)), later)) = rest.split_first_mut() {
            let before = chain.pass(member, (*number, tiles), sum);
            let next = later.first().map_or(&[][..], |(_, (_, input))| *input);
            sum = scan.tile(out, input, next, before);
            rest = later;
        }
    })
}

/// How a thread writes its sums.
#[derive(Clone, Copy)]
struct Scanner {
    inclusive: bool,
    around: bool,
}

impl Scanner {
    /// Writes the sums of a tile, given that of all before, and gives that of the elements of `next`, a tile that is no longer.
    fn tile<T: Vectors>(self, out: &mut [T], input: &[T], next: &[T], before: T) -> T {
        let kind = [self.inclusive, self.around];
        let Some(lines) = vectors::lines(kind, out, input, next, before) else {
            return self.pieces(out, input, next, before);
        };
        let ([before, of_lines], [done, next_done]) = lines;
        sums(&mut out[done..], &input[done..], before, self.inclusive);
        of_lines.wrapping_add(sum_of(&next[next_done..]))
    }

    /// The same by what the compiler makes of it, some elements at a time, which stay in the first cache.
    fn pieces<T: Word>(self, out: &mut [T], input: &[T], next: &[T], mut before: T) -> T {
        let mut room = [T::default(); PIECE];
        let mut of_next = T::default();
        for (number, input) in input.chunks(PIECE).enumerate() {
            let first = number * PIECE;
            let own = &mut room[..input.len()];
            before = sums(own, input, before, self.inclusive);
            let next = &next[first.min(next.len())..(first + PIECE).min(next.len())];
            of_next = of_next.wrapping_add(sum_of(next));
            if self.around {
                Around::new(&mut *out).send(first, own);
            } else {
                out[first..][..own.len()].copy_from_slice(own);
            }
        }
        of_next
    }
}

/// Elements that are summed, then sent off.
const PIECE: usize = 512;

/// Writes the sums of `before` and the elements up to each, or before each, and gives that of all.
fn sums<T: Word>(out: &mut [T], input: &[T], mut before: T, inclusive: bool) -> T {
    for (out, x) in out.iter_mut().zip(input) {
        let with = before.wrapping_add(*x);
        *out = if inclusive { with } else { before };
        before = with;
    }
    before
}

wide! {
    fn sum_of<T: Word>(input: &[T]) -> T {
        input.iter().fold(T::default(), |sum, x| sum.wrapping_add(*x))
    }
}

/// Elements that a thread checks at a time.
const BATCH: usize = 1 << 14;

fn check<T: Word>(outcome: &Outcome, [input, out]: [usize; 2], inclusive: bool) -> Checked {
    let (input, out) = (outcome.get::<T>(input), outcome.get::<T>(out));
    let add = |sum: u64, x: &T| sum.wrapping_add((*x).into());
    let sums = input
        .par_chunks(BATCH)
        .map(|batch| batch.iter().fold(0, add));
    let sums: Vec<u64> = sums.collect();
    let before = sums.iter().scan(0_u64, |before, sum| {
        let this = *before;
        *before = before.wrapping_add(*sum);
        Some(this)
    });
    let before: Vec<u64> = before.collect();
    let batches = input.par_chunks(BATCH).zip(out.par_chunks(BATCH));
    let different = batches.zip(before).map(|((input, out), before)| {
        let mut before = before;
        let is_wrong = |(x, found): (&T, &T)| {
            let with = add(before, x);
            let right = if inclusive { with } else { before };
            before = with;
            *found != T::from_u64(right)
        };
        input.iter().zip(out).map(is_wrong).filter(|w| *w).count()
    });
    Checked::exact(
        different.sum(),
        "how many sums differ from those of 64 bits, modulo the size of their type",
    )
}

#[cfg(test)]
mod tests {
    use super::vectors::Vectors;
    use super::{Scanner, sums};
    use crate::buffer::Buffer;
    use crate::device::Team;

    /// Tiles of every kind, and next ones that are as long, shorter and not there.
    fn compare<T: Vectors>() {
        let random = assay_protocol::Philox::new(7, 1);
        let words: Vec<T> = (0..2000)
            .map(|i| T::from_u64(u64::from(random.signed_f32(i).to_bits()) << (i % 40)))
            .collect();
        let mut room = Buffer::zeroed(&Team::new(1).unwrap(), T::DTYPE, 1000).unwrap();
        let out = room.get_mut::<T>();
        let total = |words: &[T]| words.iter().fold(T::default(), |a, b| a.wrapping_add(*b));
        for len in [0, 1, 7, 8, 15, 16, 17, 100, 512, 513, 1000] {
            for next in [0, len / 3, len] {
                for kind in 0..4 {
                    let [inclusive, around] = [kind % 2 == 0, kind > 1];
                    let scan = Scanner { inclusive, around };
                    let (input, next) = (&words[..len], &words[len..len + next]);
                    let mut right = vec![T::default(); len];
                    sums(&mut right, input, words[9], inclusive);
                    for tile in [Scanner::tile::<T>, Scanner::pieces::<T>] {
                        out.fill(T::POISON);
                        let of_next = tile(scan, &mut out[..len], input, next, words[9]);
                        assert!(of_next == total(next), "{len}, {kind}");
                        assert!(out[..len] == right, "{len}, {kind}");
                        assert!(out[len..].iter().all(|x| *x == T::POISON), "{len}, {kind}");
                    }
                }
            }
        }
    }

    #[test]
    fn all_ways_give_the_same_sums() {
        compare::<u32>();
        compare::<u64>();
    }
}
