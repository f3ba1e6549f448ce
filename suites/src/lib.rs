//! Workloads, and the worker loop that serves them.
//!
//! A worker is a process that answers the requests of [`assay_protocol::message`] on standard input
//! with replies on standard output. [`serve()`] is that loop over any pair of streams; [`run_worker`]
//! is the loop as a program, which `assay worker` and the slim `assay-worker` share. What a worker
//! can run is listed, one line each, in `catalog.rs`: the ops of `assay-kernels`, and workloads of this crate.

mod catalog;
mod check;
mod clock;
mod command;
mod faults;
mod hello;
mod memory;
mod oom;
mod refusal;
mod serve;
mod spin;
pub mod synthetic;
pub mod training;

use std::io;
use std::process::ExitCode;

pub use catalog::catalog;
pub use check::{SIZES as CHECK_SIZES, Scope as CheckScope, Tally, check};
pub use hello::hello;
pub use oom::{more_oom_kills, oom_kills};
pub use serve::serve;

/// Serves standard input and output until the input ends: the whole of a worker program.
pub fn run_worker() -> ExitCode {
    if command::is_launcher() {
        return command::launch_main();
    }
    command::watch_harness();
    // Not locked: a fault-injection workload writes past the loop, to standard output itself.
    match serve(io::stdin().lock(), io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // The harness has gone; there is nobody left to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assay worker: {error}");
            ExitCode::FAILURE
        }
    }
}
