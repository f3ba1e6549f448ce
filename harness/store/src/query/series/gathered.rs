//! Values of runs, as they come and by their series.

use assay_protocol::{Metric, Work};
use assay_record::{RunId, Shared};
use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use crate::rows::{Limited, Points, SeriesKey, SeriesRow};

/// A run, and what its record ends with: the same text, the same values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub run: RunId,
    pub head: String,
}

/// What all metrics of one series have in common, as the last run has it that declared it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Without the metric.
    pub key: SeriesKey,
    pub work: Work,
    pub limited: Limited,
    pub metrics: Vec<Metric>,
    pub declared_by: RunId,
}

/// A value of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// Number of its run.
    pub run: u32,
    pub round: u32,
    pub number: f64,
}

/// Values of one metric of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub metric: String,
    pub values: Vec<Value>,
}

/// All that some runs have of series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// By their starts.
    pub runs: Vec<Origin>,
    /// By the keys of series.
    pub groups: HashMap<i64, Group>,
    /// Likewise. A metric that the last run no longer declares has no unit any more, but a later run may declare it again.
    pub columns: HashMap<i64, Vec<Column>>,
}

impl Gathered {
    /// Adds what a run says of a series; of several the last in the order of their names counts.
    pub fn declare(&mut self, series: i64, group: Group) {
        let known = self.groups.get(&series);
        if known.is_none_or(|known| known.declared_by < group.declared_by) {
            self.groups.insert(series, group);
        }
    }

    /// Adds a value.
    pub fn add(&mut self, series: i64, metric: &str, value: Value) {
        let columns = self.columns.entry(series).or_default();
        match columns.iter_mut().find(|column| column.metric == metric) {
            Some(column) => column.values.push(value),
            None => columns.push(Column {
                metric: metric.to_owned(),
                values: vec![value],
            }),
        }
    }

    /// Puts the values of each series into the order of their runs and rounds.
    pub fn sort(&mut self) {
        for column in self.columns.values_mut().flatten() {
            let place = |value: &Value| (value.run, value.round);
            if !column.values.is_sorted_by_key(place) {
                column.values.sort_unstable_by_key(place);
            }
        }
    }

    /// What makes each series, in order.
    pub fn keys(self) -> Vec<SeriesKey> {
        let of_group = |group: Group| {
            let metrics = group.metrics.into_iter();
            metrics.map(move |metric| SeriesKey {
                metric: metric.name,
                ..group.key.clone()
            })
        };
        let mut keys: Vec<SeriesKey> = self.groups.into_values().flat_map(of_group).collect();
        keys.sort_unstable();
        keys
    }

    /// The series that have values, in the order of their keys; `None` where something has values that no run declared.
    pub fn into_series(mut self) -> Option<Vec<SeriesRow>> {
        self.sort();
        let runs: Shared<Vec<RunId>> = self.runs.into_iter().map(|origin| origin.run).collect();
        let mut series = Vec::new();
        for (number, columns) in &self.columns {
            let group = self.groups.get(number)?;
            for metric in &group.metrics {
                let column = columns.iter().find(|column| column.metric == metric.name);
                series.extend(column.map(|column| row(group, metric, column, &runs)));
            }
        }
        series.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Some(series)
    }
}

fn row(group: &Group, metric: &Metric, column: &Column, runs: &Shared<Vec<RunId>>) -> SeriesRow {
    let mut points = Points::of(runs.clone(), column.values.len());
    for of_run in column.values.chunk_by(|a, b| a.run == b.run) {
        let numbers = of_run.iter().map(|value| value.number);
        points.push(of_run[0].run, numbers);
    }
    SeriesRow {
        key: SeriesKey {
            metric: metric.name.clone(),
            ..group.key.clone()
        },
        metric: metric.clone(),
        work: group.work.clone(),
        limited: group.limited.clone(),
        points,
    }
}
