//! A barrier that spins, for threads that meet every few hundred nanoseconds.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Looks without a pause in between: the others are usually a few cycles away.
const EAGER_LOOKS: u32 = 256;
/// Looks with a pause before the time slice is given up, because somebody may wait for this CPU.
const PATIENT_LOOKS: u32 = 1 << 8;

/// Alone on its cache lines (two, since they are fetched in pairs), so that arriving and watching do not disturb each other.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Apart<T>(T);

/// Where a fixed number of threads wait for one another, any number of times.
#[derive(Debug)]
pub struct SpinBarrier {
    members: usize,
    arrived: Apart<AtomicUsize>,
    generation: Apart<AtomicUsize>,
    broken: AtomicBool,
}

impl SpinBarrier {
    /// A barrier for `members` threads.
    pub fn new(members: usize) -> Self {
        Self {
            members,
            arrived: Apart::default(),
            generation: Apart::default(),
            broken: AtomicBool::new(false),
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
        let generation = self.generation.0.load(Ordering::Relaxed);
        // Acquire and release, so that the last to arrive has seen what all others wrote, and passes it on.
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.arrived.0.store(0, Ordering::Relaxed);
            self.generation
                .0
                .store(generation.wrapping_add(1), Ordering::Release);
        } else {
            self.wait_until(|| self.generation.0.load(Ordering::Acquire) != generation);
        }
    }

    /// Returns when something holds that another member brings about.
    ///
    /// # Panics
    /// If a member broke the barrier, since it will never do so.
    #[inline]
    pub fn wait_until(&self, holds: impl Fn() -> bool) {
        let mut looks = 0;
        while !holds() {
            looks += 1;
            if looks > EAGER_LOOKS + PATIENT_LOOKS {
                assert!(
                    !self.broken.load(Ordering::Relaxed),
                    "another thread of the team panicked"
                );
                thread::yield_now();
            } else if looks > EAGER_LOOKS {
                hint::spin_loop();
            }
        }
    }

    /// Breaks the barrier if the current thread is unwinding when the guard is dropped.
    pub fn guard(&self) -> impl Drop + '_ {
        struct Guard<'a>(&'a SpinBarrier);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.broken.store(true, Ordering::Relaxed);
                }
            }
        }
        Guard(self)
    }
}
