//! What a product is made of: types of operands and results, inputs, and how wrong a result may be.

use assay_protocol::{ArithmeticUnit, Philox};

use crate::bound::{TENSOR_ROUNDOFF, likely_gamma};
use crate::element::{DType, Real};
use crate::program::Fill;

/// A kind of product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `f32`, multiplied and added as such.
    F32,
    /// `f32`, of which 10 bits of fraction are multiplied.
    Tf32,
    /// Binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// Eight-bit floating point, E4M3, with a scale for each operand.
    F8,
    /// Signed integers of 8 bits.
    I8,
}

/// Scales of A and of B where they have some: powers of two, so that scaling rounds nothing.
pub const SCALES: [f32; 2] = [0.5, 0.25];

impl Kind {
    /// Every kind; the first is the default.
    pub const ALL: [Self; 6] = [
        Self::F32,
        Self::Tf32,
        Self::F16,
        Self::Bf16,
        Self::F8,
        Self::I8,
    ];

    /// Its name as a `dtype`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F8 => "f8",
            Self::I8 => "i8",
        }
    }

    /// Type of A and B.
    pub const fn input(self) -> DType {
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::Bf16,
            Self::F8 => DType::F8,
            Self::I8 => DType::I8,
        }
    }

    /// Type of C.
    pub const fn output(self) -> DType {
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 | Self::F8 => DType::Bf16,
            Self::I8 => DType::I32,
        }
    }

    /// The unit that is made for it.
    pub const fn unit(self) -> ArithmeticUnit {
        match self {
            Self::F32 => ArithmeticUnit::F32,
            Self::Tf32 => ArithmeticUnit::Tf32Tensor,
            Self::F16 => ArithmeticUnit::F16Tensor,
            Self::Bf16 => ArithmeticUnit::Bf16Tensor,
            Self::F8 => ArithmeticUnit::F8Tensor,
            Self::I8 => ArithmeticUnit::I8Tensor,
        }
    }

    /// Whether B is stored by columns.
    pub const fn is_b_by_columns(self) -> bool {
        matches!(self, Self::F8 | Self::I8)
    }

    /// What an input of that random stream holds: numbers from -1 to 1, for f8 each of those below 2 as often as any
    /// other, for i8 each there is.
    pub fn fill(self, stream: u64) -> Fill {
        match self {
            Self::F8 => Fill::Host(Box::new(move |buffer, seed| {
                let random = Philox::new(seed, stream);
                for (i, out) in buffer.get_mut::<u8>().iter_mut().enumerate() {
                    // Sign, and the lower exponents.
                    *out = random.word(i as u64) as u8 & 0xbf;
                }
            })),
            Self::I8 => Fill::Words { stream },
            _ => Fill::signed(stream),
        }
    }

    /// Largest error of a result before it is rounded to its type, relative to the sum of the magnitudes of its `k`
    /// products.
    ///
    /// Tensor cores cut off what they add, in no order that is documented, after at least 24 bits: each of at most
    /// `5 k / 4` additions (of 4 products and a sum, at least) loses up to `2^-23`, less than `gamma_k` for `u = 2^-22`
    /// allows (M. Fasi, N. J. Higham, M. Mikaitis, S. Pranesh, "Numerical behavior of NVIDIA tensor cores",
    /// `PeerJ` Computer Science 7:e330, 2021, sections 3.2 to 3.4). What is cut off is no independent random error, but
    /// proportional to the partial sums, which wander within some `sqrt(k)` of themselves: the
    /// probabilistic bound holds for that reason.
    ///
    /// Of f8 they add 14 bits (`DeepSeek-V3` Technical Report, 2024, section 3.3.2), each addition losing up to `2^-13`
    /// of a partial sum; with partial sums of up to 4 standard deviations, `sqrt(k) / 3` of them a sum of magnitudes,
    /// and 10 standard deviations of what is lost, that is `2^-6` for any `k`.
    ///
    /// `is_rounded`: whether the reference has tf32's operands rounded as the kernel rounds them. Where it is not known how
    /// they are, each product is off by up to `2^-9`: some `15` times `2^-9 / sqrt(k)` at most of a random sum, with the
    /// loss of 4/3 from magnitudes to squares, since errors of products are independent.
    pub fn tolerance(self, k: u64, is_rounded: bool) -> f64 {
        let reference = likely_gamma(k, f64::UNIT_ROUNDOFF);
        let root = (k.max(1) as f64).sqrt();
        let sum = match self {
            Self::I8 => return 0.0,
            Self::F32 => likely_gamma(k, f32::UNIT_ROUNDOFF),
            Self::Tf32 if !is_rounded => {
                let operands = (20.0 / root).min(1.01) / 512.0;
                operands + likely_gamma(k, TENSOR_ROUNDOFF)
            }
            Self::Tf32 | Self::F16 | Self::Bf16 => likely_gamma(k, TENSOR_ROUNDOFF),
            Self::F8 => (1.0 / 64.0_f64).min(crate::bound::gamma(k, 1.0 / 4096.0)),
        };
        sum + reference
    }

    /// Unit roundoff of the results, where they are rounded once more than the sums, and the least error of one.
    pub const fn rounding(self) -> (f64, f64) {
        match self {
            Self::F32 | Self::Tf32 | Self::I8 => (0.0, 0.0),
            // Half of the smallest subnormal number.
            Self::F16 => (1.0 / 2048.0, 1.0 / (1 << 25) as f64),
            Self::Bf16 | Self::F8 => (1.0 / 256.0, 0.0),
        }
    }
}

/// The number that 8 bits of E4M3 are. Source: Open Compute Project, "8-bit Floating Point Specification (OFP8)",
/// 1.0, section 5.
pub fn f8_value(bits: u8) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction / 8.0 * 2_f32.powi(-6),
        _ => (1.0 + fraction / 8.0) * 2_f32.powi(exponent - 7),
    };
    if bits & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// A number rounded to 10 bits of fraction, to nearest, ties away from zero.
pub fn round_tf32(value: f32) -> f32 {
    f32::from_bits((value.to_bits() + 0x1000) & 0xffff_e000)
}

#[cfg(test)]
mod tests {
    use super::{Kind, f8_value, round_tf32};

    #[test]
    fn eight_bits_are_numbers() {
        let known = [
            (0x38, 1.0),
            (0xb7, -0.9375),
            (0x7e, 448.0),
            (0x01, 0.001_953_125),
            (0x80, 0.0),
        ];
        for (bits, value) in known {
            assert!((f8_value(bits) - value).abs() < 1e-9, "{bits:#x}");
        }
        assert!(f8_value(0x7f).is_nan() && f8_value(0xff).is_nan());
        assert!((0..=255_u8).all(|bits| f8_value(bits & 0xbf).abs() < 2.0));
    }

    #[test]
    fn ten_bits_are_kept() {
        assert_eq!(
            round_tf32(1.0 + 1.0 / 2048.0).to_bits(),
            (1.0 + 1.0_f32 / 1024.0).to_bits()
        );
        assert_eq!(
            round_tf32(-1.0 - 1.0 / 4096.0).to_bits(),
            (-1.0_f32).to_bits()
        );
    }

    #[test]
    fn tolerances_tell_a_lost_product_from_rounding() {
        // A product of two numbers from -1 to 1 has a magnitude of 1/4 on average, and a sum of k of them k/4.
        for kind in [Kind::F32, Kind::Tf32, Kind::F16, Kind::Bf16] {
            for k in [1, 16, 1024, 4096] {
                let tolerance = kind.tolerance(k, true);
                assert!(
                    tolerance > 0.0 && tolerance < 1.0 / k as f64,
                    "{kind:?} {k}: {tolerance}"
                );
            }
        }
        assert!(Kind::Tf32.tolerance(4096, false) > 2.0 * Kind::Tf32.tolerance(4096, true));
        assert!(Kind::I8.tolerance(4096, true) <= 0.0);
    }
}
