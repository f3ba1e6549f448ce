//! Every machine, with what is said of the newest nights on it.

use assay_store::RunRow;
use assay_verdicts::Told;
use serde::Serialize;

use super::fill;
use super::judged;
use super::part::{self, Badge, Link};
use crate::error::ReportError;
use crate::model::{Library, Night, NightPlace};

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
    /// The arm, where the suite has several.
    arm: String,
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

/// What asks for action first.
fn nights(library: &Library<'_>, machine: &str) -> Vec<NightOf> {
    let own = library.nights_by_place();
    let own = own.filter(|((_, on, _), _)| *on == machine);
    let told = |((suite, _, arm), night): (&NightPlace<'_>, &[&Night])| {
        let told = night.iter().filter_map(|run| library.said(run));
        let told = Told::gravest(told.map(|said| said.told))?;
        Some((
            (told.urgency(), night.first()?.gate.run.clone()),
            NightOf {
                suite: part::suite_link(suite),
                arm: part::arm_in(library, suite, arm),
                state: judged::told(told),
            },
        ))
    };
    let arms = library.unjudged().iter();
    let arms = arms.filter(|one| one.place.1 == machine).filter_map(|one| {
        let ((suite, _, arm), told) = (one.place, one.told()?);
        let of = NightOf {
            suite: part::suite_link(suite),
            arm: part::arm_in(library, suite, arm),
            state: judged::told(told),
        };
        Some(((told.urgency(), one.run.run.clone()), of))
    });
    let mut nights: Vec<_> = own.filter_map(told).chain(arms).collect();
    nights.sort_by(|(a, _), (b, _)| a.cmp(b));
    nights.into_iter().map(|(_, night)| night).collect()
}
