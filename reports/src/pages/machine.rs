//! One machine: what it is now and how it changed, what it can do at most and what kernels reach of that, and what ran on it.

mod roofline;

use assay_record::Timestamp;
use assay_store::RunRow;
use serde::Serialize;

use self::roofline::{CeilingLine, RooflineView};
use super::fill;
use super::part::{self, Link, PartView, RunLine, cell, fingerprint, run_line};
use crate::error::ReportError;
use crate::model::{Library, MachineChange};
use crate::text::clip;

/// Newest runs that are listed.
const RUNS: usize = 100;
/// Newest changes that are listed, and what is said of one.
const CHANGES: usize = 50;
const WORDS: usize = 30;

#[derive(Serialize)]
struct Machine {
    name: String,
    class: String,
    taken: String,
    parts: Vec<PartView>,
    changes: Vec<ChangeLine>,
    more_changes: usize,
    ceilings: Vec<CeilingLine>,
    rooflines: Vec<RooflineView>,
    runs: Vec<RunLine>,
    all_runs: usize,
}

/// What changed before a run.
#[derive(Serialize)]
struct ChangeLine {
    run: Link,
    at: String,
    words: Vec<String>,
    more: usize,
}

/// The page; `runs` are the machine's, the latest first.
pub fn render(library: &Library<'_>, name: &str, runs: &[&RunRow]) -> Result<String, ReportError> {
    let latest = runs.iter().find_map(|run| {
        let after = run.after.as_ref();
        let after = after.and_then(|digest| library.fingerprint(digest));
        after.or_else(|| library.fingerprint(&run.before))
    });
    let changes = library.model.timelines.get(name);
    let changes = changes.map_or(&[][..], Vec::as_slice);
    let ceilings = library.model.ceilings.get(name);
    let page = Machine {
        name: cell(name),
        class: runs.first().map_or(String::new(), |run| run.class.short()),
        taken: latest
            .map(|print| print.taken)
            .map_or(String::new(), Timestamp::minute),
        parts: latest.map_or(Vec::new(), |print| fingerprint(print, None)),
        changes: changes.iter().take(CHANGES).map(change).collect(),
        more_changes: changes.len().saturating_sub(CHANGES),
        ceilings: ceilings.map_or(Vec::new(), roofline::ceilings),
        rooflines: roofline::rooflines(library, name, runs)?,
        runs: runs
            .iter()
            .take(RUNS)
            .map(|run| run_line(library, run))
            .collect(),
        all_runs: runs.len(),
    };
    fill(
        library.settings,
        "machine.html",
        &format!("Machine {name}"),
        &page,
    )
}

fn change(change: &MachineChange) -> ChangeLine {
    let words = change.words.iter().take(WORDS);
    ChangeLine {
        run: part::run_link(&change.run),
        at: part::when(change.started),
        words: words.map(|words| clip(words, 400).into_owned()).collect(),
        more: change.words.len().saturating_sub(WORDS),
    }
}
