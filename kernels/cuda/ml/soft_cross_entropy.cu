// Cross-entropy of rows of logits with soft labels, one block a row, and its gradient.
#include "ml/rows.cuh"

using namespace assay;

namespace soft {

/// The logarithm of the sum of a row's exponentials, in every thread.
ASSAY_DEVICE float logsum_of(const float* row, u64 classes, float* parts) {
    Exponentials all;
    for (u64 i = threadIdx.x; i < classes; i += blockDim.x) {
        const float x[1] = {row[i]};
        all.add(x);
    }
    all.gather(parts);
    return Exponentials::base(all.largest) + logf(all.sum);
}

}  // namespace soft

// losses[r] = sum_c targets[r][c] (logsum - logits[r][c])
__global__ void __launch_bounds__(256) soft_cross_entropy(u64 rows, u64 classes, float* losses, const float* logits, const float* targets) {
    __shared__ float parts[WARP];
    for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
        const float *const x = logits + r * classes, *const t = targets + r * classes;
        const float logsum = soft::logsum_of(x, classes, parts);
        float sum = 0;
        for (u64 i = threadIdx.x; i < classes; i += blockDim.x) sum += t[i] * (logsum - x[i]);
        sum = block_all<Sum>(sum, parts);
        if (threadIdx.x == 0) losses[r] = sum;
    }
}

// dlogits[r][c] = scale (exp(logits[r][c] - logsum) - targets[r][c])
__global__ void __launch_bounds__(256)
    soft_cross_entropy_backward(u64 rows, u64 classes, float* dlogits, const float* logits, const float* targets, float scale) {
    __shared__ float parts[WARP];
    for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
        const float *const x = logits + r * classes, *const t = targets + r * classes;
        const float logsum = soft::logsum_of(x, classes, parts);
        for (u64 i = threadIdx.x; i < classes; i += blockDim.x) dlogits[r * classes + i] = (expf(x[i] - logsum) - t[i]) * scale;
    }
}
