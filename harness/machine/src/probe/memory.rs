//! Memory: how much there is and on which NUMA nodes, rounded so that it stays the same over boots
//! and kernels; how much of it is free now; swap.

use super::Machine;
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading, after_key, number, stable_mib};
use crate::roots::Roots;

const NODES: &str = "/sys/devices/system/node";

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let roots = machine.roots;
    let meminfo = roots.read("/proc/meminfo");
    let kib = |key: &str| meminfo.clone().and_then(|text| entry_kib(&text, key));
    parts
        .hardware
        .put("memory.total_mib", kib("MemTotal").map(stable_mib));
    nodes(roots, parts);
    modules(roots, &mut parts.hardware);
    parts
        .settings
        .put("swap.total_mib", kib("SwapTotal").map(|kib| kib / 1024));
    parts
        .volatile
        .put("memory.free_mib", kib("MemFree").map(|kib| kib / 1024));
    parts.volatile.put(
        "memory.available_mib",
        kib("MemAvailable").map(|kib| kib / 1024),
    );
    let used = kib("SwapTotal").and_then(|total| Ok(total.saturating_sub(kib("SwapFree")?)));
    parts
        .volatile
        .put("swap.used_mib", used.map(|kib| kib / 1024));
}

fn entry_kib(text: &str, key: &str) -> Reading<u64> {
    let value = after_key(text, key).ok_or(Gap::Unsupported)?;
    let kib = number(value.trim_end_matches("kB"))?;
    u64::try_from(kib).map_err(|_| Gap::Error(format!("{key} is {kib} kB")))
}

fn nodes(roots: &Roots, parts: &mut Parts) {
    let nodes = roots.numbered(NODES, "node");
    let count = if nodes.is_empty() {
        Err(Gap::Unsupported)
    } else {
        Ok(nodes.len())
    };
    parts.hardware.put("numa.nodes", count);
    let several = nodes.len() > 1;
    for node in nodes {
        let number = &node["node".len()..];
        let file = |name: &str| roots.read(format!("{NODES}/{node}/{name}"));
        // A single node has all memory; on virtual machines with a balloon its own figure moves.
        if several {
            let memory = file("meminfo").and_then(|text| node_mib(&text));
            parts
                .hardware
                .put(format!("numa.{number}.memory_mib"), memory);
        }
        parts
            .hardware
            .put(format!("numa.{number}.distances"), file("distance"));
        parts
            .settings
            .put(format!("numa.{number}.cpus"), file("cpulist"));
    }
}

/// From lines such as `Node 0 MemTotal:  24684084 kB`.
fn node_mib(text: &str) -> Reading<u64> {
    let line = text
        .lines()
        .find(|line| line.contains("MemTotal:"))
        .ok_or(Gap::Unsupported)?;
    let value = line.rsplit(':').next().unwrap_or_default();
    let kib = number(value.trim().trim_end_matches("kB"))?;
    Ok(stable_mib(u64::try_from(kib).unwrap_or(0)))
}

/// Memory modules as the memory controller's driver (EDAC) lists them, on servers that have one.
fn modules(roots: &Roots, sheet: &mut Sheet) {
    const CONTROLLERS: &str = "/sys/devices/system/edac/mc";
    let mut modules = Vec::new();
    for controller in roots.numbered(CONTROLLERS, "mc") {
        let folder = format!("{CONTROLLERS}/{controller}");
        for module in roots.numbered(&folder, "dimm") {
            let file = |name: &str| {
                roots
                    .read(format!("{folder}/{module}/{name}"))
                    .unwrap_or_default()
            };
            modules.push(format!("{} {} MiB", file("dimm_mem_type"), file("size")));
        }
    }
    sheet.put("memory.modules", crate::reading::tally(&modules));
}
