//! Devices that run programs: the host's processor, and NVIDIA GPUs where there is a driver.

mod barrier;
pub mod caches;
mod cpu;
mod crew;
pub mod cuda;
pub mod host;
pub(crate) mod libraries;
pub mod memory;
mod outcome;
mod team;

use assay_protocol::{CaseSpec, DeviceInfo, DeviceKind, Failure, ParamValue, Workload};

use crate::program::Program;

#[cfg(test)]
pub use cpu::CpuCase;
pub use cuda::LibraryCall;
#[cfg(test)]
pub use outcome::Beside;
pub(crate) use outcome::{digest_of, outputs, verify};
pub use team::{Member, Team, chunk};

/// Every device that this worker can use.
pub fn list() -> Vec<DeviceInfo> {
    let cpu = DeviceInfo {
        kind: DeviceKind::Cpu,
        index: 0,
        name: host::cpu_model(),
        uuid: None,
    };
    [cpu].into_iter().chain(cuda::list()).collect()
}

/// Allocates and builds the inputs of a program on the device that its case selects.
pub fn prepare(case: &CaseSpec, program: Program) -> Result<Box<dyn Workload>, Failure> {
    match case.device.kind {
        DeviceKind::Cpu => Ok(Box::new(cpu::CpuCase::new(case, program, team(case)?)?)),
        DeviceKind::Cuda => Ok(Box::new(cuda::CudaCase::new(case, program)?)),
    }
}

/// The threads that a case asks for.
///
/// More than this process may use are skipped rather than run: threads that wait for each other's time
/// slice measure the scheduler.
fn team(case: &CaseSpec) -> Result<Team, Failure> {
    let value = case.params.get("threads");
    let threads = value.and_then(ParamValue::as_u64).filter(|n| *n >= 1);
    let threads = threads
        .ok_or_else(|| crate::parameters::wrong("threads", "an integer of at least 1", value))?;
    let usable = host::usable_cpus();
    match usize::try_from(threads) {
        Ok(threads) if threads <= usable => Team::new(threads),
        _ => Err(Failure::Skipped(format!(
            "parameter `threads` is {threads}, but this process may use {usable} CPUs"
        ))),
    }
}
