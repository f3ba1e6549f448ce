// A chain of point-wise operations x <- C - A x: all in one kernel, or each in its own.
#include "common/cuda.cuh"

using namespace assay;

namespace fusion {

constexpr float A = 0.99609375f, C = 0.5f;
constexpr int PER_THREAD = 4;

// Each thread has elements a block's width apart, all loaded before the first is used.
template <class Operations>
__device__ void chain(float* out, const float* in, Operations operations, u64 n) {
    const u64 base = u64(blockIdx.x) * blockDim.x * PER_THREAD + threadIdx.x;
    float x[PER_THREAD] = {};
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < n) x[k] = in[i];
    }
    for (u32 step = 0; step < operations(); ++step) {
#pragma unroll
        for (int k = 0; k < PER_THREAD; ++k) x[k] = C - A * x[k];
    }
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < n) out[i] = x[k];
    }
}

struct One {
    __device__ u32 operator()() const { return 1; }
};
struct Many {
    u32 count;
    __device__ u32 operator()() const { return count; }
};

}  // namespace fusion

__global__ void chain_fused(float* out, const float* in, u32 operations, u64 n) {
    fusion::chain(out, in, fusion::Many{operations}, n);
}

// `out` may be `in`.
__global__ void chain_link(float* out, const float* in, u64 n) { fusion::chain(out, in, fusion::One{}, n); }
