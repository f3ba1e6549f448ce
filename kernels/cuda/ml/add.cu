// Sums of elements at the same places; a thread has one pack.
#include "ml/rows.cuh"

using namespace assay;

// out[i] = a[i] + b[i], i < n, a multiple of W; out may be a.
template <class T, int W>
__global__ void sums(u64 n, T* out, const T* a, const T* b) {
    const u64 i = grid_thread();
    if (i >= n / W) return;
    Floats<T, W> left, right;
    left.load(a, i);
    right.load(b, i);
#pragma unroll
    for (int j = 0; j < W; ++j) left.at[j] += right.at[j];
    left.store(out, i);
}
