//! Series: histories of cases, read in bulk with two statements whatever their number; where all are asked for, of the runs alone
//! that were not read before (`kept`).

mod gathered;
mod kept;

pub use kept::{Identity, path as kept_series};
use std::collections::HashSet;

use assay_protocol::Metric;
use assay_record::RunId;
use duckdb::arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};
use duckdb::{Row, params_from_iter};

use self::gathered::{Gathered, Group, Origin, Value};
use super::cases::bound;
use super::{Fault, Places, column, json, named};
use crate::Store;
use crate::error::StoreError;
use crate::rows::{Limited, SeriesKey, SeriesRow};

/// From how many runs on that are not among those that were kept, all are kept anew.
const WORTH: usize = 16;

impl Store {
    /// What makes each series, of all that were ever measured, whether they have points or not; in order.
    pub fn series_keys(&self) -> Result<Vec<SeriesKey>, StoreError> {
        let mut found = Gathered::default();
        self.add_groups(&mut found, "cases", Which::default())?;
        Ok(found.keys())
    }

    /// Every series with at least one point, in the order of their keys.
    ///
    /// A point has the values of the rounds that count: failed, wrong and skipped ones never do. Metric and work are
    /// those of the last run.
    pub fn series(&self) -> Result<Vec<SeriesRow>, StoreError> {
        if self.known.is_none() {
            return self.series_where(Which::default());
        }
        let (runs, numbers) = self.origins()?;
        let mut found = kept::read(&self.path, &runs).unwrap_or_default();
        let old: HashSet<&RunId> = found.runs.iter().map(|origin| &origin.run).collect();
        let all = runs.iter().map(|origin| &origin.run);
        let new: Vec<RunId> = all.filter(|run| !old.contains(run)).cloned().collect();
        let is_first = old.is_empty();
        found.runs = runs;
        let [cases, values] = if is_first {
            ["cases", "round_values"].map(str::to_owned)
        } else {
            let of_new = Places::of(&new);
            [
                self.rows_of("cases", &of_new)?,
                self.rows_of("round_values", &of_new)?,
            ]
        };
        if !new.is_empty() {
            self.add_groups(&mut found, &cases, Which::default())?;
            self.add_values(&mut found, &values, &numbers, Which::default())?;
        }
        // To write all of it takes longer than to read a few runs once more.
        if is_first || new.len() >= WORTH {
            kept::write(&self.path, &mut found);
        }
        self.put_together(found)
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
        let (runs, numbers) = self.origins()?;
        let mut found = Gathered {
            runs,
            ..Gathered::default()
        };
        self.add_groups(&mut found, "cases", which)?;
        self.add_values(&mut found, "round_values", &numbers, which)?;
        self.put_together(found)
    }

    fn put_together(&self, found: Gathered) -> Result<Vec<SeriesRow>, StoreError> {
        let series = found.into_series();
        series.ok_or_else(|| self.fault("a round of no case".into()))
    }

    /// Every run by its start, and its number by its key.
    fn origins(&self) -> Result<(Vec<Origin>, Numbers), StoreError> {
        let sql = "SELECT run_key, run, head FROM runs ORDER BY started, run";
        let runs: Vec<(i64, Origin)> = self.rows(sql, [], |row| {
            let origin = Origin {
                run: row.get::<_, String>(1)?.parse()?,
                head: row.get(2)?,
            };
            Ok((row.get(0)?, origin))
        })?;
        let numbers = runs.iter().map(|(key, _)| *key).zip(0..).collect();
        Ok((runs.into_iter().map(|(_, run)| run).collect(), numbers))
    }

    /// Adds the values in some rows of `round_values`.
    fn add_values(
        &self,
        found: &mut Gathered,
        rows: &str,
        numbers: &Numbers,
        which: Which<'_>,
    ) -> Result<(), StoreError> {
        // To look for the series of a place takes longer than to read the values of a night: not where all are asked for.
        let among = if which.is_all() {
            ""
        } else {
            "AND series IN (
                 SELECT c.series FROM cases c JOIN runs r USING (run_key)
                 WHERE (?1 IS NULL OR c.case_id = ?1) AND (?2 IS NULL OR r.suite = ?2) AND (?3 IS NULL OR r.machine = ?3))"
        };
        let sql = format!(
            "SELECT series, run_key, metric, round, number FROM {rows} WHERE counts {among}"
        );
        let params = which.params();
        let params = if which.is_all() { &[] } else { &params[..] };
        self.batches(&sql, params_from_iter(params), |batch| {
            let of_series: &Int64Array = column(batch, 0)?;
            let keys: &Int64Array = column(batch, 1)?;
            let metrics: &StringArray = column(batch, 2)?;
            let rounds: &Int32Array = column(batch, 3)?;
            let values: &Float64Array = column(batch, 4)?;
            // Rows of one run lie together.
            let mut last = None;
            for row in 0..batch.num_rows() {
                let key = keys.value(row);
                let known = last.filter(|(of, _)| *of == key).map(|(_, run)| run);
                let run = known.or_else(|| numbers.get(&key).copied());
                let run = run.ok_or("a round of no run")?;
                last = Some((key, run));
                let value = Value {
                    run,
                    round: rounds.value(row).try_into()?,
                    number: values.value(row),
                };
                found.add(of_series.value(row), metrics.value(row), value);
            }
            Ok(())
        })
    }

    /// Adds what series are, as some rows of `cases` have it.
    fn add_groups(
        &self,
        found: &mut Gathered,
        rows: &str,
        which: Which<'_>,
    ) -> Result<(), StoreError> {
        // A run that never came to a case declares nothing of it; the last that did is asked. Numbers find it: of texts, what
        // all runs have in common would be read for every one of them.
        let sql = format!(
            "WITH numbered AS (
                 SELECT run_key, run, suite, machine, row_number() OVER (ORDER BY run) AS number FROM runs),
             newest AS (
                 SELECT c.series, max(n.number) AS number FROM {rows} c JOIN numbered n USING (run_key)
                 WHERE c.declared AND (?1 IS NULL OR c.case_id = ?1) AND (?2 IS NULL OR n.suite = ?2) AND (?3 IS NULL OR n.machine = ?3)
                 GROUP BY c.series)
             SELECT c.series, n.suite, c.case_id, c.timing, c.definition, n.machine, c.arm, c.work, c.metrics, c.device, c.memory_level, c.arithmetic_unit, c.clock_resolution_ns, n.run
             FROM newest JOIN numbered n USING (number) JOIN {rows} c ON c.run_key = n.run_key AND c.series = newest.series"
        );
        let groups = self.rows(&sql, which.params(), |row| Ok((row.get(0)?, group(row)?)))?;
        for (series, group) in groups {
            found.declare(series, group);
        }
        Ok(())
    }
}

/// Numbers of runs, by their keys.
type Numbers = foldhash::HashMap<i64, u32>;

/// Which series are asked for: those that have all that is given.
#[derive(Clone, Copy, Default)]
struct Which<'a> {
    case: Option<&'a str>,
    suite: Option<&'a str>,
    machine: Option<&'a str>,
}

impl<'a> Which<'a> {
    fn is_all(self) -> bool {
        self.params() == [None; 3]
    }

    /// Parameters 1 to 3 of a statement.
    fn params(self) -> [Option<&'a str>; 3] {
        [self.case, self.suite, self.machine]
    }
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
        metrics: metrics.collect(),
        declared_by: row.get::<_, String>(13)?.parse()?,
    })
}
