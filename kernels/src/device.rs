//! Devices that run ops. Today the host's processor; other kinds join as further variants.

mod barrier;
pub mod host;
pub mod memory;
mod team;

use assay_protocol::{DeviceInfo, DeviceKind, DeviceSelector, Failure};

pub use team::{Member, Team, chunk};

/// A device, opened for one case.
#[derive(Debug)]
pub enum Device {
    /// The host's processor, with as many threads as the case asks for.
    Cpu(Team),
}

impl Device {
    /// Opens the device that `selector` chooses. `threads` is how many host threads compute.
    ///
    /// More threads than this process may use are skipped rather than run: threads that wait for each
    /// other's time slice measure the scheduler.
    pub fn open(selector: &DeviceSelector, threads: usize) -> Result<Self, Failure> {
        match selector.kind {
            DeviceKind::Cpu => {
                let usable = host::usable_cpus();
                if threads > usable {
                    return Err(Failure::Skipped(format!(
                        "parameter `threads` is {threads}, but this process may use {usable} CPUs"
                    )));
                }
                Team::new(threads).map(Self::Cpu)
            }
            DeviceKind::Cuda => Err(Failure::Skipped("this worker drives no CUDA device".into())),
        }
    }

    /// Every device that this worker can use.
    pub fn list() -> Vec<DeviceInfo> {
        vec![DeviceInfo {
            kind: DeviceKind::Cpu,
            index: 0,
            name: host::cpu_model(),
            uuid: None,
        }]
    }
}
