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
    Mutant {
        what: "a tile of the level that nobody reads",
        op: "peak-bandwidth",
        path: "ceiling/bandwidth.cu",
        from: "turn += gridDim.x) {",
        to: "turn += gridDim.x + 1) {",
    },
    Mutant {
        what: "a chunk that two warps read in turn",
        op: "peak-bandwidth",
        path: "ceiling/bandwidth.cu",
        from: "chunk = (chunk + 1) % WARPS;",
        to: "chunk = (chunk + 2) % WARPS;",
    },
    Mutant {
        what: "a piece that is read before it is copied",
        op: "peak-bandwidth",
        path: "ceiling/bandwidth.cu",
        from: "    __syncthreads();\n    const uint4* whole = piece;",
        to: "    const uint4* whole = piece;",
    },
    Mutant {
        what: "a step that is left out",
        op: "peak-arithmetic",
        path: "ceiling/lanes.cu",
        from: "for (u32 step = 0; step < left; ++step) {",
        to: "for (u32 step = 1; step < left; ++step) {",
    },
    Mutant {
        what: "a multiplication of tensor cores that is left out",
        op: "peak-tensor",
        path: "ceiling/tensor.cu",
        from: "for (u32 step = 0; step < remaining; ++step) {",
        to: "for (u32 step = 1; step < remaining; ++step) {",
    },
    Mutant {
        what: "operands that tensor cores cannot see yet",
        op: "peak-tensor",
        path: "ceiling/wgmma.cu",
        from: "    publish_shared();\n    __syncthreads();",
        to: "    publish_shared();",
    },
    Mutant {
        what: "a column of a product too many",
        op: "gemm",
        path: "dense/gemm.cu",
        from: "if (at_column + s < n) to[s] = from[s];",
        to: "if (at_column + s <= n) to[s] = from[s];",
    },
    Mutant {
        what: "a tile of a product that is stored before all read the last",
        op: "gemm",
        path: "dense/gemm.cu",
        from: "        if (has_next) carried.store(tiles[turn]);\n        __syncthreads();",
        to: "        if (has_next) carried.store(tiles[turn]);",
    },
    Mutant {
        what: "lines of a product of the wrong length",
        op: "gemm",
        path: "dense/gemm.cu",
        from: "b_step = u64(8) * n;",
        to: "b_step = u64(8) * k;",
    },
    Mutant {
        what: "a tile for tensor cores that has not arrived",
        op: "gemm",
        path: "dense/gemm_tensor.cu",
        from: "        stage = (stage + 1) % STAGES;\n        copies.wait<STAGES - 2>();",
        to: "        stage = (stage + 1) % STAGES;\n        copies.wait<STAGES - 1>();",
    },
    Mutant {
        what: "a stage that is overwritten while a warp reads it",
        op: "gemm",
        path: "dense/gemm_tensor.cu",
        from: "        __syncthreads();\n        fragments[0].load(shared + stage * STAGE_BYTES, row, column, 0);",
        to: "        fragments[0].load(shared + stage * STAGE_BYTES, row, column, 0);",
    },
    Mutant {
        what: "operands of tensor cores in the wrong order",
        op: "gemm",
        path: "dense/gemm_tensor.cu",
        from: "column / 8 + lane / 16));",
        to: "column / 8 + (lane / 8) % 2));",
    },
    Mutant {
        what: "a stage that is overwritten while a group multiplies it",
        op: "gemm",
        path: "dense/gemm_wgmma.cu",
        from: "multiplications.template wait<1>(sums);",
        to: "multiplications.template wait<2>(sums);",
    },
    Mutant {
        what: "a tile for a group that has not arrived",
        op: "gemm",
        path: "dense/gemm_wgmma.cu",
        from: "copies.wait<STAGES - 3>();",
        to: "copies.wait<STAGES - 2>();",
    },
    Mutant {
        what: "pieces of B in the wrong place",
        op: "gemm",
        path: "dense/gemm_wgmma.cu",
        from: "Block::PIECE_BYTES, 8 * LINE);",
        to: "16, 8 * LINE);",
    },
];
