//! What a GPU does at this moment: clocks, power, temperature, use, and errors so far. Each
//! reading is checked against what can be true.

use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, PcieUtilCounter, TemperatureSensor,
};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_MEMORY_TEMP;

use super::fields::Gpu;
use super::reading;
use crate::parts::Parts;
use crate::reading::{CELSIUS, Gap, MEGAHERTZ, Reading, within};

pub(super) fn probe(gpu: &Gpu<'_>, parts: &mut Parts) {
    let (sheet, device) = (&mut parts.volatile, &gpu.device);
    gpu.put(sheet, "temperature_c", temperature(device));
    gpu.put(sheet, "memory_temperature_c", memory_temperature(device));
    gpu.put(sheet, "power_watts", power(device));
    gpu.put(sheet, "sm_mhz", clock(device, Clock::SM));
    gpu.put(sheet, "memory_mhz", clock(device, Clock::Memory));
    gpu.put(sheet, "utilization_percent", utilization(device));
    let memory = memory_bytes(device);
    let total = memory.clone().map(|(total, _)| total >> 20);
    gpu.put(sheet, "memory_total_mib", total);
    gpu.put(sheet, "memory_used_mib", memory.map(|(_, used)| used >> 20));
    let reasons = throttle_reasons(device).map(names);
    gpu.put(sheet, "throttle_reasons", reasons);
    for (kind, error) in ECC_ERRORS {
        // Since the driver was loaded, and over the life of the board.
        let since_load = ecc_errors(device, error, EccCounter::Volatile);
        gpu.put(sheet, &format!("ecc_errors.{kind}"), since_load);
        let of_life = ecc_errors(device, error, EccCounter::Aggregate);
        gpu.put(sheet, &format!("ecc_errors.{kind}_of_life"), of_life);
    }
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

/// Total and used bytes of the memory.
pub(crate) fn memory_bytes(device: &Device<'_>) -> Reading<(u64, u64)> {
    /// 16 TiB.
    const MOST: u64 = 1 << 44;
    let info = reading(device.memory_info())?;
    let total = within(info.total, &(0..=MOST), "B")?;
    Ok((total, within(info.used, &(0..=total), "B")?))
}

pub(crate) fn memory_used_mib(device: &Device<'_>) -> Reading<f64> {
    Ok(memory_bytes(device)?.1 as f64 / f64::from(1 << 20))
}

/// Joules since the driver was loaded. A GPU that drew 1 kW for thirty years is not there yet.
pub(crate) fn energy_joules(device: &Device<'_>) -> Reading<f64> {
    let joules = reading(device.total_energy_consumption())? as f64 / 1000.0;
    within(joules, &(0.0..=1e12), "J")
}

/// Of the memory chips; only NVML's list of fields has it.
pub(crate) fn memory_temperature(device: &Device<'_>) -> Reading<f64> {
    let answers = reading(device.field_values_for(&[FieldId(NVML_FI_DEV_MEMORY_TEMP)]))?;
    let missing = Gap::Error("NVML gave no answer".to_owned());
    let sample = reading(answers.into_iter().next().ok_or(missing)?)?;
    let degrees = match reading(sample.value)? {
        SampleValue::U32(value) => f64::from(value),
        SampleValue::U64(value) => value as f64,
        SampleValue::I64(value) => value as f64,
        SampleValue::F64(value) => value,
    };
    within(degrees, &CELSIUS, "°C")
}

pub(crate) const ECC_ERRORS: [(&str, MemoryError); 2] = [
    ("corrected", MemoryError::Corrected),
    ("uncorrected", MemoryError::Uncorrected),
];

/// Errors of all memories that ECC found.
pub(crate) fn ecc_errors(
    device: &Device<'_>,
    error: MemoryError,
    since: EccCounter,
) -> Reading<u64> {
    within(
        reading(device.total_ecc_errors(error, since))?,
        &(0..=1 << 40),
        "errors",
    )
}

/// MB/s over the 20 ms for which the call looks, and blocks.
pub(crate) fn pcie_megabytes(device: &Device<'_>, way: PcieUtilCounter) -> Reading<f64> {
    let kilobytes = f64::from(reading(device.pcie_throughput(way))?);
    // 16 lanes of the seventh generation carry 256 GB/s.
    within(kilobytes / 1000.0, &(0.0..=1e6), "MB/s")
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
