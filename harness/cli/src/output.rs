//! What a terminal is given: standard output that may be closed (`assay show | head` is no reason to panic),
//! and no text from outside that a terminal would obey.

use std::fmt;
use std::io::{ErrorKind, Write as _};

use crate::errors::Exit;

/// Prints a line to standard output, as `println!` does, and takes a closed pipe calmly.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}

/// Prints a line to standard error, as `eprintln!` does. Nobody to tell is no reason to stop a run.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::note(format_args!($($argument)*)) };
}

/// Writes one line to standard error, if somebody reads it.
pub fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{}", visible(&text.to_string()));
}

/// Writes one line. A reader that has gone wants no more; any other error ends the process, since output was promised.
pub fn line(text: fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{}", visible(&text.to_string())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            note(format_args!("error: standard output: {error}"));
            std::process::exit(Exit::CouldNotRun as i32);
        }
        _ => {}
    }
}

/// `1 row`, `3 rows`.
pub fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Text without what a terminal would obey: every control character but newline and tab becomes a space.
pub fn visible(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars()
        .map(|c| if harmless(c) { c } else { ' ' })
        .collect()
}
