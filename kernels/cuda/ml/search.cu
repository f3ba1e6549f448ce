// Search among vectors: the k nearest of all, a step of k-means, and a scan of an inverted file.
//
// A score that rises with distance and a place make a key of 64 bits, as in `order/top_k.cu`; the k smallest keys of a query
// are the answer, one whatever the order of work. A list of the k smallest so far is kept in order, in memory that stays in the
// caches; a warp puts a key into it where it belongs. Few do: once the list is full, a key of n is among the k smallest so far
// with a probability of k / n. Parts of the base have lists of their own, which are merged by the ranks of their keys.
#include "common/block.cuh"

using namespace assay;

namespace search {

constexpr u32 THREADS = 256, WARPS = THREADS / WARP;
/// Queries and vectors of a tile, and numbers of a vector that are in shared memory.
constexpr u32 TILE = 64, DEPTH = 16, LINE = TILE + 4;
constexpr u64 NOTHING = ~u64(0);

ASSAY_DEVICE u32 rising(float value) {
    const u32 bits = to_bits(value);
    return bits ^ (u32(i32(bits) >> 31) | 0x80000000u);
}
ASSAY_DEVICE float number(u32 rising) { return from_bits(rising ^ ((rising >> 31) != 0 ? 0x80000000u : 0xFFFFFFFFu)); }

/// Adding 0 makes one 0 of both; a NaN is made the largest.
ASSAY_DEVICE u64 key(float score, u32 place) {
    const float one = score != score ? from_bits(0x7FC00000u) : __fadd_rn(score, 0.0f);
    return u64(rising(one)) << 32 | place;
}

/// Puts a key into a list of `k` in order, of which it drops the last: a warp.
ASSAY_DEVICE void insert(u64* list, u32 k, u64 wanted) {
    u32 place = 0;
    for (u32 first = 0; first < k; first += WARP) {
        const u32 i = first + lane_number();
        place += __popc(__ballot_sync(ALL_LANES, i < k && list[i] < wanted));
    }
    // From the end, so that no key is overwritten before it has moved.
    for (u32 chunk = (k - 1) / WARP + 1; chunk-- > place / WARP;) {
        const u32 i = chunk * WARP + lane_number();
        const bool moves = i > place && i < k;
        const u64 before = moves ? list[i - 1] : 0;
        __syncwarp();
        if (moves) list[i] = before;
        if (i == place && i < k) list[i] = wanted;
        __syncwarp();
    }
}

/// Puts those of 32 keys, one a lane, into a list that belong there: a warp.
ASSAY_DEVICE void insert_all(u64* list, u32 k, u64 own) {
    u32 chosen = __ballot_sync(ALL_LANES, own < list[k - 1]);
    for (; chosen != 0; chosen &= chosen - 1) {
        const u64 wanted = __shfl_sync(ALL_LANES, own, __ffs(chosen) - 1);
        if (wanted < list[k - 1]) insert(list, k, wanted);
    }
}

/// 64 vectors from `first` on, `DEPTH` numbers of each from place `at` on, transposed; zeros beyond.
ASSAY_DEVICE void load_tile(float (&tile)[DEPTH][LINE], const float* from, u32 first, u32 rows, u32 at, u32 width) {
#pragma unroll
    for (u32 i = 0; i < TILE * DEPTH / THREADS; ++i) {
        const u32 index = threadIdx.x + i * THREADS, row = index / DEPTH, column = index % DEPTH;
        const bool is_there = first + row < rows && at + column < width;
        tile[column][row] = is_there ? from[u64(first + row) * width + at + column] : 0.0f;
    }
}

struct Shared {
    float q[DEPTH][LINE], x[DEPTH][LINE];
    float scores[TILE][LINE];
};

/// Scores of a tile, in shared memory.
template <bool L2>
ASSAY_DEVICE void score_tile(Shared& shared, const float* q, const float* x, const float* q_norms, const float* x_norms,
                             u32 query, u32 vector, u32 queries, u32 vectors, u32 width) {
    const u32 row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
    float sums[4][4] = {};
    for (u32 first = 0; first < width; first += DEPTH) {
        load_tile(shared.q, q, query, queries, first, width);
        load_tile(shared.x, x, vector, vectors, first, width);
        __syncthreads();
#pragma unroll
        for (u32 l = 0; l < DEPTH; ++l) {
            const float4 left = *reinterpret_cast<const float4*>(&shared.q[l][row]);
            const float4 right = *reinterpret_cast<const float4*>(&shared.x[l][column]);
            const float of_q[4] = {left.x, left.y, left.z, left.w}, of_x[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
#pragma unroll
                for (u32 j = 0; j < 4; ++j) sums[i][j] = __fmaf_rn(of_q[i], of_x[j], sums[i][j]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            float score = -sums[i][j];
            if (L2 && query + row + i < queries && vector + column + j < vectors) {
                score = q_norms[query + row + i] + (x_norms[vector + column + j] - 2.0f * sums[i][j]);
            }
            shared.scores[row + i][column + j] = score;
        }
    }
    __syncthreads();
}

/// How many of `k` keys in order are below one.
ASSAY_DEVICE u32 count_below(const u64* list, u32 k, u64 wanted) {
    u32 low = 0, high = k;
    while (low < high) {
        const u32 middle = (low + high) / 2;
        if (list[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

}  // namespace search

// norms[row] = sum of squares of a row: a warp a row
__global__ void __launch_bounds__(search::THREADS) search_norms(float* norms, const float* x, u64 rows, u64 width) {
    const u64 row = u64(blockIdx.x) * search::WARPS + warp_number();
    if (row >= rows) return;
    float sum = 0;
    for (u64 i = lane_number(); i < width; i += WARP) sum = __fmaf_rn(x[row * width + i], x[row * width + i], sum);
    sum = warp_sum(sum);
    if (lane_number() == 0) norms[row] = sum;
}

// keys[split][query][k] = the k nearest of a part of the base: a block for each 64 queries and each part
template <bool L2>
__global__ void __launch_bounds__(search::THREADS, 2)
    search_scan(u64* keys, const float* q, const float* x, const float* q_norms, const float* x_norms, u32 queries, u32 vectors,
                u32 width, u32 k, u32 splits) {
    using namespace search;
    __shared__ __align__(16) Shared shared;
    const u32 split = blockIdx.x % splits, query = blockIdx.x / splits * TILE;
    const u32 tiles = ceil_div(vectors, TILE);
    const u32 begin = u32(u64(tiles) * split / splits), end = u32(u64(tiles) * (split + 1) / splits);
    u64* const lists = keys + u64(split) * queries * k;
    for (u32 row = warp_number(); row < TILE && query + row < queries; row += WARPS) {
        for (u32 i = lane_number(); i < k; i += WARP) lists[u64(query + row) * k + i] = NOTHING;
    }
    // Lists are of one warp each; every lane is to see all of them.
    __syncwarp();
    for (u32 tile = begin; tile < end; ++tile) {
        const u32 vector = tile * TILE;
        score_tile<L2>(shared, q, x, q_norms, x_norms, query, vector, queries, vectors, width);
        for (u32 row = warp_number(); row < TILE && query + row < queries; row += WARPS) {
            u64* const list = lists + u64(query + row) * k;
            for (u32 i = lane_number(); i < TILE; i += WARP) {
                const u32 place = vector + i;
                insert_all(list, k, place < vectors ? key(shared.scores[row][i], place) : NOTHING);
            }
        }
        // The next tile's scores are written behind further barriers.
    }
}

// The k nearest of all lists of a query: a block a query
template <bool L2>
__global__ void __launch_bounds__(search::THREADS)
    search_merge(float* values, u32* places, const u64* keys, u32 queries, u32 k, u32 splits) {
    using namespace search;
    const u32 query = blockIdx.x;
    const auto list = [=](u32 split) { return keys + (u64(split) * queries + query) * k; };
    float* const own_values = values + u64(query) * k;
    u32* const own_places = places + u64(query) * k;
    for (u64 i = threadIdx.x; i < u64(splits) * k; i += THREADS) {
        const u32 split = u32(i / k), place = u32(i % k);
        const u64 own = list(split)[place];
        if (own == NOTHING) continue;
        u32 rank = place;
        for (u32 other = 0; other < splits && rank < k; ++other) {
            if (other != split) rank += count_below(list(other), k, own);
        }
        if (rank >= k) continue;
        const float score = number(u32(own >> 32));
        own_values[rank] = L2 ? score : 0.0f - score;
        own_places[rank] = u32(own);
    }
    // What stands for nothing, behind all that there is.
    u32 there = 0;
    for (u32 split = 0; split < splits && there < k; ++split) there += count_below(list(split), k, NOTHING);
    for (u32 i = there + threadIdx.x; i < k; i += THREADS) {
        own_values[i] = from_bits(L2 ? 0x7F800000u : 0xFF800000u);
        own_places[i] = 0xFFFFFFFFu;
    }
}

// sums[chunk][cluster], counts[chunk][cluster] of the points of a chunk, in their order: a thread a column
__global__ void __launch_bounds__(search::THREADS)
    means_of_chunks(float* sums, u32* counts, const float* points, const u32* nearest, u32 count, u32 clusters, u32 width,
                    u32 chunks) {
    const u32 chunk = blockIdx.x, column = blockIdx.y * search::THREADS + threadIdx.x;
    const u32 begin = u32(u64(count) * chunk / chunks), end = u32(u64(count) * (chunk + 1) / chunks);
    if (column >= width) return;
    float* const own = sums + u64(chunk) * clusters * width + column;
    u32* const own_counts = counts + u64(chunk) * clusters;
    for (u32 cluster = 0; cluster < clusters; ++cluster) {
        own[u64(cluster) * width] = 0;
        if (column == 0) own_counts[cluster] = 0;
    }
    for (u32 point = begin; point < end; ++point) {
        const u32 cluster = nearest[point];
        own[u64(cluster) * width] += points[u64(point) * width + column];
        if (column == 0) own_counts[cluster] += 1;
    }
}

// next = the means of the clusters, chunk after chunk; one without points stays: a thread a number
__global__ void __launch_bounds__(search::THREADS)
    means(float* next, const float* centroids, const float* sums, const u32* counts, u32 clusters, u32 width, u32 chunks) {
    const u64 i = grid_thread();
    if (i >= u64(clusters) * width) return;
    const u32 cluster = u32(i / width);
    float sum = 0;
    u32 count = 0;
    for (u32 chunk = 0; chunk < chunks; ++chunk) {
        sum += sums[u64(chunk) * clusters * width + i];
        count += counts[u64(chunk) * clusters + cluster];
    }
    next[i] = count == 0 ? centroids[i] : __fdiv_rn(sum, float(count));
}

// keys[probe][query][k] = the k nearest of a list of an inverted file: a block for each list of each query
template <bool L2>
__global__ void __launch_bounds__(search::THREADS)
    ivf_scan(u64* keys, const float* q, const float* x, const u32* ids, const u32* offsets, const u32* probed, u32 queries,
             u32 width, u32 k, u32 nprobe) {
    using namespace search;
    __shared__ float scores[TILE];
    const u32 probe = blockIdx.x % nprobe, query = blockIdx.x / nprobe;
    const u32 list = probed[u64(query) * nprobe + probe];
    const u32 begin = offsets[list], end = offsets[list + 1];
    const float* const own = q + u64(query) * width;
    u64* const nearest = keys + (u64(probe) * queries + query) * k;
    if (warp_number() == 0) {
        for (u32 i = lane_number(); i < k; i += WARP) nearest[i] = NOTHING;
        __syncwarp();
    }
    for (u32 first = begin; first < end; first += TILE) {
        for (u32 i = warp_number(); i < TILE && first + i < end; i += WARPS) {
            const float* const vector = x + u64(first + i) * width;
            float sum = 0;
            for (u32 j = lane_number(); j < width; j += WARP) {
                const float apart = own[j] - vector[j];
                sum = L2 ? __fmaf_rn(apart, apart, sum) : __fmaf_rn(-own[j], vector[j], sum);
            }
            sum = warp_sum(sum);
            if (lane_number() == 0) scores[i] = sum;
        }
        __syncthreads();
        if (warp_number() == 0) {
            for (u32 i = lane_number(); i < TILE; i += WARP) {
                insert_all(nearest, k, first + i < end ? key(scores[i], ids[first + i]) : NOTHING);
            }
        }
        __syncthreads();
    }
}
