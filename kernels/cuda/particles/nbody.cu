// Gravity between all pairs of bodies. A body is (x, y, z, mass); its acceleration is the sum over all bodies of
// mass d / (|d|^2 + softening^2)^(3/2), d the vector to the other body, and to itself that is 0.
#include "common/cuda.cuh"

using namespace assay;

namespace nbody {

constexpr u32 THREADS = 256;

// Counted as 20 flops: 3 for d, 6 for its softened square, 4 for root, inverse and third power, 1 for the mass, 6 for the sum.
__device__ void attract(float4& sum, const float4& target, const float4& other, float softening2) {
    const float dx = other.x - target.x, dy = other.y - target.y, dz = other.z - target.z;
    const float distance2 = fmaf(dx, dx, fmaf(dy, dy, fmaf(dz, dz, softening2)));
    const float inverse = rsqrtf(distance2);
    const float factor = other.w * (inverse * inverse * inverse);
    sum.x = fmaf(dx, factor, sum.x);
    sum.y = fmaf(dy, factor, sum.y);
    sum.z = fmaf(dz, factor, sum.z);
}

}  // namespace nbody

// A thread per body, which reads all bodies: those of a warp read the same one at once.
__global__ void __launch_bounds__(nbody::THREADS)
    nbody_naive(float4* __restrict__ out, const float4* __restrict__ bodies, u64 n, float softening2) {
    const u64 i = grid_thread();
    if (i >= n) return;
    const float4 target = bodies[i];
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 8
    for (u64 j = 0; j < n; ++j) nbody::attract(sum, target, bodies[j], softening2);
    out[i] = sum;
}

// A thread per body; a block takes the others from shared memory, a tile of as many as it has threads at a time.
__global__ void __launch_bounds__(nbody::THREADS)
    nbody_tiled(float4* __restrict__ out, const float4* __restrict__ bodies, u64 n, float softening2) {
    __shared__ float4 tile[nbody::THREADS];
    const u64 i = grid_thread();
    const float4 nothing = make_float4(0, 0, 0, 0);
    const float4 target = i < n ? bodies[i] : nothing;
    float4 sum = nothing;
    for (u64 first = 0; first < n; first += nbody::THREADS) {
        // What is beyond the last body has no mass.
        tile[threadIdx.x] = first + threadIdx.x < n ? bodies[first + threadIdx.x] : nothing;
        __syncthreads();
#pragma unroll 32
        for (u32 j = 0; j < nbody::THREADS; ++j) nbody::attract(sum, target, tile[j], softening2);
        __syncthreads();
    }
    if (i < n) out[i] = sum;
}
