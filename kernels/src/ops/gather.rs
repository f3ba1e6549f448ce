//! Access by random indices: `gather` (`out[i] = table[index[i]]`) and `scatter` (`out[index[i]] = in[i]`).
//!
//! Gather's indices are uniform on the table, which has as many elements as there are indices; scatter's are a
//! permutation, so that its result is determined. Source: P. Lavin et al., "Spatter: a tool for
//! evaluating gather/scatter performance", MEMSYS 2020, its uniformly random pattern. Work with `n` elements of
//! type `T`, each index, each element read and each element written counted once: `n (4 + 2 sizeof T)`
//! bytes. Elements are bits, and results are exact.
//!
//! What bounds them on the host is not bandwidth, since a whole line moves for each element, but how many lines a core can
//! wait for at once: `benches/limits.c` measures loads at random places alone.

use assay_protocol::{Failure, MemoryLevel, Work};
use rayon::prelude::*;

use super::{EVERYWHERE, Op, OpInfo};
use crate::buffer::{Buffer, Buffers, granule};
use crate::check;
use crate::device::{Team, host};
use crate::element::{DType, with_real};
use crate::parameters::{self, Arguments};
use crate::permutation::Permutation;
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};
use crate::store::{self, Around};
use crate::word::{DTYPES, Word};

static SOURCE: Source = cuda_source!("memory/gather.cu");
/// Random streams.
const DATA_STREAM: u64 = 0;
const INDEX_STREAM: u64 = 1;

/// Access by random indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// Reads where the indices say.
    Gather,
    /// Writes where the indices say.
    Scatter,
}

impl Op for Indexed {
    fn info(&self) -> OpInfo {
        let (name, summary) = match self {
            Self::Gather => ("gather", "out[i] = table[index[i]], indices random"),
            Self::Scatter => (
                "scatter",
                "out[index[i]] = in[i], indices a random permutation",
            ),
        };
        OpInfo {
            name,
            summary,
            parameters: vec![parameters::integer("elements"), parameters::dtype(DTYPES)],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        with_real!(
            arguments.dtype(DTYPES)?,
            [U32 = u32, U64 = u64],
            program(*self, arguments)
        )
    }
}

fn program<T: Word>(op: Indexed, arguments: &Arguments) -> Result<Program, Failure> {
    let elements = arguments.size("elements")?;
    let bound = u32::try_from(elements)
        .map_err(|_| Failure::Failed("parameter `elements`: more than 32 bits can index".into()))?;
    let per_element = 4 + 2 * size_of::<T>() as u64;
    let mut program = Program::new(Work {
        bytes: Some(per_element * elements as u64),
        flops: Some(0),
        items: Some(elements as u64),
        formula: "bytes = n (4 + 2 sizeof(T)), flops = 0, items = n; n = elements".into(),
    });
    let words = Fill::Words {
        stream: DATA_STREAM,
    };
    let (kernel, name, indices) = match op {
        Indexed::Gather => ("gather", "table", below(bound)),
        Indexed::Scatter => ("scatter", "in", permuted(bound)),
    };
    let data = program.input(name, T::DTYPE, elements, words);
    let index = program.input("index", DType::U32, elements, indices);
    let out = program.output("out", T::DTYPE, elements);
    program.on_cpu(move |team, buffers, iterations| match op {
        Indexed::Gather => run_gather::<T>(team, buffers, iterations),
        Indexed::Scatter => run_scatter::<T>(team, buffers, iterations),
    });
    program.launch(launch::<T>(kernel, elements, [out, data, index]));
    program.check(move |outcome| check::<T>(op, outcome, [data, index, out]));
    Ok(program)
}

fn below(bound: u32) -> Fill {
    Fill::Below {
        stream: INDEX_STREAM,
        bound: bound.max(1),
    }
}

fn permuted(len: u32) -> Fill {
    Fill::Host(Box::new(move |buffer: &mut Buffer, seed: u64| {
        let permutation = Permutation::new(len, seed, INDEX_STREAM);
        let index = buffer.get_mut::<u32>().par_iter_mut().zip(0..len);
        index.for_each(|(index, i)| *index = permutation.at(i));
    }))
}

fn launch<T: Word>(kernel: &str, elements: usize, buffers: [usize; 3]) -> Launch {
    const THREADS: u32 = 256;
    const PER_THREAD: usize = 8;
    let name = format!("{kernel}<{}>", T::DTYPE.cuda());
    let grid = blocks(elements, PER_THREAD * THREADS as usize, u32::MAX);
    Launch::new(&SOURCE, name, grid, THREADS)
        .args(buffers.map(Arg::Buffer))
        .args([Arg::size(elements)])
}

fn run_gather<T: Word>(team: &Team, buffers: &mut Buffers, iterations: u64) -> u64 {
    let (inputs, out) = buffers.split_last_mut(2);
    let (table, index) = (inputs[0].get::<T>(), inputs[1].get::<u32>());
    let granule = granule::<T>();
    let parts = team
        .split_mut(out.get_mut::<T>(), granule)
        .into_iter()
        .zip(team.split(index, granule));
    let is_far = is_far(table);
    let bytes = 2 * size_of_val(table) + size_of_val(index);
    let around = store::goes_around(bytes as u64);
    team.time(iterations, parts.collect(), |_, (out, index)| {
        if around {
            gather_around(&mut Around::new(out), table, index);
        } else if is_far {
            gather_far(out, table, index);
        } else {
            gather(out, table, index);
        }
    })
}

fn gather<T: Word>(out: &mut [T], table: &[T], index: &[u32]) {
    for (out, index) in out.iter_mut().zip(index) {
        *out = table[*index as usize];
    }
}

/// As [`gather`], of elements that are fetched before.
fn gather_far<T: Word>(out: &mut [T], table: &[T], index: &[u32]) {
    for (out, (index, ahead)) in out.chunks_mut(BATCH).zip(with_ahead(index)) {
        for ahead in ahead {
            store::fetch(&table[*ahead as usize]);
        }
        gather(out, table, index);
    }
}

/// As [`gather_far`], written around the caches.
fn gather_around<T: Word>(out: &mut Around<T>, table: &[T], index: &[u32]) {
    let mut batch = [T::default(); BATCH];
    for (number, (index, ahead)) in with_ahead(index).enumerate() {
        for ahead in ahead {
            store::fetch(&table[*ahead as usize]);
        }
        let batch = &mut batch[..index.len()];
        gather(batch, table, index);
        out.send(number * BATCH, batch);
    }
}

/// Elements that are fetched before as many others are moved: the loads alone wait for memory, a few at a time.
const BATCH: usize = 16;
/// How many batches ahead.
const AHEAD: usize = 16;

/// Whether elements at random places come from further away than a core's own caches.
fn is_far<T>(elements: &[T]) -> bool {
    host::level_of(size_of_val(elements) as u64) > Some(MemoryLevel::L2)
}

/// Batches of indices, each with the one that is to be fetched meanwhile; of the first ones that are none is fetched.
fn with_ahead(index: &[u32]) -> impl Iterator<Item = (&[u32], &[u32])> {
    let ahead = index
        .chunks(BATCH)
        .skip(AHEAD)
        .map(Some)
        .chain(std::iter::repeat(None));
    let batches = index.chunks(BATCH).zip(ahead);
    batches.map(|(batch, ahead)| (batch, ahead.unwrap_or_default()))
}

fn run_scatter<T: Word>(team: &Team, buffers: &mut Buffers, iterations: u64) -> u64 {
    let (inputs, out) = buffers.split_last_mut(2);
    let granule = granule::<T>();
    let parts = team
        .split(inputs[0].get::<T>(), granule)
        .into_iter()
        .zip(team.split(inputs[1].get::<u32>(), granule));
    // Every member may write anywhere.
    let out = T::share(out.get_mut::<T>());
    let is_far = is_far(out);
    team.time(iterations, parts.collect(), |_, (input, index)| {
        let mut input = input.iter();
        let mut scatter = |index: &[u32]| {
            for (index, input) in index.iter().zip(&mut input) {
                T::store(&out[*index as usize], *input);
            }
        };
        if !is_far {
            return scatter(index);
        }
        for (index, ahead) in with_ahead(index) {
            for ahead in ahead {
                store::fetch(&out[*ahead as usize]);
            }
            scatter(index);
        }
    })
}

fn check<T: Word>(op: Indexed, outcome: &Outcome, [data, index, out]: [usize; 3]) -> Checked {
    let (data, out) = (outcome.get::<T>(data), outcome.get::<T>(out));
    let index = outcome.get::<u32>(index);
    let error = check::worst(index.len(), |i| {
        let at = index[i] as usize;
        let (found, exact) = match op {
            Indexed::Gather => (out[i], data[at]),
            Indexed::Scatter => (out[at], data[i]),
        };
        f64::from(found != exact)
    });
    Checked {
        error,
        tolerance: 0.0,
        detail: "1 if any element is not the one that its index says, else 0".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{gather, gather_around, gather_far};
    use crate::store::Around;

    #[test]
    fn all_ways_to_gather_give_the_same() {
        for len in [0, 1, 15, 16, 17, 300, 1000] {
            let table: Vec<u64> = (0..=len as u64).map(|i| i * i).collect();
            let index: Vec<u32> = (0..len as u32)
                .map(|i| i * 7919 % (len as u32 + 1))
                .collect();
            let [mut plain, mut far, mut around] = [(); 3].map(|()| vec![u64::MAX; len]);
            gather(&mut plain, &table, &index);
            gather_far(&mut far, &table, &index);
            gather_around(&mut Around::new(&mut around), &table, &index);
            assert!(plain == far && plain == around, "{len}");
        }
    }
}
