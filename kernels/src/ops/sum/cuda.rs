//! Sums on CUDA devices: the launches of `order/sum.cu`.

use super::{Order, Reduction};
use crate::element::{DType, Real};
use crate::ops::reduce::BLOCK;
use crate::program::{Arg, Launch, Program, Source, Step, blocks, cuda_source};

static SOURCE: Source = cuda_source!("order/sum.cu");
const THREADS: u32 = 256;
/// Bytes of a block's run: 16 loads of 16 bytes by each thread. Those of the leaves that a block of `sum_fixed` sums
/// are as many in `f32`, and in `f64`.
const RUN_BYTES: usize = 16 * 16 * THREADS as usize;
/// Sums that a warp of `sum_fixed` makes one of.
const GROUP: usize = 512;
/// Threads of the kernel that adds up what blocks left.
const GATHERING: u32 = 1024;

/// Elements of a block's run.
pub(super) const fn run_of<T: Real>() -> usize {
    RUN_BYTES / size_of::<T>()
}

/// Blocks that sum `n` elements: one of nothing, too, writes its sum.
fn runs<T: Real>(n: usize) -> usize {
    n.div_ceil(run_of::<T>()).max(1)
}

/// Adds the steps of a sum in some order to a program. `inputs` are one array, or two to be multiplied.
pub(super) fn add_steps<T: Real>(
    program: &mut Program,
    (op, order): (Reduction, Order),
    inputs: &[usize],
    out: usize,
    elements: usize,
) {
    let runs = runs::<T>(elements);
    let grid = blocks(runs, 1, i32::MAX.unsigned_abs());
    let dtype = T::DTYPE.cuda();
    let launch = |kernel: &str, blocks, threads, args: &[Arg]| {
        Launch::new(&SOURCE, format!("{kernel}<{dtype}>"), blocks, threads)
            .args(args.iter().copied())
    };
    let [a, b] = [inputs[0], inputs[inputs.len() - 1]].map(Arg::Buffer);
    let (n, out_arg) = (Arg::size(elements), Arg::Buffer(out));
    match order {
        Order::Runs => {
            let sums = Arg::Buffer(program.scratch("sums", T::DTYPE, runs));
            program.launch(launch("sum_runs", grid, THREADS, &[sums, a, n]));
            let args = [out_arg, sums, Arg::size(runs)];
            program.launch(launch("sum_of_sums", 1, GATHERING, &args));
        }
        Order::Blocks => add_fixed::<T>(program, op, [a, b], out_arg, elements),
        Order::Atomic => {
            program.cuda.push(Step::Set {
                buffer: out,
                byte: 0,
            });
            program.launch(launch("sum_atomic", grid, THREADS, &[out_arg, a, n]));
        }
        Order::Free => {}
    }
}

/// Adds the sum of the products of two buffers to a program, with the bits of the host's [`crate::ops::reduce`].
pub fn dot_as_on_host<T: Real>(program: &mut Program, inputs: [usize; 2], out: Arg, n: usize) {
    add_fixed::<T>(program, Reduction::Dot, inputs.map(Arg::Buffer), out, n);
}

fn add_fixed<T: Real>(program: &mut Program, op: Reduction, [a, b]: [Arg; 2], out: Arg, n: usize) {
    let runs = runs::<T>(n);
    let grid = blocks(runs, 1, i32::MAX.unsigned_abs());
    let sums = Arg::Buffer(program.scratch("sums", T::DTYPE, levels(runs)));
    let finished = Arg::Buffer(program.counters("finished", 1));
    let kernel = format!("sum_fixed<{}, {}>", T::DTYPE.cuda(), op == Reduction::Dot);
    let args = [out, sums, finished, a, b, Arg::size(n)];
    program.launch(Launch::new(&SOURCE, kernel, grid, THREADS).args(args));
}

/// Sums of all levels of the tree over what blocks leave.
fn levels(runs: usize) -> usize {
    if runs == 1 {
        1
    } else {
        runs + levels(runs.div_ceil(GROUP))
    }
}

/// Additions on the longest path through the sum of a run: those of a thread's lane and of its lanes, and of the block's
/// threads.
const RUN_HEIGHT: u64 = 16 + 1 + 2 + 8;

/// Additions on the longest path through a sum of `n` elements, one block after the other.
pub fn atomic_height<T: Real>(n: usize) -> u64 {
    RUN_HEIGHT + runs::<T>(n) as u64
}

/// Additions on the longest path through a sum in two steps.
pub fn runs_height<T: Real>(n: usize) -> u64 {
    RUN_HEIGHT + runs::<T>(n).div_ceil(GATHERING as usize) as u64 + 10
}

// A block of `sum_fixed` sums whole leaves, a power of two of them, so that the tree goes on over blocks.
const _: () = assert!(
    (RUN_BYTES / DType::F32.bytes() / BLOCK).is_power_of_two()
        && (RUN_BYTES / DType::F64.bytes() / BLOCK).is_power_of_two()
);
