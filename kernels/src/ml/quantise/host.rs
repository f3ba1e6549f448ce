//! Quantisation on the host, without branches, so that the compiler makes vectors of it.

use super::code::{Code, bits_of};
use super::{Per, Quantised};
use crate::buffer::granule;
use crate::device::Team;
use crate::simd::wide;
use crate::store::{Around, goes_around};

/// Codes that are computed at a time, before they go off.
const BLOCK: usize = 4096;

/// Codes of some rows, their numbers, and their scales.
type Rows<'a> = ((&'a mut [u8], &'a [f32]), &'a mut [f32]);

/// Quantises a matrix.
pub fn quantise(
    team: &Team,
    shape: Quantised,
    input: &[f32],
    codes: &mut [u8],
    scales: &mut [f32],
) {
    let is_large = goes_around(5 * input.len() as u64);
    match shape.per {
        Per::Tensor => {
            let largest = largest_of_all(team, input);
            let (scale, inverse) = shape.code.scaling(largest);
            scales.fill(scale);
            // Cut at lines of the codes.
            let granule = granule::<u8>();
            let parts = team.split_mut(codes, granule).into_iter();
            let parts = parts.zip(team.split(input, granule)).collect();
            team.each(parts, |(codes, input): &mut (&mut [u8], &[f32])| {
                encode_part(shape.code, input, inverse, codes, is_large);
            });
        }
        Per::Row => {
            let width = shape.cols.max(1);
            let parts = team.split_mut(codes, width).into_iter();
            let parts = parts
                .zip(team.split(input, width))
                .zip(team.split_mut(scales, 1))
                .collect();
            team.each(parts, |((codes, input), scales): &mut Rows| {
                quantise_rows(shape, input, codes, scales, is_large);
            });
        }
    }
}

fn quantise_rows(
    shape: Quantised,
    input: &[f32],
    codes: &mut [u8],
    scales: &mut [f32],
    is_large: bool,
) {
    for (row, scale) in scales.iter_mut().enumerate() {
        let place = row * shape.cols..(row + 1) * shape.cols;
        let input = &input[place.clone()];
        let inverse;
        (*scale, inverse) = shape.code.scaling(largest(input));
        encode_part(shape.code, input, inverse, &mut codes[place], is_large);
    }
}

fn largest_of_all(team: &Team, input: &[f32]) -> u32 {
    let parts = team.split(input, granule::<f32>());
    let mut found: Vec<_> = parts.into_iter().map(|part| (part, 0)).collect();
    let cells: Vec<_> = found.iter_mut().collect();
    team.each(cells, |(part, found)| *found = largest(part));
    found.iter().map(|(_, found)| *found).fold(0, u32::max)
}

/// Codes of some numbers, around the caches where they are large.
fn encode_part(code: Code, input: &[f32], inverse: f32, codes: &mut [u8], is_large: bool) {
    if !is_large {
        encode(code, input, inverse, codes);
        return;
    }
    let mut block = [0_u8; BLOCK];
    let mut around = Around::new(codes);
    for (index, input) in input.chunks(BLOCK).enumerate() {
        let block = &mut block[..input.len()];
        encode(code, input, inverse, block);
        around.send(index * BLOCK, block);
    }
}

/// Gives the numbers back.
pub fn dequantise(team: &Team, shape: Quantised, codes: &[u8], scales: &[f32], out: &mut [f32]) {
    let is_large = goes_around(5 * out.len() as u64);
    let granule = match shape.per {
        Per::Tensor => granule::<u8>(),
        Per::Row => shape.group(),
    };
    let parts = team.split_mut(out, granule).into_iter();
    let parts = parts.zip(team.split(codes, granule));
    // Of one scale every part has all of them.
    let parts: Vec<_> = match shape.per {
        Per::Tensor => parts.map(|part| (part, scales)).collect(),
        Per::Row => parts.zip(team.split(scales, 1)).collect(),
    };
    let group = shape.group();
    team.each(parts, |((out, codes), scales)| {
        for (row, scale) in scales.iter().enumerate() {
            let end = out.len().min((row + 1).saturating_mul(group));
            let place = (row * group).min(end)..end;
            let (out, codes) = (&mut out[place.clone()], &codes[place]);
            decode_part(shape.code, codes, *scale, out, is_large);
        }
    });
}

fn decode_part(code: Code, codes: &[u8], scale: f32, out: &mut [f32], is_large: bool) {
    if !is_large {
        decode(code, codes, scale, out);
        return;
    }
    let mut block = [0.0_f32; BLOCK];
    let mut around = Around::new(out);
    for (index, codes) in codes.chunks(BLOCK).enumerate() {
        let block = &mut block[..codes.len()];
        decode(code, codes, scale, block);
        around.send(index * BLOCK, block);
    }
}

wide! {
    /// The largest magnitude, by its bits.
    fn largest(numbers: &[f32]) -> u32 {
        numbers.iter().map(|x| bits_of(*x)).fold(0, u32::max)
    }

    fn encode(code: Code, input: &[f32], inverse: f32, codes: &mut [u8]) {
        match code {
            Code::I8 => codes.iter_mut().zip(input).for_each(|(code, x)| *code = integer(x * inverse)),
            Code::E4m3 => codes.iter_mut().zip(input).for_each(|(code, x)| *code = e4m3(x * inverse)),
            Code::E5m2 => codes.iter_mut().zip(input).for_each(|(code, x)| *code = e5m2(x * inverse)),
        }
    }

    fn decode(code: Code, codes: &[u8], scale: f32, out: &mut [f32]) {
        match code {
            Code::I8 => out.iter_mut().zip(codes).for_each(|(out, code)| {
                *out = f32::from(code.cast_signed()) * scale;
            }),
            Code::E4m3 => out.iter_mut().zip(codes).for_each(|(out, code)| {
                *out = widened::<3, 7, 0x7f>(*code) * scale;
            }),
            Code::E5m2 => out.iter_mut().zip(codes).for_each(|(out, code)| {
                *out = widened::<2, 15, 0x7c>(*code) * scale;
            }),
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn integer(x: f32) -> u8 {
    // Adding it leaves the nearest integer, ties to even, in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    let x = if x > 127.0 { 127.0 } else { x };
    let x = if x < -127.0 { -127.0 } else { x };
    let code = (x + ROUND).to_bits() as u8;
    if x.is_nan() { 0 } else { code }
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn e4m3(x: f32) -> u8 {
    narrowed::<3, 7, 0x7e>(x)
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn e5m2(x: f32) -> u8 {
    narrowed::<2, 15, 0x7b>(x)
}

/// The code with `FRACTION` bits of fraction and a bias, at most `MOST`.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn narrowed<const FRACTION: u32, const BIAS: u32, const MOST: u32>(x: f32) -> u8 {
    let dropped = 23 - FRACTION;
    let magnitude = bits_of(x);
    // The exponent of the other bias, then rounded to nearest, ties to even.
    let rebased = magnitude.wrapping_sub((127 - BIAS) << 23);
    let odd = rebased >> dropped & 1;
    let normal = rebased.wrapping_add((1 << (dropped - 1)) - 1 + odd) >> dropped;
    // A subnormal number is an integer times the least, 2^(1 - bias - fraction): adding 2^23 of those leaves it below.
    let unit = f32::from_bits((127 + 23 + 1 - BIAS - FRACTION) << 23);
    let subnormal = (f32::from_bits(magnitude) + unit).to_bits() - unit.to_bits();
    let is_normal = magnitude >= (127 + 1 - BIAS) << 23;
    let code = if is_normal { normal } else { subnormal };
    let code = if code > MOST { MOST } else { code };
    let signed = code | x.to_bits() >> 24 & 0x80;
    let is_none = magnitude > 0x7f80_0000;
    (if is_none { 0x7f } else { signed }) as u8
}

/// The number of a code; those whose magnitude is at least `SPECIAL` are none, or infinite in E5M2.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn widened<const FRACTION: u32, const BIAS: u32, const SPECIAL: u32>(code: u8) -> f32 {
    let magnitude = u32::from(code) & 0x7f;
    let placed = f32::from_bits(magnitude << (23 - FRACTION));
    // Brings the bias to that of `f32`, subnormal numbers too.
    let value = placed * f32::from_bits((127 + 127 - BIAS) << 23);
    let is_infinite = SPECIAL == 0x7c && magnitude == SPECIAL;
    let special = if is_infinite { f32::INFINITY } else { f32::NAN };
    let value = if magnitude >= SPECIAL { special } else { value };
    f32::from_bits(value.to_bits() | (u32::from(code) & 0x80) << 24)
}

#[cfg(test)]
mod tests {
    use super::super::code::{Code, Table};
    use super::{decode, encode};

    /// Numbers around every code and between them, and a stride through all there are.
    #[test]
    fn codes_are_the_nearest_of_all() {
        for code in Code::ALL {
            let table = Table::new(code);
            let strided = (0..=u32::MAX).step_by(65_521).map(f32::from_bits);
            let near = (0..=255_u8).flat_map(|bits| {
                let value = code.value(bits) as f32;
                let next = code.value(bits.saturating_add(1)) as f32;
                let middle = value + (next - value) / 2.0;
                [value, middle, middle.next_up(), middle.next_down()]
            });
            let numbers: Vec<f32> = strided.chain(near).collect();
            let mut codes = vec![0; numbers.len()];
            encode(code, &numbers, 1.0, &mut codes);
            for (x, found) in numbers.iter().zip(codes) {
                assert_eq!(found, table.nearest(*x), "{code:?} {x:e}");
            }
        }
    }

    #[test]
    fn codes_stand_for_their_values() {
        for code in Code::ALL {
            let codes: Vec<u8> = (0..=255).collect();
            let mut out = vec![0.0; 256];
            decode(code, &codes, 1.0, &mut out);
            for (bits, found) in codes.iter().zip(out) {
                let exact = code.value(*bits) as f32;
                let is_same = found.to_bits() == exact.to_bits();
                assert!(
                    is_same || (found.is_nan() && exact.is_nan()),
                    "{code:?} {bits:#x}"
                );
            }
        }
    }
}
