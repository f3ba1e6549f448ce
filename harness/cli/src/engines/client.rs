//! The program of an engine: asked one thing at a time, with a deadline, in the user's own environment.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::errors::CouldNotRun;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest time for what moves whole images.
const LONG_PATIENCE: Duration = Duration::from_hours(1);
/// How often a wait looks.
const TICK: Duration = Duration::from_millis(5);
/// Longest answer that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// An engine's program.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its name.
    pub program: &'static str,
    /// How to get it, in words.
    pub remedy: &'static str,
    /// What it says where its daemon is away, and what to do then; empty where it needs none.
    pub daemon: (&'static [&'static str], &'static str),
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: String,
}

impl Client {
    /// Asks for JSON; `None` where it says that there is no such thing.
    pub fn inspect(&self, arguments: &[&OsStr]) -> Result<Option<Value>> {
        let answer = self.ask(arguments)?;
        if !answer.status.success() {
            return Ok(None);
        }
        let mut found: Value = serde_json::from_slice(&answer.stdout).map_err(|error| {
            CouldNotRun(format!(
                "{} gave an answer that is no JSON: {error}",
                self.program
            ))
        })?;
        // Engines answer about one thing with a list of one.
        Ok(Some(match found.get_mut(0) {
            Some(first) => first.take(),
            None => found,
        }))
    }

    /// Asks something, and takes whatever is answered. That there is nobody to ask is an error.
    pub fn ask(&self, arguments: &[&OsStr]) -> Result<Answer> {
        self.run(arguments, PATIENCE)
    }

    /// Has something done that may take long; a failure is an error, in its own words.
    pub fn act(&self, arguments: &[&OsStr]) -> Result<Vec<u8>> {
        let answer = self.run(arguments, LONG_PATIENCE)?;
        if answer.status.success() {
            return Ok(answer.stdout);
        }
        let what = arguments
            .first()
            .map_or("", |word| word.to_str().unwrap_or_default());
        let said = last_line(&answer.stderr);
        Err(CouldNotRun(format!("`{} {what}` failed: {said}", self.program)).into())
    }

    fn run(&self, arguments: &[&OsStr], patience: Duration) -> Result<Answer> {
        let child = Command::new(self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.absent(&error))?;
        let answer = listen(child, patience).map_err(|error| {
            let shown = arguments
                .first()
                .unwrap_or(&OsStr::new(""))
                .to_string_lossy();
            CouldNotRun(format!("`{} {shown}` {error}", self.program))
        })?;
        let (signs, remedy) = self.daemon;
        if !answer.status.success() && signs.iter().any(|sign| answer.stderr.contains(sign)) {
            let said = last_line(&answer.stderr);
            return Err(CouldNotRun(format!(
                "{} cannot be reached ({said}): {remedy}",
                self.program
            ))
            .into());
        }
        Ok(answer)
    }

    /// That there is no such program, or that it cannot be started.
    pub fn absent(&self, error: &std::io::Error) -> CouldNotRun {
        let Self {
            program, remedy, ..
        } = self;
        CouldNotRun(match error.kind() {
            ErrorKind::NotFound => format!("{program} is not installed here: {remedy}"),
            _ => format!("{program} cannot be started: {error}"),
        })
    }
}

/// The last line that says something.
pub fn last_line(text: &str) -> &str {
    let mut lines = text.lines().rev().map(str::trim);
    lines
        .find(|line| !line.is_empty())
        .unwrap_or("without a word")
}

/// Reads both streams to their ends, and waits; ends a program that takes too long.
fn listen(mut child: Child, patience: Duration) -> Result<Answer, String> {
    let stdout = child.stdout.take().map(read);
    let stderr = child.stderr.take().map(read);
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(TICK),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("gave no answer for {} s", patience.as_secs()));
            }
        }
    };
    let text = |reader: Option<JoinHandle<Vec<u8>>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    Ok(Answer {
        status,
        stdout: text(stdout),
        stderr: String::from_utf8_lossy(&text(stderr)).into_owned(),
    })
}

fn read(stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all that there is.
        let _ = stream.take(MAX_BYTES).read_to_end(&mut bytes);
        bytes
    })
}
