//! Codes of 8 bits: what they stand for, and which is nearest.

use std::cmp::Ordering;

use crate::element::DType;

/// A format of 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Integers from -127 to 127.
    I8,
    /// Floating point with 4 bits of exponent and 3 of fraction, without infinities.
    E4m3,
    /// Floating point with 5 bits of exponent and 2 of fraction.
    E5m2,
}

/// The magnitude of a number as an integer that rises with it; of what is no number it is above all.
pub fn bits_of(x: f32) -> u32 {
    x.to_bits() & 0x7fff_ffff
}

impl Code {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::I8, Self::E4m3, Self::E5m2];

    /// Its name as a `format`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I8 => "i8",
            Self::E4m3 => "e4m3",
            Self::E5m2 => "e5m2",
        }
    }

    /// Its name in the CUDA source.
    pub(super) const fn cuda(self) -> &'static str {
        match self {
            Self::I8 => "I8",
            Self::E4m3 => "E4m3",
            Self::E5m2 => "E5m2",
        }
    }

    /// Type of buffers of it. Buffers have no type of their own for E5M2, which is kept as bits.
    pub const fn dtype(self) -> DType {
        match self {
            Self::I8 => DType::I8,
            Self::E4m3 => DType::F8,
            Self::E5m2 => DType::U8,
        }
    }

    /// The largest value.
    pub const fn largest(self) -> f32 {
        match self {
            Self::I8 => 127.0,
            Self::E4m3 => 448.0,
            Self::E5m2 => 57344.0,
        }
    }

    /// Scale, and what numbers are multiplied by, given the largest magnitude by its bits. Both are 0 where there is nothing to scale: of
    /// zeros, and of numbers so small that there is no such factor in `f32`, by which zeros among them would become none.
    pub fn scaling(self, largest: u32) -> (f32, f32) {
        let amax = f32::from_bits(largest);
        let [scale, inverse] = [amax / self.largest(), self.largest() / amax];
        if inverse.is_infinite() {
            return (0.0, 0.0);
        }
        // One pattern for what is no number, so that scales have the same bits everywhere.
        (if scale.is_nan() { f32::NAN } else { scale }, inverse)
    }

    /// What a code stands for. Source of the floating-point ones: Open Compute Project, "8-bit Floating Point Specification
    /// (OFP8)", 1.0, section 5.
    pub fn value(self, code: u8) -> f64 {
        let (fraction, bias) = match self {
            Self::I8 => return code.cast_signed().into(),
            Self::E4m3 => (3, 7),
            Self::E5m2 => (2, 15),
        };
        let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
        let (exponent, rest) = (
            i32::from(code & 0x7f) >> fraction,
            i32::from(code) & ((1 << fraction) - 1),
        );
        let part = f64::from(rest) / f64::from(1 << fraction);
        match (self, exponent, rest) {
            (Self::E5m2, 31, 0) => sign * f64::INFINITY,
            (Self::E4m3, 15, 7) | (Self::E5m2, 31, _) => f64::NAN,
            (_, 0, _) => sign * part * 2_f64.powi(1 - bias),
            _ => sign * (1.0 + part) * 2_f64.powi(exponent - bias),
        }
    }

    /// What becomes of what is no number.
    const fn none(self) -> u8 {
        match self {
            Self::I8 => 0,
            Self::E4m3 | Self::E5m2 => 0x7f,
        }
    }
}

/// All finite codes that are not negative, by their values: finds the nearest by looking.
#[derive(Debug)]
pub struct Table {
    code: Code,
    values: Vec<f64>,
}

impl Table {
    /// Of a format, whose codes rise with their values.
    pub fn new(code: Code) -> Self {
        let values = (0..0x80).map(|bits| code.value(bits));
        let values = values.take_while(|value| value.is_finite()).collect();
        Self { code, values }
    }

    /// The code nearest to a number, ties to even, saturating.
    pub fn nearest(&self, x: f32) -> u8 {
        if x.is_nan() {
            return self.code.none();
        }
        let magnitude = f64::from(x.abs());
        let above = self.values.partition_point(|value| *value < magnitude);
        let nearest = if above == self.values.len() {
            above - 1
        } else if above == 0 {
            0
        } else {
            let [low, high] = [above - 1, above].map(|i| (self.values[i] - magnitude).abs());
            match low.total_cmp(&high) {
                Ordering::Less => above - 1,
                Ordering::Equal => above - above % 2,
                Ordering::Greater => above,
            }
        } as u8;
        match self.code {
            Code::I8 if x < 0.0 => nearest.wrapping_neg(),
            Code::I8 => nearest,
            _ => nearest | ((x.to_bits() >> 31) as u8) << 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Table};

    #[test]
    fn codes_are_those_of_the_specification() {
        let known = [
            (Code::E4m3, 0x7e, 448.0),
            (Code::E4m3, 0x08, 0.015_625),
            (Code::E4m3, 0x01, 0.001_953_125),
            (Code::E5m2, 0x7b, 57344.0),
            (Code::E5m2, 0x04, 6.103_515_625e-5),
            (Code::E5m2, 0x81, -1.525_878_906_25e-5),
            (Code::I8, 0x81, -127.0),
        ];
        for (code, bits, value) in known {
            assert!(
                (code.value(bits) - value).abs() < 1e-12,
                "{code:?} {bits:#x}"
            );
        }
        assert!(Code::E4m3.value(0xff).is_nan() && Code::E5m2.value(0xfc) < -1e300);
    }

    #[test]
    fn ties_go_to_even_and_what_is_too_large_saturates() {
        let cases = [
            (Code::I8, 0.5, 0),
            (Code::I8, 1.5, 2),
            (Code::I8, -2.5, 0xfe),
            (Code::I8, 300.0, 127),
            (Code::I8, f32::NAN, 0),
            // Between 1 and 1.125, and between 1.125 and 1.25.
            (Code::E4m3, 1.0625, 0x38),
            (Code::E4m3, 1.1875, 0x3a),
            (Code::E4m3, 1e9, 0x7e),
            (Code::E4m3, f32::NEG_INFINITY, 0xfe),
            (Code::E4m3, 0.000_976_562_5, 0),
            (Code::E5m2, f32::INFINITY, 0x7b),
            (Code::E5m2, f32::NAN, 0x7f),
        ];
        for (code, x, expected) in cases {
            assert_eq!(Table::new(code).nearest(x), expected, "{code:?} {x}");
        }
    }
}
