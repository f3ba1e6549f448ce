//! Mistakes put into the sources on purpose, each of which the emulation must notice.

mod attention;
mod learning;
mod ml;
mod synthetic;

use super::compiled::Watch;

/// A mistake.
pub struct Mutant {
    /// In words.
    pub what: &'static str,
    /// The op whose cases must fail.
    pub op: &'static str,
    /// The source, or a header that the op's sources include.
    pub path: &'static str,
    /// What stands there, once.
    pub from: &'static str,
    /// What is put in its place.
    pub to: &'static str,
}

impl Mutant {
    /// How its cases are run, that first in which it is likely to be noticed soon: accesses between which a barrier is missing race, and
    /// most others change results.
    pub fn ways(&self) -> [Watch; 3] {
        let barriers = |text: &str| text.matches("__sync").count();
        if barriers(self.from) > barriers(self.to) {
            [Watch::Races, Watch::Nothing, Watch::Memory]
        } else {
            [Watch::Nothing, Watch::Memory, Watch::Races]
        }
    }
}

pub use learning::{GRADIENTS, UNSOUND};

/// All that every op's own check is to notice.
pub fn all() -> impl Iterator<Item = &'static Mutant> {
    let of_learning = ml::ALL.iter().chain(attention::ALL);
    OTHERS.iter().chain(of_learning).chain(synthetic::ALL)
}

/// Mistakes in the sources of everything but machine learning.
const OTHERS: &[Mutant] = &[
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
        what: "every product of a batch with the first one's operands",
        op: "gemm-batched",
        path: "dense/gemm.cu",
        from: "*left = a + (at.matrix * m + row) * k, *right = b + at.matrix * k * n + column;",
        to: "*left = a + u64(row) * k, *right = b + column;",
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
    Mutant {
        what: "sums of leaves that are read before they are there",
        op: "sum",
        path: "order/sum.cu",
        from: "= of_leaf;\n    __syncthreads();",
        to: "= of_leaf;",
    },
    Mutant {
        what: "a block that takes itself for the last too early",
        op: "sum",
        path: "order/sum.cu",
        from: "atomicAdd(finished, 1) == gridDim.x - 1",
        to: "atomicAdd(finished, 1) == 0",
    },
    Mutant {
        what: "a look-back that leaves out the prefix it ends at",
        op: "scan",
        path: "order/scan.cu",
        from: "lane_number() <= nearest ? value",
        to: "lane_number() < nearest ? value",
    },
    Mutant {
        what: "sums of parts that are overwritten while a warp reads them",
        op: "scan",
        path: "order/scan.cu",
        from: "        before += total;\n        // Nobody overwrites what others have yet to read.\n        __syncthreads();",
        to: "        before += total;",
    },
    Mutant {
        what: "a counter that is read when it was changed",
        op: "radix-sort",
        path: "order/radix_sort.cu",
        from: "        __syncwarp();\n        if (lower == 0) counters",
        to: "        if (lower == 0) counters",
    },
    Mutant {
        what: "equal digits in the reverse order",
        op: "radix-sort",
        path: "order/radix_sort.cu",
        from: "__popc(same & lower_lanes);",
        to: "__popc(same & ~lower_lanes) - 1;",
    },
    Mutant {
        what: "a look-back that counts a tile twice",
        op: "radix-sort",
        path: "order/radix_sort.cu",
        from: "published + u64(other - 1) * DIGITS",
        to: "published + u64(other > 1 ? other - 2 : 0) * DIGITS",
    },
    Mutant {
        what: "counts without atomic operations",
        op: "histogram",
        path: "order/histogram.cu",
        from: "atomicAdd(own + value, 1u);",
        to: "own[value] += 1;",
    },
    Mutant {
        what: "a last chunk from which nothing is collected",
        op: "top-k",
        path: "order/top_k.cu",
        from: "own < count && maxima",
        to: "own + 1 < count && maxima",
    },
    Mutant {
        what: "a step of sorting that does not wait for the one before",
        op: "top-k",
        path: "order/top_k.cu",
        from: "            __syncthreads();\n            const u32 i = threadIdx.x, lower",
        to: "            const u32 i = threadIdx.x, lower",
    },
    Mutant {
        what: "factors that are read while they come",
        op: "gemm-skinny",
        path: "dense/gemv.cu",
        from: "        stage.store(tiles[turn]);\n        __syncthreads();\n        stage.load(first + Stage::DEPTH",
        to: "        stage.store(tiles[turn]);\n        stage.load(first + Stage::DEPTH",
    },
    Mutant {
        what: "a line that is read one element too far",
        op: "gemv",
        path: "dense/gemv.cu",
        from: "if (i < count) pack.at[e]",
        to: "if (i <= count) pack.at[e]",
    },
    Mutant {
        what: "a result stored behind the last",
        op: "gemv",
        path: "dense/gemv.cu",
        from: "% HOLDERS == 0 && index < out.count",
        to: "% HOLDERS == 0 && index <= out.count",
    },
    Mutant {
        what: "rows as long as a piece of them",
        op: "gemv",
        path: "dense/gemv.cu",
        from: "minimum(row + r, rows - 1) * cols;",
        to: "minimum(row + r, rows - 1) * piece;",
    },
    Mutant {
        what: "pieces that are added up before all see them",
        op: "gemm-skinny",
        path: "dense/gemv.cu",
        from: "            __threadfence();\n            last = atomicAdd",
        to: "            last = atomicAdd",
    },
    Mutant {
        what: "a window that is turned round",
        op: "conv2d-backward",
        path: "dense/conv2d_backward.cu",
        from: "const u32 left = w + padding - s;",
        to: "const u32 left = w + s - padding;",
    },
    Mutant {
        what: "a border that is one pixel too wide",
        op: "conv2d-backward",
        path: "dense/conv2d_backward.cu",
        from: "if (w < padding || w - padding >= width) continue;",
        to: "if (w < padding || w - padding > width) continue;",
    },
    Mutant {
        what: "filters that are multiplied before they are there",
        op: "conv2d",
        path: "dense/conv2d.cu",
        from: "first, first_filter);\n            __syncthreads();",
        to: "first, first_filter);",
    },
    Mutant {
        what: "a tile of windows that is overwritten while a warp multiplies it",
        op: "conv2d",
        path: "dense/conv2d.cu",
        from: "if (has_next) carried.store(tiles[turn]);\n        __syncthreads();",
        to: "if (has_next) carried.store(tiles[turn]);",
    },
    Mutant {
        what: "a border that begins a line too late",
        op: "conv2d",
        path: "dense/conv2d.cu",
        from: "static_cast<u32>(line) < height",
        to: "static_cast<u32>(line) <= height",
    },
    Mutant {
        what: "a store of one filter too many",
        op: "conv2d",
        path: "dense/conv2d.cu",
        from: "if (i < count) to[i] = from[i];",
        to: "if (i <= count) to[i] = from[i];",
    },
    Mutant {
        what: "windows side by side, whatever the stride",
        op: "conv2d",
        path: "dense/conv2d.cu",
        from: "column * shape.stride) * PITCH",
        to: "column) * PITCH",
    },
    Mutant {
        what: "a place that goes on to the next line of a window too late",
        op: "conv2d",
        path: "dense/conv2d.cu",
        from: "if (s == shape.kernel) {",
        to: "if (s > shape.kernel) {",
    },
];
