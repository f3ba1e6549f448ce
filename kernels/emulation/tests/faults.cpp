// Kernels that are wrong, each in one way that the emulation must show: by ending in words, or by results that depend
// on the order in which threads take turns.
#include "emulation.hpp"
#include "common/cuda.cuh"

using namespace assay;

/// Reverses a block in shared memory; `barrier` is what a mutation takes away.
template <bool barrier>
__global__ void reverse_block(const u32* in, u32* out) {
    __shared__ u32 tile[64];
    tile[threadIdx.x] = in[threadIdx.x];
    if (barrier) __syncthreads();
    out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

/// Copies `count + beyond` of `count` elements; the load and the store go too far apart from each other.
__global__ void copy_beyond(const u32* in, u32* out, u32 loads, u32 stores) {
    const u32 index = threadIdx.x;
    u32 value = 0;
    if (index < loads) value = in[index];
    if (index < stores) out[index] = value;
}

/// Transposes a square of `size`, whose rows lie `stride` apart.
__global__ void transpose_square(const u32* in, u32* out, u32 size, u32 stride) {
    out[threadIdx.x * size + threadIdx.y] = in[threadIdx.y * stride + threadIdx.x];
}

/// Every thread adds to one number in shared memory, without an atomic operation: a warp loses all but one.
__global__ void racing_sum(u32* out) {
    __shared__ u32 sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    const u32 seen = sum;
    __syncwarp();
    sum = seen + threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) out[0] = sum;
}

/// The last one to write wins.
__global__ void racing_store(u32* out) {
    __shared__ u32 winner;
    winner = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) out[0] = winner;
}

/// Counts without an atomic operation. No order of threads shows it: only a program that watches for races.
__global__ void plain_count(const u32* in, u32* out) {
    __shared__ u32 bins[4];
    if (threadIdx.x < 4) bins[threadIdx.x] = 0;
    __syncthreads();
    bins[in[threadIdx.x] % 4] += 1;
    __syncthreads();
    if (threadIdx.x < 4) out[threadIdx.x] = bins[threadIdx.x];
}

/// Sets shared memory to 0 right before all add to it.
__global__ void unordered_atomics(u32* out) {
    __shared__ u32 sum;
    if (threadIdx.x == 31) sum = 0;
    atomicAdd(&sum, 1u);
    __syncthreads();
    if (threadIdx.x == 0) out[0] = sum;
}

/// Every block adds to the same number.
__global__ void blocks_add(u32* out) {
    if (threadIdx.x == 0) out[0] = out[0] + 1;
}

/// The last block to come adds up what all have written; `fence` is what makes that visible to it.
template <bool fence>
__global__ void last_block_sums(u32* partial, u32* arrived, u32* out) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = blockIdx.x + 1;
        if (fence) __threadfence();
        last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last || threadIdx.x != 1) return;
    u32 sum = 0;
    for (u32 block = 0; block < gridDim.x; ++block) sum += partial[block];
    out[0] = sum;
}

/// Reads shared memory that this block has not written: static, dynamic, and of a device function.
__device__ u32 stale() {
    __shared__ u32 cell;
    const u32 seen = cell;
    cell = 1;
    return seen;
}
__global__ void uninitialised(u32* out) {
    __shared__ u32 cell[2];
    ASSAY_DYNAMIC_SHARED(u32, dynamic);
    out[3 * blockIdx.x] = cell[1];
    out[3 * blockIdx.x + 1] = dynamic[1];
    out[3 * blockIdx.x + 2] = stale();
    cell[1] = dynamic[1] = 1;
}

__global__ void beyond_static(u32* out, u32 index) {
    __shared__ u32 tile[4];
    tile[index] = 1;
    out[0] = tile[0];
}
/// The same through a pointer, in a template.
template <typename T>
__global__ void beyond_static_pointer(T* out, u32 index) {
    __shared__ T tile[4];
    T* const pointer = tile;
    T* const* volatile hidden = &pointer;  // so that only the access itself can be seen to be wrong
    (*hidden)[index] = 1;
    out[0] = tile[0];
}
__global__ void beyond_dynamic(u32* out, u32 index) {
    ASSAY_DYNAMIC_SHARED(u32, dynamic);
    dynamic[index] = 1;
    out[0] = dynamic[0];
}
__global__ void misaligned(const u32* in, uint4* out) { out[0] = *reinterpret_cast<const uint4*>(in + 1); }

__global__ void barrier_for_some(u32* out) {
    if (threadIdx.x < 40) __syncthreads();
    out[0] = 1;
}
__global__ void barriers_in_two_places(u32* out) {
    if (threadIdx.x % 2 == 0) {
        out[0] = 1;
        __syncthreads();
    } else {
        __syncthreads();
    }
}
__global__ void barrier_and_shuffle(u32* out) {
    if (threadIdx.x == 3) __syncthreads();
    out[threadIdx.x] = __shfl_sync(0xFFFFFFFF, threadIdx.x, 0);
}
__global__ void mask_without_caller(u32* out) { out[threadIdx.x] = __ballot_sync(0x0000FFFF, 1); }
__global__ void two_masks(u32* out) { out[threadIdx.x] = __ballot_sync(threadIdx.x == 0 ? 0x000000FF : 0xFFFFFFFF, 1); }
__global__ void shuffle_from_nowhere(u32* out) { out[threadIdx.x] = __shfl_sync(0xFFFFFFFF, threadIdx.x, 31); }
__global__ void endless(volatile u32* flag) {
    while (*flag == 0) {
    }
}
__global__ void trapping(const u32* in) {
    if (in[0] != 1) __trap();
}

static const emulation::Kernel kernels[] = {
    ASSAY_KERNEL("reverse_block<true>", reverse_block<true>),
    ASSAY_KERNEL("reverse_block<false>", reverse_block<false>),
    ASSAY_KERNEL("copy_beyond", copy_beyond),
    ASSAY_KERNEL("transpose_square", transpose_square),
    ASSAY_KERNEL("racing_sum", racing_sum),
    ASSAY_KERNEL("racing_store", racing_store),
    ASSAY_KERNEL("plain_count", plain_count),
    ASSAY_KERNEL("unordered_atomics", unordered_atomics),
    ASSAY_KERNEL("blocks_add", blocks_add),
    ASSAY_KERNEL("last_block_sums<true>", last_block_sums<true>),
    ASSAY_KERNEL("last_block_sums<false>", last_block_sums<false>),
    ASSAY_KERNEL("uninitialised", uninitialised),
    ASSAY_KERNEL("beyond_static", beyond_static),
    ASSAY_KERNEL("beyond_static_pointer<float>", beyond_static_pointer<float>),
    ASSAY_KERNEL("beyond_dynamic", beyond_dynamic),
    ASSAY_KERNEL("misaligned", misaligned),
    ASSAY_KERNEL("barrier_for_some", barrier_for_some),
    ASSAY_KERNEL("barriers_in_two_places", barriers_in_two_places),
    ASSAY_KERNEL("barrier_and_shuffle", barrier_and_shuffle),
    ASSAY_KERNEL("mask_without_caller", mask_without_caller),
    ASSAY_KERNEL("two_masks", two_masks),
    ASSAY_KERNEL("shuffle_from_nowhere", shuffle_from_nowhere),
    ASSAY_KERNEL("endless", endless),
    ASSAY_KERNEL("trapping", trapping),
};

ASSAY_EMULATION_MAIN(kernels)
