//! What starts workers: this machine itself, or a container of an image that is pinned by digest. One trait, one file each.
//!
//! An image is found by what it contains, never by a tag, and never fetched by a run. A container gets no network, a root that
//! cannot be written, no capabilities and no privileges, bounds on memory and processes, and only the mounts that its run needs.
//! Once it runs, the *container* is inspected, and what it runs is compared with the manifest: asking for a digest is not
//! yet having got it.

pub mod apptainer;
pub mod cdi;
pub mod client;
pub mod docker;
pub mod host;
pub mod keeper;
pub mod oci;
pub mod podman;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use assay_record::{Arm, Image, manifest};

use crate::errors::CouldNotRun;
use crate::settings::Settings;

/// Where the built-in worker lies in an image that has one.
pub const WORKER: &str = "/usr/local/bin/assay-worker";
/// What `{dir}` means in a container: the suite's folder, to be read and not written.
pub const DIR: &str = "/suite";
/// Where the kernels that were compiled before are kept, in a container.
pub const CACHE: &str = "/cache";

/// A worker to be started.
#[derive(Debug)]
pub struct Start<'a> {
    /// What its container is called.
    pub name: &'a str,
    /// The command put before it.
    pub prefix: &'a [String],
    /// The worker: program and arguments, as they are called where it runs.
    pub argv: Vec<OsString>,
    /// Whether it is a program that knows nothing of Assay, and so does not end when the harness does.
    pub is_strange: bool,
    /// Variables that it gets on this machine; a container has those of its [`Sandbox`].
    pub env: &'a BTreeMap<String, String>,
}

/// What starts the workers of an arm.
pub trait Engine: fmt::Debug {
    /// The command whose three streams become the worker's.
    fn command(&self, start: &Start<'_>) -> Result<Command>;

    /// What the suite's folder `dir` is called where workers run.
    fn inside(&self, dir: &Path) -> PathBuf {
        dir.into()
    }

    /// What ends a container, whatever state it is in; `None` where nothing outlives the command.
    fn removal(&self, _name: &str) -> Option<Vec<OsString>> {
        None
    }

    /// What runs in a container, compared with what its arm names; `None` where nothing is contained.
    fn inspect(&self, _name: &str) -> Result<Option<Ran>> {
        Ok(None)
    }

    /// Why a container ended, where its engine knows; `is_oom` if the kernel has ended something for want of memory since
    /// it was started.
    fn last_words(&self, _name: &str, _is_oom: bool) -> Option<String> {
        None
    }
}

/// What was found in a container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The process of its worker, as this machine numbers it; `None` where that is the command's own.
    pub pid: Option<u32>,
    /// What it runs, in words that go into the record: engine, version, digests.
    pub words: String,
}

/// A container runs something else than its manifest names. The run ends: nothing that it would measure is what it says.
#[derive(Debug)]
pub struct Mismatch(pub String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// An image has no such program as a worker is started by.
#[derive(Debug)]
pub struct NoProgram(pub String);

impl fmt::Display for NoProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoProgram {}

/// What a run needs of its containers.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The suite's folder, where it reads any of it.
    pub dir: Option<PathBuf>,
    /// Whether it has cases on GPUs.
    pub gpus: bool,
}

/// An image that is here, as what was asked for, and what its containers get.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The image.
    pub image: Image,
    /// What the engine is told to run: an id in its store, or a file.
    pub subject: OsString,
    /// The suite's folder, to be mounted at [`DIR`].
    pub dir: Option<PathBuf>,
    /// The cache of compiled kernels, to be mounted at [`CACHE`].
    pub cache: Option<PathBuf>,
    /// Options that give GPUs; empty where none is needed.
    pub gpus: Vec<String>,
    /// Variables of its workers: those of the arm, and where the cache lies.
    pub env: BTreeMap<String, String>,
    /// Variables that the image sets, as `NAME=VALUE`, where the engine says so.
    pub image_env: Vec<String>,
}

impl Sandbox {
    /// For an image that was found as `subject`.
    fn new(
        arm: &Arm,
        image: &Image,
        subject: OsString,
        needs: &Needs,
        gpus: Vec<String>,
    ) -> Result<Self> {
        let cache = if gpus.is_empty() {
            None
        } else {
            Some(kernel_cache()?)
        };
        for path in needs.dir.iter().chain(&cache) {
            mountable(path)?;
        }
        let mut env = arm.env.clone();
        if cache.is_some() {
            env.insert("XDG_CACHE_HOME".into(), CACHE.into());
        }
        Ok(Self {
            image: image.clone(),
            subject,
            dir: needs.dir.clone(),
            cache,
            gpus,
            env,
            image_env: Vec::new(),
        })
    }

    /// What is mounted: where from, where to, and whether it may be written.
    pub fn mounts(&self) -> impl Iterator<Item = (&Path, &'static str, bool)> {
        let dir = self.dir.iter().map(|dir| (dir.as_path(), DIR, false));
        let cache = self
            .cache
            .iter()
            .map(|cache| (cache.as_path(), CACHE, true));
        dir.chain(cache)
    }
}

/// What starts the workers of an arm here. Says what is missing, and how to get it.
pub fn of(arm: &Arm, settings: &Settings, needs: &Needs) -> Result<Arc<dyn Engine>> {
    let Some(image) = &arm.image else {
        return Ok(Arc::new(host::Host::new()?));
    };
    Ok(match arm.engine {
        manifest::Engine::Host => Arc::new(host::Host::new()?),
        manifest::Engine::Podman => Arc::new(podman::Podman::ready(arm, image, settings, needs)?),
        manifest::Engine::Docker => Arc::new(docker::Docker::ready(arm, image, settings, needs)?),
        manifest::Engine::Apptainer => {
            Arc::new(apptainer::Apptainer::ready(arm, image, settings, needs)?)
        }
    })
}

/// The folder of compiled kernels of this user, which a container may fill.
fn kernel_cache() -> Result<PathBuf> {
    let folder = crate::suite::builtin::cache_folder()?.join("containers");
    std::fs::create_dir_all(&folder)
        .map_err(|error| CouldNotRun(format!("{}: {error}", folder.display())))?;
    Ok(folder)
}

/// Engines take mounts as lists with commas; such a path would be read as another.
fn mountable(path: &Path) -> Result<()> {
    let text = path
        .to_str()
        .filter(|text| !text.contains([',', '"', ':', '\n']));
    match text {
        Some(_) if path.is_dir() => Ok(()),
        Some(_) => Err(CouldNotRun(format!("{}: no folder to mount", path.display())).into()),
        None => Err(CouldNotRun(format!(
            "{}: a folder whose name has a comma, a colon or a quotation mark in it cannot be mounted; move the suite",
            path.display()
        ))
        .into()),
    }
}

/// An image as errors name it.
fn named(image: &Image) -> String {
    format!("image `{}` ({})", image.environment, image.reference)
}
