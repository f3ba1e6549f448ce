//! A team of threads that run a kernel together, many iterations in a row.
//!
//! The others are called once per batch of iterations, not once per iteration: waking a sleeping thread
//! takes longer than a small kernel does. Within the batch, members meet at a barrier after
//! each iteration, as an `OpenMP` loop would, and the clock is read when all are awake. The calling
//! thread is member 0, and the whole of a team of one.

use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use assay_protocol::Failure;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::barrier::{Barrier, Patience};
use super::crew::Crew;

/// Some threads.
#[derive(Debug)]
pub struct Team {
    threads: usize,
    /// Those beside the calling one; `None` for a team of one.
    crew: Option<Crew>,
    /// As many, for libraries that bring work of their own; from when the first one does.
    pool: OnceLock<ThreadPool>,
}

/// A thread of a team, inside an iteration.
#[derive(Debug)]
pub struct Member<'a> {
    /// Its number, from 0.
    pub index: usize,
    /// Number of the iteration, from 0.
    pub iteration: u64,
    barrier: &'a Barrier<'a>,
}

impl Member<'_> {
    /// Waits until all members are here; what they wrote before is visible after.
    #[inline]
    pub fn meet(&self) {
        self.barrier.wait();
    }

    /// Waits until something holds that another member brings about without waiting for this one.
    #[inline]
    pub fn wait_until(&self, holds: impl Fn() -> bool) {
        self.barrier.wait_until(holds);
    }
}

impl Team {
    /// A team of `threads` threads, at least one.
    pub fn new(threads: usize) -> Result<Self, Failure> {
        let crew = match threads {
            0 => return Err(Failure::Failed("a team needs at least one thread".into())),
            1 => None,
            _ => Some(
                Crew::new(threads - 1)
                    .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?,
            ),
        };
        Ok(Self {
            threads,
            crew,
            pool: OnceLock::new(),
        })
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `body` `iterations` times on every task, one task per member, and returns the nanoseconds
    /// between the moment when all members were ready and the moment when all had finished.
    ///
    /// An iteration begins when all members have finished the one before. The compiler cannot see
    /// through to the next iteration, so none is merged or left out.
    ///
    /// # Panics
    /// If there are not as many tasks as threads, or if `body` panics.
    pub fn time<T: Send>(
        &self,
        iterations: u64,
        mut tasks: Vec<T>,
        body: impl Fn(&Member, &mut T) + Sync,
    ) -> u64 {
        assert_eq!(tasks.len(), self.threads, "one task per thread");
        let Some(crew) = &self.crew else {
            let patience = Patience::default();
            let alone = Barrier::new(1, &patience);
            return time_member(0, iterations, &alone, &mut tasks[0], &body);
        };
        let barrier = Barrier::new(self.threads, crew.patience());
        let tasks: Vec<_> = tasks.into_iter().map(Mutex::new).collect();
        let elapsed_ns = AtomicU64::new(0);
        crew.run(&|index| {
            let _guard = barrier.guard();
            // Each lock has one user; it is only there to hand `&mut` to another thread.
            let mut task = tasks[index].lock().unwrap_or_else(PoisonError::into_inner);
            let ns = time_member(index, iterations, &barrier, &mut *task, &body);
            if index == 0 {
                elapsed_ns.store(ns, Ordering::Relaxed);
            }
        });
        elapsed_ns.into_inner()
    }

    /// Runs `body` once on every task, one task per member.
    pub fn each<T: Send>(&self, tasks: Vec<T>, body: impl Fn(&mut T) + Sync) {
        self.time(1, tasks, |_, task| body(task));
    }

    /// Runs `body` on every task, however many there are: each goes to the member that is free first, in their order.
    pub fn deal<T: Send>(&self, tasks: Vec<T>, body: impl Fn(T) + Sync) {
        self.deal_with(tasks, || (), |(), task| body(task));
    }

    /// As [`Self::deal`], with something that `make` makes for each member and that its tasks use in turn.
    pub fn deal_with<T: Send, S>(
        &self,
        tasks: Vec<T>,
        make: impl Fn() -> S + Sync,
        body: impl Fn(&mut S, T) + Sync,
    ) {
        let tasks = Mutex::new(tasks.into_iter());
        let next = || {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.next()
        };
        self.each(vec![(); self.threads], |()| {
            let mut own = make();
            while let Some(task) = next() {
                body(&mut own, task);
            }
        });
    }

    /// Times `iterations` calls of `body`, which finds as many threads as the team has as the current rayon pool.
    ///
    /// # Panics
    /// If they cannot be started.
    pub fn time_installed(&self, iterations: u64, mut body: impl FnMut() + Send) -> u64 {
        let mut batch = move || {
            let start = Instant::now();
            for _ in 0..iterations {
                body();
            }
            nanoseconds(start)
        };
        if self.threads == 1 {
            return batch();
        }
        let pool = ThreadPoolBuilder::new().num_threads(self.threads);
        let pool = self.pool.get_or_init(|| pool.build().expect("threads"));
        pool.install(batch)
    }

    /// Splits `slice` into one contiguous piece per member, at multiples of `granule` elements.
    pub fn split_mut<'a, T>(&self, slice: &'a mut [T], granule: usize) -> Vec<&'a mut [T]> {
        let len = slice.len();
        let mut rest = slice;
        (0..self.threads)
            .map(|index| {
                let (piece, later) = std::mem::take(&mut rest)
                    .split_at_mut(chunk(len, granule, self.threads, index).len());
                rest = later;
                piece
            })
            .collect()
    }

    /// The pieces of [`Self::split_mut`], shared.
    pub fn split<'a, T>(&self, slice: &'a [T], granule: usize) -> Vec<&'a [T]> {
        (0..self.threads)
            .map(|index| &slice[chunk(slice.len(), granule, self.threads, index)])
            .collect()
    }
}

/// What one member does in a batch.
fn time_member<T>(
    index: usize,
    iterations: u64,
    barrier: &Barrier,
    task: &mut T,
    body: impl Fn(&Member, &mut T),
) -> u64 {
    barrier.wait();
    let start = Instant::now();
    for iteration in 0..iterations {
        let member = Member {
            index,
            iteration,
            barrier,
        };
        body(&member, black_box(&mut *task));
        barrier.wait();
    }
    nanoseconds(start)
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The part of `0..len` that belongs to member `index` of `members`: contiguous, in order, at
/// multiples of `granule`, and as even as that allows.
pub fn chunk(len: usize, granule: usize, members: usize, index: usize) -> Range<usize> {
    let granules = len.div_ceil(granule);
    // In 128 bits, since the product may not fit.
    let bound = |i: usize| (granules as u128 * i as u128 / members as u128) as usize;
    let start = (bound(index) * granule).min(len);
    let end = (bound(index + 1) * granule).min(len);
    start..end
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Team, chunk};

    proptest! {
        #[test]
        fn chunks_partition_in_order(len in 0usize..10_000, granule in 1usize..100, members in 1usize..20) {
            let mut next = 0;
            for index in 0..members {
                let range = chunk(len, granule, members, index);
                prop_assert_eq!(range.start, next);
                prop_assert!(range.end == len || range.end.is_multiple_of(granule));
                prop_assert!(range.len() <= (len.div_ceil(granule)).div_ceil(members) * granule);
                next = range.end;
            }
            prop_assert_eq!(next, len);
        }
    }

    #[test]
    fn iterations_wait_for_each_other() {
        for threads in [1, 2, 5] {
            let team = Team::new(threads).unwrap();
            let done = AtomicU64::new(0);
            team.time(100, vec![(); threads], |member, ()| {
                let before = done.fetch_add(1, Ordering::Relaxed);
                assert_eq!(before / threads as u64, member.iteration);
            });
            assert_eq!(done.into_inner(), 100 * threads as u64);
        }
    }

    #[test]
    fn every_task_is_done_once() {
        for threads in [1, 3] {
            let mut done = vec![0; 1000];
            let tasks = done.iter_mut().enumerate().collect();
            Team::new(threads)
                .unwrap()
                .deal_with(tasks, Vec::new, |seen, (index, done)| {
                    *done += 1;
                    assert!(seen.last().is_none_or(|last| *last < index));
                    seen.push(index);
                });
            assert!(done.iter().all(|count| *count == 1));
        }
    }

    #[test]
    fn a_panic_of_one_member_ends_the_batch() {
        let team = Team::new(3).unwrap();
        for bad in 0..3 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                team.time(10, vec![(); 3], |member, ()| {
                    assert!(member.index != bad || member.iteration != 4, "on purpose");
                    // Others sleep by then.
                    if member.index == bad {
                        thread::sleep(Duration::from_millis(1));
                    }
                })
            }));
            assert!(result.is_err());
            // It can be called again.
            let done = AtomicU64::new(0);
            team.each(vec![1; 3], |own| {
                _ = done.fetch_add(*own, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 3);
        }
    }

    #[test]
    fn members_that_sleep_are_woken() {
        let team = Team::new(3).unwrap();
        let turns = AtomicU64::new(0);
        // Each is late now and then, and the others wait: for it, for one before them in a chain, and for work.
        for _ in 0..5 {
            team.time(20, vec![(); 3], |member, ()| {
                if member.iteration % 3 == member.index as u64 {
                    thread::sleep(Duration::from_millis(1));
                }
                let turn = 3 * member.iteration + member.index as u64;
                member.wait_until(|| turns.load(Ordering::Acquire) == turn);
                turns.store(turn + 1, Ordering::Release);
                member.meet();
                assert_eq!(turns.load(Ordering::Relaxed), 3 * (member.iteration + 1));
            });
            assert_eq!(turns.swap(0, Ordering::Relaxed), 60);
            thread::sleep(Duration::from_millis(2));
        }
    }
}
