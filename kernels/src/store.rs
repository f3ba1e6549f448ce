//! Stores that go around the caches, for output that is larger than all of them.
//!
//! An ordinary store first reads the line that it writes to. Kernels that write what nobody reads soon save a third
//! of their traffic without that. Where their lines are cache lines they put them there from registers, so that reading and
//! writing go on together; else they compute a piece in a buffer that stays in the first cache, and send it off.
#![allow(unsafe_code)] // vector stores

use std::sync::atomic::{AtomicU32, Ordering};

use assay_protocol::MemoryLevel;

use crate::device::host;
use crate::element::Element;

/// Bytes of a cache line.
pub const LINE: usize = 64;

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

    /// Elements from `first` on that lie before the next beginning of a cache line.
    pub fn to_line(&self, first: usize) -> usize {
        self.0[first..].as_ptr().align_offset(LINE)
    }

    /// Whether the first element, and every one whose number is a multiple of `pitch`, begins a cache line.
    pub fn has_whole_lines(out: &[T], pitch: usize) -> bool {
        let is_line = |bytes: usize| bytes.is_multiple_of(LINE);
        is_line(out.as_ptr().addr()) && is_line(pitch.wrapping_mul(size_of::<T>()))
    }

    /// Writes whole cache lines to the elements from `first` on, the first of which begins one.
    ///
    /// # Panics
    /// If there are fewer elements, or if they begin elsewhere.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    pub fn put<const N: usize>(&mut self, first: usize, values: &[T; N]) {
        put_lines(
            self.0[first..].first_chunk_mut().expect("a place for each"),
            values,
        );
    }

    /// The elements from `first` on, for who stores whole lines to them himself: they begin one.
    ///
    /// # Panics
    /// If there are fewer, or if they begin elsewhere.
    pub fn lines(&mut self, first: usize, len: usize) -> &mut [T] {
        let lines = &mut self.0[first..][..len];
        assert!(
            lines.as_ptr().addr().is_multiple_of(LINE),
            "a line begins here"
        );
        lines
    }

    /// Copies `from` to the elements from `first` on.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn send(&mut self, first: usize, from: &[T]) {
        self.send_and_fetch(first, from, &[]);
    }

    /// As [`Self::send`], and fetches as much of `ahead` meanwhile, a line for a line: many at once would wait for each other.
    ///
    /// # Panics
    /// The same.
    pub fn send_and_fetch(&mut self, first: usize, from: &[T], ahead: &[T]) {
        send(&mut self.0[first..][..from.len()], from, ahead);
    }
}

impl<T> Drop for Around<'_, T> {
    fn drop(&mut self) {
        fence();
    }
}

/// Words of 32 bits in a cache line.
pub const LINE_WORDS: usize = LINE / size_of::<u32>();

/// Elements that several threads write, whole lines of them around the caches. All that was put is there when this is dropped.
#[derive(Debug)]
pub struct SharedAround<'a>(&'a [AtomicU32]);

impl<'a> SharedAround<'a> {
    /// The elements, the first of which begins a line.
    ///
    /// # Panics
    /// If it does not.
    pub fn new(out: &'a [AtomicU32]) -> Self {
        let is_line = out.as_ptr().addr().is_multiple_of(LINE);
        assert!(is_line || out.is_empty(), "a line begins here");
        Self(out)
    }

    /// Writes the line from element `first` on, which is a multiple of its length.
    ///
    /// # Safety
    /// No other thread reads or writes the line before this is dropped and they have met.
    ///
    /// # Panics
    /// If there are fewer elements, or if `first` begins no line.
    #[inline]
    pub unsafe fn put(&self, first: usize, values: &[u32; LINE_WORDS]) {
        assert!(first.is_multiple_of(LINE_WORDS), "a line begins here");
        let line = &self.0[first..first + LINE_WORDS];
        // SAFETY: as many elements, which nobody else looks at, and which may be written through a shared reference.
        put(unsafe { &mut *line.as_ptr().cast_mut().cast() }, values);
    }

    /// Writes one element, beside which others may write.
    #[inline]
    pub fn put_one(&self, place: usize, value: u32) {
        self.0[place].store(value, Ordering::Relaxed);
    }
}

impl Drop for SharedAround<'_> {
    fn drop(&mut self) {
        fence();
    }
}

/// Orders stores around the caches before all that follow.
fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Writes whole cache lines, the first of which begins one, around the caches: to a piece of an [`Around`], which orders that before
/// what follows.
///
/// # Panics
/// If they begin elsewhere.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn put_lines<T: Element, const N: usize>(to: &mut [T; N], values: &[T; N]) {
    const { assert!((N * size_of::<T>()).is_multiple_of(LINE), "whole lines") };
    assert!(
        to.as_ptr().addr().is_multiple_of(LINE),
        "a line begins here"
    );
    put(to, values);
}

/// Asks for the cache line of an element to be brought into the second cache.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn fetch<T>(element: &T) {
    fetch_behind(element, 0);
}

/// As [`fetch`], for what lies so many elements behind one, whether or not anything does.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn fetch_behind<T>(element: &T, elements: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction, which changes nothing but caches, wherever it points.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let address = std::ptr::from_ref(element).wrapping_add(elements);
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (element, elements);
}

#[cfg(not(target_arch = "x86_64"))]
fn put<T: Element, const N: usize>(to: &mut [T; N], values: &[T; N]) {
    *to = *values;
}

/// `to` begins with a cache line, and both are some of them. Later accesses are ordered as after [`send`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn put<T: Element, const N: usize>(to: &mut [T; N], values: &[T; N]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    if crate::simd::has_avx512() {
        let lines = N * size_of::<T>() / LINE;
        // SAFETY: both are so many lines, the target begins with one, and the processor has what it needs.
        unsafe { x86::put_lines(to.as_mut_ptr().cast(), values.as_ptr().cast(), lines) };
        return;
    }
    let (target, source): (*mut __m128i, *const __m128i) =
        (to.as_mut_ptr().cast(), values.as_ptr().cast());
    for index in 0..N * size_of::<T>() / size_of::<__m128i>() {
        // SAFETY: both have this many vectors, the target is aligned to them, and every processor of this
        // architecture has these instructions.
        unsafe { _mm_stream_si128(target.add(index), _mm_loadu_si128(source.add(index))) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn send<T: Element>(to: &mut [T], from: &[T], _: &[T]) {
    to.copy_from_slice(from);
}

/// The first two have one length. [`Around`] keeps the target to itself until a fence has ordered these stores before later accesses.
///
/// Only whole cache lines go around: a line that gets some of its bytes this way and some the other is sent off twice.
#[cfg(target_arch = "x86_64")]
fn send<T: Element>(to: &mut [T], from: &[T], ahead: &[T]) {
    let line = LINE / size_of::<T>();
    let head = to.as_ptr().align_offset(LINE).min(to.len());
    let lines = (to.len() - head) / line;
    let end = head + lines * line;
    to[..head].copy_from_slice(&from[..head]);
    to[end..].copy_from_slice(&from[end..]);
    let (to, from) = (&mut to[head..end], &from[head..end]);
    let ahead = ahead.as_ptr_range();
    let (to, from) = (to.as_mut_ptr().cast::<u8>(), from.as_ptr().cast::<u8>());
    let ahead = ahead.start.cast::<u8>()..ahead.end.cast::<u8>();
    // SAFETY: both have this many lines, those of the target begin with one, and the processor has what it needs.
    unsafe {
        if crate::simd::has_avx512() {
            x86::send_lines_at_once(to, from, lines, ahead);
        } else {
            x86::send_lines(to, from, lines, ahead);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm_stream_si128, _mm512_loadu_si512,
        _mm512_stream_si512,
    };
    use std::ops::Range;

    use super::LINE;

    /// Copies lines that are few, each in one store.
    ///
    /// # Safety
    /// Both must have as many lines, which begin with one in `to`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn put_lines(to: *mut u8, from: *const u8, lines: usize) {
        for at in (0..lines * LINE).step_by(LINE) {
            // SAFETY: a line.
            unsafe {
                _mm512_stream_si512(to.add(at).cast(), _mm512_loadu_si512(from.add(at).cast()));
            }
        }
    }

    macro_rules! send_lines {
        ($name:ident, $features:literal, $vector:ty, $load:path, $stream:path) => {
            /// Copies lines, and fetches as many of `ahead` as there are.
            ///
            /// # Safety
            /// Both must have as many lines, which begin with one in `to`, and the processor the features.
            #[target_feature(enable = $features)]
            pub unsafe fn $name(
                to: *mut u8,
                from: *const u8,
                lines: usize,
                ahead: Range<*const u8>,
            ) {
                for at in (0..lines * LINE).step_by(LINE) {
                    let next = ahead.start.wrapping_add(at);
                    if next < ahead.end {
                        _mm_prefetch::<_MM_HINT_T1>(next.cast());
                    }
                    for at in (at..at + LINE).step_by(size_of::<$vector>()) {
                        // SAFETY: inside a line.
                        unsafe { $stream(to.add(at).cast(), $load(from.add(at).cast())) };
                    }
                }
            }
        };
    }
    send_lines!(
        send_lines,
        "sse2",
        __m128i,
        _mm_loadu_si128,
        _mm_stream_si128
    );
    // In one store each: four of a quarter take twice as long on processors where that was measured.
    send_lines!(
        send_lines_at_once,
        "avx512f",
        std::arch::x86_64::__m512i,
        _mm512_loadu_si512,
        _mm512_stream_si512
    );
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

    /// Elements that begin with a cache line.
    #[repr(align(64))]
    struct Lines([u64; 32]);

    #[test]
    fn whole_lines_arrive_and_nothing_beside_them() {
        let mut to = Lines([7; 32]);
        assert!(Around::has_whole_lines(&to.0, 8) && !Around::has_whole_lines(&to.0, 12));
        assert!(!Around::has_whole_lines(&to.0[1..], 8));
        let values: [u64; 16] = std::array::from_fn(|i| 100 + i as u64);
        Around::new(&mut to.0).put(8, &values);
        let expected = |i: u64| if (8..24).contains(&i) { 92 + i } else { 7 };
        assert!(
            (0..32).all(|i| to.0[i as usize] == expected(i)),
            "{:?}",
            to.0
        );
    }

    #[test]
    #[should_panic(expected = "a line begins here")]
    fn a_part_of_a_line_is_refused() {
        let mut to = Lines([7; 32]);
        Around::new(&mut to.0).put(1, &[0; 8]);
    }

    #[test]
    fn what_fits_into_a_cache_stays_there() {
        assert!(!goes_around(4096));
    }
}
