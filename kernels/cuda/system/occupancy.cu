// A copy whose blocks per multiprocessor are limited by the shared memory that its launch asks for and does not use.
#include "common/cuda.cuh"

using namespace assay;

constexpr int PER_THREAD = 4;

__global__ void occupancy_copy(float* out, const float* in, u64 n) {
    const u64 base = u64(blockIdx.x) * blockDim.x * PER_THREAD + threadIdx.x;
    float x[PER_THREAD] = {};
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < n) x[k] = in[i];
    }
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < n) out[i] = x[k];
    }
}
