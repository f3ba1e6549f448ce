//! `assay guard -- COMMAND`: becomes COMMAND, which ends when the harness does, however it ends.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

/// What to become.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Program and arguments.
    #[arg(last = true, required = true)]
    argv: Vec<std::ffi::OsString>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    // The request survives exec; a program that never heard of Assay ends with it.
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("the parent-death signal cannot be set")?;
    let error = Command::new(&args.argv[0]).args(&args.argv[1..]).exec();
    Err(error).with_context(|| format!("cannot start `{}`", args.argv[0].to_string_lossy()))
}
