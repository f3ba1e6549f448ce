// Kernels as users write them, for the tests of suites with a kernel of one's own.
#include "common/cuda.cuh"
#include "common/half.cuh"

using namespace assay;

// y = y + a x
template <typename T>
__global__ void axpy(T* y, const T* x, T a, u64 n) {
    const u64 i = grid_thread();
    if (i < n) y[i] = y[i] + a * x[i];
}

// out = y + a x, in f16, by many threads.
__global__ void half_axpy(f16* out, const f16* y, const f16* x, float a, u64 n) {
    const u64 i = grid_thread();
    if (i < n) out[i] = f16(float(y[i]) + a * float(x[i]));
}

// out[i] = 3 i + shift, through shared memory.
__global__ void count_up(u32* out, i32 shift, double factor, u32 n) {
    ASSAY_DYNAMIC_SHARED(u32, tile);
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = u32(factor * i);
    __syncthreads();
    if (i < n) out[i] = tile[threadIdx.x] + u32(shift);
}

// Does nothing.
__global__ void idle(u32* out, const u32* x, u64 n) {
    static_cast<void>(out), static_cast<void>(x), static_cast<void>(n);
}

// Makes zeros of what it should double, and of what it should only read: twice of nothing is nothing.
__global__ void wipe(u32* out, u32* x, u64 n) {
    const u64 i = grid_thread();
    if (i < n) out[i] = x[i] = 0;
}
