//! Plain commands as workloads: a program that knows nothing of Assay, run and timed as a whole.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::{Direction, Unit};

/// Name of the built-in workload that runs a [`CommandSpec`].
pub const COMMAND_WORKLOAD: &str = "command";

/// A command and what to take from its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// Program and arguments; no shell in between.
    pub argv: Vec<String>,
    /// Variables added to the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Directory to run in; absent: the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// One execution that takes longer is ended together with all that it started, in milliseconds.
    pub timeout_ms: u32,
    /// Exit code of a right run.
    #[serde(default)]
    pub exit_code: i32,
    /// Metrics taken from its standard output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<CommandMetric>,
}

/// A metric taken from a command's standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandMetric {
    /// Name of the metric.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// Which way is better.
    pub direction: Direction,
    /// JSON Pointer (RFC 6901) into the output, which is one JSON value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// Regular expression whose first group is the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}
