//! One suite: what is said of its newest nights, and every case with its history, latest value and verdict.

mod cases;

use std::collections::BTreeSet;

use assay_store::RunRow;
use serde::Serialize;

use super::compare;
use super::fill;
use super::judged;
use super::night::{self, Event, NightLine, PartView};
use super::part::{self, Link, RunLine, cell, run_line};
use crate::error::ReportError;
use crate::model::{Library, Night};
use crate::words;
use cases::CaseLine;

/// Most runs in the table; machines have theirs on their pages.
const RUNS: usize = 30;
/// Most differences and notes of a night that are listed.
const LISTED: usize = 20;

#[derive(Serialize)]
struct Suite {
    name: String,
    nights: Vec<NightLine>,
    accounts: Vec<Account>,
    comparisons: Vec<Link>,
    has_machines: bool,
    has_fractions: bool,
    cases: Vec<CaseLine>,
    runs: Vec<RunLine>,
    more_runs: usize,
}

/// What a night's verdicts rest on, in words.
#[derive(Serialize)]
struct Account {
    machine: Link,
    /// The arm, where the suite has several.
    arm: String,
    /// Which of the runs of its night it is of, where that has several.
    part: Option<PartView>,
    says: String,
    event: Option<Event>,
    facts: Vec<(&'static str, String)>,
    machine_changes: Vec<String>,
    arm_changes: Vec<String>,
    differences: Vec<String>,
    more_differences: usize,
    notes: Vec<String>,
    left_out: Vec<(String, String)>,
    more_left_out: usize,
}

/// The page; `runs` are the suite's, the latest first.
pub fn render(library: &Library<'_>, name: &str, runs: &[&RunRow]) -> Result<String, ReportError> {
    let of_suite = |night: &&&Night| {
        library
            .night_row(night)
            .is_some_and(|row| row.suite == name)
    };
    let nights: Vec<&Night> = library.nights.iter().filter(of_suite).copied().collect();
    let machines: BTreeSet<&str> = runs.iter().map(|row| row.machine.as_str()).collect();
    let cases = cases::lines(library, name, runs)?;
    let page = Suite {
        name: cell(name),
        nights: night::lines(library, &nights, library.unjudged_of(Some(name))),
        accounts: nights
            .iter()
            .filter_map(|night| account(library, night))
            .collect(),
        comparisons: compare::links_of(library, name),
        has_machines: machines.len() > 1,
        has_fractions: cases.iter().any(CaseLine::has_fraction),
        cases,
        runs: runs
            .iter()
            .take(RUNS)
            .map(|run| run_line(library, run))
            .collect(),
        more_runs: runs.len().saturating_sub(RUNS),
    };
    fill(
        library.settings,
        "suite.html",
        &format!("Suite {name}"),
        &page,
    )
}

fn account(library: &Library<'_>, night: &Night) -> Option<Account> {
    let row = library.night_row(night)?;
    let comparison = &night.gate.comparison;
    let (differences, more_differences) = judged::listed(&comparison.differences, LISTED);
    let confirmation = night.gate.confirmation.iter();
    let notes: Vec<String> = comparison
        .caveats
        .iter()
        .chain(confirmation.flat_map(|confirmation| &confirmation.notes))
        .map(|note| judged::sentence(note))
        .collect();
    Some(Account {
        machine: part::machine_link(&row.machine),
        arm: part::arm_in(library, &row.suite, night.arm()),
        part: night::part(library, night),
        says: judged::headline(&night.gate, library.said(night)),
        event: night::event(library, night),
        facts: facts(night),
        machine_changes: judged::listed(&night.machine_changes, LISTED).0,
        arm_changes: judged::listed(&night.arm_changes, LISTED).0,
        differences,
        more_differences,
        notes: judged::listed(&notes, LISTED).0,
        left_out: comparison
            .left_out
            .iter()
            .filter(|_| !comparison.baseline.runs.is_empty())
            .take(LISTED)
            .map(|left| (cell(&left.case), cell(&left.note)))
            .collect(),
        more_left_out: comparison.left_out.len().saturating_sub(LISTED),
    })
}

/// What the verdicts rest on; nothing where there is no baseline.
fn facts(night: &Night) -> Vec<(&'static str, String)> {
    let comparison = &night.gate.comparison;
    if comparison.baseline.runs.is_empty() || comparison.is_empty() {
        return Vec::new();
    }
    vec![
        (
            "Baseline",
            format!(
                "{} ({})",
                cell(&night.gate.window),
                cell(&comparison.baseline.label)
            ),
        ),
        ("Rests on", judged::sentence(&words::basis(comparison))),
        ("As a whole", judged::sentence(&words::mean(comparison))),
        ("Trust", judged::sentence(&words::false_alarms(comparison))),
    ]
}
