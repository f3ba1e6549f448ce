//! Files that grow batch by batch, as the library writes them: what fails here names its file, and is the machine's fault.

use std::path::{Path, PathBuf};

use anyhow::Result;
use assay_protocol::Digest;
use assay_suites::synthetic::table::{Table, TableError, file};

use super::files;
use crate::errors::CouldNotRun;

/// A [`file::Sink`] whose errors are those of the command line.
pub struct Sink {
    path: PathBuf,
    inner: file::Sink,
}

impl Sink {
    /// Begins a file for tables with the columns of `like`.
    pub fn create(path: &Path, like: &Table) -> Result<Self> {
        Self::begin(path, file::Sink::create(path, like))
    }

    /// Begins a file of bytes, whatever its name ends with.
    pub fn of_bytes(path: &Path) -> Result<Self> {
        Self::begin(path, file::Sink::of_bytes(path))
    }

    fn begin(path: &Path, inner: Result<file::Sink, TableError>) -> Result<Self> {
        let inner = inner.map_err(|error| match error {
            TableError::Io { source, .. } => files::failed(path)(source),
            error => error.into(),
        })?;
        if let Some(leftover) = inner.leftover() {
            crate::note!(
                "note: {} was left by a run that did not end: it is overwritten",
                leftover.display()
            );
        }
        Ok(Self {
            path: path.into(),
            inner,
        })
    }

    /// Adds bytes to a file of bytes.
    pub fn append_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.inner.append_bytes(bytes);
        written.map_err(|error| not_written(&self.path, error))
    }

    /// Adds rows to a file of tables.
    pub fn append(&mut self, rows: &Table) -> Result<()> {
        let written = self.inner.append(rows);
        written.map_err(|error| not_written(&self.path, error))
    }

    /// Ends the file, gives it its name, and says its SHA-256.
    pub fn finish(self) -> Result<Digest> {
        let Self { path, inner } = self;
        inner.finish().map_err(|error| not_written(&path, error))
    }
}

/// That a file that was begun cannot go on, which is the machine's fault: the disk is full, or fails.
fn not_written(path: &Path, error: TableError) -> anyhow::Error {
    let why = match error {
        TableError::Io { source, .. } => source.to_string(),
        error => error.to_string(),
    };
    CouldNotRun(format!("{}: {why}", path.display())).into()
}

#[cfg(test)]
mod tests {
    use assay_suites::synthetic::table::census;

    use super::Sink;
    use crate::errors::{Exit, exit_of};

    #[test]
    fn a_full_disk_is_told_by_the_name_of_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let rows = census::rows(1, 0, 10);
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let unfinished = folder.path().join(format!("{name}.unfinished"));
            std::os::unix::fs::symlink("/dev/full", unfinished).unwrap();
            let mut sink = Sink::create(&path, &rows).unwrap();
            let error = sink.append(&rows).and_then(|()| sink.finish()).unwrap_err();
            assert_eq!(exit_of(&error), Exit::CouldNotRun, "{error}");
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{name}");
        }
    }

    #[test]
    fn what_is_given_up_leaves_nothing_and_what_is_finished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.txt");
        drop(Sink::of_bytes(&path).unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let mut sink = Sink::of_bytes(&path).unwrap();
        sink.append_bytes(b"one").unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
