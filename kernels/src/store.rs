//! Stores that go around the caches, for output that is larger than all of them.
//!
//! An ordinary store first reads the line that it writes to. Kernels that write what nobody reads soon save a third
//! of their traffic without that. They compute a piece in a buffer that stays in a near cache, and send it off.
#![allow(unsafe_code)] // vector stores

use assay_protocol::MemoryLevel;

use crate::device::host;
use crate::element::Real;

/// Whether buffers of `bytes` altogether are better written around the caches.
pub fn goes_around(bytes: u64) -> bool {
    cfg!(target_arch = "x86_64") && host::level_of(bytes) == Some(MemoryLevel::Dram)
}

/// Copies `from` to `to`, around the caches where the processor can. Pieces of some kilobytes are best: each waits until it is
/// on its way.
///
/// # Panics
/// If the lengths differ.
pub fn send<T: Real>(to: &mut [T], from: &[T]) {
    assert_eq!(to.len(), from.len(), "lengths of a copy");
    #[cfg(target_arch = "x86_64")]
    send_lines(to, from);
    #[cfg(not(target_arch = "x86_64"))]
    to.copy_from_slice(from);
}

#[cfg(target_arch = "x86_64")]
fn send_lines<T: Real>(to: &mut [T], from: &[T]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    const VECTOR: usize = size_of::<__m128i>();
    // SAFETY: any bits are a number of either type.
    let (head, vectors, _) = unsafe { to.align_to_mut::<__m128i>() };
    let (head, vectors) = (head.len(), vectors.len());
    let whole = head + vectors * VECTOR / size_of::<T>();
    to[..head].copy_from_slice(&from[..head]);
    to[whole..].copy_from_slice(&from[whole..]);
    let source = from[head..whole].as_ptr().cast::<__m128i>();
    let target = to[head..whole].as_mut_ptr().cast::<__m128i>();
    for index in 0..vectors {
        // SAFETY: both slices have this many vectors, the target is aligned to them, and every processor of this
        // architecture has these instructions.
        unsafe { _mm_stream_si128(target.add(index), _mm_loadu_si128(source.add(index))) };
    }
    // SAFETY: as before. It orders these stores before all later ones, so that the memory model knows nothing of them.
    unsafe { _mm_sfence() };
}

#[cfg(test)]
mod tests {
    use super::{goes_around, send};

    #[test]
    fn any_part_of_any_length_arrives_and_nothing_beside_it() {
        let from: Vec<f32> = (0..70_u8).map(f32::from).collect();
        for first in 0..9 {
            for last in [first, first + 1, first + 7, 40, 70] {
                let mut to = vec![-1.0_f32; 70];
                send(&mut to[first..last], &from[first..last]);
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
