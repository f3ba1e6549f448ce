//! A run as a reproduction is judged by: its rows and its manifest, with the store closed again.

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;

use assay_protocol::Direction;
use assay_record::{BlockStatus, Manifest, RunId, Shared};
use assay_stats::median;
use assay_store::{CaseRow, RunRow, SeriesKey, SeriesRow, Store, StoreError};
use foldhash::{HashMap, HashSet};

use crate::window;

/// A store that is read, with all of its series where somebody has them at hand: a site reads them once for all that ask for some.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The store.
    pub store: &'a Store,
    /// Every series, in the order of their keys, as [`Store::series`] has them; without them, those that are asked for are read.
    pub series: Option<&'a [SeriesRow]>,
}

impl<'a> From<&'a Store> for Reading<'a> {
    fn from(store: &'a Store) -> Self {
        Self {
            store,
            series: None,
        }
    }
}

/// A run with all that a comparison asks of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunView {
    /// The run.
    pub run: RunRow,
    /// What was to be run.
    pub manifest: Arc<Manifest>,
    /// What was found, case by case: the same run may be on many sides.
    pub cases: Arc<Vec<Shared<CaseRow>>>,
}

impl RunView {
    /// Loads a run.
    pub fn load(store: &Store, run: &RunId) -> Result<Self, StoreError> {
        let row = store.run(run)?;
        Ok(Self {
            manifest: Arc::new(store.manifest(&row.manifest)?.manifest),
            cases: Arc::new(store.cases_of(slice::from_ref(run))?.concat()),
            run: row,
        })
    }

    /// Loads several runs, in their order, by a few scans for all.
    pub fn load_all(store: &Store, rows: Vec<RunRow>) -> Result<Vec<Self>, StoreError> {
        let digests = rows.iter().map(|row| row.manifest).collect();
        let manifests = store.manifests(&digests)?;
        let runs: Vec<RunId> = rows.iter().map(|row| row.run.clone()).collect();
        let views = rows.into_iter().zip(store.cases_of(&runs)?);
        Ok(views
            .map(|(run, cases)| Self {
                manifest: Arc::new(manifests[&run.manifest].clone()),
                cases: Arc::new(cases),
                run,
            })
            .collect())
    }

    /// A case on an arm.
    pub(crate) fn case(&self, case: &str, arm: &str) -> Option<&CaseRow> {
        let mut cases = self.cases.iter().map(|case| &**case);
        cases.find(|row| row.case == case && row.arm == arm)
    }
}

/// Values of earlier runs of each case, arm and metric on one machine: the median over the rounds of each run, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History(BTreeMap<(String, String, String), Vec<f64>>);

impl History {
    /// What the store knows of the machine and suite of `view` before that run, of the same definitions. Only nights of their
    /// own: reproductions and confirmations may have run another build, and what is asked is how much runs of one build differ.
    pub fn before(reading: Reading<'_>, view: &RunView) -> Result<Self, StoreError> {
        let (store, suite) = (reading.store, view.run.suite.as_str());
        let Some(all) = reading.series else {
            let series = store.series_of_place(suite, &view.run.machine)?;
            return Self::among(&series, store, view);
        };
        let begin = all.partition_point(|series| series.key.suite.as_str() < suite);
        let end = all.partition_point(|series| series.key.suite.as_str() <= suite);
        Self::among(&all[begin..end], store, view)
    }

    /// Of series, among which there may be more than those of the place.
    fn among(series: &[SeriesRow], store: &Store, view: &RunView) -> Result<Self, StoreError> {
        let own = &view.run;
        let is_earlier = |row: &RunRow| {
            window::is_night(row)
                && row.started < own.started
                && (&row.suite, &row.machine) == (&own.suite, &own.machine)
        };
        let runs = store.runs()?;
        let earlier = runs.iter().filter(|row| is_earlier(row));
        let earlier: HashSet<&RunId> = earlier.map(|row| &row.run).collect();
        let cases = view.cases.iter();
        let cases: HashMap<(&str, &str), &CaseRow> = cases
            .map(|case| ((case.case.as_str(), case.arm.as_str()), &**case))
            .collect();
        let mut history = Self::default();
        for series in series {
            let is_same = series.metric.direction != Direction::Neutral
                && series.key.suite == view.run.suite
                && series.key.machine == view.run.machine
                && cases
                    .get(&(series.key.case.as_str(), series.key.arm.as_str()))
                    .is_some_and(|case| {
                        case.definition == series.key.definition && case.timing == series.key.timing
                    });
            if !is_same {
                continue;
            }
            let points = series.points.iter();
            let earlier = points.filter(|(run, _)| earlier.contains(run));
            let times = earlier.filter_map(|(_, rounds)| median(rounds)).collect();
            let SeriesKey {
                case, arm, metric, ..
            } = &series.key;
            let key = (case.clone(), arm.clone(), metric.clone());
            history.0.insert(key, times);
        }
        Ok(history)
    }

    /// Values of a metric of a case on an arm, oldest first; empty where nothing is known.
    pub fn of(&self, case: &str, arm: &str, metric: &str) -> &[f64] {
        self.0
            .get(&(case.into(), arm.into(), metric.into()))
            .map_or(&[], Vec::as_slice)
    }
}

/// What is wrong with a case's rounds: the worst thing first, `None` where all that were tried are right in the end.
pub(crate) fn trouble(case: &CaseRow) -> Option<&BlockStatus> {
    let has_good = |round: u32| case.good_rounds().any(|row| row.round == round);
    let wrong = case
        .rounds
        .iter()
        .find(|row| matches!(row.status, BlockStatus::Wrong(_)));
    let failed = case
        .rounds
        .iter()
        .find(|row| matches!(row.status, BlockStatus::Failed(_)) && !has_good(row.round));
    let skipped = case
        .rounds
        .iter()
        .find(|row| matches!(row.status, BlockStatus::Skipped(_)) && !has_good(row.round));
    wrong.or(failed).or(skipped).map(|row| &row.status)
}
