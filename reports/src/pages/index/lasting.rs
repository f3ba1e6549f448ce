//! Lasting changes of imported histories that are news: nothing of them can be run again, and what lasts is what can be known.

use assay_verdicts::{CaseHistory, LocatedChange};

use super::{FINDINGS, Group};
use crate::error::ReportError;
use crate::model::{Library, OLD_DAYS};
use crate::pages::finding;

/// The latest lasting change of each imported history, where that is news, the largest first.
pub fn lasting<'a>(library: &Library<'a>) -> Vec<(&'a CaseHistory, &'a LocatedChange)> {
    let places = library.imported_places();
    let is_news = |change: &&LocatedChange| {
        let is_late = library.age_days(change.first_after.started) <= OLD_DAYS;
        is_late && change.verdict.is_some() && change.mark.is_none()
    };
    let histories = library.current.values().filter(|history| {
        let key = &history.series.key;
        places.contains(&(key.suite.as_str(), key.machine.as_str()))
    });
    let mut found: Vec<(&CaseHistory, &LocatedChange)> = histories
        .filter_map(|history| Some((*history, history.changes.last().filter(is_news)?)))
        .collect();
    let size = |change: &LocatedChange| change.ratio.map_or(0.0, |ratio| ratio.estimate.ln().abs());
    found.sort_by(|(_, a), (_, b)| size(b).total_cmp(&size(a)));
    found
}

/// Them as a group of the first page; `None` where there are none.
pub fn group(
    library: &Library<'_>,
    found: &[(&CaseHistory, &LocatedChange)],
) -> Result<Option<Group>, ReportError> {
    let mut findings = Vec::new();
    for (at, (history, change)) in found.iter().take(FINDINGS).enumerate() {
        let id = format!("imported-{at}");
        findings.push(finding::of_change(library, history, change, &id)?);
    }
    Ok((!findings.is_empty()).then(|| Group {
        id: "imported",
        title: "Changed in imported histories",
        more: found.len().saturating_sub(FINDINGS),
        findings,
    }))
}
