//! From a suite to a manifest: every case in full, checked against what the workers offer.
//!
//! Workers are asked which workloads they have and which parameters those take, so that a
//! mistake in a suite is found before anything is measured, whatever language the worker is in.

pub mod arms;
pub mod cases;
pub mod command;
pub mod kernel;
pub mod parameters;
pub mod programs;
pub mod project;
pub mod sources;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use arms::Standing;
use assay_protocol::{Digest, Hello, U64};
use assay_record::manifest::{BUILTIN_WORKER, MANIFEST_SCHEMA, SuiteRef, Tool};
use assay_record::{Case, Manifest, ManifestFile, Source};

use crate::engines::NoProgram;
use crate::errors::CouldNotRun;
use crate::execute::{launch::Launcher, monotonic_ns};
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
    /// Rounds of every case; absent: as its policy says.
    pub rounds: Option<u32>,
    /// Key of the order of cases; absent: derived from the suite, the same on every night.
    pub order_seed: Option<u64>,
    /// Command put before every worker.
    pub prefix: Vec<String>,
    /// Arms as the user gave them, `NAME=SPEC`; none: one arm, here.
    pub arms: Vec<String>,
    /// The environment of a run of one arm; absent: as the suite says, else this machine.
    pub environment: Option<String>,
}

/// Plans a run of a suite.
pub fn plan(located: &Located, settings: &Settings, options: &Options) -> Result<ManifestFile> {
    let suite = &located.suite;
    let in_suite = || located.name.clone();
    let workers: BTreeMap<String, Vec<String>> = suite
        .workers
        .iter()
        .map(|(name, worker)| (name.clone(), worker.argv.clone()))
        .collect();
    let dir = folder(&located.source)?;
    let standing = arms::resolve(suite, settings, options, &dir)?;
    let cases = cases(suite, &standing, &workers, options).with_context(in_suite)?;
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA,
        suite: SuiteRef {
            name: suite.name.clone(),
            digest: located.digest,
            source: located.source.clone(),
        },
        tool: Tool {
            version: env!("CARGO_PKG_VERSION").into(),
            binary: own_digest()?,
        },
        project: project::state(settings)?,
        sources: sources(&standing, &workers, &cases, &dir).with_context(in_suite)?,
        arms: standing.into_iter().map(|standing| standing.arm).collect(),
        workers,
        order_seed: U64(options
            .order_seed
            .unwrap_or_else(|| order_seed(&located.digest))),
        cases: cases.into(),
    };
    Ok(ManifestFile::seal(&manifest)?)
}

/// The cases, which must mean the same on every arm.
fn cases(
    suite: &Suite,
    standing: &[Standing],
    workers: &BTreeMap<String, Vec<String>>,
    options: &Options,
) -> Result<Vec<Case>> {
    let launcher = |standing| Launcher::new(standing, workers, &planning());
    let launchers: Vec<Launcher> = standing.iter().map(launcher).collect();
    let mut catalogs = Vec::new();
    for (standing, launcher) in standing.iter().zip(&launchers) {
        let in_arm = || format!("arm `{}`", standing.arm.name);
        catalogs.push(ask_workers(suite, launcher).with_context(in_arm)?);
    }
    let offered = &offered(suite, standing, &catalogs, &options.tags);
    let of_arm = |catalog| cases::expand(offered, catalog, options);
    let mut arms = standing.iter().zip(&catalogs);
    let (first, catalog) = arms.next().context("a run has an arm")?;
    let mut cases = of_arm(catalog)?;
    for (other, catalog) in arms {
        let name = &other.arm.name;
        let theirs = of_arm(catalog).with_context(|| format!("arm `{name}`"))?;
        if let Some((case, _)) = cases.iter().zip(&theirs).find(|(a, b)| a != b) {
            bail!(
                "case `{}` is not the same work on the arms `{}` and `{name}`: their workers define its workload differently",
                case.id,
                first.arm.name
            );
        }
    }
    if cases.is_empty() {
        let lacks_programs = offered.benchmarks.len() < suite.benchmarks.len();
        ensure!(!lacks_programs, nothing_offered(suite));
        bail!(
            "no case is left; `assay list {}` names them all",
            suite.name
        );
    }
    let arms = standing.iter().zip(&launchers);
    for (standing, launcher) in arms.filter(|(standing, _)| standing.arm.image.is_some()) {
        let arm = &standing.arm.name;
        cases =
            programs::startable(&cases, arm, launcher).with_context(|| format!("arm `{arm}`"))?;
    }
    ensure!(!cases.is_empty(), nothing_offered(suite));
    Ok(cases)
}

/// That an image is for other suites, or other cases of this one.
fn nothing_offered(suite: &Suite) -> CouldNotRun {
    CouldNotRun(format!(
        "no case is left: the image has no program for those asked for; run them in another environment, or on the host (`assay list {}` names all)",
        suite.name
    ))
}

/// The suite with the benchmarks that every arm has a worker for; says which are left out of those that the tags ask for.
fn offered(
    suite: &Suite,
    standing: &[Standing],
    catalogs: &[BTreeMap<String, Hello>],
    tags: &[String],
) -> Suite {
    let mut offered = suite.clone();
    for (standing, catalog) in standing.iter().zip(catalogs) {
        offered.benchmarks.retain(|benchmark| {
            let worker = benchmark.worker.as_deref().unwrap_or(BUILTIN_WORKER);
            let is_there = catalog.contains_key(worker);
            if !is_there && cases::tagged(benchmark, tags) {
                crate::note!(
                    "note: benchmark `{}` is left out: the image of arm `{}` has no program for worker `{worker}`",
                    benchmark.name,
                    standing.arm.name
                );
            }
            is_there
        });
    }
    offered
}

/// Digests of the files in the suite's folder. At a commit, the commit pins them.
fn sources(
    standing: &[Standing],
    workers: &BTreeMap<String, Vec<String>>,
    cases: &[Case],
    dir: &Path,
) -> Result<BTreeMap<String, Digest>> {
    let (here, elsewhere): (Vec<_>, Vec<_>) = standing.iter().partition(|arm| arm.dir == dir);
    for arm in elsewhere {
        // Whether they are there; a build may make some of them.
        sources::digests(workers, cases, &arm.dir)
            .with_context(|| format!("arm `{}`, at its commit", arm.arm.name))?;
    }
    if here.is_empty() {
        return Ok(BTreeMap::new());
    }
    sources::digests(workers, cases, dir)
}

/// The folder that `{dir}` stands for.
pub fn folder(source: &Source) -> Result<PathBuf> {
    match source {
        Source::Builtin => builtin::materialise(),
        Source::Folder(folder) => Ok(PathBuf::from(folder)),
        Source::Imported(origin) => bail!(
            "this run was imported from {}, which {} wrote: it cannot be run again here, for only what was measured is known; measure again with {} and import that",
            origin.file,
            origin.format,
            origin.format
        ),
    }
}

/// SHA-256 of the running executable, which is also the built-in worker.
pub fn own_digest() -> Result<Digest> {
    // It is long, and asked for often.
    static KNOWN: OnceLock<Digest> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let path = std::env::current_exe().context("the running executable cannot be found")?;
    let digest = file_digest(&path)?;
    Ok(*KNOWN.get_or_init(|| digest))
}

/// SHA-256 of a file, which need not fit into memory; of a pipe or a device nobody asks twice.
pub fn file_digest(path: &Path) -> Result<Digest> {
    digest_of_file(path).with_context(|| path.display().to_string())
}

fn digest_of_file(path: &Path) -> std::io::Result<Digest> {
    // Before it is opened: that of a pipe waits for whoever writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    assay_record::digest_of(File::open(path)?)
}

/// What the workers of an arm offer, by their names; without those that its image has no program for.
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
    let mut offers = BTreeMap::new();
    for name in names {
        match launcher.start(name) {
            Ok((_, hello)) => drop(offers.insert(name.to_owned(), hello)),
            // An image is for what it has.
            Err(error) if error.is::<NoProgram>() => {}
            Err(error) => return Err(error.context(format!("worker `{name}`"))),
        }
    }
    Ok(offers)
}

/// What the containers of this planning are named after: nobody else's on this machine, now.
fn planning() -> String {
    format!("plan-{}-{}", std::process::id(), monotonic_ns())
}

fn order_seed(suite: &Digest) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| suite.as_bytes()[i]))
}
