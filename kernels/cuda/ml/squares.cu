// Weighted squares of differences of rows, one block a row, and their gradient.
#include "ml/rows.cuh"

using namespace assay;

// losses[r] = (sum_c w (y - x)^2 / 2 + beta divergences[r]) / cols
__global__ void __launch_bounds__(256)
    squares(float* losses, const float* x, const float* w, const float* y, const float* divergences, u64 rows, u64 cols, float beta) {
    __shared__ float parts[WARP];
    for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
        float sum = 0;
        for (u64 i = r * cols + threadIdx.x; i < (r + 1) * cols; i += blockDim.x) {
            const float apart = y[i] - x[i];
            sum += 0.5f * w[i] * apart * apart;
        }
        sum = block_all<Sum>(sum, parts);
        if (threadIdx.x == 0) losses[r] = __fdiv_rn(sum + beta * divergences[r], static_cast<float>(cols));
    }
}

// dy[i] = scale w[i] (y[i] - x[i]), i < n; a thread has one number at a time.
__global__ void __launch_bounds__(256) squares_backward(float* dy, const float* x, const float* w, const float* y, u64 n, float scale) {
    for (u64 i = grid_thread(); i < n; i += grid_threads()) dy[i] = scale * w[i] * (y[i] - x[i]);
}
