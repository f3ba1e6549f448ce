// Attention of bf16 and f16 without scores in memory, forward and backward, on tensor cores, by the instruction of one warp
// (mma.sync): what `ml/flash.cu` computes of f32, in the same order of blocks.
//
// A block has a tile of queries (or, for gradients of keys and values, of keys) of one head, each warp 16 or 32 rows of it, and
// goes over all tiles of the other side. Of these two are in shared memory: one is multiplied, one is under way. Scores stay in
// the registers where one product leaves them, which are those where the next one wants its left operand: probabilities, and
// gradients of scores, are rounded to 16 bits there. So are rotated queries and keys, by the threads that copied them. Sums are
// f32, each in one order. Columns beyond the head's width, and rows beyond the sequence, are 0.
#include "common/loader.cuh"
#include "ml/heads.cuh"

using namespace assay;

namespace flash_tensor {

/// What multiplies numbers of a type.
template <class T>
struct Tensor {
    using Kind = Bf16Tensor;
};
template <>
struct Tensor<f16> {
    using Kind = F16Tensor;
};

/// Exponents are of 2: `e^x = 2^(x LOG2_E)`, and `ln x = LN_2 log2 x`.
constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147182f;

/// `2^x`; what would be subnormal is 0.
ASSAY_DEVICE float exp2_of(float x) {
#ifndef ASSAY_EMULATION
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
#else
    return x < -126.0f ? 0.0f : exp2f(x);
#endif
}

/// ROWS rows of a head in shared memory, in DEPTH columns, of which the head has the first.
template <class T, u32 DEPTH, u32 ROWS, u32 THREADS>
class Tile {
  public:
    using Element = T;
    static constexpr u32 COLUMNS = DEPTH, BYTES = ROWS * DEPTH * sizeof(T);

    /// Begins copying the rows from `place` on.
    ASSAY_DEVICE static void copy(AsyncCopies& copies, u8* tile, const T* from, const Head& head, u32 place) {
        if (head.width % PER_CHUNK == 0) {
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) copy_own<true>(copies, tile, from, head, place, i);
        } else {
#pragma unroll 1
            for (u32 i = 0; i < COUNT; ++i) copy_own<false>(copies, tile, from, head, place, i);
        }
    }

    /// Rotates the pairs that this thread has copied, once they are there.
    ASSAY_DEVICE static void rotate(u8* tile, const Head& head, u32 place, const float* angles) {
        const u32 pairs = head.width / 2;
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) {
            const u32 row = own_row(i);
            if (place + row >= head.length) continue;
            const float2* const of_row = reinterpret_cast<const float2*>(angles) + u64(place + row) * pairs;
            u32* const words = reinterpret_cast<u32*>(tile + place_of(row, own_chunk()));
#pragma unroll
            for (u32 j = 0; j < PER_CHUNK / 2; ++j) {
                const u32 pair = PER_CHUNK / 2 * own_chunk() + j;
                if (pair >= pairs) continue;
                const float2 angle = of_row[pair], x = T::unpack(words[j]);
                words[j] = T::pack(x.x * angle.x - x.y * angle.y, x.x * angle.y + x.y * angle.x);
            }
        }
    }

    /// 16 rows, from a multiple of 8 on, by 16 columns, from `16 step` on, as the left side of an instruction has them.
    ASSAY_DEVICE static void load_left(u32 (&r)[4], const u8* tile, u32 row, u32 step) {
        const u32 lane = lane_number();
        load_matrices(r, tile + row * LINE + place_of(lane % 16, 2 * step + lane / 16));
    }

    /// The same as the right sides of two instructions, whose columns are 8 of the rows: r[0] and r[1], r[2] and r[3].
    ASSAY_DEVICE static void load_turned(u32 (&r)[4], const u8* tile, u32 row, u32 step) {
        const u32 lane = lane_number();
        load_matrices(r, tile + row * LINE + place_of(lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2));
    }

    /// The same as the right sides of two instructions, whose columns are 8 of the columns.
    ASSAY_DEVICE static void load_plain(u32 (&r)[4], const u8* tile, u32 row, u32 step) {
        const u32 lane = lane_number();
        load_matrices_transposed(r, tile + row * LINE + place_of(lane % 16, 2 * step + lane / 16));
    }

  private:
    static constexpr u32 PER_CHUNK = 16 / sizeof(T), CHUNKS = DEPTH / PER_CHUNK, LINE = 16 * CHUNKS;
    /// Chunks of 16 bytes of a thread: the same of every so many rows.
    static constexpr u32 APART = THREADS / CHUNKS, COUNT = ROWS / APART;
    static_assert(CHUNKS % 8 == 0 && THREADS % CHUNKS == 0 && ROWS % APART == 0, "as many chunks for each thread");

    ASSAY_DEVICE static u32 own_row(u32 i) { return threadIdx.x / CHUNKS + i * APART; }
    ASSAY_DEVICE static u32 own_chunk() { return threadIdx.x % CHUNKS; }

    template <bool VECTOR>
    ASSAY_DEVICE static void copy_own(AsyncCopies& copies, u8* tile, const T* from, const Head& head, u32 place, u32 i) {
        const u32 row = own_row(i), column = PER_CHUNK * own_chunk();
        const i32 count = place + row < head.length ? static_cast<i32>(head.width - column) : 0;
        copy_chunk<VECTOR>(copies, tile + place_of(row, own_chunk()), from + head.row(place + row) + column, from, count);
    }

    /// Where 16 bytes of a row are, so that those of eight rows that are read at once take all banks.
    ASSAY_DEVICE static u32 place_of(u32 row, u32 chunk) { return row * LINE + (chunk ^ row % 8) * 16; }
};

/// Accumulators of a warp: UNITS times 16 rows, COLUMNS columns.
template <u32 UNITS, u32 COLUMNS>
struct Sums {
    float at[UNITS][COLUMNS / 8][4] = {};

    /// Calls `body(unit, half, column, value)` for the values of this lane, row by row: those of row `row(unit, half)`.
    template <class Body>
    ASSAY_DEVICE void each(Body body) {
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit) {
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
#pragma unroll
                for (u32 j = 0; j < COLUMNS / 8; ++j) {
#pragma unroll
                    for (u32 i = 0; i < 2; ++i) body(unit, half, 8 * j + i, at[unit][j][2 * half + i]);
                }
            }
        }
    }

    ASSAY_DEVICE static u32 row(u32 unit, u32 half) { return 16 * unit + 8 * half + lane_number() / 4; }
    /// What is added to columns that `each` tells of.
    ASSAY_DEVICE static u32 first_column() { return lane_number() % 4 * 2; }

    /// Adds the product of operands, the right one as `Tile` loads it, to 16 columns.
    template <class T>
    ASSAY_DEVICE void multiply(u32 j, const u32 (&left)[UNITS][4], const u32 (&right)[4]) {
        const u32 first[2] = {right[0], right[1]}, last[2] = {right[2], right[3]};
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit) {
            assay::multiply<typename Tensor<T>::Kind>(at[unit][2 * j], left[unit], first);
            assay::multiply<typename Tensor<T>::Kind>(at[unit][2 * j + 1], left[unit], last);
        }
    }

    /// Adds the products of rows of this warp and those of a tile. `left(operand, step)` gives 16 columns of the former.
    template <class Right, class Left>
    ASSAY_DEVICE void add_products(Left left, const u8* right) {
#pragma unroll
        for (u32 step = 0; step < Right::COLUMNS / 16; ++step) {
            u32 a[UNITS][4], b[4];
            left(a, step);
#pragma unroll
            for (u32 j = 0; j < COLUMNS / 16; ++j) {
                Right::load_turned(b, right, 16 * j, step);
                multiply<typename Right::Element>(j, a, b);
            }
        }
    }

    /// Adds rows of a tile, weighted; weights are rounded to its type.
    template <class Right, u32 ROWS>
    ASSAY_DEVICE void add_weighted(const Sums<UNITS, ROWS>& weights, const u8* right) {
#pragma unroll
        for (u32 step = 0; step < ROWS / 16; ++step) {
            u32 a[UNITS][4], b[4];
#pragma unroll
            for (u32 unit = 0; unit < UNITS; ++unit) {
#pragma unroll
                for (u32 i = 0; i < 4; ++i) {
                    const float* const two = weights.at[unit][2 * step + i / 2] + i % 2 * 2;
                    a[unit][i] = Right::Element::pack(two[0], two[1]);
                }
            }
#pragma unroll
            for (u32 j = 0; j < COLUMNS / 16; ++j) {
                Right::load_plain(b, right, 16 * step, j);
                multiply<typename Right::Element>(j, a, b);
            }
        }
    }
};

/// What becomes of products of queries and keys, before they are scaled.
struct Scores {
    /// Slope of the linear biases, over the scale; 0 without.
    float slope;
    bool is_causal;
    u32 length;

    /// Adds biases to scores of rows and columns from these on, and hides keys that a query does not see. TURNED: rows are keys.
    template <bool TURNED, u32 UNITS, u32 COLUMNS>
    ASSAY_DEVICE void finish(Sums<UNITS, COLUMNS>& scores, u32 row, u32 column) const {
        using All = Sums<UNITS, COLUMNS>;
        const u32 own_column = column + All::first_column();
        if (slope != 0.0f) {
            scores.each([&](u32 unit, u32 half, u32 j, float& score) {
                const i32 apart = static_cast<i32>(row + All::row(unit, half) - own_column);
                score = __fmaf_rn(-slope, fabsf(static_cast<float>(apart) - static_cast<float>(j)), score);
            });
        }
        const u32 last_row = row + 16 * UNITS - 1, last_column = column + COLUMNS - 1;
        const bool is_seen_by_all = TURNED ? !is_causal || last_row <= column
                                           : last_column < length && (!is_causal || last_column <= row);
        if (is_seen_by_all) return;
        scores.each([&](u32 unit, u32 half, u32 j, float& score) {
            const u32 at_row = row + All::row(unit, half), at_column = own_column + j;
            const u32 query = TURNED ? at_column : at_row, key = TURNED ? at_row : at_column;
            if (key >= length || (is_causal && key > query)) score = minus_infinity();
        });
    }
};

/// The softmax of UNITS times 16 rows, as it goes. Exponents are of 2.
template <u32 UNITS>
class Softmax {
  public:
    /// The largest exponents so far, and this lane's parts of the sums of powers, over what 2 to the power of the former is.
    float tops[UNITS][2], totals[UNITS][2];

    ASSAY_DEVICE Softmax() {
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit) {
            tops[unit][0] = tops[unit][1] = minus_infinity();
            totals[unit][0] = totals[unit][1] = 0.0f;
        }
    }

    /// Replaces scores, which times `factor` are exponents, by powers, and corrects sums that were weighted before.
    template <u32 COLUMNS, u32 DEPTH>
    ASSAY_DEVICE void add(Sums<UNITS, COLUMNS>& scores, Sums<UNITS, DEPTH>& weighted, float factor) {
        float most[UNITS][2];
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit) most[unit][0] = most[unit][1] = minus_infinity();
        scores.each([&](u32 unit, u32 half, u32, float& score) { most[unit][half] = fmaxf(most[unit][half], score); });
        float less[UNITS][2];
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit) {
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
                float& top = tops[unit][half];
                const float next = fmaxf(top, over_row<Maximum>(most[unit][half]) * factor);
                less[unit][half] = exp2_of(top - next);
                totals[unit][half] *= less[unit][half];
                top = next;
            }
        }
        weighted.each([&](u32 unit, u32 half, u32, float& sum) { sum *= less[unit][half]; });
        scores.each([&](u32 unit, u32 half, u32, float& score) {
            score = exp2_of(__fmaf_rn(score, factor, -tops[unit][half]));
            totals[unit][half] += score;
        });
    }

    /// Makes totals those of all lanes that have a row.
    ASSAY_DEVICE void gather() {
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit) {
#pragma unroll
            for (u32 half = 0; half < 2; ++half) totals[unit][half] = over_row<Sum>(totals[unit][half]);
        }
    }

  private:
    /// Over the four lanes that have a row, in each of them.
    template <class How>
    ASSAY_DEVICE static float over_row(float value) {
        value = How::combine(value, __shfl_xor_sync(ALL_LANES, value, 1));
        return How::combine(value, __shfl_xor_sync(ALL_LANES, value, 2));
    }
};

/// Stores rows from `place` on, each value times `factor(unit, half)`, with pairs rotated back if there are `angles`.
template <class T, u32 UNITS, u32 COLUMNS, class Factor>
ASSAY_DEVICE void store(T* to, const Sums<UNITS, COLUMNS>& sums, const Head& head, u32 place, const float* angles, Factor factor) {
    using All = Sums<UNITS, COLUMNS>;
#pragma unroll
    for (u32 unit = 0; unit < UNITS; ++unit) {
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 row = place + All::row(unit, half);
            if (row >= head.length) continue;
            const float times = factor(unit, half);
#pragma unroll
            for (u32 j = 0; j < COLUMNS / 8; ++j) {
                const u32 column = 8 * j + All::first_column();
                float x = sums.at[unit][j][2 * half] * times, y = sums.at[unit][j][2 * half + 1] * times;
                if (angles != nullptr && column < head.width) {
                    const float2 angle = reinterpret_cast<const float2*>(angles)[(u64(row) * head.width + column) / 2];
                    const float turned = x * angle.x + y * angle.y;
                    y = y * angle.x - x * angle.y;
                    x = turned;
                }
                const i32 count = static_cast<i32>(head.width - column);
                T* const at = to + head.row(row) + column;
                if (head.width % 2 == 0) {
                    store_two<true>(at, x, y, count);
                } else {
                    store_two<false>(at, x, y, count);
                }
            }
        }
    }
}

}  // namespace flash_tensor

/// The output, and for each query the logarithm of the sum of the exponentials of its scores, [batch, length, heads]. Blocks
/// have 128 queries. Dynamic shared memory: twice the keys and the values of a tile.
template <class T, u32 DEPTH>
__global__ void __launch_bounds__(DEPTH == 64 ? 128 : 256)
    flash_forward_tensor(T* out, float* log_sums, const T* q, const T* k, const T* v, const float* table, u32 position, u32 causal,
                         u32 length, u32 heads, u32 width, float scale) {
    using namespace flash_tensor;
    constexpr u32 QUERIES = 128, KEYS = 64, THREADS = DEPTH == 64 ? 128 : 256, UNITS = QUERIES / (THREADS / 2);
    using Queries = Tile<T, DEPTH, QUERIES, THREADS>;
    using Keys = Tile<T, DEPTH, KEYS, THREADS>;
    constexpr u32 STAGE = 2 * Keys::BYTES;
    static_assert(Queries::BYTES <= STAGE, "queries come to where the second stage will be");
    ASSAY_DYNAMIC_SHARED(u8, shared);
    const u32 tiles = ceil_div(length, QUERIES);
    const Head head(blockIdx.x / tiles, length, heads, width);
    // The longest rows of a causal mask first.
    const u32 first = (tiles - 1 - blockIdx.x % tiles) * QUERIES;
    const u32 own = first + warp_number() * 16 * UNITS;
    const float* const angles = angles_of(table, position);
    const Scores rule = {slope_of(table, position, head) / scale, causal != 0, length};
    AsyncCopies copies;
    const auto next = [&](u32 key) {
        u8* const stage = shared + key / KEYS % 2 * STAGE;
        Keys::copy(copies, stage, k, head, key);
        Keys::copy(copies, stage + Keys::BYTES, v, head, key);
        copies.commit();
    };
    Queries::copy(copies, shared + STAGE, q, head, first);
    next(0);
    copies.wait<0>();
    if (angles != nullptr) Queries::rotate(shared + STAGE, head, first, angles);
    __syncthreads();
    u32 queries[DEPTH / 16][UNITS][4];
#pragma unroll
    for (u32 step = 0; step < DEPTH / 16; ++step) {
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit)
            Queries::load_left(queries[step][unit], shared + STAGE, own - first + 16 * unit, step);
    }
    const auto of_step = [&](u32(&operand)[UNITS][4], u32 step) {
#pragma unroll
        for (u32 unit = 0; unit < UNITS; ++unit) {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) operand[unit][i] = queries[step][unit][i];
        }
    };
    Sums<UNITS, DEPTH> sums;
    Softmax<UNITS> softmax;
    const u32 end = causal != 0 ? minimum(first + QUERIES, length) : length;
    for (u32 key = 0; key < end; key += KEYS) {
        u8* const stage = shared + key / KEYS % 2 * STAGE;
        copies.wait<0>();
        if (angles != nullptr) Keys::rotate(stage, head, key, angles);
        // Keys and values are there for all, and nobody reads the other stage any more.
        __syncthreads();
        if (key + KEYS < end) next(key + KEYS);
        // Of this warp no query is there, or none sees these keys.
        if (own >= length || (causal != 0 && key >= own + 16 * UNITS)) continue;
        Sums<UNITS, KEYS> scores;
        scores.template add_products<Keys>(of_step, stage);
        rule.finish<false>(scores, own, key);
        softmax.add(scores, sums, scale * LOG2_E);
        sums.template add_weighted<Keys>(scores, stage + Keys::BYTES);
    }
    softmax.gather();
    store(out, sums, head, own, nullptr, [&](u32 unit, u32 half) {
        const float total = softmax.totals[unit][half];
        const u64 row = head.number(own + sums.row(unit, half));
        if (lane_number() % 4 == 0) log_sums[row] = softmax.tops[unit][half] * LN_2 + logf(total);
        return 1.0f / total;
    });
}

/// Gradients of keys and values (OF_KEYS: `d_first` and `d_second`), or of queries (`d_first`). Blocks have 64 keys or queries.
/// Dynamic shared memory: those, and twice a tile of the other side with a logarithm and a dot for each of its rows.
template <class T, u32 DEPTH, bool OF_KEYS>
__global__ void __launch_bounds__(128, DEPTH == 64 && !OF_KEYS ? 3 : 2)
    flash_backward_tensor(T* d_first, T* d_second, const T* q, const T* k, const T* v, const float* table, const T* d_out,
                          const float* log_sums, const float* dots, u32 position, u32 causal, u32 length, u32 heads, u32 width,
                          float scale) {
    using namespace flash_tensor;
    constexpr u32 OWN = 64, OTHERS = DEPTH == 64 ? 64 : 32, THREADS = 128;
    using Own = Tile<T, DEPTH, OWN, THREADS>;
    using Others = Tile<T, DEPTH, OTHERS, THREADS>;
    constexpr u32 STAGE = 2 * Others::BYTES + 2 * OTHERS * sizeof(float);
    ASSAY_DYNAMIC_SHARED(u8, shared);
    u8* const stages = shared + 2 * Own::BYTES;
    const u32 tiles = ceil_div(length, OWN), tile = blockIdx.x % tiles;
    const Head head(blockIdx.x / tiles, length, heads, width);
    // The longest rows, or columns, of a causal mask first.
    const u32 first = (OF_KEYS ? tile : tiles - 1 - tile) * OWN, within = warp_number() * 16, own = first + within;
    const float* const angles = angles_of(table, position);
    const bool is_causal = causal != 0;
    const Scores rule = {slope_of(table, position, head) / scale, is_causal, length};
    AsyncCopies copies;
    const auto next = [&](u32 other) {
        u8* const stage = stages + other / OTHERS % 2 * STAGE;
        Others::copy(copies, stage, OF_KEYS ? q : k, head, other);
        Others::copy(copies, stage + Others::BYTES, OF_KEYS ? d_out : v, head, other);
        if (OF_KEYS && threadIdx.x < OTHERS) {
            float* const numbers = reinterpret_cast<float*>(stage + 2 * Others::BYTES) + threadIdx.x;
            const u32 query = other + threadIdx.x, valid = query < length ? sizeof(float) : 0;
            const u64 from = valid != 0 ? head.number(query) : 0;
            copies.copy4(numbers, log_sums + from, valid);
            copies.copy4(numbers + OTHERS, dots + from, valid);
        }
        copies.commit();
    };
    const u32 begin = OF_KEYS && is_causal ? first : 0;
    const u32 end = !OF_KEYS && is_causal ? minimum(first + OWN, length) : length;
    Own::copy(copies, shared, OF_KEYS ? k : q, head, first);
    Own::copy(copies, shared + Own::BYTES, OF_KEYS ? v : d_out, head, first);
    next(begin);
    copies.wait<0>();
    if (angles != nullptr) Own::rotate(shared, head, first, angles);
    const auto of_scores = [&](u32(&operand)[1][4], u32 step) { Own::load_left(operand[0], shared, within, step); };
    const auto of_gradients = [&](u32(&operand)[1][4], u32 step) { Own::load_left(operand[0], shared + Own::BYTES, within, step); };
    // Of rows that are queries.
    float log_sum[2] = {}, dot[2] = {};
#pragma unroll
    for (u32 half = 0; half < 2; ++half) {
        const u32 query = own + Sums<1, DEPTH>::row(0, half);
        if (OF_KEYS || query >= length) continue;
        log_sum[half] = log_sums[head.number(query)] * LOG2_E;
        dot[half] = dots[head.number(query)];
    }
    Sums<1, DEPTH> sums, of_values;
    for (u32 other = begin; other < end; other += OTHERS) {
        u8* const stage = stages + other / OTHERS % 2 * STAGE;
        copies.wait<0>();
        if (angles != nullptr) Others::rotate(stage, head, other, angles);
        // This tile is there for all, and nobody reads the other stage any more.
        __syncthreads();
        if (other + OTHERS < end) next(other + OTHERS);
        // Of this warp no row is there, or none is seen or sees.
        if (own >= length || (is_causal && (OF_KEYS ? other + OTHERS <= own : other >= own + 16))) continue;
        Sums<1, OTHERS> p, ds;
        p.template add_products<Others>(of_scores, stage);
        rule.finish<OF_KEYS>(p, own, other);
        ds.template add_products<Others>(of_gradients, stage + Others::BYTES);
        const float* const numbers = reinterpret_cast<const float*>(stage + 2 * Others::BYTES) + p.first_column();
        p.each([&](u32, u32 half, u32 j, float& score) {
            score = exp2_of(__fmaf_rn(score, scale * LOG2_E, -(OF_KEYS ? numbers[j] * LOG2_E : log_sum[half])));
            float& gradient = ds.at[0][j / 8][2 * half + j % 2];
            gradient = score * (gradient - (OF_KEYS ? numbers[OTHERS + j] : dot[half]));
        });
        sums.template add_weighted<Others>(ds, stage);
        if (OF_KEYS) of_values.template add_weighted<Others>(p, stage + Others::BYTES);
    }
    store(d_first, sums, head, own, angles, [&](u32, u32) { return scale; });
    if (OF_KEYS) store(d_second, of_values, head, own, nullptr, [](u32, u32) { return 1.0f; });
}
