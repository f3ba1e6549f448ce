//! Virtual machines, containers, and the limits of control groups of both versions.

use crate::tree::{AMD, ARM, CONTAINER, Tree, VM, shown};

const LIMITS: [&str; 4] = [
    "cgroup.version",
    "cgroup.cpu_limit",
    "cgroup.memory_limit_mib",
    "container.kind",
];

#[test]
fn a_virtual_machine_with_stolen_time() {
    let machine = Tree::of(&[VM]).fingerprint();
    assert_eq!(
        shown(&machine.hardware, ["virtual.machine", "virtual.hypervisor"]),
        ["yes", "QEMU/KVM"]
    );
    assert_eq!(
        shown(&machine.hardware, ["cpu.features"]),
        ["amx_tile avx2 avx512f"]
    );
    let volatile = [
        "cpu.steal_percent_since_boot",
        "cpu.mhz_lowest",
        "cpu.mhz_highest",
    ];
    assert_eq!(shown(&machine.volatile, volatile), ["10", "2500", "2600"]);
}

#[test]
fn a_cloud_names_its_bare_metal_too() {
    let tree = Tree::of(&[AMD]);
    tree.file("/sys/class/dmi/id/sys_vendor", "Amazon EC2");
    assert_eq!(
        shown(&tree.fingerprint().hardware, ["virtual.hypervisor"]),
        ["none"],
        "no flag"
    );
    let tree = Tree::of(&[ARM]);
    tree.file("/sys/class/dmi/id/sys_vendor", "Amazon EC2");
    assert_eq!(
        shown(&tree.fingerprint().hardware, ["virtual.hypervisor"]),
        ["Amazon EC2"]
    );
    tree.file("/sys/class/dmi/id/product_name", "c7g.metal");
    assert_eq!(
        shown(&tree.fingerprint().hardware, ["virtual.hypervisor"]),
        ["none"]
    );
}

#[test]
fn version_1_takes_the_tightest_limit_on_the_way_up() {
    let machine = Tree::of(&[VM]).fingerprint();
    assert_eq!(
        shown(&machine.settings, LIMITS),
        ["v1", "1.5", "none", "none"]
    );
}

#[test]
fn a_container_with_version_2_limits() {
    let machine = Tree::of(&[CONTAINER]).fingerprint();
    assert_eq!(
        shown(&machine.settings, LIMITS),
        ["v2", "2.5", "4096", "podman-4.3.1"]
    );
    assert_eq!(shown(&machine.settings, ["cgroup.cpus"]), ["2-5"]);
    assert_eq!(
        shown(&machine.volatile, ["cgroup.throttled_periods"]),
        ["7"]
    );
}

#[test]
fn version_2_without_limits_says_none() {
    let tree = Tree::of(&[CONTAINER]);
    tree.file("/sys/fs/cgroup/cpu.max", "max 100000\n");
    tree.file("/sys/fs/cgroup/memory.max", "max\n");
    let limits = shown(&tree.fingerprint().settings, LIMITS);
    assert_eq!(limits[1..3], ["none", "none"]);
}

#[test]
fn a_group_path_that_climbs_out_is_not_followed() {
    let tree = Tree::of(&[CONTAINER]);
    tree.file("/proc/self/cgroup", "0::/../../../../etc\n");
    assert_eq!(shown(&tree.fingerprint().settings, LIMITS)[1], "2.5");
}
