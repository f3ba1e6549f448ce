//! Elements that are computed with in `f32`: widened on the way in, rounded once on the way out.
//!
//! Conversions are made of operations that every processor has on vectors, so that loops of them become vectors without
//! the features that a processor may have for them.

use half::{bf16, f16};

use crate::element::Real;
use crate::simd::wide;

/// A type of at most 32 bits.
pub trait Lane: Real {
    /// The same number.
    fn widen(self) -> f32;

    /// The nearest number, ties to even; what is too large is infinite.
    fn narrow(value: f32) -> Self;

    /// The same numbers, in place or in `room`, which is as long.
    fn widen_all<'a>(from: &'a [Self], room: &'a mut [f32]) -> &'a [f32] {
        widen(room, from);
        room
    }

    /// The nearest numbers, in place or in `room`, which is at least as long.
    fn narrow_all<'a>(from: &'a [f32], room: &'a mut [Self]) -> &'a [Self] {
        let room = &mut room[..from.len()];
        narrow(room, from);
        room
    }
}

wide! {
    /// The same numbers.
    pub fn widen<T: Lane>(out: &mut [f32], from: &[T]) {
        for (out, x) in out.iter_mut().zip(from) {
            *out = x.widen();
        }
    }

    /// The nearest numbers.
    pub fn narrow<T: Lane>(out: &mut [T], from: &[f32]) {
        for (out, x) in out.iter_mut().zip(from) {
            *out = T::narrow(*x);
        }
    }
}

impl Lane for f32 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn narrow(value: f32) -> Self {
        value
    }

    fn widen_all<'a>(from: &'a [Self], _: &'a mut [f32]) -> &'a [f32] {
        from
    }

    fn narrow_all<'a>(from: &'a [f32], _: &'a mut [Self]) -> &'a [Self] {
        from
    }
}

impl Lane for bf16 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // No number stays none, whatever its bits.
        let quiet = bits >> 16 | 0x40;
        let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
        Self::from_bits(if is_nan { quiet } else { rounded } as u16)
    }
}

impl Lane for f16 {
    /// The fraction and exponent at their place, with the difference of the biases multiplied in, which makes subnormal numbers
    /// normal ones.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
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

    /// Adds a power of two whose last bit is the last that remains, so that the addition rounds; of subnormal results that is
    /// the smallest number of the type.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn narrow(value: f32) -> Self {
        const TO_INFINITY: f32 = f32::from_bits((112 + 127) << 23);
        const BACK: f32 = f32::from_bits((127 - 110) << 23);
        const LEAST_EXPONENT: u32 = 113 << 23;
        let bits = value.to_bits();
        let magnitude = bits & 0x7fff_ffff;
        // What is too large for the type is infinite after the first product; the second leaves four times the number.
        let scaled = value.abs() * TO_INFINITY * BACK;
        let exponent = (magnitude & 0x7f80_0000).max(LEAST_EXPONENT);
        let rounded = (f32::from_bits(exponent + (15 << 23)) + scaled).to_bits();
        let finite = (rounded >> 13 & 0x7c00) + (rounded & 0xfff);
        let result = if magnitude > 0x7f80_0000 {
            0x7e00
        } else {
            finite
        };
        Self::from_bits((bits >> 16 & 0x8000 | result) as u16)
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::Lane;

    fn is_same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
    }

    #[test]
    fn every_number_of_16_bits_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let (x, y) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(is_same(x.widen(), x.to_f32()), "{bits:#x}");
            assert!(is_same(y.widen(), y.to_f32()), "{bits:#x}");
        }
    }

    /// Every upper half, with lower halves around the ties.
    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        let lower = [
            0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff,
        ];
        for upper in 0..=u32::from(u16::MAX) {
            for low in lower {
                let x = f32::from_bits(upper << 16 | low);
                let (f, b) = (<f16 as Lane>::narrow(x), <bf16 as Lane>::narrow(x));
                assert!(is_same(f.to_f32(), f16::from_f32(x).to_f32()), "{x:e}");
                assert!(is_same(b.to_f32(), bf16::from_f32(x).to_f32()), "{x:e}");
            }
        }
    }
}
