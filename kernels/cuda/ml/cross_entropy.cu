// Cross-entropy of rows of logits with their labels, one block a row, and its gradient. A label that is no class gives no number.
#include "ml/rows.cuh"

using namespace assay;

namespace entropy {

/// Packs that a thread has on their way at once.
constexpr u32 IN_FLIGHT = 4;

}  // namespace entropy

// logsums[t] = ln sum_c exp(logits[t][c]), losses[t] = logsums[t] - logits[t][labels[t]]; W divides classes.
template <class T, int W>
__global__ void cross_entropy(u64 tokens, u64 classes, float* losses, float* logsums, const T* logits, const u32* labels) {
    using namespace entropy;
    __shared__ float parts[WARP];
    for (u64 t = blockIdx.x; t < tokens; t += gridDim.x) {
        const T* const row = logits + t * classes;
        Exponentials all;
        for (u64 first = threadIdx.x; first < classes / W; first += IN_FLIGHT * blockDim.x) {
            Floats<T, W> x[IN_FLIGHT];
#pragma unroll
            for (u32 k = 0; k < IN_FLIGHT; ++k) {
                const u64 i = first + k * blockDim.x;
                if (i < classes / W) x[k].load(row, i);
            }
#pragma unroll
            for (u32 k = 0; k < IN_FLIGHT; ++k) {
                if (first + k * blockDim.x < classes / W) all.add(x[k].at);
            }
        }
        all.gather(parts);
        if (threadIdx.x == 0) {
            const float logsum = Exponentials::base(all.largest) + logf(all.sum);
            const u32 label = labels[t];
            logsums[t] = logsum;
            losses[t] = label < classes ? logsum - static_cast<float>(row[label]) : no_number();
        }
    }
}

// dlogits[t][c] = scale (exp(logits[t][c] - logsums[t]) - [c == labels[t]])
template <class T, int W>
__global__ void cross_entropy_backward(u64 tokens, u64 classes, T* dlogits, const T* logits, const u32* labels, const float* logsums, float scale) {
    for (u64 t = blockIdx.x; t < tokens; t += gridDim.x) {
        const u32 label = labels[t];
        const float logsum = label < classes ? logsums[t] : no_number();
        for (u64 i = threadIdx.x; i < classes / W; i += blockDim.x) {
            Floats<T, W> x;
            x.load(logits + t * classes, i);
#pragma unroll
            for (int j = 0; j < W; ++j) x.at[j] = (expf(x.at[j] - logsum) - (i * W + j == label ? 1.0f : 0.0f)) * scale;
            x.store(dlogits + t * classes, i);
        }
    }
}
