// Sets all words of an array, one or four at a time.
#include "common/cuda.cuh"

using namespace assay;

namespace memory {

constexpr u32 PER_THREAD = 4;

template <class Item>
ASSAY_DEVICE void set(Item* out, Item value, u64 count) {
    const u64 first = u64(blockIdx.x) * blockDim.x * PER_THREAD + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u64 i = first + k * blockDim.x;
        if (i < count) out[i] = value;
    }
}

}  // namespace memory

__global__ void set_scalar(u32* out, u32 value, u64 n) { memory::set(out, value, n); }

// The words that are no whole four are set by the last block's first threads.
__global__ void set_vector(u32* out, u32 value, u64 n) {
    memory::set(reinterpret_cast<uint4*>(out), make_uint4(value, value, value, value), n / 4);
    const u64 i = n / 4 * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) out[i] = value;
}
