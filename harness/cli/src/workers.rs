//! The executables that served as built-in workers, kept beside the database under their digests: what a past run
//! measured can be run again, beside what is new.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use assay_protocol::Digest;

use crate::plan::file_digest;
use crate::settings::Settings;

/// How many are kept: the most recently used. At a hundred megabytes each, a few gigabytes.
const KEPT: usize = 32;
/// What a built-in worker is told, so that `assay` and the slim `assay-worker` are started alike.
pub const WORD: &str = "worker";

/// Folder of the cache.
pub fn folder(settings: &Settings) -> PathBuf {
    let beside = settings.database.parent().unwrap_or(Path::new(""));
    beside.join("workers")
}

/// Keeps a copy of an executable under its digest, and drops those that nobody has used for longest.
pub fn keep(settings: &Settings, executable: &Path, digest: &Digest) -> Result<()> {
    let folder = folder(settings);
    let kept = folder.join(digest.hex());
    if is_whole(&kept, executable) {
        touch(&kept);
        return Ok(());
    }
    let say = || format!("{}: the worker cannot be kept", kept.display());
    fs::create_dir_all(&folder).with_context(say)?;
    let mut copy = tempfile::NamedTempFile::new_in(&folder).with_context(say)?;
    let mut original = File::open(executable).with_context(say)?;
    std::io::copy(&mut original, &mut copy)
        .and_then(|_| copy.flush())
        .and_then(|()| fs::set_permissions(copy.path(), Permissions::from_mode(0o755)))
        .with_context(say)?;
    copy.persist(&kept).with_context(say)?;
    // A cache that cannot be tidied is still a cache.
    let _ = prune(&folder);
    Ok(())
}

/// The kept executable of that digest; one that was changed since is no longer it, and goes.
pub fn find(settings: &Settings, digest: &Digest) -> Option<PathBuf> {
    let kept = folder(settings).join(digest.hex());
    if file_digest(&kept).is_ok_and(|found| found == *digest) {
        touch(&kept);
        return Some(kept);
    }
    // Most often there is none.
    let _ = fs::remove_file(kept);
    None
}

/// Whether a copy has its original's length: it was renamed into place when it was complete.
fn is_whole(copy: &Path, original: &Path) -> bool {
    let length = |path| fs::metadata(path).map(|meta| meta.len());
    matches!((length(copy), length(original)), (Ok(copy), Ok(original)) if copy == original)
}

/// Its last use is its time of modification. Best effort: it only decides who goes first.
fn touch(path: &Path) {
    let _ = File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()));
}

fn prune(folder: &Path) -> std::io::Result<()> {
    let used = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        // Not what another process is just writing.
        let is_kept = path.file_name()?.len() == 64;
        let at = path.metadata().and_then(|meta| meta.modified()).ok()?;
        is_kept.then_some((at, path))
    };
    let mut all: Vec<_> = fs::read_dir(folder)?.filter_map(used).collect();
    all.sort_unstable();
    let excess = all.len().saturating_sub(KEPT);
    all[..excess]
        .iter()
        .try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, SystemTime};

    use assay_protocol::Digest;

    use super::{KEPT, find, folder};
    use crate::settings::Settings;

    fn keep(settings: &Settings, original: &std::path::Path) -> Digest {
        let digest = crate::plan::file_digest(original).unwrap();
        super::keep(settings, original, &digest).unwrap();
        digest
    }

    #[test]
    fn a_kept_worker_is_found_by_its_digest_until_it_changes() {
        let place = tempfile::tempdir().unwrap();
        let settings = Settings::below(place.path());
        let original = place.path().join("worker");
        fs::write(&original, "#!/bin/sh\n").unwrap();
        let digest = keep(&settings, &original);
        assert_eq!(keep(&settings, &original), digest);
        fs::write(&original, "another").unwrap();
        let kept = find(&settings, &digest).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"#!/bin/sh\n");
        assert_eq!(
            fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
            0o755
        );
        fs::write(&kept, "#!/bin/no\n").unwrap();
        assert_eq!(find(&settings, &digest), None);
    }

    #[test]
    fn those_not_used_for_longest_go_first() {
        let place = tempfile::tempdir().unwrap();
        let settings = Settings::below(place.path());
        let original = place.path().join("worker");
        let kept: Vec<_> = (0..KEPT + 3)
            .map(|number| {
                fs::write(&original, format!("worker {number:02}")).unwrap();
                let digest = keep(&settings, &original);
                let file = folder(&settings).join(digest.hex());
                let used = SystemTime::now() - Duration::from_secs(1000 - number as u64);
                let file = fs::File::options().append(true).open(file);
                // The next one may have taken it away already.
                let _ = file.and_then(|file| file.set_modified(used));
                digest
            })
            .collect();
        let found = |digest| find(&settings, digest).is_some();
        assert_eq!(fs::read_dir(folder(&settings)).unwrap().count(), KEPT);
        assert!(!found(&kept[0]) && !found(&kept[2]));
        assert!(kept[3..].iter().all(found));
    }
}
