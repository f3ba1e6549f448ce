//! From an error to what a person reads and a script sees.

use std::fmt;
use std::io::{self, ErrorKind};
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

/// The exit code of an error: 130 for [`Interrupted`] and 3 for [`CouldNotRun`], [`Mismatch`] or a full disk anywhere in its chain, else 2.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    let holds = |is: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(is);
    if holds(<dyn std::error::Error>::is::<Interrupted>) {
        Exit::Interrupted
    } else if holds(<dyn std::error::Error>::is::<CouldNotRun>)
        || holds(<dyn std::error::Error>::is::<Mismatch>)
        || holds(is_full_disk)
    {
        Exit::CouldNotRun
    } else {
        Exit::BadInput
    }
}

fn is_full_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    let kind = error.map(io::Error::kind);
    matches!(
        kind,
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    )
}

/// Prints an error with its causes to stderr.
pub fn print(error: &anyhow::Error) {
    crate::note!("error: {}", in_words(error));
}

/// An error with its causes, in one line.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut line = String::new();
    let mut last = String::new();
    for cause in error.chain() {
        let text = words_of(cause);
        // Some errors repeat their source in their own words.
        if line.is_empty() {
            line.clone_from(&text);
        } else if !last.contains(&text) {
            line = format!("{line}: {text}");
        }
        last = text;
    }
    line
}

/// What an error says, without the numbers by which git's library knows it.
fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    let of_git = error.downcast_ref::<git2::Error>();
    of_git.map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::in_words;

    #[test]
    fn what_git_says_is_said_without_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init(folder.path()).unwrap();
        let missing = repository.revparse_single("none").map(drop);
        let error = missing.context("no such commit").unwrap_err();
        assert_eq!(in_words(&error), "no such commit: revspec 'none' not found");
        assert!(format!("{error:#}").contains("class="));
    }
}
