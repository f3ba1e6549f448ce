// Stochastic depth (`kernels/src/ml/depth.rs`).
#include "common/philox.cuh"

using namespace assay;

// to[b][i] = from[b][i] times 0 or `kept`, by the word of picture b of the turn; a thread has one number at a time.
__global__ void __launch_bounds__(256)
    stochastic_depth(float* to, const float* from, const u64* turn, u64 batch, u64 image, u64 len, u32 threshold, float kept, u64 seed,
                     u64 stream) {
    for (u64 i = grid_thread(); i < len; i += grid_threads()) {
        const u32 word = Philox{seed, stream}.word(*turn * batch + i / image);
        to[i] = __fmul_rn(word < threshold ? 0.0f : kept, from[i]);
    }
}
