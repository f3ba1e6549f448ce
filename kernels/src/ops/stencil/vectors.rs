//! Rows by the processor's own vectors, to whole cache lines around the caches.
//!
//! Left to itself the compiler sees that the neighbours to the left of some points are those to the right of others, loads each
//! once, and puts vectors together of single numbers, which takes three times as long. Operations and their order are those of
//! [`super::point`], so the bits are, too.
#![allow(unsafe_code)] // vector instructions that take addresses, chosen at run time

use crate::element::DType;

/// Computes a row.
///
/// # Safety
/// `rows` are the addresses of the row of the input and of the four beside it, each of `bytes`, whole cache lines; there are as
/// many to write, which begin a line. `ahead` may be any address: what is there is fetched meanwhile. The processor can do
/// what [`best`] looked for.
pub type Row =
    unsafe fn(to: *mut u8, rows: [*const u8; 5], bytes: usize, weights: [f64; 2], ahead: *const u8);

/// The best for a type on this machine, if it has vectors of whole lines.
pub fn best(dtype: DType) -> Option<Row> {
    #[cfg(target_arch = "x86_64")]
    if crate::simd::has_avx512() {
        return match dtype {
            DType::F32 => Some(x86::row_f32),
            DType::F64 => Some(x86::row_f64),
            _ => None,
        };
    }
    let _ = dtype;
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __mmask8, __mmask16, _MM_HINT_T1, _mm_prefetch, _mm512_add_pd, _mm512_add_ps,
        _mm512_loadu_pd, _mm512_loadu_ps, _mm512_maskz_loadu_pd, _mm512_maskz_loadu_ps,
        _mm512_mul_pd, _mm512_mul_ps, _mm512_set1_pd, _mm512_set1_ps, _mm512_stream_pd,
        _mm512_stream_ps,
    };

    use crate::store::LINE;

    macro_rules! row {
        ($name:ident, $t:ty, $mask:ty, $set:path, $load:path, $some:path, $add:path, $mul:path, $stream:path) => {
            /// As [`super::Row`].
            #[target_feature(enable = "avx512f")]
            pub unsafe fn $name(
                to: *mut u8,
                rows: [*const u8; 5],
                bytes: usize,
                weights: [f64; 2],
                ahead: *const u8,
            ) {
                const ALL: $mask = <$mask>::MAX;
                let [of_centre, of_sum] = weights.map(|weight| $set(weight as $t));
                for at in (0..bytes).step_by(LINE) {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(at).cast());
                    // The first and the last point have one neighbour less: zero, which is not read.
                    let some_left = if at == 0 { ALL - 1 } else { ALL };
                    let some_right = if at + LINE == bytes { ALL >> 1 } else { ALL };
                    // SAFETY: a line of each row, and the neighbours that there are.
                    unsafe {
                        let load = |row: *const u8| $load(row.add(at).cast());
                        let (own, point) = (rows[0].add(at), size_of::<$t>());
                        let left = $some(some_left, own.wrapping_sub(point).cast());
                        let right = $some(some_right, own.wrapping_add(point).cast());
                        let (centre, north, south) = (load(rows[0]), load(rows[1]), load(rows[2]));
                        let (below, above) = (load(rows[3]), load(rows[4]));
                        let sum = $add(
                            $add($add(left, right), $add(north, south)),
                            $add(below, above),
                        );
                        let out = $add($mul(of_centre, centre), $mul(of_sum, sum));
                        $stream(to.add(at).cast(), out);
                    }
                }
            }
        };
    }
    row!(
        row_f32,
        f32,
        __mmask16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_add_ps,
        _mm512_mul_ps,
        _mm512_stream_ps
    );
    row!(
        row_f64,
        f64,
        __mmask8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_maskz_loadu_pd,
        _mm512_add_pd,
        _mm512_mul_pd,
        _mm512_stream_pd
    );
}
