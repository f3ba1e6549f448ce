//! What the CPU is: model, counts, and the instruction sets that kernels choose between.

use std::collections::BTreeSet;

use super::Machine;
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading, after_key, cpu_list};

const CPUS: &str = "/sys/devices/system/cpu";

/// Instruction sets that decide which code path runs, and properties of the time-stamp counter.
const FEATURES: &[&str] = &[
    "aes",
    "amx_bf16",
    "amx_fp16",
    "amx_int8",
    "amx_tile",
    "asimd",
    "asimddp",
    "asimdhp",
    "atomics",
    "avx",
    "avx2",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "avx512bw",
    "avx512f",
    "avx512vl",
    "avx_vnni",
    "bf16",
    "bmi2",
    "constant_tsc",
    "f16c",
    "fma",
    "gfni",
    "i8mm",
    "nonstop_tsc",
    "rtm",
    "sha_ni",
    "sme",
    "sse4_2",
    "sve",
    "sve2",
    "vaes",
];

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    model(machine, &mut parts.hardware);
    counts(machine, &mut parts.hardware);
    kinds(machine, &mut parts.hardware);
    parts.hardware.put("cpu.features", features(machine));
    parts
        .software
        .put("cpu.microcode", entry(machine, &["microcode"]));
}

/// The first entry of `/proc/cpuinfo` under any of these names (they differ by architecture).
fn entry(machine: &Machine<'_>, names: &[&str]) -> Reading<String> {
    let text = machine.cpuinfo()?;
    names
        .iter()
        .find_map(|name| after_key(text, name))
        .map(str::to_owned)
        .ok_or(Gap::Unsupported)
}

fn model(machine: &Machine<'_>, sheet: &mut Sheet) {
    let named = entry(machine, &["model name", "cpu model", "uarch", "machine"]);
    let by_part = || {
        let implementer = entry(machine, &["CPU implementer"])?;
        Ok(arm_name(&implementer, &entry(machine, &["CPU part"])?))
    };
    sheet.put("cpu.model", named.or_else(|_: Gap| by_part()));
    sheet.put(
        "cpu.vendor",
        entry(machine, &["vendor_id", "CPU implementer"]),
    );
    sheet.put(
        "cpu.family",
        entry(machine, &["cpu family", "CPU architecture"]),
    );
    sheet.put("cpu.model_number", entry(machine, &["model", "CPU part"]));
    sheet.put(
        "cpu.stepping",
        entry(machine, &["stepping", "CPU revision"]),
    );
    sheet.put("cpu.architecture", std::env::consts::ARCH);
}

/// Names of the common ARM server cores, which the kernel gives as numbers only.
fn arm_name(implementer: &str, part: &str) -> String {
    let name = match (implementer, part) {
        ("0x41", "0xd03") => "ARM Cortex-A53",
        ("0x41", "0xd08") => "ARM Cortex-A72",
        ("0x41", "0xd0b") => "ARM Cortex-A76",
        ("0x41", "0xd0c") => "ARM Neoverse-N1",
        ("0x41", "0xd40") => "ARM Neoverse-V1",
        ("0x41", "0xd49") => "ARM Neoverse-N2",
        ("0x41", "0xd4f") => "ARM Neoverse-V2",
        ("0xc0", "0xac3" | "0xac4") => "Ampere-1",
        _ => return format!("ARM implementer {implementer} part {part}"),
    };
    name.to_owned()
}

/// Sockets, cores and threads. Threads count every CPU present, so that switching SMT off, which
/// is a setting, leaves the hardware what it was.
fn counts(machine: &Machine<'_>, sheet: &mut Sheet) {
    let online = machine.online();
    sheet.put(
        "cpu.sockets",
        distinct(machine, &online, &["physical_package_id"]),
    );
    sheet.put(
        "cpu.cores",
        distinct(
            machine,
            &online,
            &["core_cpus_list", "thread_siblings_list"],
        ),
    );
    sheet.put("cpu.threads", threads(machine));
}

fn threads(machine: &Machine<'_>) -> Reading<usize> {
    let text = machine.roots.read(format!("{CPUS}/present"))?;
    let cpus =
        cpu_list(&text).ok_or_else(|| Gap::Error(format!("`{text}` is not a list of CPUs")))?;
    Ok(cpus.len())
}

/// How many different values a file of `topology/` has over the CPUs.
fn distinct(machine: &Machine<'_>, cpus: &[u32], files: &[&str]) -> Reading<usize> {
    let mut seen = BTreeSet::new();
    for cpu in cpus {
        seen.insert(topology(machine, *cpu, files)?);
    }
    if seen.is_empty() {
        Err(Gap::Unsupported)
    } else {
        Ok(seen.len())
    }
}

/// The first of some files of a CPU's `topology/` (they were renamed in Linux 5.1).
pub(super) fn topology(machine: &Machine<'_>, cpu: u32, files: &[&str]) -> Reading<String> {
    let mut last = Err(Gap::Unsupported);
    for file in files {
        last = machine
            .roots
            .read(format!("{CPUS}/cpu{cpu}/topology/{file}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Performance and efficiency cores of hybrid x86 CPUs; capacities of ARM's.
fn kinds(machine: &Machine<'_>, sheet: &mut Sheet) {
    for (name, file) in [("performance", "cpu_core"), ("efficiency", "cpu_atom")] {
        if let Ok(cpus) = machine.roots.read(format!("/sys/devices/{file}/cpus")) {
            sheet.put(
                format!("cpu.{name}_threads"),
                cpu_list(&cpus).map_or(0, |cpus| cpus.len()),
            );
        }
    }
    let capacities: Vec<String> = machine
        .online()
        .iter()
        .filter_map(|cpu| {
            machine
                .roots
                .read(format!("{CPUS}/cpu{cpu}/cpu_capacity"))
                .ok()
        })
        .collect();
    if capacities.iter().any(|capacity| capacity != &capacities[0]) {
        sheet.put("cpu.capacities", crate::reading::tally(&capacities));
    }
}

fn features(machine: &Machine<'_>) -> Reading<String> {
    let flags = entry(machine, &["flags", "Features", "features", "isa"])?;
    let mut known: Vec<&str> = flags
        .split_whitespace()
        .filter(|flag| FEATURES.contains(flag))
        .collect();
    known.sort_unstable();
    known.dedup();
    Ok(known.join(" "))
}
