//! What a run found, case by case.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use assay_protocol::Metric;
use assay_record::{BlockStatus, RunId};
use assay_stats::Interval;
use assay_store::{CaseRow, EventRow, RunRow, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::energy::Energy;
use crate::estimate::{estimate, rates};
use crate::view::trouble;

/// A run and what it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunRow,
    /// Its cases in the order of the suite.
    pub cases: Vec<CaseSummary>,
    /// What happened meanwhile.
    pub events: Vec<EventRow>,
}

/// A case and what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseSummary {
    /// The case with its rounds.
    pub case: CaseRow,
    /// How it went.
    pub state: CaseState,
    /// Per metric of the case.
    pub metrics: Vec<MetricSummary>,
    /// Energy of an iteration, where it was asked for and can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
}

/// How a case went in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "reason", rename_all = "snake_case")]
pub enum CaseState {
    /// Measured and right in every round that counts.
    Ok,
    /// It cannot run here.
    Skipped(String),
    /// No round could be measured, or some failed.
    Failed(String),
    /// An output was wrong: worse than slow.
    Wrong(String),
}

/// One metric of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// What it is.
    pub metric: Metric,
    /// Value of each good round.
    pub rounds: Vec<f64>,
    /// Estimate over the rounds, with its interval; absent with no good round.
    pub estimate: Option<Interval>,
    /// Rates derived from work and time (unit symbol, interval): `B/s`, `FLOP/s`, `items/s`. Only for `time`.
    pub rates: Vec<(String, Interval)>,
}

impl RunSummary {
    /// Summaries of all runs, oldest first; read on all cores.
    pub fn all(store: &Store) -> Result<Vec<Self>, StoreError> {
        let rows = store.runs()?;
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let share = rows.len().div_ceil(workers).max(1);
        let parts = thread::scope(|scope| {
            let read = |store: Store, rows: &[RunRow]| {
                rows.iter()
                    .map(|row| Self::of_row(&store, row.clone()))
                    .collect::<Result<Vec<_>, _>>()
            };
            let started: Vec<_> = rows
                .chunks(share)
                .map(|rows| {
                    Ok(scope.spawn({
                        let store = store.share()?;
                        move || read(store, rows)
                    }))
                })
                .collect::<Result<_, StoreError>>()?;
            let joined = started
                .into_iter()
                .map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            joined.collect::<Result<Vec<_>, _>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Summary of one run.
    pub fn of(store: &Store, run: &RunId) -> Result<Self, StoreError> {
        Self::of_row(store, store.run(run)?)
    }

    fn of_row(store: &Store, run: RunRow) -> Result<Self, StoreError> {
        let cases = store.cases(&run.run)?;
        Ok(Self {
            cases: cases.into_iter().map(CaseSummary::of).collect(),
            events: store.events(&run.run)?,
            run,
        })
    }
}

impl CaseSummary {
    /// Summary of one case.
    pub fn of(case: CaseRow) -> Self {
        Self {
            state: CaseState::of(&case),
            metrics: case
                .metrics
                .iter()
                .map(|metric| MetricSummary::of(&case, metric))
                .collect(),
            energy: None,
            case,
        }
    }
}

impl CaseState {
    /// State of a case by its rounds. A failed round whose second attempt went well counts as good, a wrong output never does.
    pub fn of(case: &CaseRow) -> Self {
        match trouble(case) {
            Some(BlockStatus::Wrong(reason)) => Self::Wrong(reason.clone()),
            Some(BlockStatus::Failed(reason)) => Self::Failed(reason.clone()),
            // Some rounds without the device, others with it: what was measured stands.
            Some(BlockStatus::Skipped(reason)) if case.good_rounds().next().is_none() => {
                Self::Skipped(reason.clone())
            }
            _ if case.rounds.is_empty() => {
                Self::Skipped("the run ended before its first round".into())
            }
            _ => Self::Ok,
        }
    }
}

impl MetricSummary {
    fn of(case: &CaseRow, metric: &Metric) -> Self {
        let rounds = case.good_values(&metric.name);
        let estimate = estimate(&rounds);
        let time = estimate.as_ref().filter(|_| metric.name == Metric::TIME);
        Self {
            metric: metric.clone(),
            rates: time.map_or_else(Vec::new, |time| rates(&case.work, time)),
            rounds,
            estimate,
        }
    }
}
