//! What the subcommands share of files: parts of a whole, and files that are there whole or not at all.

use std::fs::{Metadata, Permissions};
use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use assay_suites::synthetic::table::Table;
use assay_suites::synthetic::table::cells::CellTypes;
use assay_suites::synthetic::table::file::bytes_as;

use crate::errors::CouldNotRun;

/// Part `part` of `parts`, from 1 on.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    part: u64,
    parts: u64,
}

impl Part {
    /// The part that is all.
    pub const WHOLE: Self = Self { part: 1, parts: 1 };

    /// Its rows, of so many.
    pub fn of(self, rows: u64) -> Range<u64> {
        let bound =
            |part: u64| (u128::from(rows) * u128::from(part) / u128::from(self.parts)) as u64;
        bound(self.part - 1)..bound(self.part)
    }
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A part as the command line has it.
pub fn shard(text: &str) -> Result<Part, String> {
    let wrong = || format!("`{text}`: expected K/N with K from 1 to N, such as 2/8");
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let (part, parts) = (
        part.parse().map_err(|_| wrong())?,
        parts.parse().map_err(|_| wrong())?,
    );
    if part == 0 || part > parts {
        Err(wrong())
    } else {
        Ok(Part { part, parts })
    }
}

/// The folder that a file lies in.
fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// That a file can be written there, and is none of those that are read: asked before the work, not found out behind it.
pub fn ensure_output(path: &Path, inputs: &[&Path]) -> Result<()> {
    if let Ok(there) = std::fs::metadata(path) {
        ensure!(
            there.is_file(),
            "{}: it is there and no file; choose another name",
            path.display()
        );
        ensure!(
            !inputs.iter().any(|input| is_same(input, &there)),
            "{}: it is read, and would be overwritten; choose another name",
            path.display()
        );
    }
    tempfile::tempfile_in(folder(path)).map_err(failed(path))?;
    Ok(())
}

/// That the file system of a path has room for so many bytes more, which `what` takes; where it does not say how much there is, that is
/// found out by writing.
pub fn ensure_room(path: &Path, bytes: u64, what: &str) -> Result<()> {
    match room(path) {
        Some(room) if bytes > room => Err(CouldNotRun(format!(
            "{}: {what} {}, and its file system has room for {}: {} are missing; make fewer, a part of them, or choose another place",
            path.display(),
            in_words(bytes),
            in_words(room),
            in_words(bytes - room)
        ))
        .into()),
        _ => Ok(()),
    }
}

/// A file that is about to be written.
pub struct Wanted {
    path: PathBuf,
    bytes: u64,
    what: String,
}

/// Rows by which it is told how much all of them take.
pub const SOME: u64 = 1000;

impl Wanted {
    /// So many bytes, which `what` takes.
    pub fn new(path: &Path, bytes: u64, what: String) -> Self {
        Self {
            path: path.into(),
            bytes,
            what,
        }
    }

    /// So many rows, which take as much as some of them say.
    pub fn like(path: PathBuf, some: &Table, rows: u64, what: String) -> Result<Self> {
        let of_some = u128::from(bytes_as(&path, some, &CellTypes::new())?);
        let bytes = of_some * u128::from(rows) / (some.rows() as u128).max(1);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Ok(Self { path, bytes, what })
    }
}

/// That several files have room together, those on one file system beside each other: asked before the first of them is written.
pub fn ensure_room_for_all(wanted: &[Wanted]) -> Result<()> {
    let place = |of: &Wanted| std::fs::metadata(folder(&of.path)).map(|found| found.dev());
    for (at, last) in wanted.iter().enumerate() {
        let is_beside = |of: &&Wanted| matches!((place(of), place(last)), (Ok(a), Ok(b)) if a == b);
        let before: Vec<&Wanted> = wanted[..at].iter().filter(is_beside).collect();
        let bytes = before
            .iter()
            .fold(last.bytes, |sum, of| sum.saturating_add(of.bytes));
        let what = match before.as_slice() {
            [] => last.what.clone(),
            before => {
                let names = before.iter().map(|of| of.path.display().to_string());
                format!(
                    "{}, with {} before it,",
                    last.what,
                    names.collect::<Vec<_>>().join(" and ")
                )
            }
        };
        ensure_room(&last.path, bytes, &what)?;
    }
    Ok(())
}

/// Bytes that can still be written where a path lies, without what is kept for root.
fn room(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder(path)).ok()?;
    (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes in a unit that leaves up to three digits before the point.
fn in_words(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

fn is_same(input: &Path, there: &Metadata) -> bool {
    let place = |of: &Metadata| (of.dev(), of.ino());
    std::fs::metadata(input).is_ok_and(|input| place(&input) == place(there))
}

/// Writes a file that is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    // As any file that is made: what the umask allows.
    let file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(path))
        .map_err(failed(path))?;
    std::fs::write(file.path(), bytes).map_err(failed(path))?;
    file.persist(path)
        .map_err(|failure| failed(path)(failure.error))?;
    Ok(())
}

/// Why a file cannot be written, with its name: a full disk is the machine's fault, all else that of the name.
pub fn failed(path: &Path) -> impl FnOnce(Error) -> anyhow::Error + '_ {
    move |error| {
        let words = format!("{}: {error}", path.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => CouldNotRun(words).into(),
            _ => anyhow::Error::msg(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::path::Path;

    use super::{Wanted, ensure_output, ensure_room, ensure_room_for_all, failed, in_words, room};
    use crate::errors::{Exit, exit_of};

    #[test]
    fn a_full_disk_is_the_fault_of_the_machine_and_a_wrong_name_is_not() {
        for (kind, exit) in [
            (ErrorKind::StorageFull, Exit::CouldNotRun),
            (ErrorKind::NotFound, Exit::BadInput),
        ] {
            let error = failed(Path::new("rows.csv"))(Error::from(kind));
            assert_eq!(exit_of(&error), exit);
            assert!(error.to_string().starts_with("rows.csv: "), "{error}");
        }
    }

    #[test]
    fn what_has_no_room_is_told_with_how_much_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        assert!(ensure_room(&path, 1, "a row takes").is_ok());
        let error = ensure_room(&path, 1 << 62, "many rows take").unwrap_err();
        assert_eq!(exit_of(&error), Exit::CouldNotRun);
        let words = error.to_string();
        assert!(
            words.contains("rows.csv: many rows take 4.6 EB") && words.contains("missing"),
            "{words}"
        );
        assert!(
            ensure_room(Path::new("/proc/rows.csv"), 1 << 62, "rows take").is_ok(),
            "it does not say"
        );
        assert_eq!(
            [0, 999_499, 999_500, u64::MAX].map(in_words),
            ["0.0 kB", "999.5 kB", "1.0 MB", "18.4 EB"]
        );
    }

    #[test]
    fn files_of_one_file_system_share_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let [items, labels] = ["x.npy", "x.csv"].map(|name| folder.path().join(name));
        // Each has room, both have not: what others write meanwhile is far less.
        let most = room(&items).unwrap() / 5 * 3;
        let wanted = |bytes: u64| {
            [
                (&items, most, "9 items take"),
                (&labels, bytes, "their labels take about"),
            ]
            .map(|(path, bytes, what)| Wanted::new(path, bytes, what.into()))
        };
        assert!(ensure_room_for_all(&wanted(1)).is_ok());
        let error = ensure_room_for_all(&wanted(most)).unwrap_err();
        assert_eq!(exit_of(&error), Exit::CouldNotRun);
        let words = error.to_string();
        for part in [
            "x.csv: their labels take about, with",
            "x.npy before it",
            "are missing",
        ] {
            assert!(words.contains(part), "{words}");
        }
    }

    #[test]
    fn what_is_read_or_cannot_be_written_is_no_output() {
        let folder = tempfile::tempdir().unwrap();
        let [input, link, new] = ["x.csv", "link.csv", "new.csv"].map(|n| folder.path().join(n));
        std::fs::write(&input, "a").unwrap();
        std::os::unix::fs::symlink(&input, &link).unwrap();
        let refused = |path: &Path| ensure_output(path, &[&input]).is_err();
        assert!(refused(&input) && refused(&link));
        assert!(refused(folder.path()) && refused(&folder.path().join("absent/x.csv")));
        assert!(!refused(&new) && !new.exists());
        assert!(ensure_output(&input, &[&new]).is_ok());
    }
}
