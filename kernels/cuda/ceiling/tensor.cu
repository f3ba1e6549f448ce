// Chains of multiplications of tensor cores, their operands in registers: 16 by 8 accumulators start as whole numbers and go
// through C += A B and C += A B' in turn. All elements of A, of B and of B' are the same, so that every accumulator gains
// as much, whatever the order in which registers hold them. A warp has 8 chains, which hide each other's latency.
#include "common/tensor.cuh"

using namespace assay;

namespace ceiling {

constexpr u32 THREADS = 128, CHAINS = 8, PER_THREAD = 4 * CHAINS;

/// The whole number that an accumulator starts with, from -2048 to -1025.
ASSAY_DEVICE i32 start(u32 word) { return static_cast<i32>(word & 1023) - 2048; }

}  // namespace ceiling

/// out[i] = start(in[i]) after `steps` multiplications, i < n. The operands are a register full of elements of A, of B and of
/// B'. They come from memory, since arguments would be fetched anew in every round.
template <class Kind>
__global__ void __launch_bounds__(ceiling::THREADS)
    multiply_matrices(typename Kind::Accumulator* out, const u32* in, const u32* operands, u64 n, u32 steps) {
    using namespace ceiling;
    using Accumulator = typename Kind::Accumulator;
    const u64 first = u64(blockIdx.x) * THREADS * PER_THREAD + threadIdx.x;
    const u32 a = operands[0], b = operands[1], c = operands[2];
    const u32 left[4] = {a, a, a, a}, odd[2] = {b, b}, even[2] = {c, c};
    Accumulator chains[CHAINS][4];
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * THREADS;
        chains[k / 4][k % 4] = i < n ? static_cast<Accumulator>(start(in[i])) : Accumulator();
    }
    u32 remaining = steps;
    constexpr u32 AT_ONCE = 16;
#pragma unroll 1
    for (; remaining >= AT_ONCE; remaining -= AT_ONCE) {
#pragma unroll
        for (u32 step = 0; step < AT_ONCE; ++step) {
#pragma unroll
            for (u32 k = 0; k < CHAINS; ++k) multiply<Kind>(chains[k], left, step % 2 == 0 ? odd : even);
        }
    }
#pragma unroll 1
    for (u32 step = 0; step < remaining; ++step) {
#pragma unroll
        for (u32 k = 0; k < CHAINS; ++k) multiply<Kind>(chains[k], left, step % 2 == 0 ? odd : even);
    }
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * THREADS;
        if (i < n) out[i] = chains[k / 4][k % 4];
    }
}
