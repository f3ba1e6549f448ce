//! How the workers of an arm are started on this machine.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::{Digest, Hello};
use assay_record::Arm;
use assay_record::manifest::BUILTIN_WORKER;

use super::worker::{Lost, WorkerProcess};
use crate::engines::client::last_line;
use crate::engines::keeper::Keeper;
use crate::engines::{Engine, Mismatch, NoProgram, Ran, Start};
use crate::environments;
use crate::errors::CouldNotRun;
use crate::plan::arms::Standing;
use crate::plan::{file_digest, sources};
use crate::workers::WORD;

/// Variables that may change a result: where set, they are part of the manifest.
const DETERMINING: [&str; 8] = [
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_TF32_OVERRIDE",
];

/// More of them, which name folders of this machine. A container is told of none.
const LOCAL: [&str; 6] = [
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "CUDA_HOME",
    "CUDA_PATH",
    "ASSAY_CUDA",
    "PYTHONPATH",
];

/// Whether an engine says that an image has no such program: it names it. Where a container dies of want of memory while it begins,
/// or a program finds no library of its own, the code is the same.
fn names_no_program(log: &str, words: &[OsString]) -> bool {
    let said = last_line(log);
    let is_missing = ["o such file", "not found"]
        .iter()
        .any(|words| said.contains(words));
    let is_named = words
        .iter()
        .any(|word| said.contains(&*word.to_string_lossy()));
    is_missing && is_named && !said.contains("shared librar")
}

/// Values of the determining variables here and now, for workers on this machine or in a container.
pub fn determining_environment(is_contained: bool) -> BTreeMap<String, String> {
    let local: &[&str] = if is_contained { &[] } else { &LOCAL };
    let value = |name: &&str| {
        std::env::var(name)
            .ok()
            .map(|value| ((*name).to_owned(), value))
    };
    DETERMINING.iter().chain(local).filter_map(value).collect()
}

/// SHA-256 of a file as a process sees it; `None` where that cannot be read, or the process sees what we see.
fn digest_inside(pid: u32, path: &Path) -> Option<Digest> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let place = |root: &Path| std::fs::metadata(root).map(|meta| (meta.dev(), meta.ino()));
    let is_ours = place(&root).ok()? == place(Path::new("/")).ok()?;
    let inside = root.join(path.strip_prefix("/").ok()?);
    (!is_ours).then(|| file_digest(&inside).ok()).flatten()
}

/// Exit code of an engine that finds no such program in an image; that of a shell, too.
const NOT_FOUND: i32 = 127;
/// Exit codes by which an engine says that it, or what it runs containers by, is at fault.
const ENGINES_OWN: [i32; 2] = [125, 126];

/// Starts workers of one arm.
#[derive(Clone, Debug)]
pub struct Launcher {
    arm: Arm,
    workers: BTreeMap<String, Vec<String>>,
    /// The suite's folder, as workers see it.
    dir: PathBuf,
    builtin: PathBuf,
    engine: Arc<dyn Engine>,
    /// What containers are called, up to their number.
    name: String,
    started: Arc<AtomicU32>,
    /// Whether the worker in a container was compared with the manifest's.
    is_compared: Arc<AtomicBool>,
}

impl Launcher {
    /// For an arm as it stands here, and the suite's own workers; its containers are named after `what` is done.
    pub fn new(standing: &Standing, workers: &BTreeMap<String, Vec<String>>, what: &str) -> Self {
        Self {
            arm: standing.arm.clone(),
            workers: workers.clone(),
            dir: standing.engine.inside(&standing.dir),
            builtin: standing.worker.clone(),
            engine: Arc::clone(&standing.engine),
            name: format!("assay-{what}-{}", standing.arm.name),
            started: Arc::default(),
            is_compared: Arc::default(),
        }
    }

    /// Starts the worker of that name and hears its hello. What runs in a container is compared with what the arm names.
    /// An engine that fails is asked once more: what failed may have been the moment.
    pub fn start(&self, worker: &str) -> Result<(WorkerProcess, Hello)> {
        match self.start_once(worker) {
            Err(error) if error.is::<CouldNotRun>() => self.start_once(worker),
            started => started,
        }
    }

    fn start_once(&self, worker: &str) -> Result<(WorkerProcess, Hello)> {
        let name = format!(
            "{}-{}",
            self.name,
            self.started.fetch_add(1, Ordering::Relaxed)
        );
        let argv = self.argv(worker)?;
        let prefix = self.arm.prefix.iter().map(OsString::from);
        let words: Vec<OsString> = prefix.chain(argv.iter().cloned()).collect();
        let shown = words.join(OsStr::new(" ")).to_string_lossy().into_owned();
        let command = self.engine.command(&Start {
            name: &name,
            prefix: &self.arm.prefix,
            argv,
            is_strange: worker != BUILTIN_WORKER,
            env: &self.arm.env,
        })?;
        let keeper = Keeper::start(&self.engine, &name)?;
        let mut process = WorkerProcess::spawn(command, keeper)
            .with_context(|| format!("cannot start `{shown}`"))?;
        let hello = process
            .hello()
            .map_err(|lost| self.not_started(&shown, &words, &lost, &process))?;
        let ran = self.engine.inspect(&name)?;
        if worker == BUILTIN_WORKER {
            self.compare_worker(ran.as_ref())?;
        }
        process.is_in(ran);
        Ok((process, hello))
    }

    /// Why a worker gave no hello; of one in a container also what the engine said.
    fn not_started(
        &self,
        shown: &str,
        words: &[OsString],
        lost: &Lost,
        process: &WorkerProcess,
    ) -> anyhow::Error {
        let Some(image) = &self.arm.image else {
            return anyhow::anyhow!("`{shown}` {lost}");
        };
        let name = &image.environment;
        let log = process.log();
        let is_missing = || names_no_program(&log, words);
        if process.code() == Some(NOT_FOUND) && is_missing() {
            return NoProgram(format!("`{shown}`: no such program in `{name}`")).into();
        }
        let said = if log.trim().is_empty() {
            ""
        } else {
            last_line(&log)
        };
        // It may have been too little to begin with, for the engine too, which does not always say so.
        let bound = image.limits.memory_bytes.map(|bytes| {
            format!("; its container may have {bytes} bytes of memory, by `memory_bytes` in the lock file")
        });
        let is_bound = bound.is_some();
        let bound = bound.unwrap_or_default();
        if let Some(code) = process.code().filter(|code| ENGINES_OWN.contains(code)) {
            return CouldNotRun(format!(
                "`{shown}`: {} starts no container of `{name}` (exit code {code}): {said}{bound}",
                self.arm.engine.name()
            ))
            .into();
        }
        let what = format!("`{shown}` {lost}: {said}{bound}");
        if is_bound {
            CouldNotRun(what).into()
        } else {
            anyhow::Error::msg(what)
        }
    }

    /// Compares the built-in worker in a container with the manifest's, once: a store says what an image was when it came, and not
    /// what has become of its files.
    fn compare_worker(&self, ran: Option<&Ran>) -> Result<()> {
        let pid = ran.and_then(|ran| ran.pid);
        let Some((image, pid)) = self.arm.image.as_ref().zip(pid) else {
            return Ok(());
        };
        if self.arm.worker == environments::worker::none()
            || self.is_compared.swap(true, Ordering::Relaxed)
        {
            return Ok(());
        }
        // Of a daemon on another machine, or of somebody else's container, nobody here sees the files.
        let Some(is) = digest_inside(pid, &self.builtin) else {
            return Ok(());
        };
        ensure!(
            is == self.arm.worker,
            Mismatch(format!(
                "the container of `{}` has the worker {is}, and the manifest names {}: the engine's store was changed or damaged; \
                 remove the image there, and build, load or pull it again",
                image.environment, self.arm.worker
            ))
        );
        Ok(())
    }

    fn argv(&self, worker: &str) -> Result<Vec<OsString>> {
        if worker == BUILTIN_WORKER {
            return Ok(vec![self.builtin.clone().into(), WORD.into()]);
        }
        let own = self
            .workers
            .get(worker)
            .with_context(|| format!("the manifest has no worker `{worker}`"))?;
        let filled = own
            .iter()
            .map(|part| OsString::from(sources::fill(part, &self.dir)));
        Ok(filled.collect())
    }

    /// The suite's folder as workers see it, for commands that name it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
