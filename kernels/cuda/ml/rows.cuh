// What kernels of machine learning share: 16 bytes of any type as floats, and sums and maxima over a block that all of its
// threads get. Blocks have one dimension and whole warps; every thread of the block calls.
#pragma once

#include "common/block.cuh"
#include "common/half.cuh"

namespace assay {

constexpr float MINUS_INFINITY = -__builtin_huge_valf();

/// Pack `index` of an array, widened.
template <class T>
struct Floats {
    static constexpr int WIDTH = Pack<T>::WIDTH;
    float at[WIDTH];

    ASSAY_DEVICE void load(const T* from, u64 index) {
        const Pack<T> pack = reinterpret_cast<const Pack<T>*>(from)[index];
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) at[i] = static_cast<float>(pack.at[i]);
    }

    ASSAY_DEVICE void store(T* to, u64 index) const {
        Pack<T> pack;
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) pack.at[i] = T(at[i]);
        reinterpret_cast<Pack<T>*>(to)[index] = pack;
    }
};

struct Sum {
    static __device__ float identity() { return 0.0f; }
    static __device__ float combine(float a, float b) { return a + b; }
};

/// Of numbers: what is none is left out, and shows elsewhere.
struct Maximum {
    static __device__ float identity() { return MINUS_INFINITY; }
    static __device__ float combine(float a, float b) { return fmaxf(a, b); }
};

/// Over adjacent lanes, `LANES` of them, in each of them.
template <class How, u32 LANES = WARP>
ASSAY_DEVICE float warp_all(float value) {
#pragma unroll
    for (u32 apart = 1; apart < LANES; apart *= 2) value = How::combine(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

/// Over a block of `THREADS`, in each of its threads, with the same bits. `parts` has an element a warp, and can be used again at
/// once.
template <class How, u32 THREADS>
ASSAY_DEVICE float block_all(float value, float* parts) {
    static_assert(THREADS % WARP == 0 && THREADS <= WARP * WARP, "whole warps, one warp of them");
    value = warp_all<How>(value);
    if (lane_number() == 0) parts[warp_number()] = value;
    __syncthreads();
    value = warp_all<How>(lane_number() < THREADS / WARP ? parts[lane_number()] : How::identity());
    __syncthreads();
    return value;
}

}  // namespace assay
