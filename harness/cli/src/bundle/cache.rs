//! The folders of the user's cache in which bundles lie laid out: what each is of, who uses it, and which go.
//!
//! `NAME/` has the files, `NAME.json` says what they are of and stays when they have gone, and `NAME.lock` is held by whoever
//! makes the folder, and together by all that read it. Those used last stay.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use assay_record::RunId;
use serde::{Deserialize, Serialize};

use super::format::Place;
use super::reading::Bundle;
use crate::checkout;
use crate::suite::builtin::cache_folder;

/// How many lie laid out: those used last. Each is as large as a project, and may hold what that depends on.
pub const KEPT: usize = 8;
/// Digits of a bundle's digest that name its folder.
const NAME_DIGITS: usize = 24;

/// What a folder is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Of {
    /// The bundle's run.
    pub run: RunId,
    /// The bundle as a file, where it lay.
    pub file: PathBuf,
    /// Where the suite's files lie in the folder.
    pub place: Place,
}

/// Where a bundle lies laid out, for as long as this is held.
#[derive(Debug)]
pub struct Held {
    /// The folder.
    pub root: PathBuf,
    _lock: File,
}

/// The folder of a bundle; `is_whole` says whether what lies there is as it should be, else `make` makes it anew.
pub fn hold(
    bundle: &Bundle,
    is_whole: impl Fn(&Path) -> bool,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<Held> {
    let name = &bundle.digest.hex()[..NAME_DIGITS];
    let root = folder()?.join(name);
    if !is_whole(&root) {
        let _alone = checkout::lock(&root)?;
        // Somebody else may have made it meanwhile.
        if !is_whole(&root) {
            make(&root)?;
        }
    }
    write_note(bundle, &root)?;
    let held = share(root)?;
    // A cache that cannot be tidied is still a cache.
    let _ = prune(&folder()?);
    Ok(held)
}

/// What lies laid out, or did, of the bundle that brought a run: what that is of, and its folder if it is still there.
pub fn of_run(run: &RunId) -> Result<Option<(Of, Option<Held>)>> {
    let mut notes = notes(&folder()?);
    notes.reverse();
    for (_, note) in notes {
        let Some(of) = read_note(&note).filter(|of| of.run == *run) else {
            continue;
        };
        touch(&note);
        let held = share(note.with_extension(""))?;
        return Ok(Some((of, held.root.is_dir().then_some(held))));
    }
    Ok(None)
}

/// Keeps others from making or removing a folder; they may read it, too.
fn share(root: PathBuf) -> Result<Held> {
    let path = root.with_extension("lock");
    let lock = File::create(&path).and_then(|lock| lock.lock_shared().map(|()| lock));
    let lock = lock.with_context(|| path.display().to_string())?;
    Ok(Held { root, _lock: lock })
}

fn folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join("bundles"))
}

fn note_of(root: &Path) -> PathBuf {
    root.with_extension("json")
}

fn write_note(bundle: &Bundle, root: &Path) -> Result<()> {
    let of = Of {
        run: bundle.contents.run.clone(),
        file: std::path::absolute(bundle.path())?,
        place: bundle.contents.place.clone(),
    };
    let note = note_of(root);
    fs::write(&note, serde_json::to_vec(&of)?).with_context(|| note.display().to_string())
}

/// What a note says; one that cannot be read is none.
fn read_note(note: &Path) -> Option<Of> {
    serde_json::from_slice(&fs::read(note).ok()?).ok()
}

/// The notes of a folder, by their last use; the latest is the last.
fn notes(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let used = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let is_note = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let at = path.metadata().and_then(|meta| meta.modified()).ok()?;
        is_note.then_some((at, path))
    };
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut notes: Vec<_> = entries.filter_map(used).collect();
    notes.sort_unstable();
    notes
}

/// Its last use is its time of modification. Best effort: it only decides which goes first.
fn touch(note: &Path) {
    let _ = File::options()
        .append(true)
        .open(note)
        .and_then(|file| file.set_modified(SystemTime::now()));
}

/// Takes the files of bundles away that nobody has used for longest, and uses now.
fn prune(folder: &Path) -> Result<()> {
    let mut laid: Vec<PathBuf> = roots(folder)?;
    let notes = notes(folder);
    // One without a note is of an Assay that wrote none: it goes first.
    let place = |root: &PathBuf| notes.iter().position(|(_, note)| *note == note_of(root));
    laid.sort_by_key(place);
    let excess = laid.len().saturating_sub(KEPT);
    for root in &laid[..excess] {
        let lock = File::create(root.with_extension("lock"))?;
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(root)?;
        }
    }
    Ok(())
}

/// The folders of bundles in a folder, not what another process is just making.
fn roots(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_digest = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.len() == NAME_DIGITS) && path.is_dir()
    };
    let entries = fs::read_dir(folder)?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(is_digest).collect())
}
