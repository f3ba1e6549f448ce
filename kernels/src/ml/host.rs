//! What bricks share on the host: rows and runs of elements dealt to threads, and results on their way to memory.

use std::ops::Range;

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

/// The rows of each member, in order and whole: those of a matrix of `rows` rows.
pub fn rows_of(team: &Team, rows: usize) -> Vec<Range<usize>> {
    let members = team.threads();
    (0..members).map(|i| chunk(rows, 1, members, i)).collect()
}

/// Divides a slice into the parts that belong to ranges of rows of `width`; ranges are adjacent and begin at 0.
pub fn split_rows<'a, T>(
    slice: &'a mut [T],
    rows: &[Range<usize>],
    width: usize,
) -> Vec<&'a mut [T]> {
    let mut rest = slice;
    let parts = rows.iter().map(|range| {
        let (part, later) = std::mem::take(&mut rest).split_at_mut(range.len() * width);
        rest = later;
        part
    });
    parts.collect()
}
