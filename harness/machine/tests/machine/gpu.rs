//! Fingerprints of GPUs, against a made-up NVML that is compiled here.

use std::collections::BTreeMap;
use std::process::{Child, Command};

use assay_machine::{Gpus, Roots, gpu, open_nvml, probe};
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

/// What DESIGN asks of a GPU, by part, with what the fake says.
#[test]
fn no_field_of_a_gpu_is_forgotten() {
    let Some(fake) = Fake::build() else { return };
    let machine = fingerprint(&open(&fake));
    let hardware = ["uuid", "vbios", "memory_bus_bits", "max_sm_mhz"];
    assert_eq!(
        shown(&machine.hardware, hardware.map(of_first)),
        [
            "GPU-00000000-aaaa-bbbb-cccc-000000000000",
            "96.00.61.00.01",
            "5120",
            "1980"
        ]
    );
    let settings = [
        "power.enforced_watts",
        "power.lowest_watts",
        "clocks.application_sm_mhz",
        "clocks.default_sm_mhz",
        "clocks.application_memory_mhz",
        "compute_mode",
        "ecc_pending",
    ];
    assert_eq!(
        shown(&machine.settings, settings.map(of_first)),
        ["500", "200", "1980", "1980", "2619", "Default", "yes"]
    );
    let volatile = [
        "memory_temperature_c",
        "memory_used_mib",
        "memory_mhz",
        "utilization_percent",
        "pcie.generation",
        "pcie.width",
        "ecc_errors.corrected",
        "ecc_errors.uncorrected",
        "ecc_errors.uncorrected_of_life",
        "process_names",
    ];
    assert_eq!(
        shown(&machine.volatile, volatile.map(of_first)),
        ["52", "4", "2619", "0", "5", "16", "3", "0", "9", "none"]
    );
}

fn of_first(name: &str) -> String {
    format!("gpu.0.{name}")
}

#[test]
fn every_number_that_cannot_be_true_is_an_error() {
    let Some(fake) = Fake::build() else { return };
    let gpus = open(&fake);
    let sound = fingerprint(&gpus);
    fake.say("nonsense\n");
    let absurd = fingerprint(&gpus);
    let numbers = |machine: &Fingerprint| {
        let parts = [&machine.hardware, &machine.settings, &machine.volatile];
        let fields = parts.into_iter().flatten().filter(|(name, field)| {
            let number = shown(&BTreeMap::from([("x".to_owned(), (*field).clone())]), ["x"]);
            name.starts_with("gpu.0.") && number[0].parse::<f64>().is_ok()
        });
        fields.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    // What the fake does not lie about: versions, counts of links and processes, limits of power.
    let left = [
        "gpu.0.compute_capability",
        "gpu.0.nvlink.links",
        "gpu.0.nvlink.version",
        "gpu.0.serial",
        "gpu.0.nvlink.active",
        "gpu.0.power.highest_watts",
        "gpu.0.power.lowest_watts",
        "gpu.0.processes",
    ];
    assert_eq!(numbers(&absurd), left);
    assert!(numbers(&sound).len() > left.len() + 20);
    let Field::Error(error) = &absurd.volatile["gpu.0.sm_mhz"] else {
        panic!("{:?}", absurd.volatile["gpu.0.sm_mhz"])
    };
    assert_eq!(
        error,
        "the sensor says 4294967295 MHz, which is outside 0 to 20000"
    );
}

#[test]
fn a_divided_gpu_names_its_instances_and_has_no_utilisation() {
    let Some(fake) = Fake::build() else { return };
    let gpus = open(&fake);
    let whole = fingerprint(&gpus);
    fake.say("mig\n");
    let machine = fingerprint(&gpus);
    let settings = [
        "gpu.0.mig",
        "gpu.0.mig.0.uuid",
        "gpu.0.mig.2.uuid",
        "gpu.0.mig.2.name",
        "gpu.0.mig.2.memory_mib",
        "gpu.0.mig.1.uuid",
    ];
    assert_eq!(
        shown(&machine.settings, settings),
        [
            "yes",
            "MIG-aaaaaaaa-0000",
            "MIG-aaaaaaaa-2222",
            "NVIDIA Made-Up H100 MIG 1g.10gb",
            "10239",
            "absent"
        ]
    );
    assert_eq!(
        shown(
            &machine.volatile,
            [
                "gpu.0.mig.0.memory_used_mib",
                "gpu.0.utilization_percent",
                "gpu.0.power_watts"
            ]
        ),
        ["4", "not supported", "123.456"]
    );
    assert_eq!(machine.gpu(Some("aaaaaaaa-2222")), Some(0));
    // Dividing a GPU makes no other machine of it.
    let name = |machine: &Fingerprint| machine.identity(None).unwrap();
    assert_eq!(name(&machine), name(&whole));
}

/// A program that waits; ended when dropped.
struct Waiting(Child);

impl Waiting {
    fn begin() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn other_users_of_a_gpu_are_named_and_our_own_are_not() {
    let Some(fake) = Fake::build() else { return };
    let gpus = open(&fake);
    let own = Waiting::begin();
    let (ours, child) = (std::process::id(), own.0.id());
    fake.say(&format!("user {ours}\nuser {child}\n"));
    let fingerprint = |gpus| probe(&Roots::here(), gpus);
    let machine = fingerprint(&gpus);
    let fields = ["gpu.0.processes", "gpu.0.process_names"];
    assert_eq!(shown(&machine.volatile, fields), ["0", "none"]);
    assert_eq!(
        gpu::users(&machine),
        ["GPU 1 is held by 2 other processes: unknown"]
    );
    // The first process is nobody's child.
    fake.say(&format!("user {child}\nuser 1\n"));
    let name = std::fs::read_to_string("/proc/1/comm").unwrap();
    let said = format!("GPU 0 is held by 1 other process: {}", name.trim());
    assert_eq!(gpu::users(&fingerprint(&gpus))[0], said);
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
