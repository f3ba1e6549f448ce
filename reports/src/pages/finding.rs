//! One metric of a case that changed in a night: its history in small, by how much, between which commits, and what else
//! changed.

use assay_record::RunId;
use assay_verdicts::{CaseComparison, CaseHistory, LocatedChange};
use serde::Serialize;

use super::judged::{self, Effect};
use super::part::{self, Badge, Commit, Link, cell};
use crate::chart::{self, Caption, Course};
use crate::error::ReportError;
use crate::format::Quantity;
use crate::model::{Library, Night};
use crate::text::clip;

/// Most changes of the machine that are listed with a finding; the suite's page has them all.
const CHANGES: usize = 2;

/// Longest reason, in characters.
const NOTE: usize = 600;

/// A case that changed.
#[derive(Serialize)]
pub struct Finding {
    badge: Badge,
    case: String,
    /// Its page; empty where it has none.
    href: String,
    /// The metric where it is not the time.
    metric: String,
    suite: Link,
    machine: Link,
    effect: Option<Effect>,
    latest: Option<Quantity>,
    chart: String,
    from: Option<End>,
    to: Option<End>,
    same_commit: bool,
    gradual: bool,
    changes: Vec<String>,
    more_changes: usize,
    note: String,
}

/// An end of the range in which a change lies.
#[derive(Serialize)]
struct End {
    run: Link,
    at: String,
    commit: Commit,
}

/// A case of a night.
pub struct Found<'a> {
    /// The night.
    pub night: &'a Night,
    /// What it says of the case.
    pub case: &'a CaseComparison,
}

/// Cases of all nights that are news and that are wanted, the largest effect first.
pub fn largest_first<'a>(
    library: &Library<'a>,
    is_wanted: impl Fn(&'a Night, &'a CaseComparison) -> bool,
) -> Vec<Found<'a>> {
    let [recent, _] = library.nights_by_age();
    let mut found: Vec<Found<'a>> = recent
        .into_iter()
        .flat_map(|night| {
            let cases = night.gate.comparison.cases.iter();
            cases.map(move |case| Found { night, case })
        })
        .filter(|found| is_wanted(found.night, found.case))
        .collect();
    found.sort_by(|a, b| judged::size(b.case).total_cmp(&judged::size(a.case)));
    found
}

/// The finding to show; `id` tells its chart from others on the page.
pub fn view(
    library: &Library<'_>,
    found: &Found<'_>,
    id: &str,
) -> Result<Option<Finding>, ReportError> {
    let Found { night, case } = found;
    let Some(row) = library.night_row(night) else {
        return Ok(None);
    };
    let history = library.series_of(night, &case.case, &case.metric.name);
    let change = history.and_then(|history| located(night, case, history));
    let [from, to] = ends(library, night, change);
    let (changes, more_changes) = surroundings(night, change);
    let badge = judged::case_of(&night.gate, case);
    let chart = match history {
        Some(history) => draw(history, id, badge.class)?,
        None => String::new(),
    };
    let short = |end: &Option<End>| end.as_ref().map(|end| end.commit.short.clone());
    let is_dirty = [&from, &to]
        .into_iter()
        .flatten()
        .any(|end| end.commit.dirty);
    Ok(Some(Finding {
        badge,
        case: cell(&case.case),
        href: history.map_or(String::new(), |history| {
            library.hrefs[&history.series.key].clone()
        }),
        metric: part::metric(&case.metric.name),
        suite: part::suite_link(&row.suite),
        machine: part::machine_link(&row.machine),
        effect: judged::effect_of(case),
        latest: history.and_then(latest),
        chart,
        same_commit: !is_dirty
            && short(&from) == short(&to)
            && short(&to).is_some_and(|commit| !commit.is_empty()),
        gradual: change.is_some_and(|change| change.gradual),
        from,
        to,
        changes,
        more_changes,
        note: clip(&case.note, NOTE).into_owned(),
    }))
}

fn latest(history: &CaseHistory) -> Option<Quantity> {
    let last = history.series.points.last()?;
    Some(part::number(&last.estimate, &history.series.metric.unit))
}

/// The change in the history that the night saw: after its baseline, in the same direction.
fn located<'a>(
    night: &Night,
    case: &CaseComparison,
    history: &'a CaseHistory,
) -> Option<&'a LocatedChange> {
    let last_baseline = night.gate.comparison.baseline.runs.last()?;
    let is_of_night = |change: &&LocatedChange| {
        let ratio = case.ratio.map_or(1.0, |ratio| ratio.estimate);
        let is_same_way = change
            .ratio
            .is_some_and(|found| (found > 1.0) == (ratio > 1.0));
        is_same_way && change.first_after.run > *last_baseline
    };
    history.changes.iter().rev().find(is_of_night)
}

/// The run and commit after which it changed, and with which at the latest.
fn ends(library: &Library<'_>, night: &Night, change: Option<&LocatedChange>) -> [Option<End>; 2] {
    let (from, to) = match change {
        Some(change) => (Some(&change.last_before.run), Some(&change.first_after.run)),
        None => (
            night.gate.comparison.baseline.runs.last(),
            Some(&night.gate.run),
        ),
    };
    [from, to].map(|run| end(library, run?))
}

fn end(library: &Library<'_>, run: &RunId) -> Option<End> {
    let row = library.runs.get(run)?;
    Some(End {
        run: part::run_link(run),
        at: part::when(row.started),
        commit: part::commit(library, row.commit.as_deref(), row.dirty),
    })
}

/// What else changed: where the change is located, there; else between the baseline and the night.
fn surroundings(night: &Night, change: Option<&LocatedChange>) -> (Vec<String>, usize) {
    let located = change.map_or(&[][..], |change| &change.machine);
    if located.is_empty() {
        return judged::listed(&night.gate.comparison.differences, CHANGES);
    }
    let words: Vec<String> = located
        .iter()
        .map(|change| {
            format!(
                "{} went from {} to {}.",
                cell(&change.field),
                cell(&change.before),
                cell(&change.after)
            )
        })
        .collect();
    judged::listed(&words, CHANGES)
}

fn draw(history: &CaseHistory, id: &str, class: &str) -> Result<String, ReportError> {
    let series = &history.series;
    let caption = Caption {
        id,
        title: &format!("History of {}", cell(&series.key.case)),
        description: &in_words(history),
    };
    chart::small(&Course::new(history), caption, class).map_err(|reason| ReportError::Chart {
        page: crate::address::series(&series.key),
        reason,
    })
}

/// What the chart shows, for those who do not see it.
fn in_words(history: &CaseHistory) -> String {
    let points = &history.series.points;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let unit = &history.series.metric.unit;
    format!(
        "{} runs, from {} at first to {} at last. Lasting changes: {}.",
        points.len(),
        part::number(&first.estimate, unit),
        part::number(&last.estimate, unit),
        history.changes.len()
    )
}
