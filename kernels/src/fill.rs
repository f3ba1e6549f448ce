//! What buffers hold before the first iteration, made on the host. `cuda/fill.cu` makes the same bits on a GPU.

use assay_protocol::{Failure, Philox};
use half::{bf16, f16};

use crate::buffer::{Buffer, Buffers};
use crate::device::{Team, chunk};
use crate::element::{DType, Element, Real};
use crate::program::{BufferSpec, Fill};

/// Elements that a thread fills at a time: a multiple of every vector and of Philox's blocks.
const GRANULE: usize = 1024;

/// Allocates and fills all buffers of a program.
pub fn buffers(team: &Team, specs: &[BufferSpec], seed: u64) -> Result<Buffers, Failure> {
    let needed = specs.iter().map(|spec| spec.bytes() as u64);
    crate::device::memory::ensure_fits(needed.fold(0, u64::saturating_add))?;
    let make = |spec| buffer(team, spec, seed);
    specs
        .iter()
        .map(make)
        .collect::<Result<_, _>>()
        .map(Buffers)
}

/// Allocates and fills one buffer.
pub fn buffer(team: &Team, spec: &BufferSpec, seed: u64) -> Result<Buffer, Failure> {
    let mut buffer = Buffer::zeroed(team, spec.dtype, spec.len)?;
    fill(team, &mut buffer, &spec.fill, seed);
    Ok(buffer)
}

/// Fills a buffer that holds zeros.
pub fn fill(team: &Team, buffer: &mut Buffer, with: &Fill, seed: u64) {
    match with {
        Fill::Zero => {}
        Fill::Poison => buffer.poison(team),
        Fill::Signed { stream, scale } => {
            reals(team, buffer, Philox::new(seed, *stream), |x| {
                x * f64::from(*scale)
            });
        }
        Fill::Unit { stream } => {
            reals(team, buffer, Philox::new(seed, *stream), |x| x / 2.0 + 0.5);
        }
        Fill::Words { stream } => words(team, buffer, Philox::new(seed, *stream)),
        Fill::Below { stream, bound } => below(team, buffer, Philox::new(seed, *stream), *bound),
        Fill::Host(make) => make(buffer, seed),
    }
}

/// Calls `make(first, part)` for parts of a buffer, in parallel.
fn each<T: Element>(team: &Team, buffer: &mut Buffer, make: impl Fn(u64, &mut [T]) + Sync) {
    let len = buffer.len();
    let firsts = (0..team.threads()).map(|i| chunk(len, GRANULE, team.threads(), i).start);
    let parts = firsts
        .zip(team.split_mut(buffer.get_mut::<T>(), GRANULE))
        .collect();
    team.each(parts, |(first, part)| make(*first as u64, part));
}

/// Random numbers on [-1, 1), each changed by `map`, whose results the type holds exactly.
fn reals(team: &Team, buffer: &mut Buffer, random: Philox, map: impl Fn(f64) -> f64 + Sync) {
    fn typed<T: Real>(
        team: &Team,
        buffer: &mut Buffer,
        random: Philox,
        map: &(impl Fn(f64) -> f64 + Sync),
    ) {
        each::<T>(team, buffer, |first, part| {
            let mut wide = [0.0_f64; 256];
            for (index, part) in part.chunks_mut(wide.len()).enumerate() {
                let wide = &mut wide[..part.len()];
                random.fill_signed_f64(first + 256 * index as u64, wide);
                part.iter_mut()
                    .zip(&*wide)
                    .for_each(|(out, x)| *out = T::from_f64(map(*x)));
            }
        });
    }
    match buffer.dtype() {
        DType::F64 => typed::<f64>(team, buffer, random, &map),
        DType::F32 => typed::<f32>(team, buffer, random, &map),
        DType::F16 => typed::<f16>(team, buffer, random, &map),
        DType::Bf16 => typed::<bf16>(team, buffer, random, &map),
        other => unreachable!("real numbers in a buffer of {other}"),
    }
}

fn words(team: &Team, buffer: &mut Buffer, random: Philox) {
    match buffer.dtype() {
        DType::U32 => each::<u32>(team, buffer, |first, part| random.fill_words(first, part)),
        DType::I32 => each::<i32>(team, buffer, |first, part| {
            from_words(&random, first, part, u32::cast_signed);
        }),
        DType::I8 => each::<i8>(team, buffer, |first, part| {
            from_words(&random, first, part, |word| (word as u8).cast_signed());
        }),
        DType::U8 | DType::F8 => each::<u8>(team, buffer, |first, part| {
            from_words(&random, first, part, |word| word as u8);
        }),
        DType::U64 => each::<u64>(team, buffer, |first, part| {
            for (index, out) in part.iter_mut().enumerate() {
                let low = 2 * (first + index as u64);
                *out = u64::from(random.word(low)) | u64::from(random.word(low + 1)) << 32;
            }
        }),
        other => unreachable!("random bits in a buffer of {other}"),
    }
}

fn below(team: &Team, buffer: &mut Buffer, random: Philox, bound: u32) {
    each::<u32>(team, buffer, |first, part| {
        from_words(&random, first, part, |word| {
            ((u64::from(word) * u64::from(bound)) >> 32) as u32
        });
    });
}

fn from_words<T>(random: &Philox, first: u64, out: &mut [T], map: impl Fn(u32) -> T) {
    let mut words = [0_u32; 256];
    for (index, out) in out.chunks_mut(words.len()).enumerate() {
        let words = &mut words[..out.len()];
        random.fill_words(first + 256 * index as u64, words);
        out.iter_mut()
            .zip(&*words)
            .for_each(|(out, word)| *out = map(*word));
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::Philox;
    use half::bf16;

    use super::buffer;
    use crate::buffer::Buffer;
    use crate::device::Team;
    use crate::element::DType;
    use crate::program::{BufferSpec, Fill, Role};

    fn make(threads: usize, dtype: DType, len: usize, fill: Fill) -> Buffer {
        let spec = BufferSpec {
            name: "x".into(),
            dtype,
            len,
            role: Role::Input,
            fill,
        };
        buffer(&Team::new(threads).unwrap(), &spec, 7).unwrap()
    }

    #[test]
    fn the_same_bits_from_any_team() {
        let all = [DType::F64, DType::F32, DType::F16, DType::Bf16];
        for dtype in all {
            let one = make(1, dtype, 5001, Fill::signed(2));
            let three = make(3, dtype, 5001, Fill::signed(2));
            assert_eq!(one.bytes(), three.bytes());
            assert_ne!(one.bytes(), make(3, dtype, 5001, Fill::signed(3)).bytes());
        }
        for dtype in [
            DType::U64,
            DType::U32,
            DType::I32,
            DType::I8,
            DType::U8,
            DType::F8,
        ] {
            let fill = || Fill::Words { stream: 1 };
            assert_eq!(
                make(1, dtype, 5001, fill()).bytes(),
                make(3, dtype, 5001, fill()).bytes()
            );
        }
    }

    #[test]
    fn numbers_are_those_of_the_stream() {
        let random = Philox::new(7, 2);
        let signed = make(
            2,
            DType::F32,
            3000,
            Fill::Signed {
                stream: 2,
                scale: 8.0,
            },
        );
        let unit = make(2, DType::F32, 3000, Fill::Unit { stream: 2 });
        let half = make(2, DType::Bf16, 3000, Fill::signed(2));
        let words = make(2, DType::U64, 3000, Fill::Words { stream: 2 });
        let below = make(
            2,
            DType::U32,
            3000,
            Fill::Below {
                stream: 2,
                bound: 10,
            },
        );
        for i in [0, 1, 255, 256, 1023, 1024, 2999] {
            let x = random.signed_f32(i as u64);
            assert_eq!(signed.get::<f32>()[i].to_bits(), (x * 8.0).to_bits());
            assert_eq!(unit.get::<f32>()[i].to_bits(), (x * 0.5 + 0.5).to_bits());
            assert_eq!(half.get::<bf16>()[i], bf16::from_f32(x));
            let low = random.word(2 * i as u64);
            assert_eq!(words.get::<u64>()[i] as u32, low);
            assert_eq!(
                u64::from(below.get::<u32>()[i]),
                (u64::from(random.word(i as u64)) * 10) >> 32
            );
        }
        assert!(unit.get::<f32>().iter().all(|x| (0.0..1.0).contains(x)));
        assert!(below.get::<u32>().iter().all(|x| *x < 10));
    }
}
