// Gradients between the backward pass and the optimizer's step, f32. Where a thread takes four of them, the last ones, that
// are no whole four, are done by the last block's first threads. The buffer `pace` is as in `ml/optimizer.cu`.
#include "common/block.cuh"

using namespace assay;

namespace gradient {

constexpr u32 THREADS = 256;
/// Loads of 16 bytes that a thread of `squares_atomic` has in flight.
constexpr u32 LOADS = 4;
/// Places of the buffer of what changes from step to step.
enum Place { RATE, FIRST, SECOND, UNSCALE, CLIP, PROCEED };

/// Calls `visit` with every four of n values that this thread has, and with each of those left over.
template <class Four, class One>
ASSAY_DEVICE void each(float* values, u64 n, Four four, One one) {
    const u64 fours = n / 4, own = grid_thread();
    if (own < fours) four(reinterpret_cast<Pack<float>*>(values)[own]);
    const u64 i = fours * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) one(values[i]);
}

/// The sum over the block, in every thread. `parts` has an element a warp.
ASSAY_DEVICE float sum_for_all(float value, float* parts) {
    __shared__ float total;
    const float sum = block_sum<float, THREADS>(value, parts);
    // The barrier inside `block_sum` keeps the next one from writing before all have read this one.
    if (threadIdx.x == 0) total = sum;
    __syncthreads();
    return total;
}

}  // namespace gradient

// out += sum of the squares of the block's run
__global__ void __launch_bounds__(gradient::THREADS) squares_atomic(float* out, const float* g, u64 n) {
    using namespace gradient;
    __shared__ float parts[THREADS / WARP];
    const u64 packs = n / 4, first = u64(blockIdx.x) * THREADS * LOADS + threadIdx.x;
    Pack<float> loaded[LOADS];
#pragma unroll
    for (u32 k = 0; k < LOADS; ++k) {
        const u64 i = first + k * THREADS;
        loaded[k] = i < packs ? reinterpret_cast<const Pack<float>*>(g)[i] : Pack<float>{};
    }
    float sum = 0;
#pragma unroll
    for (u32 k = 0; k < LOADS; ++k) {
#pragma unroll
        for (u32 j = 0; j < 4; ++j) sum += loaded[k].at[j] * loaded[k].at[j];
    }
    const u64 i = packs * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) sum += g[i] * g[i];
    sum = block_sum<float, THREADS>(sum, parts);
    if (threadIdx.x == 0) atomicAdd(out, sum);
}

// norm = root of the sum of `count` sums of squares, without the loss's scale; pace[CLIP] = what brings it to `most`: one thread
__global__ void clip_factor(float* norm, float* pace, const float* sums, u32 count, float most) {
    using namespace gradient;
    float total = 0;
    for (u32 i = 0; i < count; ++i) total += sums[i];
    const float found = __fmul_rn(__fsqrt_rn(total), pace[UNSCALE]);
    *norm = found;
    // A norm that is no number makes every gradient none.
    pace[CLIP] = found <= most ? 1.0f : __fdiv_rn(most, found);
}

// g *= pace's factors
__global__ void __launch_bounds__(gradient::THREADS) rescale(float* g, const float* pace, u64 n) {
    using namespace gradient;
    const float factor = __fmul_rn(pace[UNSCALE], pace[CLIP]);
    const auto one = [=](float& value) { value = __fmul_rn(value, factor); };
    each(
        g, n,
        [=](Pack<float>& four) {
            Pack<float> values = four;
#pragma unroll
            for (u32 j = 0; j < 4; ++j) one(values.at[j]);
            four = values;
        },
        one);
}

// A row of g is multiplied by clipping max(|w|, epsilon) / |g| where that is below 1: a block a row
__global__ void __launch_bounds__(gradient::THREADS)
    clip_adaptive(float* g, const float* w, u64 rows, u64 cols, float clipping, float epsilon) {
    using namespace gradient;
    __shared__ float parts[THREADS / WARP];
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        float* const own = g + row * cols;
        const float* const parameters = w + row * cols;
        float of_gradients = 0, of_parameters = 0;
        for (u64 i = threadIdx.x; i < cols; i += THREADS) {
            of_gradients += own[i] * own[i];
            of_parameters += parameters[i] * parameters[i];
        }
        of_gradients = sum_for_all(of_gradients, parts);
        of_parameters = sum_for_all(of_parameters, parts);
        const float norm = __fsqrt_rn(of_parameters);
        const float factor = clipping * (norm < epsilon ? epsilon : norm) / __fsqrt_rn(of_gradients);
        // A factor that is no number makes the row none.
        if (factor >= 1.0f) continue;
        for (u64 i = threadIdx.x; i < cols; i += THREADS) own[i] = __fmul_rn(own[i], factor);
    }
}

// A row of g without its mean: a block a row
__global__ void __launch_bounds__(gradient::THREADS) centralise(float* g, u64 rows, u64 cols) {
    using namespace gradient;
    __shared__ float parts[THREADS / WARP];
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        float* const own = g + row * cols;
        float sum = 0;
        for (u64 i = threadIdx.x; i < cols; i += THREADS) sum += own[i];
        const float mean = __fdiv_rn(sum_for_all(sum, parts), float(cols));
        for (u64 i = threadIdx.x; i < cols; i += THREADS) own[i] = __fsub_rn(own[i], mean);
    }
}

// found[0] += how many of g are no finite number; IN_PLACE: g /= scale[0]
template <bool IN_PLACE>
__global__ void __launch_bounds__(gradient::THREADS) unscale(float* g, u32* found, const float* scale, u64 n) {
    using namespace gradient;
    __shared__ u32 parts[THREADS / WARP];
    const float factor = __fdiv_rn(1.0f, scale[0]);
    u32 wrong = 0;
    const auto one = [&](float& value) {
        // All bits of the exponent.
        wrong += (to_bits(value) & 0x7F800000u) == 0x7F800000u ? 1 : 0;
        if (IN_PLACE) value = __fmul_rn(value, factor);
    };
    each(
        g, n,
        [&](Pack<float>& four) {
            Pack<float> values = four;
#pragma unroll
            for (u32 j = 0; j < 4; ++j) one(values.at[j]);
            if (IN_PLACE) four = values;
        },
        [&](float& left_over) {
            float value = left_over;
            one(value);
            if (IN_PLACE) left_over = value;
        });
    wrong = block_sum<u32, THREADS>(wrong, parts);
    if (threadIdx.x == 0 && wrong > 0) atomicAdd(found, wrong);
}

// Whether the next step is taken, and what becomes of the loss's scale: one thread
__global__ void loss_scale(u32* found, float* scale, float* pace, float growth, float backoff, u32 interval, u32 in_place) {
    using namespace gradient;
    const bool is_finite = found[0] == 0;
    found[1] = found[0];
    found[0] = 0;
    pace[PROCEED] = is_finite ? 1.0f : 0.0f;
    pace[UNSCALE] = in_place != 0 ? 1.0f : __fdiv_rn(1.0f, scale[0]);
    scale[1] = is_finite ? scale[1] + 1.0f : 0.0f;
    if (!is_finite) {
        scale[0] *= backoff;
    } else if (scale[1] >= float(interval)) {
        scale[0] *= growth;
        scale[1] = 0.0f;
    }
}
