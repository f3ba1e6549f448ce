//! The slim worker: the worker loop and nothing else, for images and remote machines.

use std::process::ExitCode;

fn main() -> ExitCode {
    assay_suites::run_worker()
}
