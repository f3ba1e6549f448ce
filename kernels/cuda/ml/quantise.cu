// Quantisation to 8 bits and back, with the bits of the host (`ops/quantise.rs`): every operation is rounded by itself. Of four
// elements a thread takes at once, the last ones, that are no whole four, are done by the last block's first threads.
#include "common/block.cuh"
#include "common/half.cuh"

using namespace assay;

namespace quantise {

constexpr u32 THREADS = 256;

/// Four codes, which move at once.
struct alignas(4) Codes {
    u8 at[4];
};

ASSAY_DEVICE u32 magnitude(float x) { return to_bits(x) & 0x7FFFFFFFu; }

/// The largest over the block, in every thread.
ASSAY_DEVICE u32 largest_for_all(u32 value) {
    __shared__ u32 parts[THREADS / WARP];
    __shared__ u32 result;
#pragma unroll
    for (u32 apart = WARP / 2; apart > 0; apart /= 2) value = maximum<u32>(value, __shfl_xor_sync(ALL_LANES, value, apart));
    if (lane_number() == 0) parts[warp_number()] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (u32 i = 1; i < THREADS / WARP; ++i) value = maximum<u32>(value, parts[i]);
        result = value;
    }
    __syncthreads();
    const u32 found = result;
    // Before the next one writes.
    __syncthreads();
    return found;
}

/// A scale, and what numbers are multiplied by, given the bits of the largest magnitude.
struct Scaling {
    float scale, inverse;

    ASSAY_DEVICE Scaling(u32 largest, float most) {
        const float amax = from_bits(largest);
        scale = __fdiv_rn(amax, most);
        inverse = __fdiv_rn(most, amax);
        // Of zeros, and of what is too small to have such a factor.
        if (to_bits(inverse) == 0x7F800000u) scale = inverse = 0.0f;
        // One pattern for what is no number.
        if (largest > 0x7F800000u) scale = from_bits(0x7FC00000u);
    }
};

/// The code with some bits of fraction and a bias, at most MOST, ties to even.
template <u32 FRACTION, u32 BIAS, u32 MOST>
ASSAY_DEVICE u8 narrowed(float x) {
    const u32 of_x = magnitude(x);
    if (of_x > 0x7F800000u) return 0x7F;
    const u32 code = of_x == 0x7F800000u ? MOST : minimum<u32>(narrow_magnitude(of_x, FRACTION, BIAS), MOST);
    return static_cast<u8>(code | (to_bits(x) >> 31 << 7));
}

/// The number of a code whose magnitude is below SPECIAL; others are none, or infinite in E5M2.
template <u32 FRACTION, u32 BIAS, u32 SPECIAL>
ASSAY_DEVICE float widened(u8 code) {
    const u32 of_code = code & 0x7Fu;
    const u32 special = SPECIAL == 0x7C && of_code == SPECIAL ? 0x7F800000u : 0x7FC00000u;
    const u32 value = of_code >= SPECIAL ? special : to_bits(widen_magnitude(of_code, FRACTION, BIAS));
    return from_bits(value | static_cast<u32>(code >> 7) << 31);
}

}  // namespace quantise

struct I8 {
    static constexpr float MOST = 127;
    // Of what is no number it is 0.
    static __device__ u8 encode(float x) { return static_cast<u8>(maximum(-127, minimum(127, __float2int_rn(x)))); }
    static __device__ float decode(u8 code) { return static_cast<float>(static_cast<i8>(code)); }
};
struct E4m3 {
    static constexpr float MOST = 448;
    static __device__ u8 encode(float x) { return quantise::narrowed<3, 7, 0x7E>(x); }
    static __device__ float decode(u8 code) { return quantise::widened<3, 7, 0x7F>(code); }
};
struct E5m2 {
    static constexpr float MOST = 57344;
    static __device__ u8 encode(float x) { return quantise::narrowed<2, 15, 0x7B>(x); }
    static __device__ float decode(u8 code) { return quantise::widened<2, 15, 0x7C>(code); }
};

// largest = bits of the largest magnitude of n numbers; it is 0 before
__global__ void __launch_bounds__(quantise::THREADS) largest_magnitude(u32* largest, const float* in, u64 n) {
    using namespace quantise;
    u32 found = 0;
    const u64 packs = n / 4;
    for (u64 i = grid_thread(); i < packs; i += grid_threads()) {
        const Pack<float> four = reinterpret_cast<const Pack<float>*>(in)[i];
#pragma unroll
        for (u32 j = 0; j < 4; ++j) found = maximum<u32>(found, magnitude(four.at[j]));
    }
    const u64 i = packs * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) found = maximum<u32>(found, magnitude(in[i]));
    found = largest_for_all(found);
    if (threadIdx.x == 0) atomicMax(largest, found);
}

// codes and the one scale of n numbers
template <class Code>
__global__ void __launch_bounds__(quantise::THREADS)
    quantise_tensor(u8* codes, float* scale, const float* in, const u32* largest, u64 n) {
    using namespace quantise;
    const Scaling scaling(*largest, Code::MOST);
    if (grid_thread() == 0) *scale = scaling.scale;
    const u64 fours = n / 4, own = grid_thread();
    if (own < fours) {
        const Pack<float> four = reinterpret_cast<const Pack<float>*>(in)[own];
        Codes result;
#pragma unroll
        for (u32 j = 0; j < 4; ++j) result.at[j] = Code::encode(__fmul_rn(four.at[j], scaling.inverse));
        reinterpret_cast<Codes*>(codes)[own] = result;
    }
    const u64 i = fours * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) codes[i] = Code::encode(__fmul_rn(in[i], scaling.inverse));
}

// codes and a scale for each row: a block a row
template <class Code>
__global__ void __launch_bounds__(quantise::THREADS)
    quantise_rows(u8* codes, float* scales, const float* in, u64 rows, u64 cols) {
    using namespace quantise;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const float* const from = in + row * cols;
        u32 largest = 0;
        for (u64 i = threadIdx.x; i < cols; i += THREADS) largest = maximum<u32>(largest, magnitude(from[i]));
        largest = largest_for_all(largest);
        const Scaling scaling(largest, Code::MOST);
        if (threadIdx.x == 0) scales[row] = scaling.scale;
        for (u64 i = threadIdx.x; i < cols; i += THREADS) codes[row * cols + i] = Code::encode(__fmul_rn(from[i], scaling.inverse));
    }
}

// out = code times the scale of its group, for n codes
template <class Code>
__global__ void __launch_bounds__(quantise::THREADS)
    dequantise(float* out, const u8* codes, const float* scales, u64 group, u64 n) {
    using namespace quantise;
    const auto value = [=](u8 code, u64 at) { return __fmul_rn(Code::decode(code), scales[at / group]); };
    const u64 fours = n / 4, own = grid_thread();
    if (own < fours) {
        const Codes four = reinterpret_cast<const Codes*>(codes)[own];
        Pack<float> result;
#pragma unroll
        for (u32 j = 0; j < 4; ++j) result.at[j] = value(four.at[j], own * 4 + j);
        reinterpret_cast<Pack<float>*>(out)[own] = result;
    }
    const u64 i = fours * 4 + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) out[i] = value(codes[i], i);
}
