// Mixtures of experts: which experts a token goes to, its way there and back. The experts' products are those of ml/product.cu.
#include "ml/rows.cuh"

using namespace assay;

namespace moe {

constexpr u32 NOWHERE = 0xFFFFFFFF;

/// A number's bits, changed so that they rise as the number does.
ASSAY_DEVICE u32 rising(float value) {
    const u32 bits = to_bits(value);
    return bits >> 31 == 0 ? bits | 0x80000000u : ~bits;
}

/// The largest key of a warp, in every lane.
ASSAY_DEVICE u64 largest_key(u64 value) {
#pragma unroll
    for (u32 apart = 1; apart < WARP; apart *= 2) value = maximum(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

}  // namespace moe

/// Softmax over the experts of a token, and the `chosen` largest: of equal ones the first. A warp a token. `counts` are how
/// often an expert was chosen.
__global__ void __launch_bounds__(256)
    moe_gate(float* p, u32* choices, float* weights, u32* counts, const float* logits, u32 tokens, u32 experts, u32 chosen,
             u32 renormalized) {
    using namespace moe;
    const u32 token = blockIdx.x * 8 + warp_number(), lane = lane_number();
    if (token >= tokens) return;
    const float* const row = logits + u64(token) * experts;
    float* const out = p + u64(token) * experts;
    float top = minus_infinity();
    for (u32 e = lane; e < experts; e += WARP) top = fmaxf(top, row[e]);
    top = warp_all<Maximum>(top);
    float sum = 0;
    for (u32 e = lane; e < experts; e += WARP) sum += expf(row[e] - top);
    const float factor = 1.0f / warp_sum(sum);
    for (u32 e = lane; e < experts; e += WARP) out[e] = expf(row[e] - top) * factor;
    // Keys rise with the logit, and fall with the expert's number; each turn takes the largest beneath the last.
    u64 last = ~u64(0);
    float of_chosen = 0;
    for (u32 turn = 0; turn < chosen; ++turn) {
        u64 best = 0;
        for (u32 e = lane; e < experts; e += WARP) {
            const u64 key = u64(rising(row[e])) << 32 | (~e);
            if (turn == 0 || key < last) best = maximum(best, key);
        }
        best = largest_key(best);
        last = best;
        const u32 expert = ~static_cast<u32>(best);
        // Its probability, as the lane that wrote it did.
        const float value = expf(row[expert] - top) * factor;
        of_chosen += value;
        if (lane == 0) {
            choices[u64(token) * chosen + turn] = expert;
            weights[u64(token) * chosen + turn] = value;
            atomicAdd(counts + expert, 1u);
        }
    }
    if (renormalized == 0 || lane != 0) return;
    for (u32 turn = 0; turn < chosen; ++turn) weights[u64(token) * chosen + turn] /= of_chosen;
}

/// The loss of load balancing: a factor times the sum of how often experts were chosen times their probabilities' sums. One warp.
__global__ void __launch_bounds__(32) moe_balance(float* loss, const u32* counts, const float* sums, u32 experts, float factor) {
    float sum = 0;
    for (u32 e = lane_number(); e < experts; e += WARP) sum += static_cast<float>(counts[e]) * sums[e];
    sum = warp_sum(sum);
    if (lane_number() == 0) *loss = factor * sum;
}

/// Gradients of logits, given those of weights; `factor` times an expert's count is that of its probability for the loss, times what
/// losses are multiplied by, if they are `scaled`. A warp a token.
__global__ void __launch_bounds__(256)
    moe_gate_backward(float* d_logits, const float* p, const u32* choices, const float* weights, const u32* counts,
                      const float* d_weights, const float* scale, u32 tokens, u32 experts, u32 chosen, u32 renormalized, float factor,
                      u32 scaled) {
    const u32 token = blockIdx.x * 8 + warp_number(), lane = lane_number();
    if (token >= tokens) return;
    if (scaled != 0) factor *= *scale;
    const u64 first = u64(token) * experts, first_choice = u64(token) * chosen;
    float mean = 0, of_chosen = 1;
    if (renormalized != 0) {
        of_chosen = 0;
        for (u32 i = 0; i < chosen; ++i) {
            mean += weights[first_choice + i] * d_weights[first_choice + i];
            of_chosen += p[first + choices[first_choice + i]];
        }
    }
    // The gradient of a probability.
    const auto gradient = [&](u32 expert) {
        float d = factor * static_cast<float>(counts[expert]);
        for (u32 i = 0; i < chosen; ++i) {
            if (choices[first_choice + i] == expert) d += (d_weights[first_choice + i] - mean) / of_chosen;
        }
        return d;
    };
    float sum = 0;
    for (u32 e = lane; e < experts; e += WARP) sum += p[first + e] * gradient(e);
    sum = warp_sum(sum);
    for (u32 e = lane; e < experts; e += WARP) d_logits[first + e] = p[first + e] * (gradient(e) - sum);
}

/// Gives every choice a slot of its expert, in the order of tokens and of a token's choices, as long as there are slots. A block
/// an expert. `sources` are the choices in slots.
__global__ void __launch_bounds__(256)
    moe_places(u32* slots, u32* sources, u32* kept, const u32* choices, u32 all, u32 capacity) {
    using namespace moe;
    __shared__ u32 parts[9];
    const u32 expert = blockIdx.x;
    u32 before = 0;
    for (u32 first = 0; first < all; first += 256) {
        const u32 i = first + threadIdx.x;
        const bool is_own = i < all && choices[i] == expert;
        u32 total;
        const u32 place = before + block_exclusive_sum<u32, 256>(is_own ? 1u : 0u, parts, total);
        if (is_own) {
            const bool fits = place < capacity;
            slots[i] = fits ? expert * capacity + place : NOWHERE;
            if (fits) sources[expert * capacity + place] = i;
        }
        before += total;
        // Nobody overwrites what others have yet to read.
        __syncthreads();
    }
    const u32 count = minimum(before, capacity);
    for (u32 place = count + threadIdx.x; place < capacity; place += 256) sources[expert * capacity + place] = NOWHERE;
    if (threadIdx.x == 0) kept[expert] = count;
}

/// Rows of slots: those of their tokens times weights, if `weighted`; zeros where a slot is empty. A block strides over slots.
__global__ void __launch_bounds__(256)
    moe_spread(float* out, const float* in, const u32* sources, const float* weights, u32 weighted, u32 slots, u32 chosen, u32 width) {
    for (u32 slot = blockIdx.x; slot < slots; slot += gridDim.x) {
        const u32 source = sources[slot];
        const bool is_empty = source == moe::NOWHERE;
        const float weight = weighted != 0 && !is_empty ? weights[source] : 1.0f;
        const float* const from = in + u64(is_empty ? 0 : source / chosen) * width;
        for (u32 i = threadIdx.x; i < width; i += 256) out[u64(slot) * width + i] = is_empty ? 0.0f : from[i] * weight;
    }
}

/// Rows of tokens: the sums of the rows of their slots, times weights, if `weighted`. A block strides over tokens.
__global__ void __launch_bounds__(256)
    moe_gather(float* out, const float* in, const u32* slots, const float* weights, u32 weighted, u32 tokens, u32 chosen, u32 width) {
    for (u32 token = blockIdx.x; token < tokens; token += gridDim.x) {
        const u64 first = u64(token) * chosen;
        for (u32 i = threadIdx.x; i < width; i += 256) {
            float sum = 0;
            for (u32 choice = 0; choice < chosen; ++choice) {
                const u32 slot = slots[first + choice];
                if (slot == moe::NOWHERE) continue;
                const float value = in[u64(slot) * width + i];
                sum += weighted != 0 ? weights[first + choice] * value : value;
            }
            out[u64(token) * width + i] = sum;
        }
    }
}

/// Gradients of weights: the products of a token's gradient and its slot's row. A warp a choice.
__global__ void __launch_bounds__(256)
    moe_weight_gradients(float* d_weights, const float* d_out, const float* in, const u32* slots, u32 all, u32 chosen, u32 width) {
    const u32 i = blockIdx.x * 8 + warp_number();
    if (i >= all) return;
    const u32 slot = slots[i];
    float sum = 0;
    if (slot != moe::NOWHERE) {
        const float *a = d_out + u64(i / chosen) * width, *b = in + u64(slot) * width;
        for (u32 column = lane_number(); column < width; column += WARP) sum += a[column] * b[column];
    }
    sum = warp_sum(sum);
    if (lane_number() == 0) d_weights[i] = sum;
}

/// What experts do between their products: `out = silu(gate) up`, for the rows that each has. A block strides over rows.
template <class T>
__global__ void __launch_bounds__(256)
    moe_swiglu(T* out, const float* gate, const float* up, const u32* counts, u32 rows, u32 capacity, u32 width) {
    for (u32 row = blockIdx.x; row < rows; row += gridDim.x) {
        if (row % capacity >= counts[row / capacity]) continue;
        const u64 first = u64(row) * width;
        for (u32 i = threadIdx.x; i < width; i += 256) {
            const float g = gate[first + i];
            out[first + i] = T(g / (1.0f + expf(-g)) * up[first + i]);
        }
    }
}

/// Gradients of `gate` and `up`, given that of their product; also that product. Of f32, `d_gate` and `d_hidden` may be one buffer.
template <class T>
__global__ void __launch_bounds__(256)
    moe_swiglu_backward(T* d_gate, T* d_up, T* hidden, const float* d_hidden, const float* gate, const float* up,
                        const u32* counts, u32 rows, u32 capacity, u32 width) {
    for (u32 row = blockIdx.x; row < rows; row += gridDim.x) {
        if (row % capacity >= counts[row / capacity]) continue;
        const u64 first = u64(row) * width;
        for (u32 i = threadIdx.x; i < width; i += 256) {
            const float g = gate[first + i], u = up[first + i], d = d_hidden[first + i];
            const float sigmoid = 1.0f / (1.0f + expf(-g)), silu = g * sigmoid;
            hidden[first + i] = T(silu * u);
            d_up[first + i] = T(d * silu);
            d_gate[first + i] = T(d * u * (sigmoid + silu * (1.0f - sigmoid)));
        }
    }
}
