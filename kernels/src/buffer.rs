//! Memory for elements: aligned, and first touched by the threads that will use it.
#![allow(unsafe_code)] // allocation by hand, for the alignment and the first touch

use std::alloc::{Layout, alloc, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use assay_protocol::{Failure, Philox};

use crate::device::{Team, chunk, memory};
use crate::element::Element;

/// Every buffer begins on a page, so that no vector straddles cache lines.
const PAGE: usize = 4096;
/// Larger buffers begin on a huge page, so that the system can use huge pages throughout.
const HUGE_PAGE: usize = 2 << 20;
/// Chunks of members begin on a cache line (or the pair that is fetched together).
const LINE: usize = 128;

/// A fixed number of elements.
#[derive(Debug)]
pub struct Buffer<T: Element> {
    start: NonNull<T>,
    len: usize,
    layout: Layout,
}

// SAFETY: a buffer owns its memory, as a boxed slice does, and elements are `Send`.
unsafe impl<T: Element> Send for Buffer<T> {}
// SAFETY: shared access only reads, and elements are `Sync`.
unsafe impl<T: Element> Sync for Buffer<T> {}

/// An address that may cross threads.
struct Address<T>(*mut T);
// SAFETY: only `Buffer::new` makes one, and its members write disjoint parts.
unsafe impl<T: Element> Sync for Address<T> {}

impl<T: Element> Address<T> {
    /// A method, so that closures capture the whole.
    fn get(&self) -> *mut T {
        self.0
    }
}

impl<T: Element> Buffer<T> {
    /// Elements in a cache line: the granule of chunks.
    pub const GRANULE: usize = LINE / size_of::<T>();

    /// `len` zeros, at least one. Each member of `team` touches its own chunk first, so that on a machine with
    /// several memories each thread's part lies in its own.
    pub fn zeroed(team: &Team, len: usize) -> Result<Self, Failure> {
        let layout = layout::<T>(len)?;
        // SAFETY: the layout has a size above zero, since `layout` refuses empty buffers.
        let start = unsafe { alloc(layout) }.cast::<T>();
        let start = NonNull::new(start)
            .ok_or_else(|| Failure::Skipped(format!("cannot allocate {} bytes", layout.size())))?;
        let address = Address(start.as_ptr());
        let members: Vec<usize> = (0..team.threads()).collect();
        team.each(members, |&mut index| {
            let part = chunk(len, Self::GRANULE, team.threads(), index);
            // SAFETY: parts are disjoint and inside the allocation; zero bytes are a valid element.
            unsafe { address.get().add(part.start).write_bytes(0, part.len()) };
        });
        Ok(Self { start, len, layout })
    }

    /// As [`Self::zeroed`], with every element poisoned: an output that an op fails to write shows.
    pub fn poisoned(team: &Team, len: usize) -> Result<Self, Failure> {
        let mut buffer = Self::zeroed(team, len)?;
        team.each(team.split_mut(&mut buffer, Self::GRANULE), |part| {
            part.fill(T::POISON);
        });
        Ok(buffer)
    }

    /// As [`Self::zeroed`], with random numbers: stream `stream` under `seed`, uniform on [-1, 1), each changed by `map`.
    pub fn random(
        team: &Team,
        len: usize,
        seed: u64,
        stream: u64,
        map: impl Fn(T) -> T + Sync,
    ) -> Result<Self, Failure> {
        let mut buffer = Self::zeroed(team, len)?;
        let random = Philox::new(seed, stream);
        let firsts =
            (0..team.threads()).map(|i| chunk(len, Self::GRANULE, team.threads(), i).start);
        let tasks = firsts
            .zip(team.split_mut(&mut buffer, Self::GRANULE))
            .collect();
        team.each(tasks, |(first, part)| {
            T::fill_signed(&random, *first as u64, part);
            part.iter_mut().for_each(|value| *value = map(*value));
        });
        Ok(buffer)
    }
}

fn layout<T: Element>(len: usize) -> Result<Layout, Failure> {
    let failed = |what| Failure::Failed(format!("a buffer of {len} elements {what}"));
    if len == 0 {
        return Err(failed("has nothing in it"));
    }
    let bytes = len
        .checked_mul(size_of::<T>())
        .ok_or_else(|| failed("is too large to address"))?;
    memory::ensure_fits(bytes as u64)?;
    let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { PAGE };
    Layout::from_size_align(bytes, align).map_err(|_| failed("is too large to address"))
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `zeroed` with this very layout, and freed once.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) };
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements that live as long as the buffer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `len` initialised elements, borrowed exclusively with the buffer.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, HUGE_PAGE, PAGE};
    use crate::device::Team;

    #[test]
    fn inputs_have_the_same_bits_for_any_team() {
        let one = Buffer::<f32>::random(&Team::new(1).unwrap(), 1001, 7, 2, |x| x).unwrap();
        let three = Buffer::<f32>::random(&Team::new(3).unwrap(), 1001, 7, 2, |x| x).unwrap();
        assert_eq!(&*one, &*three);
        let other = Buffer::<f32>::random(&Team::new(3).unwrap(), 1001, 7, 3, |x| x).unwrap();
        assert_ne!(&*one, &*other);
    }

    #[test]
    fn alignment_and_poison() {
        let team = Team::new(2).unwrap();
        let small = Buffer::<f64>::poisoned(&team, 3).unwrap();
        assert_eq!(small.as_ptr().addr() % PAGE, 0);
        assert!(small.iter().all(|x| x.is_nan()));
        let large = Buffer::<f64>::zeroed(&team, HUGE_PAGE / 8).unwrap();
        assert_eq!(large.as_ptr().addr() % HUGE_PAGE, 0);
        assert!(large.iter().all(|x| *x == 0.0));
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let team = Team::new(1).unwrap();
        for len in [0, 1 << 45, usize::MAX / 4, usize::MAX] {
            assert!(Buffer::<f64>::zeroed(&team, len).is_err(), "{len}");
        }
    }
}
