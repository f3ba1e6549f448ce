//! One metric of a case that changed in a night: its history in small, by how much, between which commits, and what else
//! changed.

use assay_record::RunId;
use assay_verdicts::{
    CaseComparison, CaseHistory, Change, LocatedChange, OfHistory, Onset, Standing, Told,
};
use serde::Serialize;

use super::judged::{self, Effect};
use super::part::{self, Badge, Commit, Link, cell};
use crate::chart::{self, Caption, Course};
use crate::error::ReportError;
use crate::format::Quantity;
use crate::model::{Library, Night, steps_within};
use crate::text::clip;
use crate::words;

/// Most changes of the machine that are listed with a finding; the suite's page has them all.
const CHANGES: usize = 2;

/// Longest reason, in characters.
const NOTE: usize = 600;

/// A case that changed.
#[derive(Serialize)]
pub struct Finding {
    badge: Badge,
    case: String,
    /// Its page; empty where it has none.
    href: String,
    /// The metric where it is not the time.
    metric: String,
    suite: Link,
    machine: Link,
    /// The arm, where the suite has several.
    arm: String,
    effect: Option<Effect>,
    latest: Option<Quantity>,
    chart: String,
    from: Option<End>,
    to: Option<End>,
    /// What it was confirmed against, where that is not the run before it.
    reference: Option<End>,
    /// How far the level moved there: `+19.2 %`; empty where that is the effect.
    step: String,
    same_commit: bool,
    gradual: bool,
    changes: Vec<String>,
    more_changes: usize,
    note: String,
    /// Since when it has been known, where it was confirmed on an earlier night.
    known: Option<KnownSince>,
}

/// Nights that confirmed what still stands.
#[derive(Serialize)]
struct KnownSince {
    since: End,
    /// The last of them, where that is another.
    again: Option<End>,
    /// Whether the level is back in the newest run, and in no more.
    is_back_once: bool,
}

/// A run that a change is told by.
#[derive(Serialize)]
pub struct End {
    run: Link,
    at: String,
    commit: Commit,
}

/// A case of a night.
pub struct Found<'a> {
    /// The night.
    pub night: &'a Night,
    /// What it says of the case.
    pub case: &'a CaseComparison,
}

/// Cases of all nights that are news and that are wanted, the largest effect first.
pub fn largest_first<'a>(
    library: &Library<'a>,
    is_wanted: impl Fn(&'a Night, &'a CaseComparison) -> bool,
) -> Vec<Found<'a>> {
    let [recent, _] = library.nights_by_age();
    let mut found: Vec<Found<'a>> = recent
        .into_iter()
        .flat_map(|night| {
            let cases = night.gate.comparison.cases.iter();
            cases.map(move |case| Found { night, case })
        })
        .filter(|found| is_wanted(found.night, found.case))
        .collect();
    found.sort_by(|a, b| judged::size(b.case).total_cmp(&judged::size(a.case)));
    found
}

/// The finding to show; `id` tells its chart from others on the page.
pub fn view(
    library: &Library<'_>,
    found: &Found<'_>,
    id: &str,
) -> Result<Option<Finding>, ReportError> {
    let Found { night, case } = found;
    let Some(row) = library.night_row(night) else {
        return Ok(None);
    };
    let history = library.series_of(night, &case.case, &case.metric.name);
    let range = Range::of(night, case, history);
    let [from, to] = range.ends().map(|run| end(library, run?));
    let (changes, more_changes) = judged::listed(&range.surroundings(), CHANGES);
    let confirmation = night.gate.confirmation.as_ref();
    let against = confirmation.and_then(|found| found.reference.as_ref());
    let against = against.map(|found| &found.run);
    let against = against.filter(|run| case.at_first.is_some() && range.ends()[0] != Some(run));
    let badge = judged::case_of(&night.gate, case);
    let chart = match history {
        Some(history) => draw(history, id, badge.class)?,
        None => String::new(),
    };
    Ok(Some(Finding {
        badge,
        case: cell(&case.case),
        href: history.map_or(String::new(), |history| {
            library.hrefs[&history.series.key].clone()
        }),
        metric: part::metric(&case.metric.name),
        suite: part::suite_link(&row.suite),
        machine: part::machine_link(&row.machine),
        arm: part::arm_in(library, &row.suite, night.arm()),
        effect: judged::effect_of(case),
        latest: history.and_then(latest),
        chart,
        same_commit: is_same_commit([&from, &to]),
        gradual: range.lasting.is_some_and(|change| change.gradual),
        step: match (&range.onset, &against) {
            (Some(onset), Some(_)) => words::percent(onset.step),
            _ => String::new(),
        },
        reference: against.and_then(|run| end(library, run)),
        from,
        to,
        changes,
        more_changes,
        note: clip(&case.note, NOTE).into_owned(),
        known: None,
    }))
}

/// Whether a change lies between two runs of one commit.
fn is_same_commit(ends: [&Option<End>; 2]) -> bool {
    let [Some(from), Some(to)] = ends else {
        return false;
    };
    let (before, after) = (&from.commit, &to.commit);
    !before.short.is_empty() && before.short == after.short && !before.dirty && !after.dirty
}

/// What was confirmed on an earlier night and still stands; `id` tells its chart from others on the page.
pub fn of_standing(
    library: &Library<'_>,
    standing: &Standing<'_>,
    id: &str,
) -> Result<Finding, ReportError> {
    let Standing {
        history,
        first,
        last,
        is_back_once,
    } = standing;
    let key = &history.series.key;
    let onset = last.onset(history);
    let ends = last.ends(onset.as_ref());
    let [from, to] = ends.map(|run| end(library, run?));
    let against = last.reference.as_ref().filter(|run| ends[0] != Some(run));
    let surroundings = match (&onset, ends) {
        (Some(onset), [Some(from), Some(to)]) => {
            surroundings(library, history, &onset.machine, [from, to])
        }
        _ => vec![WITHIN.to_owned()],
    };
    let (changes, more_changes) = judged::listed(&surroundings, CHANGES);
    let badge = judged::told(Told::History(OfHistory::StillRegressed));
    let again = (*first.since() != last.night).then_some(&last.night);
    Ok(Finding {
        chart: draw(history, id, badge.class)?,
        badge,
        case: cell(&key.case),
        href: library.hrefs[key].clone(),
        metric: part::metric(&key.metric),
        suite: part::suite_link(&key.suite),
        machine: part::machine_link(&key.machine),
        arm: part::arm_in(library, &key.suite, &key.arm),
        effect: judged::effect_of(&last.case),
        latest: latest(history),
        same_commit: is_same_commit([&from, &to]),
        gradual: false,
        step: match (&onset, against) {
            (Some(onset), Some(_)) => words::percent(onset.step),
            _ => String::new(),
        },
        reference: against.and_then(|run| end(library, run)),
        from,
        to,
        changes,
        more_changes,
        note: clip(&last.case.note, NOTE).into_owned(),
        known: end(library, first.since()).map(|since| KnownSince {
            since,
            again: again.and_then(|run| end(library, run)),
            is_back_once: *is_back_once,
        }),
    })
}

/// A lasting change of a history, which no night called, and `why` it is told; `id` tells its chart from others on the page.
pub fn of_change(
    library: &Library<'_>,
    history: &CaseHistory,
    change: &LocatedChange,
    id: &str,
    why: &str,
) -> Result<Finding, ReportError> {
    let key = &history.series.key;
    let ends = [&change.last_before.run, &change.first_after.run];
    let [from, to] = ends.map(|run| end(library, run));
    let surroundings = surroundings(library, history, &change.machine, ends);
    let (changes, more_changes) = judged::listed(&surroundings, CHANGES);
    let badge = part::change(change.verdict);
    Ok(Finding {
        chart: draw(history, id, badge.class)?,
        badge,
        case: cell(&key.case),
        href: library.hrefs[key].clone(),
        metric: part::metric(&key.metric),
        suite: part::suite_link(&key.suite),
        machine: part::machine_link(&key.machine),
        arm: part::arm_in(library, &key.suite, &key.arm),
        effect: change.ratio.as_ref().map(judged::effect),
        latest: latest(history),
        same_commit: false,
        gradual: change.gradual,
        step: String::new(),
        reference: None,
        from,
        to,
        changes,
        more_changes,
        note: why.into(),
        known: None,
    })
}

fn in_sentences(changes: &[Change]) -> Vec<String> {
    let words = changes.iter().map(|change| {
        format!(
            "{} went from {} to {}.",
            cell(&change.field),
            cell(&change.before),
            cell(&change.after)
        )
    });
    words.collect()
}

fn latest(history: &CaseHistory) -> Option<Quantity> {
    let last = history.series.points.last()?;
    Some(part::number(&last.estimate, &history.series.metric.unit))
}

/// What is said where a change may have begun within its baseline.
const WITHIN: &str = "Where it began is not known; what changed within its baseline is told on the pages of those runs.";

/// Between which runs a change of a night lies.
struct Range<'a> {
    night: &'a Night,
    /// The change of the history that it is, where that has it already.
    lasting: Option<&'a LocatedChange>,
    /// Where it began as far as the series shows, where the history does not have it yet.
    onset: Option<Onset>,
    /// Where neither tells, the run that surely had the old level: the one that new rounds were run beside, or the first of the baseline,
    /// whose later runs may have had the change already.
    old: Option<&'a RunId>,
}

impl<'a> Range<'a> {
    fn of(night: &'a Night, case: &CaseComparison, history: Option<&'a CaseHistory>) -> Self {
        let lasting = history.and_then(|history| located(night, case, history));
        let baseline = night.gate.comparison.baseline_of(case);
        let found = history.filter(|_| lasting.is_none());
        let confirmation = night.gate.confirmation.as_ref();
        let beside = confirmation.and_then(|found| found.reference.as_ref());
        let beside = beside.filter(|_| case.at_first.is_some());
        Self {
            night,
            old: beside.map(|beside| &beside.run).or(baseline.first()),
            lasting,
            onset: found.and_then(|history| Onset::of(&history.series, baseline, &night.gate.run)),
        }
    }

    /// The last run before it and the first after it; where the series does not tell, one that had the old level and the night.
    fn ends(&self) -> [Option<&RunId>; 2] {
        match (self.lasting, &self.onset) {
            (Some(change), _) => [Some(&change.last_before.run), Some(&change.first_after.run)],
            (None, Some(onset)) => [Some(&onset.last_before.run), Some(&onset.first_after.run)],
            (None, None) => [self.old, Some(&self.night.gate.run)],
        }
    }

    /// What else changed in it, in words.
    fn surroundings(&self) -> Vec<String> {
        let [Some(from), Some(to)] = self.ends() else {
            return Vec::new();
        };
        // Nights since the baseline are told apart; of what is before, only what the machine was and what was started on it.
        let last_of_baseline = self.night.gate.comparison.baseline.runs.last();
        let since = || steps_within(&self.night.steps, from, to);
        if last_of_baseline.is_some_and(|last| from >= last) {
            return since();
        }
        let machine = match (self.lasting, &self.onset) {
            (Some(change), _) => &change.machine,
            (None, Some(onset)) => &onset.machine,
            (None, None) => return [since(), vec![WITHIN.to_owned()]].concat(),
        };
        let started = steps_within(&self.night.arm_steps, from, to);
        [in_sentences(machine), started].concat()
    }
}

/// What changed on the machine in a range of a series, and in what was started there.
fn surroundings(
    library: &Library<'_>,
    history: &CaseHistory,
    machine: &[Change],
    [from, to]: [&RunId; 2],
) -> Vec<String> {
    let started = library.arm_steps(&history.series, from, to);
    [in_sentences(machine), started].concat()
}

/// The change in the history that the night saw: after its baseline, in the same direction.
fn located<'a>(
    night: &Night,
    case: &CaseComparison,
    history: &'a CaseHistory,
) -> Option<&'a LocatedChange> {
    let last_baseline = night.gate.comparison.baseline.runs.last()?;
    let is_of_night = |change: &&LocatedChange| {
        let ratio = case.ratio.map_or(1.0, |ratio| ratio.estimate);
        let is_same_way = change
            .ratio
            .is_some_and(|found| (found.estimate > 1.0) == (ratio > 1.0));
        is_same_way && change.first_after.run > *last_baseline
    };
    history.changes.iter().rev().find(is_of_night)
}

/// A run as an end of a range.
pub fn end(library: &Library<'_>, run: &RunId) -> Option<End> {
    let row = library.runs.get(run)?;
    Some(End {
        run: part::run_link(run),
        at: part::started(library, row),
        commit: part::commit(library, row.commit.as_deref(), row.dirty),
    })
}

fn draw(history: &CaseHistory, id: &str, class: &str) -> Result<String, ReportError> {
    let series = &history.series;
    let caption = Caption {
        id,
        title: &format!("History of {}", cell(&series.key.case)),
        description: &in_words(history),
    };
    chart::small(&Course::new(history), caption, class).map_err(|reason| ReportError::Chart {
        page: crate::address::series(&series.key),
        reason,
    })
}

/// What the chart shows, for those who do not see it.
fn in_words(history: &CaseHistory) -> String {
    let points = &history.series.points;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let unit = &history.series.metric.unit;
    format!(
        "{} runs, from {} at first to {} at last. Lasting changes: {}.",
        points.len(),
        part::number(&first.estimate, unit),
        part::number(&last.estimate, unit),
        history.changes.len()
    )
}
