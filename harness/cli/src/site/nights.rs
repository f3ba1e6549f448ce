//! What the gate says of the newest night of each suite on each machine.

use std::collections::BTreeSet;

use anyhow::Result;
use assay_record::Day;
use assay_reports::Night;
use assay_store::RunRow;
use assay_verdicts::window::is_night;
use assay_verdicts::{Marks, Reading};

use crate::confirming;
use crate::gating::Asking;
use crate::settings::Settings;

use super::machines;

/// One night for each suite and machine that has one, the newest first.
pub fn all(
    reading: Reading<'_>,
    settings: &Settings,
    runs: &[RunRow],
    known: (&Marks, Day),
) -> Result<Vec<Night>> {
    let mut seen = BTreeSet::new();
    let newest = runs
        .iter()
        .rev()
        .filter(|row| is_night(row) && seen.insert((&row.suite, &row.machine)));
    newest
        .map(|row| night(reading, settings, runs, known, row))
        .collect()
}

fn night(
    reading: Reading<'_>,
    settings: &Settings,
    runs: &[RunRow],
    (marks, today): (&Marks, Day),
    row: &RunRow,
) -> Result<Night> {
    let asking = Asking::default();
    let checked = asking.check_with(reading, &row.run, settings, (marks.clone(), today))?;
    let checked = confirming::recall(reading, checked, &asking, settings)?;
    let previous = runs.iter().rev().find(|other| {
        is_night(other)
            && (&other.suite, &other.machine) == (&row.suite, &row.machine)
            && (other.started, &other.run) < (row.started, &row.run)
    });
    let machine_changes = match previous {
        None => Vec::new(),
        Some(before) => machines::lasting_changes(
            &reading.store.fingerprint(&before.before)?,
            &reading.store.fingerprint(&row.before)?,
        ),
    };
    Ok(Night {
        gate: checked.gate,
        previous: previous.map(|row| row.run.clone()),
        machine_changes,
    })
}
