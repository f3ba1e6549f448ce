//! The newest nights of suites on machines by their arms, one line each.

use std::collections::BTreeMap;

use assay_store::RunRow;
use assay_verdicts::comparison::Counts;
use assay_verdicts::gate::{Gate, State};
use assay_verdicts::{OfHistory, Told};
use serde::Serialize;

use super::judged;
use super::part::{self, Badge, Link, cell};
use crate::model::{Library, Night, NightPlace};
use crate::words;

/// A row of the table of nights.
#[derive(Serialize)]
pub struct NightLine {
    state: Badge,
    #[serde(flatten)]
    place: PlaceView,
    /// How long ago that was, where it was not last night.
    ago: String,
    /// What the night is made of, where that is several runs.
    parts: Vec<PartView>,
    more_parts: usize,
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

/// One of the runs of a night.
#[derive(Serialize)]
pub struct PartView {
    run: Link,
    at: String,
    /// How many cases it stands for, of all of the night.
    cases: usize,
    of: usize,
    is_newest: bool,
}

/// Most runs of a night that are listed.
const PARTS: usize = 4;

/// One of several runs of a night; `None` where it is the whole night.
pub fn part(library: &Library<'_>, night: &Night) -> Option<PartView> {
    let (row, share) = (library.night_row(night)?, night.share.as_ref()?);
    Some(PartView {
        run: part::run_link(&row.run),
        at: part::when(row.started),
        cases: share.cases.len(),
        of: share.of(),
        is_newest: share.is_newest,
    })
}

/// What is counted in the runs of a night, each by what it stands for.
#[derive(Default)]
struct Sums {
    counts: Counts,
    worse: usize,
    better: usize,
    suspected: usize,
    /// Inconclusive ones of which more is said elsewhere in the line.
    open: usize,
    /// Unknown where one of the runs is not at hand.
    skipped: Option<usize>,
    false_alarms: f64,
}

impl Sums {
    fn of(library: &Library<'_>, night: &[&Night]) -> Self {
        let mut sums = Self {
            skipped: night.iter().map(|run| library.skipped(run)).sum(),
            ..Self::default()
        };
        for run in night {
            let suite = &run.gate.comparison.suite;
            let suspected = judged::suspected(&run.gate);
            sums.counts += suite.counts;
            sums.false_alarms += suite.expected_false_alarms;
            sums.suspected += suspected;
            sums.open += suspected;
            if let Some(said) = library.said(run) {
                sums.worse += said.counts.worse;
                sums.better += said.counts.better;
                sums.open += said.counts.inconclusive;
            }
        }
        sums
    }

    fn inconclusive(&self) -> usize {
        self.counts.inconclusive.saturating_sub(self.open)
    }
}

/// Rows for nights, each at the place of the first of its runs in the list.
pub fn lines(library: &Library<'_>, nights: &[&Night]) -> Vec<NightLine> {
    let of_places = by_place(library, nights);
    let lines = of_places.iter().filter_map(|night| line(library, night));
    lines.collect()
}

/// The runs of each night together, the latest first; nights in the order of the list.
pub fn by_place<'a>(library: &Library<'a>, nights: &[&'a Night]) -> Vec<Vec<&'a Night>> {
    let mut order: Vec<NightPlace<'a>> = Vec::new();
    let mut runs: BTreeMap<NightPlace<'a>, Vec<&'a Night>> = BTreeMap::new();
    for &night in nights {
        let Some(row) = library.night_row(night) else {
            continue;
        };
        let place = (row.suite.as_str(), row.machine.as_str(), night.arm());
        let own = runs.entry(place).or_default();
        if own.is_empty() {
            order.push(place);
        }
        own.push(night);
    }
    let latest_first = |place| {
        let mut own = runs.remove(&place).unwrap_or_default();
        own.sort_by_key(|night| std::cmp::Reverse(&night.gate.run));
        own
    };
    order.into_iter().map(latest_first).collect()
}

/// A row for a night, whose runs are given, the latest first; `None` where none is at hand.
fn line(library: &Library<'_>, night: &[&Night]) -> Option<NightLine> {
    let newest = *night.first()?;
    let sums = Sums::of(library, night);
    let counts = &sums.counts;
    let told = night.iter().filter_map(|run| library.said(run));
    let told = Told::gravest(told.map(|said| said.told))?;
    let in_short = in_short(&[
        (counts.regressed + sums.worse, "regressed"),
        (sums.suspected, "suspected"),
        (counts.excused, "known"),
        (counts.troubled, "failed"),
        (counts.impossible, "impossible"),
        (counts.improved + sums.better, "improved"),
        (counts.unchanged, "unchanged"),
        (sums.inconclusive(), "inconclusive"),
        (sums.skipped.unwrap_or(0), "skipped"),
    ]);
    Some(NightLine {
        in_short,
        state: judged::told(told),
        place: place(library, newest)?,
        ago: ago(library, library.night_row(newest)?),
        parts: night
            .iter()
            .take(PARTS)
            .filter_map(|run| part(library, run))
            .collect(),
        more_parts: night.len().saturating_sub(PARTS),
        regressed: counts.regressed + sums.worse,
        worse: sums.worse,
        better: sums.better,
        certainty: certainty(night),
        suspected: sums.suspected,
        improved: counts.improved + sums.better,
        unchanged: counts.unchanged,
        inconclusive: sums.inconclusive(),
        known: counts.excused,
        failed: counts.troubled,
        impossible: counts.impossible,
        skipped: sums.skipped,
        false_alarms: judged::false_alarms(sums.false_alarms),
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

fn certainty(night: &[&Night]) -> &'static str {
    let gates = night.iter().map(|run| &run.gate);
    let mut regressed = gates.filter(|gate| gate.comparison.suite.counts.regressed > 0);
    match regressed.next() {
        None => "",
        Some(first) if first.confirmation.is_none() => "not run again",
        Some(_) if regressed.any(|gate| gate.confirmation.is_none()) => "not all run again",
        Some(_) => "confirmed",
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

/// A suite on a machine by an arm.
#[derive(Serialize)]
pub struct PlaceView {
    /// The suite.
    pub suite: Link,
    /// The machine.
    pub machine: Link,
    /// The arm, where the suite has several.
    pub arm: String,
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
        arm: part::arm_in(library, &row.suite, night.arm()),
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
