//! Series: histories of cases, read in bulk with two statements whatever their number.

use std::collections::HashMap;

use assay_protocol::{Metric, Work};
use assay_record::RunId;
use duckdb::Row;
use duckdb::arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

use super::cases::bound;
use super::{Fault, column, json, named};
use crate::Store;
use crate::error::StoreError;
use crate::rows::{Limited, SeriesKey, SeriesRow};

impl Store {
    /// What makes each series, of all that were ever measured, whether they have points or not; in order.
    pub fn series_keys(&self) -> Result<Vec<SeriesKey>, StoreError> {
        let groups = self.groups(Which::default())?.into_values();
        let mut keys: Vec<SeriesKey> = groups.flat_map(Group::keys).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Every series with at least one point, in the order of their keys.
    ///
    /// A point has the values of the rounds that count: failed, wrong and skipped ones never do. Metric and work are
    /// those of the last run.
    pub fn series(&self) -> Result<Vec<SeriesRow>, StoreError> {
        self.series_where(Which::default())
    }

    /// The series of one case, on every machine and arm, of every metric.
    pub fn series_of_case(&self, case: &str) -> Result<Vec<SeriesRow>, StoreError> {
        self.series_where(Which {
            case: Some(case),
            ..Which::default()
        })
    }

    /// The series of one suite on one machine.
    pub fn series_of_place(
        &self,
        suite: &str,
        machine: &str,
    ) -> Result<Vec<SeriesRow>, StoreError> {
        self.series_where(Which {
            suite: Some(suite),
            machine: Some(machine),
            ..Which::default()
        })
    }

    fn series_where(&self, which: Which<'_>) -> Result<Vec<SeriesRow>, StoreError> {
        let runs: Vec<(i64, RunId)> = self.rows(
            "SELECT run_key, run FROM runs ORDER BY started, run",
            [],
            |row| Ok((row.get(0)?, row.get::<_, String>(1)?.parse()?)),
        )?;
        let order: HashMap<i64, usize> = runs.iter().map(|(key, _)| *key).zip(0..).collect();
        let mut groups = self.groups(which)?;
        let sql = "SELECT series, run_key, metric, round, number FROM round_values
                   WHERE counts AND ((?1 IS NULL AND ?2 IS NULL AND ?3 IS NULL) OR series IN (
                       SELECT c.series FROM cases c JOIN runs r USING (run_key)
                       WHERE (?1 IS NULL OR c.case_id = ?1) AND (?2 IS NULL OR r.suite = ?2) AND (?3 IS NULL OR r.machine = ?3)))";
        self.batches(sql, which.params(), |batch| {
            let of_series: &Int64Array = column(batch, 0)?;
            let keys: &Int64Array = column(batch, 1)?;
            let metrics: &StringArray = column(batch, 2)?;
            let rounds: &Int32Array = column(batch, 3)?;
            let numbers: &Float64Array = column(batch, 4)?;
            for row in 0..batch.num_rows() {
                let group = groups.get_mut(&of_series.value(row));
                let group = group.ok_or("a round of no case")?;
                let run = *order.get(&keys.value(row)).ok_or("a round of no run")?;
                let round = rounds.value(row).try_into()?;
                group.add(metrics.value(row), (run, round, numbers.value(row)));
            }
            Ok(())
        })?;
        let mut series: Vec<SeriesRow> = groups
            .into_values()
            .flat_map(|group| group.into_series(&runs))
            .collect();
        series.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(series)
    }

    fn groups(&self, which: Which<'_>) -> Result<HashMap<i64, Group>, StoreError> {
        // A run that never came to a case declares nothing of it; the last that did is asked. Numbers find it: of texts, what
        // all runs have in common would be read for every one of them.
        let sql = "WITH numbered AS (
                       SELECT run_key, suite, machine, row_number() OVER (ORDER BY run) AS number FROM runs),
                   newest AS (
                       SELECT c.series, max(n.number) AS number FROM cases c JOIN numbered n USING (run_key)
                       WHERE c.declared AND (?1 IS NULL OR c.case_id = ?1) AND (?2 IS NULL OR n.suite = ?2) AND (?3 IS NULL OR n.machine = ?3)
                       GROUP BY c.series)
                   SELECT c.series, n.suite, c.case_id, c.timing, c.definition, n.machine, c.arm, c.work, c.metrics, c.device, c.memory_level, c.arithmetic_unit, c.clock_resolution_ns
                   FROM newest JOIN numbered n USING (number) JOIN cases c ON c.run_key = n.run_key AND c.series = newest.series";
        let groups = self.rows(sql, which.params(), |row| Ok((row.get(0)?, group(row)?)))?;
        Ok(groups.into_iter().collect())
    }
}

/// Which series are asked for: those that have all that is given.
#[derive(Clone, Copy, Default)]
struct Which<'a> {
    case: Option<&'a str>,
    suite: Option<&'a str>,
    machine: Option<&'a str>,
}

impl<'a> Which<'a> {
    /// Parameters 1 to 3 of a statement.
    fn params(self) -> [Option<&'a str>; 3] {
        [self.case, self.suite, self.machine]
    }
}

/// A value of one metric: place of its run in time, round, number.
type Value = (usize, u32, f64);

/// What all metrics of one series have in common, and their values in any order.
struct Group {
    key: SeriesKey,
    work: Work,
    limited: Limited,
    metrics: Vec<(Metric, Vec<Value>)>,
}

fn group(row: &Row<'_>) -> Result<Group, Fault> {
    let declared: Vec<Metric> = json(row, 8)?;
    let metrics = std::iter::once(Metric::time()).chain(declared);
    Ok(Group {
        key: SeriesKey {
            suite: row.get(1)?,
            case: row.get(2)?,
            metric: String::new(),
            timing: named(row.get(3)?)?,
            definition: row.get::<_, String>(4)?.parse()?,
            machine: row.get(5)?,
            arm: row.get(6)?,
        },
        work: json(row, 7)?,
        limited: Limited {
            device: row.get(9)?,
            bound: bound(row.get(10)?, row.get(11)?)?,
            clock_resolution_ns: row.get(12)?,
        },
        metrics: metrics.map(|metric| (metric, Vec::new())).collect(),
    })
}

impl Group {
    /// A metric that the last run no longer declares has no unit any more: it is left out.
    fn add(&mut self, metric: &str, value: Value) {
        let values = self
            .metrics
            .iter_mut()
            .find(|(have, _)| have.name == metric);
        if let Some((_, values)) = values {
            values.push(value);
        }
    }

    fn keys(self) -> impl Iterator<Item = SeriesKey> {
        let key = self.key;
        self.metrics.into_iter().map(move |(metric, _)| SeriesKey {
            metric: metric.name,
            ..key.clone()
        })
    }

    fn into_series(self, runs: &[(i64, RunId)]) -> impl Iterator<Item = SeriesRow> {
        let (key, work, limited) = (self.key, self.work, self.limited);
        let observed = self
            .metrics
            .into_iter()
            .filter(|(_, values)| !values.is_empty());
        observed.map(move |(metric, values)| SeriesRow {
            key: SeriesKey {
                metric: metric.name.clone(),
                ..key.clone()
            },
            metric,
            work: work.clone(),
            limited: limited.clone(),
            points: points(values, runs),
        })
    }
}

/// Values by run, oldest first, and by round.
fn points(mut values: Vec<Value>, runs: &[(i64, RunId)]) -> Vec<(RunId, Vec<f64>)> {
    values.sort_unstable_by_key(|(run, round, _)| (*run, *round));
    values
        .chunk_by(|a, b| a.0 == b.0)
        .map(|of_run| {
            let numbers = of_run.iter().map(|(_, _, number)| *number).collect();
            (runs[of_run[0].0].1.clone(), numbers)
        })
        .collect()
}
