//! Parts that several pages share: links, states, numbers, rows of runs, fingerprints.

use assay_protocol::{Metric, Unit};
use assay_record::fingerprint::PARTS;
use assay_record::{Field, Fingerprint, Purpose, RunId, RunStatus, Scalar, Section, Timestamp};
use assay_stats::Interval;
use assay_store::RunRow;
use assay_verdicts::ceilings::Fraction;
use assay_verdicts::{
    CaseState, CaseSummary, Likeness, MetricSummary, Reproduction, RunSummary, Verdict,
};
use serde::Serialize;

use super::run;
use crate::address;
use crate::format::{self, Quantity};
use crate::model::Library;
use crate::text::{self, clip};

/// Something to follow.
#[derive(Serialize)]
pub struct Link {
    /// From the site's root.
    pub href: String,
    /// What is shown.
    pub text: String,
}

/// A state in a word, with a sign and a class, so that it is told by more than colour.
#[derive(Serialize)]
pub struct Badge {
    /// Class of the stylesheet.
    pub class: &'static str,
    /// One character.
    pub sign: &'static str,
    /// The word.
    pub word: &'static str,
}

/// A badge.
pub const fn badge(class: &'static str, sign: &'static str, word: &'static str) -> Badge {
    Badge { class, sign, word }
}

/// How a case went.
pub fn state(state: &CaseState) -> Badge {
    match state {
        CaseState::Ok => badge("good", "✓", "ok"),
        CaseState::Skipped(_) => badge("quiet", "–", "skipped"),
        CaseState::Failed(_) => badge("bad", "✕", "failed"),
        CaseState::Wrong(_) => badge("bad", "≠", "wrong"),
        CaseState::Impossible(_) => badge("bad", "↯", "impossible"),
    }
}

/// Why a case is not ok.
pub fn reason(state: &CaseState) -> &str {
    match state {
        CaseState::Ok => "",
        CaseState::Skipped(why)
        | CaseState::Failed(why)
        | CaseState::Wrong(why)
        | CaseState::Impossible(why) => why,
    }
}

/// How a run ended.
pub fn status(status: RunStatus) -> Badge {
    match status {
        RunStatus::Complete => badge("good", "✓", "complete"),
        RunStatus::Interrupted => badge("warn", "!", "interrupted"),
        RunStatus::Partial => badge("warn", "!", "partial"),
    }
}

/// What that means.
pub fn status_words(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Complete => "All that was planned was tried.",
        RunStatus::Interrupted => {
            "Somebody asked it to stop: what had been measured is kept, the rest is missing."
        }
        RunStatus::Partial => {
            "Its record has no end: it was killed, or is still going on. What had been measured is kept, the rest is missing."
        }
    }
}

/// What a comparison says.
pub fn verdict(verdict: Verdict) -> Badge {
    match verdict {
        Verdict::Regressed => badge("bad", "▼", "regressed"),
        Verdict::Improved => badge("good", "▲", "improved"),
        Verdict::Unchanged => badge("good", "=", "unchanged"),
        Verdict::Inconclusive => badge("warn", "?", "inconclusive"),
    }
}

/// What a reproduction says of the speed: on another machine it is a comparison, which is neither good nor bad.
pub fn speed(reproduction: &Reproduction) -> Badge {
    match reproduction.comparison {
        Some(_) => badge("quiet", "⇄", "comparison"),
        None => verdict(reproduction.speed),
    }
}

/// A lasting change of a series; `None`: of a metric that is never judged.
pub fn change(verdict: Option<Verdict>) -> Badge {
    verdict.map_or_else(|| badge("quiet", "◆", "changed"), self::verdict)
}

/// A case that was taken out of its suite.
pub fn gone() -> Badge {
    badge("quiet", "○", "gone")
}

/// How inputs or outputs compare, and why.
#[derive(Serialize)]
pub struct LikenessView {
    /// In a word.
    pub badge: Badge,
    /// In words; empty where there is nothing to add.
    pub why: String,
}

/// A likeness in words.
pub fn likeness(likeness: &Likeness) -> LikenessView {
    let (badge, why) = match likeness {
        Likeness::Identical => (badge("good", "=", "identical"), ""),
        Likeness::WithinTolerance => (badge("good", "≈", "within tolerance"), ""),
        Likeness::Differs(why) => (badge("bad", "≠", "differs"), why.as_str()),
        Likeness::Unknown(why) => (badge("warn", "?", "unknown"), why.as_str()),
    };
    LikenessView {
        badge,
        why: why.into(),
    }
}

/// A number with its interval.
pub fn number(interval: &Interval, unit: &Unit) -> Quantity {
    format::interval(interval, unit)
}

/// A result beside a ceiling: `93.4 ± 0.5 % of dram`.
pub fn fraction(fraction: &Fraction) -> String {
    let percent = format::percent(&fraction.of_ceiling);
    format!("{percent} of {}", fraction.limit.name())
}

/// How many cases went how.
#[derive(Default, Serialize)]
pub struct Tally {
    /// Measured and right.
    pub ok: usize,
    /// Not measured.
    pub failed: usize,
    /// Measured and wrong.
    pub wrong: usize,
    /// Not for this machine.
    pub skipped: usize,
}

/// Counts the cases of a run.
pub fn tally(cases: &[CaseSummary]) -> Tally {
    let mut tally = Tally::default();
    for case in cases {
        *match case.state {
            CaseState::Ok => &mut tally.ok,
            CaseState::Failed(_) => &mut tally.failed,
            CaseState::Wrong(_) | CaseState::Impossible(_) => &mut tally.wrong,
            CaseState::Skipped(_) => &mut tally.skipped,
        } += 1;
    }
    tally
}

/// A row of a table of runs.
#[derive(Serialize)]
pub struct RunLine {
    /// The run.
    pub run: Link,
    /// When it started.
    pub at: String,
    /// Its suite.
    pub suite: Link,
    /// What it is for, where that is no usual measurement; else empty.
    pub purpose: &'static str,
    /// Its machine.
    pub machine: Link,
    /// How it ended.
    pub status: Badge,
    /// How its cases went, where that is at hand.
    pub tally: Option<Tally>,
    /// Commit of the measured project.
    pub commit: Commit,
    /// How long it took; empty where nobody knows.
    pub took: String,
}

/// A row for a run.
pub fn run_line(library: &Library<'_>, run: &RunRow) -> RunLine {
    RunLine {
        run: run_link(&run.run),
        at: started(library, run),
        suite: suite_link(&run.suite),
        purpose: purpose(run),
        machine: machine_link(&run.machine),
        status: status(run.status),
        tally: library
            .summary(&run.run)
            .map(|summary| tally(&summary.cases)),
        commit: commit(library, run.commit.as_deref(), run.dirty),
        took: took(run),
    }
}

fn purpose(run: &RunRow) -> &'static str {
    match (&run.purpose, &run.reproduces) {
        (_, Some(_)) => "reproduction",
        (Purpose::Measurement, None) => "",
        (Purpose::Calibration, None) => "calibration",
        (Purpose::Ceilings, None) => "ceilings",
        (Purpose::Confirmation { .. }, None) => "confirmation",
    }
}

/// A moment in UTC, to the minute, for a table whose head says that it is UTC.
pub fn when(at: Timestamp) -> String {
    at.minute().trim_end_matches(" UTC").to_owned()
}

/// When a run started, likewise; to the second where that tells it from another of its suite and machine.
pub fn started(library: &Library<'_>, run: &RunRow) -> String {
    started_at(library, (&run.suite, &run.machine), run.started)
}

/// The same of a run of a suite on a machine.
pub fn started_at(library: &Library<'_>, of: (&str, &str), at: Timestamp) -> String {
    if library.shares_its_minute(of, at) {
        at.second().trim_end_matches(" UTC").to_owned()
    } else {
        when(at)
    }
}

/// How long a run took; empty where nobody knows. One that began and ended at one moment was imported: that is its date.
pub fn took(run: &RunRow) -> String {
    let ns = |finished: Timestamp| finished.unix_ns().saturating_sub(run.started.unix_ns());
    let ns = run.finished.map(ns).filter(|ns| *ns != 0);
    ns.map_or(String::new(), format::duration)
}

/// A commit, shortened, and whether the tree had changes.
#[derive(Serialize)]
pub struct Commit {
    /// First characters; empty where there is none.
    pub short: String,
    /// Whether the working tree had changes.
    pub dirty: bool,
    /// Where it is shown; empty where nobody said.
    pub href: String,
}

/// First characters of a commit's hash.
pub fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}

/// A commit in short, with its address where the site's settings have one.
pub fn commit(library: &Library<'_>, commit: Option<&str>, dirty: bool) -> Commit {
    let commit = commit.unwrap_or_default();
    Commit {
        short: short(commit),
        dirty,
        href: commit_href(&library.settings.commit_link, commit),
    }
}

/// Only what is the hash of a commit becomes part of an address.
fn commit_href(link: &str, commit: &str) -> String {
    let is_hash = !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash {
        link.replace("{commit}", commit)
    } else {
        String::new()
    }
}

/// Link to a run.
pub fn run_link(run: &RunId) -> Link {
    Link {
        href: address::run(run),
        text: run.to_string(),
    }
}

/// Whether a case has an entry of its own among its run's failures.
pub fn is_bad(state: &CaseState) -> bool {
    matches!(
        state,
        CaseState::Failed(_) | CaseState::Wrong(_) | CaseState::Impossible(_)
    )
}

/// A case on the page of its run: its entry among the failures where it has one.
pub fn case_href(summary: &RunSummary, at: usize) -> String {
    let page = address::run(&summary.run.run);
    let bad = |case: &&CaseSummary| is_bad(&case.state);
    let before = summary.cases.iter().take(at).filter(bad).count();
    let has_entry = summary
        .cases
        .get(at)
        .is_some_and(|case| is_bad(&case.state));
    if has_entry && before < run::FAILURES {
        format!("{page}#case-{at}")
    } else {
        page
    }
}

/// Link to a suite.
pub fn suite_link(name: &str) -> Link {
    Link {
        href: address::suite(name),
        text: cell(name),
    }
}

/// Link to a machine.
pub fn machine_link(name: &str) -> Link {
    Link {
        href: address::machine(name),
        text: cell(name),
    }
}

/// Text for a cell of a table.
pub fn cell(text: &str) -> String {
    clip(text, text::CELL).into_owned()
}

/// The metric that every case has.
pub fn time(case: &CaseSummary) -> Option<&MetricSummary> {
    case.metrics
        .iter()
        .find(|metric| metric.metric.name == Metric::TIME)
}

/// An arm's name where it says something.
pub fn arm(name: &str) -> &str {
    if name == "main" { "" } else { name }
}

/// An arm's name in a place where a suite has several; else empty.
pub fn arm_in(library: &Library<'_>, suite: &str, arm: &str) -> String {
    cell(library.arm_in(suite, arm))
}

/// A metric's name where it says something: the time, which every case has, goes without saying.
pub fn metric(name: &str) -> String {
    if name == Metric::TIME {
        String::new()
    } else {
        cell(name)
    }
}

/// One part of a fingerprint.
#[derive(Serialize)]
pub struct PartView {
    /// `hardware`, `software`, `settings`, `volatile`.
    pub name: &'static str,
    /// Whether there is a second column.
    pub has_after: bool,
    /// Its fields by name.
    pub fields: Vec<FieldLine>,
}

/// A field, before and after.
#[derive(Serialize)]
pub struct FieldLine {
    /// Dotted name.
    pub name: String,
    /// Before the run.
    pub before: FieldView,
    /// After the run, where it differs.
    pub after: Option<FieldView>,
}

/// What is known of a field.
#[derive(Serialize)]
pub struct FieldView {
    /// `value`, `unsupported`, `denied`, `error` or `absent`.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

/// The four parts of a fingerprint, with what another one, taken later, says differently.
pub fn fingerprint(before: &Fingerprint, after: Option<&Fingerprint>) -> Vec<PartView> {
    let parts = PARTS.iter().filter_map(|&name| {
        let after = after.and_then(|after| after.part(name));
        Some(part(name, before.part(name)?, after))
    });
    parts.collect()
}

fn part(name: &'static str, before: &Section, after: Option<&Section>) -> PartView {
    let mut names: Vec<&String> = before
        .keys()
        .chain(after.into_iter().flat_map(Section::keys))
        .collect();
    names.sort_unstable();
    names.dedup();
    let line = |field: &String| {
        let (was, is) = (before.get(field), after.map(|after| after.get(field)));
        FieldLine {
            name: cell(field),
            before: field_view(field, was),
            after: is.filter(|is| *is != was).map(|is| field_view(field, is)),
        }
    };
    let fields: Vec<FieldLine> = names.into_iter().map(line).collect();
    PartView {
        name,
        has_after: fields.iter().any(|field| field.after.is_some()),
        fields,
    }
}

/// A field of a fingerprint.
pub fn field_view(name: &str, field: Option<&Field>) -> FieldView {
    let kind = match field {
        None => "absent",
        Some(Field::Value(_)) => "value",
        Some(Field::Unsupported) => "unsupported",
        Some(Field::Denied) => "denied",
        Some(Field::Error(_)) => "error",
    };
    let words = match field {
        Some(Field::Value(Scalar::Int(bytes))) if name.ends_with("bytes") => in_bytes(*bytes),
        field => field.map_or("absent".into(), ToString::to_string),
    };
    FieldView {
        kind,
        text: clip(&words, 400).into_owned(),
    }
}

/// `24 GiB (25 769 803 776)`, or the number alone where it is small.
fn in_bytes(bytes: i64) -> String {
    match u64::try_from(bytes) {
        Ok(count) if count >= 10_000 => {
            let short = format::value(bytes as f64, &Unit::Bytes);
            format!("{short} ({})", format::count(count))
        }
        _ => bytes.to_string(),
    }
}
