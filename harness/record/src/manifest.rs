//! The manifest: all that determines a run before it starts. Its SHA-256 names it.
//!
//! On disk it lies in an envelope with its digest, in canonical form to the byte, so that any
//! change of any byte is noticed.

mod arm;
mod file;
mod variables;

use std::collections::BTreeMap;

use assay_protocol::{
    CaseSpec, CommandSpec, DeviceSelector, Digest, KernelSpec, ParamValue, Params, TimingMode, U64,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::arm::{Arm, ArmCommit, Engine, Image, ImageFile, ImageFormat, Limits, OciDigests};
pub use self::file::ManifestFile;
pub(crate) use self::file::{check_digest, check_schema};
use crate::shared::Shared;

/// Version of the manifest that this Assay writes; it reads this one and all before it.
pub const MANIFEST_SCHEMA: u32 = 4;

/// Name of the built-in worker in [`WorkloadRef`].
pub const BUILTIN_WORKER: &str = "assay";

/// All that determines a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: u32,
    /// The suite it was planned from.
    pub suite: SuiteRef,
    /// The Assay that planned it.
    pub tool: Tool,
    /// The project that is measured.
    pub project: Project,
    /// Environments that the run interleaves; most runs have one.
    pub arms: Vec<Arm>,
    /// Argument vectors of the suite's own workers, by name. `{dir}` stands for the suite's folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workers: BTreeMap<String, Vec<String>>,
    /// Digests of the files that the run reads from the suite's folder, as named with `{dir}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Digest>,
    /// Key of the random order of cases within each round.
    pub order_seed: U64,
    /// The cases, in the order of the suite.
    #[schemars(with = "Vec<Case>")]
    pub cases: Shared<Vec<Case>>,
}

/// Where a manifest's cases came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuiteRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of its TOML file, or of the file that was imported.
    pub digest: Digest,
    /// Where it lies.
    pub source: Source,
}

/// Where a suite lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In the assay binary.
    Builtin,
    /// In a folder, by its absolute path at planning time.
    Folder(String),
    /// Nowhere: another tool measured, and its results were imported.
    Imported(Origin),
}

/// What an imported run was read from; the digest of the suite is that of this file.
///
/// Such a manifest says what was measured and cannot be run. Its policies, seeds and limits are the usual ones and
/// say nothing, and the digest of its worker is that of no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// What wrote the file: `nvbench`, `asv`.
    pub format: String,
    /// The file's name; where a tool keeps a folder for each machine, with that.
    pub file: String,
}

/// The program that planned a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Version of Assay.
    pub version: String,
    /// SHA-256 of its executable.
    pub binary: Digest,
}

/// The measured project, as git sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Project {
    /// The run was planned outside any git repository.
    NoRepository,
    /// A git repository.
    Git(GitState),
}

impl Project {
    /// The repository's state, if there is one.
    pub fn git(&self) -> Option<&GitState> {
        match self {
            Self::NoRepository => None,
            Self::Git(state) => Some(state),
        }
    }
}

/// State of a git repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitState {
    /// Commit that is checked out, in hexadecimal; absent before the first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Branch, unless the head is detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// URL of `origin` or the only remote, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// What the working tree adds to the commit, untracked files included; absent where nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Diff>,
}

/// A patch in git's format, whole, with binary files, so that it can be applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Diff {
    /// As text.
    Text(String),
    /// In hexadecimal, where it is not UTF-8.
    Hex(String),
}

impl Diff {
    /// From the bytes of a patch.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Hex(hex::encode(error.into_bytes())),
        }
    }

    /// The bytes of the patch; `None` where the hexadecimal digits are none.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Hex(digits) => hex::decode(digits).ok(),
        }
    }
}

/// One benchmark at one point of its axes on one device kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `memory/triad[dtype=f32,elements=2^24]@cpu`
    pub id: String,
    /// Name of the benchmark.
    pub benchmark: String,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What is run.
    pub workload: WorkloadRef,
    /// Every parameter of it.
    pub params: Params,
    /// Key of its inputs.
    pub seed: U64,
    /// Where it runs.
    pub device: DeviceSelector,
    /// What a sample times.
    pub timing: TimingMode,
    /// How it is measured.
    pub policy: Policy,
    /// Longest time for any one answer of its worker, in milliseconds.
    pub timeout_ms: u32,
    /// What must hold of its results.
    #[serde(default, skip_serializing_if = "Expect::is_empty")]
    pub expect: Expect,
    /// SHA-256 over what defines its series: work, inputs, parameters, timed region; never an implementation.
    pub definition: Digest,
}

/// What a case runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadRef {
    /// A workload of a worker's catalog.
    Worker {
        /// [`BUILTIN_WORKER`], or a key of [`Manifest::workers`].
        worker: String,
        /// Name in the worker's catalog.
        name: String,
        /// Version of its definition, as the worker declared it at planning time.
        definition: u32,
    },
    /// A plain command, run by the built-in worker.
    Command(CommandSpec),
    /// A kernel of the user's own, run by the built-in worker.
    Kernel(Box<KernelSpec>),
}

impl WorkloadRef {
    /// Name in the catalog of the worker that runs it.
    pub fn name(&self) -> &str {
        match self {
            Self::Worker { name, .. } => name,
            Self::Command(_) => assay_protocol::COMMAND_WORKLOAD,
            Self::Kernel(_) => assay_protocol::KERNEL_WORKLOAD,
        }
    }

    /// The worker that runs it: [`BUILTIN_WORKER`], or a key of [`Manifest::workers`].
    pub fn worker(&self) -> &str {
        match self {
            Self::Worker { worker, .. } => worker,
            Self::Command(_) | Self::Kernel(_) => BUILTIN_WORKER,
        }
    }
}

/// What must hold of a case's results, beyond the workload's own verification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Digest of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Digest>,
    /// Longest median time per iteration, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time_ns: Option<f64>,
}

impl Expect {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a case is measured. All of it can be given per suite and per benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Rounds: visits by fresh worker processes, spread over the run; as many on each arm. Even, so that blocks are whole.
    pub rounds: u32,
    /// Blocks of two rounds are added up to this many while the interval misses the target, and beside disturbed rounds.
    pub max_rounds: u32,
    /// Relative half-width of the interval across rounds that is enough; with several arms, of that of their ratio.
    pub target: f64,
    /// Samples after warm-up that a round takes at least.
    pub min_samples: u32,
    /// Samples that a round takes at most.
    pub max_samples: u32,
    /// Longest warm-up of a round, in milliseconds.
    pub warmup_ms: u32,
    /// Time for the samples of a round after warm-up, in milliseconds.
    pub round_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rounds: 6,
            max_rounds: 12,
            target: 0.01,
            min_samples: 10,
            max_samples: 1000,
            warmup_ms: 500,
            round_ms: 500,
        }
    }
}

impl Case {
    /// The case as a worker sees it.
    pub fn spec(&self) -> CaseSpec {
        let (command, kernel) = match &self.workload {
            WorkloadRef::Worker { .. } => (None, None),
            WorkloadRef::Command(command) => (Some(command.clone()), None),
            WorkloadRef::Kernel(kernel) => (None, Some(kernel.clone())),
        };
        CaseSpec {
            workload: self.workload.name().to_owned(),
            params: self.params.clone(),
            seed: self.seed,
            device: self.device.clone(),
            timing: self.timing,
            command,
            kernel,
        }
    }

    /// Id of a benchmark at a point: `name[a=1,b=2]@cpu`, without brackets where there is no axis.
    pub fn make_id(
        benchmark: &str,
        point: &[(&str, &ParamValue)],
        device: &DeviceSelector,
    ) -> String {
        let axes: Vec<String> = point
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let axes = if axes.is_empty() {
            String::new()
        } else {
            format!("[{}]", axes.join(","))
        };
        format!("{benchmark}{axes}@{device}")
    }
}
