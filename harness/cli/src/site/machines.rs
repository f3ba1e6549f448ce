//! What telemetry read over runs, and what changed on machines between them.

use std::collections::BTreeMap;

use anyhow::Result;
use assay_machine::diff;
use assay_record::{Fingerprint, RunId};
use assay_reports::MachineChange;
use assay_store::{RunGauges, RunRow, Store};

/// Newest runs of a machine that are looked at for changes.
const LOOKED_AT: usize = 100;

/// What telemetry read over each of some runs; nothing of those without any.
pub fn gauges<'a>(
    store: &Store,
    runs: impl IntoIterator<Item = &'a RunId>,
) -> Result<BTreeMap<RunId, RunGauges>> {
    let mut gauges = BTreeMap::new();
    for run in runs {
        let found = store.run_gauges(run)?;
        if !found.gauges.is_empty() {
            gauges.insert(run.clone(), found);
        }
    }
    Ok(gauges)
}

/// The newest runs of each machine before which it changed, the latest first. `runs` are in order.
pub fn timelines(store: &Store, runs: &[RunRow]) -> Result<BTreeMap<String, Vec<MachineChange>>> {
    let mut machines: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for row in runs {
        machines.entry(&row.machine).or_default().push(row);
    }
    let timeline = |(machine, rows): (&str, Vec<&RunRow>)| {
        let newest = &rows[rows.len().saturating_sub(LOOKED_AT)..];
        Ok((machine.to_owned(), timeline(store, newest)?))
    };
    machines.into_iter().map(timeline).collect()
}

fn timeline(store: &Store, rows: &[&RunRow]) -> Result<Vec<MachineChange>> {
    let mut changes = Vec::new();
    let mut before: Option<Fingerprint> = None;
    for row in rows {
        let print = store.fingerprint(&row.before)?;
        let words = before.map_or(Vec::new(), |before| lasting_changes(&before, &print));
        if !words.is_empty() {
            changes.push(MachineChange {
                run: row.run.clone(),
                started: row.started,
                words,
            });
        }
        before = Some(print);
    }
    changes.reverse();
    Ok(changes)
}

/// What was set or installed otherwise; what moves by itself is no change.
pub fn lasting_changes(before: &Fingerprint, after: &Fingerprint) -> Vec<String> {
    let explained = diff::explain(before, after).into_iter();
    let lasting = explained.filter(|found| !found.is_volatile);
    lasting.map(|found| found.text).collect()
}
