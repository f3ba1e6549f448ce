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
        what: "a removed barrier between writing and reading a tile",
        op: "transpose",
        path: "shared/transpose.cu",
        from: "[threadIdx.x] = values[k];\n    __syncthreads();",
        to: "[threadIdx.x] = values[k];",
    },
    Mutant {
        what: "an edge that lets one row too many through",
        op: "transpose",
        path: "shared/transpose.cu",
        from: "if (r < rows && c < cols) values[k] = in[r * cols + c];\n    }\n#pragma unroll\n    for (u32 k = 0; k < TILE / HEIGHT; ++k) tile",
        to: "if (r <= rows && c < cols) values[k] = in[r * cols + c];\n    }\n#pragma unroll\n    for (u32 k = 0; k < TILE / HEIGHT; ++k) tile",
    },
    Mutant {
        what: "lanes that write to each other's words",
        op: "bank-conflict",
        path: "shared/bank_conflict.cu",
        from: "words + threadIdx.x * stride;",
        to: "words + threadIdx.x;",
    },
    Mutant {
        what: "elements one place too late in a strided copy",
        op: "strided",
        path: "memory/strided.cu",
        from: "place = first * stride;",
        to: "place = first * stride + (first > 0 ? 1 : 0);",
    },
    Mutant {
        what: "a chase that walks one step too few",
        op: "pointer-chase",
        path: "memory/pointer_chase.cu",
        from: "for (u64 step = 1; step < steps; ++step) {",
        to: "for (u64 step = 2; step < steps; ++step) {",
    },
];
