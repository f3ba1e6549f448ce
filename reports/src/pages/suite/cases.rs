//! The table of a suite's cases: one row for each case, metric, machine and arm, in its present definition.

use std::collections::{BTreeMap, BTreeSet};

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
    /// When it was last measured, where that was not in the newest night.
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

/// What is known of a suite on a machine tonight.
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
    let tonight = tonight(library, suite, runs);
    let own = library
        .current
        .iter()
        .filter(|(place, _)| place.suite == suite);
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, history) in own {
        let is_first = seen.insert((place.machine, place.case, place.arm));
        let mut line = of_series(library, place, history, tonight.get(place.machine))?;
        // Why a case went wrong is said once, whatever its metrics.
        if !is_first {
            line.reason.clear();
        }
        lines.push(line);
    }
    for (&machine, tonight) in &tonight {
        for (&(case, arm), &(at, summary)) in &tonight.cases {
            if !seen.contains(&(machine, case, arm)) {
                lines.push(unmeasured(tonight, summary, at));
            }
        }
    }
    Ok(lines)
}

/// By machine; of runs, the latest first, the newest night's counts, else the newest run's.
fn tonight<'a>(
    library: &Library<'a>,
    suite: &str,
    runs: &[&'a RunRow],
) -> BTreeMap<&'a str, Tonight<'a>> {
    let mut found: BTreeMap<&str, Tonight<'a>> = BTreeMap::new();
    for &run in runs {
        let is_own = run.reproduces.is_none() && run.purpose.is_measurement();
        if !is_own || found.contains_key(run.machine.as_str()) {
            continue;
        }
        let night = library.night(suite, &run.machine);
        let run = night
            .and_then(|night| library.night_row(night))
            .unwrap_or(run);
        found.insert(&run.machine, Tonight::of(library, run, night));
    }
    found
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

    /// What the night says of a metric of a case; nothing where the night is of another arm.
    fn verdict(&self, place: &Place<'_>) -> Option<&'a CaseComparison> {
        let is_judged = |night: &Night| night.gate.comparison.candidate.arm == place.arm;
        self.night.filter(|night| is_judged(night))?;
        self.verdicts.get(&(place.case, place.metric)).copied()
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
    let is_tonight = last.is_none_or(|last| tonight.is_some_and(|t| t.run.run == last.run));
    Ok(CaseLine {
        case: breakable(&cell(place.case)),
        metric: part::metric(place.metric),
        arm: cell(part::arm(place.arm)),
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
        effect: verdict.and_then(judged::effect_of),
        badge: not_ok
            .map(part::state)
            .or(judged.map(|(verdict, tonight)| tonight.badge(verdict)))
            .map(|badge| {
                judged::still(badge, library.stands(history), library.lasting_of(history))
            }),
        reason: said(not_ok.map_or("", part::reason), REASON),
    })
}

/// A case that no run has measured yet.
fn unmeasured(tonight: &Tonight<'_>, summary: &CaseSummary, at: usize) -> CaseLine {
    CaseLine {
        case: breakable(&cell(&summary.case.case)),
        href: tonight
            .summary
            .map_or(String::new(), |run| part::case_href(run, at)),
        metric: String::new(),
        arm: cell(part::arm(&summary.case.arm)),
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
