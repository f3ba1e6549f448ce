//! Making the database anew from records, beside the old one, which stays until the new one is whole.
//!
//! Nothing is only in the database, so nothing is lost.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::StoreError;
use crate::ingest::IngestReport;
use crate::open::{Access, Claim, Outside, Patience, lock};
use crate::{RecordRow, Store};

/// How many runs an error lists.
const LISTED: usize = 5;

impl Store {
    /// Builds a new database from the records below `folders` and puts it in the place of the one at `path`.
    ///
    /// Refused, with the old one kept, if it would know fewer runs than the old one (where that can still be
    /// read). Records that cannot be read are in the report, as with [`Store::ingest_folders`].
    pub fn rebuild(
        path: &Path,
        folders: &[PathBuf],
        patience: &mut Patience<'_>,
    ) -> Result<IngestReport, StoreError> {
        let fresh = Fresh::beside(path);
        let report = {
            let mut store = Self::open(
                &fresh.0,
                Access::Write,
                &mut Patience::silent(Duration::from_secs(1)),
            )?;
            let report = store.ingest_folders(folders)?;
            refuse_to_forget(path, &store, patience)?;
            store
                .connection
                .execute_batch("CHECKPOINT")
                .map_err(|error| StoreError::of_duckdb(&fresh.0, &error))?;
            report
        };
        swap(&fresh.0, path, patience)?;
        Ok(report)
    }
}

/// The unfinished database; removed if it is still there in the end.
struct Fresh(PathBuf);

impl Fresh {
    fn beside(path: &Path) -> Self {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".rebuilding-{}", std::process::id()));
        let fresh = Self(path.with_file_name(name));
        fresh.remove();
        fresh
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(wal(&self.0));
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.remove();
    }
}

/// DuckDB's log of what is not in the file yet.
fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".wal");
    name.into()
}

/// Compares with what the old database knows; one that is missing or damaged knows nothing.
fn refuse_to_forget(
    path: &Path,
    fresh: &Store,
    patience: &mut Patience<'_>,
) -> Result<(), StoreError> {
    let old = patience.retry(|| Store::try_open(path, Access::Read, Outside::Closed));
    let old = match old.and_then(|old| old.records()) {
        Ok(old) => old,
        Err(StoreError::Missing { .. } | StoreError::Corrupt { .. } | StoreError::Older { .. }) => {
            return Ok(());
        }
        // Locked, foreign, newer, no database at all: not ours to replace.
        Err(error) => return Err(error),
    };
    let known: BTreeSet<_> = fresh.records()?.into_iter().map(|row| row.run).collect();
    let lost: Vec<RecordRow> = old
        .into_iter()
        .filter(|row| !known.contains(&row.run))
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut runs: Vec<String> = lost
        .iter()
        .take(LISTED)
        .map(|row| format!("{} ({})", row.run, row.record))
        .collect();
    if lost.len() > LISTED {
        runs.push(format!("and {} more", lost.len() - LISTED));
    }
    Err(StoreError::WouldForget {
        path: path.into(),
        count: lost.len(),
        runs: runs.join(", "),
    })
}

/// Renames `fresh` over `path` while nobody has that open.
fn swap(fresh: &Path, path: &Path, patience: &mut Patience<'_>) -> Result<(), StoreError> {
    let _lock = patience.retry(|| Ok((Claim::take(path, Access::Write)?, lock(path)?)))?;
    // A log left by a killed writer belongs to the old file and must not be replayed into the new one.
    match std::fs::remove_file(wal(path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io(&wal(path))(error));
        }
        _ => {}
    }
    std::fs::rename(fresh, path).map_err(StoreError::io(path))?;
    let folder = path.parent().filter(|parent| *parent != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io(folder))
}
