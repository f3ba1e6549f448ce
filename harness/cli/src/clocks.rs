//! Locking the clocks of GPUs for a run: only where somebody asked for it and agreed, and never for longer than the run.
//!
//! The clocks are set by a process of its own, the guard ([`guard`], `assay clock-guard`), which resets them when the pipe
//! from this process closes: at the end of a run, and likewise where this process crashes or is killed. Nothing else in
//! Assay changes a setting of the machine.

pub mod guard;

use std::fmt;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use assay_protocol::{DeviceKind, DeviceSelector, case::Which};
use assay_record::{Field, Fingerprint, Manifest};
use serde::{Deserialize, Serialize};

use crate::errors::CouldNotRun;
use guard::{Answer, Locked};

/// At which clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The base clock: the highest that the maker promises under every load.
    Base,
    /// So many MHz.
    Megahertz(u32),
}

impl FromStr for Clock {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "base" => Ok(Self::Base),
            Ok(mhz @ 1..=10_000) => Ok(Self::Megahertz(mhz)),
            _ => Err("expected `base` or a number of MHz up to 10000".into()),
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::Megahertz(mhz) => mhz.fmt(f),
        }
    }
}

/// Whether and how to lock clocks, as a command line says it.
#[derive(Clone, Debug, clap::Args)]
pub struct Locking {
    /// Lock the clocks of the GPUs that cases may use while the run lasts: at their base clock, or at so many MHz. Needs
    /// root's rights, and asks first.
    #[arg(long, value_name = "MHZ", num_args = 0..=1, require_equals = true, default_missing_value = "base")]
    lock_clocks: Option<Clock>,
    /// Answer yes to what --lock-clocks asks.
    #[arg(long, requires = "lock_clocks")]
    yes: bool,
}

/// A clock that somebody agreed to; nothing but asking makes one.
#[derive(Clone, Copy, Debug)]
pub struct Agreed(Clock);

impl Locking {
    /// Asks, where clocks shall be locked. `None` where they shall not.
    pub fn agree(&self) -> Result<Option<Agreed>> {
        let Some(clock) = self.lock_clocks else {
            return Ok(None);
        };
        if self.yes || confirmed(clock)? {
            return Ok(Some(Agreed(clock)));
        }
        bail!("--lock-clocks: not confirmed, so nothing was locked and nothing was run");
    }
}

fn confirmed(clock: Clock) -> Result<bool> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        bail!(
            "--lock-clocks asks before it changes a setting, and there is no terminal to ask on: add --yes"
        );
    }
    let at = match clock {
        Clock::Base => "their base clocks".to_owned(),
        Clock::Megahertz(mhz) => format!("{mhz} MHz"),
    };
    let mut stderr = std::io::stderr();
    write!(
        stderr,
        "Lock the clocks of the GPUs that this run may use at {at} until it ends?\n\
         Then they are reset, and with them a lock that somebody else had set. [y/N] "
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Clocks that are locked until this is released or dropped, or this process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    guard: Child,
    locked: Vec<Locked>,
}

impl Lock {
    /// Locks the clocks of the GPUs that cases of a manifest may use; `None`, said on stderr, where no case uses any.
    pub fn take(agreed: Agreed, manifest: &Manifest) -> Result<Option<Self>> {
        let selectors = manifest.cases.iter().map(|case| &case.device);
        let of: Vec<String> = selectors.filter_map(pattern).collect();
        if of.is_empty() {
            crate::note!("no case runs on a GPU, so no clocks are locked");
            return Ok(None);
        }
        let executable =
            std::env::current_exe().context("the running executable cannot be found")?;
        let mut command = Command::new(executable);
        command.args(["clock-guard", "--at", &agreed.0.to_string()]);
        command.args(of.iter().map(|model| format!("--model={model}")));
        let mut guard = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the guard of the clocks does not start")?;
        match answer(&mut guard) {
            Ok(Answer::Locked(locked)) => Ok(Some(Self { guard, locked })),
            Ok(Answer::Refused(why)) => {
                let _ = guard.wait();
                Err(CouldNotRun(format!("--lock-clocks: {why}")).into())
            }
            Err(error) => {
                let _ = guard.wait();
                Err(error.context("the guard of the clocks did not answer"))
            }
        }
    }

    /// What was locked, in words.
    pub fn words(&self) -> String {
        let all: Vec<String> = self.locked.iter().map(Locked::to_string).collect();
        format!("clocks were locked for this run: {}", all.join("; "))
    }

    /// Notes the lock among the settings of the machine: NVML has no question for it.
    pub fn mark(&self, fingerprint: &mut Fingerprint) {
        for locked in &self.locked {
            let Some(gpu) = fingerprint.gpu(Some(&locked.uuid)) else {
                continue;
            };
            let sm = match locked.clock {
                Clock::Megahertz(mhz) => Field::int(mhz),
                Clock::Base => Field::text("base"),
            };
            let memory = locked.memory_mhz.map(Field::int);
            for (name, field) in [("sm", Some(sm)), ("memory", memory)] {
                let name = format!("gpu.{gpu}.clocks.locked_{name}_mhz");
                fingerprint
                    .settings
                    .extend(field.map(|field| (name, field)));
            }
        }
    }

    /// Resets the clocks and says how that went.
    pub fn release(mut self) -> String {
        self.end()
    }

    fn end(&mut self) -> String {
        drop(self.guard.stdin.take());
        match self.guard.wait() {
            Ok(status) if status.success() => "clocks were reset".into(),
            other => {
                let how = other.map_or_else(|error| error.to_string(), |status| status.to_string());
                let text = format!(
                    "clocks may still be locked, for their guard failed ({how}): reset them with `sudo nvidia-smi -rgc` and `sudo nvidia-smi -rmc`"
                );
                crate::note!("warning: {text}");
                text
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.guard.stdin.is_some() {
            self.end();
        }
    }
}

/// Part of the names of the GPUs that a case may use; empty where it may use any.
fn pattern(selector: &DeviceSelector) -> Option<String> {
    match (selector.kind, &selector.which) {
        (DeviceKind::Cpu, _) => None,
        (DeviceKind::Cuda, Which::Model(model)) => Some(model.clone()),
        // CUDA counts in another order than NVML, unless told otherwise.
        (DeviceKind::Cuda, Which::Any | Which::Index(_)) => Some(String::new()),
    }
}

/// The one line that the guard says.
fn answer(guard: &mut Child) -> Result<Answer> {
    let stdout = guard.stdout.take().context("it has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_clock_is_base_or_a_number_of_megahertz() {
        assert_eq!("base".parse(), Ok(Clock::Base));
        assert_eq!("1500".parse(), Ok(Clock::Megahertz(1500)));
        for bad in ["", "0", "-1", "1.5", "4294967041", "max", "1500 MHz"] {
            assert!(bad.parse::<Clock>().is_err(), "{bad}");
        }
        for clock in [Clock::Base, Clock::Megahertz(1500)] {
            assert_eq!(clock.to_string().parse(), Ok(clock));
        }
    }
}
