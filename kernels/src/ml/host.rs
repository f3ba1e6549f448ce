//! What bricks share on the host: runs of elements, and results on their way to memory.

use crate::buffer::Buffer;
use crate::device::{Team, chunk};
use crate::lane::{self, Lane};
use crate::store::{self, Around};

/// Elements that are computed at a time where nothing else divides them: what is in between stays in the first cache.
pub const BLOCK: usize = 2048;

/// Results of a part of a buffer, rounded to its type: written around the caches where they are too large for them.
pub struct Sink<'a, T: Lane> {
    out: Target<'a, T>,
    room: Vec<T>,
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
        Self { out, room: vec![] }
    }

    /// Stores `values` as the elements from `first` of the part on.
    pub fn put(&mut self, first: usize, values: &[f32]) {
        match &mut self.out {
            Target::Cached(out) => lane::narrow(&mut out[first..][..values.len()], values),
            Target::Around(out) => {
                for (index, values) in values.chunks(BLOCK).enumerate() {
                    self.room.resize(values.len(), T::default());
                    lane::narrow(&mut self.room, values);
                    out.send(first + index * BLOCK, &self.room);
                }
            }
        }
    }
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
