//! Where threads wait for one another: they spin, for they meet every few hundred nanoseconds, and sleep when that takes longer, for then
//! somebody else may want their CPUs, perhaps the very thread that they wait for.
//!
//! Nobody gives up a time slice by `yield_now`: beside others that compute, a thread that does so comes back milliseconds later, however
//! soon what it waited for came. One that sleeps is let in when it is woken.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Looks without a pause in between: the others are usually a few cycles away.
const EAGER_LOOKS: u32 = 256;
/// Looks with a pause before a thread sleeps: most, which take some ten microseconds,
const MOST_PAUSES: u32 = 1 << 11;
/// and least.
const LEAST_PAUSES: u32 = 1 << 6;
/// A sleep that is shorter was not worth it.
const WORTH: Duration = Duration::from_micros(100);
/// The first and the longest sleep where nobody wakes.
const NAPS: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];

/// Alone on its cache lines (two, since they are fetched in pairs), so that arriving and watching do not disturb each other.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Apart<T>(T);

/// How long threads spin: less after each long sleep, as beside others that compute, more after each short one.
#[derive(Debug)]
pub struct Patience(AtomicU32);

impl Default for Patience {
    fn default() -> Self {
        Self(AtomicU32::new(MOST_PAUSES))
    }
}

impl Patience {
    /// Looks as long as it is worth it; whether something was seen to hold.
    #[inline]
    fn sees(&self, holds: impl Fn() -> bool) -> bool {
        if (0..EAGER_LOOKS).any(|_| holds()) {
            return true;
        }
        let pauses = self.0.load(Ordering::Relaxed);
        (0..pauses).any(|_| {
            hint::spin_loop();
            holds()
        })
    }

    fn learn(&self, slept: Duration) {
        // Of two that learn at once one may be forgotten.
        let pauses = self.0.load(Ordering::Relaxed);
        let pauses = if slept < WORTH {
            (2 * pauses).min(MOST_PAUSES)
        } else {
            (pauses / 2).max(LEAST_PAUSES)
        };
        self.0.store(pauses, Ordering::Relaxed);
    }
}

/// A number that goes up, and that threads wait for.
#[derive(Debug, Default)]
pub struct Turn {
    number: Apart<AtomicUsize>,
    /// How many threads sleep, or are about to.
    sleepers: Apart<AtomicUsize>,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Turn {
    /// What it has come to; what others wrote before is visible after.
    #[inline]
    pub fn number(&self) -> usize {
        self.number.0.load(Ordering::Acquire)
    }

    /// Goes on by one, and wakes who waits for that.
    ///
    /// No sleeper is overlooked. All four accesses to the number and to the count are in one order (`SeqCst`), and a sleeper counts itself
    /// before it looks at the number. So either its look comes after the number went on, and it does not sleep; or it is seen in the count.
    /// Then this thread waits for the lock, which the sleeper has from before its look until it sleeps, and gives notice after.
    #[inline]
    pub fn go_on(&self) {
        self.number.0.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.0.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// Has all that sleep look again.
    #[cold]
    fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Returns when something holds of the number; what others wrote before is visible after.
    #[inline]
    pub fn wait(&self, patience: &Patience, holds: impl Fn(usize) -> bool) {
        if !patience.sees(|| holds(self.number())) {
            self.sleep(patience, holds);
        }
    }

    #[cold]
    fn sleep(&self, patience: &Patience, holds: impl Fn(usize) -> bool) {
        let begin = Instant::now();
        let mut guard = self.lock();
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        while !holds(self.number.0.load(Ordering::SeqCst)) {
            let woken = self.changed.wait(guard);
            guard = woken.unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        patience.learn(begin.elapsed());
    }

    /// Guards nothing that could be left half done.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a fixed number of threads wait for one another, any number of times.
#[derive(Debug)]
pub struct Barrier<'a> {
    members: usize,
    arrived: Apart<AtomicUsize>,
    generation: Turn,
    broken: AtomicBool,
    patience: &'a Patience,
}

impl<'a> Barrier<'a> {
    /// A barrier for `members` threads.
    pub fn new(members: usize, patience: &'a Patience) -> Self {
        Self {
            members,
            arrived: Apart::default(),
            generation: Turn::default(),
            broken: AtomicBool::new(false),
            patience,
        }
    }

    /// Returns when all members have arrived; what they wrote before is visible after.
    ///
    /// # Panics
    /// If a member broke the barrier, since it will never arrive.
    #[inline]
    pub fn wait(&self) {
        if self.members == 1 {
            return;
        }
        // Stable until this thread arrives: the generation cannot end without it.
        let generation = self.generation.number();
        // Acquire and release, so that the last to arrive has seen what all others wrote, and passes it on.
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.arrived.0.store(0, Ordering::Relaxed);
            self.generation.go_on();
            return;
        }
        let is_broken = || self.broken.load(Ordering::SeqCst);
        let ends = |now| now != generation;
        if !self.patience.sees(|| ends(self.generation.number())) {
            self.generation
                .sleep(self.patience, |now| ends(now) || is_broken());
            if !ends(self.generation.number()) {
                self.check();
            }
        }
    }

    /// Returns when something holds that another member brings about, who wakes nobody.
    ///
    /// # Panics
    /// If a member broke the barrier, since it will never do so.
    #[inline]
    pub fn wait_until(&self, holds: impl Fn() -> bool) {
        if !self.patience.sees(&holds) {
            self.nap_until(holds);
        }
    }

    #[cold]
    fn nap_until(&self, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        let [mut nap, longest] = NAPS;
        while !holds() {
            self.check();
            thread::sleep(nap);
            nap = (2 * nap).min(longest);
        }
        self.patience.learn(begin.elapsed());
    }

    fn check(&self) {
        let is_broken = self.broken.load(Ordering::SeqCst);
        assert!(!is_broken, "another thread of the team panicked");
    }

    /// Breaks the barrier if the current thread is unwinding when the guard is dropped.
    pub fn guard(&self) -> impl Drop + '_ {
        struct Guard<'a>(&'a Barrier<'a>);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.broken.store(true, Ordering::SeqCst);
                    // Whoever looked before this holds the lock until it sleeps.
                    self.0.generation.wake();
                }
            }
        }
        Guard(self)
    }
}
