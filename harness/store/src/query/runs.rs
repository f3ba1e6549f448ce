//! Runs, and where their records lie.

use std::collections::BTreeMap;

use assay_record::{Purpose, RunId, Shared};
use duckdb::{Row, params};

use super::{Fault, Places, json, named, time};
use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;
use crate::rows::{EventRow, RecordRow, RunRow};

const COLUMNS: &str = "run, suite, manifest, started, finished, status, machine, class, before_fingerprint, after_fingerprint, tool, commit_id, branch, dirty, tags, reproduces, record, purpose, confirms";

impl Store {
    /// Every run, oldest first.
    pub fn runs(&self) -> Result<Shared<Vec<RunRow>>, StoreError> {
        if let Some(known) = self.known_runs() {
            return Ok(known.clone());
        }
        let sql = format!("SELECT {COLUMNS} FROM runs ORDER BY started, run");
        let runs = Shared::from(self.rows(&sql, [], run_row)?);
        Ok(match &self.known {
            Some(known) => known.runs.get_or_init(|| runs).clone(),
            None => runs,
        })
    }

    /// Every run, where they were read already.
    fn known_runs(&self) -> Option<&Shared<Vec<RunRow>>> {
        self.known.as_ref()?.runs.get()
    }

    /// The runs of a machine that measured its ceilings, oldest first.
    pub fn ceilings_runs(&self, machine: &str) -> Result<Vec<RunRow>, StoreError> {
        if let Some(runs) = self.known_runs() {
            let is_meant =
                |row: &&RunRow| row.purpose == Purpose::Ceilings && row.machine == machine;
            return Ok(runs.iter().filter(is_meant).cloned().collect());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE purpose = 'ceilings' AND machine = ? ORDER BY started, run"
        );
        self.rows(&sql, params![machine], run_row)
    }

    /// One run.
    pub fn run(&self, run: &RunId) -> Result<RunRow, StoreError> {
        let found = if let Some(runs) = self.known_runs() {
            runs.iter().find(|row| row.run == *run).cloned()
        } else {
            let sql = format!("SELECT {COLUMNS} FROM runs WHERE run_key = ?");
            self.rows(&sql, params![run_key(run)], run_row)?.pop()
        };
        found.ok_or_else(|| StoreError::UnknownRun {
            name: run.to_string(),
            hint: format!(
                "{} does not hold it; ingest its record",
                self.path.display()
            ),
        })
    }

    /// What happened during a run, in order.
    pub fn events(&self, run: &RunId) -> Result<Vec<EventRow>, StoreError> {
        let mut found = self.events_of(std::slice::from_ref(run))?;
        Ok(found.pop().unwrap_or_default())
    }

    /// What happened during each of some runs.
    pub fn events_of(&self, runs: &[RunId]) -> Result<Vec<Vec<EventRow>>, StoreError> {
        let read = |runs: &_| self.read_events(runs);
        match &self.known {
            Some(known) => known.events.each(runs, read),
            None => read(runs),
        }
    }

    fn read_events(&self, runs: &[RunId]) -> Result<Vec<Vec<EventRow>>, StoreError> {
        let places = Places::of(runs);
        let mut events = vec![Vec::new(); runs.len()];
        let sql = format!(
            "SELECT run_key, at_ns, kind, message, case_id FROM events WHERE run_key IN ({}) ORDER BY event",
            places.listed()
        );
        self.rows(&sql, [], |row| {
            events[places.at(row.get(0)?)?].push(EventRow {
                at: time(row.get(1)?)?,
                kind: named(row.get(2)?)?,
                text: row.get(3)?,
                case: row.get(4)?,
            });
            Ok(())
        })?;
        Ok(events)
    }

    /// Hash of the last line of each run's record, as far as it was ingested: the same hash, the same content.
    pub fn heads(&self) -> Result<BTreeMap<RunId, String>, StoreError> {
        let heads = self.rows("SELECT run, head FROM runs", [], |row| {
            Ok((row.get::<_, String>(0)?.parse()?, row.get(1)?))
        })?;
        Ok(heads.into_iter().collect())
    }

    /// Where the record of each run lay when it was ingested; oldest run first.
    pub fn records(&self) -> Result<Vec<RecordRow>, StoreError> {
        let sql = "SELECT run, status, record FROM runs ORDER BY started, run";
        self.rows(sql, [], |row| {
            Ok(RecordRow {
                run: row.get::<_, String>(0)?.parse()?,
                status: named(row.get(1)?)?,
                record: row.get(2)?,
            })
        })
    }
}

fn run_row(row: &Row<'_>) -> Result<RunRow, Fault> {
    let finished: Option<i64> = row.get(4)?;
    let after: Option<String> = row.get(9)?;
    let reproduces: Option<String> = row.get(15)?;
    Ok(RunRow {
        run: row.get::<_, String>(0)?.parse()?,
        suite: row.get(1)?,
        manifest: row.get::<_, String>(2)?.parse()?,
        started: time(row.get(3)?)?,
        finished: finished.map(time).transpose()?,
        status: named(row.get(5)?)?,
        machine: row.get(6)?,
        class: row.get::<_, String>(7)?.parse()?,
        before: row.get::<_, String>(8)?.parse()?,
        after: after.map(|digest| digest.parse()).transpose()?,
        tool: row.get(10)?,
        commit: row.get(11)?,
        branch: row.get(12)?,
        dirty: row.get(13)?,
        tags: json(row, 14)?,
        reproduces: reproduces.map(|run| run.parse()).transpose()?,
        record: row.get(16)?,
        purpose: purpose(&row.get::<_, String>(17)?, row.get(18)?)?,
    })
}

fn purpose(name: &str, confirms: Option<String>) -> Result<Purpose, Fault> {
    match (name, confirms) {
        ("measurement", None) => Ok(Purpose::Measurement),
        ("calibration", None) => Ok(Purpose::Calibration),
        ("ceilings", None) => Ok(Purpose::Ceilings),
        ("confirmation", Some(of)) => Ok(Purpose::Confirmation { of: of.parse()? }),
        (other, _) => Err(format!("`{other}` is no purpose of a run").into()),
    }
}
