// What is done to frames before and after a library transforms them.
#include "common/cuda.cuh"

using namespace assay;

// out[f][j] = in[f][j] window[j]: `frames` frames of `points` points of COMPONENTS numbers.
template <class T, u32 COMPONENTS>
__global__ void apply_window(T* __restrict__ out, const T* __restrict__ in, const T* __restrict__ window, u64 points, u64 frames) {
    const u64 width = points * COMPONENTS;
    for (u64 i = grid_thread(); i < width; i += grid_threads()) {
        const T weight = window[i / COMPONENTS];
        for (u64 frame = blockIdx.y; frame < frames; frame += gridDim.y) out[frame * width + i] = in[frame * width + i] * weight;
    }
}

template <class T>
struct alignas(2 * sizeof(T)) Complex {
    T re, im;
};

// out[i] = |spectrum[i]|^2. A thread has several on their way at once, a block's width apart.
template <class T>
__global__ void power(T* __restrict__ out, const Complex<T>* __restrict__ spectrum, u64 count) {
    constexpr u32 AT_ONCE = 4;
    const u64 base = u64(blockIdx.x) * blockDim.x * AT_ONCE + threadIdx.x;
    Complex<T> value[AT_ONCE] = {};
#pragma unroll
    for (u32 k = 0; k < AT_ONCE; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < count) value[k] = spectrum[i];
    }
#pragma unroll
    for (u32 k = 0; k < AT_ONCE; ++k) {
        const u64 i = base + u64(k) * blockDim.x;
        if (i < count) out[i] = value[k].re * value[k].re + value[k].im * value[k].im;
    }
}
