//! What else the machine is doing: load, run queue, stolen time, pressure, time since boot.

use super::Machine;
use crate::noise::NoiseCounters;
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading, decimal, number, within};

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let sheet = &mut parts.volatile;
    averages(machine, sheet);
    let noise = NoiseCounters::read(machine.roots);
    sheet.put(
        "cpu.steal_percent_since_boot",
        noise.steal_percent().ok_or(Gap::Unsupported),
    );
    sheet.put(
        "processes.blocked",
        noise.procs_blocked.ok_or(Gap::Unsupported),
    );
    for kind in ["cpu", "memory", "io"] {
        sheet.put(format!("pressure.{kind}_percent"), pressure(machine, kind));
    }
    sheet.put("uptime_s", uptime(machine));
}

/// `0.10 0.20 0.30 2/345 6789`: averages over 1, 5 and 15 minutes; running of all threads; last id.
fn averages(machine: &Machine<'_>, sheet: &mut Sheet) {
    let text = machine.roots.read("/proc/loadavg");
    let word = |index: usize| {
        text.clone().and_then(|text| {
            text.split_whitespace()
                .nth(index)
                .map(str::to_owned)
                .ok_or(Gap::Unsupported)
        })
    };
    for (index, name) in ["load.1min", "load.5min", "load.15min"]
        .into_iter()
        .enumerate()
    {
        let load = word(index).and_then(|word| decimal(&word));
        sheet.put(
            name,
            load.and_then(|load| within(load, &(0.0..=1e6), "processes")),
        );
    }
    let threads = word(3).and_then(|word| {
        let (running, all) = word.split_once('/').ok_or(Gap::Unsupported)?;
        Ok((number(running)?, number(all)?))
    });
    sheet.put(
        "threads.running",
        threads.clone().map(|(running, _)| running),
    );
    sheet.put("threads.total", threads.map(|(_, all)| all));
}

/// Per cent of the last 10 seconds in which something waited, from `some avg10=1.23 avg60=...`.
fn pressure(machine: &Machine<'_>, kind: &str) -> Reading<f64> {
    let text = machine.roots.read(format!("/proc/pressure/{kind}"))?;
    let value = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("avg10="));
    within(
        decimal(value.ok_or(Gap::Unsupported)?)?,
        &(0.0..=100.0),
        "%",
    )
}

fn uptime(machine: &Machine<'_>) -> Reading<i64> {
    let text = machine.roots.read("/proc/uptime")?;
    decimal(text.split_whitespace().next().unwrap_or_default()).map(|seconds| seconds as i64)
}
