//! The wire messages: requests are single JSON lines on a worker's standard input; a reply is one
//! or more JSON lines on its standard output.
//!
//! Every line of a reply carries `"v"`, the protocol version, and `"kind"`. `sample` and `progress`
//! lines come before the end; exactly one line of any other kind ends the reply, so a truncated
//! reply shows. End of input asks the worker to exit.
//!
//! ```text
//! > {"request":"sample","max_samples":2,"max_ns":1000000,"min_sample_ns":1000}
//! < {"v":1,"kind":"sample","start_ns":812,"iterations":64,"host_ns":1310}
//! < {"v":1,"kind":"sample","start_ns":2130,"iterations":64,"host_ns":1294}
//! < {"v":1,"kind":"sampled","samples":2}
//! ```

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PROTOCOL_VERSION;
use crate::bound::Bound;
use crate::case::{CaseSpec, DeviceKind, ParamValue, TimingMode};
use crate::digest::Digest;
use crate::metric::Metric;

/// What the harness asks of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Who are you? Always the first request.
    Hello {
        /// The harness's [`PROTOCOL_VERSION`].
        protocol: u32,
    },
    /// Allocate and build the inputs of a case.
    Prepare {
        /// The case.
        case: CaseSpec,
    },
    /// Run and time a chunk of the prepared case.
    Sample(SampleRequest),
    /// Check the output of the last timed iteration.
    Verify,
    /// Free the case and report its case-level metrics.
    Teardown,
}

/// Bounds of one chunk of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleRequest {
    /// Take at most this many samples, and at least one.
    pub max_samples: u32,
    /// Start no sample later than this many nanoseconds into the chunk.
    pub max_ns: u64,
    /// Batch iterations until a sample is at least about this long.
    pub min_sample_ns: u64,
}

/// One line of a reply, with its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// [`PROTOCOL_VERSION`] of the worker.
    pub v: u32,
    /// What it says.
    #[serde(flatten)]
    pub reply: Reply,
}

impl From<Reply> for Line {
    fn from(reply: Reply) -> Self {
        Self {
            v: PROTOCOL_VERSION,
            reply,
        }
    }
}

/// What a line of a reply says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reply {
    /// One sample; more lines follow.
    Sample(Sample),
    /// The worker is alive in the middle of something long; more lines follow.
    Progress {
        /// For people.
        message: String,
    },
    /// Ends the reply to `hello`.
    Hello(Hello),
    /// Ends the reply to `prepare`.
    Prepared(Prepared),
    /// Ends the reply to `sample`.
    Sampled {
        /// How many samples the reply held.
        samples: u32,
    },
    /// Ends the reply to `verify`.
    Verified(Verification),
    /// Ends the reply to `teardown`.
    TornDown {
        /// Value of every case-level metric that was declared, but of those that the case did not come to, as a quality that was not reached.
        #[serde(default)]
        values: BTreeMap<String, f64>,
    },
    /// Ends any reply: the case cannot run here, and that is nobody's fault.
    Skipped {
        /// Why: no GPU, not enough memory.
        reason: String,
    },
    /// Ends any reply: something went wrong.
    Failed {
        /// What.
        reason: String,
    },
}

/// Why a workload gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot run here, and that is nobody's fault.
    #[error("skipped: {0}")]
    Skipped(String),
    /// Something went wrong.
    #[error("failed: {0}")]
    Failed(String),
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Skipped(reason) => Self::Skipped { reason },
            Failure::Failed(reason) => Self::Failed { reason },
        }
    }
}

/// What a worker is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the worker.
    pub protocol: u32,
    /// Name of the worker program.
    pub worker: String,
    /// Its version.
    pub version: String,
    /// Devices it can run on, as seen from inside its environment.
    pub devices: Vec<DeviceInfo>,
    /// Software as seen from inside: `libc`, `driver`, `cuda`, `nvrtc`, `python`, a framework.
    #[serde(default)]
    pub software: BTreeMap<String, String>,
    /// What it can run.
    pub workloads: Vec<WorkloadInfo>,
}

/// A device that a worker sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceInfo {
    /// Its kind.
    pub kind: DeviceKind,
    /// Its enumeration index within the kind.
    pub index: u32,
    /// Model name.
    pub name: String,
    /// Identity of the very device, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

/// A workload that a worker offers, in enough detail for a plan to be checked without running it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadInfo {
    /// Name, unique within the worker.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Version of what is timed: raised when the inputs or the timed region change, never when the
    /// implementation does. A new one starts new series.
    pub definition: u32,
    /// Every parameter it takes.
    pub parameters: Vec<ParameterInfo>,
    /// Timing modes it supports.
    pub timing: Vec<TimingMode>,
    /// Kinds of device it supports.
    pub devices: Vec<DeviceKind>,
}

/// A parameter of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterInfo {
    /// Name.
    pub name: String,
    /// Type of its values.
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    /// Value where a suite gives none; without it the suite must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ParamValue>,
    /// Least value that an integer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// Every value it may have; empty where any is fine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<ParamValue>,
    /// Kinds of device whose cases have it; empty where all have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceKind>,
    /// Whether a suite may leave it out though it has no default: then the case has none either. So come parameters to workloads whose
    /// cases have a history: cases that do not ask for one stay what they were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterKind {
    /// `true` or `false`.
    Bool,
    /// An integer.
    Int,
    /// A number.
    Float,
    /// Text.
    Text,
}

/// What a prepared case will do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// Work of one iteration.
    #[serde(default)]
    pub work: Work,
    /// Metrics besides `time`.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// UUID of the device that was chosen, where it has one; of several that run it together those of all, with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Digest of each input.
    #[serde(default)]
    pub inputs: BTreeMap<String, Digest>,
    /// Whether the same inputs always give the same output bits.
    #[serde(default)]
    pub deterministic: bool,
    /// What bounds it on this device.
    #[serde(default, skip_serializing_if = "Bound::is_empty")]
    pub bound: Bound,
    /// Resolution of the clock that times it, in nanoseconds, where that is not the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_resolution_ns: Option<u64>,
    /// What else was found out while preparing: registers and spills of kernels, versions of libraries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// Work of one iteration, as the algorithm defines it: each input read once, each output written once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Bytes moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Floating-point operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<u64>,
    /// Items processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// How these follow from the parameters: `bytes = 3 n sizeof(T), flops = 2 n`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub formula: String,
}

/// One timed observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// `CLOCK_MONOTONIC` at its start, in nanoseconds.
    pub start_ns: u64,
    /// Iterations in the timed region.
    pub iterations: u64,
    /// Host time of all iterations, in nanoseconds.
    pub host_ns: u64,
    /// Device time of all iterations, in nanoseconds, where the device has a clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_ns: Option<u64>,
    /// Value of every sample-level metric that was declared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, f64>,
}

/// How the output of the last timed iteration compares with the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// Whether the output is right.
    pub passed: bool,
    /// Largest error against the reference, in the measure that the tolerance has; absent where it is not a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Largest error that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Digest of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Digest>,
    /// What was compared, or what is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}
