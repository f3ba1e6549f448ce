//! Rules on protection: mitigations of the CPU's faults, and the right to read its counters.

use super::{Finding, Level, View, number};

pub(super) fn mitigations(view: &View<'_>) -> Vec<Finding> {
    let states = view
        .fingerprint
        .settings
        .iter()
        .filter(|(name, _)| name.starts_with("mitigation."));
    let texts: Vec<String> = states
        .filter_map(|(_, field)| field.value())
        .map(ToString::to_string)
        .collect();
    if texts.is_empty() {
        return Vec::new();
    }
    let active = texts
        .iter()
        .filter(|text| text.starts_with("Mitigation"))
        .count();
    let what = format!(
        "{active} of {} known faults of the CPU are mitigated by the kernel.",
        texts.len()
    );
    let why =
        "Mitigations slow system calls and indirect branches; a kernel update can change them.";
    let fix = "Leave them on; compare only machines that have the same. (`mitigations=off` at boot switches them off.)";
    vec![Finding::new("mitigations", Level::Note, what, why, fix)]
}

pub(super) fn counters(view: &View<'_>) -> Vec<Finding> {
    let Some(level) = number(view.setting("kernel.perf_event_paranoid")) else {
        return Vec::new();
    };
    let what = format!("kernel.perf_event_paranoid is {level}.");
    if level <= 2.0 {
        return vec![Finding::good(
            "hardware counters",
            what,
            "A process may count its own events.",
        )];
    }
    let why = "`perf` cannot explain a result; the times themselves are not touched.";
    vec![Finding::new(
        "hardware counters",
        Level::Note,
        what,
        why,
        "sudo sysctl kernel.perf_event_paranoid=2",
    )]
}
