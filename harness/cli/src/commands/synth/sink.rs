//! Files that grow batch by batch, as the library writes them: what fails here names its file, and is the machine's fault.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use assay_protocol::Digest;
use assay_suites::synthetic::table::cells::CellTypes;
use assay_suites::synthetic::table::{Table, TableError, file};

use super::{files, progress};
use crate::errors::CouldNotRun;

/// A [`file::Sink`] whose errors are those of the command line. It knows how much there will be: whether that has room is seen from what
/// came first, and how far it is is said every few seconds.
pub struct Sink {
    path: PathBuf,
    inner: file::Sink,
    /// Rows or items that there will be.
    whole: u64,
    /// And that there are.
    done: u64,
    /// When something was said last.
    said: Instant,
}

impl Sink {
    /// Begins a file for `rows` rows of tables with the columns of `like`, of these types in files that have types.
    pub fn create(path: &Path, like: &Table, types: &CellTypes, rows: u64) -> Result<Self> {
        Self::begin(path, file::Sink::create(path, like, types), rows)
    }

    /// Begins a file of bytes, of so many items, whatever its name ends with.
    pub fn of_bytes(path: &Path, items: u64) -> Result<Self> {
        Self::begin(path, file::Sink::of_bytes(path), items)
    }

    fn begin(path: &Path, inner: Result<file::Sink, TableError>, whole: u64) -> Result<Self> {
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
            whole,
            done: 0,
            said: Instant::now(),
        })
    }

    /// Adds bytes to a file of bytes, of so many items.
    pub fn append_bytes(&mut self, bytes: &[u8], items: u64) -> Result<()> {
        let written = self.inner.append_bytes(bytes);
        written.map_err(|error| not_written(&self.path, error))?;
        self.added(items)
    }

    /// Adds rows to a file of tables.
    pub fn append(&mut self, rows: &Table) -> Result<()> {
        let written = self.inner.append(rows);
        written.map_err(|error| not_written(&self.path, error))?;
        self.added(rows.rows() as u64)
    }

    /// Sees after the first rows whether there is room for the others, and says how far it is.
    fn added(&mut self, rows: u64) -> Result<()> {
        let is_first = self.done == 0 && rows > 0;
        self.done += rows;
        if is_first && self.done < self.whole {
            let left = u128::from(self.inner.bytes()) * u128::from(self.whole - self.done);
            let left = u64::try_from(left / u128::from(self.done)).unwrap_or(u64::MAX);
            let what = format!(
                "{} more like the first {} take about",
                self.whole - self.done,
                self.done
            );
            files::ensure_room(&self.path, left, &what)?;
        }
        if self.said.elapsed() >= progress::EVERY {
            self.said = Instant::now();
            crate::note!(
                "{}: {} of {} ...",
                self.path.display(),
                self.done,
                self.whole
            );
        }
        Ok(())
    }

    /// Ends the file, gives it its name, and says its SHA-256.
    pub fn finish(self) -> Result<Digest> {
        let Self { path, inner, .. } = self;
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

    use super::{CellTypes, Sink};
    use crate::errors::{Exit, exit_of};

    #[test]
    fn a_full_disk_is_told_by_the_name_of_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let rows = census::rows(1, 0, 10);
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let unfinished = folder.path().join(format!("{name}.unfinished"));
            std::os::unix::fs::symlink("/dev/full", unfinished).unwrap();
            let mut sink = Sink::create(&path, &rows, &CellTypes::new(), 10).unwrap();
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
        drop(Sink::of_bytes(&path, 1).unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let mut sink = Sink::of_bytes(&path, 1).unwrap();
        sink.append_bytes(b"one", 1).unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn what_will_have_no_room_is_given_up_behind_the_first_rows() {
        let folder = tempfile::tempdir().unwrap();
        // As many as Parquet does not keep back before it writes any.
        let rows = census::rows(1, 0, 2000);
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let mut sink = Sink::create(&path, &rows, &CellTypes::new(), 1 << 52).unwrap();
            let error = sink.append(&rows).unwrap_err();
            assert_eq!(exit_of(&error), Exit::CouldNotRun, "{error}");
            let words = error.to_string();
            assert!(
                words.contains(name) && words.contains("are missing"),
                "{words}"
            );
            drop(sink);
            assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{name}");
        }
    }
}
