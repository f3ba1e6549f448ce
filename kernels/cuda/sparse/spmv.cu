// A sparse matrix in CSR times a vector: row r has the non-zeros offsets[r] to offsets[r + 1] - 1.
#include "common/cuda.cuh"

using namespace assay;

// A thread per row. Neighbouring threads read apart, and the longest of 32 rows holds up the others.
template <class T>
__global__ void spmv_scalar(T* __restrict__ y, const u32* __restrict__ offsets, const u32* __restrict__ columns,
                            const T* __restrict__ values, const T* __restrict__ x, u64 rows) {
    const u64 row = grid_thread();
    if (row >= rows) return;
    T sum = 0;
    const u64 end = offsets[row + 1];
    for (u64 k = offsets[row]; k < end; ++k) sum += values[k] * x[columns[k]];
    y[row] = sum;
}

// A warp per row. What is read once is marked so (__ldcs), to leave the caches to x; a lane has several elements on
// their way at once.
template <class T>
__global__ void spmv_vector(T* __restrict__ y, const u32* __restrict__ offsets, const u32* __restrict__ columns,
                            const T* __restrict__ values, const T* __restrict__ x, u64 rows) {
    constexpr u32 WARP = 32, AT_ONCE = 4;
    const u64 row = grid_thread() / WARP;
    if (row >= rows) return;
    const u64 end = offsets[row + 1];
    u64 k = offsets[row] + threadIdx.x % WARP;
    T sums[AT_ONCE] = {};
    for (; k + (AT_ONCE - 1) * WARP < end; k += AT_ONCE * WARP) {
        u32 column[AT_ONCE];
        T value[AT_ONCE];
#pragma unroll
        for (u32 i = 0; i < AT_ONCE; ++i) {
            column[i] = __ldcs(columns + k + i * WARP);
            value[i] = __ldcs(values + k + i * WARP);
        }
#pragma unroll
        for (u32 i = 0; i < AT_ONCE; ++i) sums[i] += value[i] * x[column[i]];
    }
    for (; k < end; k += WARP) sums[0] += __ldcs(values + k) * x[__ldcs(columns + k)];
    T sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
#pragma unroll
    for (u32 distance = WARP / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, distance);
    if (threadIdx.x % WARP == 0) y[row] = sum;
}
