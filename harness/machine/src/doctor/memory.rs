//! Rules on memory: swapping, huge pages, NUMA.

use super::{Finding, Level, View, number, text};

pub(super) fn swap(view: &View<'_>) -> Vec<Finding> {
    let why = "A page that comes back from disk costs a hundred thousand times a cache miss.";
    let total = number(view.setting("swap.total_mib")).unwrap_or(0.0);
    let used = number(view.volatile("swap.used_mib")).unwrap_or(0.0);
    let what = format!("{used} MiB of {total} MiB swap are in use.");
    let level = match (total, used) {
        (0.0, _) => {
            return vec![Finding::good(
                "swap",
                "There is no swap.",
                "No page leaves memory.",
            )];
        }
        (_, used) if used > 64.0 => Level::Warning,
        _ => Level::Note,
    };
    vec![Finding::new("swap", level, what, why, "sudo swapoff -a")]
}

pub(super) fn huge_pages(view: &View<'_>) -> Vec<Finding> {
    let Some(mode) = text(view.setting("memory.transparent_hugepages")) else {
        return Vec::new();
    };
    let what = format!("Transparent huge pages are set to {mode}.");
    let file = "/sys/kernel/mm/transparent_hugepage";
    if mode != "always" {
        let why = "Large arrays get small pages unless the program asks: slower, and the same every time.";
        let fix = format!("To have them: echo always | sudo tee {file}/enabled");
        return vec![Finding::new("huge pages", Level::Note, what, why, fix)];
    }
    let stalls = text(view.setting("memory.transparent_hugepages_defrag")) == Some("always");
    let why = "How many huge pages an array gets depends on how fragmented memory is, so runs after a boot are faster.";
    let fix = if stalls {
        format!("echo madvise | sudo tee {file}/defrag")
    } else {
        format!("echo madvise | sudo tee {file}/enabled")
    };
    vec![Finding::new(
        "huge pages",
        if stalls { Level::Warning } else { Level::Note },
        what,
        why,
        fix,
    )]
}

pub(super) fn numa(view: &View<'_>) -> Vec<Finding> {
    let Some(nodes) = number(view.hardware("numa.nodes")).filter(|&nodes| nodes > 1.0) else {
        return Vec::new();
    };
    let balancing = number(view.setting("kernel.numa_balancing")).is_some_and(|mode| mode > 0.0);
    let what = format!(
        "Memory lies on {nodes} NUMA nodes, and the kernel's balancing is {}.",
        if balancing { "on" } else { "off" }
    );
    let why = "Threads and their memory may lie on different nodes; balancing moves pages in the middle of a measurement.";
    let fix = if balancing {
        "sudo sysctl kernel.numa_balancing=0, and start Assay with `numactl --cpunodebind=0 --membind=0`"
    } else {
        "Start Assay with `numactl --cpunodebind=0 --membind=0`."
    };
    vec![Finding::new(
        "NUMA",
        if balancing {
            Level::Warning
        } else {
            Level::Note
        },
        what,
        why,
        fix,
    )]
}
