// Functions of CUDA C++ that concern one thread alone: bits, conversions, arithmetic, loads and stores, clocks.
//
// Those that CUDA computes approximately (`__expf`, `rsqrtf`, ...) are exact to a rounding here: results agree within
// the tolerance that the approximation needs anyway.
#pragma once

#include <math.h>
#include <sched.h>
#include <time.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "machine.hpp"

// ---- minimum and maximum: CUDA has them for every pair of integers, signed with unsigned being unsigned ----

#define ASSAY_MIN_MAX(a_type, b_type, type)                                                                    \
    inline constexpr type min(a_type a, b_type b) { return static_cast<type>(a) < static_cast<type>(b) ? a : b; } \
    inline constexpr type max(a_type a, b_type b) { return static_cast<type>(a) < static_cast<type>(b) ? b : a; }
ASSAY_MIN_MAX(int, int, int)
ASSAY_MIN_MAX(unsigned, unsigned, unsigned)
ASSAY_MIN_MAX(int, unsigned, unsigned)
ASSAY_MIN_MAX(unsigned, int, unsigned)
ASSAY_MIN_MAX(long, long, long)
ASSAY_MIN_MAX(unsigned long, unsigned long, unsigned long)
ASSAY_MIN_MAX(long long, long long, long long)
ASSAY_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
ASSAY_MIN_MAX(long long, unsigned long long, unsigned long long)
ASSAY_MIN_MAX(unsigned long long, long long, unsigned long long)
#undef ASSAY_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// ---- bits ----

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value)); }
inline int __clzll(long long value) { return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value)); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline unsigned long long __brevll(unsigned long long value) {
    unsigned long long reversed = 0;
    for (int bit = 0; bit < 64; ++bit) reversed |= (value >> bit & 1) << (63 - bit);
    return reversed;
}
inline unsigned __brev(unsigned value) { return static_cast<unsigned>(__brevll(value) >> 32); }
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const std::uint64_t bytes = std::uint64_t{high} << 32 | low;
    unsigned result = 0;
    for (int place = 0; place < 4; ++place) {
        const unsigned choice = selector >> (4 * place) & 15;
        unsigned byte = bytes >> (8 * (choice & 7)) & 255;
        if ((choice & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
        result |= byte << (8 * place);
    }
    return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((std::uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((std::uint64_t{high} << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? low : __funnelshift_l(low, high, shift);
}
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? high : __funnelshift_r(low, high, shift);
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(std::int64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline long long __mul64hi(long long a, long long b) { return static_cast<long long>(static_cast<__int128>(a) * b >> 64); }
inline int __dp4a(int a, int b, int sum) {
    auto total = static_cast<unsigned>(sum);
    for (int place = 0; place < 32; place += 8)
        total += static_cast<unsigned>(static_cast<signed char>(a >> place) * static_cast<signed char>(b >> place));
    return static_cast<int>(total);
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
    for (int place = 0; place < 32; place += 8) sum += (a >> place & 255) * (b >> place & 255);
    return sum;
}

// ---- the same bits as another type ----

#define ASSAY_SAME_BITS(name, from, to)            \
    inline to name(from value) {                   \
        to result;                                 \
        static_assert(sizeof value == sizeof result); \
        std::memcpy(&result, &value, sizeof value); \
        return result;                             \
    }
ASSAY_SAME_BITS(__float_as_int, float, int)
ASSAY_SAME_BITS(__float_as_uint, float, unsigned)
ASSAY_SAME_BITS(__int_as_float, int, float)
ASSAY_SAME_BITS(__uint_as_float, unsigned, float)
ASSAY_SAME_BITS(__double_as_longlong, double, long long)
ASSAY_SAME_BITS(__longlong_as_double, long long, double)
#undef ASSAY_SAME_BITS

// ---- conversions: out of range gives the nearest, NaN gives 0, as on the device ----

namespace assay::emulation {
template <typename To, typename From>
To saturating(From rounded, From lowest, From beyond, To least, To most) {
    if (rounded != rounded) return 0;
    if (rounded < lowest) return least;
    return rounded >= beyond ? most : static_cast<To>(rounded);
}
template <typename From>
int to_int(From rounded) {
    return saturating<int, From>(rounded, -2147483648.0f, 2147483648.0f, INT32_MIN, INT32_MAX);
}
template <typename From>
unsigned to_uint(From rounded) {
    return saturating<unsigned, From>(rounded, 0, 4294967296.0f, 0, UINT32_MAX);
}
}  // namespace assay::emulation

inline int __float2int_rn(float value) { return assay::emulation::to_int(nearbyintf(value)); }
inline int __float2int_rz(float value) { return assay::emulation::to_int(truncf(value)); }
inline int __float2int_rd(float value) { return assay::emulation::to_int(floorf(value)); }
inline int __float2int_ru(float value) { return assay::emulation::to_int(ceilf(value)); }
inline unsigned __float2uint_rn(float value) { return assay::emulation::to_uint(nearbyintf(value)); }
inline unsigned __float2uint_rz(float value) { return assay::emulation::to_uint(truncf(value)); }
inline int __double2int_rn(double value) { return assay::emulation::to_int(nearbyint(value)); }
inline int __double2int_rz(double value) { return assay::emulation::to_int(trunc(value)); }
inline float __int2float_rn(int value) { return static_cast<float>(value); }
inline float __uint2float_rn(unsigned value) { return static_cast<float>(value); }
inline float __ull2float_rn(unsigned long long value) { return static_cast<float>(value); }
inline float __double2float_rn(double value) { return static_cast<float>(value); }

// ---- arithmetic ----

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float value) { return sqrtf(value); }
inline float __frcp_rn(float value) { return 1.0f / value; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double value) { return sqrt(value); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float value) { return fminf(fmaxf(value, 0.0f), 1.0f); }
inline float __expf(float value) { return expf(value); }
inline float __exp10f(float value) { return exp10f(value); }
inline float __logf(float value) { return logf(value); }
inline float __log2f(float value) { return log2f(value); }
inline float __log10f(float value) { return log10f(value); }
inline float __powf(float base, float exponent) { return powf(base, exponent); }
inline float __sinf(float value) { return sinf(value); }
inline float __cosf(float value) { return cosf(value); }
inline float __tanf(float value) { return tanf(value); }
inline void __sincosf(float value, float* sine, float* cosine) { sincosf(value, sine, cosine); }
inline double rsqrt(double value) { return 1.0 / sqrt(value); }
inline float rsqrtf(float value) { return static_cast<float>(rsqrt(value)); }
inline float __frsqrt_rn(float value) { return rsqrtf(value); }
inline double sinpi(double value) { return sin(M_PI * fmod(value, 2.0)); }
inline double cospi(double value) { return cos(M_PI * fmod(value, 2.0)); }
inline float sinpif(float value) { return static_cast<float>(sinpi(value)); }
inline float cospif(float value) { return static_cast<float>(cospi(value)); }
inline void sincospif(float value, float* sine, float* cosine) {
    *sine = sinpif(value);
    *cosine = cospif(value);
}
inline void sincospi(double value, double* sine, double* cosine) {
    *sine = sinpi(value);
    *cosine = cospi(value);
}

// ---- loads and stores that say which caches they use ----

#define ASSAY_LOAD(name)              \
    template <typename T>             \
    T name(const T* address) {        \
        return *address;              \
    }
#define ASSAY_STORE(name)                 \
    template <typename T>                 \
    void name(T* address, T value) {      \
        *address = value;                 \
    }
ASSAY_LOAD(__ldg)
ASSAY_LOAD(__ldca)
ASSAY_LOAD(__ldcg)
ASSAY_LOAD(__ldcs)
ASSAY_LOAD(__ldlu)
ASSAY_LOAD(__ldcv)
ASSAY_STORE(__stwb)
ASSAY_STORE(__stcg)
ASSAY_STORE(__stcs)
ASSAY_STORE(__stwt)
#undef ASSAY_LOAD
#undef ASSAY_STORE

// ---- time, and the end ----

namespace assay::emulation {
/// The clock of the emulated device: CLOCK_MONOTONIC in nanoseconds. A thread that watches it lets other streams run.
inline unsigned long long globaltimer_ns() {
#ifdef ASSAY_EMULATION_PLUGIN
    sched_yield();
#endif
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<unsigned long long>(now.tv_sec) * 1000000000 + static_cast<unsigned long long>(now.tv_nsec);
}
}  // namespace assay::emulation

/// The emulated multiprocessor runs at 1 GHz.
inline long long clock64() { return static_cast<long long>(assay::emulation::globaltimer_ns()); }

inline void __nanosleep(unsigned) {
    sched_yield();
    assay::emulation::machine->pause();
}

[[noreturn]] inline void __trap() { assay::emulation::machine->fail("the kernel trapped"); }

#ifndef __clang__
#define __builtin_assume(condition) static_cast<void>(0)
#endif
