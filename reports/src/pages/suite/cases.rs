//! The table of a suite's cases: one row for each case, metric, machine and arm, in its present definition.

use std::collections::{BTreeMap, BTreeSet};

use assay_record::RunId;
use assay_store::RunRow;
use assay_verdicts::{CaseComparison, CaseHistory, CaseState, CaseSummary, RunSummary};
use serde::Serialize;

use crate::chart::{self, Course};
use crate::error::ReportError;
use crate::format::{self, Quantity};
use crate::model::{Library, Night, Place};
use crate::pages::judged::{self, Effect};
use crate::pages::part::{self, Badge, Link, cell};
use crate::text::{breakable, said};

/// What is said of what stands where its newest run is no worse than what was before.
const BACK: &str = "back in the newest run; one more like it ends it";

/// Longest reason in a row, in characters.
const REASON: usize = 200;

/// A row.
#[derive(Serialize)]
pub struct CaseLine {
    /// As HTML.
    case: String,
    /// The series' page, or the run's where the case has never been measured.
    href: String,
    metric: String,
    arm: String,
    machine: Link,
    spark: String,
    latest: Option<Quantity>,
    latest_sort: String,
    /// When it was last measured, where that was not in the newest run.
    last: String,
    fraction: Option<Share>,
    effect: Option<Effect>,
    badge: Option<Badge>,
    reason: String,
}

impl CaseLine {
    /// Whether a ceiling of what bounds it is known.
    pub fn has_fraction(&self) -> bool {
        self.fraction.is_some()
    }
}

/// A result as a share of a ceiling.
#[derive(Serialize)]
struct Share {
    percent: Quantity,
    of: &'static str,
    sort: String,
}

/// What is known of a run of a newest night, or of the newest run of a machine where there is none.
struct Tonight<'a> {
    run: &'a RunRow,
    night: Option<&'a Night>,
    summary: Option<&'a RunSummary>,
    cases: BTreeMap<(&'a str, &'a str), (usize, &'a CaseSummary)>,
    verdicts: BTreeMap<(&'a str, &'a str), &'a CaseComparison>,
}

/// All rows: by case, then metric, then machine.
pub fn lines(
    library: &Library<'_>,
    suite: &str,
    runs: &[&RunRow],
) -> Result<Vec<CaseLine>, ReportError> {
    let tonights = Tonights::of(library, suite, runs);
    let own = library
        .current
        .iter()
        .filter(|(place, _)| place.suite == suite);
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, history) in own {
        let is_first = seen.insert((place.machine, place.case, place.arm));
        let mut line = of_series(library, place, history, tonights.at(library, history))?;
        // Why a case went wrong is said once, whatever its metrics.
        if !is_first {
            line.reason.clear();
        }
        lines.push(line);
    }
    for tonight in tonights.by_run.values() {
        for (&(case, arm), &(at, summary)) in &tonight.cases {
            let is_its = tonight.night.is_none_or(|night| night.has(case));
            if is_its && seen.insert((&tonight.run.machine, case, arm)) {
                lines.push(unmeasured(library, tonight, summary, at));
            }
        }
    }
    Ok(lines)
}

/// What is known of a suite tonight.
struct Tonights<'a> {
    by_run: BTreeMap<&'a RunId, Tonight<'a>>,
    /// What is looked at where no night judges a series: the newest night of its machine, or the newest run of one that has none.
    newest: BTreeMap<&'a str, &'a RunId>,
}

impl<'a> Tonights<'a> {
    /// Of the suite's runs, the latest first.
    fn of(library: &Library<'a>, suite: &str, runs: &[&'a RunRow]) -> Self {
        let mut found = Self {
            by_run: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        for &night in &library.nights {
            if let Some(row) = library.night_row(night).filter(|row| row.suite == suite) {
                let tonight = Tonight::of(library, row, Some(night));
                found.by_run.insert(&row.run, tonight);
            }
        }
        // In the order of ids: the newest last.
        for tonight in found.by_run.values() {
            found.newest.insert(&tonight.run.machine, &tonight.run.run);
        }
        for &run in runs {
            let is_own = run.reproduces.is_none() && run.purpose.is_measurement();
            if is_own && !found.newest.contains_key(&*run.machine) {
                found.newest.insert(&run.machine, &run.run);
                let tonight = Tonight::of(library, run, None);
                found.by_run.insert(&run.run, tonight);
            }
        }
        found
    }

    /// What speaks of a series.
    fn at(&self, library: &Library<'_>, history: &CaseHistory) -> Option<&Tonight<'a>> {
        let night = library.night_of(&history.series);
        let run = night.map(|night| &night.gate.run);
        let machine = history.series.key.machine.as_str();
        let run = run.or_else(|| self.newest.get(machine).copied());
        self.by_run.get(run?)
    }
}

impl<'a> Tonight<'a> {
    fn of(library: &Library<'a>, run: &'a RunRow, night: Option<&'a Night>) -> Self {
        let summary = library.summary(&run.run);
        let cases = summary
            .into_iter()
            .flat_map(|summary| summary.cases.iter().enumerate());
        let verdicts = night
            .into_iter()
            .flat_map(|night| &night.gate.comparison.cases);
        Self {
            run,
            night,
            summary,
            cases: cases
                .map(|(at, case)| {
                    (
                        (case.case.case.as_str(), case.case.arm.as_str()),
                        (at, case),
                    )
                })
                .collect(),
            verdicts: verdicts
                .map(|case| ((case.case.as_str(), case.metric.name.as_str()), case))
                .collect(),
        }
    }

    /// What the night says of a metric of a case on its arm.
    fn verdict(&self, place: &Place<'_>) -> Option<&'a CaseComparison> {
        self.night.filter(|night| night.arm() == place.arm)?;
        self.verdicts.get(&(place.case, place.metric)).copied()
    }

    /// Whether it has the latest point of a series, and no later run of its place is there.
    fn is_last(&self, run: &RunId) -> bool {
        self.run.run == *run && self.night.is_none_or(Night::is_newest)
    }

    fn badge(&self, verdict: &CaseComparison) -> Badge {
        match self.night {
            Some(night) => judged::case_of(&night.gate, verdict),
            None => judged::case(verdict),
        }
    }
}

fn of_series(
    library: &Library<'_>,
    place: &Place<'_>,
    history: &CaseHistory,
    tonight: Option<&Tonight<'_>>,
) -> Result<CaseLine, ReportError> {
    let series = &history.series;
    let href = library.hrefs[&series.key].clone();
    let drawn = chart::spark(&Course::new(history));
    let last = series.points.last();
    let verdict = tonight.and_then(|tonight| tonight.verdict(place));
    let summary = tonight.and_then(|tonight| tonight.cases.get(&(place.case, place.arm)));
    let summary = summary.map(|(_, summary)| *summary);
    let state = summary.map(|summary| &summary.state);
    let not_ok = state.filter(|state| !matches!(state, CaseState::Ok));
    let judged = verdict.zip(tonight);
    let own = not_ok.map(part::state);
    let own = own.or(judged.map(|(verdict, tonight)| tonight.badge(verdict)));
    let (badge, effect) = in_the_end(library, history, own, verdict);
    let is_tonight = last.is_none_or(|last| tonight.is_some_and(|t| t.is_last(&last.run)));
    Ok(CaseLine {
        case: breakable(&cell(place.case)),
        metric: part::metric(place.metric),
        arm: part::arm_in(library, place.suite, place.arm),
        machine: part::machine_link(place.machine),
        spark: drawn.map_err(|reason| ReportError::Chart {
            page: href.clone(),
            reason,
        })?,
        href,
        latest: last.map(|point| part::number(&point.estimate, &series.metric.unit)),
        latest_sort: last.map_or(String::new(), |point| {
            format!("{:e}", point.estimate.estimate)
        }),
        last: match last {
            Some(point) if !is_tonight => part::when(point.started),
            _ => String::new(),
        },
        fraction: summary.filter(|_| !place.is_further).and_then(share),
        effect,
        badge,
        reason: match not_ok {
            Some(state) => said(part::reason(state), REASON),
            None if library.is_back_once(history) => BACK.into(),
            None => String::new(),
        },
    })
}

/// What is said of a series, and by how much it changed by what says so: by the night, by what was confirmed before, or by the history.
fn in_the_end(
    library: &Library<'_>,
    history: &CaseHistory,
    own: Option<Badge>,
    verdict: Option<&CaseComparison>,
) -> (Option<Badge>, Option<Effect>) {
    let by_night = || verdict.and_then(judged::effect_of);
    let (stands, lasting) = (library.stands(history), library.lasting_of(history));
    let is_told = stands || lasting.is_some();
    let gone = || library.is_gone(&history.series.key).then(part::gone);
    let own = own.or_else(gone);
    let own = own.or(is_told.then(|| part::badge("quiet", "○", "not compared")));
    let Some(own) = own else {
        return (None, by_night());
    };
    let of_night = own.word;
    let badge = judged::still(own, stands, lasting);
    let ratio = match badge.word {
        word if word == of_night => return (Some(badge), by_night()),
        _ if stands => {
            let confirmed = library.confirmed_of(history);
            let mut standing = confirmed.iter().rev().filter(|(_, stands)| *stands);
            standing.next().and_then(|(last, _)| last.case.ratio)
        }
        _ => lasting.and_then(|change| change.ratio),
    };
    (Some(badge), ratio.as_ref().map(judged::effect))
}

/// A case that no run has measured yet.
fn unmeasured(
    library: &Library<'_>,
    tonight: &Tonight<'_>,
    summary: &CaseSummary,
    at: usize,
) -> CaseLine {
    CaseLine {
        case: breakable(&cell(&summary.case.case)),
        href: tonight
            .summary
            .map_or(String::new(), |run| part::case_href(run, at)),
        metric: String::new(),
        arm: part::arm_in(library, &tonight.run.suite, &summary.case.arm),
        machine: part::machine_link(&tonight.run.machine),
        spark: String::new(),
        latest: None,
        latest_sort: String::new(),
        last: String::new(),
        fraction: None,
        effect: None,
        badge: Some(part::state(&summary.state)),
        reason: said(part::reason(&summary.state), REASON),
    }
}

/// The largest share of a ceiling: what bounds the case.
fn share(summary: &CaseSummary) -> Option<Share> {
    let by_size = |a: &&assay_verdicts::ceilings::Fraction, b: &&_| {
        let b: &assay_verdicts::ceilings::Fraction = b;
        a.of_ceiling.estimate.total_cmp(&b.of_ceiling.estimate)
    };
    let largest = summary.fractions.iter().max_by(by_size)?;
    Some(Share {
        percent: format::percent(&largest.of_ceiling),
        of: largest.limit.name(),
        sort: format!("{:.4}", largest.of_ceiling.estimate),
    })
}
