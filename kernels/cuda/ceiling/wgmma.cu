// Chains of multiplications of sm_90a's tensor cores, their operands in shared memory: each warp group has 64 by 256
// accumulators that start as whole numbers and go through C += A B and C += A B' in turn. All elements of A, of B and of B' are
// the same, so that every accumulator gains as much, whatever the order in which registers hold them.
#include "common/wgmma.cuh"

using namespace assay;

namespace ceiling {

constexpr u32 THREADS = 128, PER_THREAD = 128;
/// A of 64 lines of 128 bytes; B and B' of 256 lines, of which the first half is B's. An instruction takes 32 bytes of each.
constexpr u32 A_BYTES = 64 * 128, B_BYTES = 256 * 128, SHARED_BYTES = A_BYTES + B_BYTES, ALIGNMENT = 1024;

/// The whole number that an accumulator starts with, from -2048 to -1025.
ASSAY_DEVICE i32 start(u32 word) { return static_cast<i32>(word & 1023) - 2048; }

/// Fills the operands: `first` of the 8 chunks of 16 bytes of each line that are B's, with the rest B' for the second.
ASSAY_DEVICE void fill(uint4* shared, const u32* operands) {
    for (u32 i = threadIdx.x; i < SHARED_BYTES / 16; i += THREADS) {
        const u32 line = i / 8, chunk = i % 8 ^ line % 8;
        const u32 word = i < A_BYTES / 16 ? operands[0] : chunk < 4 ? operands[1] : operands[2];
        shared[i] = make_uint4(word, word, word, word);
    }
}

}  // namespace ceiling

/// out[i] = start(in[i]) after `steps` multiplications, i < n. The operands are a register full of elements of A, of B and of
/// B'.
template <class Kind>
__global__ void __launch_bounds__(ceiling::THREADS)
    multiply_groups(typename Kind::Accumulator* out, const u32* in, const u32* operands, u64 n, u32 steps) {
    using namespace ceiling;
    using Accumulator = typename Kind::Accumulator;
    ASSAY_DYNAMIC_SHARED(u8, memory);
    u8* const shared = memory + (ALIGNMENT - reinterpret_cast<u64>(memory) % ALIGNMENT) % ALIGNMENT;
    fill(reinterpret_cast<uint4*>(shared), operands);
    const u64 first = u64(blockIdx.x) * THREADS * PER_THREAD + threadIdx.x;
    Accumulator c[PER_THREAD];
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * THREADS;
        c[k] = i < n ? static_cast<Accumulator>(start(in[i])) : Accumulator();
    }
    publish_shared();
    __syncthreads();
    const SharedMatrix a = SharedMatrix::at(shared, 16, 1024), odd = SharedMatrix::at(shared + A_BYTES, 16, 1024);
    const SharedMatrix even = odd.advanced(64);
    GroupMultiplications<Kind> multiplications;
    constexpr u32 AT_ONCE = 32;
    u32 remaining = steps;
#pragma unroll 1
    for (; remaining >= AT_ONCE; remaining -= AT_ONCE) {
        multiplications.begin(c);
#pragma unroll
        for (u32 step = 0; step < AT_ONCE; ++step) multiplications.multiply(KMajor(), c, a, step % 2 == 0 ? odd : even);
        multiplications.commit();
        multiplications.template wait<0>(c);
    }
#pragma unroll 1
    for (u32 step = 0; step < remaining; ++step) {
        multiplications.begin(c);
        multiplications.multiply(KMajor(), c, a, step % 2 == 0 ? odd : even);
        multiplications.commit();
        multiplications.template wait<0>(c);
    }
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * THREADS;
        if (i < n) out[i] = c[k];
    }
}
