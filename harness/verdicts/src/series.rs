//! The runs of one case on one comparable machine and configuration, as points.

use std::collections::BTreeMap;

use assay_protocol::{Bound, Digest, Metric, Work};
use assay_record::{Field, Fingerprint, RunId, Shared, Timestamp};
use assay_stats::Interval;
use assay_store::{RunRow, SeriesKey, SeriesRow, Store, StoreError};
use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use crate::ceilings::Ceilings;
use crate::estimate::{estimate, rates};
use crate::summary::time_over;

/// A series, oldest point first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What makes it one.
    pub key: SeriesKey,
    /// The metric, with unit and direction.
    pub metric: Metric,
    /// Work of one iteration.
    pub work: Work,
    /// Its points by start of the run.
    pub points: Vec<Point>,
    /// Runs with results that cannot be, which are no points: no level and no change rests on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub impossible: Vec<Impossible>,
}

/// A result beyond the ceiling of what bounds its case: see [`Ceilings`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Impossible {
    /// The run.
    pub run: RunId,
    /// When it started.
    pub started: Timestamp,
    /// Estimate over the rounds, with its interval.
    pub estimate: Interval,
    /// Why it cannot be, in words.
    pub why: String,
}

/// One run's value in a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The run.
    pub run: RunId,
    /// When it started.
    pub started: Timestamp,
    /// Commit of the measured project.
    pub commit: Option<Shared<str>>,
    /// Whether its tree had changes.
    pub dirty: bool,
    /// Estimate over the rounds, with its interval.
    pub estimate: Interval,
    /// How many rounds it rests on.
    pub rounds: u32,
    /// What differs on the machine from the point before: drawn as events.
    pub changes: Vec<Change>,
}

/// A difference between the fingerprints of two neighbouring points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Dotted name with its part: `software.kernel.release`.
    pub field: String,
    /// What it was, in words.
    pub before: String,
    /// What it is, in words.
    pub after: String,
}

impl Series {
    /// Every series of the store with a run that belongs to histories, in the order of their keys.
    pub fn all(store: &Store) -> Result<Vec<Self>, StoreError> {
        Ok(Drawing::of(store)?.all(&store.series()?))
    }

    /// Every series of one case: each metric, machine, arm and definition.
    pub fn of_case(store: &Store, case: &str) -> Result<Vec<Self>, StoreError> {
        Ok(Drawing::of(store)?.all(&store.series_of_case(case)?))
    }

    /// Rates (unit symbol, interval) that follow from a point's time and the work of one iteration; only for `time`.
    pub fn rates(&self, point: &Point) -> Vec<(String, Interval)> {
        if self.metric.name == Metric::TIME {
            rates(&self.work, &point.estimate)
        } else {
            Vec::new()
        }
    }
}

/// Whether a run belongs to histories. A reproduction may have run another build than the commit it names.
fn is_measurement(run: &RunRow) -> bool {
    run.reproduces.is_none() && run.purpose.is_measurement()
}

/// What all series of one reading share: runs and fingerprints.
pub(crate) struct Drawing {
    /// By their start, as the points of every series are.
    runs: Vec<Origin>,
    fingerprints: BTreeMap<Digest, Fingerprint>,
    ceilings: BTreeMap<String, Ceilings>,
}

/// What points tell of their run.
struct Origin {
    run: RunId,
    started: Timestamp,
    commit: Option<String>,
    dirty: bool,
    /// Whether it belongs to histories.
    counts: bool,
    /// What the machine was before it.
    before: Digest,
}

/// What is the same for points of many series.
struct Known {
    /// Commits of all runs.
    commits: Vec<Option<Shared<str>>>,
    changes: Changes,
}

/// Differences of the fingerprints of two runs, each found once: of each run, by its place, those to earlier ones.
type Changes = Vec<Vec<(usize, Vec<Change>)>>;

impl Drawing {
    pub fn of(store: &Store) -> Result<Self, StoreError> {
        let runs = store.runs()?;
        let digests = runs.iter().filter(|run| is_measurement(run));
        let digests = digests.map(|run| run.before).collect();
        Ok(Self {
            fingerprints: store.fingerprints(&digests)?,
            ceilings: Ceilings::of_all(store, runs.iter().map(|run| run.machine.as_str()))?,
            runs: runs.iter().map(Origin::of).collect(),
        })
    }

    /// Those of some rows that have a result.
    pub fn all(&self, rows: &[SeriesRow]) -> Vec<Series> {
        let mut known = Known {
            // Of this call alone: threads that count who has a text slow each other down.
            commits: self.runs.iter().map(Origin::own_commit).collect(),
            changes: vec![Vec::new(); self.runs.len()],
        };
        let mut list: Shared<Vec<RunId>> = Shared::default();
        let mut places = Vec::new();
        let mut series = Vec::with_capacity(rows.len());
        for row in rows {
            if !list.is(row.points.all()) {
                list = row.points.all().clone();
                places = self.places(&list);
            }
            series.push(self.series(row, &places, &mut known));
        }
        series.retain(|series| !series.points.is_empty() || !series.impossible.is_empty());
        series
    }

    /// Where each run of a list is among those of this drawing.
    fn places(&self, list: &[RunId]) -> Vec<Option<usize>> {
        let own: HashMap<&RunId, usize> = self.runs.iter().map(|own| &own.run).zip(0..).collect();
        list.iter().map(|run| own.get(run).copied()).collect()
    }

    /// `places` are those of the list that the row's points are of.
    fn series(&self, row: &SeriesRow, places: &[Option<usize>], known: &mut Known) -> Series {
        let mut points = Vec::with_capacity(row.points.len());
        let mut impossible = Vec::new();
        let ceilings = self.ceilings.get(&row.key.machine);
        let ceilings = ceilings.filter(|_| row.key.metric == Metric::TIME);
        let mut last = None;
        for (number, rounds) in row.points.numbered() {
            let place = places[number].map(|at| (at, &self.runs[at]));
            let Some((at, run)) = place.filter(|(_, run)| run.counts) else {
                continue;
            };
            let Some(estimate) = estimate(rounds) else {
                continue;
            };
            if let Some(why) = ceilings.and_then(|known| beyond(known, row, rounds)) {
                impossible.push(Impossible {
                    run: run.run.clone(),
                    started: run.started,
                    estimate,
                    why,
                });
                continue;
            }
            let mut point = Point {
                run: run.run.clone(),
                started: run.started,
                commit: known.commits[at].clone(),
                dirty: run.dirty,
                estimate,
                rounds: rounds.len() as u32,
                changes: Vec::new(),
            };
            if let Some(last) = last {
                point.changes = self.changes(last, at, &mut known.changes);
            }
            last = Some(at);
            points.push(point);
        }
        Series {
            key: row.key.clone(),
            metric: row.metric.clone(),
            work: row.work.clone(),
            points,
            impossible,
        }
    }

    fn changes(&self, before: usize, after: usize, known: &mut Changes) -> Vec<Change> {
        let print = |at: usize| &self.fingerprints[&self.runs[at].before];
        let known = &mut known[after];
        if let Some((_, found)) = known.iter().find(|(to, _)| *to == before) {
            return found.clone();
        }
        let found = changes(print(before), print(after));
        known.push((before, found.clone()));
        found
    }
}

impl Origin {
    fn own_commit(&self) -> Option<Shared<str>> {
        self.commit.as_deref().map(Shared::from)
    }

    fn of(run: &RunRow) -> Self {
        Self {
            counts: is_measurement(run),
            commit: run.commit.clone(),
            run: run.run.clone(),
            started: run.started,
            dirty: run.dirty,
            before: run.before,
        }
    }
}

/// Why times of a series cannot be, as summaries and gates have it.
fn beyond(ceilings: &Ceilings, row: &SeriesRow, rounds: &[f64]) -> Option<String> {
    let limited = &row.limited;
    if ceilings.all.is_empty() || limited.bound == Bound::default() {
        return None;
    }
    let time = time_over(rounds, row.key.timing, limited.clock_resolution_ns)?;
    let fractions = ceilings.beside(&limited.device, limited.bound, &row.work, &time);
    fractions
        .into_iter()
        .find_map(|fraction| fraction.impossible)
}

/// Differences of two fingerprints, volatile state left out, for display.
pub fn changes(before: &Fingerprint, after: &Fingerprint) -> Vec<Change> {
    let shown = |field: Option<&Field>| field.map_or_else(|| "absent".into(), Field::to_string);
    before
        .differences(after)
        .into_iter()
        .map(|difference| Change {
            field: format!("{}.{}", difference.part, difference.name),
            before: shown(difference.before),
            after: shown(difference.after),
        })
        .collect()
}
