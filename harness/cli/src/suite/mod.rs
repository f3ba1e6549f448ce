//! Suites: TOML files that list benchmarks. Wire types here; [axes] expands them into points,
//! [locate] finds the file. Parsing is pure: which workloads exist is asked of workers, in [`crate::plan`].

pub mod axes;
pub mod builtin;
pub mod device;
pub mod kernel;
pub mod locate;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::{CommandMetric, DeviceSelector, Digest, TimingMode};
use assay_record::{Expect, Policy, validate};
use schemars::JsonSchema;
use serde::Deserialize;

use axes::{Axis, AxisValue};
use device::DeviceChoice;
use kernel::KernelDeclaration;

use crate::plan::sources;

/// Version of the suite format.
pub const SUITE_SCHEMA: u32 = 1;

/// A suite as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Version of this format: 1.
    pub schema: u32,
    /// Its name: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// How its cases are measured, where a benchmark does not say otherwise.
    #[serde(default)]
    pub policy: PolicyPatch,
    /// Variables that every worker of this suite gets.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The environment that it runs in, by its name in the lock file; absent: this machine.
    pub environment: Option<String>,
    /// Workers of its own, by name.
    #[serde(default)]
    pub workers: BTreeMap<String, WorkerDeclaration>,
    /// The benchmarks.
    #[serde(rename = "benchmark")]
    pub benchmarks: Vec<Benchmark>,
}

/// A worker that is not built in: any program that speaks the protocol.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerDeclaration {
    /// Program and arguments. `{dir}` stands for the suite's folder; files named with it are pinned by digest.
    pub argv: Vec<String>,
}

/// A workload with axes of parameters.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// Its name, unique in the suite: `memory/triad`.
    pub name: String,
    /// The workload. Absent where there is a `command`.
    pub workload: Option<String>,
    /// The worker that offers it: a key of `workers`; absent: the built-in one.
    pub worker: Option<String>,
    /// A plain command instead of a workload.
    pub command: Option<CommandDeclaration>,
    /// A CUDA kernel of your own instead of a workload.
    pub kernel: Option<KernelDeclaration>,
    /// Words to select it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Key of its inputs.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Devices it runs on.
    #[serde(default = "default_devices")]
    pub devices: Vec<DeviceChoice>,
    /// What a sample times; absent: `hot`, and `host` for commands.
    #[serde(default)]
    pub timing: Vec<TimingMode>,
    /// Longest time for any one answer of its worker, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: u32,
    /// Parameters that are the same in every case.
    #[serde(default)]
    pub params: BTreeMap<String, AxisValue>,
    /// Parameters that vary: every combination is a case.
    #[serde(default)]
    pub axes: BTreeMap<String, Axis>,
    /// How its cases are measured, where it differs from the suite.
    #[serde(default)]
    pub policy: PolicyPatch,
    /// What must hold of its results.
    #[serde(default)]
    pub expect: ExpectDeclaration,
}

/// A plain command as a workload.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandDeclaration {
    /// Program and arguments, no shell in between. `{axis}` stands for an axis's value, `{dir}` for the suite's folder.
    pub argv: Vec<String>,
    /// Variables added to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Directory to run in; absent: the suite's folder, or the current one for a built-in suite.
    pub directory: Option<String>,
    /// Longest time of one execution, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: u32,
    /// Exit code of a right run.
    #[serde(default)]
    pub exit_code: i32,
    /// Metrics taken from its standard output.
    #[serde(default)]
    pub metrics: Vec<CommandMetric>,
}

/// What must hold of a benchmark's results.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectDeclaration {
    /// Digest of the output, the same in every case.
    pub output: Option<Digest>,
    /// Longest median time per iteration, in seconds.
    pub max_time_s: Option<f64>,
}

impl ExpectDeclaration {
    /// As in the manifest.
    pub fn resolve(&self) -> Expect {
        Expect {
            output: self.output,
            max_time_ns: self.max_time_s.map(|s| s * 1e9),
        }
    }
}

/// Changes to a measurement policy.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyPatch {
    /// Rounds at first; even.
    pub rounds: Option<u32>,
    /// Most rounds, when the interval misses its target; even.
    pub max_rounds: Option<u32>,
    /// Relative half-width of the interval across rounds that is enough.
    pub target: Option<f64>,
    /// Least samples of a round after warm-up.
    pub min_samples: Option<u32>,
    /// Most samples of a round.
    pub max_samples: Option<u32>,
    /// Longest warm-up of a round, in milliseconds.
    pub warmup_ms: Option<u32>,
    /// Time for the samples of a round after warm-up, in milliseconds.
    pub round_ms: Option<u32>,
}

impl PolicyPatch {
    /// Applies these changes to `base`.
    pub fn apply(&self, base: Policy) -> Policy {
        let rounds = self.rounds.unwrap_or(base.rounds);
        Policy {
            rounds,
            max_rounds: self.max_rounds.unwrap_or(base.max_rounds).max(rounds),
            target: self.target.unwrap_or(base.target),
            min_samples: self.min_samples.unwrap_or(base.min_samples),
            max_samples: self.max_samples.unwrap_or(base.max_samples),
            warmup_ms: self.warmup_ms.unwrap_or(base.warmup_ms),
            round_ms: self.round_ms.unwrap_or(base.round_ms),
        }
    }
}

fn default_seed() -> u64 {
    1
}

fn default_devices() -> Vec<DeviceChoice> {
    vec![DeviceChoice::Selected(DeviceSelector::CPU)]
}

fn default_timeout() -> u32 {
    60
}

impl Suite {
    /// Parses a suite; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let suite: Self = toml::from_str(text).with_context(|| path.display().to_string())?;
        suite.check().with_context(|| path.display().to_string())?;
        Ok(suite)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.schema <= SUITE_SCHEMA,
            "field `schema`: version {} is newer than {SUITE_SCHEMA}, the newest this assay reads; use a newer assay",
            self.schema
        );
        ensure!(
            self.schema == SUITE_SCHEMA,
            "field `schema`: expected {SUITE_SCHEMA}, found {}",
            self.schema
        );
        check_name("name", &self.name, "")?;
        if let Some(name) = &self.environment {
            validate::environment(name).map_err(anyhow::Error::msg)?;
        }
        ensure!(
            !self.benchmarks.is_empty(),
            "field `benchmark`: a suite lists at least one; add a [[benchmark]] table"
        );
        ensure!(
            !self
                .workers
                .contains_key(assay_record::manifest::BUILTIN_WORKER),
            "field `workers`: the name `assay` is the built-in worker's; choose another"
        );
        for (name, worker) in &self.workers {
            ensure!(
                !worker.argv.is_empty(),
                "field `workers.{name}.argv` is empty; name the program"
            );
        }
        for (name, worker) in &self.workers {
            let checked = worker.argv.iter().try_for_each(|text| sources::check(text));
            checked.with_context(|| format!("field `workers.{name}.argv`"))?;
        }
        for (index, benchmark) in self.benchmarks.iter().enumerate() {
            let at = format!("benchmark `{}`", benchmark.name);
            benchmark.check(&self.workers).context(at)?;
            if self.benchmarks[..index]
                .iter()
                .any(|earlier| earlier.name == benchmark.name)
            {
                bail!("two benchmarks are called `{}`; rename one", benchmark.name);
            }
        }
        Ok(())
    }
}

impl Benchmark {
    fn check(&self, workers: &BTreeMap<String, WorkerDeclaration>) -> Result<()> {
        check_name("name", &self.name, "/")?;
        let given = [
            self.workload.is_some(),
            self.command.is_some(),
            self.kernel.is_some(),
        ];
        match given.into_iter().filter(|given| *given).count() {
            0 => bail!("has neither `workload` nor `command` nor `kernel`; add one"),
            1 => {}
            _ => bail!("has more than one of `workload`, `command` and `kernel`; keep one"),
        }
        match (&self.kernel, &self.command) {
            (Some(_), _) => {
                ensure!(
                    self.worker.is_none() && self.params.is_empty(),
                    "fields `worker` and `params` go with `workload`; a kernel takes `axes` in its expressions"
                );
            }
            (None, Some(command)) => {
                ensure!(
                    !command.argv.is_empty(),
                    "field `command.argv` is empty; name the program"
                );
                ensure!(
                    self.worker.is_none(),
                    "field `worker` goes with `workload`, not with `command`"
                );
                ensure!(
                    self.params.is_empty(),
                    "field `params` goes with `workload`; a command takes `axes` in its argv"
                );
            }
            (None, None) => {}
        }
        if let Some(worker) = &self.worker
            && !workers.contains_key(worker)
        {
            let known: Vec<&str> = workers.keys().map(String::as_str).collect();
            bail!(
                "field `worker`: no worker is called `{worker}`; [workers] has: {}",
                known.join(", ")
            );
        }
        ensure!(
            !self.devices.is_empty(),
            "field `devices` is empty; leave it out for [\"cpu\"]"
        );
        if let Some(name) = self
            .params
            .keys()
            .find(|name| self.axes.contains_key(*name))
        {
            bail!("`{name}` is both in `params` and in `axes`; keep one");
        }
        let policy = self.policy.apply(Policy::default());
        ensure!(self.timeout_s > 0, "field `timeout_s` is 0; give seconds");
        check_policy(&policy)
    }
}

/// Names become parts of ids, files and pages: plain characters only.
fn check_name(field: &str, name: &str, also: &str) -> Result<()> {
    validate::name(field, name, also).map_err(anyhow::Error::msg)
}

/// Whether a policy can be followed.
pub fn check_policy(policy: &Policy) -> Result<()> {
    validate::policy(policy).map_err(anyhow::Error::msg)
}
