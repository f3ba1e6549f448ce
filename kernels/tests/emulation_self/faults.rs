//! Launches of the kernels in `kernels/emulation/tests/faults.cpp` that end in words.

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
