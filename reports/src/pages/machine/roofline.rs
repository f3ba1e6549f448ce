//! The rooflines of a machine: one for each kind of device, with every kernel of each suite as it was measured last: in its newest run, or, of what that left out, in those that its newest night is made of besides.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{ArithmeticUnit, MemoryLevel, Unit};
use assay_record::RunId;
use assay_stats::Interval;
use assay_store::RunRow;
use assay_verdicts::ceilings::{Ceiling, Ceilings, Limit};
use assay_verdicts::{CaseState, CaseSummary, RunSummary};
use serde::Serialize;

use crate::chart::{self, Kernel, Roofs, Words};
use crate::error::ReportError;
use crate::format::Quantity;
use crate::model::Library;
use crate::pages::part::{self, Link, cell};
use crate::pages::run;

/// Most kernels of a roofline, and of its table.
const KERNELS: usize = 600;
const LINES: usize = 300;

/// Kernels of one kind of device.
#[derive(Serialize)]
pub struct RooflineView {
    device: String,
    chart: String,
    drawn: usize,
    has_roofs: bool,
    kernels: Vec<KernelLine>,
    more: usize,
}

#[derive(Serialize)]
struct KernelLine {
    case: String,
    series: String,
    suite: String,
    /// The arm, where the suite has several.
    arm: String,
    bound: String,
    /// Operations per byte; empty where one of both is none.
    intensity: String,
    flops: Option<Quantity>,
    bytes: Option<Quantity>,
    fractions: Vec<String>,
}

/// A ceiling in a table.
#[derive(Serialize)]
pub struct CeilingLine {
    device: String,
    limit: &'static str,
    rate: Quantity,
    case: String,
    run: Link,
    disturbed: bool,
}

/// The measured ceilings of a machine.
pub fn ceilings(ceilings: &Ceilings) -> Vec<CeilingLine> {
    let line = |ceiling: &Ceiling| CeilingLine {
        device: cell(&ceiling.device),
        limit: ceiling.limit.name(),
        rate: part::number(&ceiling.rate, &ceiling.limit.unit().into()),
        case: cell(&ceiling.case),
        run: part::run_link(&ceiling.run),
        disturbed: ceiling.disturbed,
    };
    ceilings.all.iter().map(line).collect()
}

/// A measured case with the run that it is of.
type Measured<'a> = (&'a RunSummary, &'a CaseSummary);

/// The rooflines; `runs` are the machine's, the latest first.
pub fn rooflines(
    library: &Library<'_>,
    name: &str,
    runs: &[&RunRow],
) -> Result<Vec<RooflineView>, ReportError> {
    let mut devices: BTreeMap<&str, Vec<Measured<'_>>> = BTreeMap::new();
    for (summary, case) in newest(library, name, runs) {
        // Beyond a roof is nothing that was computed.
        if case.state == CaseState::Ok && has_work(case) {
            let of_device = devices.entry(&case.case.device).or_default();
            of_device.push((summary, case));
        }
    }
    let none = Ceilings::default();
    let ceilings = library.model.ceilings.get(name).unwrap_or(&none);
    let view = |(at, (device, cases)): (usize, (&str, Vec<Measured<'_>>))| {
        view(library, at, device, &cases, ceilings).map_err(|reason| ReportError::Chart {
            page: crate::address::machine(name),
            reason,
        })
    };
    devices.into_iter().enumerate().map(view).collect()
}

/// Every case of each suite by each arm, as the last run had it that did not skip it; by suite.
fn newest<'a>(library: &Library<'a>, machine: &str, runs: &[&RunRow]) -> Vec<Measured<'a>> {
    let mut suites: BTreeMap<&str, BTreeSet<&RunId>> = BTreeMap::new();
    for row in runs.iter().filter(|row| is_meant(row)) {
        suites
            .entry(&row.suite)
            .or_insert_with(|| BTreeSet::from([&row.run]));
    }
    let mut all = Vec::new();
    for (suite, mut meant) in suites {
        let nights = library.nights_at(suite, machine).flatten();
        meant.extend(nights.map(|night| &night.gate.run));
        let mut seen = BTreeSet::new();
        for summary in meant.iter().rev().filter_map(|run| library.summary(run)) {
            let is_new = |case: &&'a CaseSummary| {
                let is_skipped = matches!(case.state, CaseState::Skipped(_));
                !is_skipped && seen.insert((&case.case.arm, &case.case.case))
            };
            let new = summary.cases.iter().filter(is_new);
            all.extend(new.map(|case| (summary, case)));
        }
    }
    all
}

fn is_meant(row: &RunRow) -> bool {
    row.purpose.is_measurement() && row.reproduces.is_none()
}

fn has_work(case: &CaseSummary) -> bool {
    rate(case, "FLOP/s").is_some() || rate(case, "B/s").is_some()
}

fn rate<'a>(case: &'a CaseSummary, unit: &str) -> Option<&'a Interval> {
    let rates = &part::time(case)?.rates;
    let found = rates.iter().find(|(own, _)| own == unit);
    found
        .map(|(_, rate)| rate)
        .filter(|rate| rate.estimate > 0.0)
}

fn view(
    library: &Library<'_>,
    at: usize,
    device: &str,
    cases: &[Measured<'_>],
    ceilings: &Ceilings,
) -> Result<RooflineView, String> {
    let roofs = roofs(device, ceilings);
    let kernels = cases.iter().filter_map(|(_, case)| kernel(case));
    let kernels: Vec<Kernel> = kernels.take(KERNELS).collect();
    let has_roofs = !(roofs.levels.is_empty() && roofs.units.is_empty());
    let words = Words {
        id: &format!("roofline-{at}"),
        title: &format!("Roofline of {device}"),
        description: &format!(
            "{} kernels by arithmetic intensity and rate, below {} ceilings of memory and {} of arithmetic. The table has their numbers.",
            kernels.len(),
            roofs.levels.len(),
            roofs.units.len()
        ),
    };
    let chart = if kernels.is_empty() {
        String::new()
    } else {
        chart::roofline(&kernels, &roofs, words)?
    };
    Ok(RooflineView {
        device: cell(device),
        chart,
        drawn: kernels.len(),
        has_roofs,
        kernels: cases
            .iter()
            .take(LINES)
            .map(|case| line(library, case))
            .collect(),
        more: cases.len().saturating_sub(LINES),
    })
}

fn roofs(device: &str, ceilings: &Ceilings) -> Roofs {
    let mut roofs = Roofs::default();
    for ceiling in ceilings
        .all
        .iter()
        .filter(|ceiling| ceiling.device == device)
    {
        let of = match ceiling.limit {
            Limit::Level(_) => &mut roofs.levels,
            Limit::Unit(_) => &mut roofs.units,
        };
        let rate = part::number(&ceiling.rate, &ceiling.limit.unit().into());
        let disturbed = if ceiling.disturbed {
            ", while others used the machine"
        } else {
            ""
        };
        of.push(chart::Limit {
            name: ceiling.limit.name(),
            rate: ceiling.rate,
            disturbed: ceiling.disturbed,
            title: format!("{}: {rate}{disturbed}", ceiling.limit.name()),
        });
    }
    roofs
}

/// Operations per byte, where there are both.
fn intensity(case: &CaseSummary) -> Option<f64> {
    let work = &case.case.work;
    let (flops, bytes) = (work.flops? as f64, work.bytes? as f64);
    (flops > 0.0 && bytes > 0.0).then(|| flops / bytes)
}

fn kernel(case: &CaseSummary) -> Option<Kernel> {
    let rate = rate(case, "FLOP/s")?;
    let intensity = intensity(case)?;
    Some(Kernel {
        intensity,
        rate: rate.estimate,
        title: format!(
            "{}: {}",
            cell(&case.case.case),
            part::number(rate, &Unit::FlopsPerSecond)
        ),
    })
}

fn line(library: &Library<'_>, (summary, case): &Measured<'_>) -> KernelLine {
    let bound = &case.case.bound;
    let names = [
        bound.level.map(MemoryLevel::name),
        bound.unit.map(ArithmeticUnit::name),
    ];
    let names: Vec<&str> = names.into_iter().flatten().collect();
    let shown = |unit: &'static str| rate(case, unit).map(|rate| part::number(rate, &unit.into()));
    KernelLine {
        case: cell(&case.case.case),
        series: part::time(case).map_or(String::new(), |time| {
            run::series_href(library, summary, &case.case, time)
        }),
        suite: cell(&summary.run.suite),
        arm: part::arm_in(library, &summary.run.suite, &case.case.arm),
        bound: names.join(", "),
        intensity: intensity(case).map_or(String::new(), crate::format::scientific),
        flops: shown("FLOP/s"),
        bytes: shown("B/s"),
        fractions: case.fractions.iter().map(part::fraction).collect(),
    }
}
