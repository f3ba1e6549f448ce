//! The manifest: all that determines a run before it starts. Its SHA-256 names it.
//!
//! On disk it lies in an envelope with its digest, in canonical form to the byte, so that any
//! change of any byte is noticed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use assay_protocol::{
    CaseSpec, CommandSpec, DeviceSelector, Digest, KernelSpec, ParamValue, Params, TimingMode, U64,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;
use crate::case_list::{self, CaseLists};
use crate::error::RecordError;

/// Version of the manifest that this Assay writes; it reads this one and all before it.
pub const MANIFEST_SCHEMA: u32 = 4;

/// Longest manifest that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

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
    pub cases: Vec<Case>,
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

/// An environment in which cases run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name: `main`, or as given.
    pub name: String,
    /// What starts its workers.
    pub engine: Engine,
    /// The image that they run in; absent on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// SHA-256 of the built-in worker's executable; of no bytes for an image that has none.
    pub worker: Digest,
    /// Command put before every worker: `numactl`, `taskset`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<String>,
    /// Variables that determine the run, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The commit of the measured project that it stands for; absent: the project as it lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<ArmCommit>,
}

/// A commit that an arm stands for: `{dir}` means its files there, and its worker is built of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmCommit {
    /// The commit, in hexadecimal.
    pub commit: String,
    /// Command that builds it, run in the folder of its `assay.toml`; empty where nothing is built.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<String>,
    /// Where the build leaves the built-in worker, from the same folder; absent where it builds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// What starts an arm's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// This machine, without a container.
    Host,
    /// Podman, as root or not.
    Podman,
    /// Docker, through its daemon.
    Docker,
    /// Apptainer, which runs SIF files.
    Apptainer,
}

impl Engine {
    /// Its name, which is also that of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Apptainer => "apptainer",
        }
    }
}

/// A container image, by what it contains: no tag is in it, and no tag is looked up to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Name of the environment, as the lock file has it. It is part of the series' key; the digests are not.
    pub environment: String,
    /// The repository it came from, without tag and digest: `localhost/assay-worker-cpu`; of a SIF file, its name.
    pub reference: String,
    /// Operating system and architecture: `linux/amd64`.
    pub platform: String,
    /// What it is in a registry and in an engine's store; absent for a SIF file, which has none of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciDigests>,
    /// The one file it comes as; absent where an engine has it in its store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<ImageFile>,
    /// What its containers may use.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// The three names of an image's content; see the OCI image specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OciDigests {
    /// Of the index over all platforms, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Of this platform's manifest.
    pub manifest: Digest,
    /// Of its configuration, which names every layer by the digest of its uncompressed content.
    pub config: Digest,
}

/// An image as one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// What it is.
    pub format: ImageFormat,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// Files that images come as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// A tar file of an OCI image layout.
    OciArchive,
    /// A Singularity image file, as Apptainer runs it.
    Sif,
}

/// What a container may use; what is absent has the harness's usual bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory, in bytes; there is no swap beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<U64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
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

/// A manifest as it lies on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// SHA-256 over the canonical form of `manifest`.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
}

impl ManifestFile {
    /// Seals a manifest with its digest.
    ///
    /// The result is what a reader of the file would get: canonical JSON writes 2.0 as 2, and a run
    /// must see the same values as its reproduction.
    pub fn seal(manifest: &Manifest) -> Result<Self, RecordError> {
        Self::seal_with(manifest, &mut CaseLists::default())
    }

    /// As [`Self::seal`], with what was worked out of cases that other manifests have too.
    pub fn seal_with(manifest: &Manifest, lists: &mut CaseLists) -> Result<Self, RecordError> {
        let wrong = |what: String| RecordError::format(Path::new("the manifest"), what);
        let list = lists.of(&manifest.cases);
        let list = list.map_err(|error| wrong(error.to_string()))?;
        let frame = case_list::frame(manifest).map_err(|error| wrong(error.to_string()))?;
        let mut manifest: Manifest =
            serde_json::from_str(&frame).map_err(|error| wrong(error.to_string()))?;
        manifest.cases.clone_from(&list.cases);
        crate::validate::manifest(&manifest).map_err(wrong)?;
        Ok(Self {
            digest: Digest::of(case_list::whole(&frame, &list.json)),
            manifest,
        })
    }

    /// The bytes of the file: canonical form and a newline.
    pub fn to_bytes(&self) -> Result<Vec<u8>, canonical::CanonicalError> {
        let mut bytes = canonical::to_canonical(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads and checks a manifest file.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let file = std::fs::File::open(path).map_err(RecordError::io(path))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(RecordError::io(path))?;
        if bytes.len() as u64 > MAX_BYTES {
            let what = format!("longer than {MAX_BYTES} bytes, the most that a manifest has");
            return Err(RecordError::format(path, what));
        }
        Self::from_bytes(path, &bytes)
    }

    /// As [`Self::read`], from bytes that were read from `path`.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, RecordError> {
        let broken = |what: String| RecordError::format(path, what);
        let value: Value = serde_json::from_slice(bytes).map_err(|error| {
            let end = if error.is_eof() {
                "the file is truncated"
            } else {
                "not JSON"
            };
            broken(format!("{end}: {error}; write it again with `assay plan`"))
        })?;
        Self::check(path, &value)?;
        // On the untyped value, so that a manifest of an older schema keeps its canonical form.
        let mut canonical =
            canonical::to_canonical(&value).map_err(|error| broken(error.to_string()))?;
        canonical.push(b'\n');
        if canonical != bytes {
            return Err(broken(
                "not in canonical form (edited or reformatted?); write it again with `assay plan`"
                    .into(),
            ));
        }
        let file: Self = serde_json::from_value(value)
            .map_err(|error| broken(format!("not a manifest: {error}")))?;
        crate::validate::manifest(&file.manifest).map_err(broken)?;
        Ok(file)
    }

    /// Version and digest, on the untyped value: a newer manifest need not parse as ours.
    fn check(path: &Path, value: &Value) -> Result<(), RecordError> {
        let Some(manifest) = value.get("manifest") else {
            return Err(RecordError::format(
                path,
                "field `manifest` is missing: this is no manifest file",
            ));
        };
        check_schema(path, manifest)?;
        let said = value
            .get("digest")
            .and_then(Value::as_str)
            .unwrap_or("absent");
        check_digest(path, "digest", said, manifest)
    }
}

/// Refuses a manifest of a schema that this Assay does not read.
pub(crate) fn check_schema(path: &Path, manifest: &Value) -> Result<(), RecordError> {
    match manifest.get("schema").and_then(Value::as_u64) {
        Some(found) if (1..=u64::from(MANIFEST_SCHEMA)).contains(&found) => Ok(()),
        Some(found) if found > u64::from(MANIFEST_SCHEMA) => Err(RecordError::Newer {
            path: path.into(),
            format: "manifest",
            found,
            known: MANIFEST_SCHEMA,
        }),
        _ => Err(RecordError::format(
            path,
            "field `schema` of the manifest is missing or no version",
        )),
    }
}

/// Compares a stated digest with that of the manifest as it was written.
pub(crate) fn check_digest(
    path: &Path,
    field: &str,
    said: &str,
    manifest: &Value,
) -> Result<(), RecordError> {
    let is = canonical::digest(manifest)
        .map_err(|error| RecordError::format(path, error.to_string()))?
        .to_string();
    if said == is {
        return Ok(());
    }
    let what = format!("field `{field}` says {said}, but the manifest's digest is {is}");
    Err(RecordError::Digest {
        path: path.into(),
        what,
    })
}
