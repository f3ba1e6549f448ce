//! Every suite, with what is said of its newest nights.

use std::collections::{BTreeMap, BTreeSet};

use assay_store::RunRow;
use assay_verdicts::Told;
use serde::Serialize;

use super::fill;
use super::judged;
use super::part::{self, Badge, Link};
use crate::error::ReportError;
use crate::model::{Library, Night, Unjudged};

/// Most nights of a suite that are listed; its page has them all.
const PLACES: usize = 8;

#[derive(Serialize)]
struct Suites {
    suites: Vec<SuiteLine>,
}

#[derive(Serialize)]
struct SuiteLine {
    suite: Link,
    places: Vec<PlaceLine>,
    more: usize,
    series: usize,
    runs: usize,
    latest: Link,
    at: String,
}

#[derive(Serialize)]
struct PlaceLine {
    machine: Link,
    /// The arm, where the suite has several.
    arm: String,
    /// Absent where the suite has had no whole night there.
    state: Option<Badge>,
}

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let mut series: BTreeMap<&str, usize> = BTreeMap::new();
    for place in library.current.keys() {
        *series.entry(place.suite).or_default() += 1;
    }
    let line = |(name, runs): (&str, Vec<&RunRow>)| {
        let newest = runs.first()?;
        let machines: BTreeSet<&str> = runs.iter().map(|row| row.machine.as_str()).collect();
        let places = machines
            .iter()
            .flat_map(|machine| places(library, name, machine));
        let mut places: Vec<PlaceLine> = places.collect();
        Some(SuiteLine {
            suite: part::suite_link(name),
            more: places.len().saturating_sub(PLACES),
            places: {
                places.truncate(PLACES);
                places
            },
            series: series.get(name).copied().unwrap_or(0),
            runs: runs.len(),
            latest: part::run_link(&newest.run),
            at: part::when(newest.started),
        })
    };
    let suites = library.suites().into_iter().filter_map(line).collect();
    fill(
        library.settings,
        "suites.html",
        "Suites",
        &Suites { suites },
    )
}

/// The newest nights of a suite on a machine, or that there is none.
fn places(library: &Library<'_>, suite: &str, machine: &str) -> Vec<PlaceLine> {
    let line = |night: &[&Night]| {
        let told = night.iter().filter_map(|run| library.said(run));
        let told = Told::gravest(told.map(|said| said.told))?;
        Some(PlaceLine {
            machine: part::machine_link(machine),
            arm: part::arm_in(library, suite, night.first()?.arm()),
            state: Some(judged::told(told)),
        })
    };
    let of_arm = |one: &Unjudged<'_>| {
        Some(PlaceLine {
            machine: part::machine_link(machine),
            arm: part::arm_in(library, suite, one.place.2),
            state: Some(judged::told(one.told()?)),
        })
    };
    let mut lines: Vec<PlaceLine> = library.nights_at(suite, machine).filter_map(line).collect();
    let arms = library.unjudged_of(Some(suite));
    let here = arms.filter(|one| one.place.1 == machine);
    lines.extend(here.filter_map(of_arm));
    if lines.is_empty() {
        lines.push(PlaceLine {
            machine: part::machine_link(machine),
            arm: String::new(),
            state: None,
        });
    }
    lines
}
