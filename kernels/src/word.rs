//! Unsigned integers as elements: ops that only move bits, or sum them without rounding, use these.
#![allow(unsafe_code)] // the same memory as plain and as atomic integers

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::element::{DType, Element};

/// Every type of them.
pub const DTYPES: &[DType] = &[DType::U32, DType::U64];

/// An unsigned integer of 32 or 64 bits.
pub trait Word: Element + Into<u64> {
    /// The same bits, shared by threads.
    type Shared: Sync;
    /// 2^bits divided by the golden ratio, rounded to an odd number: its multiples are far from each other.
    const GOLDEN: Self;
    /// What poison is.
    const POISON: Self;

    /// The lower bits.
    fn from_u64(value: u64) -> Self;

    /// The sum modulo 2^bits.
    fn wrapping_add(self, other: Self) -> Self;

    /// The product modulo 2^bits.
    fn wrapping_mul(self, other: Self) -> Self;

    /// Elements that several threads may write.
    fn share(elements: &mut [Self]) -> &[Self::Shared];

    /// Stores without any order.
    fn store(place: &Self::Shared, value: Self);

    /// Loads without any order.
    fn load(place: &Self::Shared) -> Self;
}

macro_rules! word {
    ($($t:ident, $atomic:ident, $golden:literal;)+) => {$(
        impl Word for $t {
            type Shared = $atomic;
            const GOLDEN: Self = $golden;
            const POISON: Self = Self::from_le_bytes([0xa5; size_of::<Self>()]);

            #[inline]
            fn from_u64(value: u64) -> Self {
                value as Self
            }

            #[inline]
            fn wrapping_add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline]
            fn wrapping_mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            fn share(elements: &mut [Self]) -> &[$atomic] {
                const { assert!(align_of::<$atomic>() == align_of::<$t>()) };
                // SAFETY: an atomic integer has the size and the bits of a plain one, and here its alignment;
                // the elements stay exclusively borrowed for as long as the result lives.
                unsafe { &*(std::ptr::from_mut(elements) as *const [$atomic]) }
            }

            #[inline]
            fn store(place: &$atomic, value: Self) {
                place.store(value, Ordering::Relaxed);
            }

            #[inline]
            fn load(place: &$atomic) -> Self {
                place.load(Ordering::Relaxed)
            }
        }
    )+};
}
word! {
    u32, AtomicU32, 0x9e37_79b1;
    u64, AtomicU64, 0x9e37_79b9_7f4a_7c15;
}

#[cfg(test)]
mod tests {
    use super::Word;
    use crate::element::Element;

    #[test]
    fn shared_elements_are_the_same() {
        let mut elements = [1_u64, 2, 3];
        u64::store(&u64::share(&mut elements)[1], 9);
        assert_eq!(elements, [1, 9, 3]);
    }

    #[test]
    fn poison_is_what_buffers_are_filled_with() {
        fn check<T: Word>() {
            let bytes = T::DTYPE.poison();
            let poison = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            assert_eq!(T::POISON, T::from_u64(poison));
        }
        check::<u32>();
        check::<u64>();
        assert_eq!(<u32 as Element>::DTYPE.bytes(), 4);
    }
}
