//! Fields of the fingerprint that NVML gives: what a GPU is and how it is set.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::Clock;

use super::{Gpus, reading, state};
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading};
use crate::roots::Roots;

const GPU: &[fn(&Device<'_>, &str, &mut Parts)] = &[
    identity,
    capability,
    links,
    power,
    clocks,
    modes,
    state::probe,
];

pub(crate) fn probe(roots: &Roots, gpus: &Gpus, parts: &mut Parts) {
    parts.hardware.put("gpu.count", count(roots, gpus));
    parts
        .hardware
        .put("display.controllers", display_controllers(roots));
    versions(gpus, &mut parts.software);
    for (index, device) in gpus.devices() {
        let prefix = format!("gpu.{index}");
        match device {
            Ok(device) => GPU
                .iter()
                .for_each(|fields| fields(&device, &prefix, parts)),
            Err(gap) => parts
                .hardware
                .put(format!("{prefix}.name"), Err::<String, _>(gap)),
        }
    }
}

/// Without NVML the count is unsupported, unless the kernel shows an NVIDIA GPU: then that is an error.
fn count(roots: &Roots, gpus: &Gpus) -> Reading<u32> {
    match gpus {
        Gpus::Nvml(nvml) => reading(nvml.device_count()),
        Gpus::Absent(_) if roots.numbered("/dev", "nvidia").is_empty() => Err(Gap::Unsupported),
        Gpus::Absent(reason) => Err(Gap::Error(reason.clone())),
    }
}

/// Vendor and device numbers of the display and 3D controllers on the PCI bus, of any vendor.
fn display_controllers(roots: &Roots) -> Reading<String> {
    const DEVICES: &str = "/sys/bus/pci/devices";
    let mut found = Vec::new();
    for device in roots.list(DEVICES)? {
        let file = |name: &str| {
            roots
                .read(format!("{DEVICES}/{device}/{name}"))
                .unwrap_or_default()
        };
        if file("class").starts_with("0x03") {
            let plain = |text: String| text.trim_start_matches("0x").to_owned();
            found.push(format!(
                "{}:{}",
                plain(file("vendor")),
                plain(file("device"))
            ));
        }
    }
    crate::reading::tally(&found)
}

fn versions(gpus: &Gpus, sheet: &mut Sheet) {
    let Gpus::Nvml(nvml) = gpus else {
        sheet.put("nvidia.driver", Err::<String, _>(Gap::Unsupported));
        return;
    };
    sheet.put("nvidia.driver", reading(nvml.sys_driver_version()));
    sheet.put("nvidia.nvml", reading(nvml.sys_nvml_version()));
    let cuda = reading(nvml.sys_cuda_driver_version());
    sheet.put(
        "cuda.driver",
        cuda.map(|version| format!("{}.{}", version / 1000, version % 1000 / 10)),
    );
}

fn identity(device: &Device<'_>, prefix: &str, parts: &mut Parts) {
    let sheet = &mut parts.hardware;
    sheet.put(format!("{prefix}.name"), reading(device.name()));
    sheet.put(format!("{prefix}.uuid"), reading(device.uuid()));
    sheet.put(format!("{prefix}.serial"), reading(device.serial()));
    sheet.put(format!("{prefix}.vbios"), reading(device.vbios_version()));
    sheet.put(
        format!("{prefix}.pci_bus_id"),
        reading(device.pci_info()).map(|pci| pci.bus_id),
    );
    parts.software.put(
        format!("{prefix}.gsp_firmware"),
        reading(device.gsp_firmware_version()),
    );
}

fn capability(device: &Device<'_>, prefix: &str, parts: &mut Parts) {
    let sheet = &mut parts.hardware;
    let capability = reading(device.cuda_compute_capability());
    sheet.put(
        format!("{prefix}.compute_capability"),
        capability.map(|cc| format!("{}.{}", cc.major, cc.minor)),
    );
    sheet.put(
        format!("{prefix}.architecture"),
        reading(device.architecture()).map(|name| name.to_string()),
    );
    sheet.put(format!("{prefix}.cores"), reading(device.num_cores()));
    sheet.put(
        format!("{prefix}.memory_bus_bits"),
        reading(device.memory_bus_width()),
    );
    // Whole GiB: the last MiB depend on driver and ECC; the exact number is volatile.
    let memory = reading(device.memory_info());
    sheet.put(
        format!("{prefix}.memory_gib"),
        memory.map(|info| (info.total + (1 << 29)) >> 30),
    );
    sheet.put(
        format!("{prefix}.max_sm_mhz"),
        reading(device.max_clock_info(Clock::SM)),
    );
    sheet.put(
        format!("{prefix}.max_memory_mhz"),
        reading(device.max_clock_info(Clock::Memory)),
    );
    let mig = match reading(device.mig_mode()) {
        Err(Gap::Unsupported) => Ok(false),
        answer => answer.map(|_| true),
    };
    sheet.put(format!("{prefix}.mig_capable"), mig);
}

fn links(device: &Device<'_>, prefix: &str, parts: &mut Parts) {
    let sheet = &mut parts.hardware;
    sheet.put(
        format!("{prefix}.pcie.generation_max"),
        reading(device.max_pcie_link_gen()),
    );
    sheet.put(
        format!("{prefix}.pcie.width_max"),
        reading(device.max_pcie_link_width()),
    );
    let states: Vec<_> = (0..MOST_NVLINKS)
        .map_while(|link| device.link_wrapper_for(link).is_active().ok())
        .collect();
    let count = if states.is_empty() {
        Err(Gap::Unsupported)
    } else {
        Ok(states.len())
    };
    sheet.put(format!("{prefix}.nvlink.links"), count.clone());
    let version = count
        .clone()
        .and_then(|_| reading(device.link_wrapper_for(0).version()));
    sheet.put(format!("{prefix}.nvlink.version"), version);
    let active = count.map(|_| states.iter().filter(|&&active| active).count());
    parts
        .settings
        .put(format!("{prefix}.nvlink.active"), active);
}

/// `NVML_NVLINK_MAX_LINKS`.
const MOST_NVLINKS: u32 = 18;

fn power(device: &Device<'_>, prefix: &str, parts: &mut Parts) {
    let sheet = &mut parts.settings;
    let watts = |answer| state::watts(reading(answer));
    sheet.put(
        format!("{prefix}.power.limit_watts"),
        watts(device.power_management_limit()),
    );
    sheet.put(
        format!("{prefix}.power.default_watts"),
        watts(device.power_management_limit_default()),
    );
    sheet.put(
        format!("{prefix}.power.enforced_watts"),
        watts(device.enforced_power_limit()),
    );
    let range = reading(device.power_management_limit_constraints());
    sheet.put(
        format!("{prefix}.power.lowest_watts"),
        state::watts(range.clone().map(|range| range.min_limit)),
    );
    sheet.put(
        format!("{prefix}.power.highest_watts"),
        state::watts(range.map(|range| range.max_limit)),
    );
}

/// Application clocks. NVML has no question for clocks that were locked (`nvidia-smi -lgc`): such a
/// lock shows only in the clocks under load.
fn clocks(device: &Device<'_>, prefix: &str, parts: &mut Parts) {
    let sheet = &mut parts.settings;
    for (name, clock) in [("sm", Clock::SM), ("memory", Clock::Memory)] {
        sheet.put(
            format!("{prefix}.clocks.application_{name}_mhz"),
            reading(device.applications_clock(clock)),
        );
        sheet.put(
            format!("{prefix}.clocks.default_{name}_mhz"),
            reading(device.default_applications_clock(clock)),
        );
    }
    let boost = reading(device.auto_boosted_clocks_enabled());
    sheet.put(
        format!("{prefix}.clocks.auto_boost"),
        boost.map(|state| state.is_enabled),
    );
}

fn modes(device: &Device<'_>, prefix: &str, parts: &mut Parts) {
    let sheet = &mut parts.settings;
    let ecc = reading(device.is_ecc_enabled());
    sheet.put(
        format!("{prefix}.ecc"),
        ecc.clone().map(|state| state.currently_enabled),
    );
    sheet.put(
        format!("{prefix}.ecc_pending"),
        ecc.map(|state| state.pending_enabled),
    );
    sheet.put(
        format!("{prefix}.mig"),
        reading(device.mig_mode()).map(|mode| mode.current == 1),
    );
    sheet.put(
        format!("{prefix}.persistence"),
        reading(device.is_in_persistent_mode()),
    );
    sheet.put(
        format!("{prefix}.compute_mode"),
        reading(device.compute_mode()).map(|mode| format!("{mode:?}")),
    );
}
