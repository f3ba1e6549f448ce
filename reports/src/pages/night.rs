//! The newest nights of suites on machines, one line each.

use std::collections::BTreeMap;

use assay_store::RunRow;
use assay_verdicts::gate::{Gate, State};
use assay_verdicts::{Lasting, OfHistory, Told};
use serde::Serialize;

use super::judged;
use super::part::{self, Badge, Link, cell};
use crate::model::{Library, Night};
use crate::words;

/// A row of the table of nights.
#[derive(Serialize)]
pub struct NightLine {
    state: Badge,
    suite: Link,
    machine: Link,
    run: Link,
    at: String,
    /// How long ago that was, where it was not last night.
    ago: String,
    regressed: usize,
    /// How many of those that got worse, and better, did so to stay by their history, and not by the night.
    worse: usize,
    better: usize,
    /// Whether what regressed was run again, in a word; empty where nothing did.
    certainty: &'static str,
    suspected: usize,
    improved: usize,
    unchanged: usize,
    inconclusive: usize,
    known: usize,
    failed: usize,
    impossible: usize,
    skipped: Option<usize>,
    false_alarms: String,
    /// The same counts in a line, for where the columns are out of sight.
    in_short: String,
}

/// A row for a night; `None` where its run is not at hand.
pub fn line(library: &Library<'_>, night: &Night) -> Option<NightLine> {
    let row = library.night_row(night)?;
    let gate = &night.gate;
    let counts = &gate.comparison.suite.counts;
    let summary = library.summary(&gate.run);
    let said = library.said(night)?;
    let Lasting { worse, better, .. } = said.counts;
    let open = judged::suspected(gate) + said.counts.inconclusive;
    let skipped = summary.map(|summary| part::tally(&summary.cases).skipped);
    let in_short = in_short(&[
        (counts.regressed + worse, "regressed"),
        (judged::suspected(gate), "suspected"),
        (counts.excused, "known"),
        (counts.troubled, "failed"),
        (counts.impossible, "impossible"),
        (counts.improved + better, "improved"),
        (counts.unchanged, "unchanged"),
        (counts.inconclusive.saturating_sub(open), "inconclusive"),
        (skipped.unwrap_or(0), "skipped"),
    ]);
    Some(NightLine {
        in_short,
        state: judged::told(said.told),
        suite: part::suite_link(&row.suite),
        machine: part::machine_link(&row.machine),
        run: part::run_link(&row.run),
        at: part::when(row.started),
        ago: ago(library, row),
        regressed: counts.regressed + worse,
        worse,
        better,
        certainty: certainty(gate),
        suspected: judged::suspected(gate),
        improved: counts.improved + better,
        unchanged: counts.unchanged,
        inconclusive: counts.inconclusive.saturating_sub(open),
        known: counts.excused,
        failed: counts.troubled,
        impossible: counts.impossible,
        skipped,
        false_alarms: judged::false_alarms(gate.comparison.suite.expected_false_alarms),
    })
}

/// Counts that are not zero, in words: `1 regressed, 12 unchanged`.
fn in_short(counts: &[(usize, &str)]) -> String {
    let known = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = known
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    words.join(", ")
}

/// Days before the newest run of all from which on it is said how many.
const TOLD_DAYS: i64 = 2;

fn ago(library: &Library<'_>, row: &RunRow) -> String {
    match library.age_days(row.started) {
        ..TOLD_DAYS => String::new(),
        days => words::days_ago(days),
    }
}

/// A night that is no news.
#[derive(Serialize)]
pub struct OldNight {
    place: PlaceView,
    state: Badge,
    ago: String,
}

/// A line for a night that is no news.
pub fn old(library: &Library<'_>, night: &Night) -> Option<OldNight> {
    let row = library.night_row(night)?;
    Some(OldNight {
        place: place(library, night)?,
        state: judged::told(library.said(night)?.told),
        ago: words::days_ago(library.age_days(row.started)),
    })
}

fn certainty(gate: &Gate) -> &'static str {
    match (gate.comparison.suite.counts.regressed, &gate.confirmation) {
        (0, _) => "",
        (_, Some(_)) => "confirmed",
        (_, None) => "not run again",
    }
}

/// Whether somebody should look.
pub fn is_loud(library: &Library<'_>, night: &Night) -> bool {
    matches!(
        library.said(night).map(|said| said.told),
        Some(
            Told::Gate(
                State::Troubled
                    | State::Impossible
                    | State::Regressed
                    | State::Suspected
                    | State::NotMeasured
                    | State::Moved
            ) | Told::History(OfHistory::StillRegressed | OfHistory::WorseToStay)
        )
    )
}

/// A shift that cases share, or what moved without being another: what it says of a night as a whole.
#[derive(Serialize)]
pub struct Event {
    place: PlaceView,
    words: Vec<String>,
}

/// A suite on a machine.
#[derive(Serialize)]
pub struct PlaceView {
    /// The suite.
    pub suite: Link,
    /// The machine.
    pub machine: Link,
    /// The night's run.
    pub run: Link,
    /// When it started.
    pub at: String,
}

/// Where a night was.
pub fn place(library: &Library<'_>, night: &Night) -> Option<PlaceView> {
    let row = library.night_row(night)?;
    Some(PlaceView {
        suite: part::suite_link(&row.suite),
        machine: part::machine_link(&row.machine),
        run: part::run_link(&row.run),
        at: part::when(row.started),
    })
}

/// Most cases that are named where many moved.
const MOVED: usize = 6;

/// What most cases of a night share, if anything.
pub fn event(library: &Library<'_>, night: &Night) -> Option<Event> {
    let gate = &night.gate;
    let shift = words::common_shift(&gate.comparison);
    let mut words: Vec<String> = shift.iter().map(|said| judged::sentence(said)).collect();
    if gate.has_moved() {
        words.push(moved(gate));
    }
    let place = place(library, night)?;
    (!words.is_empty()).then_some(Event { place, words })
}

fn moved(gate: &Gate) -> String {
    let confirmation = gate.confirmation.as_ref();
    let moved: Vec<String> = confirmation
        .into_iter()
        .flat_map(|confirmation| confirmation.moved.iter().map(|case| cell(case)))
        .collect();
    let (named, more) = judged::listed(&moved, MOVED);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "Moved, though what was started is the same on both sides: {}{more}. It is the machine, or something that is not pinned.",
        named.join(", ")
    )
}

/// What changed on a machine since its last runs.
#[derive(Serialize)]
pub struct MachineChanges {
    machine: Link,
    words: Vec<String>,
    more: usize,
}

/// Most changes of a machine that are listed; its page has its fingerprint.
const CHANGES: usize = 12;

/// By machine: suites that ran there in one night saw the same.
pub fn machine_changes(library: &Library<'_>) -> Vec<MachineChanges> {
    let mut machines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let [recent, _] = library.nights_by_age();
    for night in recent {
        let Some(row) = library.night_row(night) else {
            continue;
        };
        let known = machines.entry(&row.machine).or_default();
        for words in &night.machine_changes {
            if !known.contains(words) {
                known.push(words.clone());
            }
        }
    }
    let changed = machines.into_iter().filter(|(_, words)| !words.is_empty());
    let view = |(machine, all): (&str, Vec<String>)| {
        let (words, more) = judged::listed(&all, CHANGES);
        MachineChanges {
            machine: part::machine_link(machine),
            words,
            more,
        }
    };
    changed.map(view).collect()
}
