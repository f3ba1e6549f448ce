//! Switches of the kernel that change speed or its spread: huge pages, swapping, address-space
//! randomisation, NUMA balancing, isolated CPUs, the clock source.

use super::Machine;
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading, chosen};
use crate::roots::Roots;

/// Names of settings and the files that hold their numbers.
const NUMBERS: &[(&str, &str)] = &[
    (
        "kernel.address_randomization",
        "/proc/sys/kernel/randomize_va_space",
    ),
    ("kernel.numa_balancing", "/proc/sys/kernel/numa_balancing"),
    (
        "kernel.perf_event_paranoid",
        "/proc/sys/kernel/perf_event_paranoid",
    ),
    ("kernel.nmi_watchdog", "/proc/sys/kernel/nmi_watchdog"),
    (
        "kernel.sched_autogroup",
        "/proc/sys/kernel/sched_autogroup_enabled",
    ),
    ("memory.swappiness", "/proc/sys/vm/swappiness"),
    ("memory.overcommit", "/proc/sys/vm/overcommit_memory"),
    ("memory.zone_reclaim", "/proc/sys/vm/zone_reclaim_mode"),
    ("memory.same_page_merging", "/sys/kernel/mm/ksm/run"),
];

const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";
const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage";
const RESERVED: &str = "/sys/kernel/mm/hugepages";

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let (roots, sheet) = (machine.roots, &mut parts.settings);
    for (name, file) in NUMBERS {
        sheet.put(*name, roots.number(file));
    }
    huge_pages(roots, sheet);
    sheet.put("cpu.isolated", cpus(roots, "isolated"));
    sheet.put("cpu.nohz_full", cpus(roots, "nohz_full"));
    sheet.put(
        "clock.source",
        roots.read(format!("{CLOCK}/current_clocksource")),
    );
    sheet.put(
        "clock.sources",
        roots.read(format!("{CLOCK}/available_clocksource")),
    );
}

fn huge_pages(roots: &Roots, sheet: &mut Sheet) {
    let choice = |file: &str| {
        roots
            .read(format!("{TRANSPARENT}/{file}"))
            .map(|text| chosen(&text).to_owned())
    };
    sheet.put("memory.transparent_hugepages", choice("enabled"));
    sheet.put("memory.transparent_hugepages_defrag", choice("defrag"));
    for folder in roots.list(RESERVED).unwrap_or_default() {
        let Some(size) = folder
            .strip_prefix("hugepages-")
            .and_then(|size| size.strip_suffix("kB"))
        else {
            continue;
        };
        sheet.put(
            format!("memory.hugepages_{size}kib"),
            roots.number(format!("{RESERVED}/{folder}/nr_hugepages")),
        );
    }
}

/// A list of CPUs; the kernel writes an empty line, or `(null)`, for none.
fn cpus(roots: &Roots, file: &str) -> Reading<String> {
    let bytes = roots.bytes(format!("/sys/devices/system/cpu/{file}"))?;
    let text = String::from_utf8_lossy(&bytes);
    match text.trim() {
        "" | "(null)" => Ok("none".to_owned()),
        list if crate::reading::cpu_list(list).is_some() => Ok(list.to_owned()),
        other => Err(Gap::Error(format!(
            "`{}` is not a list of CPUs",
            crate::reading::excerpt(other)
        ))),
    }
}
