//! The fingerprint of a machine: a list of probes, each of which reads one group of properties.
//!
//! A new probe is a function in one of the files below and a line in [`PROBES`]. No probe can
//! fail: a property that cannot be read is noted as unsupported, denied, or an error.

mod caches;
mod cgroup;
mod container;
mod cpu;
mod frequency;
mod kernel;
mod libc;
mod limits;
mod load;
mod memory;
mod mitigations;
mod platform;
mod power;
mod sensors;
mod tools;
mod tuning;

pub(crate) use power::packages;
pub(crate) use sensors::sensor_files;

use std::cell::OnceCell;

use assay_record::Fingerprint;

use crate::gpu::{self, Gpus};
use crate::parts::Parts;
use crate::reading::{Reading, cpu_list};
use crate::roots::Roots;

const PROBES: &[fn(&Machine<'_>, &mut Parts)] = &[
    caches::probe,
    cgroup::probe,
    container::probe,
    cpu::probe,
    frequency::probe,
    kernel::probe,
    libc::probe,
    limits::probe,
    load::probe,
    memory::probe,
    mitigations::probe,
    platform::probe,
    power::probe,
    sensors::probe,
    tools::probe,
    tuning::probe,
];

/// The files of one machine, with the large ones read once.
pub(crate) struct Machine<'a> {
    pub(crate) roots: &'a Roots,
    cpuinfo: OnceCell<Reading<String>>,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(roots: &'a Roots) -> Self {
        Self {
            roots,
            cpuinfo: OnceCell::new(),
        }
    }

    /// `/proc/cpuinfo`.
    pub(crate) fn cpuinfo(&self) -> Reading<&str> {
        let text = self
            .cpuinfo
            .get_or_init(|| self.roots.read("/proc/cpuinfo"));
        text.as_ref().map(String::as_str).map_err(Clone::clone)
    }

    /// The CPUs that are running, by number.
    pub(crate) fn online(&self) -> Vec<u32> {
        let listed = self.roots.read("/sys/devices/system/cpu/online");
        listed
            .ok()
            .and_then(|text| cpu_list(&text))
            .unwrap_or_default()
    }
}

/// The fingerprint of the machine whose files lie below `roots`. Never fails.
pub fn probe(roots: &Roots, gpus: &Gpus) -> Fingerprint {
    let machine = Machine::new(roots);
    let mut parts = Parts::default();
    for probe in PROBES {
        probe(&machine, &mut parts);
    }
    gpu::fields::probe(roots, gpus, &mut parts);
    parts.finish()
}

/// The fingerprint of this machine. Never fails.
///
/// The library named by the environment variable `ASSAY_NVML` takes the place of the driver's.
pub fn fingerprint() -> Fingerprint {
    probe(&Roots::here(), &Gpus::from_environment())
}
