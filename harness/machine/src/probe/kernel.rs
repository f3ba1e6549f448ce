//! The kernel, the operating system, and NVIDIA's kernel module.

use super::Machine;
use crate::parts::Parts;
use crate::reading::{Gap, Reading};
use crate::roots::Roots;

/// Kernel parameters that change speed. The others stay out: they name disks and hosts.
const PARAMETERS: &[&str] = &[
    "amd_iommu",
    "amd_pstate",
    "clocksource",
    "cpuidle.governor",
    "cpuidle.off",
    "default_hugepagesz",
    "hugepages",
    "hugepagesz",
    "idle",
    "intel_idle.max_cstate",
    "intel_iommu",
    "intel_pstate",
    "iommu",
    "iommu.passthrough",
    "irqaffinity",
    "isolcpus",
    "kpti",
    "l1tf",
    "maxcpus",
    "mce",
    "mds",
    "mem",
    "mitigations",
    "nohz",
    "nohz_full",
    "nokaslr",
    "noibrs",
    "nopti",
    "norandmaps",
    "nosmt",
    "nospectre_v1",
    "nospectre_v2",
    "nr_cpus",
    "numa",
    "numa_balancing",
    "preempt",
    "processor.max_cstate",
    "pti",
    "rcu_nocbs",
    "retbleed",
    "skew_tick",
    "spec_store_bypass_disable",
    "spectre_v2",
    "threadirqs",
    "transparent_hugepage",
    "tsc",
    "tsx",
];

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let roots = machine.roots;
    let kernel = |file: &str| roots.read(format!("/proc/sys/kernel/{file}"));
    parts.software.put("kernel.release", kernel("osrelease"));
    parts.software.put("kernel.version", kernel("version"));
    parts.software.put("os.name", os_name(roots));
    parts
        .software
        .put("nvidia.kernel_module", nvidia_module(roots));
    parts.settings.put(
        "kernel.parameters",
        roots.read("/proc/cmdline").map(|line| parameters(&line)),
    );
    parts.settings.put(
        "kernel.preemption",
        kernel("version").map(|version| preemption(roots, &version)),
    );
    parts.volatile.put("boot.id", kernel("random/boot_id"));
}

fn os_name(roots: &Roots) -> Reading<String> {
    let text = roots
        .read("/etc/os-release")
        .or_else(|_| roots.read("/usr/lib/os-release"))?;
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|name| name.trim_matches('"').to_owned())
    };
    value("PRETTY_NAME")
        .or_else(|| value("NAME"))
        .ok_or(Gap::Unsupported)
}

/// From `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024`.
fn nvidia_module(roots: &Roots) -> Reading<String> {
    let text = roots.read("/proc/driver/nvidia/version")?;
    let is_version =
        |word: &&str| word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let line = text.lines().next().unwrap_or_default();
    line.split_whitespace()
        .find(is_version)
        .map(str::to_owned)
        .ok_or_else(|| {
            Gap::Error(format!(
                "`{}` names no version",
                crate::reading::excerpt(line)
            ))
        })
}

/// Those parameters of the kernel's command line that change speed, sorted.
fn parameters(line: &str) -> String {
    let is_relevant =
        |word: &&str| PARAMETERS.contains(&word.split('=').next().unwrap_or_default());
    let mut words: Vec<&str> = line.split_whitespace().filter(is_relevant).collect();
    words.sort_unstable();
    if words.is_empty() {
        "none that matter for speed".to_owned()
    } else {
        words.join(" ")
    }
}

/// The preemption model: the one in force where debugfs can be read, else the one built in.
fn preemption(roots: &Roots, version: &str) -> String {
    if let Ok(text) = roots.read("/sys/kernel/debug/sched/preempt")
        && let Some((_, rest)) = text.split_once('(')
        && let Some((model, _)) = rest.split_once(')')
    {
        return model.to_owned();
    }
    let built = ["PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT"];
    let found = built
        .iter()
        .find(|model| version.split_whitespace().any(|word| word == **model));
    found.map_or("none or voluntary", |model| *model).to_owned()
}
