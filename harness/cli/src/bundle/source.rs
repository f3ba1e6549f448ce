//! The files of a commit as a tar archive that says nothing else, and back into a git repository.
//!
//! The archive holds files and links in git's order: no times, no owners, no folders. What comes out of one is hashed
//! as git does, and taken only where that gives the very commit that the manifest names. A link may point to another
//! place of the tree, never out of it; hard links, devices and pipes are no files of a commit.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use git2::{
    Commit, Index, IndexEntry, IndexTime, ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult,
};
use tar::{Builder, EntryType, Header};

use super::entries::{self, MAX_PATH_BYTES, Names};

/// Modes of git's tree entries.
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_000;
const SUBMODULE: u32 = 0o160_000;

const MAX_FILE_BYTES: u64 = 1 << 30;

/// Submodules of a tree: the commit of each path.
pub type Submodules = BTreeMap<String, String>;

/// The commit object as git has it.
pub fn commit_object(repository: &Repository, commit: &str) -> Result<Vec<u8>> {
    let id = Oid::from_str(commit).with_context(|| format!("{commit} is no commit id"))?;
    let odb = repository.odb()?;
    let object = odb.read(id)?;
    ensure!(object.kind() == ObjectType::Commit, "{commit} is no commit");
    Ok(object.data().to_vec())
}

/// Writes the files of a commit as an archive; the submodules among them are returned.
pub fn pack(repository: &Repository, commit: &Commit<'_>, into: impl Write) -> Result<Submodules> {
    let mut archive = Builder::new(into);
    let mut submodules = Submodules::new();
    let mut failed = None;
    let walked = commit
        .tree()?
        .walk(TreeWalkMode::PreOrder, |folder, entry| {
            let path = [folder.as_bytes(), entry.name_bytes()].concat();
            let mode = entry.filemode_raw().cast_unsigned();
            let packed = pack_one(
                repository,
                &path,
                mode,
                entry.id(),
                &mut archive,
                &mut submodules,
            );
            match packed.with_context(|| String::from_utf8_lossy(&path).into_owned()) {
                Ok(()) => TreeWalkResult::Ok,
                Err(error) => {
                    failed = Some(error);
                    TreeWalkResult::Abort
                }
            }
        });
    if let Some(error) = failed {
        return Err(error);
    }
    walked?;
    archive.into_inner()?.flush()?;
    Ok(submodules)
}

fn pack_one(
    repository: &Repository,
    path: &[u8],
    mode: u32,
    id: Oid,
    archive: &mut Builder<impl Write>,
    submodules: &mut Submodules,
) -> Result<()> {
    match mode {
        0o040_000 => Ok(()),
        FILE | PROGRAM | LINK => {
            check_path(path)?;
            let blob = repository
                .find_blob(id)
                .context("its content is not in the repository")?;
            check_size(blob.size() as u64)?;
            append(archive, path, mode, blob.content())
        }
        SUBMODULE => {
            let path = std::str::from_utf8(path).context("a submodule whose path is not UTF-8")?;
            submodules.insert(path.to_owned(), id.to_string());
            Ok(())
        }
        other => bail!("mode {other:o} of git is none that a bundle can hold"),
    }
}

fn append(archive: &mut Builder<impl Write>, path: &[u8], mode: u32, content: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(if mode == PROGRAM { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    if mode == LINK {
        check_link(path, content)?;
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        let target = Path::new(std::ffi::OsStr::from_bytes(content));
        archive.append_link(&mut header, path, target)?;
    } else {
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content)?;
    }
    Ok(())
}

/// Puts the commit with all its files into a repository, which may have none of them yet.
pub fn unpack(
    repository: &Repository,
    commit: &str,
    object: &[u8],
    submodules: &Submodules,
    archive: impl Read,
) -> Result<Oid> {
    let odb = repository.odb()?;
    let id = odb.write(ObjectType::Commit, object)?;
    ensure!(
        id.to_string() == commit,
        "commit {commit}: the object with this name is {id}"
    );
    let tree = write_tree(repository, submodules, archive)
        .with_context(|| format!("files of commit {commit}"))?;
    let said = repository.find_commit(id).map(|found| found.tree_id());
    ensure!(
        said.as_ref().is_ok_and(|said| *said == tree),
        "files of commit {commit}: they are not what the commit holds, but tree {tree}"
    );
    Ok(id)
}

fn write_tree(repository: &Repository, submodules: &Submodules, archive: impl Read) -> Result<Oid> {
    let mut index = Index::new()?;
    let mut seen = HashSet::new();
    entries::each(archive, |entry, names| {
        let (mode, content) = content_of(entry, &names)?;
        ensure!(seen.insert(names.path.clone()), "it is there twice");
        let blob = repository.blob(&content)?;
        Ok(index.add(&index_entry(names.path, mode, blob))?)
    })?;
    for (path, id) in submodules {
        check_path(path.as_bytes()).with_context(|| path.clone())?;
        let id = Oid::from_str(id).with_context(|| format!("submodule {path}"))?;
        index.add(&index_entry(path.clone().into_bytes(), SUBMODULE, id))?;
    }
    let written = index.write_tree_to(repository);
    written.context("they make no tree of git")
}

/// Mode and content of an entry, which must be a file or a link of a commit.
fn content_of(entry: &mut tar::Entry<'_, impl Read>, names: &Names) -> Result<(u32, Vec<u8>)> {
    check_path(&names.path)?;
    let is_program = entry.header().mode()? & 0o100 != 0;
    match entry.header().entry_type() {
        EntryType::Regular => {
            check_size(entry.size())?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).context("it is cut off")?;
            Ok((if is_program { PROGRAM } else { FILE }, content))
        }
        EntryType::Symlink => {
            let target = names.target.as_ref().context("a link to nothing")?;
            check_link(Path::new(std::ffi::OsStr::from_bytes(&names.path)), target)?;
            Ok((LINK, target.clone()))
        }
        EntryType::Link => bail!("a hard link, which no commit holds"),
        EntryType::Char | EntryType::Block => bail!("a device, which no commit holds"),
        EntryType::Fifo => bail!("a pipe, which no commit holds"),
        EntryType::Directory => bail!("a folder, which no commit holds by itself"),
        other => bail!("an entry of kind {other:?}, which no commit holds"),
    }
}

/// Git holds a file whole, and so does whoever packs or unpacks it.
fn check_size(bytes: u64) -> Result<()> {
    ensure!(
        bytes <= MAX_FILE_BYTES,
        "a file of {bytes} bytes; one of a commit may have {} MiB in a bundle",
        MAX_FILE_BYTES >> 20
    );
    Ok(())
}

/// A path of git's: names with slashes between them, none of which leads elsewhere or into git's own folder.
pub fn check_path(path: &[u8]) -> Result<()> {
    ensure!(
        path.len() <= MAX_PATH_BYTES,
        "its path is longer than {MAX_PATH_BYTES} bytes"
    );
    ensure!(!path.starts_with(b"/"), "an absolute path");
    for part in path.split(|byte| *byte == b'/') {
        ensure!(part != b"..", "a path with `..`");
        ensure!(
            !part.is_empty() && part != b"." && !part.contains(&0),
            "a path that is not plain"
        );
        ensure!(
            !part.eq_ignore_ascii_case(b".git"),
            "a path into git's own folder"
        );
    }
    Ok(())
}

/// A link that leads to another place of the tree. With `..` only at its start no other link can lead it further up.
fn check_link(path: &Path, target: &[u8]) -> Result<()> {
    let shown = String::from_utf8_lossy(target).into_owned();
    ensure!(
        !target.is_empty() && !target.starts_with(b"/"),
        "a link to {shown:?}, which does not lie in the tree"
    );
    let parts: Vec<&[u8]> = target.split(|byte| *byte == b'/').collect();
    let is_up = |part: &&&[u8]| **part == b"..";
    let up = parts.iter().take_while(is_up).count();
    ensure!(
        !parts[up..].contains(&&b".."[..]) && up < path.components().count(),
        "a link to {shown:?}, which may lead out of the tree"
    );
    Ok(())
}

/// Refuses links that lead out of a tree, among all of its files.
pub fn check_links(repository: &Repository, files: &Index) -> Result<()> {
    for entry in files.iter().filter(|entry| entry.mode == LINK) {
        let target = repository.find_blob(entry.id)?;
        let path = Path::new(std::ffi::OsStr::from_bytes(&entry.path));
        check_link(path, target.content()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn index_entry(path: Vec<u8>, mode: u32, id: Oid) -> IndexEntry {
    let never = IndexTime::new(0, 0);
    IndexEntry {
        ctime: never,
        mtime: never,
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path,
    }
}
