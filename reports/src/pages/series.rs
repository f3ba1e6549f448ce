//! One series: its history drawn and in numbers, what changed on the machine meanwhile, and what lies behind its last point.

mod curve;
mod events;
mod last;
mod verdict;

use std::collections::BTreeMap;

use assay_protocol::{Direction, Metric, Work};
use assay_record::{EventKind, RunId};
use assay_verdicts::{CaseHistory, CaseState, CaseSummary, Missed, Point, Series};
use serde::Serialize;

use super::part::{self, Badge, Commit, Link, cell};
use super::{fill, run};
use crate::address;
use crate::chart::{self, Course};
use crate::error::ReportError;
use crate::format::{self, Quantity};
use crate::model::Library;
use crate::text::clip;
use crate::words;

/// Longest name in the heading, and longest name at all, in characters.
const NAME: usize = 240;
const WHOLE_NAME: usize = 20_000;

/// Most facts that are listed.
const FACTS: usize = 40;

/// Most points that are listed, the latest; the downloads have all.
const POINTS: usize = 60;

#[derive(Serialize)]
struct Page {
    case: String,
    whole_case: String,
    metric: String,
    better: &'static str,
    suite: Link,
    machine: Link,
    arm: String,
    /// The arm, where the suite has several.
    named_arm: String,
    timing: String,
    definition: String,
    latest: Option<Quantity>,
    /// What its interval is.
    certainty: String,
    rates: Vec<Quantity>,
    fractions: Vec<String>,
    state: Option<StateView>,
    verdict: Option<verdict::VerdictView>,
    last: Option<last::Last>,
    chart: String,
    drawn: usize,
    /// Whether the chart's axis has zero on it.
    has_zero: bool,
    /// Whether any point has an interval: what was imported as one number has none.
    has_intervals: bool,
    #[serde(flatten)]
    events: events::Events,
    points: Vec<PointLine>,
    all_points: usize,
    /// Runs in which it gave no right result.
    missed: usize,
    downloads: [Link; 2],
    verified: String,
    params: Vec<(String, String)>,
    /// What the worker, or the tool whose result was imported, said of it in its last run.
    facts: Vec<(String, String)>,
    work: Vec<(&'static str, String)>,
    formula: String,
    latest_run: String,
    siblings: Vec<Link>,
}

/// How the case went in its last run, where that was not well.
#[derive(Serialize)]
struct StateView {
    badge: Badge,
    reason: String,
}

#[derive(Serialize)]
struct PointLine {
    run: Link,
    at: String,
    commit: Commit,
    /// Absent where it gave no right result.
    value: Option<Quantity>,
    /// What it gave instead, or besides, and why.
    state: Option<StateView>,
    rounds: u32,
    changes: usize,
}

/// The page.
pub fn render(library: &Library<'_>, history: &CaseHistory) -> Result<String, ReportError> {
    let series = &history.series;
    let key = &series.key;
    let latest_case = library.latest_case(series).map(|(_, case)| case);
    let last = series.points.last();
    let confirmed = library.confirmed_of(history);
    let missed = library.model.missed.of_series(key);
    let course = Course::new(history)
        .with_confirmed(history, &confirmed)
        .with_missed(history, missed);
    let page = Page {
        case: clip(&key.case, NAME).into_owned(),
        whole_case: whole_case(&key.case),
        metric: cell(&key.metric),
        better: better(series.metric.direction),
        suite: part::suite_link(&key.suite),
        machine: part::machine_link(&key.machine),
        arm: cell(&key.arm),
        named_arm: part::arm_in(library, &key.suite, &key.arm),
        timing: key.timing.to_string(),
        definition: key.definition.to_string(),
        latest: last.map(|point| part::number(&point.estimate, &series.metric.unit)),
        certainty: last.map_or(String::new(), certainty),
        rates: latest_case.map_or(Vec::new(), |case| rates(case, &key.metric)),
        fractions: latest_case
            .filter(|_| key.metric == Metric::TIME)
            .map_or(Vec::new(), |case| {
                case.fractions.iter().map(part::fraction).collect()
            }),
        state: latest_case.and_then(state),
        verdict: verdict::view(library, history),
        last: last::last(library, history)?,
        chart: draw(history, &course, confirmed.len(), missed.len())?,
        drawn: course.drawn(),
        has_zero: course.has_zero(),
        has_intervals: series
            .points
            .iter()
            .any(|point| point.estimate.confidence > 0.0),
        events: events::view(library, history, &confirmed),
        points: lines(library, series, missed),
        missed: missed.len(),
        all_points: series.points.len(),
        downloads: ["csv", "json"].map(|extension| Link {
            href: address::series_file(key, extension),
            text: extension.to_uppercase(),
        }),
        verified: latest_case.map_or(String::new(), verified),
        params: latest_case.map_or(Vec::new(), params),
        facts: facts(library, series),
        work: work(&series.work),
        formula: clip(&series.work.formula, 400).into_owned(),
        latest_run: last
            .filter(|point| !is_imported(library, &point.run))
            .map_or(String::new(), |point| point.run.to_string()),
        siblings: library.siblings(key).map(sibling).collect(),
    };
    let arm = match library.arm_in(&key.suite, &key.arm) {
        "" => String::new(),
        arm => format!(", arm {arm}"),
    };
    let title = format!("{} {}{arm}", key.case, key.metric);
    fill(library.settings, "series.html", &title, &page)
}

/// How sure the interval of a point is, and over what: order statistics cannot have just any confidence.
fn certainty(point: &Point) -> String {
    let confidence = point.estimate.confidence;
    if confidence == 0.0 {
        return "one round, which has no interval".into();
    }
    let rounds = words::count(point.rounds as usize, "round");
    let share = words::share(confidence);
    let (low, high) = (point.estimate.low, point.estimate.high);
    if low >= high {
        format!("all of {rounds} gave the same")
    } else {
        format!("its interval over {rounds} has a confidence of {share}")
    }
}

/// The case's name where the heading has no room for it.
fn whole_case(case: &str) -> String {
    if case.chars().count() > NAME {
        clip(case, WHOLE_NAME).into_owned()
    } else {
        String::new()
    }
}

fn better(direction: Direction) -> &'static str {
    match direction {
        Direction::Lower => "less is better",
        Direction::Higher => "more is better",
        Direction::Neutral => "shown, never judged",
    }
}

fn state(case: &CaseSummary) -> Option<StateView> {
    (case.state != CaseState::Ok).then(|| view_of(&case.state))
}

fn view_of(state: &CaseState) -> StateView {
    StateView {
        badge: part::state(state),
        reason: clip(part::reason(state), 1000).into_owned(),
    }
}

/// The largest error of the last run beside its tolerance.
fn verified(case: &CaseSummary) -> String {
    let Some(found) = run::telling(&case.case.rounds) else {
        return String::new();
    };
    let passed = if found.passed { "passed" } else { "failed" };
    let number = |value: Option<f64>| value.map(format::scientific);
    match (number(found.error), number(found.tolerance)) {
        (Some(error), Some(tolerance)) => {
            format!("{passed}, largest error {error} of {tolerance} allowed")
        }
        (Some(error), None) => format!("{passed}, largest error {error}"),
        _ => passed.into(),
    }
}

fn rates(case: &CaseSummary, metric: &str) -> Vec<Quantity> {
    let own = case.metrics.iter().find(|m| m.metric.name == metric);
    let rates = own.map_or(&[][..], |m| &m.rates);
    rates
        .iter()
        .map(|(unit, rate)| part::number(rate, &unit.as_str().into()))
        .collect()
}

fn params(case: &CaseSummary) -> Vec<(String, String)> {
    let params = case.case.params.iter();
    params
        .map(|(name, value)| (cell(name), cell(&value.to_string())))
        .collect()
}

fn facts(library: &Library<'_>, series: &Series) -> Vec<(String, String)> {
    let (key, last) = (&series.key, series.points.last());
    let detail = last.and_then(|point| library.detail(&point.run, &key.case, &key.arm));
    let facts = detail.into_iter().flat_map(|detail| &detail.facts);
    facts
        .take(FACTS)
        .map(|(name, text)| (cell(name), cell(text)))
        .collect()
}

fn work(work: &Work) -> Vec<(&'static str, String)> {
    let named = [
        ("bytes", work.bytes),
        ("floating-point operations", work.flops),
        ("items", work.items),
    ];
    let known = |(name, amount): (&'static str, Option<u64>)| Some((name, format::count(amount?)));
    named.into_iter().filter_map(known).collect()
}

fn draw(
    history: &CaseHistory,
    course: &Course,
    confirmed: usize,
    missed: usize,
) -> Result<String, ReportError> {
    let series = &history.series;
    if series.points.is_empty() {
        return Ok(String::new());
    }
    let title = format!("History of {}", cell(&series.key.case));
    chart::history(course, &title, &in_words(history, confirmed, missed)).map_err(|reason| {
        ReportError::Chart {
            page: address::series(&series.key),
            reason,
        }
    })
}

/// What the chart shows, for those who do not see it.
fn in_words(history: &CaseHistory, confirmed: usize, missed: usize) -> String {
    let series = &history.series;
    let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else {
        return String::new();
    };
    let by_estimate = |a: &&Point, b: &&Point| a.estimate.estimate.total_cmp(&b.estimate.estimate);
    let show = |point: Option<&Point>| {
        point.map_or(String::new(), |p| {
            part::number(&p.estimate, &series.metric.unit).to_string()
        })
    };
    let lowest = show(series.points.iter().min_by(by_estimate));
    let highest = show(series.points.iter().max_by(by_estimate));
    let changes = series
        .points
        .iter()
        .filter(|point| !point.changes.is_empty())
        .count();
    format!(
        "{} runs from {} to {}. Lowest {lowest}, highest {highest}, latest {}. The machine changed before {changes} of them. Lasting changes: {}. Confirmed regressions: {confirmed}. Without a right result: {missed}.",
        series.points.len(),
        first.started.minute(),
        last.started.minute(),
        show(Some(last)),
        history.changes.len(),
    )
}

/// The newest runs, those without a right result among them, the latest first.
fn lines(library: &Library<'_>, series: &Series, missed: &[Missed]) -> Vec<PointLine> {
    let newest = missed.len().saturating_sub(POINTS);
    let mut gone: BTreeMap<_, &Missed> = missed[newest..]
        .iter()
        .map(|missed| ((missed.started, &missed.run), missed))
        .collect();
    let points = series.points.iter().rev().take(POINTS);
    let mut lines: Vec<_> = points
        .map(|point| {
            let at = (point.started, &point.run);
            let state = gone.remove(&at).map(|missed| view_of(&missed.state));
            let line = line(library, series, point);
            (at, PointLine { state, ..line })
        })
        .collect();
    let gone = gone.into_iter();
    lines.extend(gone.map(|(at, missed)| (at, line_of(library, series, missed))));
    lines.sort_by(|(a, _), (b, _)| b.cmp(a));
    lines.truncate(POINTS);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// A run without a right result.
fn line_of(library: &Library<'_>, series: &Series, missed: &Missed) -> PointLine {
    PointLine {
        run: part::run_link(&missed.run),
        at: part::started_at(library, place(series), missed.started),
        commit: part::commit(library, missed.commit.as_deref(), missed.dirty),
        value: None,
        state: Some(view_of(&missed.state)),
        rounds: 0,
        changes: 0,
    }
}

fn line(library: &Library<'_>, series: &Series, point: &Point) -> PointLine {
    PointLine {
        run: part::run_link(&point.run),
        at: part::started_at(library, place(series), point.started),
        commit: part::commit(library, point.commit.as_deref(), point.dirty),
        value: Some(part::number(&point.estimate, &series.metric.unit)),
        state: None,
        rounds: point.rounds,
        changes: point.changes.len(),
    }
}

fn place(series: &Series) -> (&str, &str) {
    (&series.key.suite, &series.key.machine)
}

fn sibling(series: &Series) -> Link {
    let until = series
        .points
        .last()
        .map_or(String::new(), |point| point.started.minute());
    Link {
        href: address::series(&series.key),
        text: format!(
            "definition {}, last run {until}",
            series.key.definition.short()
        ),
    }
}

/// Whether a run was imported: it is never run again.
fn is_imported(library: &Library<'_>, run: &RunId) -> bool {
    let summary = library.summary(run);
    summary.is_some_and(|summary| {
        let mut events = summary.events.iter();
        events.any(|event| event.kind == EventKind::Imported)
    })
}
