//! `assay worker`: the built-in worker, in the same executable.

use std::process::ExitCode;

/// Modes of the worker, for itself to use.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Passed on as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

pub fn run(args: &Args) -> ExitCode {
    // The worker reads its own arguments: here they are only let through.
    let _ = &args.rest;
    assay_suites::run_worker()
}
