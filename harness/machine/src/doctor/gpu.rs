//! Rules on GPUs: other users, power limit, clocks, ECC, persistence, throttling.

use assay_record::{Field, Scalar};

use super::{Finding, Level, View, flag, number, text};

const DEVICE_RULES: &[fn(&Gpu<'_>) -> Option<Finding>] = &[
    readable,
    users,
    power_limit,
    application_clocks,
    throttling,
    memory_errors,
    persistence,
    ecc,
    mig,
    link,
];

pub(super) fn presence(view: &View<'_>) -> Vec<Finding> {
    match view.fingerprint.hardware.get("gpu.count") {
        Some(Field::Error(error)) => {
            let what = format!("An NVIDIA GPU is there, but it cannot be asked: {error}.");
            let why = "Nothing is known of its clocks, power and users.";
            let fix = "Install the driver's libnvidia-ml (Debian: libnvidia-ml1), of the same version as the kernel module.";
            vec![Finding::new("GPU", Level::Bad, what, why, fix)]
        }
        Some(Field::Value(Scalar::Int(0)) | Field::Unsupported) | None => {
            let what = "No NVIDIA GPU was found.";
            vec![Finding::new(
                "GPU",
                Level::Note,
                what,
                "Cases on CUDA devices are skipped.",
                "None is needed for CPU suites.",
            )]
        }
        _ => Vec::new(),
    }
}

pub(super) fn devices(view: &View<'_>) -> Vec<Finding> {
    let count = number(view.hardware("gpu.count")).unwrap_or(0.0) as u32;
    (0..count.min(1024))
        .flat_map(|index| of_one(&Gpu { view, index }))
        .collect()
}

/// The findings on one GPU, with its number before each topic.
fn of_one(gpu: &Gpu<'_>) -> Vec<Finding> {
    let findings = DEVICE_RULES.iter().filter_map(|rule| rule(gpu));
    let named = |finding: Finding| {
        let topic = format!("GPU {} {}", gpu.index, finding.topic);
        Finding { topic, ..finding }
    };
    findings.map(named).collect()
}

/// One GPU of a fingerprint.
struct Gpu<'a> {
    view: &'a View<'a>,
    index: u32,
}

impl Gpu<'_> {
    fn hardware(&self, name: &str) -> Option<&Scalar> {
        self.view.hardware(&format!("gpu.{}.{name}", self.index))
    }

    fn setting(&self, name: &str) -> Option<&Scalar> {
        self.view.setting(&format!("gpu.{}.{name}", self.index))
    }

    fn volatile(&self, name: &str) -> Option<&Scalar> {
        self.view.volatile(&format!("gpu.{}.{name}", self.index))
    }

    fn smi(&self, arguments: &str) -> String {
        format!("sudo nvidia-smi -i {} {arguments}", self.index)
    }
}

fn readable(gpu: &Gpu<'_>) -> Option<Finding> {
    let name = format!("gpu.{}.name", gpu.index);
    let Some(Field::Error(error)) = gpu.view.fingerprint.hardware.get(&name) else {
        return None;
    };
    let what = format!("It does not answer: {error}.");
    let why = "It may have fallen off the bus; work on it fails.";
    let fix = "See `dmesg | grep -i xid`; most often a reboot is needed.";
    Some(Finding::new("state", Level::Bad, what, why, fix))
}

fn users(gpu: &Gpu<'_>) -> Option<Finding> {
    let processes = number(gpu.volatile("processes"))?;
    let busy = number(gpu.volatile("utilization_percent")).unwrap_or(0.0);
    if processes == 0.0 && busy < 5.0 {
        return Some(Finding::good(
            "users",
            "Nobody else uses it.",
            "All of it is there for what is measured.",
        ));
    }
    let level = if busy >= 5.0 {
        Level::Bad
    } else {
        Level::Warning
    };
    let names = text(gpu.volatile("process_names")).unwrap_or("unknown");
    let what = format!(
        "{processes} other processes hold it ({names}); it was busy {busy} % of the last second."
    );
    let why = "They share its units, memory, power and heat; nothing measured beside them holds.";
    let fix = "See who it is with `nvidia-smi`, and wait or stop them.";
    Some(Finding::new("users", level, what, why, fix))
}

fn power_limit(gpu: &Gpu<'_>) -> Option<Finding> {
    let limit = number(gpu.setting("power.limit_watts"))?;
    let default = number(gpu.setting("power.default_watts"))?;
    if (limit - default).abs() < 0.5 {
        let what = format!("It is the default, {default} W.");
        return Some(Finding::good(
            "power limit",
            what,
            "The GPU runs as its maker sells it.",
        ));
    }
    let what = format!("It is {limit} W; the default is {default} W.");
    let why =
        "Heavy kernels run at the clock that the limit allows: numbers hold for this limit only.";
    let fix = gpu.smi(&format!("-pl {default}"));
    Some(Finding::new("power limit", Level::Warning, what, why, fix))
}

fn application_clocks(gpu: &Gpu<'_>) -> Option<Finding> {
    let set = number(gpu.setting("clocks.application_sm_mhz"))?;
    let default = number(gpu.setting("clocks.default_sm_mhz"))?;
    let what = format!("The application clock is {set} MHz; the default is {default} MHz.");
    let why = "It bounds the clock under load. That is steady, and holds for this clock only.";
    let is_set = (set - default).abs() >= 0.5;
    is_set.then(|| Finding::new("clocks", Level::Note, what, why, gpu.smi("-rac")))
}

fn throttling(gpu: &Gpu<'_>) -> Option<Finding> {
    let reasons = text(gpu.volatile("throttle_reasons"))?;
    let is_slowed = reasons.contains("slowdown") || reasons.contains("power brake");
    let what = format!("It is being slowed down: {reasons}.");
    let why = "The clock is forced down, to half or less.";
    let fix = "No command: check cooling, airflow and power cables.";
    is_slowed.then(|| Finding::new("throttling", Level::Bad, what, why, fix))
}

fn memory_errors(gpu: &Gpu<'_>) -> Option<Finding> {
    let errors = number(gpu.volatile("ecc_errors.uncorrected"))?;
    let what =
        format!("It counted {errors} uncorrected memory errors since the driver was loaded.");
    let why = "Data was lost; what was computed from it is wrong.";
    let fix = gpu.smi("-q -d ECC,ROW_REMAPPER");
    (errors > 0.0).then(|| Finding::new("memory errors", Level::Bad, what, why, fix))
}

fn persistence(gpu: &Gpu<'_>) -> Option<Finding> {
    if flag(gpu.setting("persistence"))? {
        return Some(Finding::good(
            "persistence",
            "Persistence mode is on.",
            "The driver stays loaded.",
        ));
    }
    let why = "The driver unloads between processes: first calls take seconds, and clocks and limits are forgotten.";
    Some(Finding::new(
        "persistence",
        Level::Warning,
        "Persistence mode is off.",
        why,
        gpu.smi("-pm 1"),
    ))
}

fn ecc(gpu: &Gpu<'_>) -> Option<Finding> {
    const WHY: &str =
        "On memory other than HBM, ECC costs bandwidth and capacity; compare only like with like.";
    let now = flag(gpu.setting("ecc"))?;
    let will_change = flag(gpu.setting("ecc_pending")).is_some_and(|pending| pending != now);
    let word = |on: bool| if on { "on" } else { "off" };
    if will_change {
        let what = format!(
            "ECC is {}, and {} after the next reset.",
            word(now),
            word(!now)
        );
        let fix = gpu.smi(&format!("-e {}", u8::from(now)));
        return Some(Finding::new("ECC", Level::Warning, what, WHY, fix));
    }
    let what = format!("ECC is {}.", word(now));
    Some(Finding::new(
        "ECC",
        Level::Note,
        what,
        WHY,
        "Leave it, unless the two sides of a comparison differ.",
    ))
}

fn mig(gpu: &Gpu<'_>) -> Option<Finding> {
    let what = "It is divided into slices (MIG).";
    let why = "A slice has its own units and memory; power and clocks are shared, and not shown by slice.";
    let is_sliced = flag(gpu.setting("mig"))?;
    is_sliced.then(|| Finding::new("MIG", Level::Warning, what, why, gpu.smi("-mig 0")))
}

fn link(gpu: &Gpu<'_>) -> Option<Finding> {
    let width = number(gpu.volatile("pcie.width"))?;
    let most = number(gpu.hardware("pcie.width_max"))?;
    let what = format!("PCIe uses {width} of {most} lanes.");
    let why = "Copies between host and GPU run at that part of the bandwidth.";
    let fix = "No command: reseat the card, or see the slot's wiring and the firmware's settings.";
    (width < most).then(|| Finding::new("PCIe", Level::Warning, what, why, fix))
}
