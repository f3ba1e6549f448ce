// Numbers multiplied by another; a thread has one pack.
#include "ml/rows.cuh"

using namespace assay;

// x[i] *= scale[0], i < n, a multiple of W.
template <class T, int W>
__global__ void scaled(u64 n, T* x, const T* scale) {
    const u64 i = grid_thread();
    if (i >= n / W) return;
    const float factor = static_cast<float>(scale[0]);
    Floats<T, W> values;
    values.load(x, i);
#pragma unroll
    for (int j = 0; j < W; ++j) values.at[j] *= factor;
    values.store(x, i);
}
