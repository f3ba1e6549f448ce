//! The measured project as git sees it: commit, branch, remote, and the whole diff if dirty.

mod changes;

pub use changes::is_pointer_file;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_record::Project;
use assay_record::manifest::{Diff, GitState};
use git2::build::CheckoutBuilder;
use git2::{
    BranchType, Commit, Delta, DiffFormat, DiffOptions, ErrorCode, Index, Oid, Repository,
    WorktreePruneOptions,
};

use crate::settings::Settings;
use crate::site::unchanged;
use crate::{environments, workers};

/// Largest diff that a manifest holds, in bytes.
const MAX_DIFF_BYTES: usize = 32 << 20;

/// State of the project's repository, or that there is none.
pub fn state(settings: &Settings) -> Result<Project> {
    let Some(repository) = discover(&settings.project)? else {
        return Ok(Project::NoRepository);
    };
    read(&repository, settings)
        .map(Project::Git)
        .with_context(|| {
            format!(
                "the git repository at {} cannot be taken down in a manifest",
                repository.path().display()
            )
        })
}

/// The repository around `folder`; `None` where there is none. One that git does not trust is an error.
pub fn discover(folder: &Path) -> Result<Option<Repository>> {
    match Repository::discover(folder) {
        Ok(repository) => Ok(Some(repository)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) if error.code() == ErrorCode::Owner => {
            let root = folder.ancestors().find(|dir| dir.join(".git").exists());
            let root = root.unwrap_or(folder).display();
            Err(error).with_context(|| {
                format!("the git repository at {root} belongs to another user; if you trust it: git config --global --add safe.directory '{root}'")
            })
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "the git repository around {} cannot be opened",
                folder.display()
            )
        }),
    }
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
    // `user@host:path`: a later `@` belongs to the path, and so does every `@` of a local path.
    let authority_end = scp_path(plain).unwrap_or(0);
    match plain[..authority_end].rsplit_once('@') {
        Some(("git", _)) | None => plain.to_owned(),
        Some((user, _)) => plain[user.len() + 1..].to_owned(),
    }
}

/// Where the path starts in `user@host:path`, or in `user:password@host:path`; `None` for a local path.
fn scp_path(address: &str) -> Option<usize> {
    let before_folder = &address[..address.find('/').unwrap_or(address.len())];
    let host_end = |from: usize| before_folder[from..].find(':').map(|at| from + at);
    let first = host_end(0)?;
    // No user yet: what the colon ended is the user, and a password follows; or it is the host.
    let password = !before_folder[..first].contains('@');
    match before_folder[first..].find('@').filter(|_| password) {
        Some(at) => host_end(first + at),
        None => Some(first),
    }
}

/// All that the working tree adds to the commit, as one patch; `None` where it adds nothing.
fn diff(
    repository: &Repository,
    commit: Option<&Commit<'_>>,
    settings: &Settings,
) -> Result<Option<Diff>> {
    let mut passed_over = our_own_output(repository, settings);
    let changes = changes::of(repository, &mut passed_over)?;
    if changes.is_empty() {
        return Ok(None);
    }
    changes::check_sizes(repository, &changes, MAX_DIFF_BYTES)?;
    let mut options = DiffOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .show_untracked_content(true)
        .show_binary(true)
        .ignore_submodules(true)
        // Whatever diff.noprefix and diff.mnemonicPrefix say: a patch without them does not apply.
        .old_prefix("a")
        .new_prefix("b");
    let tree = commit.map(Commit::tree).transpose()?;
    let changes = repository.diff_tree_to_workdir_with_index(tree.as_ref(), Some(&mut options))?;
    let mut text = Vec::new();
    let mut too_large = false;
    changes
        .print(DiffFormat::Patch, |file, _, line| {
            let path = file.new_file().path().or_else(|| file.old_file().path());
            if path.is_some_and(|path| passed_over.iter().any(|folder| path.starts_with(folder))) {
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
    ensure!(!too_large, changes::too_large(MAX_DIFF_BYTES, None));
    // A repository within this one is no part of it, though git lists its folder.
    Ok((!text.is_empty()).then(|| Diff::from_bytes(text)))
}

/// What Assay itself writes, relative to the repository: measuring must not make a tree dirty.
fn our_own_output(repository: &Repository, settings: &Settings) -> Vec<PathBuf> {
    let root = repository.workdir().and_then(|dir| dir.canonicalize().ok());
    let Some(root) = root else { return Vec::new() };
    [
        settings.records.clone(),
        settings.database.clone(),
        assay_store::kept_series(&settings.database),
        unchanged::file(settings),
        settings.site.clone(),
        workers::folder(settings),
        environments::images(settings),
    ]
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
pub fn resolve(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return real.join(rest);
        }
    }
    path.to_path_buf()
}

/// Makes a worktree of `commit` at `to` with the diff applied: the source as it was measured.
pub fn check_out(settings: &Settings, state: &GitState, to: &Path) -> Result<()> {
    let repository = discover(&settings.project)?
        .context("not in a git repository: run this where the measured project is cloned")?;
    let id = find_commit(&repository, state)?.id();
    ensure!(
        !to.exists(),
        "{}: exists already; name a new folder",
        to.display()
    );
    let name = unused_name(&repository, &format!("assay-{}", &id.to_string()[..12]));
    let made = make_worktree(&repository, &name, id, state.diff.as_ref(), to);
    if made.is_err() {
        // Best effort: the error that counts is the first one.
        let _ = remove_worktree(&repository, &name);
        let _ = std::fs::remove_dir_all(to);
    }
    // git2 makes a branch for every worktree; this one is detached from it.
    if let Ok(mut branch) = repository.find_branch(&name, BranchType::Local) {
        let _ = branch.delete();
    }
    made
}

/// The commit of a state, or in words that the repository has it no more.
pub fn find_commit<'a>(repository: &'a Repository, state: &GitState) -> Result<Commit<'a>> {
    let commit = state.commit.as_deref();
    let commit = commit.context("the manifest names no commit")?;
    let id = Oid::from_str(commit).with_context(|| format!("{commit} is no commit id"))?;
    let from = |remote: &String| format!(" from {remote}");
    repository.find_commit(id).map_err(lacking(format!(
        "commit {commit} is not in this repository; fetch it first{}",
        state.remote.as_ref().map_or(String::new(), from)
    )))
}

/// That a repository lacks something, in these words alone; any other error with what git says of it.
pub fn lacking(what: String) -> impl FnOnce(git2::Error) -> anyhow::Error {
    move |error| match error.code() {
        ErrorCode::NotFound => anyhow::Error::msg(what),
        _ => anyhow::Error::new(error).context(what),
    }
}

fn make_worktree(
    repository: &Repository,
    name: &str,
    commit: Oid,
    diff: Option<&Diff>,
    to: &Path,
) -> Result<()> {
    let worktree = repository
        .worktree(name, to, None)
        .with_context(|| format!("{}: no worktree can be made there", to.display()))?;
    let inside = Repository::open_from_worktree(&worktree)?;
    fill(&inside, commit, diff)
}

/// Makes a repository's files those of a commit, with a diff applied.
pub fn fill(inside: &Repository, commit: Oid, diff: Option<&Diff>) -> Result<()> {
    inside.set_head_detached(commit)?;
    inside.checkout_head(Some(CheckoutBuilder::new().force()))?;
    diff.map_or(Ok(()), |diff| apply(inside, commit, diff))
}

/// Brings the diff into the working tree, and leaves the index at the commit.
fn apply(inside: &Repository, commit: Oid, diff: &Diff) -> Result<()> {
    let mut patched = patched(inside, commit, diff)?;
    let patched = inside.find_object(patched.write_tree_to(inside)?, None)?;
    inside
        .checkout_tree(
            &patched,
            Some(CheckoutBuilder::new().force().update_index(false)),
        )
        .context("the patched source cannot be written")
}

/// What a commit's files are with a diff applied.
pub fn patched(inside: &Repository, commit: Oid, diff: &Diff) -> Result<Index> {
    let patch = diff
        .to_bytes()
        .context("the manifest's diff is not in hexadecimal")?;
    let patch = git2::Diff::from_buffer(&patch).context("the manifest's diff is no patch")?;
    // To the tree, not to the files: libgit2 reads what a link points to in place of the link.
    let tree = inside.find_commit(commit)?.tree()?;
    inside
        .apply_to_tree(&tree, &patch, None)
        .context("the manifest's diff does not apply to its commit")
}

fn remove_worktree(repository: &Repository, name: &str) -> Result<(), git2::Error> {
    let mut all_of_it = WorktreePruneOptions::new();
    all_of_it.valid(true).working_tree(true);
    repository.find_worktree(name)?.prune(Some(&mut all_of_it))
}

/// Forgets those of our worktrees whose folders are gone. Best effort: git does so too, in time.
pub fn prune_worktrees(repository: &Repository) {
    let names = repository.worktrees().ok();
    let ours = names.iter().flat_map(|names| names.iter()).flatten();
    for name in ours.flatten().filter(|name| name.starts_with("assay-")) {
        if let Ok(worktree) = repository.find_worktree(name) {
            let _ = worktree.prune(None);
        }
    }
}

fn unused_name(repository: &Repository, base: &str) -> String {
    let taken = |name: &String| {
        repository.find_worktree(name).is_ok()
            || repository.find_branch(name, BranchType::Local).is_ok()
    };
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    std::iter::once(base.to_owned())
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or_else(|| base.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use assay_record::manifest::GitState;
    use git2::{Repository, Signature};

    use super::{check_out, state, without_credentials};
    use crate::settings::Settings;

    /// A repository with one commit, then changed in every way that a file can be.
    fn changed_project(root: &Path) -> GitState {
        let repository = Repository::init(root).unwrap();
        let mut config = repository.config().unwrap();
        config.set_bool("diff.noprefix", true).unwrap();
        for name in ["edited", "deleted", "becomes_link"] {
            fs::write(root.join(name), "before\n").unwrap();
        }
        symlink("edited", root.join("link")).unwrap();
        let mut index = repository.index().unwrap();
        index
            .add_all(["*"], git2::IndexAddOption::DEFAULT, None)
            .unwrap();
        let tree = index.write_tree().unwrap();
        index.write().unwrap();
        let tree = repository.find_tree(tree).unwrap();
        let who = Signature::now("a", "a@example.com").unwrap();
        repository
            .commit(Some("HEAD"), &who, &who, "all", &tree, &[])
            .unwrap();
        fs::write(root.join("edited"), "after\n").unwrap();
        fs::write(root.join("binary"), [0, 159, 146, 150]).unwrap();
        for name in ["deleted", "becomes_link", "link"] {
            fs::remove_file(root.join(name)).unwrap();
        }
        symlink("edited", root.join("becomes_link")).unwrap();
        symlink("binary", root.join("link")).unwrap();
        state(&Settings::below(root))
            .unwrap()
            .git()
            .unwrap()
            .clone()
    }

    #[test]
    fn a_checkout_is_the_source_as_it_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        let (root, to) = (folder.path().join("project"), folder.path().join("copy"));
        let measured = changed_project(&root);
        check_out(&Settings::below(&root), &measured, &to).unwrap();
        assert_eq!(fs::read(to.join("edited")).unwrap(), b"after\n");
        assert_eq!(fs::read(to.join("binary")).unwrap(), [0, 159, 146, 150]);
        assert!(!to.join("deleted").exists());
        for (link, target) in [("link", "binary"), ("becomes_link", "edited")] {
            assert_eq!(fs::read_link(to.join(link)).unwrap(), Path::new(target));
        }
        let again = state(&Settings::below(&to)).unwrap();
        assert_eq!(again.git().unwrap().diff, measured.diff);
    }

    #[test]
    fn a_checkout_that_fails_leaves_nothing_and_can_be_retried() {
        let folder = tempfile::tempdir().unwrap();
        let (root, to) = (folder.path().join("project"), folder.path().join("copy"));
        let measured = changed_project(&root);
        let patch = "diff --git a/edited b/edited\n--- a/edited\n+++ b/edited\n@@ -1 +1 @@\n-other\n+after\n";
        let broken = GitState {
            diff: Some(super::Diff::from_bytes(patch.into())),
            ..measured.clone()
        };
        assert!(check_out(&Settings::below(&root), &broken, &to).is_err());
        assert!(!to.exists());
        check_out(&Settings::below(&root), &measured, &to).unwrap();
        let branches = Repository::open(&root).unwrap();
        assert_eq!(branches.branches(None).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_without_a_repository_is_no_error_and_a_broken_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let none = state(&Settings::below(folder.path())).unwrap();
        assert!(none.git().is_none());
        fs::write(folder.path().join(".git"), "nonsense").unwrap();
        assert!(state(&Settings::below(folder.path())).is_err());
    }

    #[test]
    fn what_assay_keeps_makes_no_tree_dirty() {
        let root = tempfile::tempdir().unwrap();
        Repository::init(root.path()).unwrap();
        let mut settings = Settings::below(root.path());
        settings.database = root.path().join("d/a.duckdb");
        fs::create_dir(root.path().join("d")).unwrap();
        for file in ["d/a.duckdb", "d/a.duckdb.series", "d/a.duckdb.sites"] {
            fs::write(root.path().join(file), "kept").unwrap();
        }
        for folder in ["d/workers", "d/images"] {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            // More than any diff may be; it holds nothing.
            let file = fs::File::create(folder.join("0".repeat(64))).unwrap();
            file.set_len(33 << 20).unwrap();
        }
        let here = state(&settings).unwrap();
        assert!(here.git().unwrap().diff.is_none());
    }

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
            ("me@host.example:a/b.git", "host.example:a/b.git"),
            ("git@host.example:re@po.git", "git@host.example:re@po.git"),
            (
                "git@host.example:g/re@po.git",
                "git@host.example:g/re@po.git",
            ),
            ("me@host.example:re@po.git", "host.example:re@po.git"),
            ("me@host.example:a:b@c.git", "host.example:a:b@c.git"),
            ("host.example:a/re@po.git", "host.example:a/re@po.git"),
            ("/srv/git/a.git", "/srv/git/a.git"),
            ("/srv/git/a@b.git", "/srv/git/a@b.git"),
            ("../a@b.git", "../a@b.git"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }
}
