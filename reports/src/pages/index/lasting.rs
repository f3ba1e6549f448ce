//! Lasting changes that are news, where suspects are never run again: what lasts is all that can be known there.

use assay_verdicts::{CaseHistory, LocatedChange};

use super::{FINDINGS, Group};
use crate::error::ReportError;
use crate::model::{Library, Night, Said};
use crate::pages::finding;

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

/// The groups of the first page, and how many changes for the worse and for the better are in them.
pub fn groups<'a>(
    library: &Library<'a>,
    nights: &[&'a Night],
) -> Result<(Vec<Group>, [usize; 2]), ReportError> {
    let mut groups = Vec::new();
    for kind in &KINDS {
        let own = nights
            .iter()
            .filter(|night| night.is_imported == kind.is_imported);
        let said: Vec<&Said<'a>> = own.filter_map(|night| library.said(night)).collect();
        let older = said.iter().map(|said| said.older).sum();
        groups.extend(group(library, kind, &largest_first(&said), older)?);
    }
    let counts = nights.iter().filter_map(|night| library.said(night));
    let counts = counts.fold([0, 0], |[worse, better], said| {
        [worse + said.counts.worse, better + said.counts.better]
    });
    Ok((groups, counts))
}

/// What lasts where these nights were.
fn largest_first<'a>(said: &[&Said<'a>]) -> Vec<Found<'a>> {
    let all = said.iter().flat_map(|said| &said.lasting);
    let mut found: Vec<Found<'a>> = all.copied().collect();
    let size = |change: &LocatedChange| change.ratio.map_or(0.0, |ratio| ratio.estimate.ln().abs());
    found.sort_by(|(a, one), (b, other)| {
        let by_size = size(other).total_cmp(&size(one));
        by_size.then_with(|| a.series.key.cmp(&b.series.key))
    });
    found
}

fn group(
    library: &Library<'_>,
    kind: &Kind,
    found: &[Found<'_>],
    older: usize,
) -> Result<Option<Group>, ReportError> {
    let mut findings = Vec::new();
    for (at, (history, change)) in found.iter().take(FINDINGS).enumerate() {
        let id = format!("{}-{at}", kind.id);
        findings.push(finding::of_change(library, history, change, &id, kind.why)?);
    }
    Ok((!findings.is_empty() || older > 0).then(|| Group {
        id: kind.id,
        title: kind.title,
        more: found.len().saturating_sub(FINDINGS),
        older,
        findings,
    }))
}
