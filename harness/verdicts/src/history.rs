//! The history of a case as it is read: a series, where it changed, and what people said of that.
//!
//! One value for terminal and pages. Changes are looked for in the runs' estimates, on logarithms where all are
//! positive, so that a change is a ratio. Where a change lies is an interval of runs, and so a range of commits.

mod step;

use std::iter::once;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use assay_record::{Day, RunId, Shared, Timestamp};
use assay_stats::{ChangePoint, Interval, Position, Rules, change_points};
use assay_store::{SeriesRow, Store, StoreError};
use serde::{Deserialize, Serialize};

use self::step::Step;
use crate::Verdict;
use crate::marks::{Mark, Marks};
use crate::series::{Change, Drawing, Point, Series};

/// A series with its changes and marks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseHistory {
    /// The series.
    pub series: Series,
    /// Where it changed, oldest first.
    pub changes: Vec<LocatedChange>,
    /// The marks on it that are in force.
    pub marks: Vec<Mark>,
}

/// A lasting change of a series' level, and where it lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocatedChange {
    /// Number of the point that is most likely the first after it.
    pub index: usize,
    /// The last run that is surely before it.
    pub last_before: Spot,
    /// The first run that surely is after it.
    pub first_after: Spot,
    /// Level before, in the metric's unit: the median of the runs since the change before this one, with its interval. The intervals
    /// take runs to be independent; runs that resemble their neighbours know less than that.
    pub before: Interval,
    /// Level after, of the runs up to the next change.
    pub after: Interval,
    /// `after` over `before`; absent where a ratio says nothing.
    pub ratio: Option<Interval>,
    /// Regressed or improved; absent for what is too small to matter to anybody, and for a metric that is never judged.
    pub verdict: Option<Verdict>,
    /// How likely noise alone would look so.
    pub p_value: f64,
    /// Whether the level moved over many runs, so that no single commit is to blame.
    pub gradual: bool,
    /// What changed on the machine meanwhile.
    pub machine: Vec<Change>,
    /// What was said of it.
    pub mark: Option<Mark>,
}

/// A run as an end of a range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spot {
    /// Number of its point.
    pub index: usize,
    /// The run.
    pub run: RunId,
    /// When it started.
    pub started: Timestamp,
    /// Commit of the measured project.
    pub commit: Option<Shared<str>>,
    /// Whether its tree had changes.
    pub dirty: bool,
}

impl CaseHistory {
    /// The history of every series of the store, in the order of their keys.
    pub fn all(store: &Store, marks: &Marks, today: Day) -> Result<Vec<Self>, StoreError> {
        Self::of_rows(store, &store.series()?, marks, today)
    }

    /// The histories of series that were read already, in their order.
    pub fn of_rows(
        store: &Store,
        rows: &[SeriesRow],
        marks: &Marks,
        today: Day,
    ) -> Result<Vec<Self>, StoreError> {
        Ok(histories(&Drawing::of(store)?, rows, marks, today))
    }

    /// The histories of one case: each metric, machine, arm and definition.
    pub fn of_case(
        store: &Store,
        case: &str,
        marks: &Marks,
        today: Day,
    ) -> Result<Vec<Self>, StoreError> {
        Self::of_rows(store, &store.series_of_case(case)?, marks, today)
    }

    /// The history of a series.
    pub fn of(series: Series, marks: &Marks, today: Day) -> Self {
        let marks = marks
            .for_case(&series.key.case, &series.key.metric, today)
            .0;
        let marks: Vec<Mark> = marks.into_iter().cloned().collect();
        Self {
            changes: changes(&series, &marks),
            series,
            marks,
        }
    }
}

/// Looking for changes takes longer than reading what they are looked for in: on all cores.
fn histories(drawing: &Drawing, rows: &[SeriesRow], marks: &Marks, today: Day) -> Vec<CaseHistory> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = rows.len().div_ceil(cores).max(1);
    let of_share = |rows| {
        let series = drawing.all(rows).into_iter();
        let histories = series.map(|series| CaseHistory::of(series, marks, today));
        histories.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let of_share = &of_share;
        let started: Vec<_> = rows
            .chunks(share)
            .map(|rows| scope.spawn(move || of_share(rows)))
            .collect();
        let joined = started.into_iter();
        joined
            .flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

fn changes(series: &Series, marks: &[Mark]) -> Vec<LocatedChange> {
    let estimates: Vec<f64> = series
        .points
        .iter()
        .map(|point| point.estimate.estimate)
        .collect();
    let found = change_points(&scaled(&estimates)).unwrap_or_default();
    let cuts = found.iter().map(|change| change.index);
    let ends: Vec<usize> = once(0).chain(cuts).chain([estimates.len()]).collect();
    let sides = ends.windows(3).filter_map(|ends| match *ends {
        [from, cut, to] => Some((estimates.get(from..cut)?, estimates.get(cut..to)?)),
        _ => None,
    });
    found
        .iter()
        .zip(sides)
        .filter_map(|(change, (before, after))| {
            located(series, marks, change, Step::between(before, after)?)
        })
        .collect()
}

/// On what changes are looked for: logarithms, where all are positive.
fn scaled(estimates: &[f64]) -> Vec<f64> {
    if estimates.iter().all(|estimate| *estimate > 0.0) {
        estimates.iter().map(|estimate| estimate.ln()).collect()
    } else {
        estimates.to_vec()
    }
}

fn located(
    series: &Series,
    marks: &[Mark],
    found: &ChangePoint,
    step: Step,
) -> Option<LocatedChange> {
    let points = &series.points;
    let spot = |index: usize| Some(Spot::of(index, points.get(index)?));
    let Step {
        before,
        after,
        ratio,
    } = step;
    let position = if after.estimate > before.estimate {
        Position::Above
    } else {
        Position::Below
    };
    let within = points.get(found.earliest..=found.latest)?;
    let is_there = |mark: &&Mark| {
        mark.place(points)
            .is_some_and(|at| (found.earliest..=found.latest).contains(&at))
    };
    Some(LocatedChange {
        index: found.index,
        last_before: spot(found.earliest.checked_sub(1)?)?,
        first_after: spot(found.latest)?,
        before,
        after,
        ratio,
        verdict: Verdict::of(position, series.metric.direction).filter(|_| matters(ratio.as_ref())),
        p_value: found.p_value,
        gradual: found.gradual,
        machine: within
            .iter()
            .flat_map(|point| point.changes.clone())
            .collect(),
        mark: marks.iter().find(is_there).cloned(),
    })
}

/// Whether a change is as large as those that gates call, and surely one: levels of few or scattered runs may be the same.
fn matters(ratio: Option<&Interval>) -> bool {
    let least = Rules::default().least_effect;
    ratio.is_none_or(|ratio| {
        let is_sure = ratio.low > 1.0 || ratio.high < 1.0;
        is_sure && ratio.estimate.ln().abs() >= least.ln_1p()
    })
}

impl Spot {
    pub(crate) fn of(index: usize, point: &Point) -> Self {
        Self {
            index,
            run: point.run.clone(),
            started: point.started,
            commit: point.commit.clone(),
            dirty: point.dirty,
        }
    }
}
