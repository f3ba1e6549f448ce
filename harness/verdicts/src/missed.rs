//! Runs in which a case gave no right result: in a history they are no points, and no nights on which nothing was tried either.

use std::collections::BTreeMap;

use assay_record::{BlockStatus, RunId, Timestamp};
use assay_store::{MissedRow, RunRow, SeriesKey, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::CaseState;

/// A run in which a case failed, was wrong, or was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The run.
    pub run: RunId,
    /// When it started.
    pub started: Timestamp,
    /// Commit of the measured project.
    pub commit: Option<String>,
    /// Whether its tree had changes.
    pub dirty: bool,
    /// How it went.
    pub state: CaseState,
}

/// What was missed, by what makes the series of a case but for the metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllMissed(BTreeMap<SeriesKey, Vec<Missed>>);

impl AllMissed {
    /// Of runs that belong to histories, oldest first.
    pub fn of(store: &Store) -> Result<Self, StoreError> {
        let runs = store.runs()?;
        let by_id: BTreeMap<&RunId, &RunRow> = runs.iter().map(|row| (&row.run, row)).collect();
        let mut all: BTreeMap<SeriesKey, Vec<Missed>> = BTreeMap::new();
        for row in store.missed()? {
            let run = by_id.get(&row.run).copied();
            let counts = |run: &&RunRow| run.reproduces.is_none() && run.purpose.is_measurement();
            if let Some(run) = run.filter(counts) {
                let missed = all.entry(place(&row, run)).or_default();
                missed.push(one(row, run));
            }
        }
        Ok(Self(all))
    }

    /// What was missed in a series, oldest first.
    pub fn of_series(&self, key: &SeriesKey) -> &[Missed] {
        let place = SeriesKey {
            metric: String::new(),
            ..key.clone()
        };
        self.0.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Puts a run among them.
    pub fn add(&mut self, key: &SeriesKey, missed: Missed) {
        let place = SeriesKey {
            metric: String::new(),
            ..key.clone()
        };
        self.0.entry(place).or_default().push(missed);
    }
}

fn place(row: &MissedRow, run: &RunRow) -> SeriesKey {
    SeriesKey {
        suite: run.suite.clone(),
        case: row.case.clone(),
        metric: String::new(),
        timing: row.timing,
        definition: row.definition,
        machine: run.machine.clone(),
        arm: row.arm.clone(),
    }
}

fn one(row: MissedRow, run: &RunRow) -> Missed {
    Missed {
        started: run.started,
        commit: run.commit.clone(),
        dirty: run.dirty,
        run: row.run,
        state: match row.status {
            BlockStatus::Ok => CaseState::Ok,
            BlockStatus::Skipped(why) => CaseState::Skipped(why),
            BlockStatus::Failed(why) => CaseState::Failed(why),
            BlockStatus::Wrong(why) => CaseState::Wrong(why),
        },
    }
}
