//! Lasting changes that are news, where suspects are never run again: what lasts is all that can be known there.

use assay_store::SeriesKey;
use assay_verdicts::{CaseHistory, LocatedChange};

use super::{FINDINGS, Group};
use crate::error::ReportError;
use crate::model::{Library, OLD_DAYS};
use crate::pages::{finding, judged};

type Found<'a> = (&'a CaseHistory, &'a LocatedChange);

/// Of which histories, under which title, and why they are told.
struct Kind {
    id: &'static str,
    title: &'static str,
    why: &'static str,
    is_imported: bool,
}

const KINDS: [Kind; 2] = [
    Kind {
        id: "lasting",
        title: "Changed to stay, not confirmed",
        why: "The level of the history changed to stay, and no suspects of this suite are run again on this machine: `assay confirm` or `assay nightly` would tell noise from it.",
        is_imported: false,
    },
    Kind {
        id: "imported",
        title: "Changed in imported histories",
        why: "The level of the history changed to stay. What was imported cannot be run again, so that nothing but later results can confirm it.",
        is_imported: true,
    },
];

/// The groups of the first page, and how many changes are in them.
pub fn groups(library: &Library<'_>) -> Result<(Vec<Group>, usize), ReportError> {
    let mut groups = Vec::new();
    let mut count = 0;
    for kind in &KINDS {
        let found = largest_first(library, kind.is_imported);
        count += found.len();
        groups.extend(group(library, kind, &found)?);
    }
    Ok((groups, count))
}

/// The latest lasting change of each such history, where that is news and the night does not call it itself.
fn largest_first<'a>(library: &Library<'a>, is_imported: bool) -> Vec<Found<'a>> {
    let places = library.places_unconfirmed();
    let is_meant = |key: &SeriesKey| {
        let night = places.get(&(key.suite.as_str(), key.machine.as_str()));
        night.is_some_and(|night| {
            let mut cases = night.gate.comparison.cases.iter();
            let calls = cases.any(|case| {
                (&case.case, &case.metric.name) == (&key.case, &key.metric)
                    && (judged::is_regressed(case) || judged::is_improved(case))
            });
            night.is_imported == is_imported && !calls
        })
    };
    let is_news = |change: &&LocatedChange| {
        let is_late = library.age_days(change.first_after.started) <= OLD_DAYS;
        is_late && change.verdict.is_some() && change.mark.is_none()
    };
    let histories = library.current.values();
    let mut found: Vec<Found<'a>> = histories
        .filter(|history| is_meant(&history.series.key))
        .filter_map(|history| Some((*history, history.changes.last().filter(is_news)?)))
        .collect();
    let size = |change: &LocatedChange| change.ratio.map_or(0.0, |ratio| ratio.estimate.ln().abs());
    found.sort_by(|(_, a), (_, b)| size(b).total_cmp(&size(a)));
    found
}

fn group(
    library: &Library<'_>,
    kind: &Kind,
    found: &[Found<'_>],
) -> Result<Option<Group>, ReportError> {
    let mut findings = Vec::new();
    for (at, (history, change)) in found.iter().take(FINDINGS).enumerate() {
        let id = format!("{}-{at}", kind.id);
        findings.push(finding::of_change(library, history, change, &id, kind.why)?);
    }
    Ok((!findings.is_empty()).then(|| Group {
        id: kind.id,
        title: kind.title,
        more: found.len().saturating_sub(FINDINGS),
        findings,
    }))
}
