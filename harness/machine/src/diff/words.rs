//! What fields are called in sentences, their units, and how much they usually matter for speed.

use assay_record::Scalar;

/// A field as a sentence speaks of it.
pub(super) struct Phrase {
    /// Subject of the sentence, with its article.
    pub(super) subject: String,
    /// Lower matters more.
    pub(super) rank: u32,
    unit: &'static str,
}

/// Pattern of the name (`*` is one part between dots), subject (`*` is what it stood for), unit.
/// The order is the rank.
const WORDS: &[(&str, &str, &str)] = &[
    ("arm.*.worker", "The worker of arm *", ""),
    ("arm.*.engine", "What starts the workers of arm *", ""),
    ("gpu.*.name", "The model of GPU *", ""),
    ("gpu.count", "The number of GPUs", ""),
    ("cpu.model", "The CPU model", ""),
    ("gpu.*.power.limit_watts", "The power limit of GPU *", "W"),
    (
        "gpu.*.power.enforced_watts",
        "The enforced power limit of GPU *",
        "W",
    ),
    (
        "gpu.*.clocks.application_sm_mhz",
        "The application clock of GPU *",
        "MHz",
    ),
    (
        "gpu.*.clocks.application_memory_mhz",
        "The memory application clock of GPU *",
        "MHz",
    ),
    (
        "gpu.*.clocks.locked_sm_mhz",
        "The clock that Assay locked on GPU *",
        "MHz",
    ),
    (
        "gpu.*.clocks.locked_memory_mhz",
        "The memory clock that Assay locked on GPU *",
        "MHz",
    ),
    ("gpu.*.mig", "MIG mode of GPU *", ""),
    ("gpu.*.ecc", "ECC of GPU *", ""),
    ("cpu.governor", "The CPU governor", ""),
    ("cpu.energy_preference", "The CPU's energy preference", ""),
    ("cpu.turbo", "Turbo", ""),
    (
        "cpu.limit_max_mhz",
        "The upper limit of the CPU clock",
        "MHz",
    ),
    (
        "cpu.limit_min_mhz",
        "The lower limit of the CPU clock",
        "MHz",
    ),
    (
        "cpu.*.power_limit_long_watts",
        "The long-term power limit of the CPU (*)",
        "W",
    ),
    (
        "cpu.*.power_limit_short_watts",
        "The short-term power limit of the CPU (*)",
        "W",
    ),
    ("power.source", "The power source", ""),
    ("power.platform_profile", "The platform's power profile", ""),
    ("nvidia.driver", "The NVIDIA driver", ""),
    ("nvidia.kernel_module", "The NVIDIA kernel module", ""),
    ("cuda.driver", "The driver's CUDA version", ""),
    ("gpu.*.vbios", "The VBIOS of GPU *", ""),
    ("gpu.*.uuid", "The UUID of GPU *", ""),
    ("cuda.toolkit", "The CUDA toolkit", ""),
    ("cpu.microcode", "The CPU microcode", ""),
    ("mitigation.*", "The mitigation of *", ""),
    ("kernel.release", "The kernel", ""),
    ("kernel.version", "The kernel's build", ""),
    ("kernel.parameters", "The kernel's parameters for speed", ""),
    ("kernel.preemption", "The kernel's preemption model", ""),
    ("arm.*.image", "The image of arm *", ""),
    // What others did to the machine.
    ("rounds.disturbed", "The number of disturbed rounds", ""),
    ("load.1min", "The load", ""),
    (
        "cpu.steal_percent_since_boot",
        "The time stolen by the hypervisor",
        "%",
    ),
    (
        "gpu.*.utilization_percent",
        "The use of GPU * by others",
        "%",
    ),
    (
        "gpu.*.processes",
        "The number of other processes on GPU *",
        "",
    ),
    ("firmware.version", "The firmware (BIOS)", ""),
    ("cpu.smt", "SMT", ""),
    ("cpu.cores", "The number of cores", ""),
    ("cpu.threads", "The number of hardware threads", ""),
    ("cpu.sockets", "The number of sockets", ""),
    ("cpu.online", "The list of CPUs that are online", ""),
    ("cpu.features", "The list of instruction sets", ""),
    ("cgroup.cpu_limit", "The control group's CPU limit", "CPUs"),
    ("cgroup.cpus", "The control group's list of CPUs", ""),
    (
        "cgroup.memory_limit_mib",
        "The control group's memory limit",
        "MiB",
    ),
    ("process.cpus", "The list of CPUs this process may use", ""),
    ("process.nice", "The niceness of this process", ""),
    ("memory.total_mib", "The memory", "MiB"),
    ("memory.modules", "The memory modules", ""),
    ("numa.nodes", "The number of NUMA nodes", ""),
    ("virtual.hypervisor", "The hypervisor", ""),
    ("container.kind", "The container around this process", ""),
    ("clock.source", "The clock source", ""),
    (
        "memory.transparent_hugepages",
        "The mode of transparent huge pages",
        "",
    ),
    (
        "memory.hugepages_2048kib",
        "The number of reserved 2 MiB pages",
        "",
    ),
    ("kernel.numa_balancing", "NUMA balancing", ""),
    ("cpu.isolated", "The list of isolated CPUs", ""),
    ("gpu.*.persistence", "Persistence mode of GPU *", ""),
    ("gpu.*.compute_mode", "The compute mode of GPU *", ""),
    (
        "gpu.*.nvlink.active",
        "The number of active NVLinks of GPU *",
        "",
    ),
    ("libc.version", "The C library", ""),
    ("os.name", "The operating system", ""),
    ("swap.total_mib", "The swap space", "MiB"),
    (
        "kernel.address_randomization",
        "Address-space randomisation",
        "",
    ),
    ("machine.id", "The machine's identity", ""),
    ("policy.rounds", "The number of rounds", ""),
    // What moves by itself.
    ("cpu.mhz_mean", "The CPU clock at that moment", "MHz"),
    ("gpu.*.temperature_c", "The temperature of GPU *", "°C"),
    ("gpu.*.sm_mhz", "The clock of GPU * at that moment", "MHz"),
    ("gpu.*.power_watts", "The power draw of GPU *", "W"),
    (
        "gpu.*.ecc_errors.uncorrected",
        "The number of uncorrected memory errors of GPU *",
        "",
    ),
    (
        "gpu.*.pcie.width",
        "The number of PCIe lanes in use by GPU *",
        "",
    ),
    ("swap.used_mib", "The swap in use", "MiB"),
];

/// Readings that say what others did to the machine, rather than how it is.
const LOADS: [&str; 4] = [
    "load.1min",
    "cpu.steal_percent_since_boot",
    "gpu.*.utilization_percent",
    "gpu.*.processes",
];

/// Whether a volatile reading is one of the use by others.
pub(super) fn is_load(name: &str) -> bool {
    LOADS.iter().any(|pattern| matched(pattern, name).is_some())
}

impl Phrase {
    pub(super) fn of(name: &str) -> Self {
        let known = WORDS
            .iter()
            .enumerate()
            .find_map(|(rank, (pattern, subject, unit))| {
                let stood_for = matched(pattern, name)?;
                Some(Self {
                    subject: subject.replace('*', &stood_for),
                    rank: rank as u32,
                    unit,
                })
            });
        known.unwrap_or_else(|| Self {
            subject: format!("`{name}`"),
            rank: WORDS.len() as u32,
            unit: unit_of(name),
        })
    }

    /// A value with its unit.
    pub(super) fn value(&self, value: &Scalar) -> String {
        let shown = match value {
            Scalar::Bool(on) => return if *on { "on" } else { "off" }.to_owned(),
            Scalar::Float(value) => ((value * 100.0).round() / 100.0).to_string(),
            other => other.to_string(),
        };
        let is_number = shown.parse::<f64>().is_ok();
        if is_number && !self.unit.is_empty() {
            format!("{shown} {}", self.unit)
        } else {
            shown
        }
    }
}

/// What `*` stands for where the name fits the pattern; empty where there is no `*`.
fn matched(pattern: &str, name: &str) -> Option<String> {
    let (wanted, given) = (pattern.split('.'), name.split('.'));
    if wanted.clone().count() != given.clone().count() {
        return None;
    }
    let mut stood_for = "";
    for (wanted, given) in wanted.zip(given) {
        match wanted {
            "*" => stood_for = given,
            _ if wanted == given => {}
            _ => return None,
        }
    }
    Some(stood_for.to_owned())
}

/// The unit that the end of a name says.
fn unit_of(name: &str) -> &'static str {
    const ENDINGS: &[(&str, &str)] = &[
        ("_mib", "MiB"),
        ("_kib", "KiB"),
        ("_gib", "GiB"),
        ("_watts", "W"),
        ("_mhz", "MHz"),
        ("_c", "°C"),
        ("_percent", "%"),
        ("_bytes", "B"),
    ];
    ENDINGS
        .iter()
        .find(|(ending, _)| name.ends_with(ending))
        .map_or("", |(_, unit)| unit)
}
