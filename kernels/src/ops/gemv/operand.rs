//! Types of matrices and vectors, and the types that they are summed in.

use half::{bf16, f16};

use crate::element::Real;
use crate::simd::wide;

/// A type that sums are in.
pub trait Sum: Real {
    /// `self * factor + addend`, rounded once.
    fn multiply_add(self, factor: Self, addend: Self) -> Self;
}

/// A type of matrices and vectors.
pub trait Operand: Real {
    /// What is summed.
    type Sum: Sum;

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

impl Operand for bf16 {
    type Sum = f32;

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    fn widen_all<'a>(line: &'a [Self], room: &'a mut [f32]) -> &'a [f32] {
        widen_line(line, room);
        room
    }

    fn narrow(sum: f32) -> Self {
        Self::from_f32(sum)
    }
}

impl Operand for f16 {
    type Sum = f32;

    /// In operations that any processor has on vectors: the fraction and exponent at their place, with the difference of the biases
    /// multiplied in, which makes subnormal numbers normal ones.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn widen(self) -> f32 {
        const REBIAS: f32 = f32::from_bits((112 + 127) << 23);
        let bits = u32::from(self.to_bits());
        let finite = (f32::from_bits((bits & 0x7fff) << 13) * REBIAS).to_bits();
        // Of infinity and no number, all bits of the exponent.
        let magnitude = if bits & 0x7c00 == 0x7c00 {
            finite | 0x7f80_0000
        } else {
            finite
        };
        f32::from_bits(magnitude | (bits & 0x8000) << 16)
    }

    fn widen_all<'a>(line: &'a [Self], room: &'a mut [f32]) -> &'a [f32] {
        widen_line(line, room);
        room
    }

    fn narrow(sum: f32) -> Self {
        Self::from_f32(sum)
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::Operand;

    #[test]
    fn every_number_of_16_bits_is_widened_exactly() {
        let is_same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        for bits in 0..=u16::MAX {
            let (x, y) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(is_same(x.widen(), x.to_f32()), "{bits:#x}");
            assert!(is_same(y.widen(), y.to_f32()), "{bits:#x}");
        }
    }
}
