//! Lasting changes that are news and that no gate settled: what lasts is all that can be known of them.

use assay_verdicts::{CaseHistory, LocatedChange, Verdict};

use super::{FINDINGS, Group};
use crate::error::ReportError;
use crate::model::{Library, Night, Said};
use crate::pages::finding;

type Found<'a> = (&'a CaseHistory, &'a LocatedChange);

/// Of which histories, under which titles for the worse and for the better, and why they are told.
struct Kind {
    ids: [&'static str; 2],
    titles: [&'static str; 2],
    why: &'static str,
}

const OWN: Kind = Kind {
    ids: ["lasting", "lasting-better"],
    titles: [
        "Worse to stay, not confirmed",
        "Better to stay, not confirmed",
    ],
    why: "The level of the history changed to stay, and the suspects of the nights that saw it come were not all run again: `assay nightly`, or `assay confirm` on such a night, tells noise from it.",
};
const IMPORTED: Kind = Kind {
    ids: ["imported", "imported-better"],
    titles: [
        "Worse to stay in imported histories",
        "Better to stay in imported histories",
    ],
    why: "The level of the history changed to stay. What was imported cannot be run again, so that nothing but later results can confirm it.",
};
const UNJUDGED: Kind = Kind {
    ids: ["arms", "arms-better"],
    titles: [
        "Worse to stay on arms that no night judges",
        "Better to stay on arms that no night judges",
    ],
    why: "The level of the history changed to stay. Of runs of several arms nights judge the one named `main`, and suspects of no other are run again.",
};

/// How many changes are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub worse: usize,
    pub better: usize,
    /// For the worse and no news any more.
    pub older: usize,
}

/// The groups of the first page, and how many changes are in them.
pub fn groups<'a>(
    library: &Library<'a>,
    nights: &[&'a Night],
) -> Result<(Vec<Group>, Counts), ReportError> {
    let mut groups = Vec::new();
    for (kind, is_imported) in [(OWN, false), (IMPORTED, true)] {
        let own = nights
            .iter()
            .filter(|night| night.is_imported == is_imported);
        let said: Vec<&Said<'a>> = own.filter_map(|night| library.said(night)).collect();
        let older = said.iter().map(|said| said.older).sum();
        let found = said.iter().flat_map(|said| said.lasting.iter().copied());
        groups.extend(of_kind(library, &kind, found.collect(), older)?);
    }
    let unjudged = library.unjudged().iter();
    let found = unjudged.flat_map(|one| one.lasting.iter().copied());
    let older = library.unjudged().iter().map(|one| one.older).sum();
    groups.extend(of_kind(library, &UNJUDGED, found.collect(), older)?);
    let of_nights = nights.iter().filter_map(|night| library.said(night));
    let of_nights = of_nights.map(|said| (said.counts, said.older));
    let of_arms = library.unjudged().iter().map(|one| (one.counts, one.older));
    let mut counts = Counts::default();
    for (lasting, older) in of_nights.chain(of_arms) {
        counts.worse += lasting.worse;
        counts.better += lasting.better;
        counts.older += older;
    }
    Ok((groups, counts))
}

/// For the worse and for the better apart: a few large improvements push no regression off the page.
fn of_kind(
    library: &Library<'_>,
    kind: &Kind,
    found: Vec<Found<'_>>,
    older: usize,
) -> Result<Vec<Group>, ReportError> {
    let is_better = |(_, change): &Found<'_>| change.verdict == Some(Verdict::Improved);
    let (better, worse) = found.into_iter().partition(is_better);
    let worse = group(library, kind, false, &largest_first(worse), older)?;
    let better = group(library, kind, true, &largest_first(better), 0)?;
    Ok(worse.into_iter().chain(better).collect())
}

/// What matters by its size, then what cannot be told.
fn largest_first(mut found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    let is_open = |change: &LocatedChange| {
        !matches!(change.verdict, Some(Verdict::Regressed | Verdict::Improved))
    };
    let size = |change: &LocatedChange| change.ratio.map_or(0.0, |ratio| ratio.estimate.ln().abs());
    found.sort_by(|(a, one), (b, other)| {
        let by_size = size(other).total_cmp(&size(one));
        let by_kind = is_open(one).cmp(&is_open(other));
        by_kind
            .then(by_size)
            .then_with(|| a.series.key.cmp(&b.series.key))
    });
    found
}

fn group(
    library: &Library<'_>,
    kind: &Kind,
    is_better: bool,
    found: &[Found<'_>],
    older: usize,
) -> Result<Option<Group>, ReportError> {
    let [id, title] = [kind.ids, kind.titles].map(|of| of[usize::from(is_better)]);
    let mut findings = Vec::new();
    for (at, (history, change)) in found.iter().take(FINDINGS).enumerate() {
        let id = format!("{id}-{at}");
        findings.push(finding::of_change(library, history, change, &id, kind.why)?);
    }
    Ok((!findings.is_empty() || older > 0).then(|| Group {
        id,
        title,
        is_better,
        more: found.len().saturating_sub(FINDINGS),
        older,
        findings,
    }))
}
