// Where a token is, told to attention: rotations of queries and keys (RoPE), and biases of scores (ALiBi).
#include "common/cuda.cuh"

using namespace assay;

/// Rotates the pairs of neighbours of every row by the angles of its place, `turn` 1 or -1 times. `table` has cosine and
/// sine of each place and pair; row `i` is at place `i % length`. A thread has a pair at a time.
__global__ void __launch_bounds__(256)
    rope(float2* out, const float2* in, const float2* table, u64 pairs, u32 length, u32 per_row, u32 per_head, float turn) {
    for (u64 i = grid_thread(); i < pairs; i += grid_threads()) {
        const u64 row = i / per_row;
        const u32 pair = static_cast<u32>(i % per_row) % per_head;
        const float2 angle = table[row % length * per_head + pair], x = in[i];
        const float sine = turn * angle.y;
        out[i] = make_float2(x.x * angle.x - x.y * sine, x.x * sine + x.y * angle.x);
    }
}

/// Adds to every score of each head its slope times minus the distance of key and query. A block has rows of scores.
__global__ void __launch_bounds__(256)
    alibi(float* out, const float* in, const float* slopes, u32 rows, u32 queries, u32 heads) {
    for (u32 row = blockIdx.x; row < rows; row += gridDim.x) {
        const u32 query = row % queries;
        const float slope = slopes[row / queries % heads];
        for (u32 key = threadIdx.x; key < queries; key += blockDim.x) {
            const u64 i = u64(row) * queries + key;
            const u32 distance = maximum(query, key) - minimum(query, key);
            out[i] = in[i] - slope * static_cast<float>(distance);
        }
    }
}
