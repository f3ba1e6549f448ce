//! A series as JSON: what `assay history --json` prints, its points by the column, since a history has thousands and a name for
//! each of their values would be most of the file.

use std::borrow::Cow;

use assay_record::RunId;
use assay_verdicts::{CaseHistory, Change, Impossible, LocatedChange, Mark, Point};
use serde::Serialize;
use serde::ser::Serializer;

use super::{SCHEMA, json};
use crate::address;
use crate::error::ReportError;
use crate::model::Library;

#[derive(Serialize)]
struct Download<'a> {
    schema: u32,
    made_by: &'static str,
    key: &'a assay_store::SeriesKey,
    metric: &'a assay_protocol::Metric,
    work: &'a assay_protocol::Work,
    points: Columns<'a>,
    machine_changes: Vec<At<'a>>,
    impossible: &'a [Impossible],
    changes: &'a [LocatedChange],
    marks: &'a [Mark],
}

/// All points, oldest first: entry `i` of each list is of point `i`.
#[derive(Serialize)]
struct Columns<'a> {
    run: Column<'a, &'a RunId>,
    started: Moments<'a>,
    commit: Column<'a, Option<&'a str>>,
    /// Numbers of the points whose tree had changes.
    dirty: Vec<usize>,
    estimate: Column<'a, f64>,
    /// Absent where it is the estimate.
    low: Column<'a, Option<f64>>,
    /// Likewise.
    high: Column<'a, Option<f64>>,
    confidence: Column<'a, f64>,
    rounds: Column<'a, u32>,
}

/// One value of every point.
struct Column<'a, T>(&'a [Point], fn(&'a Point) -> T);

/// When the run of every point started.
struct Moments<'a>(&'a Library<'a>, &'a [Point]);

impl Serialize for Moments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut origins = self.0.origins.walk();
        let moment = |point: &Point| match origins.of(point) {
            Some(known) => Cow::Borrowed(known.started.as_str()),
            None => Cow::Owned(point.started.to_string()),
        };
        serializer.collect_seq(self.1.iter().map(moment))
    }
}

impl<T: Serialize> Serialize for Column<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

/// An end of an interval that has a length.
fn other(point: &Point, end: f64) -> Option<f64> {
    let is_other = end.to_bits() != point.estimate.estimate.to_bits();
    is_other.then_some(end)
}

/// What differs on the machine from the point before.
#[derive(Serialize)]
struct At<'a> {
    point: usize,
    changes: &'a [Change],
}

/// The file.
pub fn render(library: &Library<'_>, history: &CaseHistory) -> Result<String, ReportError> {
    let series = &history.series;
    let points = &series.points[..];
    let numbered = || points.iter().enumerate();
    let changed = numbered().filter(|(_, point)| !point.changes.is_empty());
    let dirty = numbered().filter(|(_, point)| point.dirty);
    let download = Download {
        schema: SCHEMA,
        made_by: concat!("assay ", env!("CARGO_PKG_VERSION")),
        key: &series.key,
        metric: &series.metric,
        work: &series.work,
        points: Columns {
            run: Column(points, |point| &point.run),
            started: Moments(library, points),
            commit: Column(points, |point| point.commit.as_deref()),
            dirty: dirty.map(|(at, _)| at).collect(),
            estimate: Column(points, |point| point.estimate.estimate),
            low: Column(points, |point| other(point, point.estimate.low)),
            high: Column(points, |point| other(point, point.estimate.high)),
            confidence: Column(points, |point| point.estimate.confidence),
            rounds: Column(points, |point| point.rounds),
        },
        machine_changes: changed
            .map(|(point, found)| At {
                point,
                changes: &found.changes,
            })
            .collect(),
        impossible: &series.impossible,
        changes: &history.changes,
        marks: &history.marks,
    };
    json(&address::series(&series.key), &download)
}
