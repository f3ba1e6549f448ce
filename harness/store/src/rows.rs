//! What queries return.

use std::collections::BTreeMap;

use assay_protocol::{Bound, Digest, Metric, Params, TimingMode, Verification, Work};
use assay_record::body::{SUMMARY, TelemetrySeries};
use assay_record::{
    BlockStatus, EventKind, Origin, Purpose, RunId, RunStatus, Samples, Shared, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A run, without its measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its id.
    pub run: RunId,
    /// Name of the suite.
    pub suite: String,
    /// Name of the manifest.
    pub manifest: Digest,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; absent in a partial one.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub status: RunStatus,
    /// Machine's name in series.
    pub machine: String,
    /// Machine's hardware class.
    pub class: Digest,
    /// Fingerprint before the run.
    pub before: Digest,
    /// Fingerprint after it.
    pub after: Option<Digest>,
    /// Version of Assay.
    pub tool: String,
    /// Commit of the measured project.
    pub commit: Option<String>,
    /// Branch of the measured project.
    pub branch: Option<String>,
    /// Whether the working tree had changes.
    pub dirty: bool,
    /// Names given to the run.
    pub tags: Vec<String>,
    /// The run that it reproduces.
    pub reproduces: Option<RunId>,
    /// What it is for.
    pub purpose: Purpose,
    /// Where its record lay when it was ingested.
    pub record: String,
}

/// What an imported run was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// The run.
    pub run: RunId,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its name and format.
    pub origin: Origin,
}

/// A case of a run on one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseRow {
    /// Id of the case.
    pub case: String,
    /// Name of the arm.
    pub arm: String,
    /// Name of the benchmark.
    pub benchmark: String,
    /// Name of the workload.
    pub workload: String,
    /// Its parameters.
    pub params: Shared<Params>,
    /// Kind of device: `cpu`, `cuda`.
    pub device: String,
    /// What a sample times.
    pub timing: TimingMode,
    /// Digest of the definition: a new one starts a new series.
    pub definition: Digest,
    /// Work of one iteration, as the worker declared it.
    pub work: Shared<Work>,
    /// Whether the workload promises the same output bits.
    pub deterministic: bool,
    /// What bounds it, as the worker declared it.
    pub bound: Bound,
    /// Resolution of the clock that timed it, in nanoseconds, where that is not the host's.
    pub clock_resolution_ns: Option<u64>,
    /// What else was found out when it was prepared: registers of kernels, versions of libraries.
    pub facts: Shared<BTreeMap<String, String>>,
    /// `time`, then the metrics that the worker declared.
    pub metrics: Shared<Vec<Metric>>,
    /// Its rounds in order, every attempt.
    pub rounds: Vec<RoundRow>,
}

/// One visit to a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundRow {
    /// Round, from 0.
    pub round: u32,
    /// Attempt within the round, from 0.
    pub attempt: u32,
    /// When it began.
    pub started: Timestamp,
    /// How it ended.
    pub status: BlockStatus,
    /// How many samples, warm-up included.
    pub samples: u32,
    /// How many of them are warm-up.
    pub warmup: u32,
    /// Whether a steady state was reached.
    pub steady: bool,
    /// Why it stopped.
    pub stop: Option<String>,
    /// What disturbed it, in words; empty where nothing did.
    pub disturbed: Vec<String>,
    /// Per metric, in the order of [`CaseRow::metrics`]: median over the samples after warm-up, or the round's own value.
    pub values: Vec<Option<f64>>,
    /// How the output compares with the reference.
    pub verification: Option<Verification>,
    /// Digest over the input digests, by name.
    pub inputs: Option<Digest>,
    /// End of the worker's standard error.
    pub log: String,
}

impl RoundRow {
    /// Whether its one sample is the sum of samples that were not kept: how they differ is not known.
    pub fn is_summary(&self) -> bool {
        self.stop.as_deref() == Some(SUMMARY)
    }
}

/// Something that happened during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EventKind,
    /// What, in words.
    pub text: String,
    /// The case it concerns.
    pub case: Option<String>,
}

/// What makes one series: its points may be compared with each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Name of the suite: the same case may be measured by different rules in two suites.
    pub suite: String,
    /// Id of the case.
    pub case: String,
    /// Name of the metric.
    pub metric: String,
    /// Timing mode.
    pub timing: TimingMode,
    /// Digest of the definition.
    pub definition: Digest,
    /// Name of the machine.
    pub machine: String,
    /// Name of the arm (environment).
    pub arm: String,
}

/// A case that gave no right result in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedRow {
    /// The run.
    pub run: RunId,
    /// Id of the case.
    pub case: String,
    /// Name of the arm.
    pub arm: String,
    /// Timing mode.
    pub timing: TimingMode,
    /// Digest of the definition.
    pub definition: Digest,
    /// What the gravest of its rounds says.
    pub status: BlockStatus,
}

/// A series with its points' round values.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRow {
    /// What makes it one.
    pub key: SeriesKey,
    /// The metric, with unit and direction.
    pub metric: Metric,
    /// Work of one iteration.
    pub work: Work,
    /// What says how fast it can be.
    pub limited: Limited,
    /// Per run, by start: the run's id and the values of its good rounds.
    pub points: Points,
}

/// Runs in the order of their starts, each with values of rounds. All values lie in one place, and runs are numbers in a list that
/// all series of one reading share: a site has a million points.
#[derive(Clone, Debug, Default)]
pub struct Points {
    all: Shared<Vec<RunId>>,
    runs: Vec<u32>,
    /// Where the values of each run end.
    ends: Vec<u32>,
    values: Vec<f64>,
}

impl PartialEq for Points {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Points {
    /// None yet, of runs that are in a list; room for so many with a value each.
    pub fn of(all: Shared<Vec<RunId>>, room: usize) -> Self {
        Self {
            all,
            runs: Vec::with_capacity(room),
            ends: Vec::with_capacity(room),
            values: Vec::with_capacity(room),
        }
    }

    /// Adds a run by its number in the list, which started after those before it.
    pub fn push(&mut self, run: u32, values: impl IntoIterator<Item = f64>) {
        self.values.extend(values);
        self.runs.push(run);
        self.ends.push(self.values.len() as u32);
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The list that numbers of runs are of.
    pub fn all(&self) -> &Shared<Vec<RunId>> {
        &self.all
    }

    /// The runs with their values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&RunId, &[f64])> {
        let numbered = self.numbered();
        numbered.map(|(run, values)| (&self.all[run], values))
    }

    /// The same, each run by its number in the list.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &[f64])> {
        let begins = std::iter::once(&0).chain(&self.ends);
        let spans = begins.zip(&self.ends);
        let values = spans.map(|(begin, end)| &self.values[*begin as usize..*end as usize]);
        self.runs.iter().map(|run| *run as usize).zip(values)
    }
}

/// What of a case says how fast it can be: on what it runs, what bounds it there, and by which clock it is timed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// Kind of device: `cpu`, `cuda`.
    pub device: String,
    /// What bounds it, as the worker declared it.
    pub bound: Bound,
    /// Resolution of the clock that timed it, in nanoseconds, where that is not the host's.
    pub clock_resolution_ns: Option<u64>,
}

impl CaseRow {
    /// The rounds that count: of each round the last attempt that is ok. Failed, wrong and skipped ones never do.
    pub fn good_rounds(&self) -> impl Iterator<Item = &RoundRow> {
        self.rounds.iter().filter(|row| {
            row.status == BlockStatus::Ok
                && !self.rounds.iter().any(|other| {
                    other.round == row.round
                        && other.attempt > row.attempt
                        && other.status == BlockStatus::Ok
                })
        })
    }

    /// Value of a metric in each round that counts and has one.
    pub fn good_values(&self, metric: &str) -> Vec<f64> {
        let Some(column) = self.metrics.iter().position(|m| m.name == metric) else {
            return Vec::new();
        };
        self.good_rounds()
            .filter_map(|row| row.values.get(column).copied().flatten())
            .collect()
    }
}

/// Samples of one round, every attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundSamples {
    /// Round, from 0.
    pub round: u32,
    /// Attempt within the round, from 0.
    pub attempt: u32,
    /// How many of the first samples are warm-up.
    pub warmup: u32,
    /// The samples, warm-up included.
    pub samples: Samples,
}

/// A round that counts, with what lies behind its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundDetail {
    /// Id of the case.
    pub case: String,
    /// Name of the arm.
    pub arm: String,
    /// Round, from 0.
    pub round: u32,
    /// How many of the first samples are warm-up.
    pub warmup: u32,
    /// By metric the value of each sample, warm-up included; of time that of one iteration, in nanoseconds.
    pub values: BTreeMap<String, Vec<f64>>,
    /// What telemetry read, by name; empty where that was not asked for.
    pub gauges: Vec<Gauge>,
}

/// What telemetry read of one thing over a stretch of time, in steps of equal length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gauge {
    /// Dotted name: `gpu.0.power`.
    pub name: String,
    /// Unit of the values.
    pub unit: String,
    /// Steps with a reading, in order.
    pub steps: Vec<GaugeStep>,
}

/// The readings in one step of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaugeStep {
    /// Middle of the step as a share of the stretch: 0 is its beginning, 1 its end.
    pub at: f64,
    /// Lowest reading.
    pub low: f64,
    /// Median of the readings.
    pub middle: f64,
    /// Highest reading.
    pub high: f64,
}

/// What telemetry read over a whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunGauges {
    /// From the first reading to the last, in nanoseconds.
    pub length_ns: u64,
    /// By name; steps between rounds have no reading.
    pub gauges: Vec<Gauge>,
}

/// A round that counts, as one stretch of time, with counters that were read meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRound {
    /// Id of the case.
    pub case: String,
    /// Name of the arm.
    pub arm: String,
    /// UUID of the device that ran it, where it has one; of several that ran it together those of all.
    pub device: Option<String>,
    /// `CLOCK_MONOTONIC` at the start of the first sample after warm-up, in nanoseconds.
    pub from_ns: u64,
    /// And at the end of the last.
    pub to_ns: u64,
    /// Host time of these samples, in nanoseconds: the rest of the stretch lay between them.
    pub busy_ns: u64,
    /// Iterations of these samples.
    pub iterations: u64,
    /// Readings over the whole visit, warm-up and all.
    pub counters: Vec<TelemetrySeries>,
}

/// Where the record of a run lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordRow {
    /// The run.
    pub run: RunId,
    /// How it ended, as far as was ingested.
    pub status: RunStatus,
    /// Path of its record when it was ingested.
    pub record: String,
}
