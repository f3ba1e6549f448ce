// out[c][r] = in[r][c] of floats, both row-major. All but the last follow M. Harris, "An Efficient Matrix Transpose in CUDA
// C/C++", NVIDIA 2013: blocks of 32 by 8 threads, which move tiles of 32 by 32 elements, four to a thread. Blocks have one
// number each, since a grid may be long only in x.
#include "common/cuda.cuh"

using namespace assay;

namespace transposing {

constexpr u32 TILE = 32, HEIGHT = 8;

// Column and row of a block's first element.
struct Corner {
    u64 col, row;
    ASSAY_DEVICE explicit Corner(u64 cols) {
        const u32 across = static_cast<u32>(ceil_div<u64>(cols, TILE));
        col = u64(blockIdx.x % across) * TILE;
        row = u64(blockIdx.x / across) * TILE;
    }
};

}  // namespace transposing

// Reads along rows, and writes down columns: each write of a warp goes to 32 lines.
__global__ void transpose_naive(float* out, const float* in, u64 rows, u64 cols) {
    using namespace transposing;
    const Corner corner(cols);
    const u64 c = corner.col + threadIdx.x;
    float values[TILE / HEIGHT] = {};
#pragma unroll
    for (u32 k = 0; k < TILE / HEIGHT; ++k) {
        const u64 r = corner.row + threadIdx.y + k * HEIGHT;
        if (r < rows && c < cols) values[k] = in[r * cols + c];
    }
#pragma unroll
    for (u32 k = 0; k < TILE / HEIGHT; ++k) {
        const u64 r = corner.row + threadIdx.y + k * HEIGHT;
        if (r < rows && c < cols) out[c * rows + r] = values[k];
    }
}

// Through shared memory, so that both sides go along rows. With rows of PITCH 32 a column of the tile lies in one bank; with
// 33 in all of them.
template <u32 PITCH>
__global__ void transpose_tiled(float* out, const float* in, u64 rows, u64 cols) {
    using namespace transposing;
    __shared__ float tile[TILE][PITCH];
    const Corner corner(cols);
    float values[TILE / HEIGHT] = {};
#pragma unroll
    for (u32 k = 0; k < TILE / HEIGHT; ++k) {
        const u64 r = corner.row + threadIdx.y + k * HEIGHT, c = corner.col + threadIdx.x;
        if (r < rows && c < cols) values[k] = in[r * cols + c];
    }
#pragma unroll
    for (u32 k = 0; k < TILE / HEIGHT; ++k) tile[threadIdx.y + k * HEIGHT][threadIdx.x] = values[k];
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < TILE / HEIGHT; ++k) {
        const u64 r = corner.row + threadIdx.x, c = corner.col + threadIdx.y + k * HEIGHT;
        if (r < rows && c < cols) out[c * rows + r] = tile[threadIdx.x][threadIdx.y + k * HEIGHT];
    }
}

namespace wide {

// A block of 256 threads moves a tile of 64 by 64 elements, 16 to a thread: rows of 256 bytes on both sides.
constexpr u32 SIDE = 64, THREADS = 256, LANES = 32, WARPS = THREADS / LANES;
// Blocks go down this many tiles before they go one to the right. So those that run at the same time read and write pieces
// of rows that touch, and few pages.
constexpr u32 GROUP = 16;

struct Corner {
    u64 col, row;
    ASSAY_DEVICE Corner(u64 rows, u64 cols) {
        const u32 across = static_cast<u32>(ceil_div<u64>(cols, SIDE));
        const u32 down = static_cast<u32>(ceil_div<u64>(rows, SIDE));
        const u32 group = blockIdx.x / (GROUP * across), number = blockIdx.x % (GROUP * across);
        const u32 height = minimum(GROUP, down - group * GROUP);
        col = u64(number / height) * SIDE;
        row = u64(group * GROUP + number % height) * SIDE;
    }
};

// Where the tile keeps an element. Groups of four columns stay together and change places by the group of four rows: four
// neighbours of a row are stored at once, and eight groups of rows times four columns are in 32 different banks.
ASSAY_DEVICE u32 place(u32 row, u32 col) { return row * SIDE + (col ^ row / 4 % 8 * 4); }

ASSAY_DEVICE void load_vectors(float* tile, const float* in, u64 rows, u64 cols, const Corner& corner) {
    constexpr u32 ACROSS = SIDE / 4, STEP = THREADS / ACROSS, COUNT = SIDE / STEP;
    const u32 row = threadIdx.x / ACROSS, col = threadIdx.x % ACROSS * 4;
    const float* from = in + (corner.row + row) * cols + corner.col + col;
    float4 values[COUNT] = {};
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) {
        const bool inside = corner.row + row + k * STEP < rows && corner.col + col < cols;
        if (inside) values[k] = *reinterpret_cast<const float4*>(from + k * STEP * cols);
    }
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) *reinterpret_cast<float4*>(tile + place(row + k * STEP, col)) = values[k];
}

ASSAY_DEVICE void load_scalars(float* tile, const float* in, u64 rows, u64 cols, const Corner& corner) {
    const u32 row = threadIdx.x / LANES, col = threadIdx.x % LANES;
#pragma unroll
    for (u32 k = 0; k < SIDE / WARPS; ++k) {
#pragma unroll
        for (u32 half = 0; half < SIDE; half += LANES) {
            const u64 r = corner.row + row + k * WARPS, c = corner.col + col + half;
            if (r < rows && c < cols) tile[place(row + k * WARPS, col + half)] = in[r * cols + c];
        }
    }
}

// A warp writes 128 bytes to each of four rows.
ASSAY_DEVICE void store_vectors(float* out, const float* tile, u64 rows, u64 cols, const Corner& corner) {
    constexpr u32 COUNT = SIDE * SIDE / 4 / THREADS;
    const u32 row = (threadIdx.x % 8 + threadIdx.x / LANES % 2 * 8) * 4;
    const u32 col = threadIdx.x / 8 % 4 + threadIdx.x / (2 * LANES) * 4;
    float* to = out + (corner.col + col) * rows + corner.row + row;
    float4 values[COUNT];
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) {
        const float* from = tile + place(row, col + k * (SIDE / COUNT));
        values[k] = make_float4(from[0], from[SIDE], from[2 * SIDE], from[3 * SIDE]);
    }
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) {
        const u32 step = k * (SIDE / COUNT);
        const bool inside = corner.row + row < rows && corner.col + col + step < cols;
        if (inside) store_vector(to + step * rows, values[k]);
    }
}

ASSAY_DEVICE void store_scalars(float* out, const float* tile, u64 rows, u64 cols, const Corner& corner) {
    const u32 row = threadIdx.x % LANES, col = threadIdx.x / LANES;
#pragma unroll
    for (u32 k = 0; k < SIDE / WARPS; ++k) {
#pragma unroll
        for (u32 half = 0; half < SIDE; half += LANES) {
            const u64 r = corner.row + row + half, c = corner.col + col + k * WARPS;
            if (r < rows && c < cols) out[c * rows + r] = tile[place(row + half, col + k * WARPS)];
        }
    }
}

}  // namespace wide

// 16 bytes at a time, on each side whose rows all begin at a multiple of that.
__global__ void __launch_bounds__(wide::THREADS) transpose_vectorised(float* out, const float* in, u64 rows, u64 cols) {
    using namespace wide;
    __shared__ __align__(16) float tile[SIDE * SIDE];
    const Corner corner(rows, cols);
    if (cols % 4 == 0) {
        load_vectors(tile, in, rows, cols, corner);
    } else {
        load_scalars(tile, in, rows, cols, corner);
    }
    __syncthreads();
    if (rows % 4 == 0) {
        store_vectors(out, tile, rows, cols, corner);
    } else {
        store_scalars(out, tile, rows, cols, corner);
    }
}
