//! What the lines of a record say.

use std::collections::BTreeMap;

use assay_protocol::{Digest, Hello, Metric, Prepared, Sample, Verification};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fingerprint::{Fingerprint, MachineIdentity};
use crate::manifest::Manifest;
use crate::run_id::RunId;
use crate::time::Timestamp;

/// Version of the record that this Assay writes; it reads this one and all before it.
pub const RECORD_VERSION: u32 = 4;

/// [`Block::stop`] of a block whose one sample is the sum of samples that were not kept.
pub const SUMMARY: &str = "summary";

/// One line of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The first line.
    Header(Box<Header>),
    /// A worker that was met for the first time.
    Worker(Worker),
    /// One case in one round.
    Block(Box<Block>),
    /// Something worth knowing happened.
    Event(Event),
    /// The last line of a record that came to its end.
    Footer(Box<Footer>),
}

/// What was known before the first measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Name of the run.
    pub run: RunId,
    /// When it started.
    pub started: Timestamp,
    /// `CLOCK_MONOTONIC` at the same moment, in nanoseconds: ties the samples' clock to civil time.
    pub monotonic_ns: u64,
    /// What was to be run.
    pub manifest: Manifest,
    /// SHA-256 over the canonical form of the manifest.
    pub manifest_digest: Digest,
    /// The machine before the run.
    pub fingerprint: Fingerprint,
    /// What the machine is called in series.
    pub machine: MachineIdentity,
    /// Names given to this run: `tag:NAME` finds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The run that this one reproduces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduces: Option<RunId>,
    /// What the run is for.
    #[serde(default, skip_serializing_if = "Purpose::is_measurement")]
    pub purpose: Purpose,
    /// Resolution of the host's timer, in nanoseconds; 0 where an import does not know it.
    pub timer_resolution_ns: u64,
    /// What one reading of that timer costs, in nanoseconds; absent in records of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_overhead_ns: Option<u64>,
}

/// What a run is for: only measurements are points of histories and baselines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Purpose {
    /// To know how fast something is.
    #[default]
    Measurement,
    /// To know how much identical code differs from itself here.
    Calibration,
    /// To know the most that the machine can do, level by level and unit by unit.
    Ceilings,
    /// To measure again what looked changed in another run, before anybody is told.
    Confirmation {
        /// The run whose suspects these are.
        of: RunId,
    },
}

impl Purpose {
    /// Whether this is the usual purpose.
    pub fn is_measurement(&self) -> bool {
        *self == Self::Measurement
    }
}

/// A worker as it introduced itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// The arm it serves.
    pub arm: String,
    /// Its name in the manifest.
    pub worker: String,
    /// What it said.
    pub hello: Hello,
}

/// One visit to a case by a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Id of the case.
    pub case: String,
    /// Name of the arm.
    pub arm: String,
    /// Round, from 0.
    pub round: u32,
    /// Attempt within the round, from 0: a failed case is tried again alone.
    pub attempt: u32,
    /// When it began.
    pub started: Timestamp,
    /// How it ended.
    pub status: BlockStatus,
    /// What the worker prepared; absent where it did not come so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<Prepared>,
    /// UUID of the device that ran it, where it has one; of several that ran it together those of all, with commas
    /// between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Every sample, warm-up included. None, where what was measured is no time: then `values` has it.
    #[serde(default)]
    pub samples: Samples,
    /// How many of the first samples are warm-up.
    pub warmup: u32,
    /// Whether a steady state was reached.
    pub steady: bool,
    /// Why the round stopped: `precise`, `max_samples`, `budget`; absent where it failed. [`SUMMARY`] where an import
    /// had no samples: the only one is their sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// How the output compares with the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Case-level metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, f64>,
    /// What the harness saw of the machine meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub telemetry: Vec<TelemetrySeries>,
    /// Noise counters over the visit: steal, context switches, page faults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub noise: BTreeMap<String, f64>,
    /// What disturbed the visit, in words; empty where nothing did beyond a threshold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbed: Vec<String>,
    /// The end of the worker's standard error, where the case failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

impl Block {
    /// Metrics that the block has besides `time`.
    pub fn metrics(&self) -> &[Metric] {
        self.prepared
            .as_ref()
            .map_or(&[], |prepared| &prepared.metrics)
    }
}

/// How a block ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", content = "reason", rename_all = "snake_case")]
pub enum BlockStatus {
    /// It was measured, and its output is right.
    Ok,
    /// It cannot run here, and that is nobody's fault.
    Skipped(String),
    /// Something went wrong: a crash, a fault of protocol, a hang.
    Failed(String),
    /// It was measured, but its output is wrong.
    Wrong(String),
}

impl BlockStatus {
    /// Its name, as in the store.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
            Self::Wrong(_) => "wrong",
        }
    }

    /// Why, where it is not ok.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Ok => None,
            Self::Skipped(reason) | Self::Failed(reason) | Self::Wrong(reason) => Some(reason),
        }
    }
}

/// Samples in columns; all columns that are not empty have the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// `CLOCK_MONOTONIC` at the start of each, in nanoseconds.
    pub start_ns: Vec<u64>,
    /// Iterations of each.
    pub iterations: Vec<u64>,
    /// Host time of all iterations of each, in nanoseconds.
    pub host_ns: Vec<u64>,
    /// Device time likewise; empty where the device has no clock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_ns: Vec<u64>,
    /// Values of sample-level metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Vec<f64>>,
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.host_ns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.host_ns.is_empty()
    }

    /// Appends one sample.
    pub fn push(&mut self, sample: &Sample) {
        self.start_ns.push(sample.start_ns);
        self.iterations.push(sample.iterations);
        self.host_ns.push(sample.host_ns);
        self.device_ns.extend(sample.device_ns);
        for (name, value) in &sample.values {
            self.values.entry(name.clone()).or_default().push(*value);
        }
    }

    /// Nanoseconds per iteration of each: by the device's clock where there is one, else by the host's.
    pub fn times_ns(&self) -> Vec<f64> {
        let clock = if self.device_ns.is_empty() {
            &self.host_ns
        } else {
            &self.device_ns
        };
        clock
            .iter()
            .zip(&self.iterations)
            .map(|(&ns, &n)| ns as f64 / n as f64)
            .collect()
    }

    /// Whether the columns agree in length and no sample is impossible: zero time, zero iterations, a value that is no number.
    pub fn check(&self) -> Result<(), String> {
        let n = self.len();
        let device = self.device_ns.len();
        if self.start_ns.len() != n || self.iterations.len() != n || (device != 0 && device != n) {
            return Err("columns of samples differ in length".into());
        }
        if let Some((name, _)) = self.values.iter().find(|(_, column)| column.len() != n) {
            return Err(format!("column `{name}` of samples differs in length"));
        }
        let zero = |column: &[u64]| column.contains(&0);
        if zero(&self.iterations) || zero(&self.host_ns) || zero(&self.device_ns) {
            return Err("a sample has zero time or zero iterations".into());
        }
        Ok(())
    }
}

/// A telemetry metric over a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySeries {
    /// Dotted name: `cpu.frequency`, `gpu.0.power`.
    pub name: String,
    /// Unit of the values.
    pub unit: String,
    /// `CLOCK_MONOTONIC` of each value, in nanoseconds.
    pub at_ns: Vec<u64>,
    /// The values.
    pub values: Vec<f64>,
}

/// Something that happened during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EventKind,
    /// What, in words.
    pub text: String,
    /// The case it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
}

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A worker ended before it was told to.
    WorkerLost,
    /// Blocks of rounds were added: an interval missed its target, or something disturbed rounds.
    RoundsAdded,
    /// The run was asked to stop.
    Interrupted,
    /// Another tool measured: what its results do not say.
    Imported,
    /// Something worth reading.
    Note,
}

/// What was known after the last measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Footer {
    /// When the run ended.
    pub finished: Timestamp,
    /// How.
    pub status: RunStatus,
    /// The machine after the run.
    pub fingerprint: Fingerprint,
    /// How many blocks the record holds.
    pub blocks: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// All that was planned was tried.
    Complete,
    /// Somebody asked it to stop.
    Interrupted,
    /// No footer was written: it was killed, or is still going on. Never written; derived on reading.
    Partial,
}
