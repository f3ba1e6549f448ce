//! What the gate says of the newest night of each suite on each machine by each arm.

use std::collections::BTreeSet;

use anyhow::Result;
use assay_record::{Day, Purpose, RunId, RunStatus};
use assay_reports::{Night, Step};
use assay_store::{RunRow, Store};
use assay_verdicts::nights::{Part, Place};
use assay_verdicts::window::is_night;
use assay_verdicts::{Confirmed, Marks, Nights, Reading, RunView};

use crate::confirming;
use crate::gating::{Asking, Checked};
use crate::settings::Settings;
use crate::sides::{self, Differences, Side, Values};

use super::machines;

/// Newest nights of all that are looked at for what was confirmed.
const CONFIRMED: usize = 200;

/// Most nights between a baseline and a night that are told apart; by default it leaves out two.
const STEPS: usize = 10;

/// The newest night of each place: the runs that it is made of, the latest first.
pub fn all(
    reading: Reading<'_>,
    settings: &Settings,
    nights: &Nights<'_>,
    known: (&Marks, Day),
) -> Result<Vec<Night>> {
    let mut all = Vec::new();
    for (place, _) in nights.places() {
        for part in nights.newest(reading.store, place)? {
            all.push(night(reading, settings, (nights, place), known, part)?);
        }
    }
    Ok(all)
}

/// What was confirmed on the newest nights and before them, oldest first: by the same gate as on that night. What marks have accepted since
/// is told as such.
pub fn confirmed(
    reading: Reading<'_>,
    settings: &Settings,
    runs: &[RunRow],
    nights: &[Night],
    known: (&Marks, Day),
) -> Result<Vec<Confirmed>> {
    let run_again: BTreeSet<&RunId> = runs.iter().filter_map(confirms).collect();
    let meant = runs
        .iter()
        .rev()
        .filter(|row| is_night(row) && run_again.contains(&row.run));
    let meant: Vec<&RunRow> = meant.take(CONFIRMED).collect();
    let mut all = Vec::new();
    for row in meant.into_iter().rev() {
        // What a later run measured again was confirmed all the same.
        let is_whole = |night: &&Night| night.share.is_none();
        let mut whole = nights.iter().filter(is_whole);
        let newest = whole.find(|night| night.gate.run == row.run);
        let checked = match newest {
            Some(_) => None,
            None => Some(check(reading, settings, known, row)?),
        };
        let gate = newest.map(|night| &night.gate);
        let Some(gate) = gate.or(checked.as_ref().map(|checked| &checked.gate)) else {
            continue;
        };
        if *known.0 == Marks::default() {
            all.extend(Confirmed::all(gate, row));
        } else {
            let without = check(reading, settings, (&Marks::default(), known.1), row)?;
            all.extend(Confirmed::with_excused(gate, &without.gate, row));
        }
    }
    Ok(all)
}

/// The night of which a run confirmed suspects.
fn confirms(row: &RunRow) -> Option<&RunId> {
    match &row.purpose {
        Purpose::Confirmation { of } if row.status == RunStatus::Complete => Some(of),
        _ => None,
    }
}

fn check(
    reading: Reading<'_>,
    settings: &Settings,
    (marks, today): (&Marks, Day),
    row: &RunRow,
) -> Result<Checked> {
    let asking = Asking::default();
    let checked = asking.check_with(reading, &row.run, settings, (marks.clone(), today))?;
    confirming::recall(reading, checked, &asking, settings)
}

fn night(
    reading: Reading<'_>,
    settings: &Settings,
    (nights, place): (&Nights<'_>, &Place),
    known: (&Marks, Day),
    Part { run: row, share }: Part<'_>,
) -> Result<Night> {
    let checked = check(reading, settings, known, row)?;
    let previous = nights.before(place, row);
    let machine_changes = match previous {
        None => Vec::new(),
        Some(before) => machines::lasting_changes(
            &reading.store.fingerprint(&before.before)?,
            &reading.store.fingerprint(&row.before)?,
        ),
    };
    Ok(Night {
        steps: steps(reading.store, &checked)?,
        is_imported: checked.options.is_imported,
        gate: match &share {
            Some(share) => checked.gate.of_share(share),
            None => checked.gate,
        },
        share,
        previous: previous.map(|row| row.run.clone()),
        machine_changes,
    })
}

/// What differs from night to night since the last of the baseline, or among the newest of them.
fn steps(store: &Store, checked: &Checked) -> Result<Vec<Step>> {
    let between = checked.options.known.as_ref();
    let between = between.map_or(&[][..], |known| &known.between);
    let newest = between[between.len().saturating_sub(STEPS)..].to_vec();
    let first = checked.baseline.newest();
    let first = first.filter(|_| newest.len() == between.len());
    let mut views: Vec<RunView> = first.into_iter().cloned().collect();
    views.extend(RunView::load_all(store, newest)?);
    views.extend(checked.candidate.newest().cloned());
    let step = |pair: &[RunView]| {
        let sides = [&pair[0], &pair[1]].map(|view| Side {
            arm: checked.candidate.arm.clone(),
            ..sides::side(String::new(), vec![view.clone()])
        });
        let found = Differences::between(store, [&sides[0], &sides[1]], Values::Hidden)?;
        Ok(Step {
            run: pair[1].run.run.clone(),
            differences: found.beside_commit(),
        })
    };
    views.windows(2).map(step).collect()
}
