//! Radix sort on the host, by all threads of a team.
//!
//! Where the columns leave the caches, keys of one digit are kept until they are a cache line, which then goes around the
//! caches: software write-combining, after O. Polychroniou, K. A. Ross, "A comprehensive study of main-memory
//! partitioning and its application to large-scale comparison- and radix-sort", SIGMOD 2014, section 3.2.2. Stored one by one,
//! each would find its line gone to memory again.
#![allow(unsafe_code)] // stores around the caches

use std::ops::Range;
use std::sync::atomic::AtomicU32;

use super::{Columns, DIGITS, Places};
use crate::buffer::{Buffers, granule};
use crate::device::{Member, Team, chunk};
use crate::simd::wide;
use crate::store::{self, LINE_WORDS as LINE, SharedAround};
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
    let places = places.map(table);
    let columns = if places.input.payload.is_some() { 2 } else { 1 };
    let bytes = 2 * columns * size_of_val(places.input.keys) as u64;
    let sorter = Sorter {
        around: store::goes_around(bytes),
        places,
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
    /// Whether keys are written around the caches.
    around: bool,
}

impl Sorter<'_> {
    fn sort(&self, member: &Member) {
        let len = self.places.input.keys.len();
        let part = chunk(len, granule::<u32>(), self.threads, member.index);
        for (pass, [from, to]) in self.places.passes().into_iter().enumerate() {
            let shift = 8 * pass as u32;
            let counts = count(&from.keys[part.clone()], |key| digit(key, shift));
            let own = &self.counts[member.index * DIGITS..][..DIGITS];
            own.iter()
                .zip(counts)
                .for_each(|(place, count)| u32::store(place, count));
            member.meet();
            let begins = self.begins(member.index);
            if self.around {
                distribute_around(from, to, part.clone(), &begins, shift);
            } else {
                distribute(from, to, part.clone(), begins, |key| digit(key, shift));
            }
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

/// What of a column is on its way to each digit's next places: the line that they lie in.
struct Lines<'a> {
    to: SharedAround<'a>,
    lines: Box<[Line; DIGITS]>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u32; LINE]);

impl<'a> Lines<'a> {
    fn new(to: &'a [AtomicU32]) -> Self {
        let lines = vec![Line([0; LINE]); DIGITS].into_boxed_slice();
        Self {
            to: SharedAround::new(to),
            lines: lines.try_into().ok().expect("a line for each digit"),
        }
    }

    /// Keeps an element for its place, and sends the line off if it is the last in there.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn put(&mut self, digit: usize, place: usize, begins: &[usize; DIGITS], value: u32) {
        let Line(line) = &mut self.lines[digit];
        line[place % LINE] = value;
        if place % LINE + 1 == LINE {
            self.send(digit, begins[digit], place + 1);
        }
    }

    /// Writes what was kept for the places before `end`, in the line that ends there or later, from `begin` on.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn send(&self, digit: usize, begin: usize, end: usize) {
        let (first, Line(line)) = ((end - 1) / LINE * LINE, &self.lines[digit]);
        if first >= begin && end == first + LINE {
            // SAFETY: all places of the line are this member's.
            unsafe { self.to.put(first, line) };
        } else {
            for place in begin.max(first)..end {
                self.to.put_one(place, line[place % LINE]);
            }
        }
    }

    /// Writes what is left, given each digit's next place.
    fn finish(self, begins: &[usize; DIGITS], next: &[usize; DIGITS]) {
        for (digit, (begin, next)) in begins.iter().zip(next).enumerate() {
            if next > begin && !next.is_multiple_of(LINE) {
                self.send(digit, *begin, *next);
            }
        }
    }
}

wide! {
    /// As [`distribute`], around the caches.
    fn distribute_around(from: Table, to: Table, part: Range<usize>, begins: &[usize; DIGITS], shift: u32) {
        let mut next = *begins;
        let mut keys = Lines::new(to.keys);
        let from_keys = &from.keys[part.clone()];
        let mut place = |digit: usize| {
            next[digit] += 1;
            next[digit] - 1
        };
        if let (Some(payload), Some(to_payload)) = (from.payload, to.payload) {
            let mut payloads = Lines::new(to_payload);
            for (key, payload) in from_keys.iter().zip(&payload[part]) {
                let (key, payload) = (u32::load(key), u32::load(payload));
                let digit = digit(key, shift);
                let place = place(digit);
                keys.put(digit, place, begins, key);
                payloads.put(digit, place, begins, payload);
            }
            payloads.finish(begins, &next);
        } else {
            for key in from_keys {
                let key = u32::load(key);
                let digit = digit(key, shift);
                keys.put(digit, place(digit), begins, key);
            }
        }
        keys.finish(begins, &next);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{DIGITS, Table, distribute, distribute_around};
    use crate::buffer::Buffer;
    use crate::device::Team;
    use crate::element::DType;
    use crate::word::Word;

    /// Two members, whose digits meet within lines; of some digits there is nothing, of some several lines.
    #[test]
    fn whole_lines_and_single_stores_give_the_same() {
        let random = assay_protocol::Philox::new(3, 0);
        for len in [0_usize, 1, 15, 16, 33, 2000] {
            let team = Team::new(1).unwrap();
            let mut buffers = [(); 6].map(|()| Buffer::zeroed(&team, DType::U32, len).unwrap());
            for (i, key) in buffers[0].get_mut::<u32>().iter_mut().enumerate() {
                *key = random.word(i as u64) % 7 * (random.word(i as u64) % 11);
            }
            buffers[1]
                .get_mut::<u32>()
                .iter_mut()
                .zip(0..)
                .for_each(|(payload, i)| *payload = i);
            let [keys, payload, plain, plain_payload, lines, lines_payload] = buffers
                .each_mut()
                .map(|buffer| u32::share(buffer.get_mut()));
            let from = Table {
                keys,
                payload: Some(payload),
            };
            let to_plain = Table {
                keys: plain,
                payload: Some(plain_payload),
            };
            let to_lines = Table {
                keys: lines,
                payload: Some(lines_payload),
            };
            let digit = |key: u32| key as usize % DIGITS;
            let half = len / 3;
            for part in [0..half, half..len] {
                let before = |d: usize| {
                    let lower = keys.iter().filter(|key| digit(u32::load(key)) < d).count();
                    let earlier = keys[..part.start].iter();
                    lower + earlier.filter(|key| digit(u32::load(key)) == d).count()
                };
                let begins = std::array::from_fn(before);
                distribute(from, to_plain, part.clone(), begins, digit);
                distribute_around(from, to_lines, part.clone(), &begins, 0);
            }
            let same = |(a, b): (&super::AtomicU32, &super::AtomicU32)| {
                a.load(Ordering::Relaxed) == b.load(Ordering::Relaxed)
            };
            assert!(plain.iter().zip(lines).all(same), "{len}");
            assert!(plain_payload.iter().zip(lines_payload).all(same), "{len}");
        }
    }
}
