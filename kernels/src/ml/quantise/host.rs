//! Quantisation on the host, without branches, so that the compiler makes vectors of it.

use super::code::{Code, bits_of};
use super::{Per, Quantised};
use crate::buffer::granule;
use crate::device::Team;
use crate::lane::WIDTH;
use crate::ml::host::fetch;
use crate::simd::wide;
use crate::store::{Around, goes_around};

/// Codes that are computed at a time, before they go off: few, so that memory and arithmetic go on together.
const BLOCK: usize = 512;

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
                encode_part(shape.code, [input, &[]], inverse, codes, is_large);
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

/// Quantises what shares a scale, one group after the other, by this thread.
pub fn quantise_groups(shape: Quantised, input: &[f32], codes: &mut [u8], scales: &mut [f32]) {
    let groups = input
        .chunks(shape.group())
        .zip(codes.chunks_mut(shape.group()));
    for ((input, codes), scale) in groups.zip(scales) {
        let inverse;
        (*scale, inverse) = shape.code.scaling(largest(input));
        encode(shape.code, input, inverse, codes);
    }
}

/// Gives the numbers of what shares a scale back, one group after the other, by this thread.
pub fn dequantise_groups(shape: Quantised, codes: &[u8], scales: &[f32], out: &mut [f32]) {
    let groups = codes
        .chunks(shape.group())
        .zip(out.chunks_mut(shape.group()));
    for ((codes, out), scale) in groups.zip(scales) {
        decode(shape.code, codes, *scale, out);
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
        // What comes next is on its way while this is gone over again.
        let (_, next) = input.split_at(place.end);
        let input = &input[place.clone()];
        let inverse;
        (*scale, inverse) = shape.code.scaling(largest(input));
        encode_part(
            shape.code,
            [input, next],
            inverse,
            &mut codes[place],
            is_large,
        );
    }
}

fn largest_of_all(team: &Team, input: &[f32]) -> u32 {
    let parts = team.split(input, granule::<f32>());
    let mut found: Vec<_> = parts.into_iter().map(|part| (part, 0)).collect();
    let cells: Vec<_> = found.iter_mut().collect();
    team.each(cells, |(part, found)| *found = largest(part));
    found.iter().map(|(_, found)| *found).fold(0, u32::max)
}

/// Codes of some numbers, around the caches where they are large; then as many of those that come `next` are fetched.
fn encode_part(
    code: Code,
    [input, next]: [&[f32]; 2],
    inverse: f32,
    codes: &mut [u8],
    is_large: bool,
) {
    if !is_large {
        encode(code, input, inverse, codes);
        return;
    }
    let mut block = [0_u8; BLOCK];
    let mut around = Around::new(codes);
    for (index, input) in input.chunks(BLOCK).enumerate() {
        let first = index * BLOCK;
        fetch(
            next.get(first..)
                .map_or(&[], |next| &next[..next.len().min(input.len())]),
        );
        let block = &mut block[..input.len()];
        encode(code, input, inverse, block);
        around.send(first, block);
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
        let len = out.len();
        let rows = scales.iter().enumerate().map(|(row, scale)| {
            let end = len.min((row + 1).saturating_mul(group));
            ((row * group).min(end)..end, *scale)
        });
        if is_large {
            let mut around = Around::new(out);
            for (place, scale) in rows {
                let codes = &codes[place.clone()];
                match shape.code {
                    Code::I8 => decode_around::<I8>(codes, scale, &mut around, place.start),
                    Code::E4m3 => decode_around::<E4m3>(codes, scale, &mut around, place.start),
                    Code::E5m2 => decode_around::<E5m2>(codes, scale, &mut around, place.start),
                }
            }
        } else {
            for (place, scale) in rows {
                decode(shape.code, &codes[place.clone()], scale, &mut out[place]);
            }
        }
    });
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
            Code::I8 => decode_some::<I8>(codes, scale, out),
            Code::E4m3 => decode_some::<E4m3>(codes, scale, out),
            Code::E5m2 => decode_some::<E5m2>(codes, scale, out),
        }
    }

    /// Gives numbers back from `first` on, around the caches: from registers, so that memory and arithmetic go on together.
    fn decode_around<F: Format>(codes: &[u8], scale: f32, out: &mut Around<f32>, first: usize) {
        let head = out.to_line(first).min(codes.len());
        let whole = head + (codes.len() - head) / WIDTH * WIDTH;
        for range in [0..head, whole..codes.len()] {
            let mut values = [0.0; WIDTH];
            decode_some::<F>(&codes[range.clone()], scale, &mut values);
            out.send(first + range.start, &values[..range.len()]);
        }
        for start in (head..whole).step_by(WIDTH) {
            let line = codes[start..].first_chunk::<WIDTH>().expect("a whole line");
            let mut values = [0.0; WIDTH];
            decode_some::<F>(line, scale, &mut values);
            out.put(first + start, &values);
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn decode_some<F: Format>(codes: &[u8], scale: f32, out: &mut [f32]) {
    for (out, code) in out.iter_mut().zip(codes) {
        *out = F::number(*code) * scale;
    }
}

/// What codes stand for.
trait Format {
    /// The number of one.
    fn number(code: u8) -> f32;
}

struct I8;
struct E4m3;
struct E5m2;

impl Format for I8 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn number(code: u8) -> f32 {
        code.cast_signed().into()
    }
}

impl Format for E4m3 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn number(code: u8) -> f32 {
        widened::<3, 7, 0x7f>(code)
    }
}

impl Format for E5m2 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn number(code: u8) -> f32 {
        widened::<2, 15, 0x7c>(code)
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
    let value = (placed * f32::from_bits((127 + 127 - BIAS) << 23)).to_bits();
    // All bits of the exponent: infinite where no bit of the fraction is set.
    let special = value | 0x7f80_0000;
    let value = if magnitude >= SPECIAL { special } else { value };
    f32::from_bits(value | (u32::from(code) & 0x80) << 24)
}

#[cfg(test)]
mod tests {
    use super::super::code::{Code, Table};
    use super::{E4m3, E5m2, I8, decode, decode_around, encode};
    use crate::store::Around;

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

    /// From any place, of any length, and nothing beside them.
    #[test]
    fn around_the_caches_come_the_same_numbers() {
        let codes: Vec<u8> = (0..700_u16).map(|i| (i % 251) as u8).collect();
        for code in Code::ALL {
            for (first, len) in [(0, 700), (3, 5), (16, 64), (17, 513), (100, 31), (0, 0)] {
                let mut right = vec![-1.0; 800];
                decode(code, &codes[..len], 0.5, &mut right[first..first + len]);
                let mut out = vec![-1.0_f32; 800];
                let mut around = Around::new(&mut out);
                match code {
                    Code::I8 => decode_around::<I8>(&codes[..len], 0.5, &mut around, first),
                    Code::E4m3 => decode_around::<E4m3>(&codes[..len], 0.5, &mut around, first),
                    Code::E5m2 => decode_around::<E5m2>(&codes[..len], 0.5, &mut around, first),
                }
                drop(around);
                for (found, right) in out.iter().zip(&right) {
                    let is_same = found.to_bits() == right.to_bits();
                    assert!(
                        is_same || (found.is_nan() && right.is_nan()),
                        "{code:?} {first} {len}"
                    );
                }
            }
        }
    }
}
