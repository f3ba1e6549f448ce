//! Differences in words.

use assay_machine::diff::{Fact, explain, explain_with};
use assay_record::{Field, Fingerprint};

use crate::tree::{AMD, LAPTOP, Tree};

fn changed(change: impl Fn(&mut Fingerprint)) -> Vec<String> {
    let before = Tree::of(&[AMD]).fingerprint();
    let mut after = before.clone();
    change(&mut after);
    explain(&before, &after)
        .into_iter()
        .map(|explanation| explanation.text)
        .collect()
}

fn set(section: &mut assay_record::Section, name: &str, field: Field) {
    section.insert(name.to_owned(), field);
}

#[test]
fn one_machine_has_no_differences() {
    assert!(changed(|_| {}).is_empty());
}

#[test]
fn what_matters_most_comes_first_and_what_moves_by_itself_last() {
    let texts = changed(|after| {
        set(&mut after.volatile, "load.1min", Field::float(3.2));
        set(
            &mut after.volatile,
            "temperature.k10temp.2.tctl_c",
            Field::float(46.0),
        );
        set(&mut after.volatile, "boot.id", Field::text("other"));
        set(
            &mut after.software,
            "kernel.release",
            Field::text("6.1.0-20-amd64"),
        );
        set(
            &mut after.software,
            "cpu.microcode",
            Field::text("0xa0011d5"),
        );
        set(&mut after.settings, "memory.swappiness", Field::int(10));
        set(&mut after.settings, "cpu.turbo", Field::bool(false));
        set(
            &mut after.settings,
            "cpu.governor",
            Field::text("powersave"),
        );
        set(
            &mut after.settings,
            "cpu.limit_max_mhz",
            Field::text("2000"),
        );
    });
    assert_eq!(
        texts,
        [
            "The CPU governor was performance and is now powersave.",
            "Turbo was on and is now off.",
            "The upper limit of the CPU clock was 2450 MHz and is now 2000 MHz.",
            "The CPU microcode was 0xa0011d1 and is now 0xa0011d5.",
            "The kernel was 6.1.0-18-amd64 and is now 6.1.0-20-amd64.",
            "The load was 0.1 and is now 3.2.",
            "`memory.swappiness` was absent before and is now 10.",
            "The machine was booted again in between.",
        ],
        "and one degree more is not worth a word"
    );
}

#[test]
fn a_gpu_that_is_gone_is_one_difference() {
    let without = Tree::of(&[AMD]).fingerprint();
    let mut with = without.clone();
    for gpu in [0, 1] {
        set(
            &mut with.hardware,
            &format!("gpu.{gpu}.name"),
            Field::text("H200"),
        );
        set(
            &mut with.hardware,
            &format!("gpu.{gpu}.nvlink"),
            Field::Unsupported,
        );
        set(
            &mut with.software,
            &format!("gpu.{gpu}.vbios"),
            Field::text("96.00"),
        );
        set(
            &mut with.settings,
            &format!("gpu.{gpu}.ecc"),
            Field::bool(true),
        );
    }
    let texts = |before: &Fingerprint, after: &Fingerprint| -> Vec<String> {
        let found = explain(before, after).into_iter();
        found.map(|explanation| explanation.text).collect()
    };
    assert_eq!(
        texts(&with, &without),
        [
            "GPU 0 (H200) was there before and is absent now.",
            "GPU 1 (H200) was there before and is absent now.",
        ]
    );
    assert_eq!(
        texts(&without, &with)[0],
        "GPU 0 (H200) was absent before and is there now."
    );
    // What changed of one that stays is told field by field.
    let mut other = with.clone();
    set(&mut other.settings, "gpu.1.ecc", Field::bool(false));
    assert_eq!(
        texts(&with, &other),
        ["ECC of GPU 1 was on and is now off."]
    );
}

#[test]
fn gpus_are_named_by_number() {
    let before = Tree::of(&[AMD]).fingerprint();
    let with = |watts: f64, celsius: f64| {
        let mut machine = before.clone();
        set(
            &mut machine.settings,
            "gpu.1.power.limit_watts",
            Field::float(watts),
        );
        set(
            &mut machine.volatile,
            "gpu.1.temperature_c",
            Field::float(celsius),
        );
        machine
    };
    let explanations = explain(&with(700.0, 40.0), &with(500.0, 71.0));
    let texts: Vec<&str> = explanations
        .iter()
        .map(|explanation| explanation.text.as_str())
        .collect();
    assert_eq!(
        texts,
        [
            "The power limit of GPU 1 was 700 W and is now 500 W.",
            "The temperature of GPU 1 was 40 °C and is now 71 °C."
        ]
    );
    assert_eq!(
        [explanations[0].is_volatile, explanations[1].is_volatile],
        [false, true]
    );
}

#[test]
fn what_could_not_be_read_says_so() {
    let texts = changed(|after| {
        set(&mut after.settings, "cpu.governor", Field::Denied);
        set(&mut after.settings, "cpu.turbo", Field::Unsupported);
        set(
            &mut after.software,
            "libc.version",
            Field::Error("I/O error".to_owned()),
        );
    });
    assert_eq!(
        texts,
        [
            "The CPU governor was read as performance before and could not be read (not permitted) now.",
            "Turbo was on and is now absent.",
            "The C library was read as Debian GLIBC 2.36-9+deb12u4 before and could not be read (I/O error) now.",
        ]
    );
}

#[test]
fn two_machines_differ_in_their_cpus_first() {
    let explanations = explain(
        &Tree::of(&[AMD]).fingerprint(),
        &Tree::of(&[LAPTOP]).fingerprint(),
    );
    assert_eq!(
        explanations[0].text,
        "The CPU model was AMD EPYC 7003 Made-Up 4-Core Processor and is now Made-Up Core i7."
    );
    assert!(
        explanations
            .iter()
            .all(|explanation| explanation.name != "boot.id"),
        "another machine is no reboot"
    );
}

#[test]
fn what_usually_matters_most_comes_first() {
    let before = Tree::of(&[AMD]).fingerprint();
    let mut after = before.clone();
    // In the order in which they should be told.
    let settings: &[(&str, &str, Field)] = &[
        ("settings", "gpu.0.power.limit_watts", Field::float(500.0)),
        (
            "settings",
            "gpu.0.clocks.application_sm_mhz",
            Field::float(1200.0),
        ),
        ("settings", "cpu.governor", Field::text("powersave")),
        ("settings", "cpu.turbo", Field::text("off")),
        ("software", "nvidia.driver", Field::text("580.1")),
        ("software", "cpu.microcode", Field::text("0x1")),
        ("settings", "mitigation.spectre_v2", Field::text("none")),
        ("software", "kernel.release", Field::text("7.0")),
        ("run", "arm.main.image", Field::text("sha256:b")),
        ("volatile", "load.1min", Field::float(30.0)),
        ("software", "libc.version", Field::text("3")),
        ("volatile", "cpu.mhz_mean", Field::float(9000.0)),
    ];
    for (part, name, value) in settings.iter().rev() {
        match *part {
            "settings" => set(&mut after.settings, name, value.clone()),
            "software" => set(&mut after.software, name, value.clone()),
            "volatile" => set(&mut after.volatile, name, value.clone()),
            _ => {}
        }
    }
    let image = Fact {
        name: "arm.main.image".into(),
        before: Some("sha256:a".into()),
        after: Some("sha256:b".into()),
    };
    let explained = explain_with(&before, &after, &[image]);
    let told: Vec<(&str, &str)> = explained
        .iter()
        .map(|one| (one.part.as_str(), one.name.as_str()))
        .collect();
    let wanted: Vec<(&str, &str)> = settings
        .iter()
        .map(|(part, name, _)| (*part, *name))
        .collect();
    assert_eq!(told, wanted);
    assert_eq!(
        explained[8].text,
        "The image of arm main was sha256:a and is now sha256:b."
    );
    assert_eq!(explained[0].after.as_deref(), Some("500 W"));
    assert_eq!(explained[0].before, None);
    let governor = (
        explained[2].before.as_deref(),
        explained[2].after.as_deref(),
    );
    assert_eq!(governor, (Some("performance"), Some("powersave")));
}
