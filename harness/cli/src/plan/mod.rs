//! From a suite to a manifest: every case in full, checked against what the workers offer.
//!
//! Workers are asked which workloads they have and which parameters those take, so that a
//! mistake in a suite is found before anything is measured, whatever language the worker is in.

pub mod cases;
pub mod command;
pub mod project;
pub mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use assay_protocol::{Digest, Hello, U64};
use assay_record::manifest::{BUILTIN_WORKER, Engine, MANIFEST_SCHEMA, SuiteRef, Tool};
use assay_record::{Arm, Manifest, ManifestFile, Source};

use crate::execute::launch::Launcher;
use crate::settings::Settings;
use crate::suite::{Suite, builtin, locate::Located};

/// Name of the only arm of most runs.
pub const MAIN_ARM: &str = "main";

/// What the command line adds to a suite.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only cases whose id contains one of these.
    pub filters: Vec<String>,
    /// Only benchmarks that have one of these tags.
    pub tags: Vec<String>,
    /// Key of the order of cases; absent: derived from the suite, the same on every night.
    pub order_seed: Option<u64>,
    /// Command put before every worker.
    pub prefix: Vec<String>,
}

/// Plans a run of a suite.
pub fn plan(located: &Located, settings: &Settings, options: &Options) -> Result<ManifestFile> {
    let suite = &located.suite;
    let in_suite = || located.name.clone();
    let arm = main_arm(suite, settings, options)?;
    let workers: BTreeMap<String, Vec<String>> = suite
        .workers
        .iter()
        .map(|(name, worker)| (name.clone(), worker.argv.clone()))
        .collect();
    let dir = folder(&located.source)?;
    let launcher = Launcher::new(&arm, &workers, &dir)?;
    let catalogs = ask_workers(suite, &launcher).with_context(in_suite)?;
    let cases = cases::expand(suite, &catalogs, options).with_context(in_suite)?;
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA,
        suite: SuiteRef {
            name: suite.name.clone(),
            digest: located.digest,
            source: located.source.clone(),
        },
        tool: Tool {
            version: env!("CARGO_PKG_VERSION").into(),
            binary: arm.worker,
        },
        project: project::state(settings)?,
        arms: vec![arm],
        sources: sources::digests(&workers, &cases, &dir).with_context(in_suite)?,
        workers,
        order_seed: U64(options
            .order_seed
            .unwrap_or_else(|| order_seed(&located.digest))),
        cases,
    };
    Ok(ManifestFile::seal(&manifest)?)
}

/// The folder that `{dir}` stands for.
pub fn folder(source: &Source) -> Result<PathBuf> {
    match source {
        Source::Builtin => builtin::materialise(),
        Source::Folder(folder) => Ok(PathBuf::from(folder)),
    }
}

/// SHA-256 of the running executable, which is also the built-in worker.
pub fn own_digest() -> Result<Digest> {
    let path = std::env::current_exe().context("the running executable cannot be found")?;
    file_digest(&path)
}

/// SHA-256 of a file.
pub fn file_digest(path: &Path) -> Result<Digest> {
    std::fs::read(path)
        .map(Digest::of)
        .with_context(|| path.display().to_string())
}

fn main_arm(suite: &Suite, settings: &Settings, options: &Options) -> Result<Arm> {
    let mut env = crate::execute::launch::determining_environment();
    env.extend(settings.env.clone());
    env.extend(suite.env.clone());
    Ok(Arm {
        name: MAIN_ARM.into(),
        engine: Engine::Host,
        worker: own_digest()?,
        prefix: options.prefix.clone(),
        env,
    })
}

/// Asks each worker that the suite uses who it is.
fn ask_workers(suite: &Suite, launcher: &Launcher) -> Result<BTreeMap<String, Hello>> {
    let used = suite
        .benchmarks
        .iter()
        .map(|benchmark| match &benchmark.worker {
            Some(worker) => worker.as_str(),
            None => BUILTIN_WORKER,
        });
    let mut names: Vec<&str> = used.collect();
    names.sort_unstable();
    names.dedup();
    let ask = |name: &str| {
        let (_, hello) = launcher
            .start(name)
            .with_context(|| format!("worker `{name}`"))?;
        Ok((name.to_owned(), hello))
    };
    names.into_iter().map(ask).collect()
}

fn order_seed(suite: &Digest) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| suite.as_bytes()[i]))
}
