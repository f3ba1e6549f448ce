//! Machines whose files are missing, forbidden, or rubbish: each field alone says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use assay_machine::Roots;
use assay_record::Field;
use assay_record::fingerprint::PARTS;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::tree::{AMD, LAPTOP, Tree, shown};

/// Root reads everything: gives that up for this thread.
fn without_override() {
    let mut sets = capabilities(None).unwrap();
    sets.effective
        .remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
    set_capabilities(None, sets).unwrap();
}

#[test]
fn a_file_that_may_not_be_read_is_denied_alone() {
    let tree = Tree::of(&[AMD, LAPTOP]);
    for file in [
        "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
        "/proc/meminfo",
        "/etc/machine-id",
    ] {
        fs::set_permissions(tree.roots().path(file), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // On a thread of its own, which alone loses the right.
    let probed = std::thread::scope(|scope| {
        let probe = || {
            without_override();
            tree.fingerprint()
        };
        scope.spawn(probe).join()
    });
    let machine = probed.unwrap();
    assert_eq!(machine.settings["cpu.governor"], Field::Denied);
    assert_eq!(machine.hardware["memory.total_mib"], Field::Denied);
    assert_eq!(machine.volatile["memory.free_mib"], Field::Denied);
    assert_eq!(
        machine.hardware["machine.id"],
        Field::Unsupported,
        "the second place does not exist"
    );
    assert_eq!(shown(&machine.settings, ["cpu.turbo"]), ["yes"]);
}

#[test]
fn an_empty_machine_offers_nothing_and_nothing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let machine = assay_machine::probe(
        &Roots::at(folder.path()),
        &assay_machine::Gpus::none("test"),
    );
    for part in PARTS {
        for (name, field) in machine.part(part).unwrap() {
            assert!(
                !matches!(field, Field::Error(_) | Field::Denied),
                "{name}: {field}"
            );
        }
    }
    assert_eq!(machine.settings["cpu.governor"], Field::Unsupported);
}

#[test]
fn rubbish_is_an_error_and_never_a_value_or_a_panic() {
    let tree = Tree::of(&[AMD, LAPTOP]);
    for file in files_below(tree.path()) {
        fs::write(
            file,
            b"\xff\xfe rubbish: 99999999999999999999999999 -1,3-1 {}\n\n\0\x1b[31m",
        )
        .unwrap();
    }
    let machine = tree.fingerprint();
    for (section, name) in [
        (&machine.volatile, "load.1min"),
        (&machine.volatile, "uptime_s"),
        (&machine.settings, "cpu.isolated"),
        (&machine.settings, "cpu.smt"),
        (&machine.hardware, "machine.id"),
        (&machine.hardware, "cpu.threads"),
    ] {
        assert!(
            matches!(section[name], Field::Error(_)),
            "{name}: {}",
            section[name]
        );
    }
    let json = serde_json::to_string(&machine).unwrap();
    assert!(
        !json.contains("\\u001b") && !json.contains("\\u0000"),
        "control characters are not stored"
    );
    machine
        .digest()
        .expect("a fingerprint can always be hashed");
}

#[test]
fn a_broken_sensor_is_an_error() {
    let tree = Tree::of(&[AMD]);
    tree.file("/sys/class/hwmon/hwmon2/temp1_input", "65535000\n");
    tree.file(
        "/sys/devices/system/cpu/cpufreq/policy3/scaling_cur_freq",
        "4294967295\n",
    );
    let machine = tree.fingerprint();
    let [temperature, clock] = shown(
        &machine.volatile,
        ["temperature.k10temp.2.tctl_c", "cpu.mhz_mean"],
    );
    assert_eq!(
        temperature,
        "error: the sensor says 65535 °C, which is outside -40 to 150"
    );
    assert!(
        clock.starts_with("error: the sensor says 4294967.295 MHz"),
        "{clock}"
    );
}

#[test]
fn a_folder_where_a_file_should_be_is_an_error() {
    let tree = Tree::of(&[AMD]);
    tree.remove("/proc/loadavg");
    fs::create_dir(tree.roots().path("/proc/loadavg")).unwrap();
    assert!(matches!(
        tree.fingerprint().volatile["load.1min"],
        Field::Error(_)
    ));
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
