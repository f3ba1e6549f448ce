// Every `stride`-th element of an array, read, written or copied. `data`, `in` and `out` are the addresses of the first
// element that is used, which need not be aligned to more than an element.
#include "common/cuda.cuh"

using namespace assay;

namespace strided {

constexpr u32 THREADS = 256;
// Elements whose sum is one result: a block reads as many.
constexpr u32 CHUNK = 4096;
constexpr u32 PER_THREAD = 8;

// What stands at element `i` after a write.
ASSAY_DEVICE void set(u32& out, u64 i) { out = u32(i) * 0x9e3779b1u; }
ASSAY_DEVICE void set(u64& out, u64 i) { out = i * 0x9e3779b97f4a7c15u; }

// The sum over all threads of a block, in its first.
template <class T>
ASSAY_DEVICE T block_sum(T sum) {
    __shared__ T warps[THREADS / 32];
    for (u32 distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(~0u, sum, distance);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return sum;
    for (u32 warp = 1; warp < THREADS / 32; ++warp) sum += warps[warp];
    return sum;
}

}  // namespace strided

// sums[k]: of the elements numbered k CHUNK to (k + 1) CHUNK - 1, wrapping.
template <class T>
__global__ void strided_read(T* sums, const T* data, u64 n, u64 stride) {
    using namespace strided;
    const u64 first = u64(blockIdx.x) * CHUNK + threadIdx.x;
    T values[CHUNK / THREADS] = {};
#pragma unroll
    for (u32 k = 0; k < CHUNK / THREADS; ++k) {
        const u64 i = first + k * THREADS;
        if (i < n) values[k] = data[i * stride];
    }
    T sum = 0;
#pragma unroll
    for (u32 k = 0; k < CHUNK / THREADS; ++k) sum += values[k];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <class T>
__global__ void strided_write(T* out, u64 n, u64 stride) {
    using namespace strided;
    const u64 first = u64(blockIdx.x) * (THREADS * PER_THREAD) + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * THREADS;
        if (i < n) set(out[i * stride], i);
    }
}

template <class T>
__global__ void strided_copy(T* out, const T* in, u64 n, u64 stride) {
    using namespace strided;
    const u64 first = u64(blockIdx.x) * (THREADS * PER_THREAD) + threadIdx.x;
    T values[PER_THREAD] = {};
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * THREADS;
        if (i < n) values[k] = in[i * stride];
    }
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * THREADS;
        if (i < n) out[i * stride] = values[k];
    }
}
