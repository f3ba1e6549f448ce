// Softmax of the rows of a matrix, one block a row, and its gradient.
#include "ml/rows.cuh"

using namespace assay;

// out[r][c] = exp(in[r][c] - max_r) / sum_c exp(in[r][c] - max_r); W divides cols.
template <class T, int W>
__global__ void softmax(u64 rows, u64 cols, T* out, const T* in) {
    __shared__ float parts[WARP];
    for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
        Row<T, W> row(in + r * cols, cols);
        Exponentials all;
        row.each([&](u64, Floats<T, W>& x) { all.add(x.at); });
        all.gather(parts);
        const float base = Exponentials::base(all.largest), scale = 1.0f / all.sum;
        row.each([&](u64 i, Floats<T, W>& x) {
#pragma unroll
            for (int j = 0; j < W; ++j) x.at[j] = expf(x.at[j] - base) * scale;
            x.store(out + r * cols, i);
        });
    }
}

// dx[r][c] = y[r][c] (dy[r][c] - sum_c y[r][c] dy[r][c])
template <class T, int W>
__global__ void softmax_backward(u64 rows, u64 cols, T* dx, const T* y, const T* dy) {
    __shared__ float parts[WARP];
    for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
        Row<T, W> row(y + r * cols, cols), gradient(dy + r * cols, cols);
        float sum = 0.0f;
        each_pair(row, gradient, [&](u64, Floats<T, W>& y, Floats<T, W>& dy) {
#pragma unroll
            for (int j = 0; j < W; ++j) sum += y.at[j] * dy.at[j];
        });
        sum = block_all<Sum>(sum, parts);
        each_pair(row, gradient, [&](u64 i, Floats<T, W>& y, Floats<T, W>& dy) {
#pragma unroll
            for (int j = 0; j < W; ++j) y.at[j] *= dy.at[j] - sum;
            y.store(dx + r * cols, i);
        });
    }
}
