//! Functions of `f32` for inner loops: without branches, so that [`wide!`](crate::simd) makes vectors of them, and of
//! operations that nobody reorders, fused where it says so, so that they have the same bits on every machine but where it says
//! otherwise. (One without fused operations computes them in software: right, and slow.)
//!
//! Each says how far it may be from the exact value, in units of 2^-24: relative to the value, or, for [`normal_below`], to 1. A
//! test walks its range. NaN gives NaN, and infinities what the limit is. The polynomial of [`ln`] is that of S. Moshier's Cephes 2.2,
//! single precision (`logf`); [`exp`] and [`normal_below`] say where their own come from.
//!
//! On CUDA devices kernels call CUDA's own functions. Their errors are in the CUDA C++ Programming Guide, section
//! "Mathematical Functions Appendix", table of single-precision functions, in units in the last place, of which one is at most
//! two units of 2^-24: `expf`, `logf`, `tanhf`, `erff`, `sinf` and `cosf` at most 2, `rsqrtf` at most 2; division and `sqrtf` are
//! rounded correctly, since we compile without `--use_fast_math`. [`ON_CUDA`] is the largest of them. Bounds that hold on both
//! kinds of device take the larger of the two.

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::lane::WIDTH;

/// Error of every function of CUDA's that our kernels call, in units of 2^-24.
pub const ON_CUDA: u64 = 4;
/// Error of [`exp`] between [`EXP_LEAST`] and [`EXP_MOST`].
pub const EXP: u64 = 2;
/// Error of [`ln`].
pub const LN: u64 = 2;
/// Error of [`normal_below`], absolute.
pub const NORMAL: u64 = 3;
/// Error of [`sigmoid`], and of [`sigmoid_of`], for arguments from `-EXP_MOST`, below which it is 0, on.
pub const SIGMOID: u64 = 4;
/// Error of [`sigmoid_roughly`], which is for results of 16 bits: a sixth of what `f16` rounds off, a twenty-fifth of `bf16`'s.
pub const SIGMOID_ROUGHLY: u64 = 1280;

/// Below it `e^x` is no normal number, and [`exp`] is 0.
pub const EXP_LEAST: f32 = -87.336_54;
/// Above it `e^x` is no finite number.
pub const EXP_MOST: f32 = 88.722_83;

/// Adding it leaves the nearest integer in the low bits of the sum: 1.5 * 2^23.
const ROUND: f32 = 12_582_912.0;

/// The natural logarithm of 2 in two parts: the first is exact, and so is its product with a small integer.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Of the polynomial of [`power`].
const POWER: [f32; 7] = [
    1.381_454e-3,
    8.368_745e-3,
    4.166_839e-2,
    1.666_652e-1,
    4.999_999_3e-1,
    1.0,
    1.0,
];

/// The polynomial with these coefficients, the first of the highest power.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = sum.mul_add(x, *coefficient);
    }
    sum
}

/// `e^x`. What would be subnormal is 0.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn exp(x: f32) -> f32 {
    let inside = if x < EXP_LEAST { 0.0 } else { power(x) };
    // Infinity, or no number.
    let above = if f32::INFINITY > x { f32::INFINITY } else { x };
    if x <= EXP_MOST { inside } else { above }
}

/// [`exp`] of what is not above [`EXP_MOST`], or no number: the same bits with less to decide.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn exp_beneath(x: f32) -> f32 {
    // 0, or no number.
    let below = if 0.0 > x { 0.0 } else { x };
    if x >= EXP_LEAST { power(x) } else { below }
}

/// [`exp_beneath`] of several: the same bits, step by step side by side. One vector after the other, each would wait for what it found
/// itself, and the processor does not look far enough ahead to go on with the next meanwhile.
#[inline(always)]
#[allow(clippy::inline_always, unsafe_code)] // as above; instructions chosen at run time
pub fn exp_beneath_of<const N: usize>(x: &[f32; N]) -> [f32; N] {
    #[cfg(target_arch = "x86_64")]
    if N.is_multiple_of(x86::ABREAST) && crate::simd::has_avx512() {
        let mut out = [0.0; N];
        for (out, x) in out.as_chunks_mut().0.iter_mut().zip(x.as_chunks().0) {
            // SAFETY: the processor has the features that the function enables.
            *out = unsafe { x86::exp_beneath_of(x) };
        }
        return out;
    }
    let mut shifted = [0.0; N];
    for (shifted, x) in shifted.iter_mut().zip(x) {
        *shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    }
    let mut rest = *x;
    for (rest, shifted) in rest.iter_mut().zip(&shifted) {
        *rest = (shifted - ROUND).mul_add(-LN_2_HIGH, *rest);
    }
    for (rest, shifted) in rest.iter_mut().zip(&shifted) {
        *rest = (shifted - ROUND).mul_add(-LN_2_LOW, *rest);
    }
    let mut powers = [POWER[0]; N];
    for coefficient in &POWER[1..] {
        for (power, rest) in powers.iter_mut().zip(&rest) {
            *power = power.mul_add(*rest, *coefficient);
        }
    }
    for ((power, shifted), x) in powers.iter_mut().zip(&shifted).zip(x) {
        let scaled = power.to_bits().wrapping_add(shifted.to_bits() << 23);
        let below = if 0.0 > *x { 0.0 } else { *x };
        *power = if *x >= EXP_LEAST {
            f32::from_bits(scaled)
        } else {
            below
        };
    }
    powers
}

/// `e^x` between [`EXP_LEAST`] and [`EXP_MOST`].
///
/// Cody and Waite's reduction to `[-ln 2 / 2, ln 2 / 2]`, and there a polynomial whose first two coefficients are 1, the
/// others fitted by weighted least squares: it is off by 0.06 units of 2^-24 at most.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn power(x: f32) -> f32 {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = whole.mul_add(-LN_2_LOW, whole.mul_add(-LN_2_HIGH, x));
    let mantissa = polynomial(rest, POWER);
    // Times 2^whole: the integer, added to the exponent.
    f32::from_bits(mantissa.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The natural logarithm: minus infinity of 0, and no number of what is less.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn ln(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
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

/// The normal distribution: the probability of less than `x`, `(1 + erf(x / sqrt 2)) / 2`.
///
/// Half, and an odd rational function that was fitted to the rest by weighted least squares (the largest error of the
/// function is 0.4 units of 2^-24), as far as the distribution is neither 0 nor 1 to within half a unit.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn normal_below(x: f32) -> f32 {
    const END: f32 = 5.6;
    const ABOVE: [f32; 7] = [
        1.080_252_1e-10,
        -2.199_503_5e-8,
        3.360_748e-6,
        1.824_016_2e-4,
        4.587_141_3e-3,
        3.710_645e-2,
        3.989_421e-1,
    ];
    const BELOW: [f32; 5] = [
        6.622_481e-5,
        1.901_099_9e-3,
        2.978_241_4e-2,
        2.596_762_2e-1,
        1.0,
    ];
    let square = x * x;
    let inside = x * polynomial(square, ABOVE) / polynomial(square, BELOW) + 0.5;
    let end = if x < 0.0 { 0.0 } else { 1.0 };
    // What is no number is not beyond the end.
    if x.abs() > END { end } else { inside }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// [`sigmoid`] of a line. Where the processor has a first guess of reciprocals, not quite to the same bits.
#[inline(always)]
#[allow(clippy::inline_always, unsafe_code)] // as above; instructions chosen at run time
pub fn sigmoid_of(x: &[f32; WIDTH]) -> [f32; WIDTH] {
    #[cfg(target_arch = "x86_64")]
    if crate::simd::has_avx512() {
        // SAFETY: the processor has the features that the function enables.
        return unsafe { x86::sigmoid_of(x) };
    }
    let mut out = *x;
    for x in &mut out {
        *x = sigmoid(*x);
    }
    out
}

/// [`sigmoid_of`], with less arithmetic where the processor has that guess.
#[inline(always)]
#[allow(clippy::inline_always, unsafe_code)] // as above
pub fn sigmoid_roughly(x: &[f32; WIDTH]) -> [f32; WIDTH] {
    #[cfg(target_arch = "x86_64")]
    if crate::simd::has_avx512() {
        // SAFETY: the processor has the features that the function enables.
        return unsafe { x86::sigmoid_roughly(x) };
    }
    sigmoid_of(x)
}

#[cfg(test)]
mod tests {
    use super::{
        EXP, EXP_LEAST, EXP_MOST, LN, NORMAL, SIGMOID, SIGMOID_ROUGHLY, WIDTH, exp, exp_beneath,
        exp_beneath_of, ln, normal_below, sigmoid, sigmoid_of, sigmoid_roughly,
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
        assert!(exp(-f32::NAN).is_nan());
    }

    #[test]
    fn what_is_known_to_be_beneath_has_the_same_bits() {
        let ends = [
            0.0,
            -0.0,
            EXP_LEAST,
            EXP_MOST,
            -1e4,
            f32::MIN,
            f32::NEG_INFINITY,
        ];
        let numbers = walk(-0.0, EXP_LEAST, 257).chain(walk(0.0, EXP_MOST, 257));
        let near_the_end = walk(EXP_LEAST + 1.0, EXP_LEAST - 20.0, 31);
        for x in numbers.chain(near_the_end).chain(ends) {
            let bits = exp(x).to_bits();
            assert_eq!(exp_beneath(x).to_bits(), bits, "{x:e}");
            assert_eq!(exp_beneath_of(&[x])[0].to_bits(), bits, "{x:e}");
            // As many as go side by side by instructions of their own.
            let all = exp_beneath_of(&[x; 64]);
            assert!(all.iter().all(|y| y.to_bits() == bits), "{x:e}");
        }
        assert!(exp_beneath(f32::NAN).is_nan() && exp_beneath(-f32::NAN).is_nan());
        let none = exp_beneath_of(&[f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)]);
        assert!(none.iter().all(|x| x.is_nan()));
        let mut mixed = [-1.0; 64];
        mixed[7..10].copy_from_slice(&[f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)]);
        for (place, y) in exp_beneath_of(&mixed).iter().enumerate() {
            assert_eq!(y.is_nan(), (7..10).contains(&place), "{place}");
        }
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
    fn the_normal_distribution_is_as_accurate_as_claimed() {
        let of = |x: f32| {
            let exact = 0.5 * libm::erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            (f64::from(normal_below(x)) - exact).abs()
        };
        let error = worst(walk(1e-30, 10.0, 4099), of).max(worst(walk(-1e-30, -10.0, 4099), of));
        let near_the_ends = worst(walk(5.5, 5.7, 7), of).max(worst(walk(-5.5, -5.7, 7), of));
        assert_within("the normal distribution", error.max(near_the_ends), NORMAL);
        let ends = (normal_below(f32::INFINITY), normal_below(f32::MAX));
        assert_eq!(ends, (1.0, 1.0));
        let ends = (normal_below(f32::NEG_INFINITY), normal_below(f32::MIN));
        assert_eq!(ends, (0.0, 0.0));
        assert!(normal_below(f32::NAN).is_nan() && (normal_below(0.0) - 0.5).abs() < 1e-9);
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
    fn lines_of_sigmoids_are_as_accurate_as_claimed() {
        type Line = fn(&[f32; WIDTH]) -> [f32; WIDTH];
        let lines: [(&str, Line, u64); 2] = [
            ("sigmoid_of", sigmoid_of, SIGMOID),
            ("sigmoid_roughly", sigmoid_roughly, SIGMOID_ROUGHLY),
        ];
        for (name, line, bound) in lines {
            let of = |x: f32| relative(line(&[x; WIDTH])[7], 1.0 / (1.0 + f64::from(-x).exp()));
            let error = worst(walk(0.0, 200.0, 257), of).max(worst(walk(-0.0, -87.0, 257), of));
            assert_within(name, error, bound);
            let mut mixed = [0.0; WIDTH];
            mixed[..5].copy_from_slice(&[
                f32::INFINITY,
                f32::MAX,
                f32::NEG_INFINITY,
                f32::MIN,
                f32::NAN,
            ]);
            let found = line(&mixed);
            assert!(found[..2].iter().all(|y| (y - 1.0).abs() < 1e-4), "{name}");
            assert_eq!(found[2..4], [0.0, 0.0], "{name}");
            assert!(found[4].is_nan() && (found[5] - 0.5).abs() < 1e-4, "{name}");
        }
    }
}
