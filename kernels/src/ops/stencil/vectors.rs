//! Rows by the processor's own vectors, to whole cache lines around the caches or to any place.
//!
//! Left to itself the compiler sees that the neighbours to the left of some points are those to the right of others, loads each
//! once, and puts vectors together of single numbers, which takes three times as long. Operations and their order are those of
//! [`super::point`], so the bits are, too.
#![allow(unsafe_code)] // vector instructions that take addresses, chosen at run time

use crate::element::DType;

/// Computes a row.
///
/// # Safety
/// `rows` are the addresses of the row of the input and of the four beside it, each of `bytes`, a whole number of points, at least
/// one; there are as many to write. `ahead` may be any address: what is there is fetched meanwhile. The processor can do what
/// [`best`] looked for. What streams writes whole cache lines, which begin at `to`.
pub type Row =
    unsafe fn(to: *mut u8, rows: [*const u8; 5], bytes: usize, weights: [f64; 2], ahead: *const u8);

/// The same row, stored in two ways.
#[derive(Clone, Copy)]
pub struct Rows {
    /// Around the caches.
    pub streaming: Row,
    /// To any place, of any length.
    pub storing: Row,
}

/// The best for a type on this machine, if it has vectors of whole lines.
pub fn best(dtype: DType) -> Option<Rows> {
    #[cfg(target_arch = "x86_64")]
    if crate::simd::has_avx512() {
        return match dtype {
            DType::F32 => Some(Rows {
                streaming: x86::row_f32::<true>,
                storing: x86::row_f32::<false>,
            }),
            DType::F64 => Some(Rows {
                streaming: x86::row_f64::<true>,
                storing: x86::row_f64::<false>,
            }),
            _ => None,
        };
    }
    let _ = dtype;
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512d, __mmask8, __mmask16, _MM_HINT_T1, _mm_prefetch, _mm512_add_pd,
        _mm512_add_ps, _mm512_loadu_pd, _mm512_loadu_ps, _mm512_mask_storeu_pd,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_pd, _mm512_maskz_loadu_ps, _mm512_mul_pd,
        _mm512_mul_ps, _mm512_set1_pd, _mm512_set1_ps, _mm512_storeu_pd, _mm512_storeu_ps,
        _mm512_stream_pd, _mm512_stream_ps,
    };

    use crate::store::LINE;

    macro_rules! row {
        ($name:ident, $t:ty, $mask:ty, $vector:ty, $set:path, $load:path, $some:path, $add:path, $mul:path,
         $stream:path, $store:path, $store_some:path) => {
            /// As [`super::Row`].
            #[target_feature(enable = "avx512f")]
            pub unsafe fn $name<const STREAMS: bool>(
                to: *mut u8,
                rows: [*const u8; 5],
                bytes: usize,
                weights: [f64; 2],
                ahead: *const u8,
            ) {
                const ALL: $mask = <$mask>::MAX;
                const POINT: usize = size_of::<$t>();
                let [of_centre, of_sum] = weights.map(|weight| $set(weight as $t));
                let weighted = |[left, right, centre, north, south, below, above]: [$vector; 7]| {
                    let sum = $add(
                        $add($add(left, right), $add(north, south)),
                        $add(below, above),
                    );
                    $add($mul(of_centre, centre), $mul(of_sum, sum))
                };
                // The first and the last point have one neighbour less: zero, which is not read.
                let some_left = |at: usize| if at == 0 { ALL - 1 } else { ALL };
                let whole = bytes / LINE * LINE;
                for at in (0..whole).step_by(LINE) {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(at).cast());
                    let some_right = if at + LINE == bytes { ALL >> 1 } else { ALL };
                    // SAFETY: a line of each row, and the neighbours that there are.
                    unsafe {
                        let load = |row: *const u8| $load(row.add(at).cast());
                        let own = rows[0].add(at);
                        let out = weighted([
                            $some(some_left(at), own.wrapping_sub(POINT).cast()),
                            $some(some_right, own.wrapping_add(POINT).cast()),
                            load(rows[0]),
                            load(rows[1]),
                            load(rows[2]),
                            load(rows[3]),
                            load(rows[4]),
                        ]);
                        if STREAMS {
                            $stream(to.add(at).cast(), out);
                        } else {
                            $store(to.add(at).cast(), out);
                        }
                    }
                }
                if STREAMS || whole == bytes {
                    return;
                }
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(whole).cast());
                let some: $mask = (1 << ((bytes - whole) / POINT)) - 1;
                // SAFETY: what is left of each row, and the neighbours that there are.
                unsafe {
                    let load = |row: *const u8| $some(some, row.add(whole).cast());
                    let own = rows[0].add(whole);
                    let out = weighted([
                        $some(some & some_left(whole), own.wrapping_sub(POINT).cast()),
                        $some(some >> 1, own.wrapping_add(POINT).cast()),
                        load(rows[0]),
                        load(rows[1]),
                        load(rows[2]),
                        load(rows[3]),
                        load(rows[4]),
                    ]);
                    $store_some(to.add(whole).cast(), some, out);
                }
            }
        };
    }
    row!(
        row_f32,
        f32,
        __mmask16,
        __m512,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_add_ps,
        _mm512_mul_ps,
        _mm512_stream_ps,
        _mm512_storeu_ps,
        _mm512_mask_storeu_ps
    );
    row!(
        row_f64,
        f64,
        __mmask8,
        __m512d,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_maskz_loadu_pd,
        _mm512_add_pd,
        _mm512_mul_pd,
        _mm512_stream_pd,
        _mm512_storeu_pd,
        _mm512_mask_storeu_pd
    );
}
