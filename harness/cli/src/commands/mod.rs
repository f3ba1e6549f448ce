//! The subcommands: one file each, one line of registration each.

mod bundle;
mod calibrate;
mod ceilings;
mod check;
mod clock_guard;
mod compare;
mod completions;
mod confirm;
mod container_guard;
mod db;
mod doctor;
mod env;
mod fingerprint;
mod guard;
mod history;
mod import;
mod ingest;
mod list;
mod nightly;
mod plan;
mod report;
mod reproduce;
mod run;
mod schema;
mod show;
mod synth;
mod worker;
mod worker_check;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::errors::{self, Exit};

/// Measures GPUs and the work done on them, and lets anyone measure the same thing again.
#[derive(Debug, Parser)]
#[command(name = "assay", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine; 1 a regression or a failed verification was found; \
2 bad usage or bad input; 3 could not run; 4 inconclusive, where asked for; 130 interrupted, with all that was measured kept.";

#[derive(Debug, Subcommand)]
enum Command {
    /// List the built-in suites, or the cases of a suite.
    List(list::Args),
    /// Write the manifest of a run without running it.
    Plan(plan::Args),
    /// Run a suite or a manifest, record it, and ingest the record.
    Run(run::Args),
    /// Run a suite, check it, confirm what looks changed, and publish the site: what a CI machine does each night.
    Nightly(nightly::Args),
    /// Show what a run found.
    Show(show::Args),
    /// Compare runs, groups of runs, or the arms of one run.
    Compare(compare::Args),
    /// Check a run against a window of earlier ones: the gate for CI.
    Check(check::Args),
    /// Run the suspects of a check again, interleaved with what the baseline ran, before anybody is told.
    Confirm(confirm::Args),
    /// Show how a case did over its runs, and where it changed.
    History(history::Args),
    /// Run the manifest of a past run again, and compare inputs, outputs and speed.
    Reproduce(reproduce::Args),
    /// Put all that a run needs to be run again into one file, for another machine.
    Bundle(bundle::Args),
    /// Measure how much identical code differs from itself here, and what can therefore be found.
    Calibrate(calibrate::Args),
    /// Measure the most that this machine does: bandwidth by level, arithmetic by unit
    Ceilings(ceilings::Args),
    /// Publish the site from the database.
    Report(report::Args),
    /// Import results of another tool as runs.
    Import(import::Args),
    /// Learn a table, make synthetic rows like it, and score them.
    Synth(synth::Args),
    /// Read records into the database.
    Ingest(ingest::Args),
    /// Rebuild the database from records, or verify it against them.
    Db(db::Args),
    /// Pin environments by digest: lock, verify, list, build, pull.
    Env(env::Args),
    /// Show what this machine is, or how two machines differ.
    Fingerprint(fingerprint::Args),
    /// Say whether this machine can give honest numbers, and how to make it so.
    Doctor(doctor::Args),
    /// Print the JSON Schema of a format.
    Schema(schema::Args),
    /// Print completions for a shell.
    Completions(completions::Args),
    /// Check that a program speaks the worker protocol, and say what it gets wrong.
    WorkerCheck(worker_check::Args),
    /// Be a worker: speak the worker protocol on standard input and output.
    #[command(hide = true)]
    Worker(worker::Args),
    /// Become another program that ends when this one's parent does.
    #[command(hide = true)]
    Guard(guard::Args),
    /// Lock the clocks of GPUs until standard input ends, and reset them.
    #[command(hide = true)]
    ClockGuard(clock_guard::Args),
    /// Remove a container when standard input ends.
    #[command(hide = true)]
    ContainerGuard(container_guard::Args),
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() {
                Exit::BadInput
            } else {
                Exit::Fine
            };
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return exit.into();
        }
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            errors::print(&error);
            errors::exit_of(&error).into()
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let exit = match command {
        Command::List(args) => list::run(&args)?,
        Command::Plan(args) => plan::run(&args)?,
        Command::Run(args) => run::run(&args)?,
        Command::Nightly(args) => nightly::run(&args)?,
        Command::Show(args) => show::run(&args)?,
        Command::Compare(args) => compare::run(&args)?,
        Command::Check(args) => check::run(&args)?,
        Command::Confirm(args) => confirm::run(&args)?,
        Command::History(args) => history::run(&args)?,
        Command::Reproduce(args) => reproduce::run(&args)?,
        Command::Bundle(args) => bundle::run(&args)?,
        Command::Calibrate(args) => calibrate::run(&args)?,
        Command::Ceilings(args) => ceilings::run(&args)?,
        Command::Report(args) => report::run(&args)?,
        Command::Import(args) => import::run(&args)?,
        Command::Synth(args) => synth::run(&args)?,
        Command::Ingest(args) => ingest::run(&args)?,
        Command::Db(args) => db::run(&args)?,
        Command::Env(args) => env::run(&args)?,
        Command::Fingerprint(args) => fingerprint::run(&args)?,
        Command::Doctor(args) => doctor::run(&args),
        Command::Schema(args) => schema::run(&args)?,
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::WorkerCheck(args) => worker_check::run(&args)?,
        Command::ClockGuard(args) => clock_guard::run(&args)?,
        Command::ContainerGuard(args) => container_guard::run(&args)?,
        Command::Worker(args) => return Ok(worker::run(&args)),
        Command::Guard(args) => return guard::run(&args),
    };
    Ok(exit.into())
}
