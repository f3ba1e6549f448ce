// Numbers of 32 bits rounded to 16; a thread has one pack.
#include "ml/rows.cuh"

using namespace assay;

// out[i] = x[i], rounded, i < n, a multiple of W.
template <class T, int W>
__global__ void rounded(u64 n, T* out, const float* x) {
    const u64 i = grid_thread();
    if (i >= n / W) return;
    Floats<float, W> values;
    Floats<T, W> narrow;
    values.load(x, i);
#pragma unroll
    for (int j = 0; j < W; ++j) narrow.at[j] = values.at[j];
    narrow.store(out, i);
}
