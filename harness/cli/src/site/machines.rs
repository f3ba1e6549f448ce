//! What changed on machines between runs.

use std::collections::BTreeMap;

use anyhow::Result;
use assay_machine::diff;
use assay_protocol::Digest;
use assay_record::Fingerprint;
use assay_reports::MachineChange;
use assay_store::{RunRow, Store};

/// Newest runs of a machine that are looked at for changes.
const LOOKED_AT: usize = 100;

/// The newest runs of each machine before which it changed, the latest first. `runs` are in order.
pub fn timelines(store: &Store, runs: &[RunRow]) -> Result<BTreeMap<String, Vec<MachineChange>>> {
    let mut machines: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for row in runs {
        machines.entry(&row.machine).or_default().push(row);
    }
    for rows in machines.values_mut() {
        rows.drain(..rows.len().saturating_sub(LOOKED_AT));
    }
    let digests = machines.values().flatten().map(|row| row.before).collect();
    let prints = store.fingerprints(&digests)?;
    let timelines = machines
        .into_iter()
        .map(|(machine, rows)| (machine.to_owned(), timeline(&rows, &prints)));
    Ok(timelines.collect())
}

fn timeline(rows: &[&RunRow], prints: &BTreeMap<Digest, Fingerprint>) -> Vec<MachineChange> {
    let change = |pair: &[&RunRow]| {
        let [before, after] = [pair[0], pair[1]].map(|row| prints.get(&row.before));
        let words = lasting_changes(before?, after?);
        (!words.is_empty()).then(|| MachineChange {
            run: pair[1].run.clone(),
            started: pair[1].started,
            words,
        })
    };
    rows.windows(2).rev().filter_map(change).collect()
}

/// What was set or installed otherwise; what moves by itself is no change.
pub fn lasting_changes(before: &Fingerprint, after: &Fingerprint) -> Vec<String> {
    let explained = diff::explain(before, after).into_iter();
    let lasting = explained.filter(|found| !found.is_volatile);
    lasting.map(|found| found.text).collect()
}
