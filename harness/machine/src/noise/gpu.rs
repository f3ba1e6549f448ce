//! What disturbed a GPU while something was measured on it, from telemetry.
//!
//! Heat and a failing power supply force the clock down by an amount that no setting tells: such a
//! round is marked. A power cap is a steady state of many GPUs, idle clocks follow from waiting, and
//! clocks that somebody set hold for all rounds: these are no disturbance.

use assay_record::body::TelemetrySeries;
use nvml_wrapper::bitmasks::device::ThrottleReasons;

/// What disturbed a GPU during a visit, in words with figures; empty where nothing did.
pub fn gpu_disturbances(telemetry: &[TelemetrySeries], gpu: u32) -> Vec<String> {
    let of = |name: &str| {
        let name = format!("gpu.{gpu}.{name}");
        let found = telemetry.iter().find(|series| series.name == name);
        found.map_or(&[][..], |series| &series.values)
    };
    let mut found = slowdowns(of("throttle_reasons"));
    found.extend(memory_errors(of("ecc_uncorrected")));
    found
        .into_iter()
        .map(|what| format!("GPU {gpu} {what}"))
        .collect()
}

/// A cause, and whether a reading shows it.
type Cause = (&'static str, fn(ThrottleReasons) -> bool);

/// The driver sets the bit for a slowdown by the hardware together with that for its cause, and now and then when an idle
/// GPU changes its clock.
const CAUSES: &[Cause] = &[
    ("for heat", |reasons| reasons.intersects(HEAT)),
    ("by its power supply (power brake)", |reasons| {
        reasons.contains(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN)
    }),
    ("by its hardware", |reasons| {
        let explained = HEAT | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN | ThrottleReasons::GPU_IDLE;
        reasons.contains(ThrottleReasons::HW_SLOWDOWN) && !reasons.intersects(explained)
    }),
];

const HEAT: ThrottleReasons =
    ThrottleReasons::SW_THERMAL_SLOWDOWN.union(ThrottleReasons::HW_THERMAL_SLOWDOWN);

fn slowdowns(readings: &[f64]) -> Vec<String> {
    let said = |(cause, shows): &Cause| {
        let reasons = readings
            .iter()
            .map(|&bits| ThrottleReasons::from_bits_truncate(bits as u64));
        let count = reasons.filter(|&reasons| shows(reasons)).count();
        let all = readings.len();
        (count > 0).then(|| format!("was slowed down {cause} in {count} of {all} readings"))
    };
    CAUSES.iter().filter_map(said).collect()
}

/// Errors that ECC could not mend, counted since the driver was loaded.
fn memory_errors(readings: &[f64]) -> Option<String> {
    let more = readings.last()? - readings.first()?;
    (more > 0.0).then(|| format!("counted {more} uncorrected memory errors"))
}

#[cfg(test)]
mod tests {
    use assay_record::body::TelemetrySeries;

    use super::gpu_disturbances;

    fn series(name: &str, values: &[f64]) -> TelemetrySeries {
        TelemetrySeries {
            name: name.to_owned(),
            unit: "bits".to_owned(),
            at_ns: (0..values.len() as u64).collect(),
            values: values.to_vec(),
        }
    }

    fn said(bits: &[f64]) -> Vec<String> {
        gpu_disturbances(&[series("gpu.1.throttle_reasons", bits)], 1)
    }

    #[test]
    fn a_power_cap_and_idle_clocks_are_no_disturbance() {
        assert_eq!(said(&[]), [""; 0]);
        // None, idle, application clocks, power cap, sync boost, display clocks.
        assert_eq!(said(&[0.0, 1.0, 2.0, 4.0, 16.0, 256.0]), [""; 0]);
        // The hardware slows an idle GPU.
        assert_eq!(said(&[9.0]), [""; 0]);
        assert_eq!(gpu_disturbances(&[], 0), [""; 0]);
    }

    #[test]
    fn heat_and_the_power_supply_mark_a_round() {
        assert_eq!(
            said(&[4.0, 0x24.into(), 0x48.into()]),
            ["GPU 1 was slowed down for heat in 2 of 3 readings"]
        );
        assert_eq!(
            said(&[0x88.into()]),
            ["GPU 1 was slowed down by its power supply (power brake) in 1 of 1 readings"]
        );
        assert_eq!(
            said(&[8.0, 4.0]),
            ["GPU 1 was slowed down by its hardware in 1 of 2 readings"]
        );
    }

    #[test]
    fn only_the_gpu_that_was_used_counts() {
        let telemetry = [
            series("gpu.0.throttle_reasons", &[0x48.into()]),
            series("gpu.10.ecc_uncorrected", &[3.0, 3.0, 5.0]),
        ];
        assert_eq!(gpu_disturbances(&telemetry, 1), [""; 0]);
        assert_eq!(gpu_disturbances(&telemetry, 0).len(), 1);
        assert_eq!(
            gpu_disturbances(&telemetry, 10),
            ["GPU 10 counted 2 uncorrected memory errors"]
        );
    }
}
