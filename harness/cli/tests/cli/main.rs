//! The binary as people and scripts use it: whole flows on tiny suites, bad input, and faults of every kind.
//!
//! Each test has a folder of its own, with its own device locks, caches and database. None asserts
//! an absolute time. Each module is one promise of the program; [helpers] is the language they are written in.

mod arms;
mod asv;
mod bad_input;
mod bundle;
mod calibrate;
mod clocks;
mod commands;
mod confirm;
mod containers;
mod cuda;
mod disturbed;
#[expect(
    dead_code,
    reason = "mistakes in sources are tried by the tests of `suites` alone"
)]
#[path = "../../../../suites/tests/driver/emulated.rs"]
mod emulated;
#[path = "../../../machine/tests/machine/fake.rs"]
mod fake;
mod faults;
mod flow;
mod gate;
mod git;
mod gpu;
mod helpers;
mod history;
mod interrupt;
mod kill;
mod lock;
mod moved;
mod nvbench;
mod publishing;
mod reproduce;
mod synth;
mod tools;
mod training;
mod versions;
mod wording;
mod worker_check;
mod workers;
