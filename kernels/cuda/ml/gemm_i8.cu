// C = (A B) sa sb: A of m by k 8-bit integers by rows, B of k by n by columns, sums of 32 bits, a scale for each row of A and
// column of B, C in f32 by rows. Blocks of 256 threads compute 64 by 64 elements, a thread 4 by 4; four products are made and
// added by one instruction.
#include "common/tiles.cuh"

using namespace assay;

namespace gemm_i8_tile {

constexpr u32 SIDE = 64, THREADS = 256;
/// Words of four numbers of a line that are in shared memory, and how many there are from one to the next of the same line.
constexpr u32 DEPTH = 16, LINE = SIDE + 4;

/// Four numbers of a line from place `at` on, of which `count` are left; zeros for the others.
template <bool WHOLE>
ASSAY_DEVICE i32 load_word(const i8* line, u32 at, u32 k) {
    if (at >= k) return 0;
    // All four are there, at a multiple of four.
    if (WHOLE) return *reinterpret_cast<const i32*>(line + at);
    u32 word = 0;
    for (u32 i = 0; i < 4; ++i) {
        if (at + i < k) word |= static_cast<u32>(static_cast<u8>(line[at + i])) << (8 * i);
    }
    return static_cast<i32>(word);
}

/// 64 lines from `first` on, `DEPTH` words of each from place `at` on.
template <bool WHOLE>
ASSAY_DEVICE void load_tile(i32 (&tile)[DEPTH][LINE], const i8* from, u32 first, u32 lines, u32 at, u32 k) {
#pragma unroll
    for (u32 i = 0; i < SIDE * DEPTH / THREADS; ++i) {
        const u32 index = threadIdx.x + i * THREADS, line = index / DEPTH, word = index % DEPTH;
        tile[word][line] = first + line < lines ? load_word<WHOLE>(from + u64(first + line) * k, at + 4 * word, k) : 0;
    }
}

}  // namespace gemm_i8_tile

template <bool WHOLE>
__global__ void __launch_bounds__(gemm_i8_tile::THREADS)
    gemm_i8(float* c, const i8* a, const i8* b, const float* a_scales, const float* b_scales, u32 m, u32 n, u32 k) {
    using namespace gemm_i8_tile;
    __shared__ i32 a_tile[DEPTH][LINE], b_tile[DEPTH][LINE];
    const Tile at = tile_in_bands(blockIdx.x, ceil_div(m, SIDE), ceil_div(n, SIDE));
    const u32 row = at.row * SIDE, column = at.column * SIDE;
    const u32 y = threadIdx.x / 16 * 4, x = threadIdx.x % 16 * 4;
    i32 sums[4][4] = {};
    for (u32 first = 0; first < k; first += 4 * DEPTH) {
        load_tile<WHOLE>(a_tile, a, row, m, first, k);
        load_tile<WHOLE>(b_tile, b, column, n, first, k);
        __syncthreads();
#pragma unroll
        for (u32 word = 0; word < DEPTH; ++word) {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
#pragma unroll
                for (u32 j = 0; j < 4; ++j) sums[i][j] = __dp4a(a_tile[word][y + i], b_tile[word][x + j], sums[i][j]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        if (row + y + i >= m) continue;
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            if (column + x + j >= n) continue;
            const float scale = __fmul_rn(a_scales[row + y + i], b_scales[column + x + j]);
            c[u64(row + y + i) * n + column + x + j] = __fmul_rn(__int2float_rn(sums[i][j]), scale);
        }
    }
}
