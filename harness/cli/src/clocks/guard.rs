//! The process that locks the clocks of GPUs and resets them: the only code of Assay that changes a setting.
//!
//! It locks, says so in one line of JSON, and waits for the end of its standard input, which closes when the process that
//! started it ends, in whatever way. Then it resets what it locked. In a session of its own it hears no Ctrl-C, and polite
//! requests to end it disregards: it ends by itself.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use assay_machine::Gpus;
use nvml_wrapper::enum_wrappers::device::{Clock as Domain, ClockLimitId};
use nvml_wrapper::enums::device::GpuLockedClocksSetting;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Clock;

/// What the guard says, once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// These clocks are locked.
    Locked(Vec<Locked>),
    /// None is, and why.
    Refused(String),
}

/// A GPU whose clocks are locked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Locked {
    /// Which one.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its clock.
    pub clock: Clock,
    /// The clock of its memory in MHz; absent where that cannot be locked.
    pub memory_mhz: Option<u32>,
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uuid, name, .. } = self;
        match self.clock {
            Clock::Megahertz(mhz) => write!(f, "{name} ({uuid}) at {mhz} MHz")?,
            Clock::Base => write!(f, "{name} ({uuid}) at its base clock")?,
        }
        match self.memory_mhz {
            Some(mhz) => write!(f, ", its memory at {mhz} MHz"),
            None => f.write_str(", its memory not"),
        }
    }
}

/// Locks the clocks of the GPUs whose names contain one of these texts, and resets them when standard input ends.
pub fn run(clock: Clock, models: &[String]) -> Result<()> {
    // It fails only for the leader of a group, which a process that was started just now is not.
    rustix::process::setsid().context("no session of its own can be begun")?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Caught, and that is all.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let gpus = Gpus::from_environment();
    let nvml = match &gpus {
        Gpus::Nvml(nvml) => nvml,
        Gpus::Absent(reason) => return say(&Answer::Refused(reason.clone())),
    };
    let mut held = Vec::new();
    let locked = match lock_all(nvml, clock, models, &mut held) {
        Ok(locked) => locked,
        Err(error) => {
            let reset = reset_all(&mut held);
            say(&Answer::Refused(format!("{error:#}")))?;
            return reset;
        }
    };
    // Whoever started this may be gone already: the clocks are reset all the same.
    let said = say(&Answer::Locked(locked));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    reset_all(&mut held)?;
    said
}

fn say(answer: &Answer) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::to_string(answer)?)?;
    Ok(stdout.flush()?)
}

/// Locks one after the other; those that are locked are in `held`, also where this fails.
fn lock_all<'a>(
    nvml: &'a Nvml,
    clock: Clock,
    models: &[String],
    held: &mut Vec<Device<'a>>,
) -> Result<Vec<Locked>> {
    let mut locked = Vec::new();
    for index in 0..nvml.device_count()? {
        let mut device = match nvml.device_by_index(index) {
            Ok(device) => device,
            // One that this user may not use is not what cases run on.
            Err(NvmlError::NoPermission) => continue,
            Err(error) => return Err(error).with_context(|| format!("GPU {index}")),
        };
        let name = device.name().with_context(|| format!("GPU {index}"))?;
        if !models.iter().any(|model| name.contains(model.as_str())) {
            continue;
        }
        lock(&mut device, clock).with_context(|| format!("GPU {index}"))?;
        let memory_mhz = lock_memory(&mut device);
        let uuid = device.uuid();
        held.push(device);
        locked.push(Locked {
            uuid: uuid.with_context(|| format!("GPU {index}"))?,
            name,
            clock,
            memory_mhz,
        });
    }
    anyhow::ensure!(!locked.is_empty(), "there is no GPU that cases may use");
    Ok(locked)
}

fn lock(device: &mut Device<'_>, clock: Clock) -> Result<()> {
    let setting = match clock {
        Clock::Base => GpuLockedClocksSetting::Symbolic {
            lower_bound: ClockLimitId::Tdp,
            upper_bound: ClockLimitId::Tdp,
        },
        Clock::Megahertz(mhz) => GpuLockedClocksSetting::Numeric {
            min_clock_mhz: mhz,
            max_clock_mhz: mhz,
        },
    };
    device.set_gpu_locked_clocks(setting).map_err(remedy)
}

/// Memory is locked at its highest clock where that can be done; where it cannot, it is what it is.
fn lock_memory(device: &mut Device<'_>) -> Option<u32> {
    let mhz = device.max_clock_info(Domain::Memory).ok()?;
    device.set_mem_locked_clocks(mhz, mhz).ok().map(|()| mhz)
}

fn remedy(error: NvmlError) -> anyhow::Error {
    let what = match error {
        NvmlError::NoPermission => {
            "its clocks cannot be locked without root's rights: run as root, or leave out --lock-clocks"
        }
        NvmlError::NotSupported => {
            "its clocks cannot be locked: it does not offer that; leave out --lock-clocks"
        }
        NvmlError::InvalidArg => {
            "its clocks cannot be locked there: `nvidia-smi -q -d SUPPORTED_CLOCKS` names those that it has"
        }
        _ => "its clocks cannot be locked",
    };
    anyhow::Error::new(error).context(what)
}

/// Resets all, also behind one that fails.
fn reset_all(held: &mut Vec<Device<'_>>) -> Result<()> {
    let mut outcome = Ok(());
    for mut device in held.drain(..) {
        let clocks = device.reset_gpu_locked_clocks();
        // What was never locked, because it cannot be, needs no reset.
        let memory = match device.reset_mem_locked_clocks() {
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => Ok(()),
            answer => answer,
        };
        if let Err(error) = clocks.and(memory) {
            outcome = Err(error).context("clocks could not be reset");
        }
    }
    outcome
}
