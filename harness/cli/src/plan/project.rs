//! The measured project as git sees it: commit, branch, remote, and the whole diff if dirty.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_record::Project;
use assay_record::manifest::{Diff, GitState};
use git2::{Delta, DiffFormat, DiffOptions, Repository, Status, StatusOptions};

use crate::settings::Settings;

/// Largest diff that a manifest holds, in bytes.
const MAX_DIFF_BYTES: usize = 32 << 20;

/// State of the project's repository, or that there is none.
pub fn state(settings: &Settings) -> Result<Project> {
    let Ok(repository) = Repository::discover(&settings.project) else {
        return Ok(Project::NoRepository);
    };
    read(&repository, settings)
        .map(Project::Git)
        .with_context(|| {
            format!(
                "the git repository at {} cannot be read",
                repository.path().display()
            )
        })
}

fn read(repository: &Repository, settings: &Settings) -> Result<GitState> {
    let head = repository.head().ok();
    let commit = head.as_ref().and_then(|head| head.peel_to_commit().ok());
    let branch = head
        .as_ref()
        .filter(|head| head.is_branch())
        .and_then(|head| head.shorthand().ok());
    Ok(GitState {
        commit: commit.as_ref().map(|commit| commit.id().to_string()),
        branch: branch.map(str::to_owned),
        remote: remote(repository),
        diff: diff(repository, commit.as_ref(), settings)?,
    })
}

fn remote(repository: &Repository) -> Option<String> {
    let names = repository.remotes().ok()?;
    let first = names.iter().flatten().flatten().next().map(str::to_owned);
    let remote = repository
        .find_remote("origin")
        .ok()
        .or_else(|| repository.find_remote(&first?).ok())?;
    remote.url().ok().map(without_credentials)
}

/// A remote's URL without user, password, query and fragment: any of them may hold a token.
pub fn without_credentials(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    if let Some((scheme, rest)) = plain.split_once("://") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        return format!("{scheme}://{host}{path}");
    }
    // `user@host:path`: the user is part of the address only where it is git's own.
    match plain.rsplit_once('@') {
        Some(("git", rest)) => format!("git@{rest}"),
        Some((_, rest)) => rest.to_owned(),
        None => plain.to_owned(),
    }
}

/// All that the working tree adds to the commit, as one patch; `None` where it adds nothing.
fn diff(
    repository: &Repository,
    commit: Option<&git2::Commit<'_>>,
    settings: &Settings,
) -> Result<Option<Diff>> {
    let ours = our_own_output(repository, settings);
    if !is_dirty(repository, &ours)? {
        return Ok(None);
    }
    let mut options = DiffOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .show_untracked_content(true)
        .show_binary(true);
    let tree = commit.map(git2::Commit::tree).transpose()?;
    let changes = repository.diff_tree_to_workdir_with_index(tree.as_ref(), Some(&mut options))?;
    let mut text = Vec::new();
    let mut too_large = false;
    changes
        .print(DiffFormat::Patch, |file, _, line| {
            let path = file.new_file().path().or_else(|| file.old_file().path());
            if path.is_some_and(|path| ours.iter().any(|folder| path.starts_with(folder))) {
                return true;
            }
            if matches!(line.origin(), '+' | '-' | ' ') {
                text.push(line.origin() as u8);
            }
            text.extend_from_slice(line.content());
            too_large = text.len() > MAX_DIFF_BYTES;
            !too_large && file.status() != Delta::Unreadable
        })
        .or_else(|error| if too_large { Ok(()) } else { Err(error) })?;
    ensure!(
        !too_large,
        "its working tree differs by more than {} MiB, which a manifest does not hold: commit, or add large files to .gitignore",
        MAX_DIFF_BYTES >> 20
    );
    Ok(Some(Diff::from_bytes(text)))
}

fn is_dirty(repository: &Repository, ours: &[PathBuf]) -> Result<bool> {
    if repository.is_bare() {
        return Ok(false);
    }
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true);
    let statuses = repository.statuses(Some(&mut options))?;
    let counts = |entry: &git2::StatusEntry<'_>| {
        let path = String::from_utf8_lossy(entry.path_bytes()).into_owned();
        entry.status() != Status::IGNORED
            && !ours
                .iter()
                .any(|folder| Path::new(&path).starts_with(folder))
    };
    Ok(statuses.iter().any(|entry| counts(&entry)))
}

/// What Assay itself writes, relative to the repository: measuring must not make a tree dirty.
fn our_own_output(repository: &Repository, settings: &Settings) -> Vec<PathBuf> {
    let root = repository.workdir().and_then(|dir| dir.canonicalize().ok());
    let Some(root) = root else { return Vec::new() };
    [&settings.records, &settings.database, &settings.site]
        .iter()
        .filter_map(|path| {
            resolve(path)
                .strip_prefix(&root)
                .ok()
                .map(Path::to_path_buf)
        })
        .filter(|path| !path.as_os_str().is_empty())
        .collect()
}

/// The path with its existing part resolved, so that links do not hide where it lies.
fn resolve(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return real.join(rest);
        }
    }
    path.to_path_buf()
}

/// Makes a worktree of `commit` at `to` with the diff applied: the source as it was measured.
pub fn check_out(settings: &Settings, state: &GitState, to: &Path) -> Result<()> {
    let commit = state
        .commit
        .as_deref()
        .context("the manifest names no commit")?;
    let repository = Repository::discover(&settings.project)
        .context("not in a git repository: run this where the measured project is cloned")?;
    let id = git2::Oid::from_str(commit).with_context(|| format!("{commit} is no commit id"))?;
    repository.find_commit(id).with_context(|| {
        format!(
            "commit {commit} is not in this repository; fetch it first{}",
            state
                .remote
                .as_ref()
                .map_or(String::new(), |r| format!(" from {r}"))
        )
    })?;
    ensure!(
        !to.exists(),
        "{}: exists already; name a new folder",
        to.display()
    );
    let name = format!("assay-{}", &commit[..commit.len().min(12)]);
    let worktree = repository
        .worktree(&unused_name(&repository, &name), to, None)
        .with_context(|| format!("{}: no worktree can be made there", to.display()))?;
    let inside = Repository::open_from_worktree(&worktree)?;
    inside.set_head_detached(id)?;
    inside.checkout_head(Some(git2::build::CheckoutBuilder::new().force()))?;
    if let Some(diff) = &state.diff {
        let patch = diff
            .to_bytes()
            .context("the manifest's diff is not in hexadecimal")?;
        let diff = git2::Diff::from_buffer(&patch).context("the manifest's diff is no patch")?;
        inside
            .apply(&diff, git2::ApplyLocation::WorkDir, None)
            .context("the manifest's diff does not apply to its commit")?;
    }
    Ok(())
}

fn unused_name(repository: &Repository, base: &str) -> String {
    let taken = |name: &String| repository.find_worktree(name).is_ok();
    let numbered = (1..).map(|n| {
        if n == 1 {
            base.to_owned()
        } else {
            format!("{base}-{n}")
        }
    });
    numbered
        .into_iter()
        .find(|name| !taken(name))
        .unwrap_or_else(|| base.to_owned())
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn credentials_never_stay() {
        for (url, expected) in [
            (
                "https://user:secret@host.example/a/b.git",
                "https://host.example/a/b.git",
            ),
            (
                "https://token@host.example/a/b.git",
                "https://host.example/a/b.git",
            ),
            (
                "https://a:p@ss@host.example/a.git",
                "https://host.example/a.git",
            ),
            (
                "https://host.example/a.git?private_token=secret#x",
                "https://host.example/a.git",
            ),
            (
                "ssh://git:secret@host.example:22/a.git",
                "ssh://host.example:22/a.git",
            ),
            ("git@host.example:a/b.git", "git@host.example:a/b.git"),
            ("user:secret@host.example:a/b.git", "host.example:a/b.git"),
            ("/srv/git/a.git", "/srv/git/a.git"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }
}
