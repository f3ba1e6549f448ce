//! Rules on sharing: who else uses the CPUs, and what of them this process may use.

use super::{Finding, Level, View, flag, number, text};

pub(super) fn load(view: &View<'_>) -> Vec<Finding> {
    const WHY: &str = "Other work takes cores, caches and memory bandwidth from what is measured.";
    let Some(load) = number(view.volatile("load.1min")) else {
        return Vec::new();
    };
    let threads = view.threads();
    let what = format!("The load was {load:.2} over the last minute, on {threads} CPUs.");
    // What just ran still counts in the average; what runs this moment does not lie.
    let running = number(view.volatile("threads.running")).unwrap_or(1.0) - 1.0;
    let fix = "See who it is with `top`, and wait or stop them.";
    let level = match load / threads {
        share if share < 0.1 => return vec![Finding::good("load", what, "Nothing else runs.")],
        share if share < 0.5 && running < threads / 2.0 => Level::Note,
        share if share < 1.0 => Level::Warning,
        _ if running < 1.0 => Level::Warning,
        _ => Level::Bad,
    };
    vec![Finding::new("load", level, what, WHY, fix)]
}

pub(super) fn virtualization(view: &View<'_>) -> Vec<Finding> {
    if flag(view.hardware("virtual.machine")) != Some(true) {
        return vec![Finding::good(
            "virtual machine",
            "This is no virtual machine.",
            "Nobody else has these cores.",
        )];
    }
    let kind = text(view.hardware("virtual.hypervisor")).unwrap_or("unknown");
    let what = format!("This is a virtual machine (hypervisor: {kind}).");
    let why = "Clock, caches and memory bandwidth are shared with neighbours that cannot be seen.";
    let fix = "No command from inside: use bare metal or a dedicated host, and more rounds.";
    vec![Finding::new("virtual machine", Level::Note, what, why, fix)]
}

pub(super) fn steal(view: &View<'_>) -> Vec<Finding> {
    let Some(steal) = number(view.volatile("cpu.steal_percent_since_boot")) else {
        return Vec::new();
    };
    let what = format!("The hypervisor gave {steal:.2} % of the time since boot to others.");
    let why = "Stolen time lands in samples as outliers.";
    let fix = "No command from inside: ask for dedicated cores.";
    match steal {
        steal if steal >= 2.0 => vec![Finding::new("stolen time", Level::Bad, what, why, fix)],
        steal if steal >= 0.1 => vec![Finding::new("stolen time", Level::Warning, what, why, fix)],
        _ if flag(view.hardware("virtual.machine")) == Some(true) => {
            vec![Finding::good("stolen time", what, "Hardly any.")]
        }
        _ => Vec::new(),
    }
}

pub(super) fn quota(view: &View<'_>) -> Vec<Finding> {
    let Some(limit) = number(view.setting("cgroup.cpu_limit")) else {
        return Vec::new();
    };
    let what = format!(
        "The control group allows {limit} CPUs' worth of time, of {}.",
        view.threads()
    );
    let why = "When the quota of a period (100 ms) is used up, everything stops until the next: samples come in two kinds.";
    let fix = "Start the container without --cpus, and confine it with --cpuset-cpus if need be.";
    let throttled = number(view.volatile("cgroup.throttled_periods")).unwrap_or(0.0) > 0.0;
    let level = if throttled || limit < view.threads() {
        Level::Bad
    } else {
        Level::Note
    };
    vec![Finding::new("CPU quota", level, what, why, fix)]
}

pub(super) fn smt(view: &View<'_>) -> Vec<Finding> {
    let why = "Two threads share a core: which pairs the scheduler picks changes the numbers.";
    match flag(view.setting("cpu.smt")) {
        Some(true) => {
            let fix = "echo off | sudo tee /sys/devices/system/cpu/smt/control";
            vec![Finding::new(
                "SMT",
                Level::Note,
                "Cores run two threads each (SMT is on).",
                why,
                fix,
            )]
        }
        Some(false) => vec![Finding::good(
            "SMT",
            "Each core runs one thread.",
            "No core is shared by two threads.",
        )],
        None => Vec::new(),
    }
}

pub(super) fn isolation(view: &View<'_>) -> Vec<Finding> {
    let Some(isolated) = text(view.setting("cpu.isolated")) else {
        return Vec::new();
    };
    if isolated == "none" {
        let why = "The scheduler may put anything beside a worker. For most work that is small.";
        let fix = "Boot with isolcpus=LIST nohz_full=LIST and start Assay with `taskset -c LIST`.";
        return vec![Finding::new(
            "isolated CPUs",
            Level::Note,
            "No CPU is set aside.",
            why,
            fix,
        )];
    }
    let own = text(view.setting("process.cpus")).unwrap_or("unknown");
    let what = format!("CPUs {isolated} are set aside; this process runs on {own}.");
    vec![if own == isolated {
        Finding::good("isolated CPUs", what, "Nothing else is scheduled there.")
    } else {
        let why = "Workers inherit the CPUs of this process and leave the isolated ones unused.";
        Finding::new(
            "isolated CPUs",
            Level::Warning,
            what,
            why,
            format!("taskset -c {isolated} assay ..."),
        )
    }]
}
