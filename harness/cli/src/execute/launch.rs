//! How the workers of an arm are started on this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use assay_protocol::Hello;
use assay_record::Arm;
use assay_record::manifest::BUILTIN_WORKER;

use super::worker::WorkerProcess;
use crate::plan::arms::Standing;
use crate::plan::sources;
use crate::workers::WORD;

/// Variables that workers inherit, because programs do not start without them. They determine no result.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
];

/// Variables that may change a result: where set, they are part of the manifest.
const DETERMINING: [&str; 14] = [
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "CUDA_PATH",
    "ASSAY_CUDA",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_TF32_OVERRIDE",
    "PYTHONPATH",
];

/// Values of the determining variables here and now.
pub fn determining_environment() -> BTreeMap<String, String> {
    let value = |name: &&str| {
        std::env::var(name)
            .ok()
            .map(|value| ((*name).to_owned(), value))
    };
    DETERMINING.iter().filter_map(value).collect()
}

/// Starts workers of one arm.
#[derive(Clone, Debug)]
pub struct Launcher {
    arm: Arm,
    workers: BTreeMap<String, Vec<String>>,
    dir: PathBuf,
    builtin: PathBuf,
    executable: PathBuf,
}

impl Launcher {
    /// For an arm as it stands here, and the suite's own workers.
    pub fn new(standing: &Standing, workers: &BTreeMap<String, Vec<String>>) -> Result<Self> {
        let executable =
            std::env::current_exe().context("the running executable cannot be found")?;
        Ok(Self {
            arm: standing.arm.clone(),
            workers: workers.clone(),
            dir: standing.dir.clone(),
            builtin: standing.worker.clone(),
            executable,
        })
    }

    /// Starts the worker of that name and hears its hello.
    pub fn start(&self, worker: &str) -> Result<(WorkerProcess, Hello)> {
        let argv = self.argv(worker)?;
        let shown = argv
            .iter()
            .map(|part| part.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
            )
            .envs(&self.arm.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: it ends as a whole, and the terminal's Ctrl-C is the harness's business.
            .process_group(0);
        let mut process =
            WorkerProcess::spawn(command).with_context(|| format!("cannot start `{shown}`"))?;
        let hello = process
            .hello()
            .map_err(|lost| anyhow::anyhow!("`{shown}` {lost}"))?;
        Ok((process, hello))
    }

    fn argv(&self, worker: &str) -> Result<Vec<OsString>> {
        let mut argv: Vec<OsString> = self.arm.prefix.iter().map(OsString::from).collect();
        match worker {
            BUILTIN_WORKER => argv.extend([self.builtin.clone().into(), WORD.into()]),
            name => {
                let own = self
                    .workers
                    .get(name)
                    .with_context(|| format!("the manifest has no worker `{name}`"))?;
                // The guard makes a worker that knows nothing of us end when we do.
                argv.extend([self.executable.clone().into(), "guard".into(), "--".into()]);
                argv.extend(
                    own.iter()
                        .map(|part| OsString::from(sources::fill(part, &self.dir))),
                );
            }
        }
        Ok(argv)
    }

    /// The suite's folder, for commands that name it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
