//! Functions of `f32` for inner loops: without branches, so that [`wide!`](crate::simd) makes vectors of them, and of
//! operations that are neither fused nor reordered, so that they have the same bits on every machine.
//!
//! Each says how far it may be from the exact value, in units of 2^-24: relative to the value, or, for [`sin_cos`], to 1. A
//! test walks its range. NaN gives NaN, and infinities what the limit is. Polynomials are those of S. Moshier's Cephes 2.2,
//! single precision (`expf`, `logf`, `tanhf`, `sinf`, `ndtrf`).
//!
//! On CUDA devices kernels call CUDA's own functions. Their errors are in the CUDA C++ Programming Guide, section
//! "Mathematical Functions Appendix", table of single-precision functions, in units in the last place, of which one is at most
//! two units of 2^-24: `expf`, `logf`, `tanhf`, `erff`, `sinf` and `cosf` at most 2, `rsqrtf` at most 2; division and `sqrtf` are
//! rounded correctly, since we compile without `--use_fast_math`. [`ON_CUDA`] is the largest of them. Bounds that hold on both
//! kinds of device take the larger of the two.

/// Error of every function of CUDA's that our kernels call, in units of 2^-24.
pub const ON_CUDA: u64 = 4;
/// Error of [`exp`] between [`EXP_LEAST`] and [`EXP_MOST`].
pub const EXP: u64 = 2;
/// Error of [`ln`].
pub const LN: u64 = 2;
/// Error of [`tanh`].
pub const TANH: u64 = 3;
/// Error of [`erf`].
pub const ERF: u64 = 3;
/// Error of [`sigmoid`] for arguments from `-EXP_MOST`, below which it is 0, on.
pub const SIGMOID: u64 = 3;
/// Error of [`sin_cos`] for arguments of magnitude up to 2^20, absolute.
pub const SIN_COS: u64 = 2;

/// Below it `e^x` is no normal number, and [`exp`] is 0.
pub const EXP_LEAST: f32 = -87.336_54;
/// Above it `e^x` is no finite number.
pub const EXP_MOST: f32 = 88.722_83;

/// Adding it leaves the nearest integer in the low bits of the sum: 1.5 * 2^23.
const ROUND: f32 = 12_582_912.0;

/// The polynomial with these coefficients, the first of the highest power.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = sum * x + coefficient;
    }
    sum
}

/// `e^x`. What would be subnormal is 0.
///
/// Cody and Waite's reduction to `[-ln 2 / 2, ln 2 / 2]`.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 355.0 / 512.0; // exact, and so is its product with a small integer
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mantissa = polynomial(rest, COEFFICIENTS) * (rest * rest) + rest + 1.0;
    // Times 2^whole: the integer, added to the exponent.
    let power = mantissa.to_bits().wrapping_add(shifted.to_bits() << 23);
    let inside = if x < EXP_LEAST {
        0.0
    } else {
        f32::from_bits(power)
    };
    // Infinity, or no number.
    if x <= EXP_MOST {
        inside
    } else {
        x * f32::INFINITY
    }
}

/// The natural logarithm: minus infinity of 0, and no number of what is less.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn ln(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 9] = [
        7.037_684e-2,
        -1.151_461e-1,
        1.167_7e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    // Subnormal numbers are made normal ones.
    let is_small = x < f32::MIN_POSITIVE;
    let (normal, lower) = if is_small {
        (x * 8_388_608.0, 23.0)
    } else {
        (x, 0.0)
    };
    // In units of the exponent, from sqrt(1/2) on.
    let above = normal.to_bits().wrapping_sub(SQRT_HALF).cast_signed() >> 23;
    let mantissa = f32::from_bits(normal.to_bits().wrapping_sub(above.cast_unsigned() << 23));
    let exponent = above as f32 - lower;
    let rest = mantissa - 1.0;
    let square = rest * rest;
    let small = polynomial(rest, COEFFICIENTS) * rest * square + exponent * LN_2_LOW - 0.5 * square;
    let inside = rest + small + exponent * LN_2_HIGH;
    let inside = if x > 0.0 {
        inside
    } else if x == 0.0 {
        f32::NEG_INFINITY
    } else {
        f32::NAN
    };
    if x < f32::INFINITY { inside } else { x }
}

/// The hyperbolic tangent.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn tanh(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 5] = [
        -5.704_988_7e-3,
        2.063_909e-2,
        -5.373_971_6e-2,
        1.333_144_2e-1,
        -3.333_328e-1,
    ];
    let magnitude = x.abs();
    let square = x * x;
    let near = polynomial(square, COEFFICIENTS) * square * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0)).copysign(x);
    if magnitude < 0.625 { near } else { far }
}

/// The error function.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn erf(x: f32) -> f32 {
    const NEAR: [f32; 7] = [
        7.853_861e-5,
        -8.010_194e-4,
        5.188_328e-3,
        -2.685_381_2e-2,
        1.128_358_5e-1,
        -3.761_262_6e-1,
        std::f32::consts::FRAC_2_SQRT_PI,
    ];
    // Of `erfc(x) x e^(x^2)`, in `1 / x^2`.
    const FAR: [f32; 9] = [
        2.326_82e-2,
        -1.387_039_4e-1,
        3.687_424_7e-1,
        -5.824_733e-1,
        6.210_004_6e-1,
        -4.944_515_3e-1,
        3.404_88e-1,
        -2.741_127e-1,
        5.638_259_4e-1,
    ];
    let magnitude = x.abs();
    let square = x * x;
    let near = polynomial(square, NEAR) * x;
    let inverse = 1.0 / magnitude;
    let complement = exp(-square) * inverse * polynomial(inverse * inverse, FAR);
    let far = (1.0 - complement).copysign(x);
    if magnitude < 1.0 { near } else { far }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Sine and cosine; no numbers of infinities.
///
/// The argument is reduced to `[-pi/4, pi/4]` in `f64`, by a multiple of pi/2 that is rounded once.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn sin_cos(x: f32) -> (f32, f32) {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
    const SINE: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    const COSINE: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];
    let shifted = f64::from(x) * std::f64::consts::FRAC_2_PI + ROUND;
    let rest = (f64::from(x) - (shifted - ROUND) * std::f64::consts::FRAC_PI_2) as f32;
    let quarter = shifted.to_bits() as u32;
    let square = rest * rest;
    let sine = polynomial(square, SINE) * square * rest + rest;
    let cosine = polynomial(square, COSINE) * square * square - 0.5 * square + 1.0;
    let is_odd = quarter & 1 == 1;
    let (sine, cosine) = if is_odd {
        (cosine, sine)
    } else {
        (sine, cosine)
    };
    // The sine changes its sign in the lower half of the circle, the cosine in the left one.
    let signed = |value: f32, quarter: u32| f32::from_bits(value.to_bits() ^ (quarter & 2) << 30);
    (
        signed(sine, quarter),
        signed(cosine, quarter.wrapping_add(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::{
        ERF, EXP, EXP_LEAST, EXP_MOST, LN, SIGMOID, SIN_COS, TANH, erf, exp, ln, sigmoid, sin_cos,
        tanh,
    };

    /// Every `step`th number from `least` on, away from zero, and `most`. Both have one sign.
    fn walk(least: f32, most: f32, step: usize) -> impl Iterator<Item = f32> {
        let (low, high) = (least.to_bits(), most.to_bits());
        (low..=high).step_by(step).chain([high]).map(f32::from_bits)
    }

    /// Largest distance in units of 2^-24, of what `measure` says.
    fn worst(numbers: impl Iterator<Item = f32>, measure: impl Fn(f32) -> f64) -> f64 {
        let units = numbers.map(|x| measure(x) * f64::from(1 << 24));
        units.fold(0.0, |a, b| if b.is_nan() || b > a { b } else { a })
    }

    fn relative(found: f32, exact: f64) -> f64 {
        if exact == 0.0 {
            f64::from(found).abs()
        } else {
            (f64::from(found) - exact).abs() / exact.abs()
        }
    }

    fn assert_within(name: &str, worst: f64, bound: u64) {
        println!("largest error of {name}: {worst} u");
        assert!(worst <= bound as f64, "{name}: {worst} u");
    }

    #[test]
    fn exp_is_as_accurate_as_claimed() {
        let exact = |x: f32| relative(exp(x), f64::from(x).exp());
        let below = worst(walk(-0.0, EXP_LEAST, 257), exact);
        let above = worst(walk(0.0, EXP_MOST, 257), exact);
        assert_within("exp", below.max(above), EXP);
        assert_eq!((exp(-1e4), exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert_eq!(
            (exp(88.73), exp(f32::INFINITY)),
            (f32::INFINITY, f32::INFINITY)
        );
        assert!(exp(f32::NAN).is_nan() && (exp(0.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ln_is_as_accurate_as_claimed() {
        let error = worst(walk(0.0, f32::MAX, 499).skip(1), |x| {
            relative(ln(x), f64::from(x).ln())
        });
        let near = worst(walk(0.7, 1.5, 7), |x| relative(ln(x), f64::from(x).ln()));
        assert_within("ln", error.max(near), LN);
        assert_eq!(
            (ln(0.0), ln(f32::INFINITY)),
            (f32::NEG_INFINITY, f32::INFINITY)
        );
        assert!(ln(-1.0).is_nan() && ln(f32::NAN).is_nan() && ln(f32::NEG_INFINITY).is_nan());
    }

    #[test]
    fn tanh_is_as_accurate_as_claimed() {
        let of = |x: f32| relative(tanh(x), f64::from(x).tanh());
        let error = worst(walk(0.0, 100.0, 257), of).max(worst(walk(-0.0, -100.0, 257), of));
        assert_within("tanh", error, TANH);
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_as_accurate_as_claimed() {
        let of = |x: f32| relative(erf(x), libm::erf(x.into()));
        let error = worst(walk(1e-30, 10.0, 4099), of).max(worst(walk(-1e-30, -10.0, 4099), of));
        assert_within("erf", error, ERF);
        assert_eq!(
            (erf(0.0), erf(f32::INFINITY), erf(f32::NEG_INFINITY)),
            (0.0, 1.0, -1.0)
        );
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_is_as_accurate_as_claimed() {
        let of = |x: f32| relative(sigmoid(x), 1.0 / (1.0 + f64::from(-x).exp()));
        // Beyond, the value is subnormal.
        let error = worst(walk(0.0, 100.0, 257), of).max(worst(walk(-0.0, -87.0, 257), of));
        assert_within("sigmoid", error, SIGMOID);
        assert_eq!(
            (sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)),
            (1.0, 0.0)
        );
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn sines_are_as_accurate_as_claimed() {
        let of = |x: f32| {
            let (sine, cosine) = sin_cos(x);
            let of_sine = (f64::from(sine) - f64::from(x).sin()).abs();
            of_sine.max((f64::from(cosine) - f64::from(x).cos()).abs())
        };
        let most = 1_048_576.0;
        let error = worst(walk(0.0, most, 257), of).max(worst(walk(-0.0, -most, 257), of));
        assert_within("sin and cos", error, SIN_COS);
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (sine, cosine) = sin_cos(x);
            assert!(sine.is_nan() && cosine.is_nan());
        }
    }
}
