//! `assay worker`: the built-in worker, in the same executable.

use std::process::ExitCode;

/// What a suite's own command line may add: files that belong to the measurement, which are pinned there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Taken and not read, here or in `assay_suites::run_worker`, which looks at `argv[0]` alone.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _ignored: Vec<String>,
}

pub fn run(_: &Args) -> ExitCode {
    assay_suites::run_worker()
}
