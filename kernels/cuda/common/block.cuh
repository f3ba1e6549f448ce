// What the threads of a warp and of a block do together: sums, and sums of all before. Blocks have one dimension and
// whole warps; every thread of the warp or block calls.
#pragma once

#include "common/cuda.cuh"

namespace assay {

constexpr u32 WARP = 32;
constexpr u32 ALL_LANES = 0xFFFFFFFF;

/// 16 bytes of T, which move at once.
template <typename T>
struct alignas(16) Pack {
    static constexpr int WIDTH = 16 / sizeof(T);
    T at[WIDTH];
};

ASSAY_DEVICE u32 lane_number() { return threadIdx.x % WARP; }
ASSAY_DEVICE u32 warp_number() { return threadIdx.x / WARP; }

/// The sum over adjacent lanes, `LANES` of them, in each of them: pairs, pairs of pairs, and so on.
template <typename T, u32 LANES = WARP>
ASSAY_DEVICE T warp_sum(T value) {
#pragma unroll
    for (u32 apart = 1; apart < LANES; apart *= 2) value = value + __shfl_xor_sync(ALL_LANES, value, apart);
    return value;
}

/// The sum over a block of `THREADS`, in its first warp. `parts` has an element a warp; it can be used again after a
/// barrier.
template <typename T, u32 THREADS>
ASSAY_DEVICE T block_sum(T value, T* parts) {
    static_assert(THREADS % WARP == 0 && THREADS <= WARP * WARP, "whole warps, one warp of them");
    value = warp_sum(value);
    if (lane_number() == 0) parts[warp_number()] = value;
    __syncthreads();
    if (warp_number() == 0) value = warp_sum(lane_number() < THREADS / WARP ? parts[lane_number()] : T());
    return value;
}

/// The sum over the lanes up to and with this one.
template <typename T>
ASSAY_DEVICE T warp_inclusive_sum(T value) {
#pragma unroll
    for (u32 apart = 1; apart < WARP; apart *= 2) {
        const T before = __shfl_up_sync(ALL_LANES, value, apart);
        if (lane_number() >= apart) value = value + before;
    }
    return value;
}

/// The sum over the threads before this one; `total` is that over all of the block. `parts` has an element a warp and
/// one more; it can be used again after a barrier. A multiple of 32 threads, not more than 1024.
template <typename T, u32 THREADS>
ASSAY_DEVICE T block_exclusive_sum(T value, T* parts, T& total) {
    constexpr u32 WARPS = THREADS / WARP;
    static_assert(THREADS % WARP == 0 && WARPS <= WARP, "whole warps, one warp of them");
    const T inclusive = warp_inclusive_sum(value);
    if (lane_number() == WARP - 1) parts[warp_number()] = inclusive;
    __syncthreads();
    if (warp_number() == 0) {
        const T of_warp = lane_number() < WARPS ? parts[lane_number()] : T();
        const T to_warp = warp_inclusive_sum(of_warp);
        if (lane_number() < WARPS) parts[lane_number()] = to_warp - of_warp;
        if (lane_number() == WARPS - 1) parts[WARPS] = to_warp;
    }
    __syncthreads();
    total = parts[WARPS];
    return parts[warp_number()] + (inclusive - value);
}

}  // namespace assay
