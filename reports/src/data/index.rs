//! What the site holds, for programs: `index.json`. Paths are from the site's root.

use assay_protocol::Metric;
use assay_record::RunStatus;
use assay_stats::Interval;
use assay_store::{RunRow, SeriesKey};
use assay_verdicts::comparison::Counts;
use assay_verdicts::{CaseHistory, Lasting, Standing, Told};
use serde::Serialize;

use super::{SCHEMA, json, results, suites};
use crate::address;
use crate::error::ReportError;
use crate::model::{Library, Night};
use crate::pages::judged;

#[derive(Serialize)]
struct Index<'a> {
    schema: u32,
    made_by: &'static str,
    title: &'a str,
    feed: String,
    badge: String,
    results: Vec<String>,
    suites: Vec<Suite<'a>>,
    machines: Vec<Machine<'a>>,
    nights: Vec<NightEntry<'a>>,
    standing: Vec<StandingEntry<'a>>,
    runs: Vec<RunEntry<'a>>,
    series: Vec<Series<'a>>,
}

#[derive(Serialize)]
struct Suite<'a> {
    name: &'a str,
    feed: String,
    badge: String,
}

#[derive(Serialize)]
struct Machine<'a> {
    name: &'a str,
    page: String,
}

/// What the gate says of the newest night of a suite on a machine.
#[derive(Serialize)]
struct NightEntry<'a> {
    suite: &'a str,
    machine: &'a str,
    run: String,
    /// Whole days before the newest run of all.
    days_old: i64,
    /// In the end: by the gate, or by what stands or lasts.
    state: Told,
    counts: Counts,
    /// How many of the inconclusive await being run again.
    suspected: usize,
    /// How many regressions that were confirmed before still stand there: `standing` has them.
    standing: usize,
    /// How many levels changed to stay there, as histories show and nobody confirms.
    lasting: Lasting,
    expected_false_alarms: f64,
}

/// A regression that was confirmed on an earlier night and still stands.
#[derive(Serialize)]
struct StandingEntry<'a> {
    suite: &'a str,
    machine: &'a str,
    case: &'a str,
    metric: &'a str,
    /// Page of the series.
    page: String,
    /// The night since which it has been known.
    since: String,
    /// The night that confirmed it last, and what that gave.
    night: String,
    ratio: Option<Interval>,
}

#[derive(Serialize)]
struct RunEntry<'a> {
    run: String,
    suite: &'a str,
    machine: &'a str,
    started: String,
    status: RunStatus,
    commit: Option<&'a str>,
    page: String,
    manifest: Option<String>,
    record: Option<String>,
}

#[derive(Serialize)]
struct Series<'a> {
    #[serde(flatten)]
    key: &'a SeriesKey,
    of: &'a Metric,
    page: String,
    json: String,
    csv: String,
    points: usize,
    latest: Option<Latest>,
}

#[derive(Serialize)]
struct Latest {
    run: String,
    value: Value,
}

/// An estimate; one of a single number has no interval.
#[derive(Serialize)]
struct Value {
    estimate: f64,
    low: Option<f64>,
    high: Option<f64>,
    confidence: f64,
}

/// The file.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let mut nights: Vec<NightEntry> = library
        .model
        .nights
        .iter()
        .filter_map(|entry| night(library, entry))
        .collect();
    nights.sort_by(|a, b| (a.suite, a.machine).cmp(&(b.suite, b.machine)));
    let index = Index {
        schema: SCHEMA,
        made_by: concat!("assay ", env!("CARGO_PKG_VERSION")),
        title: &library.settings.title,
        feed: address::feed(None),
        badge: address::badge(None),
        results: results(library),
        suites: suites(library).into_iter().map(suite).collect(),
        machines: library.machines().into_keys().map(machine).collect(),
        nights,
        standing: library.standing().iter().map(standing).collect(),
        runs: library
            .latest_first()
            .map(|row| run(library, row))
            .collect(),
        series: library
            .histories
            .values()
            .map(|history| series(history))
            .collect(),
    };
    json("index.json", &index)
}

fn suite(name: &str) -> Suite<'_> {
    Suite {
        name,
        feed: address::feed(Some(name)),
        badge: address::badge(Some(name)),
    }
}

fn machine(name: &str) -> Machine<'_> {
    Machine {
        name,
        page: address::machine(name),
    }
}

fn night<'a>(library: &Library<'a>, night: &'a Night) -> Option<NightEntry<'a>> {
    let row = library.runs.get(&night.gate.run)?;
    let suite = &night.gate.comparison.suite;
    let said = library.said(night)?;
    Some(NightEntry {
        suite: &row.suite,
        machine: &row.machine,
        run: row.run.to_string(),
        days_old: library.age_days(row.started),
        state: said.told,
        counts: suite.counts,
        suspected: judged::suspected(&night.gate),
        standing: said.standing,
        lasting: said.counts,
        expected_false_alarms: suite.expected_false_alarms,
    })
}

fn standing<'a>(one: &Standing<'a>) -> StandingEntry<'a> {
    let key = &one.history.series.key;
    StandingEntry {
        suite: &key.suite,
        machine: &key.machine,
        case: &key.case,
        metric: &key.metric,
        page: address::series(key),
        since: one.first.night.to_string(),
        night: one.last.night.to_string(),
        ratio: one.last.case.ratio,
    }
}

fn run<'a>(library: &Library<'_>, row: &'a RunRow) -> RunEntry<'a> {
    let there = |path: String| {
        let is_there = library.files.is_some_and(|files| files.contains(&path));
        is_there.then_some(path)
    };
    RunEntry {
        run: row.run.to_string(),
        suite: &row.suite,
        machine: &row.machine,
        started: row.started.to_string(),
        status: row.status,
        commit: row.commit.as_deref(),
        page: address::run(&row.run),
        manifest: there(address::manifest(&row.run)),
        record: there(address::record(&row.run)),
    }
}

fn value(estimate: &Interval) -> Value {
    let has_interval = estimate.confidence > 0.0;
    Value {
        estimate: estimate.estimate,
        low: has_interval.then_some(estimate.low),
        high: has_interval.then_some(estimate.high),
        confidence: estimate.confidence,
    }
}

fn series(history: &CaseHistory) -> Series<'_> {
    let series = &history.series;
    let latest = |point: &assay_verdicts::Point| Latest {
        run: point.run.to_string(),
        value: value(&point.estimate),
    };
    Series {
        key: &series.key,
        of: &series.metric,
        page: address::series(&series.key),
        json: address::series_file(&series.key, "json"),
        csv: address::series_file(&series.key, "csv"),
        points: series.points.len(),
        latest: series.points.last().map(latest),
    }
}
