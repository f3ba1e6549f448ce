//! How the CPU's clock is governed: governor, limits, turbo, idle states, SMT.

use super::Machine;
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading, number, tally};
use crate::roots::Roots;

const CPUS: &str = "/sys/devices/system/cpu";

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let sheet = &mut parts.settings;
    policies(machine.roots, sheet);
    parts
        .hardware
        .put("cpu.base_mhz", policy_mhz(machine.roots, "base_frequency"));
    let sheet = &mut parts.settings;
    sheet.put("cpu.turbo", turbo(machine.roots));
    sheet.put("cpu.pstate_driver", pstate(machine.roots));
    sheet.put("cpu.energy_bias", energy_bias(machine));
    idle(machine, sheet);
    smt(machine.roots, sheet);
}

/// A file of every frequency policy.
fn of_policies(roots: &Roots, file: &str) -> Reading<Vec<String>> {
    let folder = format!("{CPUS}/cpufreq");
    roots
        .numbered(&folder, "policy")
        .iter()
        .map(|policy| roots.read(format!("{folder}/{policy}/{file}")))
        .collect()
}

fn policies(roots: &Roots, sheet: &mut Sheet) {
    for (name, file) in [
        ("cpu.governor", "scaling_governor"),
        ("cpu.scaling_driver", "scaling_driver"),
        ("cpu.energy_preference", "energy_performance_preference"),
    ] {
        sheet.put(
            name,
            of_policies(roots, file).and_then(|values| tally(&values)),
        );
    }
    for (name, file) in [
        ("cpu.limit_min_mhz", "scaling_min_freq"),
        ("cpu.limit_max_mhz", "scaling_max_freq"),
        ("cpu.possible_max_mhz", "cpuinfo_max_freq"),
    ] {
        sheet.put(name, policy_mhz(roots, file));
    }
}

/// A frequency in kHz over all policies: in MHz, with counts where they differ.
fn policy_mhz(roots: &Roots, file: &str) -> Reading<String> {
    let values = of_policies(roots, file)?;
    let mhz: Reading<Vec<String>> = values
        .iter()
        .map(|khz| Ok((number(khz)? / 1000).to_string()))
        .collect();
    tally(&mhz?)
}

/// Whether the clock may rise above its base: each driver has its own switch.
fn turbo(roots: &Roots) -> Reading<bool> {
    if let Ok(off) = roots.number(format!("{CPUS}/intel_pstate/no_turbo")) {
        return Ok(off == 0);
    }
    match roots.number(format!("{CPUS}/cpufreq/boost")) {
        Err(Gap::Unsupported) => {}
        reading => return reading.map(|on| on != 0),
    }
    let boosts = of_policies(roots, "boost")?;
    if boosts.is_empty() {
        Err(Gap::Unsupported)
    } else {
        Ok(boosts.iter().all(|on| on != "0"))
    }
}

fn pstate(roots: &Roots) -> Reading<String> {
    for driver in ["intel_pstate", "amd_pstate"] {
        if let Ok(status) = roots.read(format!("{CPUS}/{driver}/status")) {
            return Ok(format!("{driver} {status}"));
        }
    }
    Err(Gap::Unsupported)
}

/// Intel's hint to the hardware: 0 is performance, 15 is saving power.
fn energy_bias(machine: &Machine<'_>) -> Reading<String> {
    let read = |cpu: &u32| {
        machine
            .roots
            .read(format!("{CPUS}/cpu{cpu}/power/energy_perf_bias"))
    };
    let values: Reading<Vec<String>> = machine.online().iter().map(read).collect();
    tally(&values?)
}

/// How idle CPUs sleep: leaving a deep state costs up to hundreds of microseconds.
fn idle(machine: &Machine<'_>, sheet: &mut Sheet) {
    let roots = machine.roots;
    sheet.put(
        "cpu.idle_driver",
        roots.read(format!("{CPUS}/cpuidle/current_driver")),
    );
    let governor = roots.read(format!("{CPUS}/cpuidle/current_governor"));
    sheet.put(
        "cpu.idle_governor",
        governor.or_else(|_| roots.read(format!("{CPUS}/cpuidle/current_governor_ro"))),
    );
    let folder = format!("{CPUS}/cpu0/cpuidle");
    let states = roots.numbered(&folder, "state");
    let enabled = |state: &&String| {
        roots
            .number(format!("{folder}/{state}/disable"))
            .is_ok_and(|off| off == 0)
    };
    let names: Vec<String> = states
        .iter()
        .filter(enabled)
        .filter_map(|state| roots.read(format!("{folder}/{state}/name")).ok())
        .collect();
    let names = if states.is_empty() {
        Err(Gap::Unsupported)
    } else {
        Ok(names.join(" "))
    };
    sheet.put("cpu.idle_states", names);
}

fn smt(roots: &Roots, sheet: &mut Sheet) {
    sheet.put(
        "cpu.smt",
        roots
            .number(format!("{CPUS}/smt/active"))
            .map(|active| active != 0),
    );
    sheet.put("cpu.smt_control", roots.read(format!("{CPUS}/smt/control")));
    sheet.put("cpu.online", roots.read(format!("{CPUS}/online")));
}
