//! Clocks and temperatures at this moment, checked against what silicon can do.

use super::Machine;
use crate::parts::{Parts, Sheet};
use crate::reading::{CELSIUS, Gap, MEGAHERTZ, Reading, decimal, number, within};
use crate::roots::Roots;

const CPUS: &str = "/sys/devices/system/cpu";

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    clocks(machine, &mut parts.volatile);
    temperatures(machine.roots, &mut parts.volatile);
    parts
        .volatile
        .put("cpu.thermal_throttle_events", throttle_events(machine));
}

fn clocks(machine: &Machine<'_>, sheet: &mut Sheet) {
    let mhz = clocks_mhz(machine);
    let summary = |of: fn(&[f64]) -> f64| mhz.clone().map(|mhz| (of(&mhz) * 10.0).round() / 10.0);
    sheet.put(
        "cpu.mhz_lowest",
        summary(|mhz| mhz.iter().copied().fold(f64::INFINITY, f64::min)),
    );
    sheet.put(
        "cpu.mhz_mean",
        summary(|mhz| mhz.iter().sum::<f64>() / mhz.len() as f64),
    );
    sheet.put(
        "cpu.mhz_highest",
        summary(|mhz| mhz.iter().copied().fold(0.0, f64::max)),
    );
}

/// The clock of each CPU: from its frequency policy, else from `/proc/cpuinfo`.
fn clocks_mhz(machine: &Machine<'_>) -> Reading<Vec<f64>> {
    let folder = format!("{CPUS}/cpufreq");
    let policies = machine.roots.numbered(&folder, "policy");
    let read = |policy: &String| {
        let khz = machine
            .roots
            .number(format!("{folder}/{policy}/scaling_cur_freq"))?;
        within(khz as f64 / 1000.0, &MEGAHERTZ, "MHz")
    };
    let from_policies: Reading<Vec<f64>> = policies.iter().map(read).collect();
    if !policies.is_empty() && !matches!(from_policies, Err(Gap::Unsupported)) {
        return from_policies;
    }
    let lines = machine
        .cpuinfo()?
        .lines()
        .filter_map(|line| line.strip_prefix("cpu MHz"));
    let values = lines.map(|rest| {
        within(
            decimal(rest.trim_start_matches(['\t', ' ', ':']))?,
            &MEGAHERTZ,
            "MHz",
        )
    });
    let mhz = values.collect::<Reading<Vec<f64>>>()?;
    if mhz.is_empty() {
        Err(Gap::Unsupported)
    } else {
        Ok(mhz)
    }
}

/// Every temperature of the hardware monitors; of the thermal zones, where there are none.
fn temperatures(roots: &Roots, sheet: &mut Sheet) {
    let sensors = sensor_files(roots);
    if sensors.is_empty() {
        sheet.put("temperature.any", Err::<f64, _>(Gap::Unsupported));
    }
    for (name, file) in sensors {
        sheet.put(format!("temperature.{name}_c"), celsius(roots, &file));
    }
}

/// A file of thousandths of a degree.
fn celsius(roots: &Roots, file: &str) -> Reading<f64> {
    within(roots.number(file)? as f64 / 1000.0, &CELSIUS, "°C")
}

/// Names and files of the temperature sensors.
pub(crate) fn sensor_files(roots: &Roots) -> Vec<(String, String)> {
    let monitors = monitor_files(roots);
    if monitors.is_empty() {
        zone_files(roots)
    } else {
        monitors
    }
}

fn monitor_files(roots: &Roots) -> Vec<(String, String)> {
    const MONITORS: &str = "/sys/class/hwmon";
    let mut files = Vec::new();
    for monitor in roots.numbered(MONITORS, "hwmon") {
        let folder = format!("{MONITORS}/{monitor}");
        let chip = roots
            .read(format!("{folder}/name"))
            .unwrap_or_else(|_| "chip".to_owned());
        for file in roots.list(&folder).unwrap_or_default() {
            let Some(input) = file
                .strip_suffix("_input")
                .filter(|input| input.starts_with("temp"))
            else {
                continue;
            };
            let label = roots
                .read(format!("{folder}/{input}_label"))
                .unwrap_or_else(|_| input.to_owned());
            files.push((
                format!(
                    "{}.{}.{}",
                    name_part(&chip),
                    &monitor["hwmon".len()..],
                    name_part(&label)
                ),
                format!("{folder}/{file}"),
            ));
        }
    }
    files
}

fn zone_files(roots: &Roots) -> Vec<(String, String)> {
    const ZONES: &str = "/sys/class/thermal";
    let zones = roots.numbered(ZONES, "thermal_zone");
    let name = |zone: &str| {
        roots
            .read(format!("{ZONES}/{zone}/type"))
            .unwrap_or_else(|_| "zone".to_owned())
    };
    zones
        .iter()
        .map(|zone| {
            (
                format!(
                    "{}.{}",
                    name_part(&name(zone)),
                    &zone["thermal_zone".len()..]
                ),
                format!("{ZONES}/{zone}/temp"),
            )
        })
        .collect()
}

/// `Package id 0` as a part of a dotted name: `package_id_0`.
fn name_part(text: &str) -> String {
    let clean = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    text.chars().take(40).map(clean).collect()
}

/// How often cores have been slowed down for heat since boot.
fn throttle_events(machine: &Machine<'_>) -> Reading<i64> {
    let mut events = 0_i64;
    for cpu in machine.online() {
        let file = format!("{CPUS}/cpu{cpu}/thermal_throttle/core_throttle_count");
        events = events.saturating_add(number(&machine.roots.read(file)?)?);
    }
    if machine.online().is_empty() {
        Err(Gap::Unsupported)
    } else {
        Ok(events)
    }
}
