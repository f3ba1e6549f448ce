//! Where the power comes from and how much of it the CPU may draw.

use super::Machine;
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading, within};
use crate::roots::Roots;

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let (roots, sheet) = (machine.roots, &mut parts.settings);
    sheet.put("power.source", source(roots));
    sheet.put(
        "power.platform_profile",
        roots.read("/sys/firmware/acpi/platform_profile"),
    );
    for (package, folder) in packages(roots) {
        limits(roots, &folder, &format!("cpu.package_{package}"), sheet);
    }
}

/// `mains`, `battery`, or unsupported where there is no battery to run on.
fn source(roots: &Roots) -> Reading<String> {
    const SUPPLIES: &str = "/sys/class/power_supply";
    let mut battery = false;
    for supply in roots.list(SUPPLIES)? {
        let file = |name: &str| {
            roots
                .read(format!("{SUPPLIES}/{supply}/{name}"))
                .unwrap_or_default()
        };
        match file("type").as_str() {
            "Mains" | "USB" if file("online") == "1" => return Ok("mains".to_owned()),
            // A mouse's battery has scope Device.
            "Battery" if file("scope") != "Device" => battery |= file("status") == "Discharging",
            _ => {}
        }
    }
    if battery {
        Ok("battery".to_owned())
    } else {
        Err(Gap::Unsupported)
    }
}

/// The CPU packages whose energy counters (RAPL) the kernel offers: number and folder.
pub(crate) fn packages(roots: &Roots) -> Vec<(String, String)> {
    const ZONES: &str = "/sys/class/powercap";
    let zones = roots.numbered(ZONES, "intel-rapl:");
    let named = zones.into_iter().filter_map(|zone| {
        let folder = format!("{ZONES}/{zone}");
        let name = roots.read(format!("{folder}/name")).ok()?;
        Some((name.strip_prefix("package-")?.to_owned(), folder))
    });
    named
        .filter(|(package, _)| {
            package
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
        .collect()
}

fn limits(roots: &Roots, folder: &str, prefix: &str, sheet: &mut Sheet) {
    for constraint in 0..2 {
        let Ok(name) = roots.read(format!("{folder}/constraint_{constraint}_name")) else {
            continue;
        };
        let watts = roots
            .number(format!("{folder}/constraint_{constraint}_power_limit_uw"))
            .map(|uw| uw as f64 / 1e6);
        let term = if name == "long_term" { "long" } else { "short" };
        sheet.put(
            format!("{prefix}.power_limit_{term}_watts"),
            watts.and_then(|watts| within(watts, &(0.0..=10_000.0), "W")),
        );
    }
}
