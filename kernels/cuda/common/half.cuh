// Floating-point numbers of 16 and of 8 bits: how they are stored, and exact conversion from and to `float`.
//
// | type   | sign, exponent, fraction | bias | infinity | NaN             |
// | f16    | 1, 5, 10                 | 15   | yes      | exponent all 1s |
// | bf16   | 1, 8, 7                  | 127  | yes      | exponent all 1s |
// | f8e4m3 | 1, 4, 3                  | 7    | no       | 0x7F and 0xFF   |
//
// From `float`: rounded to nearest, ties to even, subnormal numbers included. A NaN becomes 0x7FFF (f16, bf16) or 0x7F
// (f8e4m3). What is too large becomes an infinity, in f8e4m3 the largest number, 448. To `float`: exact; a NaN of f16 or
// f8e4m3 becomes 0x7FFFFFFF, one of bf16 keeps its bits. On a device the conversions of 16 bits are instructions that
// every GPU since sm_80 has, elsewhere the same written out.
#pragma once

#include "common/cuda.cuh"

namespace assay {

/// Rounds the upper bits of `value`, of which `dropped` (1 to 31) lower bits go, to nearest, ties to even.
ASSAY_DEVICE u32 round_off(u32 value, u32 dropped) {
    const u32 half = 1u << (dropped - 1);
    const u32 odd = value >> dropped & 1;
    return (value + (half - 1) + odd) >> dropped;
}

/// The magnitude of a finite `float` (its bits without the sign) in a format with `fraction` bits of fraction and the
/// given bias; the result may be beyond the format's largest number. Subnormal results are exact roundings too.
ASSAY_DEVICE u32 narrow_magnitude(u32 magnitude, u32 fraction, u32 bias) {
    const u32 exponent = magnitude >> 23;
    const u32 rebias = 127 - bias;
    if (exponent > rebias) return round_off(magnitude - (rebias << 23), 23 - fraction);
    const u32 shift = (23 - fraction) + (rebias + 1 - exponent);
    // Under half of the smallest subnormal number. (A subnormal `float` is among these wherever bias < 127.)
    if (shift > 24) return 0;
    return round_off((magnitude & 0x007FFFFFu) | 0x00800000u, shift);
}

/// The `float` of a magnitude that has `fraction` bits of fraction and the given bias, and that is no infinity or NaN.
ASSAY_DEVICE float widen_magnitude(u32 magnitude, u32 fraction, u32 bias) {
    const u32 exponent = magnitude >> fraction;
    if (exponent != 0) return from_bits((magnitude << (23 - fraction)) + ((127 - bias) << 23));
    // A subnormal number is an integer times the smallest one, 2^(1 - bias - fraction).
    return static_cast<float>(magnitude) * from_bits((127 + 1 - bias - fraction) << 23);
}

ASSAY_DEVICE u16 f16_bits_of(float value) {
#ifndef ASSAY_EMULATION
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#else
    const u32 all = to_bits(value);
    const u32 magnitude = all & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return 0x7FFF;
    const u32 rounded = magnitude == 0x7F800000u ? 0x7C00 : minimum(narrow_magnitude(magnitude, 10, 15), 0x7C00u);
    return static_cast<u16>(rounded | (all >> 31 << 15));
#endif
}

ASSAY_DEVICE float f16_value_of(u16 bits) {
#ifndef ASSAY_EMULATION
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#else
    const u32 magnitude = bits & 0x7FFFu;
    const u32 sign = static_cast<u32>(bits >> 15) << 31;
    if (magnitude > 0x7C00) return from_bits(0x7FFFFFFF);
    if (magnitude == 0x7C00) return from_bits(sign | 0x7F800000u);
    return from_bits(sign | to_bits(widen_magnitude(magnitude, 10, 15)));
#endif
}

ASSAY_DEVICE u16 bf16_bits_of(float value) {
#ifndef ASSAY_EMULATION
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#else
    const u32 all = to_bits(value);
    if ((all & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;
    return static_cast<u16>(round_off(all & 0x7FFFFFFFu, 16) | (all >> 31 << 15));
#endif
}

ASSAY_DEVICE float bf16_value_of(u16 bits) { return from_bits(static_cast<u32>(bits) << 16); }

ASSAY_DEVICE u8 f8e4m3_bits_of(float value) {
    const u32 all = to_bits(value);
    const u32 magnitude = all & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return 0x7F;
    const u32 rounded = magnitude >= 0x43E00000u /* 448 */ ? 0x7E : narrow_magnitude(magnitude, 3, 7);
    return static_cast<u8>(rounded | (all >> 31 << 7));
}

ASSAY_DEVICE float f8e4m3_value_of(u8 bits) {
    const u32 magnitude = bits & 0x7Fu;
    if (magnitude == 0x7F) return from_bits(0x7FFFFFFF);
    return from_bits(static_cast<u32>(bits >> 7) << 31 | to_bits(widen_magnitude(magnitude, 3, 7)));
}

/// Binary16 of IEEE 754.
struct f16 {
    u16 bits;

    f16() = default;
    ASSAY_DEVICE explicit f16(float value) : bits(f16_bits_of(value)) {}
    ASSAY_DEVICE explicit operator float() const { return f16_value_of(bits); }

    /// Two of them in a word, the first in its lower half; and the two that a word has.
    ASSAY_DEVICE static u32 pack(float first, float second) {
#ifndef ASSAY_EMULATION
        u32 both;
        asm("cvt.rn.f16x2.f32 %0, %2, %1;" : "=r"(both) : "f"(first), "f"(second));
        return both;
#else
        return f16_bits_of(first) | static_cast<u32>(f16_bits_of(second)) << 16;
#endif
    }
    ASSAY_DEVICE static float2 unpack(u32 both) {
        return make_float2(f16_value_of(static_cast<u16>(both)), f16_value_of(static_cast<u16>(both >> 16)));
    }
};

/// The upper half of a `float`.
struct bf16 {
    u16 bits;

    bf16() = default;
    ASSAY_DEVICE explicit bf16(float value) : bits(bf16_bits_of(value)) {}
    ASSAY_DEVICE explicit operator float() const { return bf16_value_of(bits); }

    /// Two of them in a word, the first in its lower half; and the two that a word has.
    ASSAY_DEVICE static u32 pack(float first, float second) {
#ifndef ASSAY_EMULATION
        u32 both;
        asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(both) : "f"(first), "f"(second));
        return both;
#else
        return bf16_bits_of(first) | static_cast<u32>(bf16_bits_of(second)) << 16;
#endif
    }
    ASSAY_DEVICE static float2 unpack(u32 both) { return make_float2(from_bits(both << 16), from_bits(both & 0xFFFF0000u)); }
};

/// The 8-bit format E4M3 of the Open Compute Project, "FP8 specification", 1.0, section 5.
struct f8e4m3 {
    u8 bits;

    f8e4m3() = default;
    ASSAY_DEVICE explicit f8e4m3(float value) : bits(f8e4m3_bits_of(value)) {}
    ASSAY_DEVICE explicit operator float() const { return f8e4m3_value_of(bits); }
};

static_assert(sizeof(f16) == 2 && sizeof(bf16) == 2 && sizeof(f8e4m3) == 1, "no padding");

}  // namespace assay
