//! Types of matrices and vectors, and the types that they are summed in.

use half::{bf16, f16};

use crate::element::Real;
use crate::lane::Lane;
use crate::simd::wide;

/// A type that sums are in.
pub trait Sum: Real {
    /// `self * factor + addend`, rounded once.
    fn multiply_add(self, factor: Self, addend: Self) -> Self;
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
}

wide! {
    fn widen_line<T: Operand>(line: &[T], room: &mut [T::Sum]) {
        for (wide, x) in room.iter_mut().zip(line) {
            *wide = x.widen();
        }
    }
}

macro_rules! sums {
    ($($type:ty),+) => {$(
        impl Sum for $type {
            #[inline(always)]
            #[allow(clippy::inline_always)] // takes on the features of its caller
            fn multiply_add(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
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
        }
    )+};
}
sums!(f32, f64);

/// The two types of 16 bits.
macro_rules! narrow_operands {
    ($($type:ty),+) => {$(
        impl Operand for $type {
            type Sum = f32;

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
        }
    )+};
}
narrow_operands!(bf16, f16);
