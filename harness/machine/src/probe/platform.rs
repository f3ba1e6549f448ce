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
    ("hyperv", "Hyper-V"),
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
        .and_then(|text| after_key(text, "flags"));
    let words = vendor_words(machine.roots);
    let known = HYPERVISORS
        .iter()
        .find(|(word, _)| words.contains(word))
        .map(|(_, name)| *name);
    let is_virtual = match flags {
        Some(flags) => flags.split_whitespace().any(|flag| flag == "hypervisor"),
        // Only x86 has the flag. Clouds put their name on bare metal too.
        None => known.is_some() && !words.contains(".metal"),
    };
    is_virtual.then(|| known.unwrap_or("unknown").to_owned())
}

/// All that names a vendor, in lower case; the hypervisor's own clock source is the last hint.
fn vendor_words(roots: &Roots) -> String {
    let names = ["sys_vendor", "product_name", "board_vendor"].map(|file| dmi(roots, file));
    let files = [
        "/proc/device-tree/hypervisor/compatible",
        "/sys/hypervisor/type",
        "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    ];
    let words = names.into_iter().chain(files.map(|file| roots.read(file)));
    words.flatten().collect::<Vec<_>>().join(" ").to_lowercase()
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
