//! The sums of a tile by the processor's own vectors.
//!
//! Left to itself the compiler puts shifted vectors together of parts and of what it loads again, which takes two to four times as
//! long. Sums of integers are exact, so the bits are the same.
#![allow(unsafe_code)] // vector instructions that take addresses, chosen at run time

use crate::store::{Around, LINE};
use crate::word::Word;

/// Writes `before` and the sums of the elements of `input`, whole lines of cache, up to each; gives that and all of them, and the sum of
/// `next`, so many whole lines at most, what lies behind which is asked for.
type Tile<T> = unsafe fn(out: &mut [T], input: &[T], next: &[T], before: T) -> [T; 2];

/// Elements that tiles are summed of.
pub trait Vectors: Word {
    /// The fastest on this machine, if it has vectors of whole lines: inclusive or not, around the caches (then `out` begins a line) or not.
    fn tile(inclusive: bool, around: bool) -> Option<Tile<Self>>;
}

macro_rules! vectors {
    ($($t:ident),+) => {$(
        impl Vectors for $t {
            fn tile(inclusive: bool, around: bool) -> Option<Tile<Self>> {
                #[cfg(target_arch = "x86_64")]
                if crate::simd::has_avx512() {
                    return Some(match (inclusive, around) {
                        (true, true) => x86::$t::<true, true>,
                        (true, false) => x86::$t::<true, false>,
                        (false, true) => x86::$t::<false, true>,
                        (false, false) => x86::$t::<false, false>,
                    });
                }
                let _ = (inclusive, around);
                None
            }
        }
    )+};
}
vectors!(u32, u64);

/// Puts the sums of what are whole lines of a tile; gives what is before the rest, the sum of the lines of `next`, and how many elements
/// lines have, of both. `None` where the processor has no such vectors.
///
/// # Panics
/// If results go `around` the caches and `out` begins no line, or is shorter than `input`.
pub fn lines<T: Vectors>(
    [inclusive, around]: [bool; 2],
    out: &mut [T],
    input: &[T],
    next: &[T],
    before: T,
) -> Option<([T; 2], [usize; 2])> {
    let tile = T::tile(inclusive, around)?;
    let of_line = LINE / size_of::<T>();
    let whole = [input, next].map(|part| part.len() / of_line * of_line);
    let next = &next[..whole[1].min(whole[0])];
    let mut sent;
    let out = if around {
        sent = Around::new(out);
        sent.lines(0, whole[0])
    } else {
        &mut out[..whole[0]]
    };
    // SAFETY: whole lines, as many of input and output, no more of `next`, which begin one where they have to; the processor has
    // what `tile` looked for.
    let sums = unsafe { tile(out, &input[..whole[0]], next, before) };
    Some((sums, [whole[0], next.len()]))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _MM_HINT_T1, _mm_prefetch, _mm512_add_epi32, _mm512_add_epi64, _mm512_alignr_epi32,
        _mm512_alignr_epi64, _mm512_loadu_si512, _mm512_permutexvar_epi32,
        _mm512_permutexvar_epi64, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512,
        _mm512_storeu_si512, _mm512_stream_si512, _mm512_sub_epi32, _mm512_sub_epi64,
    };

    use crate::store::LINE;

    /// How far ahead of the sum of the next tile memory is asked for.
    const AHEAD_BYTES: usize = 2 << 10;

    macro_rules! tile {
        ($t:ident, $signed:ident, $set:path, $add:path, $sub:path, $permute:path, $align:ident, [$($apart:literal),+]) => {
            /// As [`super::Tile`].
            #[target_feature(enable = "avx512f")]
            pub unsafe fn $t<const INCLUSIVE: bool, const AROUND: bool>(
                out: &mut [$t],
                input: &[$t],
                next: &[$t],
                before: $t,
            ) -> [$t; 2] {
                const LANES: usize = LINE / size_of::<$t>();
                let (none, last) = (_mm512_setzero_si512(), $set(LANES as $signed - 1));
                let (mut before, mut of_next) = ($set(before.cast_signed()), none);
                let (to, from, next_from) = (out.as_mut_ptr(), input.as_ptr(), next.as_ptr());
                for at in (0..input.len()).step_by(LANES) {
                    // SAFETY: a line of each; what is asked for may be anywhere.
                    unsafe {
                        if at < next.len() {
                            let line = next_from.add(at);
                            _mm_prefetch::<_MM_HINT_T1>(line.wrapping_byte_add(AHEAD_BYTES).cast());
                            of_next = $add(of_next, _mm512_loadu_si512(line.cast()));
                        }
                        let line = _mm512_loadu_si512(from.add(at).cast());
                        let mut sums = line;
                        $(sums = $add(sums, $align::<{ LANES as i32 - $apart }>(sums, none));)+
                        let own = if INCLUSIVE { sums } else { $sub(sums, line) };
                        let own = $add(own, before);
                        // Of all lanes, so that one line waits for the one before for an addition alone.
                        before = $add(before, $permute(last, sums));
                        if AROUND {
                            _mm512_stream_si512(to.add(at).cast(), own);
                        } else {
                            _mm512_storeu_si512(to.add(at).cast(), own);
                        }
                    }
                }
                let mut lanes = [[0; LANES]; 2];
                for (lanes, vector) in lanes.iter_mut().zip([before, of_next]) {
                    // SAFETY: a line.
                    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
                }
                let sum = |sum: $t, lane: $t| sum.wrapping_add(lane);
                [lanes[0][0], lanes[1].into_iter().fold(0, sum)]
            }
        };
    }
    tile!(
        u32,
        i32,
        _mm512_set1_epi32,
        _mm512_add_epi32,
        _mm512_sub_epi32,
        _mm512_permutexvar_epi32,
        _mm512_alignr_epi32,
        [1, 2, 4, 8]
    );
    tile!(
        u64,
        i64,
        _mm512_set1_epi64,
        _mm512_add_epi64,
        _mm512_sub_epi64,
        _mm512_permutexvar_epi64,
        _mm512_alignr_epi64,
        [1, 2, 4]
    );
}
