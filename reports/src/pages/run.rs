//! One run: how it went, every case, every failure, what determined it, and what the machine was and did.

mod difference;
mod failures;
mod manifest;
mod reproduced;
mod values;

use std::collections::BTreeSet;
use std::mem;

use assay_protocol::{Unit, Verification};
use assay_record::{EventKind, Timestamp};
use assay_store::{CaseRow, EventRow, RoundRow, RunRow, SeriesKey};
use assay_verdicts::{CaseState, CaseSummary, MetricSummary, RunSummary};
use serde::Serialize;

use self::difference::DifferenceView;
use self::failures::Failure;
use self::manifest::ManifestView;
use self::reproduced::ReproductionView;
use self::values::ValuesView;
use super::fill;
use super::gauges::{self, GaugesView};
use super::part::{self, Badge, Commit, Link, PartView, Tally, cell};
use crate::address;
use crate::downloads::{self, DownloadsView};
use crate::error::ReportError;
use crate::format::{self, Quantity};
use crate::model::Library;
use crate::text;

/// Most failures with their logs, most events.
pub(super) const FAILURES: usize = 200;
const EVENTS: usize = 500;

#[derive(Serialize)]
struct Page {
    id: String,
    suite: Link,
    machine: Link,
    started: String,
    finished: String,
    took: String,
    status: Badge,
    status_words: &'static str,
    commit: Commit,
    commit_full: String,
    branch: String,
    tags: Vec<String>,
    tool: String,
    manifest: String,
    imported: String,
    reproduces: Option<Link>,
    reproduced_by: Vec<Link>,
    tally: Tally,
    reproduction: Option<ReproductionView>,
    failures: Vec<Failure>,
    more_failures: usize,
    skipped: Vec<Skipped>,
    cases: Vec<CaseLine>,
    others: Vec<OtherLine>,
    /// In the place of both, of a run that is not among the newest.
    values: Option<ValuesView>,
    events: Vec<EventLine>,
    more_events: usize,
    difference: Option<DifferenceView>,
    gauges: GaugesView,
    gauges_span: String,
    plan: Option<ManifestView>,
    publishes_source: bool,
    downloads: DownloadsView,
    parts: Vec<PartView>,
}

#[derive(Serialize)]
struct CaseLine {
    id: usize,
    case: String,
    series: String,
    arm: String,
    state: Badge,
    time: Option<Quantity>,
    rates: Vec<Quantity>,
    fractions: Vec<String>,
    rounds: String,
    samples: String,
    error: String,
    tolerance: String,
}

/// A metric besides time.
#[derive(Serialize)]
struct OtherLine {
    case: String,
    arm: String,
    metric: String,
    series: String,
    value: Quantity,
}

#[derive(Serialize)]
struct Skipped {
    case: String,
    reason: String,
}

#[derive(Serialize)]
struct EventLine {
    at: String,
    kind: &'static str,
    text: String,
    case: String,
}

/// The page.
pub fn render(library: &Library<'_>, run: &RunRow) -> Result<String, ReportError> {
    let whole = library.summary(&run.run);
    let summary = whole.or_else(|| library.troubles(&run.run));
    let summary = summary.ok_or_else(|| ReportError::NoPage {
        page: address::run(&run.run),
    })?;
    let mut values = whole.is_none().then(|| values::view(library, summary));
    let tally = values.as_mut().map(|values| mem::take(&mut values.tally));
    let read = library.gauges(&run.run);
    let mut failures = failures::of(library, summary, whole.is_some());
    let more_failures = failures.len().saturating_sub(FAILURES);
    failures.truncate(FAILURES);
    let page = Page {
        id: run.run.to_string(),
        suite: part::suite_link(&run.suite),
        machine: part::machine_link(&run.machine),
        started: run.started.minute(),
        finished: run.finished.map_or(String::new(), Timestamp::minute),
        took: part::took(run),
        status: part::status(run.status),
        status_words: part::status_words(run.status),
        commit: part::commit(library, run.commit.as_deref(), run.dirty),
        commit_full: cell(run.commit.as_deref().unwrap_or_default()),
        branch: cell(run.branch.as_deref().unwrap_or_default()),
        tags: run.tags.iter().map(|tag| cell(tag)).collect(),
        tool: cell(&run.tool),
        manifest: run.manifest.to_string(),
        imported: imported(summary),
        reproduces: run
            .reproduces
            .as_ref()
            .map(|original| run_link(library, original)),
        reproduced_by: reproduced_by(library, summary),
        tally: tally.unwrap_or_else(|| part::tally(&summary.cases)),
        reproduction: reproduced::of(library, summary, whole.is_some()),
        failures,
        more_failures,
        skipped: summary.cases.iter().filter_map(skipped).collect(),
        cases: whole.map_or(Vec::new(), |summary| case_lines(library, summary)),
        others: whole
            .iter()
            .flat_map(|summary| &summary.cases)
            .flat_map(|case| other_lines(library, summary, case))
            .collect(),
        values,
        events: summary.events.iter().take(EVENTS).map(event).collect(),
        more_events: summary.events.len().saturating_sub(EVENTS),
        difference: difference::view(library, run),
        gauges: read.map_or(Ok(GaugesView::default()), |read| {
            gauges::of_run(&address::run(&run.run), read)
        })?,
        gauges_span: read.map_or(String::new(), |read| {
            format::duration(i64::try_from(read.length_ns).unwrap_or(i64::MAX))
        }),
        plan: library
            .manifest(&run.manifest)
            .map(|found| manifest::view(library, found, whole.is_some())),
        publishes_source: library.settings.publish_source,
        downloads: downloads::view(library, run),
        parts: parts(library, summary),
    };
    fill(
        library.settings,
        "run.html",
        &format!("Run {}", run.run),
        &page,
    )
}

/// What an import says of itself; empty where the run was measured here.
fn imported(summary: &RunSummary) -> String {
    let said = summary
        .events
        .iter()
        .find(|event| event.kind == EventKind::Imported);
    said.map_or(String::new(), |event| {
        text::clip(&event.text, 1000).into_owned()
    })
}

/// A link to a run's page, without one where the site does not have it.
fn run_link(library: &Library<'_>, run: &assay_record::RunId) -> Link {
    let mut link = part::run_link(run);
    if !library.runs.contains_key(run) {
        link.href.clear();
    }
    link
}

fn reproduced_by(library: &Library<'_>, summary: &RunSummary) -> Vec<Link> {
    let again = library.again(&summary.run.run).iter();
    again.map(|other| part::run_link(other)).collect()
}

fn case_lines(library: &Library<'_>, summary: &RunSummary) -> Vec<CaseLine> {
    let cases = summary.cases.iter().enumerate();
    cases
        .map(|(at, case)| case_line(library, summary, at, case))
        .collect()
}

fn case_line(
    library: &Library<'_>,
    summary: &RunSummary,
    id: usize,
    case: &CaseSummary,
) -> CaseLine {
    let time = part::time(case);
    let estimate = time.and_then(|time| time.estimate.as_ref());
    let verification = telling(&case.case.rounds);
    let number = |of: fn(&Verification) -> Option<f64>| {
        verification
            .and_then(of)
            .map_or(String::new(), format::scientific)
    };
    CaseLine {
        id,
        case: cell(&case.case.case),
        series: time.map_or(String::new(), |time| {
            series_href(library, summary, &case.case, time)
        }),
        arm: cell(part::arm(&case.case.arm)),
        state: part::state(&case.state),
        time: estimate.map(|estimate| part::number(estimate, &Unit::Nanoseconds)),
        rates: time.map_or(Vec::new(), rates),
        fractions: estimate.map_or(Vec::new(), |_| {
            case.fractions.iter().map(part::fraction).collect()
        }),
        rounds: rounds(&case.case),
        samples: samples(&case.case),
        error: number(|v| v.error),
        tolerance: number(|v| v.tolerance),
    }
}

fn rates(time: &MetricSummary) -> Vec<Quantity> {
    let rates = time.rates.iter();
    rates
        .map(|(unit, rate)| part::number(rate, &unit.as_str().into()))
        .collect()
}

/// The page of a case's series, where the site has it.
pub fn series_href(
    library: &Library<'_>,
    summary: &RunSummary,
    case: &CaseRow,
    metric: &MetricSummary,
) -> String {
    let key = series_key(library, summary, case, metric);
    key.and_then(|key| library.hrefs.get(key).cloned())
        .unwrap_or_default()
}

fn series_key<'a>(
    library: &Library<'a>,
    summary: &RunSummary,
    case: &CaseRow,
    metric: &MetricSummary,
) -> Option<&'a SeriesKey> {
    library.of_case(&case.case).find(|key| {
        (key.timing, key.definition) == (case.timing, case.definition)
            && key.metric == metric.metric.name
            && (&key.suite, &key.machine) == (&summary.run.suite, &summary.run.machine)
            && key.arm == case.arm
    })
}

/// The page of the first metric of a case that has one. The page of an older run links what had begun by then: that stays so,
/// whatever is measured later.
fn any_series(
    library: &Library<'_>,
    summary: &RunSummary,
    case: &CaseSummary,
    is_whole: bool,
) -> String {
    let of_metric = |metric| series_key(library, summary, &case.case, metric);
    let mut keys = case.metrics.iter().filter_map(of_metric);
    let is_there = |key: &&SeriesKey| is_whole || library.had_begun(key, summary.run.started);
    let found = keys.find(is_there);
    found.map_or(String::new(), |key| library.hrefs[key].clone())
}

fn is_good(round: &RoundRow) -> bool {
    round.status.reason().is_none()
}

/// The verification that says most: one that failed, else the one with the largest error.
pub fn telling(rounds: &[RoundRow]) -> Option<&Verification> {
    let all = || {
        rounds
            .iter()
            .filter_map(|round| round.verification.as_ref())
    };
    let size = |v: &Verification| v.error.unwrap_or(f64::NEG_INFINITY);
    all()
        .find(|v| !v.passed)
        .or_else(|| all().max_by(|a, b| size(a).total_cmp(&size(b))))
}

/// `6`, `5 of 6`, `6, 2 not steady, 1 disturbed`, `1, a summary alone`: a round that was tried again counts once.
fn rounds(case: &CaseRow) -> String {
    let good = case.good_rounds().count();
    let unsteady = case.good_rounds().filter(|round| !round.steady).count();
    let disturbed = case
        .good_rounds()
        .filter(|round| !round.disturbed.is_empty());
    let disturbed = disturbed.count();
    let tried: BTreeSet<u32> = case.rounds.iter().map(|round| round.round).collect();
    let of = (good < tried.len()).then(|| format!(" of {}", tried.len()));
    let are_disturbed = (disturbed > 0).then(|| format!(", {disturbed} disturbed"));
    let not_steady = (unsteady > 0).then(|| format!(", {unsteady} not steady"));
    let is_mean = case.good_rounds().any(RoundRow::is_summary);
    format!(
        "{good}{}{}{}{}",
        of.unwrap_or_default(),
        not_steady.unwrap_or_default(),
        are_disturbed.unwrap_or_default(),
        if is_mean { ", a summary alone" } else { "" }
    )
}

/// Samples after warm-up in the rounds that count.
fn samples(case: &CaseRow) -> String {
    let after_warmup = |round: &RoundRow| u64::from(round.samples.saturating_sub(round.warmup));
    format::count(case.good_rounds().map(after_warmup).sum())
}

fn other_lines(library: &Library<'_>, summary: &RunSummary, case: &CaseSummary) -> Vec<OtherLine> {
    let is_time =
        |metric: &&MetricSummary| part::time(case).is_some_and(|time| time.metric == metric.metric);
    // Of a case that failed there may be a metric without a value.
    let line = |metric: &MetricSummary| {
        Some(OtherLine {
            case: cell(&case.case.case),
            arm: cell(part::arm(&case.case.arm)),
            metric: cell(&metric.metric.name),
            series: series_href(library, summary, &case.case, metric),
            value: part::number(metric.estimate.as_ref()?, &metric.metric.unit),
        })
    };
    let others = case.metrics.iter().filter(|metric| !is_time(metric));
    others.filter_map(line).collect()
}

fn skipped(case: &CaseSummary) -> Option<Skipped> {
    let CaseState::Skipped(reason) = &case.state else {
        return None;
    };
    Some(Skipped {
        case: cell(&case.case.case),
        reason: text::clip(reason, 300).into_owned(),
    })
}

fn event(event: &EventRow) -> EventLine {
    let kind = match event.kind {
        EventKind::WorkerLost => "worker lost",
        EventKind::RoundsAdded => "rounds added",
        EventKind::Interrupted => "interrupted",
        EventKind::Imported => "imported",
        EventKind::Note => "note",
    };
    EventLine {
        at: part::when(event.at),
        kind,
        text: text::clip(&event.text, 500).into_owned(),
        case: cell(event.case.as_deref().unwrap_or_default()),
    }
}

fn parts(library: &Library<'_>, summary: &RunSummary) -> Vec<PartView> {
    let after = summary.run.after.as_ref();
    let after = after.and_then(|digest| library.fingerprint(digest));
    let before = library.fingerprint(&summary.run.before);
    before.map_or(Vec::new(), |before| part::fingerprint(before, after))
}
