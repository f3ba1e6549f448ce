// Access by random indices. Each thread has all its indices loaded, then all its elements, before it stores the first: as
// many random accesses as possible are on their way at once.
#include "common/cuda.cuh"

using namespace assay;

namespace indexed {

constexpr u32 THREADS = 256, PER_THREAD = 8;

// Calls `body(k, i)` for the elements `i` below `n` that are this thread's, a block's width apart. Most blocks are full, and
// ask only once.
template <class Body>
ASSAY_DEVICE void each(u64 n, Body body) {
    const u64 begin = u64(blockIdx.x) * (THREADS * PER_THREAD), first = begin + threadIdx.x;
    const u32 left = static_cast<u32>(minimum<u64>(n - begin, THREADS * PER_THREAD));
    if (left == THREADS * PER_THREAD) {
#pragma unroll
        for (u32 k = 0; k < PER_THREAD; ++k) body(k, first + k * THREADS);
    } else {
#pragma unroll
        for (u32 k = 0; k < PER_THREAD; ++k) {
            if (threadIdx.x + k * THREADS < left) body(k, first + k * THREADS);
        }
    }
}

}  // namespace indexed

// out[i] = table[index[i]], i < n
template <class T>
__global__ void gather(T* out, const T* table, const u32* index, u64 n) {
    u32 at[indexed::PER_THREAD] = {};
    T values[indexed::PER_THREAD] = {};
    indexed::each(n, [&](u32 k, u64 i) { at[k] = index[i]; });
    indexed::each(n, [&](u32 k, u64) { values[k] = table[at[k]]; });
    indexed::each(n, [&](u32 k, u64 i) { out[i] = values[k]; });
}

// out[index[i]] = in[i], i < n; no index occurs twice.
template <class T>
__global__ void scatter(T* out, const T* in, const u32* index, u64 n) {
    u32 at[indexed::PER_THREAD] = {};
    T values[indexed::PER_THREAD] = {};
    indexed::each(n, [&](u32 k, u64 i) { at[k] = index[i]; });
    indexed::each(n, [&](u32 k, u64 i) { values[k] = in[i]; });
    indexed::each(n, [&](u32 k, u64) { out[at[k]] = values[k]; });
}
