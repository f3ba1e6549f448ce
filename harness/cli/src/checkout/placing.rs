//! Where a folder lies within the project, wherever the project lies: in this working tree, in another worktree of the same
//! repository, or, of a suite that was measured in another clone, where its commit has that very file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use assay_protocol::Digest;
use assay_record::manifest::GitState;
use assay_record::{Manifest, Source};
use git2::{Index, IndexEntry, Repository};

use crate::plan::project;
use crate::settings::Settings;
use crate::suite::builtin::cache_folder;

/// What the file of a suite ends in.
const SUITE_ENDING: &[u8] = b".toml";

/// The place of a folder within the project's repository; `None` where it lies elsewhere.
pub fn within(settings: &Settings, folder: &Path) -> Result<Option<PathBuf>> {
    let Some(repository) = project::discover(&settings.project)? else {
        return Ok(None);
    };
    // One that is gone still has its place.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let around = around(&folder, &repository);
    let root = around.or_else(|| root(&repository));
    let Some(root) = root else { return Ok(None) };
    // What Assay lays out itself is no part of the project, wherever the cache lies; but a project may lie there whole.
    let is_ours = cache_folder()?
        .canonicalize()
        .is_ok_and(|cache| folder.starts_with(&cache) && !root.starts_with(&cache));
    let below = folder.strip_prefix(&root).ok().filter(|_| !is_ours);
    Ok(below.map(Path::to_path_buf))
}

/// The working tree around a folder, if it is one of this repository.
fn around(folder: &Path, of: &Repository) -> Option<PathBuf> {
    let common = |repository: &Repository| repository.commondir().canonicalize().ok();
    let found = Repository::discover(folder).ok()?;
    let is_same = common(of).is_some_and(|own| Some(own) == common(&found));
    root(&found).filter(|_| is_same)
}

fn root(repository: &Repository) -> Option<PathBuf> {
    repository.workdir()?.canonicalize().ok()
}

/// The place of a manifest's suite within the project: where `dir` lies in it, else where the measured commit, with its
/// changes, has the suite's very file. `None` where the project has none.
pub fn of_suite(manifest: &Manifest, settings: &Settings, dir: &Path) -> Result<Option<PathBuf>> {
    if let Some(below) = within(settings, dir)? {
        return Ok(Some(below));
    }
    let (Source::Folder(then), Some(state)) = (&manifest.suite.source, manifest.project.git())
    else {
        return Ok(None);
    };
    let repository = project::discover(&settings.project)?;
    // A commit that is not here has nothing.
    Ok(repository.and_then(|repository| {
        let files = files(&repository, state).ok()?;
        let suite = (&manifest.suite.digest, Path::new(then));
        folder_with(&repository, &files, suite)
    }))
}

/// The files of a commit with its changes.
fn files(repository: &Repository, state: &GitState) -> Result<Index> {
    let commit = project::find_commit(repository, state)?;
    if let Some(diff) = &state.diff {
        return project::patched(repository, commit.id(), diff);
    }
    let mut files = Index::new()?;
    files.read_tree(&commit.tree()?)?;
    Ok(files)
}

/// The folder that has a suite's file: where there are several, the one whose path is most like the suite's then.
fn folder_with(
    repository: &Repository,
    files: &Index,
    (digest, then): (&Digest, &Path),
) -> Option<PathBuf> {
    let has_it = |entry: &IndexEntry| {
        let blob = || repository.find_blob(entry.id);
        entry.path.ends_with(SUITE_ENDING)
            && blob().is_ok_and(|blob| Digest::of(blob.content()) == *digest)
    };
    let folder = |entry: IndexEntry| {
        let path = PathBuf::from(String::from_utf8(entry.path).ok()?);
        Some(path.parent()?.to_path_buf())
    };
    let folders = files.iter().filter(has_it).filter_map(folder);
    folders.max_by_key(|folder| {
        let pairs = folder.components().rev().zip(then.components().rev());
        pairs.take_while(|(one, other)| one == other).count()
    })
}
