//! Rows added to sums, each with its factor, or their elements with theirs, by the processor's own vectors.
//!
//! The compiler leaves a loop over eight rows in the innermost place, whose end the processor guesses wrong: then it asks memory for
//! nothing meanwhile, and one core reads 28 GB/s where it could read 40. Here the rows are eight loads one after the other. Of dot
//! products it loads the factors again for each row, twice as much as of the rows where these have 16 bits.
#![allow(unsafe_code)] // vector instructions that take addresses, chosen at run time

use half::{bf16, f16};

/// Rows that are added together: sums are loaded and stored once for all of them.
pub const ROWS: usize = 8;
/// Elements of a row that are added at a time.
const LANES: usize = 32;

/// Adds the elements of rows, each times its factor, to as many sums, in the order of rows. `len` is a multiple of [`LANES`]. What lies
/// `ahead` elements behind is fetched.
pub type AddRows<T, S> =
    unsafe fn(sums: *mut S, rows: [*const T; ROWS], factors: &[S; ROWS], len: usize, ahead: usize);

/// Adds the elements of rows, each times the factor of its place, to the sums of its row: places so many lanes apart to one sum, in their
/// order. `len` is a multiple of [`LANES`].
pub type AddDots<T, S> =
    unsafe fn(sums: &mut [[S; LANES]; ROWS], rows: [*const T; ROWS], factors: *const S, len: usize);

/// Elements that are added to sums of type `S`.
pub trait Rows<S>: Sized {
    /// How, where the processor has vectors for it.
    fn function() -> Option<AddRows<Self, S>>;

    /// The same of dot products, where there are enough of them.
    fn dots() -> Option<AddDots<Self, S>>;
}

macro_rules! rows {
    ($($t:ident, $s:ident, $dots:expr;)+) => {$(
        impl Rows<$s> for $t {
            fn function() -> Option<AddRows<Self, $s>> {
                #[cfg(target_arch = "x86_64")]
                if crate::simd::has_avx512() {
                    return Some(x86::$t);
                }
                None
            }

            fn dots() -> Option<AddDots<Self, $s>> {
                #[cfg(target_arch = "x86_64")]
                if crate::simd::has_avx512() {
                    return $dots;
                }
                None
            }
        }
    )+};
}
rows! {
    f32, f32, Some(x86::dots_f32);
    // Sums of eight rows would not all stay in registers.
    f64, f64, None;
    bf16, f32, Some(x86::dots_bf16);
    f16, f32, Some(x86::dots_f16);
}

/// Adds whole lanes by such a function; gives how many elements of each row that are.
///
/// # Panics
/// If a row is shorter than the sums.
pub fn add<T, S>(
    function: AddRows<T, S>,
    sums: &mut [S],
    rows: &[&[T]; ROWS],
    factors: &[S; ROWS],
    ahead: usize,
) -> usize {
    let len = sums.len() / LANES * LANES;
    let addresses = rows.map(|row| row[..len].as_ptr());
    // SAFETY: so many elements of each; what gave the function asked whether the processor has what it needs.
    unsafe { function(sums.as_mut_ptr(), addresses, factors, len, ahead) };
    len
}

/// Adds dot products by such a function, as far as lanes are whole; gives how many elements of each row that are.
///
/// # Panics
/// If there are fewer factors than a row has elements, or if a row is shorter than the first.
pub fn add_dots<T, S>(
    function: AddDots<T, S>,
    sums: &mut [[S; LANES]; ROWS],
    rows: &[&[T]; ROWS],
    factors: &[S],
) -> usize {
    let len = rows[0].len() / LANES * LANES;
    let addresses = rows.map(|row| row[..len].as_ptr());
    // SAFETY: so many elements of each; what gave the function asked whether the processor has what it needs.
    unsafe { function(sums, addresses, factors[..len].as_ptr(), len) };
    len
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, _MM_HINT_T1, _mm_prefetch, _mm256_loadu_si256, _mm512_castsi512_ps,
        _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd,
        _mm512_loadu_ps, _mm512_set1_pd, _mm512_set1_ps, _mm512_slli_epi32, _mm512_storeu_pd,
        _mm512_storeu_ps,
    };

    use half::{bf16, f16};

    use super::{LANES, ROWS};
    use crate::store::LINE;

    /// # Safety
    /// 16 elements lie there.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_bf16(from: *const bf16) -> __m512 {
        // SAFETY: as above.
        let halves = unsafe { _mm256_loadu_si256(from.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
    }

    /// # Safety
    /// 16 elements lie there.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_f16(from: *const f16) -> __m512 {
        // SAFETY: as above.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.cast()) })
    }

    macro_rules! add_dots {
        ($name:ident, $t:ident, $load:path) => {
            /// As [`super::AddDots`].
            ///
            /// # Safety
            /// So many elements are there, and the processor has AVX-512.
            #[target_feature(enable = "avx512f")]
            pub unsafe fn $name(
                sums: &mut [[f32; LANES]; ROWS],
                rows: [*const $t; ROWS],
                factors: *const f32,
                len: usize,
            ) {
                const LANE: usize = 16;
                let mut added = [[_mm512_set1_ps(0.0); LANES / LANE]; ROWS];
                for (added, sums) in added.iter_mut().zip(sums.iter()) {
                    for (added, lanes) in added.iter_mut().zip(sums.as_chunks::<LANE>().0) {
                        // SAFETY: as many numbers as a vector has.
                        *added = unsafe { _mm512_loadu_ps(lanes.as_ptr()) };
                    }
                }
                for first in (0..len).step_by(LANES) {
                    // SAFETY: a whole number of vectors of each.
                    unsafe {
                        let near = _mm512_loadu_ps(factors.add(first));
                        let far = _mm512_loadu_ps(factors.add(first + LANE));
                        for (added, row) in added.iter_mut().zip(rows) {
                            let x = $load(row.add(first));
                            added[0] = _mm512_fmadd_ps(x, near, added[0]);
                            let x = $load(row.add(first + LANE));
                            added[1] = _mm512_fmadd_ps(x, far, added[1]);
                        }
                    }
                }
                for (added, sums) in added.iter().zip(sums) {
                    for (added, lanes) in added.iter().zip(sums.as_chunks_mut::<LANE>().0) {
                        // SAFETY: as above.
                        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), *added) };
                    }
                }
            }
        };
    }
    add_dots!(dots_f32, f32, _mm512_loadu_ps);
    add_dots!(dots_bf16, bf16, load_bf16);
    add_dots!(dots_f16, f16, load_f16);

    macro_rules! add_rows {
        ($t:ident, $s:ty, $set:path, $load:path, $load_sums:path, $store:path, $add:path) => {
            /// As [`super::AddRows`].
            ///
            /// # Safety
            /// So many elements are there, and the processor has AVX-512.
            #[target_feature(enable = "avx512f")]
            pub unsafe fn $t(
                sums: *mut $s,
                rows: [*const $t; ROWS],
                factors: &[$s; ROWS],
                len: usize,
                ahead: usize,
            ) {
                const LANE: usize = 64 / size_of::<$s>();
                const VECTORS: usize = LANES / LANE;
                let factors = factors.map(|factor| $set(factor));
                for first in (0..len).step_by(LANES) {
                    // SAFETY: a whole number of vectors of each; what is fetched may be anywhere.
                    unsafe {
                        let mut added = [$set(0.0); VECTORS];
                        for (vector, added) in added.iter_mut().enumerate() {
                            *added = $load_sums(sums.add(first + vector * LANE));
                        }
                        for row in 0..ROWS {
                            let from = rows[row].add(first);
                            for line in (0..LANES).step_by(LINE / size_of::<$t>()) {
                                let next = from.wrapping_add(ahead + line);
                                _mm_prefetch::<_MM_HINT_T1>(next.cast());
                            }
                            for (vector, added) in added.iter_mut().enumerate() {
                                let x = $load(from.add(vector * LANE));
                                *added = $add(x, factors[row], *added);
                            }
                        }
                        for (vector, added) in added.iter().enumerate() {
                            $store(sums.add(first + vector * LANE), *added);
                        }
                    }
                }
            }
        };
    }
    add_rows!(
        f32,
        f32,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps
    );
    add_rows!(
        f64,
        f64,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd
    );
    add_rows!(
        bf16,
        f32,
        _mm512_set1_ps,
        load_bf16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps
    );
    add_rows!(
        f16,
        f32,
        _mm512_set1_ps,
        load_f16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps
    );
}

#[cfg(test)]
mod tests {
    use super::{LANES, ROWS, Rows, add, add_dots};
    use crate::element::Real;

    /// The bits of additions one after the other.
    fn compare<T: Real + Rows<S>, S: Real>(add_product: impl Fn(T, S, S) -> S) {
        let Some(function) = T::function() else {
            return;
        };
        let random = assay_protocol::Philox::new(5, 1);
        let number = |i: usize| f64::from(random.signed_f32(i as u64));
        let factors: [S; ROWS] = std::array::from_fn(|row| S::from_f64(number(row)));
        for len in [0, LANES - 1, LANES, 3 * LANES + 5] {
            let rows: [Vec<T>; ROWS] = std::array::from_fn(|row| {
                let place = |i: usize| T::from_f64(number(100 * row + i));
                (0..len).map(place).collect()
            });
            let before: Vec<S> = (0..len).map(|i| S::from_f64(number(i + 999))).collect();
            let mut sums = before.clone();
            let done = add(
                function,
                &mut sums,
                &rows.each_ref().map(|row| &row[..]),
                &factors,
                7,
            );
            assert_eq!(done, len / LANES * LANES);
            for (i, sum) in sums.iter().enumerate() {
                let terms = rows.iter().zip(factors);
                let all = |sum, (row, factor): (&Vec<T>, S)| add_product(row[i], factor, sum);
                let right = if i < done {
                    terms.fold(before[i], all)
                } else {
                    before[i]
                };
                assert!(*sum == right, "{i} of {len}");
            }
        }
    }

    /// The bits of products one after the other, lane by lane.
    fn compare_dots<T: Real + Rows<f32>>(add_product: impl Fn(T, f32, f32) -> f32) {
        let Some(function) = T::dots() else {
            return;
        };
        let random = assay_protocol::Philox::new(6, 1);
        let number = |i: usize| random.signed_f32(i as u64);
        for len in [0, LANES - 1, LANES, 3 * LANES + 5] {
            let rows: [Vec<T>; ROWS] = std::array::from_fn(|row| {
                let place = |i: usize| T::from_f64(number(100 * row + i).into());
                (0..len).map(place).collect()
            });
            let factors: Vec<f32> = (0..len).map(|i| number(i + 999)).collect();
            let mut sums = [[0.25; LANES]; ROWS];
            let mut right = sums;
            let rows = rows.each_ref().map(|row| &row[..]);
            let done = add_dots(function, &mut sums, &rows, &factors);
            assert_eq!(done, len / LANES * LANES);
            for (right, row) in right.iter_mut().zip(rows) {
                for (i, x) in row[..done].iter().enumerate() {
                    right[i % LANES] = add_product(*x, factors[i], right[i % LANES]);
                }
            }
            let bits = |sums: [[f32; LANES]; ROWS]| sums.map(|row| row.map(f32::to_bits));
            assert_eq!(bits(sums), bits(right), "{len}");
        }
    }

    #[test]
    fn vectors_multiply_as_one_by_one() {
        compare_dots::<f32>(f32::mul_add);
        compare_dots::<half::bf16>(|x, factor, sum| f32::from(x).mul_add(factor, sum));
        compare_dots::<half::f16>(|x, factor, sum| f32::from(x).mul_add(factor, sum));
    }

    #[test]
    fn vectors_add_as_one_by_one() {
        compare::<f32, f32>(f32::mul_add);
        compare::<f64, f64>(f64::mul_add);
        compare::<half::bf16, f32>(|x, factor, sum| f32::from(x).mul_add(factor, sum));
        compare::<half::f16, f32>(|x, factor, sum| f32::from(x).mul_add(factor, sum));
    }
}
