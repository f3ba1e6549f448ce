//! A commit of the measured project as files, with what was changed in them, and what is built of them: a worktree in
//! the user's cache, far from the user's own checkout and its index, made once and used again.

mod placing;

pub use placing::{of_suite, within};

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_record::ArmCommit;
use assay_record::manifest::{Diff, GitState};
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
/// The same, from cargo's target folder.
const BUILT: &str = "release/assay-worker";

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
        .map_err(project::lacking(format!(
            "`{revision}` is no commit of this repository; `git log --all --oneline` lists those it has, `git fetch` brings more"
        )))?;
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

/// Checks a commit out and builds it, unless that was done before: a build that has nothing to do is quick.
pub fn make(settings: &Settings, commit: &ArmCommit) -> Result<Checkout> {
    make_state(settings, &clean(&commit.commit), commit)
}

/// The same of a commit with changes in its files.
pub fn make_state(settings: &Settings, state: &GitState, commit: &ArmCommit) -> Result<Checkout> {
    let (root, _lock) = check_out(settings, state)?;
    let below = within(settings, &settings.project)?.unwrap_or_default();
    let folder = root.join(below);
    build(commit, &folder, &root, settings.cargo_home.as_deref())?;
    let worker = commit.worker.as_ref().map(|worker| folder.join(worker));
    if let Some(worker) = worker.as_ref().filter(|worker| !worker.is_file()) {
        let what = format!("{}: not there after the build", worker.display());
        return Err(CouldNotRun(what).into());
    }
    Ok(Checkout { root, worker })
}

/// A commit with changes in its files, not built.
pub fn files(settings: &Settings, state: &GitState) -> Result<Checkout> {
    let (root, _lock) = check_out(settings, state)?;
    Ok(Checkout { root, worker: None })
}

/// A commit without changes.
fn clean(commit: &str) -> GitState {
    GitState {
        commit: Some(commit.to_owned()),
        branch: None,
        remote: None,
        diff: None,
    }
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

/// One folder per repository, commit and changes.
fn place(settings: &Settings, state: &GitState) -> Result<PathBuf> {
    let repository = repository(settings)?;
    let of = Digest::of(repository.commondir().as_os_str().as_encoded_bytes()).hex();
    let commit = project::find_commit(&repository, state)?.id().to_string();
    let changes = state.diff.as_ref().and_then(Diff::to_bytes);
    let changes = changes.map_or(String::new(), |diff| {
        format!("-{}", Digest::of(diff).short())
    });
    let name = format!("{}-{}{changes}", &of[..12], &commit[..12]);
    Ok(cache_folder()?.join("commits").join(name))
}

/// Makes the worktree, or brings one that is there back to what the state says. Locked: two runs may want the same one.
fn check_out(settings: &Settings, state: &GitState) -> Result<(PathBuf, File)> {
    let root = place(settings, state)?;
    let lock = lock(&root)?;
    if restore(state, &root).is_ok() {
        return Ok((root, lock));
    }
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("{}: in the way", root.display()))?;
    }
    project::prune_worktrees(&repository(settings)?);
    project::check_out(settings, state, &root)?;
    Ok((root, lock))
}

/// Waits until nobody else makes something there.
pub fn lock(root: &Path) -> Result<File> {
    let say = || format!("{}: nothing can be laid out there", root.display());
    fs::create_dir_all(root.parent().unwrap_or(Path::new("/"))).with_context(say)?;
    let path = root.with_extension("lock");
    let lock = File::create(&path).with_context(say)?;
    if lock.try_lock().is_err() {
        crate::note!("waiting for another assay, which holds {}", path.display());
        lock.lock().with_context(say)?;
    }
    Ok(lock)
}

fn restore(state: &GitState, root: &Path) -> Result<()> {
    let repository = Repository::open(root)?;
    let head = repository.head()?.peel_to_commit()?.id().to_string();
    ensure!(Some(&head) == state.commit.as_ref(), "another commit");
    if state.diff.is_none() {
        return Ok(repository.checkout_head(Some(CheckoutBuilder::new().force()))?);
    }
    let here = project::state(&Settings::below(root))?;
    let is_same = here.git().is_some_and(|here| here.diff == state.diff);
    ensure!(is_same, "other changes");
    Ok(())
}

/// Whether what is built is Assay's own worker.
pub fn is_own_build(commit: &ArmCommit) -> bool {
    commit.build == OWN_BUILD
}

/// Builds in `folder`, a part of the worktree at `root`; with a home for cargo that has all, without a network.
fn build(commit: &ArmCommit, folder: &Path, root: &Path, cargo_home: Option<&Path>) -> Result<()> {
    let log = &root.with_extension("log");
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
    let target = is_own_build(commit).then(|| shared_target(root));
    let _lock = target.as_deref().map(lock).transpose()?;
    let mut command = Command::new(program);
    // What it leaves must lie where it is looked for.
    command.env_remove("CARGO_TARGET_DIR");
    command.envs(target.iter().map(|target| ("CARGO_TARGET_DIR", target)));
    if let Some(home) = cargo_home {
        command
            .env("CARGO_HOME", home)
            .env("CARGO_NET_OFFLINE", "true");
    }
    let status = command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed(format!("ended with {status}")).into());
    }
    target.map_or(Ok(()), |target| {
        take_built(&target.join(BUILT), &folder.join(OWN_WORKER))
    })
}

/// Where cargo builds Assay's own commits: they share most of what they are made of.
fn shared_target(root: &Path) -> PathBuf {
    let repository = root.file_name().and_then(|name| name.to_str());
    let repository = repository.and_then(|name| name.split('-').next());
    root.with_file_name(format!("{}-target", repository.unwrap_or("own")))
}

/// Copies what was built to where it is looked for: the next commit is built over it.
fn take_built(built: &Path, worker: &Path) -> Result<()> {
    let say = || format!("{}: not there after the build", built.display());
    fs::create_dir_all(worker.parent().unwrap_or(worker)).with_context(say)?;
    fs::copy(built, worker).with_context(say)?;
    Ok(())
}

/// The end of a build's output, each line on its own.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!("\n  {}", last.join("\n  "))
}
