//! Elements that are computed with in `f32`: widened on the way in, rounded once on the way out.
//!
//! Conversions are made of operations that every processor has on vectors, so that loops of them become vectors without
//! the features that a processor may have for them. With AVX-512 there are fewer for the same bits (`lane/x86.rs`).

#[cfg(target_arch = "x86_64")]
mod x86;

use half::{bf16, f16};

use crate::element::Real;
use crate::simd::wide;

/// Elements that are computed together: whole cache lines of any type.
pub const WIDTH: usize = 32;

/// A type of at most 32 bits.
pub trait Lane: Real {
    /// The same number.
    fn widen(self) -> f32;

    /// The nearest number, ties to even; what is too large is infinite.
    fn narrow(value: f32) -> Self;

    /// The same numbers, within functions of [`wide!`](crate::simd).
    fn widen_line(line: &[Self; WIDTH]) -> [f32; WIDTH];

    /// The nearest numbers, likewise.
    fn narrow_line(values: &[f32; WIDTH]) -> [Self; WIDTH];

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
        let (lines, rest) = from.as_chunks::<WIDTH>();
        let (to, to_rest) = out.as_chunks_mut::<WIDTH>();
        for (out, line) in to.iter_mut().zip(lines) {
            *out = T::widen_line(line);
        }
        for (out, x) in to_rest.iter_mut().zip(rest) {
            *out = x.widen();
        }
    }

    /// The nearest numbers.
    pub fn narrow<T: Lane>(out: &mut [T], from: &[f32]) {
        let (lines, rest) = from.as_chunks::<WIDTH>();
        let (to, to_rest) = out.as_chunks_mut::<WIDTH>();
        for (out, line) in to.iter_mut().zip(lines) {
            *out = T::narrow_line(line);
        }
        for (out, x) in to_rest.iter_mut().zip(rest) {
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

    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn widen_line(line: &[Self; WIDTH]) -> [f32; WIDTH] {
        *line
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn narrow_line(values: &[f32; WIDTH]) -> [Self; WIDTH] {
        *values
    }

    fn widen_all<'a>(from: &'a [Self], _: &'a mut [f32]) -> &'a [f32] {
        from
    }

    fn narrow_all<'a>(from: &'a [f32], _: &'a mut [Self]) -> &'a [Self] {
        from
    }
}

/// Conversions of a line: by the functions of `x86` with these names, or one by one.
macro_rules! lines {
    ($widen:ident, $narrow:ident) => {
        #[inline(always)]
        #[allow(clippy::inline_always, unsafe_code)] // as above; instructions chosen at run time
        fn widen_line(line: &[Self; WIDTH]) -> [f32; WIDTH] {
            #[cfg(target_arch = "x86_64")]
            if crate::simd::has_avx512() {
                // SAFETY: the processor has the features that the function enables.
                return unsafe { x86::$widen(line) };
            }
            let mut wide = [0.0; WIDTH];
            for (wide, x) in wide.iter_mut().zip(line) {
                *wide = x.widen();
            }
            wide
        }

        #[inline(always)]
        #[allow(clippy::inline_always, unsafe_code)] // as above
        fn narrow_line(values: &[f32; WIDTH]) -> [Self; WIDTH] {
            #[cfg(target_arch = "x86_64")]
            if crate::simd::has_avx512() {
                // SAFETY: the processor has the features that the function enables.
                return unsafe { x86::$narrow(values) };
            }
            let mut line = [Self::default(); WIDTH];
            for (x, value) in line.iter_mut().zip(values) {
                *x = <Self as Lane>::narrow(*value);
            }
            line
        }
    };
}

impl Lane for bf16 {
    lines!(widen_bf16, narrow_bf16);

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
    lines!(widen_f16, narrow_f16);

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

    use super::{Lane, narrow, widen};

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
    /// All numbers of 16 bits, and the same numbers to be rounded as above, through whole lines and what is left behind them.
    fn assert_lines_are_as_numbers<T: Lane>() {
        let all: Vec<T> = (0..=u64::from(u16::MAX)).map(T::from_word).collect();
        let mut wide = vec![0.0; all.len() - 5];
        widen(&mut wide, &all[5..]);
        for (x, found) in all[5..].iter().zip(&wide) {
            assert!(is_same(x.widen(), *found), "{x:?}");
        }
        let lower = [
            0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff,
        ];
        let numbers = (0..=u32::from(u16::MAX))
            .flat_map(|upper| lower.map(|low| f32::from_bits(upper << 16 | low)));
        let numbers: Vec<f32> = numbers.collect();
        let mut found = vec![T::default(); numbers.len() - 5];
        narrow(&mut found, &numbers[5..]);
        for (x, found) in numbers[5..].iter().zip(found) {
            assert_eq!(T::narrow(*x).to_word(), found.to_word(), "{x:e}");
        }
    }

    #[test]
    fn lines_are_converted_as_numbers_are() {
        assert_lines_are_as_numbers::<f16>();
        assert_lines_are_as_numbers::<bf16>();
        assert_lines_are_as_numbers::<f32>();
    }
}
