// Attention of f32 without scores in memory, forward and backward: tiles of queries and keys in shared memory, a softmax that
// is corrected as it goes, probabilities computed again for gradients. (Of 16 bits: `ml/flash_tensor.cu`.)
//
// All matrices are [batch, length, heads, width]. A block has a tile of queries (or, for gradients of keys and values, of keys)
// of one head and goes over all tiles of the other side; nobody adds to what another block adds to, so every sum has one
// order. Tiles lie turned, a line for each column of the head, so that a thread reads four queries or keys at once; columns
// beyond the head's width, and rows beyond the sequence, are 0.
#include "ml/heads.cuh"

using namespace assay;

namespace flash {

/// Brings ROWS rows from `place` on to shared memory, turned, with pairs rotated if there are `angles`: cosine and sine of
/// each place and pair. DEPTH columns, of which the head has the first.
template <u32 DEPTH, u32 ROWS, u32 LINE, u32 THREADS>
ASSAY_DEVICE void load_turned(float* tile, const float* from, const Head& head, u32 place, const float* angles) {
    constexpr u32 PAIRS = DEPTH / 2;
    for (u32 i = threadIdx.x; i < ROWS * PAIRS; i += THREADS) {
        const u32 pair = i % PAIRS, row = i / PAIRS;
        float x = 0, y = 0;
        if (place + row < head.length) {
            const float* const at = from + head.row(place + row) + 2 * pair;
            if (2 * pair < head.width) x = at[0];
            if (2 * pair + 1 < head.width) y = at[1];
            if (angles != nullptr && 2 * pair < head.width) {
                const float* const angle = angles + (u64(place + row) * (head.width / 2) + pair) * 2;
                const float turned = x * angle[0] - y * angle[1];
                y = x * angle[1] + y * angle[0];
                x = turned;
            }
        }
        tile[2 * pair * LINE + row] = x;
        tile[(2 * pair + 1) * LINE + row] = y;
    }
}

/// Four numbers next to each other.
struct Four {
    float at[4];

    ASSAY_DEVICE explicit Four(const float* from) {
        const float4 four = *reinterpret_cast<const float4*>(from);
        at[0] = four.x, at[1] = four.y, at[2] = four.z, at[3] = four.w;
    }
};

/// The products of four rows of each of two turned tiles.
template <u32 DEPTH, u32 LINE>
ASSAY_DEVICE void products(float (&sums)[4][4], const float* left, const float* right) {
#pragma unroll 4
    for (u32 i = 0; i < DEPTH; ++i) {
        const Four a(left + i * LINE), b(right + i * LINE);
#pragma unroll
        for (u32 r = 0; r < 4; ++r) {
#pragma unroll
            for (u32 s = 0; s < 4; ++s) sums[r][s] = __fmaf_rn(a.at[r], b.at[s], sums[r][s]);
        }
    }
}

/// A score of a product of query and key. Without linear biases their slope is 0, which takes nothing off.
ASSAY_DEVICE float score(float product, float scale, float slope, u32 query, u32 key) {
    const float scaled = product * scale;
    return scaled - slope * static_cast<float>(maximum(query, key) - minimum(query, key));
}

/// Over the 16 threads of a line, in each of them.
template <class How>
ASSAY_DEVICE float over_line(float value) {
#pragma unroll
    for (u32 apart = 1; apart < 16; apart *= 2) value = How::combine(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

}  // namespace flash

/// The output, and for each query the logarithm of the sum of the exponentials of its scores, [batch, length, heads]. Blocks
/// of 16 by 16 threads have 64 queries; a thread 4 queries by 4 of 64 keys, and 4 queries by DEPTH / 16 columns.
template <u32 DEPTH>
__global__ void __launch_bounds__(256)
    flash_forward(float* out, float* log_sums, const float* q, const float* k, const float* v, const float* table, u32 position,
                  u32 causal, u32 length, u32 heads, u32 width, float scale) {
    using namespace flash;
    constexpr u32 SIDE = 64, LINE = SIDE + 4, THREADS = 256, GROUPS = DEPTH / 64;
    ASSAY_DYNAMIC_SHARED(float, shared);
    float* const queries = shared;
    // Keys, turned, and then values, as they are.
    float* const others = queries + DEPTH * LINE;
    // Probabilities: a line for each key.
    float* const weights = others + DEPTH * LINE;
    const u32 tiles = ceil_div(length, SIDE), x = threadIdx.x % 16, y = threadIdx.x / 16;
    const Head head(blockIdx.x / tiles, length, heads, width);
    // The longest rows of a causal mask first.
    const u32 first = (tiles - 1 - blockIdx.x % tiles) * SIDE;
    const float slope = slope_of(table, position, head);
    const float* const angles = angles_of(table, position);
    const bool is_causal = causal != 0;
    load_turned<DEPTH, SIDE, LINE, THREADS>(queries, q, head, first, angles);
    float sums[4][4 * GROUPS] = {}, tops[4], totals[4] = {};
#pragma unroll
    for (u32 r = 0; r < 4; ++r) tops[r] = minus_infinity();
    const u32 end = is_causal ? minimum(first + SIDE, length) : length;
    for (u32 other = 0; other < end; other += SIDE) {
        // What the last turn read may be overwritten.
        __syncthreads();
        load_turned<DEPTH, SIDE, LINE, THREADS>(others, k, head, other, angles);
        __syncthreads();
        float scores[4][4] = {};
        products<DEPTH, LINE>(scores, queries + 4 * y, others + 4 * x);
#pragma unroll
        for (u32 r = 0; r < 4; ++r) {
            const u32 query = first + 4 * y + r;
            float top = tops[r];
#pragma unroll
            for (u32 s = 0; s < 4; ++s) {
                const u32 key = other + 4 * x + s;
                const bool is_seen = key < length && (!is_causal || key <= query);
                scores[r][s] = is_seen ? score(scores[r][s], scale, slope, query, key) : minus_infinity();
                top = fmaxf(top, scores[r][s]);
            }
            top = over_line<Maximum>(top);
            float total = 0;
#pragma unroll
            for (u32 s = 0; s < 4; ++s) {
                scores[r][s] = expf(scores[r][s] - top);
                total += scores[r][s];
            }
            const float less = expf(tops[r] - top);
            totals[r] = totals[r] * less + over_line<Sum>(total);
            tops[r] = top;
#pragma unroll
            for (u32 s = 0; s < 4 * GROUPS; ++s) sums[r][s] *= less;
        }
#pragma unroll
        for (u32 s = 0; s < 4; ++s) {
            float4* const to = reinterpret_cast<float4*>(weights + (4 * x + s) * LINE + 4 * y);
            *to = make_float4(scores[0][s], scores[1][s], scores[2][s], scores[3][s]);
        }
        // All have read the keys, and written the weights.
        __syncthreads();
        for (u32 i = threadIdx.x; i < SIDE * DEPTH; i += THREADS) {
            const u32 row = i / DEPTH, column = i % DEPTH;
            const bool is_there = other + row < length && column < width;
            others[row * DEPTH + column] = is_there ? v[head.row(other + row) + column] : 0.0f;
        }
        __syncthreads();
        for (u32 key = 0; key < SIDE; ++key) {
            const Four weight(weights + key * LINE + 4 * y);
#pragma unroll
            for (u32 group = 0; group < GROUPS; ++group) {
                const Four value(others + key * DEPTH + 64 * group + 4 * x);
#pragma unroll
                for (u32 r = 0; r < 4; ++r) {
#pragma unroll
                    for (u32 s = 0; s < 4; ++s) {
                        float& sum = sums[r][4 * group + s];
                        sum = __fmaf_rn(weight.at[r], value.at[s], sum);
                    }
                }
            }
        }
    }
#pragma unroll
    for (u32 r = 0; r < 4; ++r) {
        const u32 query = first + 4 * y + r;
        if (query >= length) continue;
        const float factor = 1.0f / totals[r];
#pragma unroll
        for (u32 s = 0; s < 4 * GROUPS; ++s) {
            const u32 column = s / 4 * 64 + 4 * x + s % 4;
            if (column < width) out[head.row(query) + column] = sums[r][s] * factor;
        }
        if (x == 0) log_sums[head.number(query)] = tops[r] + logf(totals[r]);
    }
}

/// For each row of each head the sum of the products of output and its gradient, of any type. A warp a row.
template <class T>
__global__ void __launch_bounds__(256) flash_dots(float* dots, const T* out, const T* d_out, u32 rows, u32 width) {
    const u32 row = blockIdx.x * 8 + warp_number();
    if (row >= rows) return;
    float sum = 0;
    for (u32 i = lane_number(); i < width; i += WARP) {
        const u64 at = u64(row) * width + i;
        sum += static_cast<float>(out[at]) * static_cast<float>(d_out[at]);
    }
    sum = warp_sum(sum);
    if (lane_number() == 0) dots[row] = sum;
}

namespace flash {

constexpr u32 BACK_SIDE = 32, BACK_LINE = BACK_SIDE + 4, BACK_THREADS = 64;

/// Adds to four rows by DEPTH / 8 columns (this thread's first, and every eighth from there on) the products of weights, a
/// line for each of 32 of the other side, and a turned tile of that.
template <u32 DEPTH>
ASSAY_DEVICE void accumulate(float (&sums)[4][DEPTH / 8], const float* weights, const float* turned) {
    for (u32 i = 0; i < BACK_SIDE; i += 4) {
        const Four a(weights + i * BACK_LINE), b(weights + (i + 1) * BACK_LINE), c(weights + (i + 2) * BACK_LINE),
            d(weights + (i + 3) * BACK_LINE);
#pragma unroll
        for (u32 column = 0; column < DEPTH / 8; ++column) {
            const Four value(turned + 8 * column * BACK_LINE + i);
#pragma unroll
            for (u32 r = 0; r < 4; ++r) {
                float& sum = sums[r][column];
                sum = __fmaf_rn(a.at[r], value.at[0], sum);
                sum = __fmaf_rn(b.at[r], value.at[1], sum);
                sum = __fmaf_rn(c.at[r], value.at[2], sum);
                sum = __fmaf_rn(d.at[r], value.at[3], sum);
            }
        }
    }
}

/// Stores gradients of four rows times a factor, with their pairs rotated back if there are `angles`. All threads call.
template <u32 DEPTH>
ASSAY_DEVICE void store(float* to, const float (&sums)[4][DEPTH / 8], const Head& head, u32 place, float factor,
                        const float* angles) {
    const u32 x = threadIdx.x % 8;
#pragma unroll
    for (u32 r = 0; r < 4; ++r) {
        const bool is_there = place + r < head.length;
#pragma unroll
        for (u32 s = 0; s < DEPTH / 8; ++s) {
            const u32 column = 8 * s + x;
            float value = sums[r][s] * factor;
            if (angles != nullptr) {
                // The neighbour of the pair is the next lane's, or the last one's.
                const float other = __shfl_xor_sync(ALL_LANES, value, 1);
                if (is_there && column < head.width) {
                    const float* const angle = angles + (u64(place + r) * (head.width / 2) + column / 2) * 2;
                    value = value * angle[0] + (column % 2 == 0 ? other : -other) * angle[1];
                }
            }
            if (is_there && column < head.width) to[head.row(place + r) + column] = value;
        }
    }
}

}  // namespace flash

/// Gradients of keys and values (OF_KEYS: `d_first` and `d_second`), or of queries (`d_first`). Blocks of 8 by 8 threads have 32
/// keys or queries and go over the tiles of the other side; a thread has 4 queries by 4 keys, and 4 rows of gradients by DEPTH / 8
/// columns.
template <u32 DEPTH, bool OF_KEYS>
__global__ void __launch_bounds__(flash::BACK_THREADS)
    flash_backward(float* d_first, float* d_second, const float* q, const float* k, const float* v, const float* table,
                   const float* d_out, const float* log_sums, const float* dots, u32 position, u32 causal, u32 length,
                   u32 heads, u32 width, float scale) {
    using namespace flash;
    constexpr u32 SIDE = BACK_SIDE, LINE = BACK_LINE, THREADS = BACK_THREADS;
    ASSAY_DYNAMIC_SHARED(float, shared);
    float* const queries = shared;
    float* const keys = queries + DEPTH * LINE;
    float* const values = keys + DEPTH * LINE;
    float* const d_outs = values + DEPTH * LINE;
    // A line for each of the other side.
    float* const gradients = d_outs + DEPTH * LINE;
    float* const weights = gradients + SIDE * LINE;
    const u32 tiles = ceil_div(length, SIDE), x = threadIdx.x % 8, y = threadIdx.x / 8;
    const Head head(blockIdx.x / tiles, length, heads, width);
    const u32 first = blockIdx.x % tiles * SIDE;
    const float slope = slope_of(table, position, head);
    const float* const angles = angles_of(table, position);
    const bool is_causal = causal != 0;
    const auto load_queries = [&](u32 place) {
        load_turned<DEPTH, SIDE, LINE, THREADS>(queries, q, head, place, angles);
        load_turned<DEPTH, SIDE, LINE, THREADS>(d_outs, d_out, head, place, nullptr);
    };
    const auto load_keys = [&](u32 place) {
        load_turned<DEPTH, SIDE, LINE, THREADS>(keys, k, head, place, angles);
        load_turned<DEPTH, SIDE, LINE, THREADS>(values, v, head, place, nullptr);
    };
    if (OF_KEYS) {
        load_keys(first);
    } else {
        load_queries(first);
    }
    float sums[4][DEPTH / 8] = {}, of_values[4][DEPTH / 8] = {};
    const u32 begin = OF_KEYS && is_causal ? first : 0;
    const u32 end = !OF_KEYS && is_causal ? minimum(first + SIDE, length) : length;
    for (u32 other = begin; other < end; other += SIDE) {
        // What the last turn read may be overwritten.
        __syncthreads();
        if (OF_KEYS) {
            load_queries(other);
        } else {
            load_keys(other);
        }
        __syncthreads();
        const u32 first_query = OF_KEYS ? other : first, first_key = OF_KEYS ? first : other;
        float p[4][4] = {}, ds[4][4] = {};
        products<DEPTH, LINE>(p, queries + 4 * y, keys + 4 * x);
        products<DEPTH, LINE>(ds, d_outs + 4 * y, values + 4 * x);
#pragma unroll
        for (u32 r = 0; r < 4; ++r) {
            const u32 query = first_query + 4 * y + r;
            const u64 row = query < length ? head.number(query) : 0;
            const float log_sum = log_sums[row], dot = dots[row];
#pragma unroll
            for (u32 s = 0; s < 4; ++s) {
                const u32 key = first_key + 4 * x + s;
                const bool is_seen = query < length && key < length && (!is_causal || key <= query);
                const float value = score(p[r][s], scale, slope, query, key);
                p[r][s] = is_seen ? expf(value - log_sum) : 0.0f;
                ds[r][s] = is_seen ? p[r][s] * (ds[r][s] - dot) : 0.0f;
                // Lines of queries where keys have the gradients, of keys where queries have them.
                const u32 at = OF_KEYS ? (4 * y + r) * LINE + 4 * x + s : (4 * x + s) * LINE + 4 * y + r;
                gradients[at] = ds[r][s];
                if (OF_KEYS) weights[at] = p[r][s];
            }
        }
        __syncthreads();
        accumulate<DEPTH>(sums, gradients + 4 * y, (OF_KEYS ? queries : keys) + x * LINE);
        if (OF_KEYS) accumulate<DEPTH>(of_values, weights + 4 * y, d_outs + x * LINE);
    }
    store<DEPTH>(d_first, sums, head, first + 4 * y, scale, angles);
    if (OF_KEYS) store<DEPTH>(d_second, of_values, head, first + 4 * y, 1.0f, nullptr);
}
