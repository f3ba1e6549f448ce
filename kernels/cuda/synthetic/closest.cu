// Distances from rows to the closest of others, all columns being numbers: tiles of 64 by 64 rows, 4 by 4 a thread.
//
// Differences are added in the order of the columns and each operation is rounded by itself, as on the host, so the bits are the same.
#include "common/exact.cuh"

using namespace assay;

namespace closest {

constexpr u32 THREADS = 256;
constexpr u32 SIDE = 16;
constexpr u32 EACH = 4;
constexpr u32 TILE = SIDE * EACH;
/// Columns that are in shared memory at a time.
constexpr u32 CHUNK = 8;

ASSAY_DEVICE double infinity() { return exact::from_bits(0x7FF0000000000000ull).value; }

/// What two values differ by: 0 to 1. `scale` is 0 where they are names.
ASSAY_DEVICE double apart(double x, double y, double scale) {
    if (x != x) return y != y ? 0.0 : 1.0;
    if (scale == 0.0) return x == y ? 0.0 : 1.0;
    const double distance = __dmul_rn(fabs(__dsub_rn(x, y)), scale);
    return distance < 1.0 ? distance : 1.0;
}

}  // namespace closest

// parts[split][row] = the least sum of differences of a row from those of a part of the others
__global__ void __launch_bounds__(closest::THREADS)
    closest_scan(double* parts, const double* from, const double* to, const double* scales, u32 rows, u32 others, u32 columns,
                 u32 splits) {
    using namespace closest;
    __shared__ double xs[CHUNK][TILE], ys[CHUNK][TILE], least[SIDE][TILE];
    const u32 group = blockIdx.x / splits, split = blockIdx.x % splits;
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    const u32 tiles = ceil_div(others, TILE);
    const u32 begin = static_cast<u32>(static_cast<u64>(tiles) * split / splits);
    const u32 end = static_cast<u32>(static_cast<u64>(tiles) * (split + 1) / splits);
    double best[EACH];
#pragma unroll
    for (u32 i = 0; i < EACH; ++i) best[i] = infinity();
    for (u32 number = begin; number < end; ++number) {
        double sums[EACH][EACH] = {};
        for (u32 first = 0; first < columns; first += CHUNK) {
            const u32 count = minimum(CHUNK, columns - first);
            __syncthreads();
            for (u32 i = threadIdx.x; i < count * TILE; i += THREADS) {
                const u32 column = i / TILE, row = i % TILE;
                const u64 of_from = group * TILE + row, of_to = number * TILE + row;
                xs[column][row] = of_from < rows ? from[static_cast<u64>(first + column) * rows + of_from] : 0.0;
                ys[column][row] = of_to < others ? to[static_cast<u64>(first + column) * others + of_to] : 0.0;
            }
            __syncthreads();
            for (u32 column = 0; column < count; ++column) {
                const double scale = scales[first + column];
#pragma unroll
                for (u32 i = 0; i < EACH; ++i) {
                    const double x = xs[column][ty + SIDE * i];
#pragma unroll
                    for (u32 j = 0; j < EACH; ++j) {
                        sums[i][j] = __dadd_rn(sums[i][j], apart(x, ys[column][tx + SIDE * j], scale));
                    }
                }
            }
        }
#pragma unroll
        for (u32 j = 0; j < EACH; ++j) {
            if (number * TILE + tx + SIDE * j >= others) continue;
#pragma unroll
            for (u32 i = 0; i < EACH; ++i) best[i] = minimum(best[i], sums[i][j]);
        }
    }
#pragma unroll
    for (u32 i = 0; i < EACH; ++i) least[tx][ty + SIDE * i] = best[i];
    __syncthreads();
    const u32 row = group * TILE + threadIdx.x;
    if (threadIdx.x >= TILE || row >= rows) return;
    double of_row = infinity();
    for (u32 i = 0; i < SIDE; ++i) of_row = minimum(of_row, least[i][threadIdx.x]);
    parts[static_cast<u64>(split) * rows + row] = of_row;
}

// distances[row] = the least of all parts, over the number of columns
__global__ void __launch_bounds__(closest::THREADS)
    closest_merge(double* distances, const double* parts, u32 rows, u32 columns, u32 splits) {
    const u64 row = grid_thread();
    if (row >= rows) return;
    double least = closest::infinity();
    for (u32 split = 0; split < splits; ++split) least = minimum(least, parts[static_cast<u64>(split) * rows + row]);
    distances[row] = __ddiv_rn(least, static_cast<double>(columns));
}
