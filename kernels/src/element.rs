//! Element types of buffers: what a kernel may be generic over.
#![allow(unsafe_code)] // reading numbers as bytes, for digests

use std::fmt::Debug;
use std::ops::{Add, Mul};

use assay_protocol::{Digest, Philox};

#[cfg(target_endian = "big")]
compile_error!("digests are of little-endian bytes; a big-endian host would have to swap them");

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`. Sealed: [`bytes`] relies on elements having neither padding nor invalid bits.
pub trait Element:
    sealed::Sealed
    + Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Into<f64>
    + Add<Output = Self>
    + Mul<Output = Self>
    + 'static
{
    /// Its name as a `dtype` parameter.
    const NAME: &'static str;
    /// Half the distance from 1 to the next number: 2^-24 or 2^-53.
    const UNIT_ROUNDOFF: f64;
    /// What outputs hold before the first iteration.
    const POISON: Self;

    /// The nearest element.
    fn from_f64(value: f64) -> Self;

    /// Numbers `first ..` of a stream, uniform on [-1, 1).
    fn fill_signed(random: &Philox, first: u64, out: &mut [Self]);

    /// The bits, zero-extended.
    fn to_word(self) -> u64;

    /// The inverse of [`Self::to_word`].
    fn from_word(word: u64) -> Self;
}

impl Element for f32 {
    const NAME: &'static str = "f32";
    const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
    const POISON: Self = Self::NAN;

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

impl Element for f64 {
    const NAME: &'static str = "f64";
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;
    const POISON: Self = Self::NAN;

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

#[cfg(test)]
mod tests {
    use super::{Element, bytes};

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
        assert!(f64::from_word(f64::POISON.to_word()).is_nan());
    }
}
