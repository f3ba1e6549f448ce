// The softmax of attention where all scores are in memory, and its gradient: a block a row. The products around it are those
// of ml/product.cu.
#include "ml/rows.cuh"

using namespace assay;

namespace scores {

constexpr u32 THREADS = 128;

}  // namespace scores

/// Makes probabilities of products of queries and keys, in place: a row for each query of each head, `length` of them.
/// CAUSAL: keys behind the query have none. `slopes` of linear biases, one for each head, if `biased`.
template <bool CAUSAL>
__global__ void __launch_bounds__(scores::THREADS)
    probabilities(float* p, const float* slopes, u32 biased, u32 length, u32 heads, float scale) {
    using namespace scores;
    __shared__ float parts[WARP];
    const u32 query = blockIdx.x % length;
    float* const row = p + u64(blockIdx.x) * length;
    const float slope = biased != 0 ? slopes[blockIdx.x / length % heads] : 0.0f;
    const u32 seen = CAUSAL ? query + 1 : length;
    float top = minus_infinity();
    for (u32 key = threadIdx.x; key < seen; key += THREADS) {
        float score = row[key] * scale;
        if (biased != 0) score -= slope * static_cast<float>(maximum(query, key) - minimum(query, key));
        row[key] = score;
        top = fmaxf(top, score);
    }
    top = block_all<Maximum>(top, parts);
    float sum = 0;
    for (u32 key = threadIdx.x; key < seen; key += THREADS) {
        const float value = expf(row[key] - top);
        row[key] = value;
        sum += value;
    }
    const float factor = 1.0f / block_all<Sum>(sum, parts);
    for (u32 key = threadIdx.x; key < length; key += THREADS) row[key] = key < seen ? row[key] * factor : 0.0f;
}

/// Makes gradients of scores of those of probabilities, in place: `scale p (dp - sum p dp)`.
__global__ void __launch_bounds__(scores::THREADS) score_gradients(float* dp, const float* p, u32 length, float scale) {
    using namespace scores;
    __shared__ float parts[WARP];
    float* const row = dp + u64(blockIdx.x) * length;
    p += u64(blockIdx.x) * length;
    float sum = 0;
    for (u32 key = threadIdx.x; key < length; key += THREADS) sum += row[key] * p[key];
    sum = block_all<Sum>(sum, parts);
    for (u32 key = threadIdx.x; key < length; key += THREADS) row[key] = scale * (p[key] * (row[key] - sum));
}
