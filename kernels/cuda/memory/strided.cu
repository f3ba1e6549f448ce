// Every `stride`-th element of an array, read, written or copied. `data`, `in` and `out` are the addresses of the first
// element that is used, which need not be aligned to more than an element.
#include "common/cuda.cuh"

using namespace assay;

namespace strided {

constexpr u32 THREADS = 256;
// Elements whose sum is one result: a block reads as many.
constexpr u32 CHUNK = 4096;
constexpr u32 PER_THREAD = 8;

// The COUNT elements of a thread, a block's width apart.
template <u32 COUNT>
struct Elements {
    // Number and place of the first, and places from one to the next.
    u64 first, place, step;
    // How many of the block's there are.
    u32 left;

    ASSAY_DEVICE Elements(u64 n, u64 stride) {
        const u64 begin = u64(blockIdx.x) * (THREADS * COUNT);
        first = begin + threadIdx.x;
        place = first * stride;
        step = THREADS * stride;
        left = static_cast<u32>(minimum<u64>(n - begin, THREADS * COUNT));
    }

    // Calls `body(k, place, i)` for the thread's k-th element, element `i` of all. Most blocks are full, and ask only once.
    template <class Body>
    ASSAY_DEVICE void each(Body body) const {
        if (left == THREADS * COUNT) {
#pragma unroll
            for (u32 k = 0; k < COUNT; ++k) body(k, place + k * step, first + k * THREADS);
        } else {
#pragma unroll
            for (u32 k = 0; k < COUNT; ++k) {
                if (threadIdx.x + k * THREADS < left) body(k, place + k * step, first + k * THREADS);
            }
        }
    }
};

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
    constexpr u32 COUNT = CHUNK / THREADS;
    T values[COUNT] = {};
    const Elements<COUNT> mine(n, stride);
    mine.each([&](u32 k, u64 place, u64) { values[k] = data[place]; });
    T sum = 0;
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) sum += values[k];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <class T>
__global__ void strided_write(T* out, u64 n, u64 stride) {
    using namespace strided;
    const Elements<PER_THREAD> mine(n, stride);
    mine.each([&](u32, u64 place, u64 i) { set(out[place], i); });
}

template <class T>
__global__ void strided_copy(T* out, const T* in, u64 n, u64 stride) {
    using namespace strided;
    T values[PER_THREAD] = {};
    const Elements<PER_THREAD> mine(n, stride);
    mine.each([&](u32 k, u64 place, u64) { values[k] = in[place]; });
    mine.each([&](u32 k, u64 place, u64) { out[place] = values[k]; });
}
