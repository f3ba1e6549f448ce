//! Fingerprints of GPUs, against a made-up NVML that is compiled here.

use std::path::Path;

use assay_machine::{Gpus, gpu, open_nvml, probe};
use assay_record::{Field, Fingerprint};

use crate::fake::Fake;
use crate::tree::{AMD, Tree, shown};

/// NVML as a fake gives it.
pub fn open(fake: &Fake) -> Gpus {
    open_nvml(Some(&fake.library()))
}

fn fingerprint(gpus: &Gpus) -> Fingerprint {
    probe(&Tree::of(&[AMD]).roots(), gpus)
}

#[test]
fn a_data_centre_gpu_gives_every_field() {
    let Some(fake) = Fake::build() else { return };
    let machine = fingerprint(&open(&fake));
    let hardware = [
        "gpu.count",
        "gpu.0.name",
        "gpu.0.serial",
        "gpu.0.compute_capability",
        "gpu.0.architecture",
        "gpu.0.memory_gib",
    ];
    assert_eq!(
        shown(&machine.hardware, hardware),
        [
            "2",
            "NVIDIA Made-Up H100",
            "1650000000001",
            "9.0",
            "Hopper",
            "80"
        ]
    );
    let links = [
        "gpu.0.pcie.generation_max",
        "gpu.0.pcie.width_max",
        "gpu.0.nvlink.links",
        "gpu.0.nvlink.version",
        "gpu.0.mig_capable",
        "gpu.0.pci_bus_id",
    ];
    assert_eq!(
        shown(&machine.hardware, links),
        ["5", "16", "18", "4", "yes", "00000000:17:00.0"]
    );
    assert_eq!(
        shown(&machine.software, ["nvidia.driver", "cuda.driver"]),
        ["550.54.15", "12.4"]
    );
    let settings = [
        "gpu.0.power.limit_watts",
        "gpu.0.power.default_watts",
        "gpu.0.ecc",
        "gpu.0.mig",
        "gpu.0.persistence",
        "gpu.0.nvlink.active",
    ];
    assert_eq!(
        shown(&machine.settings, settings),
        ["500", "700", "yes", "no", "yes", "17"]
    );
    let volatile = [
        "gpu.0.power_watts",
        "gpu.0.temperature_c",
        "gpu.0.sm_mhz",
        "gpu.0.throttle_reasons",
        "gpu.0.processes",
    ];
    assert_eq!(
        shown(&machine.volatile, volatile),
        ["123.456", "41", "1980", "power cap", "0"]
    );
}

#[test]
fn a_consumer_gpu_lacks_some_and_a_broken_sensor_is_an_error() {
    let Some(fake) = Fake::build() else { return };
    let machine = fingerprint(&open(&fake));
    for name in [
        "gpu.1.ecc",
        "gpu.1.clocks.application_sm_mhz",
        "gpu.1.mig",
        "gpu.1.nvlink.active",
        "gpu.1.power.lowest_watts",
    ] {
        assert_eq!(machine.settings[name], Field::Unsupported, "{name}");
    }
    assert_eq!(
        shown(&machine.hardware, ["gpu.1.mig_capable", "gpu.1.serial"]),
        ["no", "not supported"]
    );
    assert!(matches!(
        machine.volatile["gpu.1.temperature_c"],
        Field::Error(_)
    ));
    assert_eq!(
        shown(&machine.volatile, ["gpu.1.processes", "gpu.1.power_watts"]),
        ["2", "45"]
    );
    // The fake has no such symbol, as an old driver would not.
    assert_eq!(
        machine.settings["gpu.0.clocks.auto_boost"],
        Field::Unsupported
    );
}

#[test]
fn a_gpu_off_the_bus_and_a_forbidden_reading_cost_only_themselves() {
    let Some(fake) = Fake::build() else { return };
    let gpus = open(&fake);
    fake.say("lost 1\ndenied\n");
    let machine = fingerprint(&gpus);
    assert!(matches!(&machine.hardware["gpu.1.name"], Field::Error(_)));
    assert_eq!(machine.volatile["gpu.0.power_watts"], Field::Denied);
    assert_eq!(
        shown(&machine.hardware, ["gpu.0.name"]),
        ["NVIDIA Made-Up H100"]
    );
}

#[test]
fn two_gpus_of_one_kind_are_one_class() {
    let Some(fake) = Fake::build() else { return };
    let machine = fingerprint(&open(&fake));
    let mut twin = machine.clone();
    for (name, value) in [
        ("gpu.0.uuid", "GPU-other"),
        ("gpu.0.serial", "2"),
        ("gpu.0.pci_bus_id", "0:1:0.0"),
    ] {
        twin.hardware.insert(name.to_owned(), Field::text(value));
    }
    let (one, two) = (
        machine.identity(None).unwrap(),
        twin.identity(None).unwrap(),
    );
    assert_eq!(one.class, two.class);
    assert_ne!(one.name, two.name);
}

#[test]
fn without_the_library_there_are_no_gpus_and_a_reason() {
    let Gpus::Absent(reason) = open_nvml(Some("/nonexistent/libnvidia-ml.so".as_ref())) else {
        panic!("it is there")
    };
    assert!(reason.starts_with("NVML could not be loaded: "), "{reason}");
    let machine = fingerprint(&Gpus::none(reason.clone()));
    assert_eq!(machine.hardware["gpu.count"], Field::Unsupported);
    // With a device file but no library something is wrong.
    let tree = Tree::of(&[AMD]);
    tree.file("/dev/nvidia0", "");
    let machine = probe(&tree.roots(), &Gpus::none(reason.clone()));
    assert_eq!(machine.hardware["gpu.count"], Field::Error(reason));
}

#[test]
fn a_driver_that_does_not_answer_and_a_library_that_is_none_are_reasons() {
    let Some(fake) = Fake::build() else { return };
    fake.say("broken\n");
    assert!(matches!(open(&fake), Gpus::Absent(reason) if reason.contains("NVML does not start")));
    let text = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(open_nvml(Some(text.path())), Gpus::Absent(_)));
}
