//! `assay worker`: the built-in worker, in the same executable.
//!
//! It starts this executable again with the same arguments, under another `argv[0]`, to launch commands:
//! `assay_suites::run_worker` sees by that name what it is to be.

use std::process::ExitCode;

/// A worker takes no arguments: all that it is asked for comes on standard input.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> ExitCode {
    assay_suites::run_worker()
}
