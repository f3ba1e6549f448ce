//! The newest nights of suites on machines by their arms, one line each.

use std::collections::BTreeMap;

use assay_store::RunRow;
use assay_verdicts::comparison::Counts;
use assay_verdicts::gate::{Gate, State};
use assay_verdicts::{OfHistory, Told};
use serde::Serialize;

use super::judged;
use super::part::{self, Badge, Link, cell};
use crate::model::{Library, Night, NightPlace, Unjudged};
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
    /// How many were confirmed before and still stand.
    standing: usize,
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
        at: part::started(library, row),
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
    /// Confirmed before, and still so.
    standing: usize,
    /// Inconclusive and unchanged ones of which more is said elsewhere in the line.
    open: usize,
    levelled: usize,
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
                sums.standing += said.standing;
                sums.open += said.counts.inconclusive + said.beside.inconclusive;
                sums.levelled += said.counts.unchanged + said.beside.unchanged;
            }
        }
        sums
    }

    /// What an arm has that no night judges.
    fn of_arm(library: &Library<'_>, one: &Unjudged<'_>) -> Self {
        let impossible = one.impossible();
        Self {
            counts: Counts {
                troubled: one.failed.len() - impossible,
                impossible,
                ..Counts::default()
            },
            worse: one.counts.worse,
            better: one.counts.better,
            skipped: library.skipped_in(&one.run.run, one.place.2, |_| true),
            ..Self::default()
        }
    }

    fn inconclusive(&self) -> usize {
        self.counts.inconclusive.saturating_sub(self.open)
    }

    fn unchanged(&self) -> usize {
        self.counts.unchanged.saturating_sub(self.levelled)
    }

    fn in_short(&self) -> String {
        in_short(&[
            (self.counts.regressed + self.worse, "regressed"),
            (self.standing, "still regressed"),
            (self.suspected, "suspected"),
            (self.counts.excused, "known"),
            (self.counts.troubled, "failed"),
            (self.counts.impossible, "impossible"),
            (self.counts.improved + self.better, "improved"),
            (self.unchanged(), "unchanged"),
            (self.inconclusive(), "inconclusive"),
            (self.skipped.unwrap_or(0), "skipped"),
        ])
    }

    /// The row, without the runs that the night is made of.
    fn line(&self, told: Told, place: PlaceView, ago: String) -> NightLine {
        NightLine {
            in_short: self.in_short(),
            state: judged::told(told),
            place,
            ago,
            parts: Vec::new(),
            more_parts: 0,
            regressed: self.counts.regressed + self.worse,
            worse: self.worse,
            better: self.better,
            standing: self.standing,
            certainty: "",
            suspected: self.suspected,
            improved: self.counts.improved + self.better,
            unchanged: self.unchanged(),
            inconclusive: self.inconclusive(),
            known: self.counts.excused,
            failed: self.counts.troubled,
            impossible: self.counts.impossible,
            skipped: self.skipped,
            false_alarms: judged::false_alarms(self.false_alarms),
        }
    }
}

/// Rows for nights, each at the place of the first of its runs in the list, and among them for arms that no night judges, where anything is
/// said of these.
pub fn lines<'a, 'u: 'a>(
    library: &Library<'_>,
    nights: &[&Night],
    unjudged: impl IntoIterator<Item = &'a Unjudged<'u>>,
) -> Vec<NightLine> {
    let of_places = by_place(library, nights);
    let nights = of_places.iter().filter_map(|night| line(library, night));
    let arms = unjudged.into_iter();
    let arms = arms.filter_map(|one| line_of_arm(library, one));
    let mut lines: Vec<(u8, NightLine)> = nights.chain(arms).collect();
    lines.sort_by_key(|(urgency, _)| *urgency);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn line_of_arm(library: &Library<'_>, one: &Unjudged<'_>) -> Option<(u8, NightLine)> {
    let (told, row) = (one.told()?, one.run);
    let place = place_of(library, row, one.place.2);
    let line = Sums::of_arm(library, one).line(told, place, ago(library, row));
    Some((told.urgency(), line))
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
fn line(library: &Library<'_>, night: &[&Night]) -> Option<(u8, NightLine)> {
    let newest = *night.first()?;
    let sums = Sums::of(library, night);
    let told = night.iter().filter_map(|run| library.said(run));
    let told = Told::gravest(told.map(|said| said.told))?;
    let ago = ago(library, library.night_row(newest)?);
    let line = NightLine {
        parts: night
            .iter()
            .take(PARTS)
            .filter_map(|run| part(library, run))
            .collect(),
        more_parts: night.len().saturating_sub(PARTS),
        certainty: certainty(night),
        ..sums.line(told, place(library, newest)?, ago)
    };
    Some((told.urgency(), line))
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
    let cases = night.iter().flat_map(|run| &run.gate.comparison.cases);
    judged::certainty(cases.filter(|case| judged::is_regressed(case)))
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
    Some(place_of(library, row, night.arm()))
}

fn place_of(library: &Library<'_>, row: &RunRow, arm: &str) -> PlaceView {
    PlaceView {
        suite: part::suite_link(&row.suite),
        machine: part::machine_link(&row.machine),
        arm: part::arm_in(library, &row.suite, arm),
        run: part::run_link(&row.run),
        at: part::started(library, row),
    }
}

/// Most cases that are named where many moved.
const MOVED: usize = 6;

/// What most cases of a night share, if anything.
pub fn event(library: &Library<'_>, night: &Night) -> Option<Event> {
    let gate = &night.gate;
    let shift = words::common_shift(&gate.comparison);
    let said = shift.into_iter().chain(gate.cause_of_shift());
    let mut words: Vec<String> = said.map(|said| judged::sentence(&said)).collect();
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

/// What changed on a machine since its last runs, and in what suites are started there.
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
        let arm = match library.arm_in(&row.suite, night.arm()) {
            "" => String::new(),
            arm => format!(", arm {arm}"),
        };
        let own = night.arm_changes.iter();
        known.extend(own.map(|words| format!("Suite {}{arm}: {words}", row.suite)));
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
