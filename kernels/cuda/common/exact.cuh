// Arithmetic whose bits are those of the host: every operation is rounded by itself (a compiler would join products and sums), and
// exp and log are those of the host's library, operation by operation.
//
// Source of exp and log: FreeBSD's msun, e_exp.c and e_log.c (Copyright (C) 1993, 2004 by Sun Microsystems, Inc. Permission to use,
// copy, modify, and distribute this software is freely granted, provided that this notice is preserved), which the crate `libm` has in Rust.
// Source of the quantiles: M. J. Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37(3),
// 1988, routine PPND16.
#pragma once

#include "common/cuda.cuh"
#include "common/philox.cuh"

namespace assay::exact {

/// A double that is never part of a fused operation.
struct Real {
    double value;
    Real() = default;
    ASSAY_DEVICE constexpr Real(double value) : value(value) {}
    ASSAY_DEVICE float single() const { return __double2float_rn(value); }
};

ASSAY_DEVICE Real operator+(Real a, Real b) { return __dadd_rn(a.value, b.value); }
ASSAY_DEVICE Real operator-(Real a, Real b) { return __dsub_rn(a.value, b.value); }
ASSAY_DEVICE Real operator*(Real a, Real b) { return __dmul_rn(a.value, b.value); }
ASSAY_DEVICE Real operator/(Real a, Real b) { return __ddiv_rn(a.value, b.value); }
ASSAY_DEVICE Real operator-(Real a) { return -a.value; }
ASSAY_DEVICE bool operator<(Real a, Real b) { return a.value < b.value; }
ASSAY_DEVICE bool operator>(Real a, Real b) { return a.value > b.value; }

ASSAY_DEVICE Real square_root(Real x) { return __dsqrt_rn(x.value); }
ASSAY_DEVICE Real from_bits(u64 bits) { return __longlong_as_double(static_cast<i64>(bits)); }
ASSAY_DEVICE u64 bits_of(Real x) { return static_cast<u64>(__double_as_longlong(x.value)); }
/// 2 to a power from -1022 to 1023.
ASSAY_DEVICE Real power_of_two(int exponent) { return from_bits(static_cast<u64>(1023 + exponent) << 52); }

/// e to the power x, x being a number.
ASSAY_DEVICE Real exp(Real x) {
    const u32 high = static_cast<u32>(bits_of(x) >> 32) & 0x7FFFFFFFu;
    const bool is_negative = x < 0.0;
    if (x > 709.782712893383973096) return from_bits(0x7FF0000000000000ull);
    if (x < -745.13321910194110842) return 0.0;
    int k = 0;
    Real hi = x, lo = 0.0;
    if (high > 0x3FD62E42u) {
        k = high >= 0x3FF0A2B2u
                ? __double2int_rz((1.44269504088896338700e+00 * x + (is_negative ? -0.5 : 0.5)).value)
                : (is_negative ? -1 : 1);
        hi = x - Real(k) * 6.93147180369123816490e-01;
        lo = Real(k) * 1.90821492927058770002e-10;
        x = hi - lo;
    } else if (high <= 0x3E300000u) {
        return 1.0 + x;
    }
    const Real square = x * x;
    const Real c = x - square * (1.66666666666666019037e-01 +
                                 square * (-2.77777777770155933842e-03 +
                                           square * (6.61375632143793436117e-05 +
                                                     square * (-1.65339022054652515390e-06 + square * 4.13813679705723846039e-08))));
    Real y = 1.0 + (x * c / (2.0 - c) - lo + hi);
    if (k == 0) return y;
    // What would be rounded twice where it is nearly nothing is scaled in two steps.
    if (k > 1023) return y * power_of_two(1023) * power_of_two(k - 1023);
    if (k < -1022) return y * power_of_two(-969) * power_of_two(k + 969);
    return y * power_of_two(k);
}

/// The natural logarithm of x, which is above 0.
ASSAY_DEVICE Real log(Real x) {
    u64 bits = bits_of(x);
    u32 high = static_cast<u32>(bits >> 32);
    int k = 0;
    if (high < 0x00100000u) {
        k = -54;
        bits = bits_of(x * 18014398509481984.0);
        high = static_cast<u32>(bits >> 32);
    } else if (high == 0x3FF00000u && bits << 32 == 0) {
        return 0.0;
    }
    high += 0x3FF00000u - 0x3FE6A09Eu;
    k += static_cast<int>(high >> 20) - 0x3FF;
    high = (high & 0x000FFFFFu) + 0x3FE6A09Eu;
    const Real f = from_bits(static_cast<u64>(high) << 32 | (bits & 0xFFFFFFFFull)) - 1.0;
    const Real half_square = 0.5 * f * f;
    const Real s = f / (2.0 + f);
    const Real z = s * s, w = z * z;
    const Real t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    const Real t2 = z * (6.666666666666735130e-01 +
                         w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    const Real r = t2 + t1, dk = Real(k);
    return s * (half_square + r) + dk * 1.90821492927058770002e-10 - half_square + f + dk * 6.93147180369123816490e-01;
}

/// A polynomial, coefficients of low powers first.
ASSAY_DEVICE Real polynomial(const double (&coefficients)[8], Real x) {
    Real sum = coefficients[7];
#pragma unroll
    for (int i = 6; i >= 0; --i) sum = sum * x + coefficients[i];
    return sum;
}

/// The value that a standard normal variable stays below with probability p, on (0, 1).
ASSAY_DEVICE Real normal_quantile(Real p) {
    constexpr double CENTRE[2][8] = {
        {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
         4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3},
        {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3, 2.1213794301586595867e+4,
         3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3}};
    constexpr double NEAR[2][8] = {
        {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
         1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4},
        {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
         1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9}};
    constexpr double FAR[2][8] = {
        {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
         2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7},
        {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2, 7.86869131145613259100e-4,
         1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15}};
    const Real q = p - 0.5;
    if (!(q > 0.425) && !(q < -0.425)) {
        const Real x = 0.180625 - q * q;
        return q * (polynomial(CENTRE[0], x) / polynomial(CENTRE[1], x));
    }
    const Real tail = q < 0.0 ? p : 1.0 - p;
    const Real r = square_root(-log(tail));
    const Real magnitude = r > 5.0 ? polynomial(FAR[0], r - 5.0) / polynomial(FAR[1], r - 5.0)
                                   : polynomial(NEAR[0], r - 1.6) / polynomial(NEAR[1], r - 1.6);
    return q < 0.0 ? -magnitude : magnitude;
}

/// The draws of one row, as generators on the host have them: 2^22 words of a stream belong to each row.
struct Draws {
    Philox philox;
    u64 row;
    /// How many words were drawn.
    u32 used;

    ASSAY_DEVICE u32 word() { return philox.word((row << 22) + used++); }

    ASSAY_DEVICE u64 long_word() {
        const u64 low = word();
        return low | static_cast<u64>(word()) << 32;
    }

    /// Uniform on (0, 1): odd multiples of 2^-54.
    ASSAY_DEVICE Real unit() {
        return (Real(static_cast<double>(long_word() >> 11)) + 0.5) * (1.0 / 9007199254740992.0);
    }

    ASSAY_DEVICE Real normal() { return normal_quantile(unit()); }

    /// An integer below a bound, each with exactly the same probability: D. Lemire, ACM TOMACS 29(1), 2019, algorithm 5.
    ASSAY_DEVICE u64 below(u64 bound) {
        u64 random = long_word();
        if (random * bound < bound) {
            const u64 threshold = (0 - bound) % bound;
            while (random * bound < threshold) random = long_word();
        }
        return __umul64hi(random, bound);
    }
};

}  // namespace assay::exact
