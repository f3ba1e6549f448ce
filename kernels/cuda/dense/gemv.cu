// A large matrix A of `rows` by `cols`, row-major, times one vector or a few (WIDTH): all that counts is how fast A is read.
//
//   rows_times     C = A B, B of `cols` by WIDTH: threads go along rows, and sums over threads end each.
//   columns_times  C = B A, B of WIDTH by `rows`: a thread has a pack of columns, and goes down them.
//
// A is read once, 16 bytes at a time where lines allow it (VECTOR). A block may have a piece of the sums alone, a part of each
// row or some of the rows: the number of the piece is `blockIdx.y`, and the block that finishes last adds up what all have left,
// in the order of their numbers. No block waits, and the same inputs give the same bits. Sums are in `float`, of `double` in
// `double`.
#include "common/block.cuh"
#include "common/half.cuh"

using namespace assay;

namespace gemv {

constexpr u32 THREADS = 256, WARPS = THREADS / WARP;

template <class T>
struct SumOf {
    using Type = float;
};
template <>
struct SumOf<double> {
    using Type = double;
};
template <class T>
using Sum = typename SumOf<T>::Type;

ASSAY_DEVICE float multiply_add(float x, float y, float z) { return __fmaf_rn(x, y, z); }
ASSAY_DEVICE double multiply_add(double x, double y, double z) { return __fma_rn(x, y, z); }

/// Which element of `LANES` packs next to each other is number `e` of a lane's. Without VECTOR a pack is spread, so that lanes
/// read side by side all the same.
template <class T, bool VECTOR, u32 LANES>
ASSAY_DEVICE u32 place_of(u32 lane, u32 e) {
    return VECTOR ? lane * Pack<T>::WIDTH + e : e * LANES + lane;
}

/// A lane's pack of those that begin at `from`, where `count` elements are left: zeros for others. ONCE: nobody reads it again.
template <bool VECTOR, u32 LANES, bool ONCE, class T>
ASSAY_DEVICE Pack<T> load(const T* from, u32 lane, u64 count) {
    Pack<T> pack = {};
    if (VECTOR) {
        if (lane * Pack<T>::WIDTH < count) {
            const uint4* const place = reinterpret_cast<const uint4*>(from) + lane;
            const uint4 bits = ONCE ? __ldcs(place) : *place;
            pack = reinterpret_cast<const Pack<T>&>(bits);
        }
    } else {
#pragma unroll
        for (u32 e = 0; e < Pack<T>::WIDTH; ++e) {
            const u32 i = place_of<T, VECTOR, LANES>(lane, e);
            if (i < count) pack.at[e] = from[i];
        }
    }
    return pack;
}

ASSAY_DEVICE u64 left_of(u64 from, u64 end) { return from < end ? end - from : 0; }

/// Sums COUNT values over the lanes of a warp, half of the values by half of the lanes each time. In the end a lane has those
/// from `lane * COUNT / 32` on, at least one.
template <int COUNT, u32 APART = WARP / 2, class S>
ASSAY_DEVICE void share_sums(S* values) {
    if constexpr (COUNT > 1) {
        constexpr int HALF = COUNT / 2;
        const bool upper = (lane_number() & APART) != 0;
#pragma unroll
        for (int i = 0; i < HALF; ++i) {
            const S given = upper ? values[i] : values[i + HALF];
            const S kept = upper ? values[i + HALF] : values[i];
            values[i] = kept + __shfl_xor_sync(ALL_LANES, given, APART);
        }
    } else {
        values[0] += __shfl_xor_sync(ALL_LANES, values[0], APART);
    }
    if constexpr (APART > 1) share_sums<(COUNT > 1 ? COUNT / 2 : 1), APART / 2>(values);
}

/// Where blocks leave what they have summed: in C, or beside it where others have the rest.
template <class T>
struct Out {
    T* c;
    Sum<T>* parts;
    u32* finished;
    /// Elements of C.
    u64 count;

    ASSAY_DEVICE void store(u64 index, Sum<T> sum) const {
        if (gridDim.y == 1) {
            c[index] = static_cast<T>(sum);
        } else {
            parts[blockIdx.y * count + index] = sum;
        }
    }

    /// Whether this block is the last of those with pieces of the same sums. Every thread of the block calls.
    ASSAY_DEVICE bool is_last() const {
        __shared__ bool last;
        if (gridDim.y == 1) return false;
        __syncthreads();
        if (threadIdx.x == 0) {
            // What this block left is visible to whoever sees that it has finished.
            __threadfence();
            last = atomicAdd(finished + blockIdx.x, 1) == gridDim.y - 1;
            if (last) finished[blockIdx.x] = 0;
        }
        __syncthreads();
        if (last) __threadfence();
        return last;
    }

    ASSAY_DEVICE void add_pieces(u64 index) const {
        Sum<T> sum = 0;
#pragma unroll 8
        for (u32 piece = 0; piece < gridDim.y; ++piece) sum += __ldcg(parts + piece * count + index);
        c[index] = static_cast<T>(sum);
    }
};

/// Rows that threads go along together, and packs of each that they have in flight.
template <u32 WIDTH>
struct Along {
    static constexpr u32 ROWS = WIDTH == 1 ? 2 : WIDTH == 16 ? 4 : 8, IN_FLIGHT = WIDTH == 1 ? 4 : 1;
};

/// One vector: x is read beside A, through the caches.
template <class T, u32 LANES, bool VECTOR, u32 ROWS>
ASSAY_DEVICE void along_rows(Sum<T> (&sums)[ROWS], const T* const (&lines)[ROWS], const T* x, u64 begin, u64 end) {
    constexpr u32 P = Pack<T>::WIDTH, IN_FLIGHT = Along<1>::IN_FLIGHT;
    const u32 lane = threadIdx.x % LANES;
    for (u64 at = begin; at < end; at += LANES * P * IN_FLIGHT) {
        Pack<T> left[IN_FLIGHT][ROWS], right[IN_FLIGHT];
#pragma unroll
        for (u32 i = 0; i < IN_FLIGHT; ++i) {
            const u64 from = at + i * LANES * P, count = left_of(from, end);
#pragma unroll
            for (u32 r = 0; r < ROWS; ++r) left[i][r] = load<VECTOR, LANES, true>(lines[r] + from, lane, count);
            right[i] = load<VECTOR, LANES, false>(x + from, lane, count);
        }
#pragma unroll
        for (u32 i = 0; i < IN_FLIGHT; ++i) {
#pragma unroll
            for (u32 e = 0; e < P; ++e) {
                const Sum<T> factor = static_cast<Sum<T>>(right[i].at[e]);
#pragma unroll
                for (u32 r = 0; r < ROWS; ++r) {
                    sums[r] = multiply_add(static_cast<Sum<T>>(left[i][r].at[e]), factor, sums[r]);
                }
            }
        }
    }
}

/// Some rows of B in shared memory, by columns, for all warps. The next are on their way in registers meanwhile.
template <class T, u32 WIDTH, bool VECTOR>
struct Staged {
    static constexpr u32 P = Pack<T>::WIDTH, DEPTH = 256, LINE = DEPTH + 4, CARRIED = DEPTH * WIDTH / THREADS;
    using Tile = Sum<T>[WIDTH][LINE];

    const T* b;
    Sum<T> carried[CARRIED];

    /// Where element `i` of a line lies: halves of packs apart, so that lanes read 16 bytes side by side.
    static ASSAY_DEVICE u32 place(u32 i) {
        return VECTOR && P == 8 ? i % P / 4 * (DEPTH / 2) + i / P * 4 + i % 4 : i;
    }

    ASSAY_DEVICE void load(u64 from, u64 end) {
#pragma unroll
        for (u32 k = 0; k < CARRIED; ++k) {
            const u64 i = from + k * (THREADS / WIDTH) + threadIdx.x / WIDTH;
            carried[k] = i < end ? static_cast<Sum<T>>(b[i * WIDTH + threadIdx.x % WIDTH]) : Sum<T>();
        }
    }

    /// Those of a lane's pack at `at`.
    static ASSAY_DEVICE void factors(Sum<T> (&to)[P], const Sum<T> (&line)[LINE], u32 at, u32 lane) {
        if (VECTOR) {
#pragma unroll
            for (u32 e = 0; e < P; e += 4) {
                const float4 four = *reinterpret_cast<const float4*>(line + place(at + lane * P + e));
                to[e] = four.x, to[e + 1] = four.y, to[e + 2] = four.z, to[e + 3] = four.w;
            }
        } else {
#pragma unroll
            for (u32 e = 0; e < P; ++e) to[e] = line[at + place_of<T, VECTOR, WARP>(lane, e)];
        }
    }

    ASSAY_DEVICE void store(Tile& tile) const {
#pragma unroll
        for (u32 k = 0; k < CARRIED; ++k) {
            tile[threadIdx.x % WIDTH][place(k * (THREADS / WIDTH) + threadIdx.x / WIDTH)] = carried[k];
        }
    }
};

/// A few vectors.
template <class T, u32 WIDTH, bool VECTOR, u32 ROWS>
ASSAY_DEVICE void along_rows_of_few(Sum<T> (&sums)[ROWS * WIDTH], const T* const (&lines)[ROWS], const T* b, u64 begin, u64 end) {
    using Stage = Staged<T, WIDTH, VECTOR>;
    constexpr u32 P = Stage::P;
    __shared__ __align__(16) typename Stage::Tile tiles[2];
    const u32 lane = lane_number();
    Stage stage{b, {}};
    stage.load(begin, end);
    u32 turn = 0;
    for (u64 first = begin; first < end; first += Stage::DEPTH, turn ^= 1) {
        // The other tile may still be read; this one was before the last barrier.
        stage.store(tiles[turn]);
        __syncthreads();
        stage.load(first + Stage::DEPTH, end);
#pragma unroll
        for (u32 at = 0; at < Stage::DEPTH; at += WARP * P) {
            Pack<T> left[ROWS];
#pragma unroll
            for (u32 r = 0; r < ROWS; ++r) {
                left[r] = load<VECTOR, WARP, true>(lines[r] + first + at, lane, left_of(first + at, end));
            }
#pragma unroll
            for (u32 j = 0; j < WIDTH; ++j) {
                Sum<T> factors[P];
                Stage::factors(factors, tiles[turn][j], at, lane);
#pragma unroll
                for (u32 e = 0; e < P; ++e) {
#pragma unroll
                    for (u32 r = 0; r < ROWS; ++r) {
                        Sum<T>& sum = sums[r * WIDTH + j];
                        sum = multiply_add(static_cast<Sum<T>>(left[r].at[e]), factors[e], sum);
                    }
                }
            }
        }
    }
}

/// Rows of B's columns in shared memory: what all lanes multiply with.
constexpr u32 DOWN_DEPTH = 128;

template <class T, u32 WIDTH>
struct Factors {
    static constexpr u32 LINE = WIDTH + 4, CARRIED = DOWN_DEPTH * WIDTH / THREADS;
    using Tile = Sum<T>[DOWN_DEPTH][LINE];

    const T* b;
    u64 rows;
    Sum<T> carried[CARRIED];

    ASSAY_DEVICE void load(u64 from, u64 end) {
        const u64 i = from + threadIdx.x % DOWN_DEPTH;
#pragma unroll
        for (u32 k = 0; k < CARRIED; ++k) {
            const u32 j = k * (THREADS / DOWN_DEPTH) + threadIdx.x / DOWN_DEPTH;
            carried[k] = i < end ? static_cast<Sum<T>>(b[j * rows + i]) : Sum<T>();
        }
    }

    ASSAY_DEVICE void store(Tile& tile) const {
#pragma unroll
        for (u32 k = 0; k < CARRIED; ++k) {
            tile[threadIdx.x % DOWN_DEPTH][k * (THREADS / DOWN_DEPTH) + threadIdx.x / DOWN_DEPTH] = carried[k];
        }
    }
};

/// Packs of rows that begin at `from`, as far as there are any before `end`.
template <bool VECTOR, u32 COUNT, class T>
ASSAY_DEVICE void load_rows(Pack<T> (&packs)[COUNT], const T* column, u64 cols, u64 from, u64 end, u64 left) {
#pragma unroll
    for (u32 i = 0; i < COUNT; ++i) {
        packs[i] = load<VECTOR, WARP, true>(column + (from + i) * cols, lane_number(), from + i < end ? left : 0);
    }
}

/// One vector. SHARING warps take turns at rows of the same columns.
template <class T, u32 SHARING, bool VECTOR, u32 P>
ASSAY_DEVICE void down_columns(Sum<T> (&sums)[1][P], const T* column, const T* x, u64 cols, u64 begin, u64 end, u64 left) {
    constexpr u32 IN_FLIGHT = 8;
    for (u64 row = begin + warp_number() % SHARING * IN_FLIGHT; row < end; row += SHARING * IN_FLIGHT) {
        Pack<T> packs[IN_FLIGHT];
        load_rows<VECTOR>(packs, column, cols, row, end, left);
#pragma unroll
        for (u32 i = 0; i < IN_FLIGHT; ++i) {
            const Sum<T> factor = row + i < end ? static_cast<Sum<T>>(x[row + i]) : Sum<T>();
#pragma unroll
            for (u32 e = 0; e < P; ++e) sums[0][e] = multiply_add(static_cast<Sum<T>>(packs[i].at[e]), factor, sums[0][e]);
        }
    }
}

/// A few vectors.
template <class T, u32 WIDTH, bool VECTOR, u32 P>
ASSAY_DEVICE void down_columns_of_few(
    Sum<T> (&sums)[WIDTH][P], const T* column, const T* b, u64 rows, u64 cols, u64 begin, u64 end, u64 left) {
    constexpr u32 IN_FLIGHT = 4;
    using Stage = Factors<T, WIDTH>;
    __shared__ __align__(16) typename Stage::Tile tiles[2];
    Stage stage{b, rows, {}};
    stage.load(begin, end);
    u32 turn = 0;
    for (u64 first = begin; first < end; first += DOWN_DEPTH, turn ^= 1) {
        // The other tile may still be read; this one was before the last barrier.
        stage.store(tiles[turn]);
        __syncthreads();
        stage.load(first + DOWN_DEPTH, end);
        for (u32 at = warp_number() * IN_FLIGHT; at < DOWN_DEPTH && first + at < end; at += WARPS * IN_FLIGHT) {
            Pack<T> packs[IN_FLIGHT];
            load_rows<VECTOR>(packs, column, cols, first + at, end, left);
#pragma unroll
            for (u32 i = 0; i < IN_FLIGHT; ++i) {
#pragma unroll
                for (u32 j = 0; j < WIDTH; ++j) {
                    const Sum<T> factor = tiles[turn][at + i][j];
#pragma unroll
                    for (u32 e = 0; e < P; ++e) {
                        sums[j][e] = multiply_add(static_cast<Sum<T>>(packs[i].at[e]), factor, sums[j][e]);
                    }
                }
            }
        }
    }
}

}  // namespace gemv

/// LANES threads, a warp or the block, go along the same rows, `Along::ROWS` of them. A block has `piece` columns, the last one
/// those that are left.
template <class T, u32 WIDTH, u32 LANES, bool VECTOR>
__global__ void __launch_bounds__(gemv::THREADS) rows_times(
    T* c, gemv::Sum<T>* parts, u32* finished, const T* a, const T* b, u64 rows, u64 cols, u64 piece) {
    using namespace gemv;
    constexpr u32 ROWS = Along<WIDTH>::ROWS, COUNT = ROWS * WIDTH, GROUPS = THREADS / LANES;
    static_assert(LANES == WARP || WIDTH == 1, "a block shares rows of one vector only");
    const Out<T> out{c, parts, finished, rows * WIDTH};
    const u64 block_row = u64(blockIdx.x) * GROUPS * ROWS, row = block_row + threadIdx.x / LANES * ROWS;
    const u64 begin = blockIdx.y * piece, end = minimum(cols, begin + piece);
    const T* lines[ROWS];
    // Lines beyond the last are that one again.
#pragma unroll
    for (u32 r = 0; r < ROWS; ++r) lines[r] = a + minimum(row + r, rows - 1) * cols;
    Sum<T> sums[COUNT] = {};
    if constexpr (WIDTH == 1) {
        along_rows<T, LANES, VECTOR>(sums, lines, b, begin, end);
    } else {
        along_rows_of_few<T, WIDTH, VECTOR>(sums, lines, b, begin, end);
    }
    share_sums<COUNT>(sums);
    constexpr u32 PER_LANE = COUNT < WARP ? 1 : COUNT / WARP, HOLDERS = COUNT < WARP ? WARP / COUNT : 1;
    const u32 first = lane_number() * COUNT / WARP;
    if constexpr (LANES == WARP) {
#pragma unroll
        for (u32 i = 0; i < PER_LANE; ++i) {
            const u64 index = row * WIDTH + first + i;
            if (lane_number() % HOLDERS == 0 && index < out.count) out.store(index, sums[i]);
        }
    } else {
        __shared__ Sum<T> of_warps[COUNT][WARPS];
        if (lane_number() % HOLDERS == 0) of_warps[first][warp_number()] = sums[0];
        __syncthreads();
        if (threadIdx.x < COUNT && row + threadIdx.x < rows) {
            Sum<T> sum = 0;
            for (u32 warp = 0; warp < WARPS; ++warp) sum += of_warps[threadIdx.x][warp];
            out.store(row + threadIdx.x, sum);
        }
    }
    if (!out.is_last()) return;
    const u64 last = minimum((block_row + GROUPS * ROWS) * WIDTH, out.count);
    for (u64 index = block_row * WIDTH + threadIdx.x; index < last; index += THREADS) out.add_pieces(index);
}

/// SHARING warps, one or all of the block's, have the same 32 packs of columns. A block has `piece` rows, the last one those
/// that are left.
template <class T, u32 WIDTH, u32 SHARING, bool VECTOR>
__global__ void __launch_bounds__(gemv::THREADS) columns_times(
    T* c, gemv::Sum<T>* parts, u32* finished, const T* a, const T* b, u64 rows, u64 cols, u64 piece) {
    using namespace gemv;
    constexpr u32 P = Pack<T>::WIDTH, STRIP = WARP * P;
    static_assert(SHARING == WARPS || (SHARING == 1 && WIDTH == 1), "a warp has columns of one vector only");
    const Out<T> out{c, parts, finished, cols * WIDTH};
    const u64 first = (u64(blockIdx.x) * (WARPS / SHARING) + warp_number() / SHARING) * STRIP, left = left_of(first, cols);
    const u64 begin = blockIdx.y * piece, end = minimum(rows, begin + piece);
    Sum<T> sums[WIDTH][P] = {};
    if constexpr (WIDTH == 1) {
        down_columns<T, SHARING, VECTOR>(sums, a + first, b, cols, begin, end, left);
    } else {
        down_columns_of_few<T, WIDTH, VECTOR>(sums, a + first, b, rows, cols, begin, end, left);
    }
    if constexpr (SHARING == 1) {
#pragma unroll
        for (u32 e = 0; e < P; ++e) {
            const u32 i = place_of<T, VECTOR, WARP>(lane_number(), e);
            if (i < left) out.store(first + i, sums[0][e]);
        }
    } else {
        __shared__ Sum<T> of_warps[WARPS][STRIP];
#pragma unroll
        for (u32 j = 0; j < WIDTH; ++j) {
#pragma unroll
            for (u32 e = 0; e < P; ++e) of_warps[warp_number()][place_of<T, VECTOR, WARP>(lane_number(), e)] = sums[j][e];
            __syncthreads();
            if (threadIdx.x < minimum<u64>(left, STRIP)) {
                Sum<T> sum = 0;
#pragma unroll
                for (u32 warp = 0; warp < WARPS; ++warp) sum += of_warps[warp][threadIdx.x];
                out.store(j * cols + first + threadIdx.x, sum);
            }
            // Nobody overwrites what others have yet to read.
            __syncthreads();
        }
        if (!out.is_last()) return;
        const u64 strip = minimum<u64>(left, STRIP);
        for (u32 j = 0; j < WIDTH; ++j) {
            for (u64 i = threadIdx.x; i < strip; i += THREADS) out.add_pieces(j * cols + first + i);
        }
    }
}
