//! What is read of bare machines: AMD with two nodes, an Intel laptop, an ARM board.

use crate::tree::{AMD, ARM, LAPTOP, Tree, shown};

#[test]
fn an_amd_machine_with_two_nodes_and_smt() {
    let machine = Tree::of(&[AMD]).fingerprint();
    let counts = [
        "cpu.sockets",
        "cpu.cores",
        "cpu.threads",
        "numa.nodes",
        "numa.1.memory_mib",
        "memory.total_mib",
    ];
    assert_eq!(
        shown(&machine.hardware, counts),
        ["2", "8", "16", "2", "65536", "131072"]
    );
    let l3 = [
        "cache.l3.size_kib",
        "cache.l3.shared_by_cores",
        "cache.l3.instances",
        "cache.l1d.ways",
        "cache.l1d.shared_by_cores",
    ];
    assert_eq!(shown(&machine.hardware, l3), ["32768", "4", "2", "8", "1"]);
    let names = [
        "cpu.model",
        "cpu.features",
        "virtual.hypervisor",
        "system.product",
        "memory.modules",
        "display.controllers",
    ];
    assert_eq!(
        shown(&machine.hardware, names),
        [
            "AMD EPYC 7003 Made-Up 4-Core Processor",
            "avx avx2 bmi2 constant_tsc fma nonstop_tsc sha_ni sse4_2 vaes",
            "none",
            "MU-2U",
            "Registered-DDR4 65536 MiB",
            "10de:2330"
        ]
    );
}

#[test]
fn its_software_and_settings() {
    let machine = Tree::of(&[AMD]).fingerprint();
    let software = ["kernel.release", "cpu.microcode", "libc.version", "os.name"];
    assert_eq!(
        shown(&machine.software, software),
        [
            "6.1.0-18-amd64",
            "0xa0011d1",
            "Debian GLIBC 2.36-9+deb12u4",
            "Debian GNU/Linux 12 (bookworm)"
        ]
    );
    let settings = [
        "cpu.governor",
        "cpu.turbo",
        "cpu.smt",
        "cpu.limit_max_mhz",
        "cpu.isolated",
        "kernel.parameters",
    ];
    assert_eq!(
        shown(&machine.settings, settings),
        [
            "performance",
            "yes",
            "yes",
            "2450",
            "4-7",
            "isolcpus=4-7 mitigations=auto"
        ],
        "and nothing of the disk's name"
    );
    let more = [
        "process.nice",
        "limit.locked_memory_bytes",
        "kernel.preemption",
        "mitigation.spectre_v2",
        "cgroup.cpu_limit",
    ];
    assert_eq!(
        shown(&machine.settings, more),
        [
            "-5",
            "unlimited",
            "PREEMPT_DYNAMIC",
            "Mitigation: Retpolines; IBPB: conditional",
            "none"
        ]
    );
    let volatile = [
        "temperature.k10temp.2.tctl_c",
        "cpu.mhz_mean",
        "load.1min",
        "uptime_s",
        "memory.free_mib",
    ];
    assert_eq!(
        shown(&machine.volatile, volatile),
        ["45.125", "2400", "0.1", "86400", "97656"]
    );
}

#[test]
fn switching_smt_off_leaves_the_hardware_what_it_was() {
    let tree = Tree::of(&[AMD]);
    let before = tree.fingerprint();
    tree.file("/sys/devices/system/cpu/online", "0-7\n");
    tree.file("/sys/devices/system/cpu/smt/active", "0\n");
    for core in 0..8 {
        tree.file(
            &format!("/sys/devices/system/cpu/cpu{core}/topology/core_cpus_list"),
            core.to_string(),
        );
        let l3 = if core < 4 { "0-3" } else { "4-7" };
        tree.file(
            &format!("/sys/devices/system/cpu/cpu{core}/cache/index3/shared_cpu_list"),
            l3,
        );
    }
    tree.file(
        "/sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list",
        "0\n",
    );
    let after = tree.fingerprint();
    assert_eq!(before.hardware, after.hardware);
    assert_ne!(before.settings, after.settings);
}

#[test]
fn the_machine_id_is_salted_and_never_shown() {
    let machine = Tree::of(&[AMD]).fingerprint();
    let [id] = shown(&machine.hardware, ["machine.id"]);
    assert_eq!(id.len(), 32);
    assert!(
        !serde_json::to_string(&machine)
            .unwrap()
            .contains("0123456789abcdef")
    );
    assert_eq!(
        [id],
        shown(&Tree::of(&[AMD]).fingerprint().hardware, ["machine.id"]),
        "the same each time"
    );
}

#[test]
fn a_boot_that_keeps_a_little_more_memory_is_the_same_machine() {
    let tree = Tree::of(&[AMD]);
    let before = tree.fingerprint().identity(None).unwrap();
    tree.file("/proc/meminfo", "MemTotal: 131850000 kB\n");
    assert_eq!(before, tree.fingerprint().identity(None).unwrap());
}

#[test]
fn an_intel_laptop_on_battery() {
    let machine = Tree::of(&[LAPTOP]).fingerprint();
    let settings = [
        "cpu.governor",
        "cpu.turbo",
        "cpu.energy_preference",
        "cpu.energy_bias",
        "cpu.limit_max_mhz",
        "power.source",
    ];
    assert_eq!(
        shown(&machine.settings, settings),
        [
            "performance (1), powersave (3)",
            "yes",
            "balance_power",
            "8",
            "3500 (2), 4700 (2)",
            "battery"
        ]
    );
    let rapl = [
        "cpu.package_0.power_limit_long_watts",
        "cpu.package_0.power_limit_short_watts",
    ];
    assert_eq!(shown(&machine.settings, rapl), ["28", "64"]);
    assert_eq!(
        shown(
            &machine.hardware,
            ["cpu.performance_threads", "cpu.efficiency_threads"]
        ),
        ["2", "2"]
    );
    assert_eq!(
        shown(
            &machine.volatile,
            [
                "cpu.thermal_throttle_events",
                "temperature.x86_pkg_temp.0_c"
            ]
        ),
        ["12", "93"]
    );
}

#[test]
fn an_arm_board_is_named_by_its_part_and_device_tree() {
    let machine = Tree::of(&[ARM]).fingerprint();
    let names = [
        "cpu.model",
        "cpu.features",
        "cpu.cores",
        "system.product",
        "virtual.machine",
    ];
    assert_eq!(
        shown(&machine.hardware, names),
        [
            "ARM Neoverse-V1",
            "asimd asimddp asimdhp atomics bf16 i8mm sve",
            "2",
            "Made-Up ARM Board",
            "no"
        ]
    );
    assert_eq!(
        shown(&machine.software, ["cpu.microcode"]),
        ["not supported"]
    );
}
