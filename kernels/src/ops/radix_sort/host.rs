//! Radix sort on the host, by all threads of a team.

use std::ops::Range;
use std::sync::atomic::AtomicU32;

use super::{Columns, DIGITS, Places};
use crate::buffer::{Buffers, granule};
use crate::device::{Member, Team, chunk};
use crate::word::Word;

/// Tables of counts that a thread uses in turn, so that it need not wait for the count before where digits are equal.
const TABLES: usize = 4;

/// Keys, and payloads where there are any, that threads share.
#[derive(Clone, Copy)]
struct Table<'a> {
    keys: &'a [AtomicU32],
    payload: Option<&'a [AtomicU32]>,
}

/// Sorts the columns of the input, `iterations` times; returns nanoseconds.
pub fn run(team: &Team, buffers: &mut Buffers, places: Places<Columns>, iterations: u64) -> u64 {
    let shared = buffers.0.iter_mut();
    let mut shared: Vec<_> = shared
        .map(|buffer| Some(u32::share(buffer.get_mut())))
        .collect();
    let table = |columns: Columns| Table {
        keys: shared[columns.keys].take().expect("a column of one table"),
        payload: columns.payload.and_then(|payload| shared[payload].take()),
    };
    let sorter = Sorter {
        places: places.map(table),
        counts: (0..team.threads() * DIGITS)
            .map(|_| AtomicU32::new(0))
            .collect(),
        threads: team.threads(),
    };
    team.time(iterations, vec![(); team.threads()], |member, ()| {
        sorter.sort(member);
    })
}

/// What the threads of a team share.
struct Sorter<'a> {
    places: Places<Table<'a>>,
    /// How often each digit is there in each member's part, one member after the other.
    counts: Vec<AtomicU32>,
    threads: usize,
}

impl Sorter<'_> {
    fn sort(&self, member: &Member) {
        let len = self.places.input.keys.len();
        let part = chunk(len, granule::<u32>(), self.threads, member.index);
        for (pass, [from, to]) in self.places.passes().into_iter().enumerate() {
            let digit = |key| digit(key, 8 * pass as u32);
            let counts = count(&from.keys[part.clone()], digit);
            let own = &self.counts[member.index * DIGITS..][..DIGITS];
            own.iter()
                .zip(counts)
                .for_each(|(place, count)| u32::store(place, count));
            member.meet();
            distribute(from, to, part.clone(), self.begins(member.index), digit);
            member.meet();
        }
    }

    /// Where a member's keys of each digit go: behind all of lower digits, and those of the same digit in the parts before.
    fn begins(&self, index: usize) -> [usize; DIGITS] {
        let mut begins = [0; DIGITS];
        let mut next = 0;
        for (digit, begin) in begins.iter_mut().enumerate() {
            for member in 0..self.threads {
                if member == index {
                    *begin = next;
                }
                next += u32::load(&self.counts[member * DIGITS + digit]) as usize;
            }
        }
        begins
    }
}

fn digit(key: u32, shift: u32) -> usize {
    (key >> shift) as usize % DIGITS
}

/// How often each digit is there.
fn count(keys: &[AtomicU32], digit: impl Fn(u32) -> usize) -> [u32; DIGITS] {
    let mut tables = [[0; DIGITS]; TABLES];
    let (rows, rest) = keys.as_chunks::<TABLES>();
    for row in rows {
        for (table, key) in tables.iter_mut().zip(row) {
            table[digit(u32::load(key))] += 1;
        }
    }
    for key in rest {
        tables[0][digit(u32::load(key))] += 1;
    }
    std::array::from_fn(|digit| tables.iter().map(|table| table[digit]).sum())
}

/// Moves a part, in order, to the next places of each key's digit.
fn distribute(
    from: Table,
    to: Table,
    part: Range<usize>,
    mut next: [usize; DIGITS],
    digit: impl Fn(u32) -> usize,
) {
    let mut place = |key| {
        let next = &mut next[digit(key)];
        *next += 1;
        *next - 1
    };
    let keys = &from.keys[part.clone()];
    if let (Some(payload), Some(to_payload)) = (from.payload, to.payload) {
        for (key, payload) in keys.iter().zip(&payload[part]) {
            let (key, payload) = (u32::load(key), u32::load(payload));
            let place = place(key);
            u32::store(&to.keys[place], key);
            u32::store(&to_payload[place], payload);
        }
    } else {
        for key in keys {
            let key = u32::load(key);
            u32::store(&to.keys[place(key)], key);
        }
    }
}
