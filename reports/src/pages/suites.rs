//! Every suite, with what is said of its newest nights.

use std::collections::{BTreeMap, BTreeSet};

use assay_store::RunRow;
use serde::Serialize;

use super::fill;
use super::judged;
use super::part::{self, Badge, Link};
use crate::error::ReportError;
use crate::model::Library;

/// Most machines of a suite that are listed; its page has them all.
const MACHINES: usize = 8;

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
        Some(SuiteLine {
            suite: part::suite_link(name),
            more: machines.len().saturating_sub(MACHINES),
            places: machines
                .into_iter()
                .take(MACHINES)
                .map(|machine| place(library, name, machine))
                .collect(),
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

fn place(library: &Library<'_>, suite: &str, machine: &str) -> PlaceLine {
    let night = library.night(suite, machine);
    PlaceLine {
        machine: part::machine_link(machine),
        state: night.and_then(|night| Some(judged::told(library.said(night)?.told))),
    }
}
