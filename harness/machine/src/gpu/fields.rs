//! Fields of the fingerprint that NVML gives: what a GPU is and how it is set.

use std::ops::RangeInclusive;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::Clock;

use super::{Gpus, mig, reading, state, users};
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, IntoField, MEGAHERTZ, Reading, within};
use crate::roots::Roots;

/// One GPU that is being asked.
pub(super) struct Gpu<'a> {
    pub(super) device: Device<'a>,
    /// `gpu.N`, by NVML's index, which is the order on the PCI bus: `gpu.N.uuid` says which one that is.
    pub(super) prefix: String,
    pub(super) roots: &'a Roots,
}

impl Gpu<'_> {
    /// Notes what came of reading a property.
    pub(super) fn put(&self, sheet: &mut Sheet, name: &str, value: impl IntoField) {
        sheet.put(format!("{}.{name}", self.prefix), value);
    }
}

const GPU: &[fn(&Gpu<'_>, &mut Parts)] = &[
    identity,
    capability,
    pcie,
    nvlink,
    power,
    clocks,
    modes,
    mig::probe,
    state::probe,
    users::probe,
];

pub(crate) fn probe(roots: &Roots, gpus: &Gpus, parts: &mut Parts) {
    parts.hardware.put("gpu.count", count(roots, gpus));
    parts
        .hardware
        .put("display.controllers", display_controllers(roots));
    versions(gpus, &mut parts.software);
    for (index, device) in gpus.devices() {
        let prefix = format!("gpu.{index}");
        let device = match device {
            Ok(device) => device,
            Err(gap) => {
                let name = format!("{prefix}.name");
                parts.hardware.put(name, Err::<String, _>(gap));
                continue;
            }
        };
        let gpu = Gpu {
            device,
            prefix,
            roots,
        };
        for fields in GPU {
            fields(&gpu, parts);
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

fn identity(gpu: &Gpu<'_>, parts: &mut Parts) {
    let (sheet, device) = (&mut parts.hardware, &gpu.device);
    gpu.put(sheet, "name", reading(device.name()));
    gpu.put(sheet, "uuid", reading(device.uuid()));
    gpu.put(sheet, "serial", reading(device.serial()));
    gpu.put(sheet, "vbios", reading(device.vbios_version()));
    let bus_id = reading(device.pci_info()).map(|pci| pci.bus_id);
    gpu.put(sheet, "pci_bus_id", bus_id);
    let firmware = reading(device.gsp_firmware_version());
    gpu.put(&mut parts.software, "gsp_firmware", firmware);
}

fn capability(gpu: &Gpu<'_>, parts: &mut Parts) {
    let (sheet, device) = (&mut parts.hardware, &gpu.device);
    let capability = reading(device.cuda_compute_capability());
    let capability = capability.map(|cc| format!("{}.{}", cc.major, cc.minor));
    gpu.put(sheet, "compute_capability", capability);
    let architecture = reading(device.architecture()).map(|name| name.to_string());
    gpu.put(sheet, "architecture", architecture);
    let cores = number(reading(device.num_cores()), &(1..=1 << 20), "cores");
    gpu.put(sheet, "cores", cores);
    let width = number(reading(device.memory_bus_width()), &(1..=1 << 16), "bits");
    gpu.put(sheet, "memory_bus_bits", width);
    // Whole GiB: the last MiB depend on driver and ECC; the exact number is volatile.
    let memory = state::memory_bytes(device).map(|(total, _)| (total + (1 << 29)) >> 30);
    gpu.put(sheet, "memory_gib", memory);
    for (name, clock) in [("max_sm_mhz", Clock::SM), ("max_memory_mhz", Clock::Memory)] {
        gpu.put(
            sheet,
            name,
            megahertz(reading(device.max_clock_info(clock))),
        );
    }
    let mig = match reading(device.mig_mode()) {
        Err(Gap::Unsupported) => Ok(false),
        answer => answer.map(|_| true),
    };
    gpu.put(sheet, "mig_capable", mig);
}

/// A whole number, if it can be true.
fn number(value: Reading<u32>, range: &RangeInclusive<u32>, unit: &str) -> Reading<u32> {
    within(value?, range, unit)
}

fn megahertz(value: Reading<u32>) -> Reading<u32> {
    let range = *MEGAHERTZ.start() as u32..=*MEGAHERTZ.end() as u32;
    number(value, &range, "MHz")
}

/// Generations of `PCIe` that there can be.
const GENERATIONS: RangeInclusive<u32> = 0..=16;
/// Lanes that a link can have.
const LANES: RangeInclusive<u32> = 0..=64;

/// What the link can do is hardware. What it does now is volatile: an idle GPU slows its link down.
fn pcie(gpu: &Gpu<'_>, parts: &mut Parts) {
    let device = &gpu.device;
    let generation = |answer| number(reading(answer), &GENERATIONS, "(generation)");
    let lanes = |answer| number(reading(answer), &LANES, "lanes");
    let (sheet, now) = (&mut parts.hardware, &mut parts.volatile);
    let most = generation(device.max_pcie_link_gen());
    gpu.put(sheet, "pcie.generation_max", most);
    gpu.put(sheet, "pcie.width_max", lanes(device.max_pcie_link_width()));
    let current = generation(device.current_pcie_link_gen());
    gpu.put(now, "pcie.generation", current);
    gpu.put(now, "pcie.width", lanes(device.current_pcie_link_width()));
}

/// `NVML_NVLINK_MAX_LINKS`.
const MOST_NVLINKS: u32 = 18;

fn nvlink(gpu: &Gpu<'_>, parts: &mut Parts) {
    let is_active = |link| reading(gpu.device.link_wrapper_for(link).is_active());
    // The first says whether there are any; beyond the last there is an error.
    let links = is_active(0).map(|first| {
        let others = (1..MOST_NVLINKS).map_while(|link| is_active(link).ok());
        std::iter::once(first).chain(others).collect::<Vec<_>>()
    });
    let version = reading(gpu.device.link_wrapper_for(0).version());
    let sheet = &mut parts.hardware;
    gpu.put(
        sheet,
        "nvlink.links",
        links.clone().map(|links| links.len()),
    );
    gpu.put(sheet, "nvlink.version", version);
    let active = links.map(|links| links.iter().filter(|&&active| active).count());
    gpu.put(&mut parts.settings, "nvlink.active", active);
}

fn power(gpu: &Gpu<'_>, parts: &mut Parts) {
    let (sheet, device) = (&mut parts.settings, &gpu.device);
    let watts = |answer| state::watts(reading(answer));
    let limit = watts(device.power_management_limit());
    gpu.put(sheet, "power.limit_watts", limit);
    let default = watts(device.power_management_limit_default());
    gpu.put(sheet, "power.default_watts", default);
    let enforced = watts(device.enforced_power_limit());
    gpu.put(sheet, "power.enforced_watts", enforced);
    let range = reading(device.power_management_limit_constraints());
    let lowest = state::watts(range.clone().map(|range| range.min_limit));
    gpu.put(sheet, "power.lowest_watts", lowest);
    let highest = state::watts(range.map(|range| range.max_limit));
    gpu.put(sheet, "power.highest_watts", highest);
}

/// Application clocks. NVML has no question for clocks that were locked (`nvidia-smi -lgc`): such a
/// lock shows only in the clocks under load.
fn clocks(gpu: &Gpu<'_>, parts: &mut Parts) {
    let (sheet, device) = (&mut parts.settings, &gpu.device);
    for (name, clock) in [("sm", Clock::SM), ("memory", Clock::Memory)] {
        let set = megahertz(reading(device.applications_clock(clock)));
        gpu.put(sheet, &format!("clocks.application_{name}_mhz"), set);
        let default = megahertz(reading(device.default_applications_clock(clock)));
        gpu.put(sheet, &format!("clocks.default_{name}_mhz"), default);
    }
    let boost = reading(device.auto_boosted_clocks_enabled()).map(|state| state.is_enabled);
    gpu.put(sheet, "clocks.auto_boost", boost);
}

fn modes(gpu: &Gpu<'_>, parts: &mut Parts) {
    let (sheet, device) = (&mut parts.settings, &gpu.device);
    let ecc = reading(device.is_ecc_enabled());
    let now = ecc.clone().map(|state| state.currently_enabled);
    gpu.put(sheet, "ecc", now);
    gpu.put(sheet, "ecc_pending", ecc.map(|state| state.pending_enabled));
    let persistence = reading(device.is_in_persistent_mode());
    gpu.put(sheet, "persistence", persistence);
    let mode = reading(device.compute_mode()).map(|mode| format!("{mode:?}"));
    gpu.put(sheet, "compute_mode", mode);
}
