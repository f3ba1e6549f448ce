// What kernels of machine learning share: a few elements of any type as floats, rows that a block goes over more than once, and
// sums and maxima over a block that all of its threads get. Blocks have one dimension and whole warps, and every thread calls.
#pragma once

#include "common/block.cuh"
#include "common/half.cuh"

namespace assay {

ASSAY_DEVICE float minus_infinity() { return __uint_as_float(0xFF800000); }
ASSAY_DEVICE float no_number() { return __uint_as_float(0x7FC00000); }

/// `W` elements that lie together, aligned to all of them.
template <class T, int W>
struct alignas(sizeof(T) * W) Few {
    T at[W];
};

/// `W` elements as floats.
template <class T, int W>
struct Floats {
    float at[W];

    ASSAY_DEVICE void load(const T* from, u64 index) {
        const Few<T, W> few = reinterpret_cast<const Few<T, W>*>(from)[index];
#pragma unroll
        for (int i = 0; i < W; ++i) at[i] = static_cast<float>(few.at[i]);
    }

    ASSAY_DEVICE void store(T* to, u64 index) const {
        Few<T, W> few;
#pragma unroll
        for (int i = 0; i < W; ++i) few.at[i] = T(at[i]);
        reinterpret_cast<Few<T, W>*>(to)[index] = few;
    }
};

/// Packs of a row that a thread keeps in registers.
constexpr u32 KEPT = 4;

/// A row of `cols` elements, a multiple of W, that a block goes over several times: what is beyond the packs that its threads
/// keep is loaded again.
template <class T, int W>
struct Row {
    const T* from;
    u64 packs;
    Floats<T, W> kept[KEPT];

    ASSAY_DEVICE Row(const T* row, u64 cols) : from(row), packs(cols / W) {
#pragma unroll
        for (u32 k = 0; k < KEPT; ++k) {
            const u64 i = threadIdx.x + k * blockDim.x;
            if (i < packs) kept[k].load(from, i);
        }
    }

    /// Calls `body(i, pack)` for the packs that are this thread's.
    template <class Body>
    ASSAY_DEVICE void each(Body body) {
#pragma unroll
        for (u32 k = 0; k < KEPT; ++k) {
            const u64 i = threadIdx.x + k * blockDim.x;
            if (i < packs) body(i, kept[k]);
        }
        for (u64 i = threadIdx.x + KEPT * blockDim.x; i < packs; i += blockDim.x) {
            Floats<T, W> more;
            more.load(from, i);
            body(i, more);
        }
    }
};

/// Calls `body(i, a, b)` for the packs of two rows of one length that are this thread's.
template <class T, int W, class Body>
ASSAY_DEVICE void each_pair(Row<T, W>& left, Row<T, W>& right, Body body) {
#pragma unroll
    for (u32 k = 0; k < KEPT; ++k) {
        const u64 i = threadIdx.x + k * blockDim.x;
        if (i < left.packs) body(i, left.kept[k], right.kept[k]);
    }
    for (u64 i = threadIdx.x + KEPT * blockDim.x; i < left.packs; i += blockDim.x) {
        Floats<T, W> a, b;
        a.load(left.from, i);
        b.load(right.from, i);
        body(i, a, b);
    }
}

struct Sum {
    static ASSAY_DEVICE float identity() { return 0.0f; }
    static ASSAY_DEVICE float combine(float a, float b) { return a + b; }
};

/// Of numbers: what is none is left out, and shows elsewhere.
struct Maximum {
    static ASSAY_DEVICE float identity() { return minus_infinity(); }
    static ASSAY_DEVICE float combine(float a, float b) { return fmaxf(a, b); }
};

/// Over a warp, in each of its lanes.
template <class How>
ASSAY_DEVICE float warp_all(float value) {
#pragma unroll
    for (u32 apart = 1; apart < WARP; apart *= 2) value = How::combine(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

/// Over a block, in each of its threads, with the same bits. `parts` has 32 elements, and can be used again at once.
template <class How>
ASSAY_DEVICE float block_all(float value, float* parts) {
    value = warp_all<How>(value);
    if (blockDim.x == WARP) return value;
    if (lane_number() == 0) parts[warp_number()] = value;
    __syncthreads();
    value = warp_all<How>(lane_number() < blockDim.x / WARP ? parts[lane_number()] : How::identity());
    __syncthreads();
    return value;
}

/// A sum of exponentials as they come: of `e^(x - largest)`. M. Milakov, N. Gimelshein, "Online normalizer calculation for
/// softmax", arXiv:1805.02867, 2018, algorithm 3.
struct Exponentials {
    float largest = minus_infinity(), sum = 0.0f;

    /// What exponents are relative to: nothing, where all are minus infinity so far.
    static ASSAY_DEVICE float base(float largest) { return largest == minus_infinity() ? 0.0f : largest; }

    template <int W>
    ASSAY_DEVICE void add(const float (&x)[W]) {
        float most = largest;
#pragma unroll
        for (int i = 0; i < W; ++i) most = fmaxf(most, x[i]);
        sum *= expf(largest - base(most));
#pragma unroll
        for (int i = 0; i < W; ++i) sum += expf(x[i] - base(most));
        largest = most;
    }

    /// Those of all threads of the block, in each.
    ASSAY_DEVICE void gather(float* parts) {
        const float most = block_all<Maximum>(largest, parts);
        sum = block_all<Sum>(sum * expf(largest - base(most)), parts);
        largest = most;
    }
};

}  // namespace assay
