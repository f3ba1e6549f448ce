//! What the site holds, for programs: `index.json`. Paths are from the site's root.

use assay_protocol::Metric;
use assay_record::RunStatus;
use assay_stats::Interval;
use assay_store::{RunRow, SeriesKey};
use assay_verdicts::{CaseHistory, Lasting, Standing, Told, TroubleKind};
use serde::Serialize;

use super::{SCHEMA, json, results, suites};
use crate::address;
use crate::error::ReportError;
use crate::model::{Library, Night, NightPlace, Said, Unjudged};
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
    unjudged: Vec<UnjudgedEntry<'a>>,
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

/// What the gate says of the newest night of a suite on a machine by an arm.
#[derive(Serialize)]
struct NightEntry<'a> {
    suite: &'a str,
    machine: &'a str,
    arm: &'a str,
    /// Its newest run.
    run: String,
    /// What it is made of, the latest first; empty where that run is all.
    parts: Vec<PartEntry>,
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

/// An arm of a suite on a machine that no night judges: one beside `main`, or of several of which none is.
#[derive(Serialize)]
struct UnjudgedEntry<'a> {
    suite: &'a str,
    machine: &'a str,
    arm: &'a str,
    /// The newest run that has it.
    run: String,
    /// Absent where nothing is said of it.
    state: Option<Told>,
    /// How many cases gave no right result in that run, whatever went wrong.
    failed: usize,
    /// How many levels changed to stay there.
    lasting: Lasting,
}

/// A run of a night, and how many cases it stands for: the rest was measured again by later ones.
#[derive(Serialize)]
struct PartEntry {
    run: String,
    cases: usize,
}

/// How many metrics of cases got each verdict, and how many cases gave no right result.
#[derive(Default, Serialize)]
struct Counts {
    failed: usize,
    wrong: usize,
    impossible: usize,
    /// Absent where that is not at hand.
    skipped: Option<usize>,
    regressed: usize,
    excused: usize,
    improved: usize,
    unchanged: usize,
    inconclusive: usize,
    /// Confirmed on an earlier night and still so, whatever this one calls them by itself: they count in none of the others, but for what is
    /// suspected, or called improved, besides.
    still_regressed: usize,
}

/// A regression that was confirmed on an earlier night and still stands.
#[derive(Serialize)]
struct StandingEntry<'a> {
    suite: &'a str,
    machine: &'a str,
    arm: &'a str,
    case: &'a str,
    metric: &'a str,
    /// Page of the series.
    page: String,
    /// The night since which it has been known.
    since: String,
    /// Whether its level is back in the newest run alone: one more like it ends it.
    back_in_newest: bool,
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
    let nights = library.nights_by_place();
    let nights = nights.filter_map(|(place, runs)| night(library, place, runs));
    let index = Index {
        schema: SCHEMA,
        made_by: concat!("assay ", env!("CARGO_PKG_VERSION")),
        title: &library.settings.title,
        feed: address::feed(None),
        badge: address::badge(None),
        results: results(library),
        suites: suites(library).into_iter().map(suite).collect(),
        machines: library.machines().into_keys().map(machine).collect(),
        nights: nights.collect(),
        unjudged: library.unjudged().iter().map(unjudged).collect(),
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

fn night<'a>(
    library: &Library<'a>,
    (suite, machine, arm): &NightPlace<'a>,
    runs: &[&Night],
) -> Option<NightEntry<'a>> {
    let newest = library.night_row(runs.first()?)?;
    let said: Vec<&Said<'_>> = runs.iter().filter_map(|run| library.said(run)).collect();
    let part = |run: &&Night| {
        Some(PartEntry {
            run: run.gate.run.to_string(),
            cases: run.share.as_ref()?.cases.len(),
        })
    };
    let mut lasting = Lasting::default();
    for said in &said {
        lasting += said.counts;
    }
    let of_runs = runs.iter().map(|run| &run.gate.comparison.suite);
    Some(NightEntry {
        suite,
        machine,
        arm,
        run: newest.run.to_string(),
        parts: runs.iter().filter_map(part).collect(),
        days_old: library.age_days(newest.started),
        state: Told::gravest(said.iter().map(|said| said.told))?,
        counts: counts(library, runs),
        suspected: runs.iter().map(|run| judged::suspected(&run.gate)).sum(),
        standing: said.iter().map(|said| said.standing).sum(),
        lasting,
        expected_false_alarms: of_runs.map(|suite| suite.expected_false_alarms).sum(),
    })
}

fn unjudged<'a>(one: &Unjudged<'a>) -> UnjudgedEntry<'a> {
    let (suite, machine, arm) = one.place;
    UnjudgedEntry {
        suite,
        machine,
        arm,
        run: one.run.run.to_string(),
        state: one.told(),
        failed: one.failed.len(),
        lasting: one.counts,
    }
}

fn counts(library: &Library<'_>, runs: &[&Night]) -> Counts {
    let mut counts = Counts {
        skipped: runs.iter().map(|run| library.skipped(run)).sum(),
        ..Counts::default()
    };
    for run in runs {
        let comparison = &run.gate.comparison;
        let own = &comparison.suite.counts;
        counts.failed += comparison.troubled(TroubleKind::Failed);
        counts.wrong += comparison.troubled(TroubleKind::Wrong);
        counts.impossible += own.impossible;
        counts.regressed += own.regressed;
        counts.excused += own.excused;
        counts.improved += own.improved;
        let said = library.said(run);
        let beside = said.map(|said| said.beside).unwrap_or_default();
        counts.unchanged += own.unchanged.saturating_sub(beside.unchanged);
        counts.inconclusive += own.inconclusive.saturating_sub(beside.inconclusive);
        counts.still_regressed += said.map_or(0, |said| said.standing);
    }
    counts
}

fn standing<'a>(one: &Standing<'a>) -> StandingEntry<'a> {
    let key = &one.history.series.key;
    StandingEntry {
        suite: &key.suite,
        machine: &key.machine,
        arm: &key.arm,
        case: &key.case,
        metric: &key.metric,
        page: address::series(key),
        since: one.first.since().to_string(),
        back_in_newest: one.is_back_once,
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
