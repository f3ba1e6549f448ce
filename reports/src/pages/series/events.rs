//! What happened to a series: lasting changes, what was confirmed, marks, what cannot be, and what changed on the machine.

use assay_record::RunId;
use assay_verdicts::{
    CaseHistory, Change, Confirmed, Impossible, LocatedChange, Mark, Point, Series, Spot,
};
use serde::Serialize;

use crate::chart;
use crate::format::Quantity;
use crate::model::Library;
use crate::pages::finding::{self, End};
use crate::pages::judged;
use crate::pages::part::{self, Badge, Commit, Link, cell};
use crate::text::clip;

/// Most confirmed regressions that are listed, the latest.
const CONFIRMED: usize = 40;

/// Most changes of one point that are listed, and most points with changes.
const CHANGES: usize = 40;

/// All of it, the latest first.
#[derive(Serialize)]
pub struct Events {
    shifts: Vec<ShiftLine>,
    more_shifts: usize,
    confirmed: Vec<ConfirmedLine>,
    more_confirmed: usize,
    marks: Vec<MarkLine>,
    impossible: Vec<ImpossibleLine>,
    more_impossible: usize,
    changed: Vec<Changed>,
    more_changed: usize,
}

/// A lasting change.
#[derive(Serialize)]
struct ShiftLine {
    badge: Badge,
    /// Absent where a ratio says nothing.
    effect: Option<judged::Effect>,
    before: Quantity,
    after: Quantity,
    last_before: SpotView,
    first_after: SpotView,
    machine: Vec<ChangeLine>,
    more: usize,
    gradual: bool,
    mark: String,
}

/// An end of the range in which a change lies.
#[derive(Serialize)]
struct SpotView {
    run: Link,
    at: String,
    commit: Commit,
}

/// A regression that new rounds confirmed.
#[derive(Serialize)]
struct ConfirmedLine {
    effect: Option<judged::Effect>,
    night: Option<End>,
    /// What it was run beside.
    reference: Option<End>,
    stands: bool,
    /// Whether the level is back in the newest run, and in no more.
    is_back_once: bool,
    /// Whether it stood when its case was taken out.
    is_gone: bool,
    /// The mark that accepts it, and the run that it names; empty where none does.
    accepted: String,
    accepted_at: Option<End>,
}

/// A mark, and whether a run of this series is where it says.
#[derive(Serialize)]
struct MarkLine {
    words: String,
    at: String,
    is_placed: bool,
}

/// A result that is no point, for it cannot be.
#[derive(Serialize)]
struct ImpossibleLine {
    run: Link,
    at: String,
    value: Quantity,
    why: String,
}

/// A point at which the machine was not what it had been.
#[derive(Serialize)]
struct Changed {
    run: Link,
    at: String,
    changes: Vec<ChangeLine>,
    more: usize,
}

#[derive(Serialize)]
struct ChangeLine {
    field: String,
    before: String,
    after: String,
}

/// What happened to a series, of which so much was confirmed.
pub fn view(
    library: &Library<'_>,
    history: &CaseHistory,
    confirmed: &[(&Confirmed, bool)],
) -> Events {
    let series = &history.series;
    let all_changed = || {
        let points = series.points.iter().rev();
        points.filter(|point| !point.changes.is_empty())
    };
    Events {
        shifts: history
            .changes
            .iter()
            .rev()
            .take(chart::SHIFTS)
            .map(|change| shift(library, series, change))
            .collect(),
        more_shifts: history.changes.len().saturating_sub(chart::SHIFTS),
        more_confirmed: confirmed.len().saturating_sub(CONFIRMED),
        confirmed: confirmed
            .iter()
            .rev()
            .take(CONFIRMED)
            .map(|(one, stands)| confirmed_line(library, history, one, *stands))
            .collect(),
        marks: history
            .marks
            .iter()
            .map(|mark| mark_line(series, mark))
            .collect(),
        impossible: series
            .impossible
            .iter()
            .rev()
            .take(CHANGES)
            .map(|found| impossible_line(series, found))
            .collect(),
        more_impossible: series.impossible.len().saturating_sub(CHANGES),
        changed: all_changed().take(CHANGES).map(changed).collect(),
        more_changed: all_changed().count().saturating_sub(CHANGES),
    }
}

fn shift(library: &Library<'_>, series: &Series, change: &LocatedChange) -> ShiftLine {
    let level = |level| part::number(level, &series.metric.unit);
    ShiftLine {
        badge: part::change(change.verdict),
        effect: change.ratio.as_ref().map(judged::effect),
        before: level(&change.before),
        after: level(&change.after),
        last_before: spot(library, series, &change.last_before),
        first_after: spot(library, series, &change.first_after),
        machine: change
            .machine
            .iter()
            .take(CHANGES)
            .map(change_line)
            .collect(),
        more: change.machine.len().saturating_sub(CHANGES),
        gradual: change.gradual,
        mark: change
            .mark
            .as_ref()
            .map_or(String::new(), |mark| cell(&mark.to_string())),
    }
}

fn spot(library: &Library<'_>, series: &Series, spot: &Spot) -> SpotView {
    let of = (&*series.key.suite, &*series.key.machine);
    SpotView {
        run: part::run_link(&spot.run),
        at: part::started_at(library, of, spot.started),
        commit: part::commit(library, spot.commit.as_deref(), spot.dirty),
    }
}

fn confirmed_line(
    library: &Library<'_>,
    history: &CaseHistory,
    one: &Confirmed,
    stands: bool,
) -> ConfirmedLine {
    let end = |run: &RunId| finding::end(library, run);
    let mark = one.accepted_by(history);
    let at = mark.and_then(|mark| mark.place(&history.series.points));
    ConfirmedLine {
        effect: one.case.ratio.as_ref().map(judged::effect),
        night: end(&one.night),
        reference: one.reference.as_ref().and_then(end),
        stands,
        is_back_once: stands && one.is_back_once(history),
        is_gone: library.is_gone(&history.series.key) && one.stands(history),
        accepted: mark.map_or(String::new(), |mark| cell(&mark.to_string())),
        accepted_at: at.and_then(|at| end(&history.series.points[at].run)),
    }
}

fn mark_line(series: &Series, mark: &Mark) -> MarkLine {
    MarkLine {
        words: cell(&mark.to_string()),
        at: cell(mark.at().unwrap_or_default()),
        is_placed: mark.place(&series.points).is_some(),
    }
}

fn impossible_line(series: &Series, found: &Impossible) -> ImpossibleLine {
    ImpossibleLine {
        run: part::run_link(&found.run),
        at: part::when(found.started),
        value: part::number(&found.estimate, &series.metric.unit),
        why: judged::sentence(&clip(&found.why, 400)),
    }
}

fn change_line(change: &Change) -> ChangeLine {
    ChangeLine {
        field: cell(&change.field),
        before: cell(&change.before),
        after: cell(&change.after),
    }
}

fn changed(point: &Point) -> Changed {
    Changed {
        run: part::run_link(&point.run),
        at: point.started.minute(),
        changes: point
            .changes
            .iter()
            .take(CHANGES)
            .map(change_line)
            .collect(),
        more: point.changes.len().saturating_sub(CHANGES),
    }
}
