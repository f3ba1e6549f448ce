//! Types of matrices and vectors, and the types that they are summed in.
#![allow(unsafe_code)] // an instruction that not every processor has

use std::marker::PhantomData;

use half::{bf16, f16};

use super::host::vectors::Few;
use super::host::{LANES, rows};
use crate::element::Real;
use crate::lane::Lane;
use crate::rows::{AddDots, AddRows, Rows};
use crate::simd::wide;

/// A type that sums are in.
pub trait Sum: Real {
    /// `self * factor + addend`, rounded once.
    fn multiply_add(self, factor: Self, addend: Self) -> Self;

    /// How the processor multiplies a few vectors, where it has something of its own for that.
    fn few() -> Option<Few<Self>>;
}

/// A type of matrices and vectors.
pub trait Operand: Real {
    /// What is summed.
    type Sum: Sum + Operand<Sum = Self::Sum>;

    /// The same number.
    fn widen(self) -> Self::Sum;

    /// The same numbers, in place or in `room`, which is as long.
    fn widen_all<'a>(line: &'a [Self], room: &'a mut [Self::Sum]) -> &'a [Self::Sum];

    /// The nearest number.
    fn narrow(sum: Self::Sum) -> Self;

    /// [`rows::add_terms`] by the fastest conversion that there is.
    fn add_terms(partial: &mut [[Self::Sum; LANES]], lines: &[&[Self]], packed: &[Self::Sum]) {
        rows::add_terms::<Plain<Self>>(partial, lines, packed);
    }

    /// [`Rows::function`] of this type.
    fn add_rows() -> Option<AddRows<Self, Self::Sum>>;

    /// [`Rows::dots`] of this type.
    fn add_dots() -> Option<AddDots<Self, Self::Sum>>;
}

/// A way to make numbers that are summed of some elements at once. They are the same whatever the way.
pub trait Widening {
    /// What they are made of.
    type From: Operand<Sum = Self::To>;
    /// What they are.
    type To: Sum;

    /// As many as there are lanes.
    fn widen(line: &[Self::From; LANES]) -> [Self::To; LANES];
}

/// One by one, or in vectors if the compiler sees how.
pub struct Plain<T>(PhantomData<T>);

impl<T: Operand> Widening for Plain<T> {
    type From = T;
    type To = T::Sum;

    /// In a loop, since the compiler makes no vectors of what goes through closures.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn widen(line: &[T; LANES]) -> [T::Sum; LANES] {
        let mut wide = [T::Sum::default(); LANES];
        for (wide, x) in wide.iter_mut().zip(line) {
            *wide = x.widen();
        }
        wide
    }
}

/// By the instruction of AVX-512 for half precision. Only for functions of [`wide!`] where the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
pub struct ByInstruction(());

#[cfg(target_arch = "x86_64")]
impl Widening for ByInstruction {
    type From = f16;
    type To = f32;

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn widen(line: &[f16; LANES]) -> [f32; LANES] {
        // SAFETY: it is named only where the processor has AVX-512.
        unsafe { x86::widen(line) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_mm256_loadu_si256, _mm512_cvtph_ps, _mm512_storeu_ps};

    use half::f16;

    use super::LANES;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn widen(line: &[f16; LANES]) -> [f32; LANES] {
        let mut wide = [0.0_f32; LANES];
        for (wide, line) in wide
            .as_chunks_mut::<16>()
            .0
            .iter_mut()
            .zip(line.as_chunks::<16>().0)
        {
            // SAFETY: 16 elements each.
            unsafe {
                let halves = _mm256_loadu_si256(line.as_ptr().cast());
                _mm512_storeu_ps(wide.as_mut_ptr(), _mm512_cvtph_ps(halves));
            }
        }
        wide
    }
}

wide! {
    fn widen_line<T: Operand>(line: &[T], room: &mut [T::Sum]) {
        for (wide, x) in room.iter_mut().zip(line) {
            *wide = x.widen();
        }
    }
}

macro_rules! sums {
    ($($type:ty, $few:expr;)+) => {$(
        impl Sum for $type {
            #[inline(always)]
            #[allow(clippy::inline_always)] // takes on the features of its caller
            fn multiply_add(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }

            fn few() -> Option<Few<Self>> {
                $few
            }
        }

        impl Operand for $type {
            type Sum = Self;

            #[inline(always)]
            #[allow(clippy::inline_always)] // as above
            fn widen(self) -> Self {
                self
            }

            fn widen_all<'a>(line: &'a [Self], _: &'a mut [Self]) -> &'a [Self] {
                line
            }

            fn narrow(sum: Self) -> Self {
                sum
            }

            fn add_rows() -> Option<AddRows<Self, Self::Sum>> {
                Self::function()
            }

            fn add_dots() -> Option<AddDots<Self, Self::Sum>> {
                Self::dots()
            }
        }
    )+};
}
sums! {
    f32, Few::<f32>::new();
    // Of which there are no ops of a few.
    f64, None;
}

/// A type of 16 bits, with what it does in a way of its own.
macro_rules! narrow_operand {
    ($type:ty, $($own:item)*) => {
        impl Operand for $type {
            type Sum = f32;

            $($own)*

            #[inline(always)]
            #[allow(clippy::inline_always)] // takes on the features of its caller
            fn widen(self) -> f32 {
                Lane::widen(self)
            }

            fn widen_all<'a>(line: &'a [Self], room: &'a mut [f32]) -> &'a [f32] {
                widen_line(line, room);
                room
            }

            fn narrow(sum: f32) -> Self {
                Lane::narrow(sum)
            }

            fn add_rows() -> Option<AddRows<Self, Self::Sum>> {
                Self::function()
            }

            fn add_dots() -> Option<AddDots<Self, Self::Sum>> {
                Self::dots()
            }
        }
    };
}
narrow_operand! { bf16, }
narrow_operand! {
    f16,
    #[cfg(target_arch = "x86_64")]
    fn add_terms(partial: &mut [[f32; LANES]], lines: &[&[f16]], packed: &[f32]) {
        if crate::simd::has_avx512() {
            rows::add_terms::<ByInstruction>(partial, lines, packed);
        } else {
            rows::add_terms::<Plain<f16>>(partial, lines, packed);
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use half::f16;

    use super::{ByInstruction, LANES, Plain, Widening};

    /// All of them; of what is no number, that it is none.
    #[test]
    fn both_ways_give_the_same_numbers() {
        if !crate::simd::has_avx512() {
            return;
        }
        let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        for line in all.as_chunks::<LANES>().0 {
            let (plain, other) = (Plain::<f16>::widen(line), ByInstruction::widen(line));
            for (a, b) in plain.into_iter().zip(other) {
                assert!(
                    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
                    "{a:e} {b:e}"
                );
            }
        }
    }
}
