//! Mistakes put into the sources on purpose, each of which the emulation must notice.

/// A mistake.
pub struct Mutant {
    /// In words.
    pub what: &'static str,
    /// The op whose cases must fail.
    pub op: &'static str,
    /// The source.
    pub path: &'static str,
    /// What stands there, once.
    pub from: &'static str,
    /// What is put in its place.
    pub to: &'static str,
}

/// All of them.
pub const ALL: &[Mutant] = &[
    Mutant {
        what: "a load one element too far",
        op: "stream-copy",
        path: "memory/stream.cu",
        from: "a[k] = first[i];",
        to: "a[k] = first[i + 1];",
    },
    Mutant {
        what: "a bound that lets one element too many through",
        op: "stream-triad",
        path: "memory/stream.cu",
        from: "if (i < count) out[i] = apply",
        to: "if (i <= count) out[i] = apply",
    },
    Mutant {
        what: "a stride that leaves gaps",
        op: "stream-add",
        path: "memory/stream.cu",
        from: "const u64 base = u64(blockIdx.x) * blockDim.x * PER_THREAD + threadIdx.x;",
        to: "const u64 base = u64(blockIdx.x) * blockDim.x * PER_THREAD + 2 * threadIdx.x;",
    },
    Mutant {
        what: "a tail that is left out",
        op: "stream-mul",
        path: "memory/stream.cu",
        from: "if (blockIdx.x == gridDim.x - 1 && i < n) {",
        to: "if (blockIdx.x == gridDim.x - 1 && i + 1 < n) {",
    },
    Mutant {
        what: "a launch that leaves two traces",
        op: "launch-graph",
        path: "system/launch.cu",
        from: "*counter += 1;",
        to: "*counter += 2;",
    },
    Mutant {
        what: "an operation of a chain left out",
        op: "fusion-chain",
        path: "system/fusion.cu",
        from: "u32 step = 0; step <",
        to: "u32 step = 1; step <",
    },
    Mutant {
        what: "a copy that goes one element too far",
        op: "occupancy-sweep",
        path: "system/occupancy.cu",
        from: "if (i < n) out[i] = x[k];",
        to: "if (i <= n) out[i] = x[k];",
    },
];
