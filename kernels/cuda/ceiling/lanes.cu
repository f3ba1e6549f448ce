// Chains of multiply-adds in registers: each element starts as a whole number and goes through x = a x + b and x = a x + c
// in turn, with a = 1, which the compiler cannot know. A thread has 8 chains, which hide each other's latency.
#include "common/half.cuh"

using namespace assay;

namespace ceiling {

constexpr u32 THREADS = 256, CHAINS = 8;

/// The whole number that a chain starts with, from -2048 to -1025.
ASSAY_DEVICE float start(u32 word) { return static_cast<float>(static_cast<i32>(word & 1023) - 2048); }

/// One chain of a type that has its own multiply-add.
template <class T>
struct One {
    static constexpr u32 WIDTH = 1;
    T x;

    ASSAY_DEVICE static One all(float value) { return {T(value)}; }
    ASSAY_DEVICE static One load(const u32* in, u64 at, u64 n) { return all(at < n ? start(in[at]) : 0.0f); }
    ASSAY_DEVICE void store(T* out, u64 at, u64 n) const {
        if (at < n) out[at] = x;
    }
    ASSAY_DEVICE void step(One a, One b) { x = fma(x, a.x, b.x); }
    ASSAY_DEVICE static float fma(float x, float a, float b) { return __fmaf_rn(x, a, b); }
    ASSAY_DEVICE static double fma(double x, double a, double b) { return __fma_rn(x, a, b); }
};

/// Two chains of binary16, which one instruction advances.
struct Two {
    static constexpr u32 WIDTH = 2;
    u32 bits;

    ASSAY_DEVICE static Two pair(f16 low, f16 high) { return {low.bits | static_cast<u32>(high.bits) << 16}; }
    ASSAY_DEVICE static Two all(float value) { return pair(f16(value), f16(value)); }
    ASSAY_DEVICE static Two load(const u32* in, u64 at, u64 n) {
        return pair(f16(at < n ? start(in[at]) : 0.0f), f16(at + 1 < n ? start(in[at + 1]) : 0.0f));
    }
    ASSAY_DEVICE f16 half(u32 place) const {
        f16 value;
        value.bits = static_cast<u16>(bits >> (16 * place));
        return value;
    }
    ASSAY_DEVICE void store(f16* out, u64 at, u64 n) const {
        if (at < n) out[at] = half(0);
        if (at + 1 < n) out[at + 1] = half(1);
    }
    ASSAY_DEVICE void step(Two a, Two b) {
#ifndef ASSAY_EMULATION
        asm("fma.rn.f16x2 %0, %0, %1, %2;" : "+r"(bits) : "r"(a.bits), "r"(b.bits));
#else
        const auto fma = [&](u32 place) {
            return f16(__fmaf_rn(float(half(place)), float(a.half(place)), float(b.half(place))));
        };
        *this = pair(fma(0), fma(1));
#endif
    }
};

template <class T>
struct Chain {
    using Type = One<T>;
};
template <>
struct Chain<f16> {
    using Type = Two;
};

}  // namespace ceiling

/// out[i] = start(in[i]) after `steps` steps, i < n.
template <class T>
__global__ void __launch_bounds__(ceiling::THREADS) multiply_add(T* out, const u32* in, u64 n, u32 steps, float a, float b, float c) {
    using namespace ceiling;
    using Chain = typename ceiling::Chain<T>::Type;
    const u64 first = (u64(blockIdx.x) * CHAINS * THREADS + threadIdx.x) * Chain::WIDTH;
    const Chain factor = Chain::all(a), odd = Chain::all(b), even = Chain::all(c);
    Chain chains[CHAINS];
#pragma unroll
    for (u32 k = 0; k < CHAINS; ++k) chains[k] = Chain::load(in, first + u64(k) * THREADS * Chain::WIDTH, n);
    u32 left = steps;
    constexpr u32 AT_ONCE = 64;
#pragma unroll 1
    for (; left >= AT_ONCE; left -= AT_ONCE) {
#pragma unroll
        for (u32 step = 0; step < AT_ONCE; ++step) {
#pragma unroll
            for (u32 k = 0; k < CHAINS; ++k) chains[k].step(factor, step % 2 == 0 ? odd : even);
        }
    }
#pragma unroll 1
    for (u32 step = 0; step < left; ++step) {
#pragma unroll
        for (u32 k = 0; k < CHAINS; ++k) chains[k].step(factor, step % 2 == 0 ? odd : even);
    }
#pragma unroll
    for (u32 k = 0; k < CHAINS; ++k) chains[k].store(out, first + u64(k) * THREADS * Chain::WIDTH, n);
}
