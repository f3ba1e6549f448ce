//! What gelu multiplies its argument by, and its derivatives, out of tables: 1/2 plus an odd function that soon is 1/2.
//!
//! Sixteen polynomials, around multiples of a step, whose coefficients AVX-512 looks up for sixteen numbers at once: beside what memory
//! takes that is less arithmetic than exponentials or error functions. They go through the exact values at Chebyshev's points, so they
//! are off by hardly more than the best. For results of 16 bits shorter ones do.
#![allow(unsafe_code)] // vector instructions, chosen at run time

use std::array::from_fn;

use super::Form;
use crate::element::DType;
use crate::lane::WIDTH;

/// Error of a rough curve in units of 2^-24, absolute: an eighth of what `f16` rounds off of numbers near 1, a thirtieth of `bf16`'s.
pub const ROUGHLY: u64 = 1024;

/// One of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// What gelu multiplies by.
    Below,
    /// The derivative of gelu.
    Slope,
}

/// How a curve is found. Tables lie in it, and so in the kernel: what is behind another address the compiler loads again for each line.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // one for each op
pub enum Lookup {
    /// Nothing is looked up: the processor has no vectors for it.
    Nothing,
    /// As good as computed: with the formulas' own roundings.
    Fine(Table<6>),
    /// To within [`ROUGHLY`].
    Roughly(Table<4>),
}

impl Lookup {
    /// For results of a type.
    pub fn new(form: Form, curve: Curve, dtype: DType) -> Self {
        match (has_vectors(), dtype) {
            (false, _) => Self::Nothing,
            (true, DType::F32) => Self::Fine(Table::new(form, curve, 0.4)),
            (true, _) => Self::Roughly(Table::new(form, curve, 0.328_125)),
        }
    }

    /// The curve at some places, if it is looked up.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    pub fn at(&self, x: &[f32; WIDTH]) -> Option<[f32; WIDTH]> {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: there are tables only where the processor has AVX-512.
        unsafe {
            match self {
                Self::Nothing => None,
                Self::Fine(table) => Some(x86::at(table, x)),
                Self::Roughly(table) => Some(x86::at(table, x)),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = x;
            None
        }
    }
}

fn has_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        crate::simd::has_avx512()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Places of a table.
const PLACES: usize = 16;

/// Polynomials of the distance from the nearest multiple of a step, their coefficients by power, the highest first. That around the last
/// one is 1/2.
#[derive(Clone, Copy, Debug)]
pub struct Table<const N: usize> {
    step: f32,
    per_step: f32,
    coefficients: [[f32; PLACES]; N],
}

impl<const N: usize> Table<N> {
    fn new(form: Form, curve: Curve, step: f32) -> Self {
        let odd = |x: f64| {
            let [gelu, slope, _] = form.exact(x);
            match curve {
                Curve::Below => gelu / x - 0.5,
                Curve::Slope => slope - 0.5,
            }
        };
        let mut coefficients = [[0.0; PLACES]; N];
        for place in 0..PLACES - 1 {
            let middle = place as f64 * f64::from(step);
            let of_place = interpolated::<N>(|off| odd(middle + off), f64::from(step) / 2.0);
            for (row, coefficient) in coefficients.iter_mut().zip(of_place) {
                row[place] = coefficient as f32;
            }
        }
        coefficients[N - 1][PLACES - 1] = 0.5;
        Self {
            step,
            per_step: 1.0 / step,
            coefficients,
        }
    }
}

/// Coefficients, the highest first, of the polynomial through a function at Chebyshev's points of an interval around 0: Newton's divided
/// differences, multiplied out. None of an even number of points is 0.
fn interpolated<const N: usize>(f: impl Fn(f64) -> f64, radius: f64) -> [f64; N] {
    let angle = |k: usize| std::f64::consts::PI * (2 * k + 1) as f64 / (2 * N) as f64;
    let points: [f64; N] = from_fn(|k| radius * angle(k).cos());
    let mut differences = points.map(f);
    for order in 1..N {
        for k in (order..N).rev() {
            differences[k] =
                (differences[k] - differences[k - 1]) / (points[k] - points[k - order]);
        }
    }
    // By power, the lowest first.
    let mut sum = [0.0; N];
    for k in (0..N).rev() {
        for power in (0..N).rev() {
            let lower = if power > 0 { sum[power - 1] } else { 0.0 };
            sum[power] = lower - points[k] * sum[power];
        }
        sum[0] += differences[k];
    }
    sum.reverse();
    sum
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, _mm512_abs_ps, _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps,
        _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_min_ps, _mm512_permutexvar_ps,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
        _mm512_ternarylogic_epi32,
    };

    use super::{PLACES, Table};
    use crate::lane::WIDTH;

    /// The curve at some places.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn at<const N: usize>(table: &Table<N>, x: &[f32; WIDTH]) -> [f32; WIDTH] {
        let mut out = [0.0; WIDTH];
        let lanes = out.as_chunks_mut::<PLACES>().0.iter_mut();
        for (out, x) in lanes.zip(x.as_chunks::<PLACES>().0) {
            // SAFETY: as many numbers as a vector has.
            unsafe {
                _mm512_storeu_ps(
                    out.as_mut_ptr(),
                    of_vector(table, _mm512_loadu_ps(x.as_ptr())),
                );
            }
        }
        out
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn of_vector<const N: usize>(table: &Table<N>, x: __m512) -> __m512 {
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
        const SIGN_FROM: i32 = 0xca; // of (mask, a, b): bits of a where those of the mask are set, else of b
        let step = _mm512_set1_ps(table.step);
        let most = _mm512_set1_ps((PLACES - 1) as f32 * table.step);
        // In this order what is no number stays none.
        let magnitude = _mm512_min_ps(most, _mm512_abs_ps(x));
        let (round, per) = (_mm512_set1_ps(ROUND), _mm512_set1_ps(table.per_step));
        let shifted = _mm512_fmadd_ps(magnitude, per, round);
        let place = _mm512_castps_si512(shifted);
        let off = _mm512_fnmadd_ps(_mm512_sub_ps(shifted, round), step, magnitude);
        // SAFETY: a row is a vector.
        let looked_up = |row: &[f32; PLACES]| unsafe {
            _mm512_permutexvar_ps(place, _mm512_loadu_ps(row.as_ptr()))
        };
        let mut odd = looked_up(&table.coefficients[0]);
        for row in &table.coefficients[1..] {
            odd = _mm512_fmadd_ps(odd, off, looked_up(row));
        }
        let bits = _mm512_ternarylogic_epi32::<SIGN_FROM>(
            _mm512_set1_epi32(i32::MIN),
            _mm512_castps_si512(x),
            _mm512_castps_si512(odd),
        );
        _mm512_add_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0.5))
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::{Curve, Form, Lookup, ROUGHLY, WIDTH};
    use crate::element::DType;
    use crate::lane::Lane;

    /// The largest error in units of 2^-24, at some numbers.
    fn worst(form: Form, curve: Curve, dtype: DType, numbers: impl Iterator<Item = f32>) -> f64 {
        let lookup = Lookup::new(form, curve, dtype);
        let off = |x: f32| {
            let found = lookup.at(&[x; WIDTH]).map_or(0.5, |line| line[5]);
            let [gelu, slope, _] = form.exact(x.into());
            let exact = match curve {
                Curve::Below if x == 0.0 => 0.5,
                Curve::Below => gelu / f64::from(x),
                Curve::Slope => slope,
            };
            (f64::from(found) - exact).abs() * f64::from(1 << 24)
        };
        numbers.map(off).fold(0.0, f64::max)
    }

    fn each(test: impl Fn(Form, Curve)) {
        if !super::has_vectors() {
            return;
        }
        for form in [Form::Erf, Form::Tanh] {
            test(form, Curve::Below);
            test(form, Curve::Slope);
        }
    }

    #[test]
    fn fine_curves_are_as_good_as_computed() {
        each(|form, curve| {
            let numbers = (-80_000..80_000).map(|i| i as f32 / 10_000.0);
            let off = worst(form, curve, DType::F32, numbers);
            let bound = if curve == Curve::Below { 2.0 } else { 4.0 };
            println!("{form:?} {curve:?}: {off} u");
            assert!(off <= bound, "{form:?} {curve:?}: {off} u");
        });
    }

    /// At all numbers of 16 bits.
    #[test]
    fn rough_curves_are_as_good_as_claimed() {
        fn all<T: Lane>() -> impl Iterator<Item = f32> {
            let all = (0..=u64::from(u16::MAX)).map(|bits| T::from_word(bits).widen());
            all.filter(|x| x.abs() < 1e4)
        }
        each(|form, curve| {
            let off = worst(form, curve, DType::F16, all::<f16>()).max(worst(
                form,
                curve,
                DType::Bf16,
                all::<bf16>(),
            ));
            println!("{form:?} {curve:?}: {off} u");
            assert!(off <= ROUGHLY as f64, "{form:?} {curve:?}: {off} u");
        });
    }

    #[test]
    fn what_is_no_number_has_no_place() {
        each(|form, curve| {
            for dtype in [DType::F32, DType::Bf16] {
                let mut x = [1.0; WIDTH];
                x[3..6].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
                let found = Lookup::new(form, curve, dtype).at(&x).expect("a table");
                assert!(found[3].is_nan() && !found[2].is_nan());
                assert_eq!(found[4..6], [1.0, 0.0]);
            }
        });
    }
}
