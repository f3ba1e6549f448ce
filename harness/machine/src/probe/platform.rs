//! The board, its firmware, whether the machine is a virtual one, and a name for this very machine.

use assay_protocol::Digest;

use super::Machine;
use crate::parts::Parts;
use crate::reading::{Gap, Reading, after_key};
use crate::roots::Roots;

/// Words of vendors and products that say which hypervisor made the machine.
const HYPERVISORS: &[(&str, &str)] = &[
    ("amazon ec2", "Amazon EC2"),
    ("google compute engine", "Google Compute Engine"),
    ("kvm", "KVM"),
    ("qemu", "QEMU/KVM"),
    ("vmware", "VMware"),
    ("virtualbox", "VirtualBox"),
    ("xen", "Xen"),
    ("hyper-v", "Hyper-V"),
    ("microsoft corporation virtual machine", "Hyper-V"),
    ("openstack", "OpenStack"),
    ("bhyve", "bhyve"),
    ("parallels", "Parallels"),
    ("digitalocean", "DigitalOcean"),
    ("hetzner", "Hetzner"),
];

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let roots = machine.roots;
    for (name, file) in [
        ("board.vendor", "board_vendor"),
        ("board.name", "board_name"),
        ("system.vendor", "sys_vendor"),
        ("system.product", "product_name"),
    ] {
        parts.hardware.put(name, dmi(roots, file));
    }
    parts
        .software
        .put("firmware.version", dmi(roots, "bios_version"));
    parts.software.put("firmware.date", dmi(roots, "bios_date"));
    let kind = hypervisor(machine);
    parts.hardware.put("virtual.machine", kind.is_some());
    parts.hardware.put(
        "virtual.hypervisor",
        kind.unwrap_or_else(|| "none".to_owned()),
    );
    parts.hardware.put("machine.id", machine_id(roots));
}

/// A name from the firmware's tables; on ARM boards, from the device tree.
fn dmi(roots: &Roots, file: &str) -> Reading<String> {
    let reading = roots.read(format!("/sys/class/dmi/id/{file}"));
    match (reading, file) {
        (Err(Gap::Unsupported), "product_name") => roots.read("/proc/device-tree/model"),
        (reading, _) => reading,
    }
}

/// The hypervisor under this machine, if there is one.
fn hypervisor(machine: &Machine<'_>) -> Option<String> {
    let flags = machine
        .cpuinfo()
        .ok()
        .and_then(|text| after_key(text, "flags"))
        .unwrap_or_default();
    let flagged = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let roots = machine.roots;
    let names = ["sys_vendor", "product_name", "board_vendor"]
        .map(|file| dmi(roots, file).unwrap_or_default());
    let tree = roots
        .read("/proc/device-tree/hypervisor/compatible")
        .unwrap_or_default();
    let words = format!(
        "{} {tree} {}",
        names.join(" "),
        roots.read("/sys/hypervisor/type").unwrap_or_default()
    )
    .to_lowercase();
    let known = HYPERVISORS
        .iter()
        .find(|(word, _)| words.contains(word))
        .map(|(_, name)| (*name).to_owned());
    // "Amazon EC2" is also the vendor of bare metal instances; x86 has a flag that tells.
    let has_flags = !flags.is_empty();
    match known {
        Some(name) if flagged || !has_flags => Some(name),
        None if flagged => Some("unknown".to_owned()),
        _ => None,
    }
}

/// A salted digest of `/etc/machine-id`, which itself is confidential.
fn machine_id(roots: &Roots) -> Reading<String> {
    let id = roots
        .read("/etc/machine-id")
        .or_else(|_| roots.read("/var/lib/dbus/machine-id"))?;
    if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Gap::Error(
            "/etc/machine-id does not hold 32 hexadecimal digits".to_owned(),
        ));
    }
    let digest = Digest::of_parts([b"assay machine id 1\0".as_slice(), id.as_bytes()]);
    Ok(digest.hex()[..32].to_owned())
}
