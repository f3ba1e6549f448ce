//! What the emulation must refuse: launches of the kernels in `kernels/emulation/tests/faults.cpp` that end in words, those
//! that race, and jobs that are none.

use super::job::Launch;

/// A launch that cannot go well.
pub struct Fault {
    pub kernel: Launch<'static>,
    /// How many words each buffer has.
    pub words_of_buffers: &'static [u32],
    /// What is said of it; the first of these in any order of threads.
    pub expected: &'static [&'static str],
}

const fn fault(
    kernel: Launch<'static>,
    words_of_buffers: &'static [u32],
    expected: &'static [&'static str],
) -> Fault {
    Fault {
        kernel,
        words_of_buffers,
        expected,
    }
}

const IN: &str = "buffer 0 0";
const OUT: &str = "buffer 1 0";

pub const FAULTS: &[Fault] = &[
    fault(
        Launch::new("copy_beyond", 1, 32, &[IN, OUT, "u32 14", "u32 13"]),
        &[13, 13],
        &[
            "heap-buffer-overflow",
            "READ of size 4",
            "while running copy_beyond, block (0, 0, 0), thread (13, 0, 0)",
        ],
    ),
    fault(
        Launch::new("copy_beyond", 1, 32, &[IN, OUT, "u32 13", "u32 14"]),
        &[13, 13],
        &["heap-buffer-overflow", "WRITE of size 4"],
    ),
    // An empty buffer.
    fault(
        Launch::new("copy_beyond", 1, 1, &[IN, OUT, "u32 1", "u32 0"]),
        &[0, 13],
        &["use-after-poison", "READ of size 4"],
    ),
    fault(
        Launch {
            kernel: "transpose_square",
            grid: [1; 3],
            block: [8, 8, 1],
            shared_bytes: 0,
            arguments: &[IN, OUT, "u32 8", "u32 9"],
        },
        &[64, 64],
        &["heap-buffer-overflow", "in transpose_square"],
    ),
    fault(
        Launch::new("beyond_static", 1, 1, &[IN, "u32 4"]),
        &[1],
        &["index 4 out of bounds for type 'unsigned int [4]'"],
    ),
    fault(
        Launch::new("beyond_static_pointer<float>", 1, 1, &[IN, "u32 4"]),
        &[1],
        &["global-buffer-overflow", "WRITE of size 4"],
    ),
    fault(
        Launch::new("beyond_dynamic", 1, 1, &[IN, "u32 3"]).shared(12),
        &[1],
        &["heap-buffer-overflow", "WRITE of size 4"],
    ),
    fault(
        Launch::new("beyond_dynamic", 1, 1, &[IN, "u32 0"]),
        &[1],
        &["use-after-poison", "WRITE of size 4"],
    ),
    fault(
        Launch::new("misaligned", 1, 1, &[IN, OUT]),
        &[8, 4],
        &["misaligned address", "uint4"],
    ),
    fault(
        Launch::new("barrier_for_some", 1, 64, &[IN]),
        &[1],
        &[
            "barrier_for_some, block (0, 0, 0): divergent barrier: of 64 threads, 40 wait in __syncthreads at ",
            "24 ended",
        ],
    ),
    fault(
        Launch::new("barriers_in_two_places", 1, 64, &[IN]),
        &[1],
        &["divergent barrier: thread (", "waits in __syncthreads at "],
    ),
    fault(
        Launch::new("barrier_and_shuffle", 1, 32, &[IN]),
        &[32],
        &[
            "deadlock: of 32 threads, 31 wait in __shfl_sync at ",
            "1 wait in __syncthreads at ",
            "thread (3, 0, 0)",
        ],
    ),
    fault(
        Launch::new("mask_without_caller", 1, 32, &[IN]),
        &[32],
        &[
            "calls it with mask 0000ffff, which leaves it out",
            "__ballot_sync at ",
        ],
    ),
    fault(
        Launch::new("two_masks", 1, 32, &[IN]),
        &[32],
        &[
            "deadlock",
            "1 wait in __ballot_sync",
            "with mask 000000ff (the first is thread (0, 0, 0))",
        ],
    ),
    fault(
        Launch::new("trapping", 1, 1, &[IN]),
        &[1],
        &["trapping, block (0, 0, 0): the kernel trapped"],
    ),
];

/// Kernels of `faults.cpp` that race, the blocks they need, and the memory that they race for.
pub const RACES: &[(&str, u32, &[&str], &str)] = &[
    (
        "reverse_block<false>",
        1,
        &["buffer 0 0", "buffer 1 0"],
        "of a shared variable: thread (",
    ),
    (
        "racing_sum",
        1,
        &["buffer 0 0"],
        "byte 0 of a shared variable: thread (",
    ),
    (
        "racing_store",
        1,
        &["buffer 0 0"],
        "byte 0 of a shared variable: thread (",
    ),
    (
        "plain_count",
        1,
        &["buffer 0 0", "buffer 1 0"],
        "byte 0 of a shared variable: thread (",
    ),
    (
        "unordered_atomics",
        1,
        &["buffer 0 0"],
        "atomically wrote it at ",
    ),
    (
        "blocks_add",
        2,
        &["buffer 0 0"],
        "byte 0 of buffer 0: thread (0, 0, 0) ",
    ),
    (
        "last_block_sums<false>",
        5,
        &["buffer 0 0", "buffer 1 0", "buffer 1 4"],
        "of buffer 0: thread (1, 0, 0) reads it at ",
    ),
];

/// Jobs that are not as they should be, and what is said of them.
pub const REFUSED: &[(&str, &str)] = &[
    ("hello\n", "job 1, line 1 (`hello`): a job begins with"),
    ("job sideways 1 0 0\n", "the order is none of"),
    ("job forward 1 0\n", "NSTEPS is no number"),
    ("job forward 1 0 0 0\n", "`0` is left over"),
    ("job forward  1 0 0\n", "SEED is no number"),
    (
        "job forward 1 1 0\nbuffer -1\n",
        "line 2 (`buffer -1`): BYTES is no number",
    ),
    ("job forward 1 5000 0\n", "NBUFFERS is more than 4096"),
    (
        "job forward 1 1 0\nbuffer 99999999999999999999\n",
        "BYTES is more than",
    ),
    (
        "job forward 1 1 0\nbuffer 4\nabc",
        "ends within the bytes of the buffers",
    ),
    (
        "job forward 1 0 1\nwait\n",
        "a step is `launch`, `set` or `copy`",
    ),
    ("job forward 1 0 1\nset 0 1\n", "there are 0 buffers"),
    (
        "job forward 1 1 1\nbuffer 1\nset 0 256\n",
        "BYTE is more than 255",
    ),
    (
        "job forward 1 2 1\nbuffer 1\nbuffer 2\ncopy 0 1\n",
        "have 1 and 2 bytes",
    ),
    (
        "job forward 1 0 1\nlaunch 1 1 1 1 1 1 0 0 absent\n",
        "no kernel of that name",
    ),
    (
        "job forward 1 0 1\nlaunch 1 1 1 1 1 1 0 0 racing_sum\n",
        "the kernel takes 1 arguments",
    ),
    (
        "job forward 1 0 1\nlaunch 1 1 1 1 1 1 0 1 racing_sum\nu64 1\n",
        "parameter 0 of racing_sum is a pointer",
    ),
    (
        "job forward 1 1 1\nbuffer 4\nlaunch 1 1 1 1 1 1 0 1 racing_sum\nbuffer 0 5\n",
        "BYTEOFFSET is more than 4",
    ),
    (
        "job forward 1 0 1\nlaunch 1 1 1 1 1 1 0 1 racing_sum\npointer 1\n",
        "an argument is `buffer`",
    ),
    (
        "job forward 1 0 1\nlaunch 1 1 1 1 1 1 0 1 racing_sum\n",
        "job 1: the input ends within the job",
    ),
    ("job forward", "the input ends within a line"),
];
