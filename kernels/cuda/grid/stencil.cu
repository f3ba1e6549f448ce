// The 7-point stencil: out = c0 centre + c1 (sum of the six neighbours); points outside of the grid count as 0. Point
// (x, y, z) is element (z ny + y) nx + x.
//
// Naive: a thread per point, which leaves reuse to the caches. Tiled: a block sweeps a column of planes; each point of
// its tile is loaded once, and shared with the four neighbours in its plane through shared memory, with those
// above and below through registers. What the next plane needs is loaded before this one is computed.
#include "common/cuda.cuh"

using namespace assay;

namespace stencil {

constexpr u32 TILE_X = 32, TILE_Y = 8, THREADS = TILE_X * TILE_Y;

struct Grid {
    u64 nx, ny, nz;

    __device__ u64 index(u64 x, u64 y, u64 z) const { return (z * ny + y) * nx + x; }
};

// A point, or 0 outside. A coordinate of -1 is a very large one.
template <class T>
__device__ T load(const T* __restrict__ in, const Grid& grid, u64 x, u64 y, u64 z) {
    return x < grid.nx && y < grid.ny && z < grid.nz ? in[grid.index(x, y, z)] : T(0);
}

template <class T>
using Plane = T[TILE_Y + 2][TILE_X + 2];

// What a thread loads of the rim of its tile: the first threads one point each, the others none.
struct Rim {
    u32 row, column;
    bool is_mine;

    __device__ explicit Rim(u32 thread) {
        const u32 side = thread - 2 * TILE_X;
        const bool is_row = thread < 2 * TILE_X;
        row = is_row ? thread / TILE_X * (TILE_Y + 1) : 1 + side % TILE_Y;
        column = is_row ? 1 + thread % TILE_X : side / TILE_Y * (TILE_X + 1);
        is_mine = thread < 2 * (TILE_X + TILE_Y);
    }
};
static_assert(2 * (TILE_X + TILE_Y) <= THREADS, "a thread for each point of the rim");

// Planes first .. last of one tile. `turn` tells which of the two planes is written next: while one is read, the other
// takes the next plane, so that one barrier per plane is enough, also from one sweep to the next.
template <class T>
__device__ void sweep(T* __restrict__ out, const T* __restrict__ in, Plane<T>* planes, u32& turn, const Grid& grid, u64 tile_x,
                      u64 tile_y, u64 first, u64 last, T c0, T c1) {
    const u32 row = 1 + threadIdx.y, column = 1 + threadIdx.x;
    const u64 x = tile_x + threadIdx.x, y = tile_y + threadIdx.y;
    const Rim rim(threadIdx.y * TILE_X + threadIdx.x);
    const u64 rim_x = tile_x + rim.column - 1, rim_y = tile_y + rim.row - 1;
    const bool is_inside = x < grid.nx && y < grid.ny;
    T below = load(in, grid, x, y, first - 1);
    T centre = load(in, grid, x, y, first);
    T beside = rim.is_mine ? load(in, grid, rim_x, rim_y, first) : T(0);
    for (u64 z = first; z < last; ++z) {
        Plane<T>& plane = planes[turn];
        turn ^= 1;
        plane[row][column] = centre;
        if (rim.is_mine) plane[rim.row][rim.column] = beside;
        const T above = load(in, grid, x, y, z + 1);
        if (rim.is_mine && z + 1 < last) beside = load(in, grid, rim_x, rim_y, z + 1);
        __syncthreads();
        if (is_inside) {
            const T sum = ((plane[row][column - 1] + plane[row][column + 1]) + (plane[row - 1][column] + plane[row + 1][column])) +
                          (below + above);
            out[grid.index(x, y, z)] = c0 * centre + c1 * sum;
        }
        below = centre;
        centre = above;
    }
}

}  // namespace stencil

template <class T>
__global__ void __launch_bounds__(stencil::THREADS)
    stencil_naive(T* __restrict__ out, const T* __restrict__ in, u64 nx, u64 ny, u64 nz, T c0, T c1) {
    const stencil::Grid grid{nx, ny, nz};
    const u64 x = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (x >= nx) return;
    for (u64 z = blockIdx.z; z < nz; z += gridDim.z) {
        for (u64 y = u64(blockIdx.y) * blockDim.y + threadIdx.y; y < ny; y += u64(gridDim.y) * blockDim.y) {
            const T sum = ((load(in, grid, x - 1, y, z) + load(in, grid, x + 1, y, z)) +
                           (load(in, grid, x, y - 1, z) + load(in, grid, x, y + 1, z))) +
                          (load(in, grid, x, y, z - 1) + load(in, grid, x, y, z + 1));
            out[grid.index(x, y, z)] = c0 * in[grid.index(x, y, z)] + c1 * sum;
        }
    }
}

// A block sweeps `planes` planes at a time.
template <class T>
__global__ void __launch_bounds__(stencil::THREADS)
    stencil_tiled(T* __restrict__ out, const T* __restrict__ in, u64 nx, u64 ny, u64 nz, u64 planes, T c0, T c1) {
    __shared__ stencil::Plane<T> shared[2];
    const stencil::Grid grid{nx, ny, nz};
    const u64 tile_x = u64(blockIdx.x) * stencil::TILE_X;
    u32 turn = 0;
    for (u64 first = blockIdx.z * planes; first < nz; first += gridDim.z * planes) {
        const u64 last = minimum(nz, first + planes);
        for (u64 tile_y = u64(blockIdx.y) * stencil::TILE_Y; tile_y < ny; tile_y += u64(gridDim.y) * stencil::TILE_Y) {
            stencil::sweep(out, in, shared, turn, grid, tile_x, tile_y, first, last, c0, c1);
        }
    }
}
