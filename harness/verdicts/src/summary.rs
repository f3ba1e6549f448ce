//! What a run found, case by case.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use assay_protocol::{Metric, TimingMode};
use assay_record::{BlockStatus, RunId, Shared};
use assay_stats::Interval;
use assay_store::{CaseRow, EventRow, RunRow, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::ceilings::{Ceilings, Fraction};
use crate::energy::Energy;
use crate::estimate::{estimate, rates};
use crate::view::trouble;

/// Steps of a clock from which on a single time is resolved.
const RESOLVED: f64 = 20.0;

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
    pub case: Shared<CaseRow>,
    /// How it went.
    pub state: CaseState,
    /// Per metric of the case.
    pub metrics: Vec<MetricSummary>,
    /// Its rates beside the machine's ceilings, where those were measured.
    pub fractions: Vec<Fraction>,
    /// Energy of an iteration, where it was asked for and can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// Why it cannot be told, where several GPUs ran the case together and not all of them tell their part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_lacks: Option<String>,
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
    /// Faster than the machine can be: something was not computed.
    Impossible(String),
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
    /// Summaries of some runs, in their order; read on all cores.
    pub fn of_rows(store: &Store, rows: &[RunRow]) -> Result<Vec<Self>, StoreError> {
        let ceilings = &Ceilings::of_all(store, rows.iter().map(|row| row.machine.as_str()))?;
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let share = rows.len().div_ceil(workers).max(1);
        let parts = thread::scope(|scope| {
            let started: Vec<_> = rows
                .chunks(share)
                .map(|rows| {
                    Ok(scope.spawn({
                        let store = store.share()?;
                        move || Self::read(&store, rows, ceilings)
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

    /// What went wrong in some runs, in their order: their summaries with the cases alone that have a round that is not ok, or none.
    pub fn troubles_of_rows(store: &Store, rows: &[RunRow]) -> Result<Vec<Self>, StoreError> {
        // After most nights every run is one of the newest, or has its page.
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ceilings = Ceilings::of_all(store, rows.iter().map(|row| row.machine.as_str()))?;
        Self::with_cases(store, rows, &ceilings, Store::troubled_cases_of)
    }

    /// By a few scans for all.
    fn read(
        store: &Store,
        rows: &[RunRow],
        ceilings: &BTreeMap<String, Ceilings>,
    ) -> Result<Vec<Self>, StoreError> {
        Self::with_cases(store, rows, ceilings, Store::cases_of)
    }

    fn with_cases(
        store: &Store,
        rows: &[RunRow],
        ceilings: &BTreeMap<String, Ceilings>,
        cases_of: impl FnOnce(&Store, &[RunId]) -> Result<Vec<Vec<Shared<CaseRow>>>, StoreError>,
    ) -> Result<Vec<Self>, StoreError> {
        let runs: Vec<RunId> = rows.iter().map(|row| row.run.clone()).collect();
        let found = cases_of(store, &runs)?.into_iter();
        let found = rows.iter().zip(found.zip(store.events_of(&runs)?));
        let summary = |(run, (cases, events)): (&RunRow, (Vec<Shared<CaseRow>>, _))| {
            let ceilings = &ceilings[&run.machine];
            let cases = cases
                .into_iter()
                .map(|case| CaseSummary::of(case, ceilings));
            Self {
                cases: cases.collect(),
                events,
                run: run.clone(),
            }
        };
        Ok(found.map(summary).collect())
    }

    /// Summary of one run.
    pub fn of(store: &Store, run: &RunId) -> Result<Self, StoreError> {
        let row = store.run(run)?;
        let ceilings = Ceilings::of(store, &row.machine)?;
        let cases = store.cases(run)?.into_iter();
        Ok(Self {
            cases: cases.map(|case| CaseSummary::of(case, &ceilings)).collect(),
            events: store.events(run)?,
            run: row,
        })
    }
}

impl CaseSummary {
    /// Summary of one case of a machine that has these ceilings.
    pub fn of(case: Shared<CaseRow>, ceilings: &Ceilings) -> Self {
        let of_metric = |metric| MetricSummary::of(&case, metric);
        let metrics: Vec<_> = case.metrics.iter().map(of_metric).collect();
        let time = metrics
            .iter()
            .find(|summary| summary.metric.name == Metric::TIME);
        let time = time.and_then(|summary| summary.estimate);
        let fractions = time.map_or_else(Vec::new, |time| ceilings.fractions(&case, &time));
        let impossible = fractions
            .iter()
            .find_map(|fraction| fraction.impossible.clone());
        let state = match (CaseState::of(&case), impossible) {
            (CaseState::Ok, Some(why)) => CaseState::Impossible(why),
            (state, _) => state,
        };
        Self {
            case,
            state,
            metrics,
            fractions,
            energy: None,
            energy_lacks: None,
        }
    }
}

impl CaseSummary {
    /// Whether single launches were timed by a clock too coarse for them: under [`RESOLVED`] of its steps.
    pub fn is_unresolved(&self) -> bool {
        let time = self
            .metrics
            .iter()
            .find(|summary| summary.metric.name == Metric::TIME);
        let estimate = time.and_then(|summary| summary.estimate);
        let step_ns = single_step_ns(&self.case);
        step_ns
            .zip(estimate)
            .is_some_and(|(step_ns, time)| time.estimate < RESOLVED * step_ns)
    }
}

/// The step of the clock by which single launches were timed; `None` where samples are batched.
fn single_step_ns(case: &CaseRow) -> Option<f64> {
    step_ns(case.timing, case.clock_resolution_ns)
}

fn step_ns(timing: TimingMode, clock_resolution_ns: Option<u64>) -> Option<f64> {
    let step = clock_resolution_ns.filter(|_| timing == TimingMode::Cold);
    step.map(|ns| ns as f64)
}

/// The time of an iteration over the rounds that count, with its interval.
pub(crate) fn time_of(case: &CaseRow) -> Option<Interval> {
    let rounds = case.good_values(Metric::TIME);
    time_over(&rounds, case.timing, case.clock_resolution_ns)
}

/// The same of times that were read otherwise.
pub(crate) fn time_over(
    rounds: &[f64],
    timing: TimingMode,
    clock_resolution_ns: Option<u64>,
) -> Option<Interval> {
    let step = step_ns(timing, clock_resolution_ns).unwrap_or(0.0);
    Some(with_step(estimate(rounds)?, step))
}

/// The interval of a time, as wide as the clock's step at least allows: each single time may be half of one off.
fn with_step(estimate: Interval, step_ns: f64) -> Interval {
    Interval {
        low: (estimate.low - step_ns / 2.0).max(0.0),
        high: estimate.high + step_ns / 2.0,
        ..estimate
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
        let estimate = if metric.name == Metric::TIME {
            time_of(case)
        } else {
            estimate(&rounds)
        };
        let time = estimate.as_ref().filter(|_| metric.name == Metric::TIME);
        Self {
            metric: metric.clone(),
            rates: time.map_or_else(Vec::new, |time| rates(&case.work, time)),
            rounds,
            estimate,
        }
    }
}
