// Checks functions that concern one thread alone: conversions of 16 and 8 bits for every code, Philox against the
// published vectors, bits. Prints what is wrong.
#include "emulation.hpp"
#include "common/half.cuh"
#include "common/philox.cuh"

using namespace assay;

namespace {

int failures = 0;

void check(bool condition, const char* what, unsigned long long at) {
    if (condition) return;
    if (++failures <= 20) std::printf("%s: wrong at %llx\n", what, at);
}

/// A format described by its numbers, to compute what a code means without bit tricks.
struct Format {
    const char* name;
    int fraction;
    int bias;
    u32 largest;  // the code of the largest finite number
    u32 beyond;   // the code of what is larger: infinity, or the largest number again
    u32 nan;
    u32 sign;
};

double value_of(const Format& format, u32 code) {
    const u32 magnitude = code & (format.sign - 1);
    const int exponent = static_cast<int>(magnitude >> format.fraction);
    const u32 fraction = magnitude & ((1u << format.fraction) - 1);
    const double value = exponent == 0
                             ? std::ldexp(fraction, 1 - format.bias - format.fraction)
                             : std::ldexp(fraction | 1u << format.fraction, exponent - format.bias - format.fraction);
    return (code & format.sign) != 0 ? -value : value;
}

/// Every finite code forth and back, and the rounding of what lies half-way between neighbours and right beside it.
/// Rounding is monotonic between those, so nothing else can be wrong.
template <typename T>
void check_format(const Format& format) {
    T number;
    for (u32 sign = 0; sign <= format.sign; sign += format.sign) {
        for (u32 code = 0; code <= format.largest; ++code) {
            number.bits = static_cast<decltype(number.bits)>(code | sign);
            const double value = value_of(format, code | sign);
            const float wide = static_cast<float>(number);
            check(wide == value && std::signbit(wide) == std::signbit(value), format.name, code | sign);
            check(T(wide).bits == (code | sign), format.name, code | sign);

            const u32 next = code + 1;  // of the largest number: what would follow, did the format not end
            const double middle = (value + value_of(format, next | sign)) / 2;
            const auto half_way = static_cast<float>(middle);
            check(half_way == middle, "half-way", code);
            const u32 above = code == format.largest ? format.beyond : next;
            const u32 even = code % 2 == 0 ? code : above;
            const float outward = std::nextafterf(half_way, sign != 0 ? -INFINITY : INFINITY);
            const float inward = std::nextafterf(half_way, 0.0f);
            check(T(half_way).bits == (even | sign), format.name, code | sign);
            check(T(outward).bits == (above | sign), format.name, code | sign);
            check(T(inward).bits == (code | sign), format.name, code | sign);
        }
        const float infinity = sign != 0 ? -INFINITY : INFINITY;
        check(T(infinity).bits == (format.beyond | sign), format.name, sign);
        check(T(sign != 0 ? -3.4e38f : 3.4e38f).bits == (format.beyond | sign), format.name, sign);
    }
    for (const u32 bits : {0x7FC00000u, 0x7F800001u, 0xFFFFFFFFu, 0xFFC00000u})
        check(T(from_bits(bits)).bits == format.nan, format.name, bits);
}

/// Codes that are no finite numbers.
void check_special_values() {
    for (u32 code = 0; code < 0x10000; ++code) {
        f16 half;
        bf16 brain;
        half.bits = brain.bits = static_cast<u16>(code);
        if ((code & 0x7FFF) > 0x7C00) check(to_bits(static_cast<float>(half)) == 0x7FFFFFFF, "NaN of f16", code);
        if ((code & 0x7FFF) == 0x7C00) check(static_cast<float>(half) == (code > 0x8000 ? -INFINITY : INFINITY), "f16", code);
        check(to_bits(static_cast<float>(brain)) == code << 16, "bf16", code);
    }
    for (const u32 code : {0x7Fu, 0xFFu}) {
        f8e4m3 small;
        small.bits = static_cast<u8>(code);
        check(to_bits(static_cast<float>(small)) == 0x7FFFFFFF, "NaN of f8e4m3", code);
    }
}

/// Random123 1.14, `tests/kat_vectors`, lines `philox4x32 10`.
void check_philox() {
    const u32 vectors[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (const auto& vector : vectors) {
        const PhiloxWords words = philox4x32_10(vector[0], vector[1], vector[2], vector[3], vector[4], vector[5]);
        for (int place = 0; place < 4; ++place) check(words.words[place] == vector[6 + place], "Philox", place);
    }
    const Philox random{1, 2};
    for (u64 index = 0; index < 9; ++index) check(random.word(index) == random.block(index / 4).words[index % 4], "a word of Philox", index);
    check(signed_unit(0) == -1.0f && signed_unit(~0u) == 1.0f - 1.0f / 8388608.0f && signed_unit(1u << 31) == 0.0f, "signed_unit", 0);
    for (const u32 word : {0u, 255u, 0x12345678u, ~0u}) check(unit(word) == (signed_unit(word) + 1.0f) / 2.0f, "unit", word);
    check(below(~0u, 10) == 9 && below(0, 10) == 0 && below(1u << 31, 10) == 5 && below(~0u, 0) == 0, "below", 0);
}

void check_bits() {
    check(__popc(0xF0F0u) == 8 && __popcll(~0ull) == 64, "__popc", 0);
    check(__clz(0) == 32 && __clz(1) == 31 && __clz(-1) == 0 && __clzll(1) == 63, "__clz", 0);
    check(__ffs(0) == 0 && __ffs(8) == 4, "__ffs", 0);
    check(__brev(1) == 1u << 31 && __brev(0x12345678) == 0x1E6A2C48 && __brevll(1) == 1ull << 63, "__brev", 0);
    check(__byte_perm(0x33221100, 0x77665544, 0x7520) == 0x77552200, "__byte_perm", 0);
    check(__byte_perm(0x00008000, 0, 0x9999) == 0xFFFFFFFF, "__byte_perm with signs", 0);
    check(__funnelshift_l(0x80000000, 1, 1) == 3 && __funnelshift_l(1, 2, 32) == 2, "__funnelshift_l", 0);
    check(__funnelshift_r(2, 1, 1) == 0x80000001 && __funnelshift_r(1, 2, 32) == 1, "__funnelshift_r", 0);
    check(__funnelshift_lc(1, 2, 40) == 1 && __funnelshift_rc(1, 2, 40) == 2, "__funnelshift clamped", 0);
    check(__umulhi(~0u, ~0u) == 0xFFFFFFFE && __mulhi(-1, 1) == -1 && __umul64hi(~0ull, 2) == 1, "__mulhi", 0);
    check(__dp4a(0x01FF0203, 0x01020304, 5) == 5 + 1 - 2 + 6 + 12, "__dp4a", 0);
    check(__dp4a(0x01FF0203u, 0x01020304u, 5u) == 5 + 1 + 510 + 6 + 12, "__dp4a unsigned", 0);
    check(__float2int_rn(2.5f) == 2 && __float2int_rn(-3.5f) == -4 && __float2int_rz(-2.9f) == -2, "__float2int", 0);
    check(__float2int_rz(1e30f) == 2147483647 && __float2int_rz(NAN) == 0 && __float2uint_rz(-1.0f) == 0, "__float2int at its limits", 0);
    check(min(3u, -1) == 3u && max(-2, 1) == 1 && min(1.5f, NAN) == 1.5f && max(2ull, 3ull) == 3, "min and max", 0);
    check(rsqrtf(4.0f) == 0.5f && cospif(1.0f) == -1.0f && __saturatef(2.0f) == 1.0f, "arithmetic", 0);
    check(ceil_div(9u, 4u) == 3 && ceil_div(8u, 4u) == 2 && minimum(2, 1) == 1 && maximum(2, 1) == 2, "ceil_div", 0);
}

}  // namespace

int main() {
    check_format<f16>({"f16", 10, 15, 0x7BFF, 0x7C00, 0x7FFF, 0x8000});
    check_format<bf16>({"bf16", 7, 127, 0x7F7F, 0x7F80, 0x7FFF, 0x8000});
    check_format<f8e4m3>({"f8e4m3", 3, 7, 0x7E, 0x7E, 0x7F, 0x80});
    check_special_values();
    check_philox();
    check_bits();
    std::printf(failures == 0 ? "passed\n" : "%d are wrong\n", failures);
    return failures == 0 ? 0 : 1;
}
