//! Series: histories of cases, read in bulk with two statements whatever their number.

use std::collections::HashMap;

use assay_protocol::{Metric, Work};
use assay_record::RunId;
use duckdb::{Row, params};

use super::{Fault, json, named};
use crate::Store;
use crate::error::StoreError;
use crate::rows::{SeriesKey, SeriesRow};

/// What all metrics of one series have in common.
struct Group {
    key: SeriesKey,
    work: Work,
    metrics: Vec<Metric>,
}

impl Store {
    /// Every series with at least one point, in the order of their keys.
    ///
    /// A point has the values of the rounds that count: failed, wrong and skipped ones never do. Metric and work are
    /// those of the last run.
    pub fn series(&self) -> Result<Vec<SeriesRow>, StoreError> {
        self.series_where(None)
    }

    /// The series of one case, on every machine and arm, of every metric.
    pub fn series_of_case(&self, case: &str) -> Result<Vec<SeriesRow>, StoreError> {
        self.series_where(Some(case))
    }

    fn series_where(&self, case: Option<&str>) -> Result<Vec<SeriesRow>, StoreError> {
        let groups = self.groups(case)?;
        let runs = self.rows("SELECT run_key, run FROM runs", [], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?.parse()?))
        })?;
        let runs: HashMap<i64, RunId> = runs.into_iter().collect();
        let mut gathered = Gathered {
            groups: &groups,
            runs: &runs,
            series: Vec::new(),
            at: None,
        };
        let sql = "SELECT c.series, c.run_key, v.metric, v.number
                   FROM round_values v JOIN results b USING (run_key, block) JOIN cases c USING (run_key, case_no, arm_no) JOIN runs r USING (run_key)
                   WHERE b.counts AND (?1 IS NULL OR c.case_id = ?1)
                   ORDER BY c.series, v.metric, r.started, r.run, b.round";
        self.rows(sql, params![case], |row| gathered.add(row))?;
        let mut series = gathered.series;
        series.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(series)
    }

    fn groups(&self, case: Option<&str>) -> Result<HashMap<i64, Group>, StoreError> {
        // A run that never came to a case declares nothing of it; the last that did is asked.
        let sql = "SELECT c.series, any_value(r.suite), any_value(c.case_id), any_value(c.timing), any_value(c.definition), any_value(r.machine), any_value(c.arm),
                          arg_max(c.work, r.run), arg_max(c.metrics, r.run)
                   FROM cases c JOIN runs r USING (run_key)
                   WHERE (?1 IS NULL OR c.case_id = ?1)
                         AND EXISTS (SELECT 1 FROM results b WHERE b.run_key = c.run_key AND b.case_no = c.case_no AND b.arm_no = c.arm_no AND b.counts)
                   GROUP BY c.series";
        let groups = self.rows(sql, params![case], |row| Ok((row.get(0)?, group(row)?)))?;
        Ok(groups.into_iter().collect())
    }
}

fn group(row: &Row<'_>) -> Result<Group, Fault> {
    let mut metrics = vec![Metric::time()];
    metrics.extend(json::<Vec<Metric>>(row, 8)?);
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
        metrics,
    })
}

/// Rows in order of series and metric, becoming series.
struct Gathered<'a> {
    groups: &'a HashMap<i64, Group>,
    runs: &'a HashMap<i64, RunId>,
    series: Vec<SeriesRow>,
    /// Group and run of the last row.
    at: Option<(i64, i64)>,
}

impl Gathered<'_> {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        let (group, run): (i64, i64) = (row.get(0)?, row.get(1)?);
        let metric = row.get_ref(2)?.as_str()?;
        let is_same = |(last, _): (i64, i64)| last == group;
        let last = self
            .series
            .last()
            .filter(|last| self.at.is_some_and(is_same) && last.key.metric == metric);
        if last.is_none() {
            // A metric that the last run no longer declares has no unit any more: it is left out.
            let Some(begun) = self.begin(group, metric)? else {
                return Ok(());
            };
            self.series.push(begun);
            self.at = None;
        }
        let Some(series) = self.series.last_mut() else {
            return Ok(());
        };
        if self.at != Some((group, run)) {
            let id = self.runs.get(&run).ok_or("a round of no run")?;
            series.points.push((id.clone(), Vec::new()));
            self.at = Some((group, run));
        }
        if let Some((_, values)) = series.points.last_mut() {
            values.push(row.get(3)?);
        }
        Ok(())
    }

    fn begin(&self, group: i64, metric: &str) -> Result<Option<SeriesRow>, Fault> {
        let group = self.groups.get(&group).ok_or("a round of no case")?;
        let found = group.metrics.iter().find(|have| have.name == metric);
        Ok(found.map(|found| SeriesRow {
            key: SeriesKey {
                metric: metric.into(),
                ..group.key.clone()
            },
            metric: found.clone(),
            work: group.work.clone(),
            points: Vec::new(),
        }))
    }
}
