//! Stores that go around the caches, for output that is larger than all of them.
//!
//! An ordinary store first reads the line that it writes to. Kernels that write what nobody reads soon save a third
//! of their traffic without that. They compute a piece in a buffer that stays in the first cache, and send it off.
#![allow(unsafe_code)] // vector stores

use assay_protocol::MemoryLevel;

use crate::device::host;
use crate::element::Element;

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Whether buffers of `bytes` altogether are better written around the caches.
pub fn goes_around(bytes: u64) -> bool {
    cfg!(target_arch = "x86_64") && host::level_of(bytes) == Some(MemoryLevel::Dram)
}

/// Output that is written around the caches, where the processor can. All of it is there when this is dropped.
#[derive(Debug)]
pub struct Around<'a, T>(&'a mut [T]);

impl<'a, T: Element> Around<'a, T> {
    /// Takes the output, so that nobody else looks at it before it is there.
    pub fn new(out: &'a mut [T]) -> Self {
        Self(out)
    }

    /// Copies `from` to the elements from `first` on.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn send(&mut self, first: usize, from: &[T]) {
        send(&mut self.0[first..][..from.len()], from);
    }
}

impl<T> Drop for Around<'_, T> {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every processor of this architecture has the instruction.
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn send<T: Element>(to: &mut [T], from: &[T]) {
    to.copy_from_slice(from);
}

/// Both have one length. [`Around`] keeps the target to itself until a fence has ordered these stores before later accesses.
///
/// Only whole cache lines go around: a line that gets some of its bytes this way and some the other is sent off twice.
#[cfg(target_arch = "x86_64")]
fn send<T: Element>(to: &mut [T], from: &[T]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    let head = to.as_ptr().align_offset(LINE).min(to.len());
    let lines = (to.len() - head) * size_of::<T>() / LINE;
    let end = head + lines * (LINE / size_of::<T>());
    to[..head].copy_from_slice(&from[..head]);
    to[end..].copy_from_slice(&from[end..]);
    let source = from[head..end].as_ptr().cast::<__m128i>();
    let target = to[head..end].as_mut_ptr().cast::<__m128i>();
    for index in 0..lines * (LINE / size_of::<__m128i>()) {
        // SAFETY: both slices have this many vectors, the target is aligned to them, and every processor of this
        // architecture has these instructions.
        unsafe { _mm_stream_si128(target.add(index), _mm_loadu_si128(source.add(index))) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Around, goes_around};

    #[test]
    fn any_part_of_any_length_arrives_and_nothing_beside_it() {
        let from: Vec<f32> = (0..70_u8).map(f32::from).collect();
        for first in 0..9 {
            for last in [first, first + 1, first + 7, 40, 70] {
                let mut to = vec![-1.0_f32; 70];
                Around::new(&mut to).send(first, &from[first..last]);
                let expected = |i: usize| {
                    if (first..last).contains(&i) {
                        from[i]
                    } else {
                        -1.0
                    }
                };
                assert!(
                    (0..70).all(|i| (to[i] - expected(i)).abs() < 1e-9),
                    "{first}..{last}"
                );
            }
        }
    }

    #[test]
    fn what_fits_into_a_cache_stays_there() {
        assert!(!goes_around(4096));
    }
}
