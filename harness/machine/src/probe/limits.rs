//! Limits and placement of this very process, which the workers inherit.

use super::Machine;
use crate::parts::Parts;
use crate::reading::{Gap, Reading, after_key};

/// Lines of `/proc/self/limits` that can change what a workload does.
const LIMITS: &[(&str, &str)] = &[
    ("limit.stack_bytes", "Max stack size"),
    ("limit.locked_memory_bytes", "Max locked memory"),
    ("limit.address_space_bytes", "Max address space"),
    ("limit.open_files", "Max open files"),
    ("limit.processes", "Max processes"),
    ("limit.realtime_priority", "Max realtime priority"),
];

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let limits = machine.roots.read("/proc/self/limits");
    for (name, line) in LIMITS {
        parts.settings.put(
            *name,
            limits.clone().and_then(|text| soft_limit(&text, line)),
        );
    }
    let status = machine.roots.read("/proc/self/status");
    let entry = |key: &str| {
        status.clone().and_then(|text| {
            after_key(&text, key)
                .map(str::to_owned)
                .ok_or(Gap::Unsupported)
        })
    };
    parts
        .settings
        .put("process.cpus", entry("Cpus_allowed_list"));
    parts
        .settings
        .put("process.numa_nodes", entry("Mems_allowed_list"));
    parts.settings.put(
        "process.speculative_store_bypass",
        entry("Speculation_Store_Bypass"),
    );
    parts.settings.put("process.nice", nice(machine));
}

fn soft_limit(text: &str, line: &str) -> Reading<String> {
    let rest = text
        .lines()
        .find_map(|candidate| candidate.strip_prefix(line))
        .ok_or(Gap::Unsupported)?;
    rest.split_whitespace()
        .next()
        .map(str::to_owned)
        .ok_or(Gap::Unsupported)
}

/// Field 19 of `/proc/self/stat`, counted behind the name in parentheses.
fn nice(machine: &Machine<'_>) -> Reading<i64> {
    let text = machine.roots.read("/proc/self/stat")?;
    let (_, rest) = text
        .rsplit_once(')')
        .ok_or_else(|| Gap::Error("no name in /proc/self/stat".to_owned()))?;
    crate::reading::number(rest.split_whitespace().nth(16).unwrap_or_default())
}
