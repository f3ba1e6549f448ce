//! Runs that repeated an earlier one, each with its verdict in three parts.

use assay_verdicts::{CaseReproduction, Reproduction, Verdict};
use serde::Serialize;

use super::fill;
use super::judged;
use super::part::{self, Badge, LikenessView, Link};
use crate::error::ReportError;
use crate::model::Library;
use crate::text::clip;

/// Most that are listed; older ones are on the pages of their runs.
const LISTED: usize = 200;
/// Most explanations of one.
const EXPLANATIONS: usize = 4;
/// Longest reason, in characters.
const WHY: usize = 240;

#[derive(Serialize)]
struct Reproductions {
    lines: Vec<Line>,
    more: usize,
}

#[derive(Serialize)]
struct Line {
    original: Link,
    original_at: String,
    again: Link,
    again_at: String,
    suite: Link,
    machine: Link,
    /// The machine of the original where it is another one.
    elsewhere: Option<Link>,
    inputs: LikenessView,
    outputs: LikenessView,
    speed: Badge,
    counted: String,
    explanations: Vec<String>,
    more: usize,
}

/// The page.
pub fn render(library: &Library<'_>) -> Result<String, ReportError> {
    let mut all: Vec<&Reproduction> = library.model.reproductions.iter().collect();
    all.sort_by(|a, b| (&b.again, &b.original).cmp(&(&a.again, &a.original)));
    let known: Vec<Line> = all.iter().filter_map(|one| line(library, one)).collect();
    let page = Reproductions {
        more: known.len().saturating_sub(LISTED),
        lines: known.into_iter().take(LISTED).collect(),
    };
    fill(
        library.settings,
        "reproductions.html",
        "Reproductions",
        &page,
    )
}

/// `None` where the database has one of the runs no more.
fn line(library: &Library<'_>, one: &Reproduction) -> Option<Line> {
    let original = library.runs.get(&one.original)?;
    let again = library.runs.get(&one.again)?;
    let differences: Vec<String> = one
        .explanations
        .iter()
        .map(|one| one.text.clone())
        .collect();
    let (explanations, more) = judged::listed(&differences, EXPLANATIONS);
    let is_elsewhere = original.machine != again.machine;
    Some(Line {
        original: part::run_link(&one.original),
        original_at: part::when(original.started),
        again: part::run_link(&one.again),
        again_at: part::when(again.started),
        suite: part::suite_link(&again.suite),
        machine: part::machine_link(&again.machine),
        elsewhere: is_elsewhere.then(|| part::machine_link(&original.machine)),
        inputs: likeness(&one.inputs),
        outputs: likeness(&one.outputs),
        speed: part::speed(one),
        counted: counted(one),
        explanations,
        more,
    })
}

/// How many cases came out the same; on another machine, how its times compare over all.
fn counted(one: &Reproduction) -> String {
    if let (Some(_), Some((ratio, cases))) = (&one.comparison, one.mean_ratio()) {
        let percent = (ratio - 1.0) * 100.0;
        return format!("times {percent:+.1} %, geometric mean of {cases}");
    }
    let is_unchanged = |case: &&CaseReproduction| case.speed == Verdict::Unchanged;
    let same = one.cases.iter().filter(is_unchanged).count();
    format!("{same} of {} unchanged", one.cases.len())
}

fn likeness(likeness: &assay_verdicts::Likeness) -> LikenessView {
    let view = part::likeness(likeness);
    LikenessView {
        why: clip(&view.why, WHY).into_owned(),
        ..view
    }
}
