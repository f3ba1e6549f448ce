//! One machine: what it is now, and what ran on it.

use assay_record::Timestamp;
use assay_store::RunRow;
use serde::Serialize;

use super::fill;
use super::part::{PartView, RunLine, cell, fingerprint, run_line};
use crate::error::ReportError;
use crate::model::Library;

#[derive(Serialize)]
struct Machine {
    name: String,
    class: String,
    taken: String,
    parts: Vec<PartView>,
    runs: Vec<RunLine>,
}

/// The page; `runs` are the machine's, the latest first.
pub fn render(library: &Library<'_>, name: &str, runs: &[&RunRow]) -> Result<String, ReportError> {
    let prints = &library.model.fingerprints;
    let latest = runs.iter().find_map(|run| {
        let after = run.after.as_ref().and_then(|digest| prints.get(digest));
        after.or_else(|| prints.get(&run.before))
    });
    let page = Machine {
        name: cell(name),
        class: runs.first().map_or(String::new(), |run| run.class.short()),
        taken: latest
            .map(|print| print.taken)
            .map_or(String::new(), Timestamp::minute),
        parts: latest.map_or(Vec::new(), |print| fingerprint(print, None)),
        runs: runs.iter().map(|run| run_line(library, run)).collect(),
    };
    fill(
        library.settings,
        "machine.html",
        &format!("Machine {name}"),
        &page,
    )
}
