//! Threads that wait for work beside the one that has it, which does its own part of it.
//!
//! Between two short kernels they spin, and so begin the second a few hundred nanoseconds after the first; a pool that steals would hand
//! each over by a queue, and yield while it has none.
#![allow(unsafe_code)] // work borrows from whoever waits for it

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use super::barrier::{Patience, Turn};

/// Work of a thread that waits until it is done: what a member does, by its number.
#[derive(Clone, Copy, Debug)]
struct Borrowed {
    work: *const (),
    call: unsafe fn(*const (), usize),
}

impl Borrowed {
    fn new<F: Fn(usize) + Sync>(work: &F) -> Self {
        Self {
            work: (&raw const *work).cast(),
            call: call::<F>,
        }
    }
}

/// # Safety
/// What is pointed to is such work, and lives until this returns.
unsafe fn call<F: Fn(usize)>(work: *const (), index: usize) {
    // SAFETY: see above.
    let work = unsafe { &*work.cast::<F>() };
    work(index);
}

// SAFETY: `new` takes only what is `Sync`, and all that is done with it is to share it.
unsafe impl Send for Borrowed {}
// SAFETY: as above.
unsafe impl Sync for Borrowed {}

#[derive(Debug, Default)]
struct Shared {
    /// Goes on when there is work,
    begun: Turn,
    /// which is none when the threads are to end,
    work: RwLock<Option<Borrowed>>,
    /// and by one for each thread that has done its part.
    done: Turn,
    /// How long threads spin for work,
    idle: Patience,
    /// and within it.
    busy: Patience,
    /// What a thread panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The threads.
#[derive(Debug)]
pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Of whoever has work for them.
    turn: Mutex<()>,
}

impl Crew {
    /// So many threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let mut crew = Self {
            shared: Arc::default(),
            threads: vec![],
            turn: Mutex::default(),
        };
        for index in 1..=threads {
            let shared = crew.shared.clone();
            let named = thread::Builder::new().name(format!("team-{index}"));
            // Where one cannot be started, those before it end with the crew.
            let thread = named.spawn(move || serve(&shared, index))?;
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// How long members that wait for one another spin.
    pub fn patience(&self) -> &Patience {
        &self.shared.busy
    }

    /// Does some work as member 0, while the threads do it as members from 1 on.
    ///
    /// # Panics
    /// If the work does, by any member, when all have ended.
    pub fn run<F: Fn(usize) + Sync>(&self, work: &F) {
        let _turn = lock(&self.turn);
        let shared = &*self.shared;
        let before = shared.done.number();
        // Threads call it when it has begun, and until they have done their part, which is waited for below, whatever panics, before
        // this function returns or unwinds.
        self.set(Some(Borrowed::new(work)));
        shared.begun.go_on();
        let own = panic::catch_unwind(AssertUnwindSafe(|| work(0)));
        let parts = self.threads.len();
        let is_done = |done: usize| done.wrapping_sub(before) == parts;
        shared.done.wait(&shared.busy, is_done);
        self.set(None);
        let other = lock(&shared.panic).take();
        if let Some(panicked) = own.err().or(other) {
            panic::resume_unwind(panicked);
        }
    }

    fn set(&self, work: Option<Borrowed>) {
        let current = self.shared.work.write();
        *current.unwrap_or_else(PoisonError::into_inner) = work;
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // No work is there: `run` took it away.
        self.shared.begun.go_on();
        for thread in self.threads.drain(..) {
            // It catches what work panics with.
            drop(thread.join());
        }
    }
}

/// What a thread does: its part of all work that comes, until none does.
fn serve(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        shared.begun.wait(&shared.idle, |begun| begun != seen);
        // No more than one: the next is begun when all have done their part of this one.
        seen = seen.wrapping_add(1);
        let current = shared.work.read();
        let Some(Borrowed { work, call }) = *current.unwrap_or_else(PoisonError::into_inner) else {
            return;
        };
        // SAFETY: both are of one `Borrowed::new`, and `Crew::run` keeps what it borrowed until this thread says below that it is done.
        let part = || unsafe { call(work, index) };
        if let Err(panicked) = panic::catch_unwind(AssertUnwindSafe(part)) {
            *lock(&shared.panic) = Some(panicked);
        }
        shared.done.go_on();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
