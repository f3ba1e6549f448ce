//! Element types of buffers: what a kernel may be generic over.
#![allow(unsafe_code)] // reading numbers as bytes and bytes as numbers

use std::fmt;
use std::ops::{Add, Mul};

use assay_protocol::{Digest, Failure, Philox};
use half::{bf16, f16};

#[cfg(target_endian = "big")]
compile_error!("digests are of little-endian bytes; a big-endian host would have to swap them");

/// A type of elements, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// Eight-bit floating point of 4 exponent and 3 fraction bits (OCP E4M3), as its bits.
    F8,
    /// Signed 8 bits.
    I8,
    /// Unsigned 8 bits.
    U8,
    /// Signed 32 bits.
    I32,
    /// Unsigned 32 bits.
    U32,
    /// Unsigned 64 bits.
    U64,
}

impl DType {
    /// Its name as a `dtype` parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F8 => "f8",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::U64 => "u64",
        }
    }

    /// Its name in CUDA sources, with `common/cuda.cuh` and `common/half.cuh`.
    pub const fn cuda(self) -> &'static str {
        match self {
            Self::F64 => "double",
            Self::F32 => "float",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F8 => "f8e4m3",
            Self::I8 => "signed char",
            Self::U8 => "unsigned char",
            Self::I32 => "int",
            Self::U32 => "unsigned int",
            Self::U64 => "unsigned long long",
        }
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8 | Self::I8 | Self::U8 => 1,
        }
    }

    /// The bytes of an element that no input has and no right output should: a NaN, or a pattern that stands out.
    pub const fn poison(self) -> &'static [u8] {
        match self {
            Self::F64 => &[0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
            Self::F32 => &[0, 0, 0xc0, 0x7f],
            Self::F16 => &[0, 0x7e],
            Self::Bf16 => &[0xc0, 0x7f],
            Self::F8 => &[0x7f],
            Self::I8 | Self::U8 => &[0xa5],
            Self::I32 | Self::U32 => &[0xa5; 4],
            Self::U64 => &[0xa5; 8],
        }
    }

    /// The type of that name among `choices`.
    pub fn parse(name: &str, choices: &[Self]) -> Option<Self> {
        choices.iter().copied().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
    impl Sealed for i8 {}
    impl Sealed for u8 {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A type that buffers hold. Sealed: slices of it are read from bytes and as bytes, so it has neither padding
/// nor invalid bits.
pub trait Element:
    sealed::Sealed + Copy + fmt::Debug + Default + PartialEq + Send + Sync + 'static
{
    /// The type as a value.
    const DTYPE: DType;
}

impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for f16 {
    const DTYPE: DType = DType::F16;
}
impl Element for bf16 {
    const DTYPE: DType = DType::Bf16;
}
impl Element for i8 {
    const DTYPE: DType = DType::I8;
}
/// Also the bits of an [`DType::F8`].
impl Element for u8 {
    const DTYPE: DType = DType::U8;
}
impl Element for i32 {
    const DTYPE: DType = DType::I32;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}
impl Element for u64 {
    const DTYPE: DType = DType::U64;
}

/// A floating-point type.
pub trait Real: Element + PartialOrd + Into<f64> + Add<Output = Self> + Mul<Output = Self> {
    /// Half the distance from 1 to the next number: 2^-53, 2^-24, 2^-11, 2^-8.
    const UNIT_ROUNDOFF: f64;

    /// The nearest number.
    fn from_f64(value: f64) -> Self;

    /// Numbers `first ..` of a stream, uniform on [-1, 1) with 24 random bits, rounded to the type.
    fn fill_signed(random: &Philox, first: u64, out: &mut [Self]);

    /// The bits, zero-extended.
    fn to_word(self) -> u64;

    /// The inverse of [`Self::to_word`].
    fn from_word(word: u64) -> Self;
}

impl Real for f64 {
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn fill_signed(random: &Philox, first: u64, out: &mut [Self]) {
        random.fill_signed_f64(first, out);
    }

    #[inline]
    fn to_word(self) -> u64 {
        self.to_bits()
    }

    #[inline]
    fn from_word(word: u64) -> Self {
        Self::from_bits(word)
    }
}

impl Real for f32 {
    const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

    fn from_f64(value: f64) -> Self {
        value as Self
    }

    fn fill_signed(random: &Philox, first: u64, out: &mut [Self]) {
        random.fill_signed_f32(first, out);
    }

    #[inline]
    fn to_word(self) -> u64 {
        u64::from(self.to_bits())
    }

    #[inline]
    fn from_word(word: u64) -> Self {
        Self::from_bits(word as u32)
    }
}

/// The two types of 16 bits, which round what `f32` draws.
macro_rules! real_of_16_bits {
    ($($type:ty, $unit_roundoff:expr;)+) => {$(
        impl Real for $type {
            const UNIT_ROUNDOFF: f64 = $unit_roundoff;

            fn from_f64(value: f64) -> Self {
                Self::from_f64(value)
            }

            fn fill_signed(random: &Philox, first: u64, out: &mut [Self]) {
                let mut wide = [0.0_f32; 256];
                for (chunk, out) in out.chunks_mut(wide.len()).enumerate() {
                    let wide = &mut wide[..out.len()];
                    random.fill_signed_f32(first + chunk as u64 * 256, wide);
                    out.iter_mut().zip(&*wide).for_each(|(out, x)| *out = Self::from_f32(*x));
                }
            }

            #[inline]
            fn to_word(self) -> u64 {
                u64::from(self.to_bits())
            }

            #[inline]
            fn from_word(word: u64) -> Self {
                Self::from_bits(word as u16)
            }
        }
    )+};
}
real_of_16_bits! {
    f16, 1.0 / 2048.0;
    bf16, 1.0 / 256.0;
}

/// The little-endian bytes of some elements.
pub fn bytes<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: the pointer and length cover exactly `elements`, which stays borrowed; `Element` is sealed
    // to types without padding, and any byte is a valid `u8` at any alignment.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// SHA-256 of the little-endian bytes of some elements.
pub fn digest<T: Element>(elements: &[T]) -> Digest {
    Digest::of(bytes(elements))
}

/// Calls a generic function with the floating-point type of a value; types outside of the list are an error.
macro_rules! with_real {
    ($dtype:expr, [$($variant:ident = $type:ty),+], $function:ident $arguments:tt) => {
        match $dtype {
            $($crate::element::DType::$variant => $crate::element::with_real!(@call $function, $type, $arguments),)+
            other => Err($crate::element::unsupported(other)),
        }
    };
    (@call $function:ident, $type:ty, ($($argument:expr),* $(,)?)) => { $function::<$type>($($argument),*) };
}
pub(crate) use with_real;

/// The error for a type that an op was not made for.
pub(crate) fn unsupported(dtype: DType) -> Failure {
    Failure::Failed(format!(
        "parameter `dtype`: `{dtype}` is not supported here"
    ))
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::{DType, Element, Real, bytes};

    #[test]
    fn bytes_are_little_endian() {
        assert_eq!(bytes(&[1.0_f32, -2.0]), [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
        assert_eq!(bytes(&[1.0_f64]), 1.0_f64.to_le_bytes());
    }

    #[test]
    fn words_round_trip() {
        assert_eq!(
            f32::from_word((-1.5_f32).to_word()).to_bits(),
            (-1.5_f32).to_bits()
        );
        assert_eq!(
            f16::from_word(f16::from_f64(0.1).to_word()),
            f16::from_f64(0.1)
        );
    }

    #[test]
    fn unit_roundoffs_are_half_the_distance_to_the_next_number() {
        fn check<T: Real>() {
            let next: f64 = T::from_word(T::from_f64(1.0).to_word() + 1).into();
            assert!(
                ((next - 1.0) / 2.0 - T::UNIT_ROUNDOFF).abs() < 1e-300,
                "{}",
                T::DTYPE
            );
        }
        check::<f64>();
        check::<f32>();
        check::<f16>();
        check::<bf16>();
    }

    #[test]
    fn poison_is_one_element_and_no_number() {
        let all = [
            DType::F64,
            DType::F32,
            DType::F16,
            DType::Bf16,
            DType::F8,
            DType::I8,
            DType::U8,
            DType::I32,
            DType::U32,
            DType::U64,
        ];
        assert!(
            all.iter()
                .all(|dtype| dtype.poison().len() == dtype.bytes())
        );
        assert!(f32::from_le_bytes(DType::F32.poison().try_into().unwrap()).is_nan());
        assert!(f64::from_le_bytes(DType::F64.poison().try_into().unwrap()).is_nan());
        assert!(f16::from_le_bytes(DType::F16.poison().try_into().unwrap()).is_nan());
        assert!(bf16::from_le_bytes(DType::Bf16.poison().try_into().unwrap()).is_nan());
        assert_eq!(f16::DTYPE.bytes(), 2);
    }
}
