//! What the subcommands share of files: parts of a whole, and files that are there whole or not at all.

use std::fs::{Metadata, Permissions};
use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Result, ensure};

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

    use super::{ensure_output, failed};
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
