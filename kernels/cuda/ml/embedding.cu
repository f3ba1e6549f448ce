// Rows of a table by number, one block a token, and the gradient of the table.
#include "ml/rows.cuh"

using namespace assay;

namespace embed {

/// Adds a row to another, each thread its columns.
template <class T, int W>
ASSAY_DEVICE void add(float* to, const T* row, u64 width) {
    for (u64 i = threadIdx.x; i < width / W; i += blockDim.x) {
        Floats<float, W> sums;
        Floats<T, W> more;
        sums.load(to, i);
        more.load(row, i);
#pragma unroll
        for (int j = 0; j < W; ++j) sums.at[j] += more.at[j];
        sums.store(to, i);
    }
}

}  // namespace embed

// out[t] = table[ids[t]], rows of `width`, a multiple of W. A number that is no row gives a row of none.
template <class T, int W>
__global__ void embedding(u64 tokens, u64 width, T* out, const T* table, const u32* ids, u64 vocabulary) {
    for (u64 t = blockIdx.x; t < tokens; t += gridDim.x) {
        const u64 id = ids[t];
        for (u64 i = threadIdx.x; i < width / W; i += blockDim.x) {
            Few<T, W> few;
            if (id < vocabulary) {
                few = reinterpret_cast<const Few<T, W>*>(table + id * width)[i];
            } else {
#pragma unroll
                for (int j = 0; j < W; ++j) few.at[j] = T(no_number());
            }
            reinterpret_cast<Few<T, W>*>(out + t * width)[i] = few;
        }
    }
}

// dtable[v] += sum of dout[t] over the tokens t with ids[t] == v, in their order: all by the block of the first of them.
template <class T, int W>
__global__ void embedding_backward(u64 tokens, u64 width, float* dtable, const T* dout, const u32* ids, u64 vocabulary) {
    __shared__ float parts[WARP];
    __shared__ u32 masks[WARP];
    const u32 warps = blockDim.x / WARP;
    for (u64 first = blockIdx.x; first < tokens; first += gridDim.x) {
        const u32 id = ids[first];
        bool is_earlier = false;
        for (u64 t = threadIdx.x; t < first; t += blockDim.x) is_earlier |= ids[t] == id;
        if (block_all<Maximum>(is_earlier ? 1.0f : 0.0f, parts) != 0.0f || id >= vocabulary) continue;
        for (u64 begin = first; begin < tokens; begin += blockDim.x) {
            const u64 t = begin + threadIdx.x;
            const u32 mask = __ballot_sync(ALL_LANES, t < tokens && ids[t] == id);
            if (lane_number() == 0) masks[warp_number()] = mask;
            __syncthreads();
            for (u32 warp = 0; warp < warps; ++warp) {
                for (u32 left = masks[warp]; left != 0; left &= left - 1) {
                    const u64 token = begin + warp * WARP + (__ffs(static_cast<int>(left)) - 1);
                    embed::add<T, W>(dtable + id * width, dout + token * width, width);
                }
            }
            __syncthreads();
        }
    }
}

// The same, every token for itself.
template <class T, int W>
__global__ void embedding_backward_atomic(u64 tokens, u64 width, float* dtable, const T* dout, const u32* ids, u64 vocabulary) {
    for (u64 t = blockIdx.x; t < tokens; t += gridDim.x) {
        const u64 id = ids[t];
        if (id >= vocabulary) continue;
        for (u64 i = threadIdx.x; i < width / W; i += blockDim.x) {
            Floats<T, W> more;
            more.load(dout + t * width, i);
#pragma unroll
            for (int j = 0; j < W; ++j) atomicAdd(dtable + id * width + i * W + j, more.at[j]);
        }
    }
}
