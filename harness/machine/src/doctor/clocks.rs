//! Rules on clocks: how the CPU's is governed, what slows it, and the one that times are taken with.

use super::{Finding, Level, View, flag, number, text};

pub(super) fn governor(view: &View<'_>) -> Vec<Finding> {
    const WHY: &str = "Below full load the clock is low and climbs while a sample runs, so short samples read slow.";
    let Some(governor) = text(view.setting("cpu.governor")) else {
        let what = "The CPU's governor cannot be read here.";
        let fix = if flag(view.hardware("virtual.machine")) == Some(true) {
            "The hypervisor governs the clock: set it on the host."
        } else {
            "None: this kernel offers no frequency scaling (`cpufreq`)."
        };
        return vec![Finding::new(
            "governor",
            Level::Note,
            what,
            "Whether the clock holds still is unknown.",
            fix,
        )];
    };
    let what = format!("The CPU's governor is {governor}.");
    let is_eager = governor == "powersave"
        && text(view.setting("cpu.energy_preference")) == Some("performance");
    vec![if governor == "performance" || is_eager {
        Finding::good("governor", what, "The clock is asked to stay high.")
    } else {
        Finding::new(
            "governor",
            Level::Warning,
            what,
            WHY,
            "sudo cpupower frequency-set -g performance",
        )
    }]
}

pub(super) fn turbo(view: &View<'_>) -> Vec<Finding> {
    const WHY: &str = "The clock depends on how many cores work and how warm they are: numbers are faster and spread wider.";
    let fix = match text(view.setting("cpu.scaling_driver")) {
        Some("intel_pstate" | "intel_cpufreq") => {
            "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
        }
        _ => "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
    };
    match flag(view.setting("cpu.turbo")) {
        Some(true) => vec![Finding::new("turbo", Level::Note, "Turbo is on.", WHY, fix)],
        Some(false) => vec![Finding::good(
            "turbo",
            "Turbo is off.",
            "The clock keeps to its base: steady, not fastest.",
        )],
        None => Vec::new(),
    }
}

pub(super) fn power_source(view: &View<'_>) -> Vec<Finding> {
    const WHY: &str =
        "On battery, firmware and kernel hold the clock down, and further as it empties.";
    match text(view.setting("power.source")) {
        Some("battery") => {
            vec![Finding::new(
                "power source",
                Level::Bad,
                "The machine runs on its battery.",
                WHY,
                "Plug it in: no command can.",
            )]
        }
        Some(_) => vec![Finding::good(
            "power source",
            "The machine runs on mains.",
            "No battery saving.",
        )],
        None => Vec::new(),
    }
}

pub(super) fn thermal(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(events) =
        number(view.volatile("cpu.thermal_throttle_events")).filter(|&events| events > 0.0)
    {
        let what = format!("Cores were slowed down for heat {events} times since boot.");
        let why = "A hot CPU lowers its clock in the middle of a measurement.";
        let fix = "No command: check cooling and dust, or leave pauses between runs.";
        findings.push(Finding::new("heat", Level::Warning, what, why, fix));
    }
    let hottest = view
        .fingerprint
        .volatile
        .iter()
        .filter(|(name, _)| name.starts_with("temperature."));
    let hottest = hottest
        .filter_map(|(_, field)| number(field.value()))
        .fold(f64::NEG_INFINITY, f64::max);
    if hottest >= 90.0 {
        let what = format!("A sensor shows {hottest:.0} °C.");
        let why = "Near 100 °C the clock is lowered.";
        findings.push(Finding::new(
            "heat",
            Level::Warning,
            what,
            why,
            "No command: let it cool down first.",
        ));
    }
    findings
}

pub(super) fn clock_source(view: &View<'_>) -> Vec<Finding> {
    let Some(source) = text(view.setting("clock.source")) else {
        return Vec::new();
    };
    let what = format!("The kernel keeps time by {source}.");
    if matches!(
        source,
        "tsc" | "arch_sys_counter" | "kvm-clock" | "hyperv_clocksource_tsc_page"
    ) {
        return vec![Finding::good(
            "clock source",
            what,
            "It is read without a system call.",
        )];
    }
    let offers_tsc = text(view.setting("clock.sources"))
        .is_some_and(|all| all.split_whitespace().any(|one| one == "tsc"));
    let fix = if offers_tsc {
        "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"
    } else {
        "None: the kernel found the time-stamp counter unstable on this machine (see `dmesg | grep -i tsc`)."
    };
    let why =
        "Reading it takes a system call and up to a microsecond, which enters every short sample.";
    vec![Finding::new("clock source", Level::Warning, what, why, fix)]
}

pub(super) fn timer(view: &View<'_>) -> Vec<Finding> {
    let report = view.timer;
    let what = format!(
        "The clock tells {} ns apart and costs {} ns to read.",
        report.resolution_ns, report.overhead_ns
    );
    vec![if report.resolution_ns > 1000 || report.overhead_ns > 500 {
        let why = "Samples are batched to 1000 resolutions, so short ones take long; single launches cannot be resolved.";
        Finding::new("timer", Level::Warning, what, why, "See the clock source.")
    } else {
        Finding::good(
            "timer",
            what,
            "Samples of tens of microseconds are well resolved.",
        )
    }]
}
