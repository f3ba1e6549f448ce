// C = A B on ordinary lanes, f32, row-major: A of m by k, B of k by n; several such products where there are blocks for
// several, their matrices one behind the other. Three ways of keeping operands near:
//
// | kernel        | operands come from                        | a thread computes      |
// | gemm_naive    | global memory and its caches              | one element            |
// | gemm_tiled    | tiles of 32 by 32 in shared memory        | one element            |
// | gemm_register | tiles of 128 by 16 in shared memory, then | 8 by 8 elements        |
// |               | registers; the next tiles are under way   |                        |
#include "common/tiles.cuh"

using namespace assay;

/// A thread per element, in blocks of 32 by 8 of them.
__global__ void __launch_bounds__(256) gemm_naive(float* c, const float* a, const float* b, u32 m, u32 n, u32 k) {
    const BatchTile at = tile_in_batch(blockIdx.x, ceil_div(m, 8u), ceil_div(n, 32u));
    const u32 row = at.tile.row * 8 + threadIdx.y, column = at.tile.column * 32 + threadIdx.x;
    if (row >= m || column >= n) return;
    const float *left = a + (at.matrix * m + row) * k, *right = b + at.matrix * k * n + column;
    float sum = 0;
    for (u32 i = 0; i < k; ++i, right += n) sum = __fmaf_rn(left[i], *right, sum);
    c[(at.matrix * m + row) * n + column] = sum;
}

/// A thread per element, in blocks of 32 by 32 of them.
__global__ void __launch_bounds__(1024) gemm_tiled(float* c, const float* a, const float* b, u32 m, u32 n, u32 k) {
    constexpr u32 SIDE = 32;
    __shared__ float a_tile[SIDE][SIDE], b_tile[SIDE][SIDE];
    const u32 x = threadIdx.x, y = threadIdx.y;
    const BatchTile at = tile_in_batch(blockIdx.x, ceil_div(m, SIDE), ceil_div(n, SIDE));
    const u32 row = at.tile.row * SIDE + y, column = at.tile.column * SIDE + x;
    const float *left = a + (at.matrix * m + row) * k + x, *right = b + (at.matrix * k + y) * n + column;
    float sum = 0;
    for (u32 first = 0; first < k; first += SIDE, left += SIDE, right += u64(SIDE) * n) {
        a_tile[y][x] = row < m && first + x < k ? *left : 0.0f;
        b_tile[y][x] = column < n && first + y < k ? *right : 0.0f;
        __syncthreads();
#pragma unroll
        for (u32 i = 0; i < SIDE; ++i) sum = __fmaf_rn(a_tile[y][i], b_tile[i][x], sum);
        __syncthreads();
    }
    if (row < m && column < n) c[(at.matrix * m + row) * n + column] = sum;
}

namespace dense {

constexpr u32 THREADS = 256, ROWS = 128, COLUMNS = 128, DEPTH = 16;
/// Lines of A's tile, which lies transposed, begin in different banks of shared memory.
constexpr u32 A_LINE = ROWS + 4;

/// Four elements from an address on, of which `count` are there, as far as there are any; zeros for the others. VECTOR: all
/// four are there, or none is, and the address is a multiple of 16.
template <bool VECTOR>
ASSAY_DEVICE float4 load_four(const float* from, i32 count) {
    if (VECTOR) return count > 0 ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0);
    const auto at = [&](i32 i) { return i < count ? from[i] : 0.0f; };
    return make_float4(at(0), at(1), at(2), at(3));
}

/// Tiles of A, transposed, and of B.
struct Tiles {
    float a[DEPTH][A_LINE];
    float b[DEPTH][COLUMNS];
};

/// What a thread carries from global to shared memory: four elements of two lines of each tile.
struct Carried {
    const float *a_from, *b_from;
    /// From one line to the other.
    u64 a_step, b_step;
    /// How many elements A has in each line from here on, none where there is no such line; how many columns B has, and lines.
    i32 a_count[2], b_count, b_lines;
    float4 a[2], b[2];

    ASSAY_DEVICE Carried(const float* a_, const float* b_, u32 m, u32 n, u32 k, u32 row, u32 column) {
        const u32 a_row = row + threadIdx.x / 4, a_column = threadIdx.x % 4 * 4;
        const u32 b_row = threadIdx.x / 32, b_column = column + threadIdx.x % 32 * 4;
        a_from = a_ + u64(a_row) * k + a_column;
        b_from = b_ + u64(b_row) * n + b_column;
        a_step = u64(64) * k;
        b_step = u64(8) * n;
#pragma unroll
        for (u32 i = 0; i < 2; ++i) a_count[i] = a_row + 64 * i < m ? static_cast<i32>(k - a_column) : 0;
        b_count = static_cast<i32>(n - b_column);
        b_lines = static_cast<i32>(k - b_row);
    }

    /// The tiles that are next in K.
    template <bool VECTOR>
    ASSAY_DEVICE void load() {
#pragma unroll
        for (i32 i = 0; i < 2; ++i) {
            a[i] = load_four<VECTOR>(a_from + u64(i) * a_step, a_count[i]);
            b[i] = load_four<VECTOR>(b_from + u64(i) * b_step, b_lines > 8 * i ? b_count : 0);
            a_count[i] -= DEPTH;
        }
        b_lines -= DEPTH;
        a_from += DEPTH;
        b_from += 2 * b_step;
    }

    ASSAY_DEVICE void store(Tiles& tiles) const {
        const u32 t = threadIdx.x;
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            const float values[4] = {a[i].x, a[i].y, a[i].z, a[i].w};
#pragma unroll
            for (u32 j = 0; j < 4; ++j) tiles.a[t % 4 * 4 + j][t / 4 + i * 64] = values[j];
            *reinterpret_cast<float4*>(&tiles.b[t / 32 + i * 8][t % 32 * 4]) = b[i];
        }
    }
};

/// Eight values of a line, from two places.
struct Eight {
    float at[8];

    ASSAY_DEVICE void load(const float* first, const float* second) {
        const float4 low = *reinterpret_cast<const float4*>(first), high = *reinterpret_cast<const float4*>(second);
        at[0] = low.x, at[1] = low.y, at[2] = low.z, at[3] = low.w;
        at[4] = high.x, at[5] = high.y, at[6] = high.z, at[7] = high.w;
    }
};

}  // namespace dense

/// Blocks of 256 threads compute 128 by 128 elements. A warp has 32 by 64 of them, a thread 8 by 8: four blocks of 4 by 4,
/// so that the lanes of a warp read different banks.
template <bool VECTOR>
__global__ void __launch_bounds__(dense::THREADS, 2)
    gemm_register(float* c, const float* a, const float* b, u32 m, u32 n, u32 k) {
    using namespace dense;
    __shared__ __align__(16) Tiles tiles[2];
    const BatchTile at = tile_in_batch(blockIdx.x, ceil_div(m, ROWS), ceil_div(n, COLUMNS));
    const u32 row = at.tile.row * ROWS, column = at.tile.column * COLUMNS;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 y = warp / 2 * 32 + lane / 8 * 4, x = warp % 2 * 64 + lane % 8 * 4;
    float sums[8][8] = {};
    Carried carried(a + at.matrix * m * k, b + at.matrix * k * n, m, n, k, row, column);
    carried.load<VECTOR>();
    carried.store(tiles[0]);
    __syncthreads();
    u32 turn = 0;
    for (u32 first = 0; first < k; first += DEPTH) {
        const bool has_next = first + DEPTH < k;
        if (has_next) carried.load<VECTOR>();
        const Tiles& now = tiles[turn];
#pragma unroll
        for (u32 i = 0; i < DEPTH; ++i) {
            Eight left, right;
            left.load(&now.a[i][y], &now.a[i][y + 16]);
            right.load(&now.b[i][x], &now.b[i][x + 32]);
#pragma unroll
            for (u32 r = 0; r < 8; ++r) {
#pragma unroll
                for (u32 s = 0; s < 8; ++s) sums[r][s] = __fmaf_rn(left.at[r], right.at[s], sums[r][s]);
            }
        }
        turn ^= 1;
        // The other tiles were read before the last barrier.
        if (has_next) carried.store(tiles[turn]);
        __syncthreads();
    }
#pragma unroll
    for (u32 r = 0; r < 8; ++r) {
        const u32 at_row = row + y + r / 4 * 16 + r % 4;
        if (at_row >= m) continue;
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 at_column = column + x + half * 32;
            float* const to = c + (at.matrix * m + at_row) * n + at_column;
            const float* const from = sums[r] + half * 4;
            if (VECTOR) {
                if (at_column < n) *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
            } else {
#pragma unroll
                for (u32 s = 0; s < 4; ++s) {
                    if (at_column + s < n) to[s] = from[s];
                }
            }
        }
    }
}
