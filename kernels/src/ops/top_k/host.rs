//! The largest on the host: each thread keeps what may be among them, and one sorts what all have kept.

use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};

use super::{key, rising};
use crate::buffer::{Buffers, granule};
use crate::device::{Team, chunk};
use crate::simd::wide;

/// Numbers that are passed over at once where none is large enough.
const BLOCK: usize = 256;

/// Finds the largest `iterations` times; returns nanoseconds.
pub fn run(
    team: &Team,
    buffers: &mut Buffers,
    [input, values, places]: [usize; 3],
    iterations: u64,
) -> u64 {
    let [input, values, places] = buffers.many([input, values, places]);
    let input = input.get::<f32>();
    let k = values.len();
    let out = Mutex::new((values.get_mut::<f32>(), places.get_mut::<u32>()));
    let kept: Vec<_> = (0..team.threads())
        .map(|_| Mutex::new(Kept::new(k)))
        .collect();
    team.time(iterations, vec![(); team.threads()], |member, ()| {
        let part = chunk(input.len(), granule::<f32>(), team.threads(), member.index);
        lock(&kept[member.index]).fill(&input[part.clone()], part.start);
        member.meet();
        if member.index == 0 {
            let mut all: Vec<u64> = kept
                .iter()
                .flat_map(|kept| lock(kept).keys.clone())
                .collect();
            all.sort_unstable_by_key(|key| Reverse(*key));
            let (values, places) = &mut *lock(&out);
            for ((value, place), key) in values.iter_mut().zip(places.iter_mut()).zip(all) {
                *place = !(key as u32);
                *value = input[*place as usize];
            }
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The largest keys so far, and some more.
struct Kept {
    keys: Vec<u64>,
    k: usize,
}

impl Kept {
    fn new(k: usize) -> Self {
        // Room for as many again, so that it is rarely looked through.
        Self {
            keys: Vec::with_capacity(2 * k + 2 * BLOCK),
            k,
        }
    }

    /// Keeps the largest of some numbers, whose places begin at `first`.
    fn fill(&mut self, numbers: &[f32], first: usize) {
        self.keys.clear();
        if self.k == 0 {
            return;
        }
        // What is kept is earlier than all that comes, so that of equal ones none is larger.
        let mut least = 0;
        for (index, block) in numbers.chunks(BLOCK).enumerate() {
            if largest(block) <= least {
                continue;
            }
            let place = first + index * BLOCK;
            let above = block
                .iter()
                .zip(place..)
                .filter(|(x, _)| rising(**x) > least);
            self.keys.extend(above.map(|(x, place)| key(*x, place)));
            if self.keys.len() > 2 * self.k + BLOCK {
                least = self.shrink();
            }
        }
        if self.keys.len() > self.k {
            self.shrink();
        }
    }

    /// Leaves the `k` largest, of more than those; gives the number of the least, as it rises.
    fn shrink(&mut self) -> u32 {
        let by_size = |key: &u64| Reverse(*key);
        let (_, least, _) = self.keys.select_nth_unstable_by_key(self.k - 1, by_size);
        let least = (*least >> 32) as u32;
        self.keys.truncate(self.k);
        least
    }
}

wide! {
    /// The largest of some numbers, as it rises; 0 of none.
    fn largest(numbers: &[f32]) -> u32 {
        numbers.iter().map(|x| rising(*x)).fold(0, u32::max)
    }
}
