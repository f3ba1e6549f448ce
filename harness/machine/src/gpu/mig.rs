//! GPUs that are divided (MIG): the instances that there are, and what can be asked of one.
//!
//! How a GPU is divided is a setting. An instance has its own memory and UUID; power, temperature,
//! clocks and energy are those of the whole GPU, and a divided GPU tells no utilisation.

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;

use super::fields::Gpu;
use super::{reading, state};
use crate::parts::Parts;
use crate::reading::Reading;

/// No GPU is divided into more.
const MOST: u32 = 64;

pub(super) fn probe(gpu: &Gpu<'_>, parts: &mut Parts) {
    let mode = reading(gpu.device.mig_mode());
    let sheet = &mut parts.settings;
    gpu.put(sheet, "mig", mode.clone().map(|mode| mode.current == 1));
    let pending = mode.map(|mode| mode.pending == 1);
    gpu.put(sheet, "mig_pending", pending);
    for (place, instance) in instances(&gpu.device) {
        let field = |name: &str| format!("mig.{place}.{name}");
        let device = instance.as_ref().map_err(Clone::clone);
        let name = device.clone().and_then(|device| reading(device.name()));
        let uuid = device.clone().and_then(|device| reading(device.uuid()));
        let memory = device.and_then(state::memory_bytes);
        let sheet = &mut parts.settings;
        gpu.put(sheet, &field("name"), name);
        gpu.put(sheet, &field("uuid"), uuid);
        let total = memory.clone().map(|(total, _)| total >> 20);
        gpu.put(sheet, &field("memory_mib"), total);
        let used = memory.map(|(_, used)| used >> 20);
        gpu.put(&mut parts.volatile, &field("memory_used_mib"), used);
    }
}

/// The instances of a GPU by their places; empty where it is not divided, or where that is not known.
pub(crate) fn instances<'a>(gpu: &Device<'a>) -> Vec<(u32, Reading<Device<'a>>)> {
    let is_divided = gpu.mig_mode().is_ok_and(|mode| mode.current == 1);
    let places = if is_divided {
        gpu.mig_device_count().unwrap_or(0).min(MOST)
    } else {
        0
    };
    let instance = |place| match gpu.mig_device_by_index(place) {
        // A place that is free.
        Err(NvmlError::NotFound | NvmlError::InvalidArg) => None,
        answer => Some((place, reading(answer))),
    };
    (0..places).filter_map(instance).collect()
}
