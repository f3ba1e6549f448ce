//! A site replaces the one before it as a whole, or not at all.
//!
//! Pages are written into a folder beside the site; the two folders then change places in one
//! system call where the file system can, else in two renames. Whatever fails or is killed before
//! that leaves the old site as it was.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use crate::error::ReportError;

/// The file by which a site is known as one that Assay made, and may replace.
pub const MARKER: &str = ".assay-site";

/// How folders begin in which sites grow.
const STAGING_PREFIX: &str = ".assay-site-new-";

/// Threads that remove an old site.
const REMOVERS: usize = 8;

/// What the marker says.
pub const MARKER_TEXT: &str = "assay site 1\n";

/// A folder beside the site in which the new one grows. Dropped, it and what it holds disappear. Of one whose build was killed
/// nobody holds the lock, and the next build removes it.
pub struct Staging {
    target: PathBuf,
    holder: TempDir,
    _lock: Option<File>,
}

impl Staging {
    /// Checks that `target` may be replaced and makes the folder beside it.
    pub fn beside(target: &Path) -> Result<Self, ReportError> {
        let target = resolve(target)?;
        check_replaceable(&target)?;
        let parent = target.parent().unwrap_or(Path::new("/"));
        sweep(parent);
        let (holder, lock) =
            held_in(parent).map_err(ReportError::io("create a folder in", parent))?;
        let staging = Self {
            target,
            holder,
            _lock: lock,
        };
        let root = staging.root();
        fs::create_dir(&root).map_err(ReportError::io("create", &root))?;
        let marker = root.join(MARKER);
        fs::write(&marker, MARKER_TEXT).map_err(ReportError::io("write", &marker))?;
        Ok(staging)
    }

    /// The folder that will be replaced.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where the new site grows.
    pub fn root(&self) -> PathBuf {
        self.holder.path().join("site")
    }

    /// Puts the new site in the place of the old one; returns where it lies.
    pub fn commit(self) -> Result<PathBuf, ReportError> {
        // Somebody may have put something else there meanwhile.
        check_replaceable(&self.target)?;
        replace(&self.root(), &self.target, &self.holder.path().join("old"))
            .map_err(ReportError::io("replace", &self.target))?;
        // The old one, wherever it is now; what is left of it goes with the holder.
        clear(&self.root());
        clear(&self.holder.path().join("old"));
        Ok(self.target)
    }
}

/// Removes a folder. What a file system does for a file that goes for good, most of which is waiting, is done for several at once.
fn clear(folder: &Path) {
    let mut files = Vec::new();
    collect(folder, &mut files);
    let share = files.len().div_ceil(REMOVERS).max(1);
    thread::scope(|scope| {
        for files in files.chunks(share) {
            scope.spawn(move || files.iter().for_each(|file| drop(fs::remove_file(file))));
        }
    });
    let _ = fs::remove_dir_all(folder);
}

/// Adds the files below a folder. A link is no folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// A new folder and its lock; none where the file system has no locks, or none of folders.
fn held_in(parent: &Path) -> io::Result<(TempDir, Option<File>)> {
    loop {
        let holder = tempfile::Builder::new()
            .prefix(STAGING_PREFIX)
            .tempdir_in(parent)?;
        let file = File::open(holder.path()).and_then(|file| file.lock().map(|()| file));
        // Another build may have come between, and swept it.
        if holder.path().try_exists()? {
            return Ok((holder, file.ok()));
        }
    }
}

/// Removes what killed builds left behind: folders that nobody holds. What cannot be removed does no harm.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(STAGING_PREFIX) {
            continue;
        }
        let folder = File::open(entry.path());
        if folder.is_ok_and(|folder| folder.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The absolute path without links, its parents created.
fn resolve(target: &Path) -> Result<PathBuf, ReportError> {
    let absolute = std::path::absolute(target).map_err(ReportError::io("find", target))?;
    if let Ok(existing) = absolute.canonicalize() {
        return Ok(existing);
    }
    if let Some(parent) = absolute.parent() {
        fs::create_dir_all(parent).map_err(ReportError::io("create", parent))?;
    }
    Ok(absolute)
}

fn check_replaceable(target: &Path) -> Result<(), ReportError> {
    let mut entries = match fs::read_dir(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(ReportError::io("read", target))?,
    };
    if entries.next().is_none() || target.join(MARKER).is_file() {
        return Ok(());
    }
    Err(ReportError::NotASite {
        path: target.into(),
        marker: MARKER,
    })
}

fn replace(new: &Path, target: &Path, old: &Path) -> io::Result<()> {
    if !target.try_exists()? {
        return fs::rename(new, target);
    }
    if renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    // Not every file system can exchange.
    fs::rename(target, old)?;
    fs::rename(new, target).inspect_err(|_| {
        // The first error is the one to report; the old site goes back if it can.
        let _ = fs::rename(old, target);
    })
}
