//! Telemetry of GPUs through NVML, one source for each metric, so that each fails alone.
//!
//! `PCIe` throughput is left out: asking for it blocks for 20 ms.

use std::rc::Rc;
use std::time::Duration;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::Clock;

use super::source::Source;
use crate::gpu::{Gpus, state};
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
    ("utilization", "%", SLOW, state::utilization),
    ("memory_used", "MiB", SLOW, state::memory_used_mib),
];

pub(super) fn sources(gpus: &Gpus) -> Vec<Source<'_>> {
    let mut sources = Vec::new();
    for (index, device) in gpus.devices() {
        let device = Rc::new(device);
        for (name, unit, period, read) in METRICS {
            let device = Rc::clone(&device);
            let reader = move || read((*device).as_ref().map_err(Clone::clone)?);
            sources.push(Source::one(
                &format!("gpu.{index}.{name}"),
                unit,
                *period,
                reader,
            ));
        }
    }
    sources
}
