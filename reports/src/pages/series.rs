//! One series: its history drawn and in numbers, and what changed on the machine meanwhile.

use assay_protocol::{Direction, Work};
use assay_verdicts::{Change, Point, Series};
use serde::Serialize;

use super::fill;
use super::part::{self, Commit, Link, cell};
use crate::address;
use crate::chart::{self, Course};
use crate::error::ReportError;
use crate::format::{self, Quantity};
use crate::model::Library;
use crate::text::clip;

/// Longest name in the heading, and longest name at all, in characters.
const NAME: usize = 240;
const WHOLE_NAME: usize = 20_000;

/// Most changes of one point that are listed.
const CHANGES: usize = 40;

#[derive(Serialize)]
struct Page {
    case: String,
    whole_case: String,
    metric: String,
    better: &'static str,
    suite: String,
    machine: Link,
    arm: String,
    timing: String,
    definition: String,
    latest: Option<Quantity>,
    rates: Vec<Quantity>,
    chart: String,
    drawn: usize,
    changed: Vec<Changed>,
    points: Vec<PointLine>,
    params: Vec<(String, String)>,
    work: Vec<(&'static str, String)>,
    formula: String,
    latest_run: String,
    siblings: Vec<Link>,
}

/// A point at which the machine was not what it had been.
#[derive(Serialize)]
struct Changed {
    run: Link,
    at: String,
    changes: Vec<ChangeLine>,
    more: usize,
}

#[derive(Serialize)]
struct ChangeLine {
    field: String,
    before: String,
    after: String,
}

#[derive(Serialize)]
struct PointLine {
    run: Link,
    at: String,
    commit: Commit,
    value: Quantity,
    rounds: u32,
    changes: usize,
}

/// The page.
pub fn render(library: &Library<'_>, series: &Series) -> Result<String, ReportError> {
    let key = &series.key;
    let latest_case = library.latest_case(series).map(|(_, case)| case);
    let last = series.points.last();
    let course = Course::new(series);
    let page = Page {
        case: clip(&key.case, NAME).into_owned(),
        whole_case: whole_case(&key.case),
        metric: cell(&key.metric),
        better: better(series.metric.direction),
        suite: cell(&key.suite),
        machine: part::machine_link(&key.machine),
        arm: cell(&key.arm),
        timing: key.timing.to_string(),
        definition: key.definition.to_string(),
        latest: last.map(|point| part::number(&point.estimate, &series.metric.unit)),
        rates: latest_case.map_or(Vec::new(), |case| rates(case, &key.metric)),
        chart: draw(series, &course)?,
        drawn: course.drawn(),
        changed: series.points.iter().rev().filter_map(changed).collect(),
        points: series
            .points
            .iter()
            .rev()
            .map(|point| line(series, point))
            .collect(),
        params: latest_case.map_or(Vec::new(), params),
        work: work(&series.work),
        formula: clip(&series.work.formula, 400).into_owned(),
        latest_run: last.map_or(String::new(), |point| point.run.to_string()),
        siblings: library.siblings(key).map(sibling).collect(),
    };
    let title = format!("{} {}", key.case, key.metric);
    fill(library.settings, "series.html", &title, &page)
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

fn rates(case: &assay_verdicts::CaseSummary, metric: &str) -> Vec<Quantity> {
    let own = case.metrics.iter().find(|m| m.metric.name == metric);
    let rates = own.map_or(&[][..], |m| &m.rates);
    rates
        .iter()
        .map(|(unit, rate)| part::number(rate, &unit.as_str().into()))
        .collect()
}

fn params(case: &assay_verdicts::CaseSummary) -> Vec<(String, String)> {
    let params = case.case.params.iter();
    params
        .map(|(name, value)| (cell(name), cell(&value.to_string())))
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

fn draw(series: &Series, course: &Course) -> Result<String, ReportError> {
    if series.points.is_empty() {
        return Ok(String::new());
    }
    let title = format!("History of {}", cell(&series.key.case));
    chart::history(course, &title, &in_words(series)).map_err(|reason| ReportError::Chart {
        page: address::series(&series.key),
        reason,
    })
}

/// What the chart shows, for those who do not see it.
fn in_words(series: &Series) -> String {
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
        "{} runs from {} to {}. Lowest {lowest}, highest {highest}, latest {}. The machine changed before {changes} of them.",
        series.points.len(),
        first.started.minute(),
        last.started.minute(),
        show(Some(last)),
    )
}

fn changed(point: &Point) -> Option<Changed> {
    let line = |change: &Change| ChangeLine {
        field: cell(&change.field),
        before: cell(&change.before),
        after: cell(&change.after),
    };
    let any = !point.changes.is_empty();
    any.then(|| Changed {
        run: part::run_link(&point.run),
        at: point.started.minute(),
        changes: point.changes.iter().take(CHANGES).map(line).collect(),
        more: point.changes.len().saturating_sub(CHANGES),
    })
}

fn line(series: &Series, point: &Point) -> PointLine {
    PointLine {
        run: part::run_link(&point.run),
        at: part::when(point.started),
        commit: part::commit(point.commit.as_deref(), point.dirty),
        value: part::number(&point.estimate, &series.metric.unit),
        rounds: point.rounds,
        changes: point.changes.len(),
    }
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
