//! Telemetry of GPUs through NVML, one source for each metric, so that each fails alone.
//!
//! A GPU is called by NVML's number, as in the fingerprint, where `gpu.N.uuid` says which one it is.
//! `power` is what the driver says: on many GPUs the mean of the last second, renewed ten times in
//! it; for work done in a stretch of time, the difference of two readings of `energy` is the better
//! figure. Of a divided GPU (MIG) most metrics are those of the whole, utilisation is silent, and
//! each instance has its memory (`gpu.N.mig.M.memory_used`).

use std::rc::Rc;
use std::time::Duration;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, PcieUtilCounter};

use super::source::Source;
use crate::gpu::{Gpus, mig, state};
use crate::reading::Reading;

/// A metric: name behind `gpu.N.`, unit, how often its counter changes, and how it is read.
type Metric = (
    &'static str,
    &'static str,
    Duration,
    fn(&Device<'_>) -> Reading<f64>,
);

const FAST: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(500);
/// What seldom changes, and asks the GPU's own processor.
const RARE: Duration = Duration::from_secs(2);

const METRICS: &[Metric] = &[
    ("power", "W", FAST, state::power),
    ("energy", "J", FAST, state::energy_joules),
    ("sm_clock", "MHz", FAST, |device| {
        state::clock(device, Clock::SM)
    }),
    ("throttle_reasons", "bits", FAST, |device| {
        Ok(state::throttle_reasons(device)?.bits() as f64)
    }),
    ("memory_clock", "MHz", SLOW, |device| {
        state::clock(device, Clock::Memory)
    }),
    ("temperature", "°C", SLOW, state::temperature),
    ("memory_temperature", "°C", SLOW, state::memory_temperature),
    ("utilization", "%", SLOW, state::utilization),
    ("memory_used", "MiB", SLOW, state::memory_used_mib),
    ("ecc_corrected", "errors", RARE, |device| {
        let [(_, corrected), _] = state::ECC_ERRORS;
        Ok(state::ecc_errors(device, corrected, EccCounter::Volatile)? as f64)
    }),
    ("ecc_uncorrected", "errors", RARE, |device| {
        let [_, (_, uncorrected)] = state::ECC_ERRORS;
        Ok(state::ecc_errors(device, uncorrected, EccCounter::Volatile)? as f64)
    }),
];

/// Each value is a mean over 20 ms, for which the call blocks: more often would see little more, and wait all the time.
const PCIE: &[Metric] = &[
    ("pcie_rx", "MB/s", SLOW, |device| {
        state::pcie_megabytes(device, PcieUtilCounter::Receive)
    }),
    ("pcie_tx", "MB/s", SLOW, |device| {
        state::pcie_megabytes(device, PcieUtilCounter::Send)
    }),
];

/// What an instance of a divided GPU has of its own.
const INSTANCE: &[Metric] = &[("memory_used", "MiB", SLOW, state::memory_used_mib)];

/// Metrics whose calls answer at once.
pub(super) fn sources(gpus: &Gpus) -> Vec<Source<'_>> {
    let mut sources = Vec::new();
    for (index, device) in gpus.devices() {
        let instances = device.as_ref().map(mig::instances).unwrap_or_default();
        sources.extend(of_device(&format!("gpu.{index}"), device, METRICS));
        for (place, instance) in instances {
            let prefix = format!("gpu.{index}.mig.{place}");
            sources.extend(of_device(&prefix, instance, INSTANCE));
        }
    }
    sources
}

/// Metrics whose calls block, for a thread of their own.
pub(super) fn slow_sources(gpus: &Gpus) -> Vec<Source<'_>> {
    let of_gpu = |(index, device)| of_device(&format!("gpu.{index}"), device, PCIE);
    gpus.devices().into_iter().flat_map(of_gpu).collect()
}

fn of_device<'a>(
    prefix: &str,
    device: Reading<Device<'a>>,
    metrics: &'static [Metric],
) -> Vec<Source<'a>> {
    let device = Rc::new(device);
    let source = |(name, unit, period, read): &'static Metric| {
        let device = Rc::clone(&device);
        let reader = move || read((*device).as_ref().map_err(Clone::clone)?);
        Source::one(&format!("{prefix}.{name}"), unit, *period, reader)
    };
    metrics.iter().map(source).collect()
}
