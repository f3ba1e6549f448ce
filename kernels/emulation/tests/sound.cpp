// Kernels that are right: their results must be the same in every order, and those of CUDA.
#include "emulation.hpp"
#include "common/cuda.cuh"

using namespace assay;

__device__ float warp_sum(float value) {
    for (u32 delta = 16; delta > 0; delta /= 2) value += __shfl_down_sync(0xFFFFFFFF, value, delta);
    return value;
}

/// The sum of a block by shuffles; any number of warps, the last one whole.
__global__ void __launch_bounds__(1024) block_sums(const float* __restrict__ in, float* __restrict__ out, u64 count) {
    __shared__ float part[32];
    float sum = 0;
    for (u64 index = grid_thread(); index < count; index += grid_threads()) sum += in[index];
    sum = warp_sum(sum);
    if (threadIdx.x % warpSize == 0) part[threadIdx.x / warpSize] = sum;
    __syncthreads();
    if (threadIdx.x >= warpSize) return;
    sum = warp_sum(threadIdx.x < blockDim.x / warpSize ? part[threadIdx.x] : 0);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

template <typename T, int edge>
__global__ void transpose(const T* in, T* out, u32 columns, u32 rows) {
    __shared__ T tile[edge][edge + 1];
    u32 x = blockIdx.x * edge + threadIdx.x;
    u32 y = blockIdx.y * edge + threadIdx.y;
    if (x < columns && y < rows) tile[threadIdx.y][threadIdx.x] = in[y * columns + x];
    __syncthreads();
    x = blockIdx.y * edge + threadIdx.x;
    y = blockIdx.x * edge + threadIdx.y;
    if (x < rows && y < columns) out[y * rows + x] = tile[threadIdx.x][threadIdx.y];
}

/// Counts bytes in dynamic shared memory, then adds up in global memory.
__global__ void histogram(const u8* in, u32* bins, u64 count) {
    ASSAY_DYNAMIC_SHARED(u32, local);
    for (u32 bin = threadIdx.x; bin < 256; bin += blockDim.x) local[bin] = 0;
    __syncthreads();
    for (u64 index = grid_thread(); index < count; index += grid_threads()) atomicAdd(&local[in[index]], 1u);
    __syncthreads();
    for (u32 bin = threadIdx.x; bin < 256; bin += blockDim.x) atomicAdd(&bins[bin], local[bin]);
}

/// What lanes do together, one row of eight numbers for each thread. The last warp may be partial.
__global__ void lanes(u32* out) {
    const u32 lane = threadIdx.x % 32;
    const u32 all = 0xFFFFFFFF;
    u32* const row = out + threadIdx.x * 8;
    row[0] = __ballot_sync(all, lane % 3 == 0);
    row[1] = __match_any_sync(all, lane / 5);
    row[2] = __shfl_up_sync(all, lane, 1, 8);
    row[3] = __shfl_xor_sync(all, lane, 1);
    row[4] = __reduce_max_sync(all, static_cast<i32>(lane) - 100);
    row[5] = __any_sync(all, lane == 2) << 1 | __all_sync(all, lane < 40);
    row[6] = __activemask();
    // Half-warps go separate ways.
    const u32 half = lane < 16 ? 0x0000FFFF : 0xFFFF0000;
    u32 sum = 0;
    if (lane < 16) {
        sum = __reduce_add_sync(half, lane);
    } else {
        __syncwarp(half);
        sum = __reduce_add_sync(half, 2 * lane);
    }
    row[7] = sum;
}

/// An inclusive sum over a warp in shared memory, which needs each `__syncwarp`.
__global__ void warp_scan(const u32* in, u32* out) {
    __shared__ u32 line[32];
    const u32 lane = threadIdx.x;
    line[lane] = in[lane];
    __syncwarp();
    for (u32 distance = 1; distance < 32; distance *= 2) {
        const u32 other = lane >= distance ? line[lane - distance] : 0;
        __syncwarp();
        line[lane] += other;
        __syncwarp();
    }
    out[lane] = line[lane];
}

/// Barriers with a result; the blocks' numbers in three dimensions.
__global__ void barriers(u32* out) {
    const u32 thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const u32 block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const u32 count = __syncthreads_count(thread % 3 == 0);
    const u32 any = __syncthreads_or(thread == 5);
    const u32 all = __syncthreads_and(thread != 5);
    if (thread == 0) out[block] = count << 8 | any << 4 | all;
}

/// Threads take turns by a lock, which the emulation must let them wait for.
__global__ void locked(u32* lock, u32* counter) {
    for (bool done = false; !done;) {
        if (atomicCAS(lock, 0u, 1u) != 0) continue;
        *counter = *counter * 3 + 1;
        __threadfence();
        atomicExch(lock, 0u);
        done = true;
    }
}

__global__ void atomics(u32* words, i32* signed_words, float* sum, double* wide, u64* large) {
    atomicMax(&words[0], threadIdx.x);
    atomicMin(&words[1], threadIdx.x + 3);
    atomicOr(&words[2], 1u << threadIdx.x % 32);
    atomicInc(&words[3], 9);
    atomicMin(&signed_words[0], -static_cast<i32>(threadIdx.x));
    atomicSub(&signed_words[1], 2);
    atomicAdd(sum, 0.5f);
    atomicAdd(wide, 0.25);
    atomicAdd(large, u64{1} << 32);
}

/// Sixteen bytes at a time, through the read-only and the streaming path.
__global__ void vectors(const float4* in, float4* out, u32 count) {
    const u32 index = static_cast<u32>(grid_thread());
    if (index >= count) return;
    const float4 value = __ldg(in + index);
    __stcs(out + index, make_float4(value.w, value.z, value.y, value.x));
}

__global__ void scalars(double* out, i32 negative, u64 large, float narrow, double wide, u32 word) {
    out[0] = negative;
    out[1] = static_cast<double>(large);
    out[2] = narrow;
    out[3] = wide;
    out[4] = word;
}

static const emulation::Kernel kernels[] = {
    ASSAY_KERNEL("block_sums", block_sums),
    ASSAY_KERNEL("transpose<unsigned int, 16>", transpose<u32, 16>),
    ASSAY_KERNEL("histogram", histogram),
    ASSAY_KERNEL("lanes", lanes),
    ASSAY_KERNEL("warp_scan", warp_scan),
    ASSAY_KERNEL("barriers", barriers),
    ASSAY_KERNEL("locked", locked),
    ASSAY_KERNEL("atomics", atomics),
    ASSAY_KERNEL("vectors", vectors),
    ASSAY_KERNEL("scalars", scalars),
};

ASSAY_EMULATION_MAIN(kernels)
