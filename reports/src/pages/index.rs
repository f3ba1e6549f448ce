//! What ran last, what needs attention, and every series at a glance.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::Metric;
use assay_record::RunStatus;
use assay_verdicts::{CaseHistory, CaseState, Reproduction, RunSummary};
use serde::Serialize;

use super::fill;
use super::part::{self, Badge, Link, RunLine, cell, run_line};
use crate::chart::{self, Course};
use crate::error::ReportError;
use crate::format::Quantity;
use crate::model::Library;
use crate::{address, text};

/// Most runs in the table of recent ones; a machine's page lists all of its own.
const RECENT: usize = 30;

/// Most failures that are listed; the run's page lists them all.
const FAILURES: usize = 50;

#[derive(Serialize)]
struct Index {
    latest: Vec<RunLine>,
    unfinished: Vec<UnfinishedLine>,
    failures: Vec<FailureLine>,
    more_failures: usize,
    reproductions: Vec<ReproductionLine>,
    suites: Vec<Suite>,
    recent: Vec<RunLine>,
    more_runs: usize,
}

/// A run that did not come to its end.
#[derive(Serialize)]
struct UnfinishedLine {
    run: Link,
    at: String,
    suite: String,
    machine: Link,
    status: Badge,
    words: &'static str,
}

#[derive(Serialize)]
struct FailureLine {
    case: Link,
    machine: Link,
    state: Badge,
    reason: String,
}

#[derive(Serialize)]
struct ReproductionLine {
    original: Link,
    again: Link,
    inputs: Badge,
    outputs: Badge,
    speed: Badge,
}

#[derive(Serialize)]
struct Suite {
    id: String,
    name: String,
    series: Vec<SeriesLine>,
}

#[derive(Serialize)]
struct SeriesLine {
    link: Link,
    metric: String,
    arm: String,
    machine: Link,
    spark: String,
    latest: Option<Quantity>,
    runs: usize,
    at: String,
}

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let latest = latest_per_place(library);
    let mut failures: Vec<FailureLine> = latest.iter().flat_map(|run| failures(run)).collect();
    let more_failures = failures.len().saturating_sub(FAILURES);
    failures.truncate(FAILURES);
    let page = Index {
        latest: latest
            .iter()
            .map(|summary| run_line(library, &summary.run))
            .collect(),
        unfinished: latest
            .iter()
            .filter_map(|summary| unfinished(summary))
            .collect(),
        failures,
        more_failures,
        reproductions: reproductions(library),
        suites: suites(library)?,
        recent: library
            .latest_first()
            .take(RECENT)
            .map(|run| run_line(library, run))
            .collect(),
        more_runs: library.runs.len().saturating_sub(RECENT),
    };
    fill(library.settings, "index.html", "Overview", &page)
}

/// The latest run of each suite on each machine, the latest first. Reproductions stand apart.
fn latest_per_place<'a>(library: &Library<'a>) -> Vec<&'a RunSummary> {
    let mut seen = BTreeSet::new();
    let mut is_new =
        |summary: &&'a RunSummary| seen.insert((&summary.run.machine, &summary.run.suite));
    let originals = |summary: &&'a RunSummary| summary.run.reproduces.is_none();
    let runs = library.latest_first();
    let summaries = runs.filter_map(|run| library.summary(&run.run));
    summaries
        .filter(originals)
        .filter(|summary| is_new(summary))
        .collect()
}

fn unfinished(summary: &RunSummary) -> Option<UnfinishedLine> {
    let run = &summary.run;
    (run.status != RunStatus::Complete).then(|| UnfinishedLine {
        run: part::run_link(&run.run),
        at: run.started.minute(),
        suite: cell(&run.suite),
        machine: part::machine_link(&run.machine),
        status: part::status(run.status),
        words: part::status_words(run.status),
    })
}

fn failures(summary: &RunSummary) -> Vec<FailureLine> {
    let is_bad = |state: &CaseState| {
        matches!(
            state,
            CaseState::Failed(_) | CaseState::Wrong(_) | CaseState::Impossible(_)
        )
    };
    let cases = summary.cases.iter().enumerate();
    let line = |(at, case): (usize, &assay_verdicts::CaseSummary)| FailureLine {
        case: Link {
            href: format!("{}#case-{at}", address::run(&summary.run.run)),
            text: cell(&case.case.case),
        },
        machine: part::machine_link(&summary.run.machine),
        state: part::state(&case.state),
        reason: text::clip(part::reason(&case.state), 300).into_owned(),
    };
    cases
        .filter(|(_, case)| is_bad(&case.state))
        .map(line)
        .collect()
}

fn reproductions(library: &Library<'_>) -> Vec<ReproductionLine> {
    let mut all: Vec<&Reproduction> = library.model.reproductions.iter().collect();
    all.sort_by(|a, b| (&b.again, &b.original).cmp(&(&a.again, &a.original)));
    let known = |r: &&Reproduction| {
        library.runs.contains_key(&r.again) && library.runs.contains_key(&r.original)
    };
    let line = |r: &Reproduction| ReproductionLine {
        original: part::run_link(&r.original),
        again: part::run_link(&r.again),
        inputs: part::likeness(&r.inputs).badge,
        outputs: part::likeness(&r.outputs).badge,
        speed: part::verdict(r.speed),
    };
    all.into_iter()
        .filter(known)
        .take(RECENT)
        .map(line)
        .collect()
}

fn suites(library: &Library<'_>) -> Result<Vec<Suite>, ReportError> {
    let mut suites: BTreeMap<&str, Vec<SeriesLine>> = BTreeMap::new();
    let mut ordered: Vec<&CaseHistory> = library.histories.values().copied().collect();
    ordered.sort_by_key(|history| {
        let key = &history.series.key;
        (&key.case, key.metric != Metric::TIME, key)
    });
    for history in ordered {
        let series = &history.series;
        if !series.points.is_empty() && !library.is_superseded(series) {
            let lines = suites.entry(&series.key.suite).or_default();
            lines.push(series_line(history)?);
        }
    }
    let suite = |(at, (name, series)): (usize, (&str, Vec<SeriesLine>))| Suite {
        id: format!("suite-{at}-{}", address::slug(name)),
        name: cell(name),
        series,
    };
    Ok(suites.into_iter().enumerate().map(suite).collect())
}

fn series_line(history: &CaseHistory) -> Result<SeriesLine, ReportError> {
    let series = &history.series;
    let key = &series.key;
    let href = address::series(key);
    let drawn = chart::spark(&Course::new(history));
    let last = series.points.last();
    Ok(SeriesLine {
        spark: drawn.map_err(|reason| ReportError::Chart {
            page: href.clone(),
            reason,
        })?,
        link: Link {
            href,
            text: cell(&key.case),
        },
        metric: cell(&key.metric),
        arm: cell(part::arm(&key.arm)),
        machine: part::machine_link(&key.machine),
        latest: last.map(|point| part::number(&point.estimate, &series.metric.unit)),
        runs: series.points.len(),
        at: last.map_or(String::new(), |point| part::when(point.started)),
    })
}
