//! What the doctor says of made-up machines.

use assay_machine::doctor::{Finding, Level, examine};
use assay_machine::probe;
use assay_machine::timer::TimerReport;
use assay_record::Fingerprint;

use crate::fake::Fake;
use crate::gpu::open;
use crate::tree::{AMD, CONTAINER, LAPTOP, Tree, VM};

const TIMER: TimerReport = TimerReport {
    resolution_ns: 20,
    overhead_ns: 25,
};

fn findings(fingerprint: &Fingerprint) -> Vec<Finding> {
    let findings = examine(fingerprint, &TIMER);
    for finding in &findings {
        assert_eq!(
            finding.fix.is_empty(),
            finding.level == Level::Good,
            "a fix, or why there is none: {finding:?}"
        );
        assert!(
            !finding.what.is_empty() && !finding.why.is_empty(),
            "{finding:?}"
        );
    }
    assert!(findings.is_sorted_by(|a, b| a.level >= b.level));
    findings
}

fn on<'a>(findings: &'a [Finding], topic: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.topic == topic);
    found.unwrap_or_else(|| panic!("nothing on {topic}: {findings:#?}"))
}

#[test]
fn a_laptop_on_battery_is_told_everything() {
    let findings = findings(&Tree::of(&[LAPTOP]).fingerprint());
    for (topic, level, what) in [
        (
            "power source",
            Level::Bad,
            "The machine runs on its battery.",
        ),
        (
            "governor",
            Level::Warning,
            "The CPU's governor is performance (1), powersave (3).",
        ),
        (
            "clock source",
            Level::Warning,
            "The kernel keeps time by hpet.",
        ),
        (
            "huge pages",
            Level::Warning,
            "Transparent huge pages are set to always.",
        ),
        (
            "heat",
            Level::Warning,
            "Cores were slowed down for heat 12 times since boot.",
        ),
        (
            "swap",
            Level::Warning,
            "1071 MiB of 2047 MiB swap are in use.",
        ),
        (
            "load",
            Level::Warning,
            "The load was 3.90 over the last minute, on 4 CPUs.",
        ),
        ("SMT", Level::Good, "Each core runs one thread."),
    ] {
        let finding = on(&findings, topic);
        assert_eq!((finding.level, finding.what.as_str()), (level, what));
    }
    assert!(
        on(&findings, "turbo").fix.contains("no_turbo"),
        "Intel's own switch"
    );
}

#[test]
fn a_quiet_server_is_mostly_well() {
    let findings = findings(&Tree::of(&[AMD]).fingerprint());
    for topic in [
        "governor",
        "load",
        "clock source",
        "timer",
        "virtual machine",
    ] {
        assert_eq!(on(&findings, topic).level, Level::Good, "{topic}");
    }
    assert!(findings.iter().all(|finding| finding.level < Level::Bad));
    assert_eq!(
        on(&findings, "NUMA").level,
        Level::Warning,
        "balancing is on"
    );
    let isolated = on(&findings, "isolated CPUs");
    assert_eq!(
        isolated.fix, "taskset -c 4-7 assay ...",
        "they are there, and unused"
    );
    assert_eq!(
        on(&findings, "hardware counters").fix,
        "sudo sysctl kernel.perf_event_paranoid=2"
    );
}

#[test]
fn stolen_time_and_quotas_are_bad() {
    let machine = findings(&Tree::of(&[VM]).fingerprint());
    assert_eq!(on(&machine, "stolen time").level, Level::Bad);
    assert_eq!(on(&machine, "virtual machine").level, Level::Note);
    let container = findings(&Tree::of(&[CONTAINER]).fingerprint());
    assert_eq!(on(&container, "CPU quota").level, Level::Bad);
    assert!(
        on(&container, "CPU quota")
            .what
            .contains("2.5 CPUs' worth of time, of 8")
    );
}

#[test]
fn a_slow_clock_is_named() {
    let fingerprint = Tree::of(&[AMD]).fingerprint();
    let slow = examine(
        &fingerprint,
        &TimerReport {
            resolution_ns: 4_000_000,
            overhead_ns: 900,
        },
    );
    assert_eq!(on(&slow, "timer").level, Level::Warning);
}

#[test]
fn gpus_are_judged_one_by_one() {
    let Some(fake) = Fake::build() else { return };
    let tree = Tree::of(&[AMD]);
    let findings = findings(&probe(&tree.roots(), &open(&fake)));
    let limit = on(&findings, "GPU 0 power limit");
    assert_eq!(
        (limit.level, limit.fix.as_str()),
        (Level::Warning, "sudo nvidia-smi -i 0 -pl 700")
    );
    assert_eq!(on(&findings, "GPU 0 users").level, Level::Good);
    assert_eq!(on(&findings, "GPU 1 users").level, Level::Bad);
    assert_eq!(on(&findings, "GPU 1 power limit").level, Level::Good);
    assert_eq!(on(&findings, "GPU 1 throttling").level, Level::Bad);
    assert_eq!(
        on(&findings, "GPU 1 persistence").fix,
        "sudo nvidia-smi -i 1 -pm 1"
    );
    assert_eq!(on(&findings, "GPU 1 PCIe").what, "PCIe uses 8 of 16 lanes.");
    let users = &on(&findings, "GPU 1 users").what;
    assert!(
        users.starts_with("2 other processes hold it (unknown)"),
        "{users}"
    );
    let topics: Vec<&str> = findings.iter().map(|finding| &*finding.topic).collect();
    assert!(
        !topics.contains(&"GPU 0 throttling"),
        "a power cap is no fault"
    );
    assert!(!topics.contains(&"GPU 0 memory errors"));
    fake.say("ecc 2\n");
    let errors = examine(&probe(&tree.roots(), &open(&fake)), &TIMER);
    let errors = on(&errors, "GPU 0 memory errors");
    assert_eq!(errors.level, Level::Bad);
    assert!(errors.what.starts_with("It counted 2 uncorrected"));
}

#[test]
fn a_driver_without_its_library_is_bad() {
    let tree = Tree::of(&[AMD]);
    assert_eq!(on(&findings(&tree.fingerprint()), "GPU").level, Level::Note);
    tree.file("/dev/nvidia0", "");
    assert_eq!(on(&findings(&tree.fingerprint()), "GPU").level, Level::Bad);
}
