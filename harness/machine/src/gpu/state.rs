//! What a GPU does at this moment: clocks, power, temperature, use, and who else is on it.

use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};

use super::reading;
use crate::parts::Parts;
use crate::reading::{CELSIUS, Gap, MEGAHERTZ, Reading, within};

pub(super) fn probe(device: &Device<'_>, prefix: &str, parts: &mut Parts) {
    let sheet = &mut parts.volatile;
    sheet.put(format!("{prefix}.temperature_c"), temperature(device));
    sheet.put(format!("{prefix}.power_watts"), power(device));
    sheet.put(format!("{prefix}.sm_mhz"), clock(device, Clock::SM));
    sheet.put(format!("{prefix}.memory_mhz"), clock(device, Clock::Memory));
    sheet.put(format!("{prefix}.utilization_percent"), utilization(device));
    let memory = reading(device.memory_info());
    sheet.put(
        format!("{prefix}.memory_total_mib"),
        memory.clone().map(|info| info.total >> 20),
    );
    sheet.put(
        format!("{prefix}.memory_used_mib"),
        memory.map(|info| info.used >> 20),
    );
    sheet.put(
        format!("{prefix}.throttle_reasons"),
        throttle_reasons(device).map(names),
    );
    sheet.put(format!("{prefix}.processes"), processes(device));
    sheet.put(
        format!("{prefix}.pcie.generation"),
        reading(device.current_pcie_link_gen()),
    );
    sheet.put(
        format!("{prefix}.pcie.width"),
        reading(device.current_pcie_link_width()),
    );
}

/// A power in W from NVML's mW; beyond 10 kW the sensor is broken.
pub(super) fn watts(milliwatts: Reading<u32>) -> Reading<f64> {
    within(f64::from(milliwatts?) / 1000.0, &(0.0..=10_000.0), "W")
}

pub(crate) fn power(device: &Device<'_>) -> Reading<f64> {
    watts(reading(device.power_usage()))
}

pub(crate) fn temperature(device: &Device<'_>) -> Reading<f64> {
    // NVML's type is unsigned; a sensor below zero or broken comes out huge.
    within(
        f64::from(reading(device.temperature(TemperatureSensor::Gpu))?),
        &CELSIUS,
        "°C",
    )
}

pub(crate) fn clock(device: &Device<'_>, clock: Clock) -> Reading<f64> {
    within(
        f64::from(reading(device.clock_info(clock))?),
        &MEGAHERTZ,
        "MHz",
    )
}

/// Per cent of the driver's last period (a sixth of a second to a second) with a kernel running.
pub(crate) fn utilization(device: &Device<'_>) -> Reading<f64> {
    within(
        f64::from(reading(device.utilization_rates())?.gpu),
        &(0.0..=100.0),
        "%",
    )
}

pub(crate) fn memory_used_mib(device: &Device<'_>) -> Reading<f64> {
    let info = reading(device.memory_info())?;
    within(
        info.used as f64 / f64::from(1 << 20),
        &(0.0..=info.total as f64 / f64::from(1 << 20)),
        "MiB",
    )
}

/// Joules since the driver was loaded.
pub(crate) fn energy_joules(device: &Device<'_>) -> Reading<f64> {
    Ok(reading(device.total_energy_consumption())? as f64 / 1000.0)
}

pub(crate) fn throttle_reasons(device: &Device<'_>) -> Reading<ThrottleReasons> {
    reading(device.current_throttle_reasons())
}

/// Reasons in words; `none` where clocks are free.
fn names(reasons: ThrottleReasons) -> String {
    let words = [
        (ThrottleReasons::GPU_IDLE, "idle"),
        (
            ThrottleReasons::APPLICATIONS_CLOCKS_SETTING,
            "application clocks",
        ),
        (ThrottleReasons::SW_POWER_CAP, "power cap"),
        (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
        (ThrottleReasons::SYNC_BOOST, "sync boost"),
        (
            ThrottleReasons::SW_THERMAL_SLOWDOWN,
            "software thermal slowdown",
        ),
        (
            ThrottleReasons::HW_THERMAL_SLOWDOWN,
            "hardware thermal slowdown",
        ),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake"),
        (ThrottleReasons::DISPLAY_CLOCK_SETTING, "display clocks"),
    ];
    let set: Vec<&str> = words
        .iter()
        .filter(|(flag, _)| reasons.contains(*flag))
        .map(|(_, word)| *word)
        .collect();
    if set.is_empty() {
        "none".to_owned()
    } else {
        set.join(", ")
    }
}

/// How many processes other than this one hold a context on the GPU.
fn processes(device: &Device<'_>) -> Reading<usize> {
    let compute = reading(device.running_compute_processes());
    let graphics = reading(device.running_graphics_processes());
    if let (Err(gap), Err(_)) = (&compute, &graphics) {
        return Err::<usize, Gap>(gap.clone());
    }
    let mut ids: Vec<u32> = compute
        .into_iter()
        .chain(graphics)
        .flatten()
        .map(|process| process.pid)
        .collect();
    ids.retain(|&id| id != std::process::id());
    ids.sort_unstable();
    ids.dedup();
    Ok(ids.len())
}
