//! What a worker asks of a launcher, and what it is told: one JSON line each way on a socket pair.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One execution of a command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments; the first is the name that it was asked for by.
    pub argv: Vec<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// Directory to run in; `None`: the worker's.
    pub directory: Option<String>,
    /// After this many milliseconds the command is ended.
    pub timeout_ms: u32,
}

/// What became of an [`Order`].
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The program could not be started.
    NotStarted(String),
    /// It ran.
    Ended(Execution),
}

/// What one execution cost.
#[derive(Debug, Serialize, Deserialize)]
pub struct Execution {
    /// How it ended.
    pub ending: Ending,
    /// From spawn to exit.
    pub wall_ns: u64,
    /// Processor time in user mode, with that of descendants that were waited for.
    pub user_ns: u64,
    /// The same in kernel mode.
    pub system_ns: u64,
    /// Largest resident set of one process among these, and of the launcher when it spawned them.
    pub peak_bytes: u64,
    /// Descendants that would not be killed.
    pub left: usize,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal, which the launcher did not send.
    Signal(i32),
    /// It took too long.
    TimedOut,
}
