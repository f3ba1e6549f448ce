//! Tiles of the output in registers: some pixels by some filters, for the instructions of this machine.
#![allow(unsafe_code)] // calling functions compiled for more than the baseline

#[cfg(target_arch = "x86_64")]
use crate::simd::{has_avx2, has_avx512};

/// Defines a function over `ROWS` pixels and `COLS` filters, `FUSED` or not, in the version that fits this machine: 12 by
/// 32 where vectors have 16 lanes, 6 by 16 where they have 8, and 6 by 8.
macro_rules! in_tiles {
    ($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        #[allow(unsafe_code)]
        fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($arg: $ty),*) {
                    $body::<12, 32, true>($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    $body::<6, 16, true>($($arg),*);
                }
                match $crate::ops::conv2d::tile::best() {
                    // SAFETY: the processor has every feature that the function enables.
                    [12, 32] => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    [6, 16] => return unsafe { avx2($($arg),*) },
                    _ => {}
                }
            }
            $body::<6, 8, false>($($arg),*);
        }
    };
}
pub(super) use in_tiles;

/// Pixels and filters of a tile.
pub fn best() -> [usize; 2] {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            return [12, 32];
        }
        if has_avx2() {
            return [6, 16];
        }
    }
    [6, 8]
}

/// A tile, which registers hold, and the products of each pixel's elements with those of each filter added to it, place by place.
/// All pixels have as many elements as there are places, or more.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn add_products<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    mut tile: [[f32; COLS]; ROWS],
    pixels: &[impl AsRef<[f32]>; ROWS],
    filters: &[[f32; COLS]],
) -> [[f32; COLS]; ROWS] {
    // All of one length, so that no place is beyond the end of one.
    let mut lines = [&[][..]; ROWS];
    for (line, pixel) in lines.iter_mut().zip(pixels) {
        *line = &pixel.as_ref()[..filters.len()];
    }
    for (place, filters) in filters.iter().enumerate() {
        for (sums, line) in tile.iter_mut().zip(&lines) {
            let a = line[place];
            for (sum, b) in sums.iter_mut().zip(filters) {
                *sum = if FUSED {
                    a.mul_add(*b, *sum)
                } else {
                    *sum + a * b
                };
            }
        }
    }
    tile
}

/// Stores sums, as many as there are places for.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn store<const COLS: usize>(places: &mut [f32], sums: &[f32; COLS]) {
    if let Some(places) = places.first_chunk_mut() {
        *places = *sums;
    } else {
        places.copy_from_slice(&sums[..places.len()]);
    }
}

/// Adds sums to what is there, as many as there are places for.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn add<const COLS: usize>(places: &mut [f32], sums: &[f32; COLS]) {
    if let Some(places) = places.first_chunk_mut::<COLS>() {
        places.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
    } else {
        places.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
    }
}
