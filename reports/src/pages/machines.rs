//! Every machine, with what is said of the newest nights on it.

use assay_store::RunRow;
use serde::Serialize;

use super::fill;
use super::judged;
use super::part::{self, Badge, Link};
use crate::error::ReportError;
use crate::model::Library;

/// Most nights of a machine that are listed; its page has its runs.
const NIGHTS: usize = 12;

#[derive(Serialize)]
struct Machines {
    machines: Vec<MachineLine>,
}

#[derive(Serialize)]
struct MachineLine {
    machine: Link,
    class: String,
    nights: Vec<NightOf>,
    more: usize,
    runs: usize,
    latest: Link,
    at: String,
}

#[derive(Serialize)]
struct NightOf {
    suite: Link,
    state: Badge,
}

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let line = |(name, runs): (&str, Vec<&RunRow>)| {
        let newest = runs.first()?;
        let mut nights = nights(library, name);
        let more = nights.len().saturating_sub(NIGHTS);
        nights.truncate(NIGHTS);
        Some(MachineLine {
            machine: part::machine_link(name),
            class: newest.class.short(),
            nights,
            more,
            runs: runs.len(),
            latest: part::run_link(&newest.run),
            at: part::when(newest.started),
        })
    };
    let machines = library.machines().into_iter().filter_map(line).collect();
    fill(
        library.settings,
        "machines.html",
        "Machines",
        &Machines { machines },
    )
}

fn nights(library: &Library<'_>, machine: &str) -> Vec<NightOf> {
    let nights = library.nights.iter();
    let of = nights.filter_map(|night| {
        let row = library.night_row(night)?;
        let said = library.said(night)?;
        (row.machine == machine).then(|| NightOf {
            suite: part::suite_link(&row.suite),
            state: judged::told(said.told),
        })
    });
    of.collect()
}
