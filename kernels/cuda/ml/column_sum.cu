// Sums over the rows of a matrix: of blocks of rows, then of the blocks' sums, one after the other; or of blocks as they finish.
#include "ml/rows.cuh"

using namespace assay;

namespace columns {

constexpr u32 WIDE = 32, TALL = 8;

/// The sums over `rows_per_block` rows of the block's 32 packs of columns; calls `body(column, sum)` in one thread for each.
template <class T, int W, class Body>
ASSAY_DEVICE void of_block(const T* x, u64 rows, u64 cols, u64 rows_per_block, Body body) {
    __shared__ float parts[TALL][WIDE * W];
    const u64 pack = u64(blockIdx.x) * WIDE + threadIdx.x, packs = cols / W;
    const u64 end = minimum<u64>((blockIdx.y + u64(1)) * rows_per_block, rows);
    float sums[W] = {};
    if (pack < packs) {
#pragma unroll 4
        for (u64 r = blockIdx.y * rows_per_block + threadIdx.y; r < end; r += TALL) {
            Floats<T, W> values;
            values.load(x, r * packs + pack);
#pragma unroll
            for (int j = 0; j < W; ++j) sums[j] += values.at[j];
        }
    }
#pragma unroll
    for (int j = 0; j < W; ++j) parts[threadIdx.y][threadIdx.x * W + j] = sums[j];
    __syncthreads();
    for (u32 c = threadIdx.y * WIDE + threadIdx.x; c < WIDE * W; c += WIDE * TALL) {
        const u64 column = u64(blockIdx.x) * WIDE * W + c;
        float sum = 0.0f;
#pragma unroll
        for (u32 t = 0; t < TALL; ++t) sum += parts[t][c];
        if (column < cols) body(column, sum);
    }
}

}  // namespace columns

// sums[block][c] = sum over the block's rows of x[r][c]
template <class T, int W>
__global__ void column_sums(float* sums, const T* x, u64 rows, u64 cols, u64 rows_per_block) {
    columns::of_block<T, W>(x, rows, cols, rows_per_block, [&](u64 c, float sum) { sums[blockIdx.y * cols + c] = sum; });
}

// out[c] += sum over the block's rows of x[r][c]
template <class T, int W>
__global__ void column_sums_atomic(float* out, const T* x, u64 rows, u64 cols, u64 rows_per_block) {
    columns::of_block<T, W>(x, rows, cols, rows_per_block, [&](u64 c, float sum) { atomicAdd(out + c, sum); });
}

// out[c] = sum over blocks of sums[block][c], added to what is there if `add`
__global__ void column_sums_of_blocks(float* out, const float* sums, u64 blocks, u64 cols, u32 add) {
    const u64 c = grid_thread();
    if (c >= cols) return;
    float sum = add != 0 ? out[c] : 0.0f;
#pragma unroll 8
    for (u64 block = 0; block < blocks; ++block) sum += sums[block * cols + c];
    out[c] = sum;
}
