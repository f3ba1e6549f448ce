//! Memory of the host for elements: aligned, in huge pages where the system has some, and first touched by the threads
//! that will use it.
#![allow(unsafe_code)] // allocation by hand, for the alignment, the pages and the first touch

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use assay_protocol::{Digest, Failure};

use crate::device::{Team, chunk, memory};
use crate::element::{DType, Element};

/// Every buffer begins on a page, so that no vector straddles cache lines.
const PAGE: usize = 4096;
/// Larger buffers begin on a huge page, and ask for huge pages throughout: so memory is measured, and not the translation
/// of addresses, on systems that give them to all and on those that give them to who asks.
const HUGE_PAGE: usize = 2 << 20;
/// Chunks of members begin on a cache line (or the pair that is fetched together).
const LINE: usize = 128;

/// A fixed number of elements of one type, which may be none.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    dtype: DType,
    len: usize,
    layout: Layout,
}

// SAFETY: a buffer owns its memory, as a boxed slice does, and elements are `Send`.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads, and elements are `Sync`.
unsafe impl Sync for Buffer {}

/// An address that may cross threads.
struct Address(*mut u8);
// SAFETY: only `Buffer::zeroed` makes one, and its members write disjoint parts.
unsafe impl Sync for Address {}

impl Address {
    /// A method, so that closures capture the whole.
    fn get(&self) -> *mut u8 {
        self.0
    }
}

/// Elements in a cache line: the granule of chunks.
pub const fn granule<T: Element>() -> usize {
    LINE / size_of::<T>()
}

impl Buffer {
    /// `len` zeros. Each member of `team` touches its own chunk first, so that on a machine with several
    /// memories each thread's part lies in its own.
    pub fn zeroed(team: &Team, dtype: DType, len: usize) -> Result<Self, Failure> {
        let layout = layout(dtype, len)?;
        if layout.size() == 0 {
            // Aligned for every element, and never read.
            let start = NonNull::<u64>::dangling().cast();
            return Ok(Self {
                start,
                dtype,
                len,
                layout,
            });
        }
        // SAFETY: the size of the layout is not zero.
        let start = NonNull::new(unsafe { alloc(layout) })
            .ok_or_else(|| Failure::Skipped(format!("cannot allocate {} bytes", layout.size())))?;
        ask_for_huge_pages(start, layout);
        let address = Address(start.as_ptr());
        let members: Vec<usize> = (0..team.threads()).collect();
        team.each(members, |&mut index| {
            let part = chunk(len, LINE / dtype.bytes(), team.threads(), index);
            let (first, bytes) = (part.start * dtype.bytes(), part.len() * dtype.bytes());
            // SAFETY: parts are disjoint and inside the allocation; zero bytes are a valid element.
            unsafe { address.get().add(first).write_bytes(0, bytes) };
        });
        Ok(Self {
            start,
            dtype,
            len,
            layout,
        })
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its elements.
    ///
    /// # Panics
    /// If `T` is not the type of its elements.
    #[inline]
    pub fn get<T: Element>(&self) -> &[T] {
        self.assert_type::<T>();
        // SAFETY: `len` initialised elements of this type, aligned to a page, that live as long as the buffer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len) }
    }

    /// Its elements, to be written.
    ///
    /// # Panics
    /// If `T` is not the type of its elements.
    #[inline]
    pub fn get_mut<T: Element>(&mut self) -> &mut [T] {
        self.assert_type::<T>();
        // SAFETY: as in `get`, and borrowed exclusively with the buffer.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.len) }
    }

    fn assert_type<T: Element>(&self) {
        // Eight-bit floats have no type of their own on the host: they are read as their bits.
        let same = self.dtype == T::DTYPE || (self.dtype == DType::F8 && T::DTYPE == DType::U8);
        assert!(same, "a buffer of {} read as {}", self.dtype, T::DTYPE);
    }

    /// Element `index` as a number.
    ///
    /// # Panics
    /// If there is no such element, or if it is an eight-bit float.
    pub fn value(&self, index: usize) -> f64 {
        match self.dtype {
            DType::F64 => self.get::<f64>()[index],
            DType::F32 => self.get::<f32>()[index].into(),
            DType::F16 => self.get::<half::f16>()[index].into(),
            DType::Bf16 => self.get::<half::bf16>()[index].into(),
            DType::I8 => self.get::<i8>()[index].into(),
            DType::U8 => self.get::<u8>()[index].into(),
            DType::I32 => self.get::<i32>()[index].into(),
            DType::U32 => self.get::<u32>()[index].into(),
            DType::U64 => self.get::<u64>()[index] as f64,
            DType::F8 => unreachable!("eight-bit floats are read as their bits"),
        }
    }

    /// Its little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the whole allocation, initialised; any byte is a valid `u8`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }

    /// Its little-endian bytes, to be written: any bits are an element.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }

    /// Makes every element one that no right output has: one that an op fails to write shows.
    pub fn poison(&mut self, team: &Team) {
        let pattern = self.dtype.poison();
        let parts = team.split_mut(self.bytes_mut(), LINE);
        team.each(parts, |part| {
            part.chunks_exact_mut(pattern.len())
                .for_each(|element| element.copy_from_slice(pattern));
        });
    }

    /// A copy of its own.
    pub fn duplicate(&self, team: &Team) -> Result<Self, Failure> {
        let mut copy = Self::zeroed(team, self.dtype, self.len)?;
        copy.bytes_mut().copy_from_slice(self.bytes());
        Ok(copy)
    }

    /// SHA-256 of its little-endian bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes())
    }
}

fn layout(dtype: DType, len: usize) -> Result<Layout, Failure> {
    let too_large = || {
        Failure::Failed(format!(
            "a buffer of {len} elements is too large to address"
        ))
    };
    let bytes = len.checked_mul(dtype.bytes()).ok_or_else(too_large)?;
    memory::ensure_fits(bytes as u64)?;
    let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { PAGE };
    Layout::from_size_align(bytes, align).map_err(|_| too_large())
}

/// A wish: a system that has none goes on with small ones.
fn ask_for_huge_pages(start: NonNull<u8>, layout: Layout) {
    #[cfg(target_os = "linux")]
    if layout.align() == HUGE_PAGE {
        use rustix::mm::{Advice, madvise};
        // SAFETY: a fresh allocation of this size, which this advice leaves as it is.
        let _ = unsafe { madvise(start.as_ptr().cast(), layout.size(), Advice::LinuxHugepage) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, layout);
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated by `zeroed` with this very layout, and freed once.
            unsafe { dealloc(self.start.as_ptr(), self.layout) };
        }
    }
}

/// The buffers of a case on the host, in the order in which its program names them.
#[derive(Debug, Default)]
pub struct Buffers(pub Vec<Buffer>);

impl Buffers {
    /// The elements of one.
    ///
    /// # Panics
    /// If there is none of that number, or if it holds another type.
    #[inline]
    pub fn get<T: Element>(&self, index: usize) -> &[T] {
        self.0[index].get()
    }

    /// All before the last, which is number `last`, and the last.
    ///
    /// # Panics
    /// If that is not the number of the last one.
    pub fn split_last_mut(&mut self, last: usize) -> (&[Buffer], &mut Buffer) {
        assert_eq!(last + 1, self.0.len(), "the last buffer");
        let (before, last) = self.0.split_at_mut(last);
        (before, &mut last[0])
    }

    /// Several at once, each to be read or written.
    ///
    /// # Panics
    /// If there is none of some number, or if one is named twice.
    pub fn many<const N: usize>(&mut self, indices: [usize; N]) -> [&mut Buffer; N] {
        self.0
            .get_disjoint_mut(indices)
            .unwrap_or_else(|error| panic!("buffers {indices:?}: {error}"))
    }

    /// As [`Self::many`], of as many as there happen to be.
    ///
    /// # Panics
    /// The same.
    pub fn several(&mut self, indices: &[usize]) -> Vec<&mut Buffer> {
        let mut all: Vec<_> = self.0.iter_mut().map(Some).collect();
        let mut take = |index: &usize| all.get_mut(*index).and_then(Option::take);
        indices
            .iter()
            .map(|index| take(index).unwrap_or_else(|| panic!("buffer {index} of {indices:?}")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, HUGE_PAGE, PAGE};
    use crate::device::Team;
    use crate::element::DType;

    #[test]
    fn alignment_and_poison() {
        let team = Team::new(2).unwrap();
        let mut small = Buffer::zeroed(&team, DType::F64, 3).unwrap();
        assert_eq!(small.get::<f64>(), [0.0; 3]);
        small.poison(&team);
        assert_eq!(small.bytes().as_ptr().addr() % PAGE, 0);
        assert!(small.get::<f64>().iter().all(|x| x.is_nan()));
        let large = Buffer::zeroed(&team, DType::U8, HUGE_PAGE).unwrap();
        assert_eq!(large.bytes().as_ptr().addr() % HUGE_PAGE, 0);
    }

    #[test]
    fn nothing_is_a_size_too() {
        let team = Team::new(2).unwrap();
        let mut none = Buffer::zeroed(&team, DType::U64, 0).unwrap();
        none.poison(&team);
        assert!(none.is_empty() && none.get::<u64>().is_empty() && none.bytes().is_empty());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let team = Team::new(1).unwrap();
        for len in [1 << 45, usize::MAX / 4, usize::MAX] {
            assert!(Buffer::zeroed(&team, DType::F64, len).is_err(), "{len}");
        }
    }

    #[test]
    #[should_panic(expected = "a buffer of f64 read as f32")]
    fn another_type_is_refused() {
        let team = Team::new(1).unwrap();
        let _ = Buffer::zeroed(&team, DType::F64, 2).unwrap().get::<f32>();
    }
}
