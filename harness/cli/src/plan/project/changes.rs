//! What of a working tree counts as a change, and what of it no diff can hold: that is refused in words.
//!
//! A file that Git LFS keeps lies in the commit as a pointer to its content. Where the content is the one that is pointed
//! to nothing has changed, whatever a comparison of bytes says. Another content is a change as any other. A submodule is
//! pinned by its commit, and a diff of the project holds nothing of what differs within it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use git2::{
    AttrCheckFlags, AttrValue, Repository, Status, StatusOptions, SubmoduleIgnore, SubmoduleStatus,
};

use crate::plan::file_digest;

/// How a pointer of Git LFS begins.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Longest pointer, in bytes, as its specification says.
const MAX_POINTER_BYTES: usize = 1024;

/// Whether some content is only a pointer to that in Git LFS.
fn is_pointer(content: &[u8]) -> bool {
    content.len() < MAX_POINTER_BYTES && content.starts_with(POINTER)
}

/// Whether a file is only such a pointer; of a longer one no more is read than that takes.
pub fn is_pointer_file(path: &Path) -> bool {
    let mut content = Vec::new();
    let most = MAX_POINTER_BYTES as u64;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut content));
    read.is_ok() && is_pointer(&content)
}

/// A file that differs from the commit.
#[derive(Debug)]
pub struct Change {
    path: PathBuf,
    is_new: bool,
}

/// The files that differ from the commit, but for those below `passed_over`; what only looks changed is added there.
pub fn of(repository: &Repository, passed_over: &mut Vec<PathBuf>) -> Result<Vec<Change>> {
    if repository.is_bare() {
        return Ok(Vec::new());
    }
    check_submodules(repository)?;
    let mut options = StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .exclude_submodules(true);
    let statuses = repository.statuses(Some(&mut options))?;
    let mut changes = Vec::new();
    for entry in statuses
        .iter()
        .filter(|entry| entry.status() != Status::IGNORED)
    {
        let path = PathBuf::from(String::from_utf8_lossy(entry.path_bytes()).into_owned());
        if passed_over.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let is_modified = entry.status() == Status::WT_MODIFIED;
        if is_modified && has_its_content(repository, &path)? {
            passed_over.push(path);
            continue;
        }
        changes.push(Change {
            is_new: entry.status().contains(Status::WT_NEW),
            path,
        });
    }
    Ok(changes)
}

/// Whether a file of Git LFS has the content that the commit's pointer to it names.
fn has_its_content(repository: &Repository, path: &Path) -> Result<bool> {
    let filter = repository.get_attr_bytes(path, "filter", AttrCheckFlags::default())?;
    if AttrValue::from_bytes(filter) != AttrValue::String("lfs") {
        return Ok(false);
    }
    let index = repository.index()?;
    let blob = index
        .get_path(path, 0)
        .and_then(|entry| repository.find_blob(entry.id).ok());
    let Some(pointer) = blob.filter(|blob| is_pointer(blob.content())) else {
        return Ok(false);
    };
    let file = repository.workdir().map(|root| root.join(path));
    let digest = file.and_then(|file| file_digest(&file).ok());
    let named = String::from_utf8_lossy(pointer.content()).into_owned();
    let named = named.lines().find_map(|line| line.strip_prefix("oid "));
    Ok(digest.is_some_and(|digest| named == Some(digest.to_string().as_str())))
}

/// Refuses submodules that are not what the project's commit names. Files in them that git does not know are no change.
fn check_submodules(repository: &Repository) -> Result<()> {
    let changed = SubmoduleStatus::INDEX_ADDED
        | SubmoduleStatus::INDEX_DELETED
        | SubmoduleStatus::INDEX_MODIFIED
        | SubmoduleStatus::WD_MODIFIED
        | SubmoduleStatus::WD_INDEX_MODIFIED
        | SubmoduleStatus::WD_WD_MODIFIED;
    for module in repository.submodules()? {
        let path = module.path().to_string_lossy().into_owned();
        // One that lies there without being registered has no status, and is what its commit says.
        let status = repository.submodule_status(&path, SubmoduleIgnore::Untracked);
        ensure!(
            !status.is_ok_and(|status| status.intersects(changed)),
            "the submodule {path} is not at the commit that the project names, or has uncommitted changes, which a manifest does not hold: \
             commit them there and in the project, or bring it back with `git submodule update --init {path}`"
        );
    }
    Ok(())
}

/// Refuses new files that are longer than a diff may be, before any of them is read.
pub fn check_sizes(repository: &Repository, changes: &[Change], most: usize) -> Result<()> {
    let Some(root) = repository.workdir() else {
        return Ok(());
    };
    let length = |change: &Change| {
        fs::symlink_metadata(root.join(&change.path)).map_or(0, |meta| meta.len())
    };
    let new = changes.iter().filter(|change| change.is_new);
    let lengths: Vec<(u64, &Path)> = new.map(|change| (length(change), &*change.path)).collect();
    let sum = lengths
        .iter()
        .fold(0_u64, |sum, (length, _)| sum.saturating_add(*length));
    let longest = lengths.iter().max();
    ensure!(sum <= most as u64, too_large(most, longest.copied()));
    Ok(())
}

/// Why a diff is too large, with the longest new file where that is known.
pub fn too_large(most: usize, longest: Option<(u64, &Path)>) -> String {
    let longest = longest.map_or(String::new(), |(bytes, path)| {
        format!(
            "; the longest that git does not know is {} of {bytes} bytes",
            path.display()
        )
    });
    format!(
        "its working tree differs by more than {} MiB, which a manifest does not hold: commit, or add large files to .gitignore{longest}",
        most >> 20
    )
}
