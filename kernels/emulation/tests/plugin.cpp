// Kernels for the test of the emulated driver.
#include "emulation.hpp"
#include "common/cuda.cuh"

using namespace assay;

__global__ void scale(float* values, u64 count, float factor) {
    for (u64 index = grid_thread(); index < count; index += grid_threads()) values[index] *= factor;
}

/// The sum of a block by way of static and of dynamic shared memory.
__global__ void block_sums(const float* values, float* sums) {
    __shared__ float part[64];
    ASSAY_DYNAMIC_SHARED(float, copy);
    part[threadIdx.x] = values[grid_thread()];
    __syncthreads();
    copy[threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
    __syncthreads();
    if (threadIdx.x != 0) return;
    float sum = 0;
    for (u32 index = 0; index < blockDim.x; ++index) sum += copy[index];
    sums[blockIdx.x] = sum;
}

/// Waits until the host writes 1, or for a time; says which.
__global__ void gate(volatile u32* open, volatile u32* timed_out, u64 timeout_ns) {
    const u64 start = globaltimer_ns();
    while (*open == 0) {
        if (globaltimer_ns() - start < timeout_ns) continue;
        *timed_out = 1;
        return;
    }
}

__global__ void count_up(u32* counter) { atomicAdd(counter, 1u); }

static const emulation::Kernel kernels[] = {
    ASSAY_KERNEL("scale", scale),
    ASSAY_KERNEL("block_sums", block_sums),
    ASSAY_KERNEL("gate", gate),
    ASSAY_KERNEL("count_up", count_up),
};

ASSAY_EMULATION_MAIN(kernels)
