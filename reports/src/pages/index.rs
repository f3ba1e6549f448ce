//! Tonight: what is said of the newest night of each suite on each machine by each arm, then what changed, the largest first.
//!
//! However many series there are, the page stays small: what did not change is on the pages of the suites.

mod lasting;

use std::collections::BTreeSet;

use assay_record::{RunId, RunStatus};
use assay_store::RunRow;
use assay_verdicts::nights::NEWS_DAYS;
use assay_verdicts::{CaseComparison, CaseSummary, RunSummary, Standing};
use serde::Serialize;

use super::fill;
use super::finding::{self, Finding};
use super::judged;
use super::night::{self, Event, MachineChanges, NightLine, OldNight, is_loud};
use super::part::{self, Badge, Link, RunLine, cell, run_line};
use crate::error::ReportError;
use crate::model::{Library, Night};
use crate::text::{self, clip};
use crate::words;

/// Most nights of the table; the list of suites has them all.
const NIGHTS: usize = 60;
/// Most nights that are no news.
const OLD: usize = 20;
/// Most findings of a kind, each with its chart; the rest are on the pages of their suites.
const FINDINGS: usize = 12;
/// Most failures that are listed; the run's page lists them all.
const FAILURES: usize = 50;
/// Most runs that did not come to their end.
const UNFINISHED: usize = 20;
/// Longest reason of a failure, in characters; its first line stands in the list, the rest is folded.
const REASON: usize = 2000;
/// With what commands begin to tell of their error output.
const STDERR: &str = "; its standard error: ";
/// Longest first line.
const FIRST: usize = 160;
/// Runs in the table of recent ones; a machine's page lists its own.
const RECENT: usize = 6;

#[derive(Serialize)]
struct Tonight {
    is_empty: bool,
    is_quiet: bool,
    says: String,
    nights: Vec<NightLine>,
    more_nights: usize,
    /// Nights that are no news, and from how many days on they are not.
    old: Vec<OldNight>,
    more_old: usize,
    old_days: i64,
    events: Vec<Event>,
    groups: Vec<Group>,
    /// What was confirmed before and still stands.
    standing: Vec<Finding>,
    more_standing: usize,
    unfinished: Vec<UnfinishedLine>,
    failures: Vec<FailureLine>,
    more_failures: usize,
    machines: Vec<MachineChanges>,
    has_previous: bool,
    recent: Vec<RunLine>,
}

/// Findings of one kind.
#[derive(Serialize)]
struct Group {
    id: &'static str,
    title: &'static str,
    /// Whether it is of what got better, which comes last.
    is_better: bool,
    findings: Vec<Finding>,
    more: usize,
    /// How many of the kind are no news any more, and still so.
    older: usize,
}

/// A run that did not come to its end.
#[derive(Serialize)]
struct UnfinishedLine {
    run: Link,
    at: String,
    suite: Link,
    machine: Link,
    /// Empty: a run may have several.
    arm: &'static str,
    status: Badge,
    words: &'static str,
}

#[derive(Serialize)]
struct FailureLine {
    case: String,
    /// The case on its run's page; empty where it is not there.
    href: String,
    suite: Link,
    machine: Link,
    arm: String,
    state: Badge,
    reason: Reason,
}

/// Why something failed.
#[derive(Serialize)]
struct Reason {
    first: String,
    /// What else is said; all of it, where the first line is too long to be shown.
    rest: String,
}

impl Reason {
    fn of(said: &str) -> Self {
        let said = text::said(said, REASON);
        let line = said.lines().next().unwrap_or_default();
        let line = line.split(STDERR).next().unwrap_or_default();
        let first = clip(line, FIRST).into_owned();
        let rest = said.strip_prefix(&first).unwrap_or(&said);
        let rest = rest.trim_start_matches(';').trim().to_owned();
        Self { first, rest }
    }
}

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let latest = latest_per_place(library);
    let unfinished: Vec<UnfinishedLine> = latest.iter().filter_map(|run| unfinished(run)).collect();
    let mut failures = failures(library, &latest);
    let more_failures = failures.len().saturating_sub(FAILURES);
    failures.truncate(FAILURES);
    let [nights, old] = library.nights_by_age();
    let standing = library.standing_lately();
    let events: Vec<Event> = nights
        .iter()
        .filter_map(|night| night::event(library, night))
        .collect();
    let own = groups(library)?;
    let (mut groups, lasting) = lasting::groups(library, &nights)?;
    groups.extend(own);
    groups.sort_by_key(|group| order(group.id));
    let places = night::by_place(library, &nights).len();
    let is_quiet = standing.is_empty()
        && (lasting.worse, lasting.better) == (0, 0)
        && unfinished.is_empty()
        && failures.is_empty()
        && events.is_empty()
        && !nights.iter().any(|night| is_loud(library, night));
    let page = Tonight {
        is_empty: library.runs.is_empty(),
        is_quiet,
        says: says(
            (&nights, places),
            why_none(library, !old.is_empty()),
            more_failures + failures.len(),
            lasting,
            &standing,
        ),
        nights: {
            let mut lines = night::lines(library, &nights, library.unjudged());
            lines.truncate(NIGHTS);
            lines
        },
        more_nights: places.saturating_sub(NIGHTS),
        more_old: old.len().saturating_sub(OLD),
        old: old
            .iter()
            .take(OLD)
            .filter_map(|night| night::old(library, night))
            .collect(),
        old_days: NEWS_DAYS,
        events: events.into_iter().take(FINDINGS).collect(),
        groups,
        more_standing: standing.len().saturating_sub(FINDINGS),
        standing: standing
            .iter()
            .take(FINDINGS)
            .enumerate()
            .map(|(at, one)| finding::of_standing(library, one, &format!("standing-{at}")))
            .collect::<Result<_, _>>()?,
        unfinished: unfinished.into_iter().take(UNFINISHED).collect(),
        failures,
        more_failures,
        machines: night::machine_changes(library),
        has_previous: nights.iter().any(|night| night.previous.is_some()),
        recent: library
            .latest_first()
            .take(RECENT)
            .map(|run| run_line(library, run))
            .collect(),
    };
    fill(library.settings, "index.html", "Tonight", &page)
}

/// The nights in one sentence.
fn says(
    (nights, places): (&[&Night], usize),
    none: &str,
    failures: usize,
    lasting: lasting::Counts,
    standing: &[Standing<'_>],
) -> String {
    let sum = |of: fn(&Night) -> usize| nights.iter().map(|night| of(night)).sum::<usize>();
    let regressed = sum(|night| night.gate.comparison.suite.counts.regressed);
    let suspected = sum(|night| judged::suspected(&night.gate));
    let improved = sum(|night| night.gate.comparison.suite.counts.improved);
    let has_shift = |night: &&&Night| night.gate.comparison.suite.common_shift.is_some();
    let shifted = nights.iter().filter(has_shift).count();
    let together =
        (shifted > 0).then(|| format!("{} moved together", words::count(shifted, "suite")));
    let parts = [
        (regressed, "regressed"),
        (suspected, "may have changed"),
        (failures, "failed or gave no right output"),
        (improved, "improved"),
        (lasting.worse, "got worse to stay in the history"),
        (lasting.better, "got better to stay in the history"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{number} {what}"));
    let parts: Vec<String> = together.into_iter().chain(parts).collect();
    let over = format!("over {}", words::count(places, "night"));
    let said = match (places, parts.is_empty()) {
        (0, true) => none.into(),
        (0, false) => format!("{none} {} in the newest runs.", parts.join(", ")),
        (_, true) if standing.len() + lasting.older > 0 => {
            format!("Nothing new is known to have changed {over}.")
        }
        (_, true) => format!("Nothing is known to have changed {over}."),
        (_, false) => format!("{} {over}.", parts.join(", ")),
    };
    let stands = match standing.len() {
        0 => String::new(),
        1 => " 1 that was confirmed before still stands.".into(),
        more => format!(" {more} that were confirmed before still stand."),
    };
    let back = match standing.iter().filter(|one| one.is_back_once).count() {
        0 => String::new(),
        back if back == standing.len() => {
            " Back in the newest run; one more like it ends it.".into()
        }
        back => format!(" {back} of them back in the newest run; one more like it ends that."),
    };
    let older = match lasting.older {
        0 => String::new(),
        1 => " 1 that got worse to stay before is still so.".into(),
        more => format!(" {more} that got worse to stay before are still so."),
    };
    said + &stands + &back + &older
}

/// Why there is no night.
fn why_none(library: &Library<'_>, has_old: bool) -> &'static str {
    if library.has_arms_alone() {
        "No night is judged: runs of several arms, none of which is `main`, are compared by arm."
    } else if has_old {
        "No suite has had a whole night lately."
    } else {
        "No suite has had a whole night yet."
    }
}

/// Where a group stands: what got worse before what may have, that before what got better.
fn order(id: &str) -> usize {
    let all = [
        "regressed",
        "lasting",
        "imported",
        "arms",
        "suspected",
        "improved",
    ];
    all.iter().position(|of| *of == id).unwrap_or(all.len())
}

fn groups(library: &Library<'_>) -> Result<Vec<Group>, ReportError> {
    type Wanted = fn(&Night, &CaseComparison) -> bool;
    let kinds: [(&str, &str, Wanted); 3] = [
        ("regressed", "Regressed", |_, case| {
            judged::is_regressed(case)
        }),
        ("suspected", "Suspected, to be run again", |night, case| {
            judged::is_suspected(&night.gate, case)
        }),
        ("improved", "Improved", |_, case| judged::is_improved(case)),
    ];
    let mut groups = Vec::new();
    for (id, title, wanted) in kinds {
        let found = finding::largest_first(library, wanted);
        let mut findings = Vec::new();
        for (at, one) in found.iter().take(FINDINGS).enumerate() {
            findings.extend(finding::view(library, one, &format!("{id}-{at}"))?);
        }
        if !findings.is_empty() {
            let more = found.len().saturating_sub(FINDINGS);
            groups.push(Group {
                id,
                title,
                is_better: id == "improved",
                findings,
                more,
                older: 0,
            });
        }
    }
    Ok(groups)
}

/// The latest run of each suite on each machine, where that is news, the latest first. Reproductions and runs that explain others stand apart.
fn latest_per_place<'a>(library: &Library<'a>) -> Vec<&'a RunRow> {
    let mut seen = BTreeSet::new();
    let own = |row: &&RunRow| row.reproduces.is_none() && row.purpose.is_measurement();
    library
        .latest_first()
        .filter(own)
        .filter(|row| !library.is_old(row))
        .filter(|row| seen.insert((&row.machine, &row.suite)))
        .collect()
}

fn unfinished(row: &RunRow) -> Option<UnfinishedLine> {
    (row.status != RunStatus::Complete).then(|| UnfinishedLine {
        run: part::run_link(&row.run),
        at: row.started.minute(),
        suite: part::suite_link(&row.suite),
        machine: part::machine_link(&row.machine),
        arm: "",
        status: part::status(row.status),
        words: part::status_words(row.status),
    })
}

/// What nights say failed, then what failed on arms that no night judges and in runs that are no nights; each case of an arm once.
fn failures(library: &Library<'_>, latest: &[&RunRow]) -> Vec<FailureLine> {
    let [recent, _] = library.nights_by_age();
    let of_nights = recent
        .into_iter()
        .flat_map(|night| failures_of_night(library, night));
    let unjudged = library.unjudged().iter();
    let of_arms = unjudged.flat_map(|one| one.failed.iter().copied());
    let judged: BTreeSet<&RunId> = library.nights.iter().map(|n| &n.gate.run).collect();
    let others = latest.iter().filter(|row| !judged.contains(&row.run));
    let others = others.filter_map(|row| library.summary(&row.run));
    let others = others.flat_map(|summary| (0..summary.cases.len()).map(move |at| (summary, at)));
    let others = of_arms.chain(others);
    let others = others.filter_map(|(summary, at)| failure_of_run(library, summary, at));
    let mut seen = BTreeSet::new();
    let found = of_nights.chain(others);
    found
        .filter(|(of, _)| seen.insert(*of))
        .map(|(_, line)| line)
        .collect()
}

/// Suite, machine, arm and case.
type Failed<'a> = [&'a str; 4];

fn failures_of_night<'a>(
    library: &Library<'a>,
    night: &'a Night,
) -> Vec<(Failed<'a>, FailureLine)> {
    let Some(row) = library.night_row(night) else {
        return Vec::new();
    };
    let arm = &night.gate.comparison.candidate.arm;
    let summary = library.summary(&row.run);
    let href = |case: &CaseComparison| {
        let summary = summary?;
        let is_it = |own: &CaseSummary| own.case.case == case.case && own.case.arm == *arm;
        let at = summary.cases.iter().position(is_it)?;
        Some(part::case_href(summary, at))
    };
    let line = |case: &'a CaseComparison| {
        let reason = case.trouble.as_ref()?;
        let line = FailureLine {
            case: cell(&case.case),
            href: href(case).unwrap_or_default(),
            suite: part::suite_link(&row.suite),
            machine: part::machine_link(&row.machine),
            arm: part::arm_in(library, &row.suite, arm),
            state: judged::case(case),
            reason: Reason::of(&reason.to_string()),
        };
        Some(([&*row.suite, &*row.machine, &**arm, &*case.case], line))
    };
    let cases = night.gate.comparison.cases.iter();
    cases.filter_map(line).collect()
}

/// A case of a run, if it gave no right result.
fn failure_of_run<'a>(
    library: &Library<'_>,
    summary: &'a RunSummary,
    at: usize,
) -> Option<(Failed<'a>, FailureLine)> {
    let case = &summary.cases[at];
    let (run, of) = (&summary.run, &case.case);
    let line = || FailureLine {
        case: cell(&case.case.case),
        href: part::case_href(summary, at),
        suite: part::suite_link(&summary.run.suite),
        machine: part::machine_link(&summary.run.machine),
        arm: part::arm_in(library, &summary.run.suite, &case.case.arm),
        state: part::state(&case.state),
        reason: Reason::of(part::reason(&case.state)),
    };
    let failed = [&*run.suite, &*run.machine, &*of.arm, &*of.case];
    part::is_bad(&case.state).then(|| (failed, line()))
}
