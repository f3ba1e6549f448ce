//! A commit of the measured project as files, and what is built of them: a worktree in the user's cache, far from
//! the user's own checkout and its index, made once and used again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_record::ArmCommit;
use assay_record::manifest::GitState;
use git2::Repository;
use git2::build::CheckoutBuilder;

use crate::errors::CouldNotRun;
use crate::plan::project;
use crate::settings::Settings;
use crate::suite::builtin::cache_folder;

/// Lines of a failed build's output that an error repeats.
const TAIL_LINES: usize = 20;
/// How Assay's own worker is built.
const OWN_BUILD: [&str; 7] = [
    "cargo",
    "build",
    "--release",
    "-p",
    "assay-suites",
    "--bin",
    "assay-worker",
];
/// Where that leaves it.
const OWN_WORKER: &str = "target/release/assay-worker";

/// A commit as files.
#[derive(Debug)]
pub struct Checkout {
    root: PathBuf,
    /// The built-in worker that was built of it.
    pub worker: Option<PathBuf>,
}

impl Checkout {
    /// Where a folder of the project lies here; `below` is [`within`]'s.
    pub fn folder(&self, below: &Path) -> PathBuf {
        self.root.join(below)
    }
}

/// A commit of the project by any name that git knows, with how it is built.
pub fn resolve(settings: &Settings, revision: &str) -> Result<ArmCommit> {
    let repository = repository(settings)?;
    let commit = repository
        .revparse_single(revision)
        .and_then(|object| object.peel_to_commit())
        .with_context(|| format!("`{revision}` is no commit of this repository"))?;
    let (build, worker) = match &settings.build {
        Some(build) => (build.command.clone(), build.worker.clone()),
        None if is_assay(&repository, &commit) => (
            OWN_BUILD.map(str::to_owned).to_vec(),
            Some(OWN_WORKER.into()),
        ),
        None => (Vec::new(), None),
    };
    Ok(ArmCommit {
        commit: commit.id().to_string(),
        build,
        worker,
    })
}

/// The place of a folder within the project's repository; `None` where it lies elsewhere.
pub fn within(settings: &Settings, folder: &Path) -> Result<Option<PathBuf>> {
    let Some(repository) = project::discover(&settings.project)? else {
        return Ok(None);
    };
    let root = repository.workdir().and_then(|dir| dir.canonicalize().ok());
    let (Some(root), Ok(folder)) = (root, folder.canonicalize()) else {
        return Ok(None);
    };
    // What Assay lays out itself is no part of the project, wherever the cache lies.
    let is_ours = cache_folder()?
        .canonicalize()
        .is_ok_and(|cache| folder.starts_with(cache));
    let below = folder.strip_prefix(&root).ok().filter(|_| !is_ours);
    Ok(below.map(Path::to_path_buf))
}

/// Checks a commit out and builds it, unless that was done before: a build that has nothing to do is quick.
pub fn make(settings: &Settings, commit: &ArmCommit) -> Result<Checkout> {
    let root = place(settings, &commit.commit)?;
    let parent = root.parent().unwrap_or(Path::new("/"));
    let say = || format!("{}: no commit can be checked out there", root.display());
    fs::create_dir_all(parent).with_context(say)?;
    let lock = File::create(root.with_extension("lock")).with_context(say)?;
    // Two runs may want the same commit; the second finds it built.
    lock.lock().with_context(say)?;
    check_out(settings, &commit.commit, &root)?;
    let below = within(settings, &settings.project)?.unwrap_or_default();
    let folder = root.join(below);
    build(commit, &folder, &root.with_extension("log"))?;
    let worker = commit.worker.as_ref().map(|worker| folder.join(worker));
    if let Some(worker) = worker.as_ref().filter(|worker| !worker.is_file()) {
        let what = format!("{}: not there after the build", worker.display());
        return Err(CouldNotRun(what).into());
    }
    Ok(Checkout { root, worker })
}

fn repository(settings: &Settings) -> Result<Repository> {
    project::discover(&settings.project)?
        .context("not in a git repository: run this where the measured project is cloned")
}

/// Whether a commit is one of Assay itself.
fn is_assay(repository: &Repository, commit: &git2::Commit<'_>) -> bool {
    let own = Path::new("suites/src/bin/assay-worker.rs");
    let tree = commit.tree().ok();
    repository.workdir().is_some() && tree.is_some_and(|tree| tree.get_path(own).is_ok())
}

/// One folder per repository and commit.
fn place(settings: &Settings, commit: &str) -> Result<PathBuf> {
    let repository = repository(settings)?;
    let of = Digest::of(repository.commondir().as_os_str().as_encoded_bytes()).hex();
    let name = format!("{}-{}", &of[..12], &commit[..commit.len().min(12)]);
    Ok(cache_folder()?.join("commits").join(name))
}

/// Makes the worktree, or brings one that is there back to what the commit says.
fn check_out(settings: &Settings, commit: &str, root: &Path) -> Result<()> {
    if restore(commit, root).is_ok() {
        return Ok(());
    }
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("{}: in the way", root.display()))?;
    }
    project::prune_worktrees(&repository(settings)?);
    let state = GitState {
        commit: Some(commit.to_owned()),
        branch: None,
        remote: None,
        diff: None,
    };
    project::check_out(settings, &state, root)
}

fn restore(commit: &str, root: &Path) -> Result<()> {
    let repository = Repository::open(root)?;
    let head = repository.head()?.peel_to_commit()?;
    ensure!(head.id().to_string() == commit, "another commit");
    Ok(repository.checkout_head(Some(CheckoutBuilder::new().force()))?)
}

fn build(commit: &ArmCommit, folder: &Path, log: &Path) -> Result<()> {
    let [program, arguments @ ..] = &commit.build[..] else {
        return Ok(());
    };
    let shown = commit.build.join(" ");
    let short = &commit.commit[..12];
    crate::note!("building {short} in {}: `{shown}`", folder.display());
    let failed = |how: String| {
        let said = tail(log);
        CouldNotRun(format!(
            "commit {short} cannot be built: `{shown}` {how}{said}"
        ))
    };
    let output = File::create(log).with_context(|| log.display().to_string())?;
    let status = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        // What it leaves must lie where it is looked for.
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(format!("ended with {status}")).into())
}

/// The end of a build's output, each line on its own.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!("\n  {}", last.join("\n  "))
}
