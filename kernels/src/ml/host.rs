//! What bricks share on the host: runs of elements, and results on their way to memory.
//!
//! Memory and arithmetic go on together where runs are short: while the processor computes one, what it will read next is on
//! its way, and what it wrote last, too. Rows that are gone over twice ask for the next row meanwhile ([`fetch`]).

use std::ops::Range;

use crate::buffer::Buffer;
use crate::device::{Team, chunk};
use crate::lane::{self, Lane};
use crate::store::{self, Around};

/// Elements that are computed at a time: some lines of cache, no more than the processor has in flight at once.
pub const BLOCK: usize = 128;

/// Results of a part of a buffer, rounded to its type: written around the caches where they are too large for them.
pub struct Sink<'a, T: Lane> {
    out: Target<'a, T>,
    room: [T; BLOCK],
}

enum Target<'a, T> {
    Cached(&'a mut [T]),
    Around(Around<'a, T>),
}

impl<'a, T: Lane> Sink<'a, T> {
    /// For a part of a buffer of a brick that moves `traffic` bytes altogether.
    pub fn new(out: &'a mut [T], traffic: usize) -> Self {
        let out = if store::goes_around(traffic as u64) {
            Target::Around(Around::new(out))
        } else {
            Target::Cached(out)
        };
        let room = [T::default(); BLOCK];
        Self { out, room }
    }

    /// Stores at most [`BLOCK`] `values` as the elements from `first` of the part on.
    fn put(&mut self, first: usize, values: &[f32]) {
        match &mut self.out {
            Target::Cached(out) => lane::narrow(&mut out[first..][..values.len()], values),
            Target::Around(out) => out.send(first, T::narrow_all(values, &mut self.room)),
        }
    }

    /// Elements from `first` of the part on to where a cache line ends, if results go around the caches.
    fn to_line(&self, first: usize) -> usize {
        match &self.out {
            Target::Cached(_) => 0,
            Target::Around(out) => out.to_line(first),
        }
    }

    /// Stores the `len` elements from `first` of the part on as `compute(range, values)` gives them, a run of at most [`BLOCK`]
    /// at a time, with its places among them. All but the first run begin with a line of cache, so that whole lines are written.
    pub fn compute(
        &mut self,
        first: usize,
        len: usize,
        mut compute: impl FnMut(Range<usize>, &mut [f32]),
    ) {
        let mut values = [0.0; BLOCK];
        let mut end = self.to_line(first).min(len);
        let mut start = 0;
        while start < len {
            if end > start {
                let values = &mut values[..end - start];
                compute(start..end, values);
                self.put(first + start, values);
            }
            start = end;
            end = len.min(start + BLOCK);
        }
    }
}

/// Asks for numbers that will be read soon.
pub fn fetch<T>(numbers: &[T]) {
    for line in numbers.chunks(store::LINE / size_of::<T>()) {
        store::fetch(&line[0]);
    }
}

/// Each row of a matrix, and the one that comes after it: of the last one, itself.
pub fn rows_ahead<T>(matrix: &[T], cols: usize) -> impl Iterator<Item = [&[T]; 2]> {
    let after = matrix.chunks_exact(cols).skip(1);
    let after = after.chain(matrix.chunks_exact(cols).last());
    matrix
        .chunks_exact(cols)
        .zip(after)
        .map(|(row, next)| [row, next])
}

/// Computes elements from those at the same places of `N` inputs, a run of at most [`BLOCK`] at a time:
/// `run(first, inputs, outputs)` with the number of the run's first element.
pub fn pointwise<T: Lane, const N: usize, const M: usize>(
    team: &Team,
    inputs: [&Buffer; N],
    outputs: [&mut Buffer; M],
    run: impl Fn(usize, [&[f32]; N], [&mut [f32]; M]) + Sync,
) {
    let len = outputs[0].len();
    let traffic = (N + M) * len * size_of::<T>();
    let inputs = inputs.map(Buffer::get::<T>);
    let mut outputs =
        outputs.map(|output| team.split_mut(output.get_mut::<T>(), BLOCK).into_iter());
    let parts = (0..team.threads()).map(|index| {
        let first = chunk(len, BLOCK, team.threads(), index).start;
        let outputs = outputs
            .each_mut()
            .map(|parts| parts.next().unwrap_or_default());
        (first, outputs)
    });
    team.each(parts.collect(), |(first, outputs)| {
        let len = outputs[0].len();
        let mut sinks = outputs.each_mut().map(|out| Sink::new(out, traffic));
        let mut rooms = [[0.0; BLOCK]; N];
        let mut values = [[0.0; BLOCK]; M];
        for start in (0..len).step_by(BLOCK) {
            let count = BLOCK.min(len - start);
            let at = *first + start;
            let mut each_room = rooms.iter_mut();
            let wide = inputs.map(|input| match each_room.next() {
                Some(room) => T::widen_all(&input[at..at + count], &mut room[..count]),
                None => unreachable!("a room for each input"),
            });
            run(
                at,
                wide,
                values.each_mut().map(|values| &mut values[..count]),
            );
            for (sink, values) in sinks.iter_mut().zip(&values) {
                sink.put(start, &values[..count]);
            }
        }
    });
}
