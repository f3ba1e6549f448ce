//! From an error to what a person reads and a script sees.

use std::fmt;
use std::process::ExitCode;

use crate::engines::Mismatch;

/// Exit codes of every subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is fine.
    Fine = 0,
    /// A regression or a failed verification was found.
    Found = 1,
    /// Bad usage or bad input.
    BadInput = 2,
    /// It could not run: no device, engine missing, disk full.
    CouldNotRun = 3,
    /// Inconclusive, where that was asked for.
    Inconclusive = 4,
    /// Interrupted; all that was measured is kept.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Something that is the machine's fault rather than the input's: exit code 3.
#[derive(Debug)]
pub struct CouldNotRun(pub String);

impl fmt::Display for CouldNotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CouldNotRun {}

/// Somebody asked to stop before anything was measured: exit code 130.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted before anything was measured")
    }
}

impl std::error::Error for Interrupted {}

/// The exit code of an error: 130 for [`Interrupted`] and 3 for [`CouldNotRun`] or [`Mismatch`] anywhere in its chain, else 2.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    let holds = |is: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(is);
    if holds(<dyn std::error::Error>::is::<Interrupted>) {
        Exit::Interrupted
    } else if holds(<dyn std::error::Error>::is::<CouldNotRun>)
        || holds(<dyn std::error::Error>::is::<Mismatch>)
    {
        Exit::CouldNotRun
    } else {
        Exit::BadInput
    }
}

/// Prints an error with its causes to stderr.
pub fn print(error: &anyhow::Error) {
    let mut line = error.to_string();
    let mut last = line.clone();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Some errors repeat their source in their own words.
        if !last.contains(&text) {
            line = format!("{line}: {text}");
        }
        last = text;
    }
    crate::note!("error: {line}");
}
