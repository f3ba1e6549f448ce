// How often each value is there.
//
//   shared  each block counts in shared memory, its warps in copies as far as there is room, and adds what it has to the
//           result.
//   global  every element adds to the result.
#include "common/block.cuh"

using namespace assay;

namespace histogram {

constexpr u32 THREADS = 256;
/// Loads of 16 bytes that a thread has in flight.
constexpr u32 IN_FLIGHT = 4;

/// Calls `count` with every element, each in some thread of the grid.
template <class Count>
ASSAY_DEVICE void each(const u32* in, u64 n, Count count) {
    constexpr u32 WIDTH = Pack<u32>::WIDTH;
    const u64 packs = n / WIDTH;
    for (u64 first = grid_thread(); first < packs; first += grid_threads() * IN_FLIGHT) {
        Pack<u32> loaded[IN_FLIGHT];
#pragma unroll
        for (u32 k = 0; k < IN_FLIGHT; ++k) {
            const u64 i = first + k * grid_threads();
            if (i < packs) loaded[k] = reinterpret_cast<const Pack<u32>*>(in)[i];
        }
#pragma unroll
        for (u32 k = 0; k < IN_FLIGHT; ++k) {
            if (first + k * grid_threads() < packs) {
#pragma unroll
                for (u32 j = 0; j < WIDTH; ++j) count(loaded[k].at[j]);
            }
        }
    }
    const u64 left_over = packs * WIDTH + threadIdx.x;
    if (blockIdx.x == 0 && left_over < n) count(in[left_over]);
}

}  // namespace histogram

// bins[x] += 1 for each x of in, all below `count`; shared memory has `copies` of the bins
__global__ void __launch_bounds__(histogram::THREADS)
histogram_shared(u32* bins, const u32* in, u32 count, u32 copies, u64 n) {
    ASSAY_DYNAMIC_SHARED(u32, counts);
    for (u32 i = threadIdx.x; i < count * copies; i += histogram::THREADS) counts[i] = 0;
    __syncthreads();
    u32* const own = counts + warp_number() % copies * count;
    histogram::each(in, n, [own](u32 value) { atomicAdd(own + value, 1u); });
    __syncthreads();
    for (u32 bin = threadIdx.x; bin < count; bin += histogram::THREADS) {
        u32 sum = 0;
        for (u32 copy = 0; copy < copies; ++copy) sum += counts[copy * count + bin];
        if (sum != 0) atomicAdd(bins + bin, sum);
    }
}

// bins[x] += 1 for each x of in
__global__ void __launch_bounds__(histogram::THREADS) histogram_global(u32* bins, const u32* in, u64 n) {
    histogram::each(in, n, [bins](u32 value) { atomicAdd(bins + value, 1u); });
}
