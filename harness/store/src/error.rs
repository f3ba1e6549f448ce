//! What can go wrong with the database, in words that name the file and the next step.

use std::path::{Path, PathBuf};

use assay_record::{RecordError, RunId};

/// Remedy of everything that is wrong with the index itself.
const REBUILD: &str =
    "the records are intact: `assay db rebuild` makes the database anew from them";

/// A database, or a record on its way into one, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No file is there.
    #[error("{path}: no database yet: run `assay ingest` or `assay run` first")]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// Somebody else holds it.
    #[error(
        "{path}: still locked after {waited_s} s by {holder}; wait until it has ended, or end it, and try again"
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// Who: a process id where DuckDB gives one.
        holder: String,
        /// How long it was waited for, in seconds.
        waited_s: u64,
    },
    /// It or its folder must not be written.
    #[error(
        "{path}: {what}; make it writable (`chmod u+w`), or name another file as `database` in assay.toml"
    )]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// The file, or its folder.
        what: String,
    },
    /// The file is something else.
    #[error(
        "{path}: not a DuckDB database ({what}); name another file as `database` in assay.toml; this one is left as it is"
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What DuckDB said.
        what: String,
    },
    /// A DuckDB database of somebody else.
    #[error(
        "{path}: a DuckDB database, but not one of Assay (it has tables, and none is `schema_version`); name another file as `database` in assay.toml"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database was damaged.
    #[error("{path}: the database is damaged ({what}); {REBUILD}")]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// Where it shows.
        what: String,
    },
    /// Made by a newer Assay.
    #[error(
        "{path}: schema version {found} is newer than {known}, the newest this assay knows; use a newer assay, or another file as `database` in assay.toml"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// Made by a newer DuckDB.
    #[error(
        "{path}: written by a newer DuckDB than this assay contains ({what}); use a newer assay, or another file as `database` in assay.toml"
    )]
    NewerFormat {
        /// The database.
        path: PathBuf,
        /// What DuckDB said.
        what: String,
    },
    /// Made by an older Assay, and opened for reading only.
    #[error(
        "{path}: schema version {found} is older than {known}; run `assay ingest` once to bring it up to date"
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version that is needed.
        known: u32,
    },
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A record that cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file that was named as a record, and cannot be one.
    #[error("{path}: not a record: a record is a file named <run-id>.jsonl or <run-id>.jsonl.zst")]
    NotARecord {
        /// The file.
        path: PathBuf,
    },
    /// A record that says something impossible.
    #[error("{path}: {what}; the record was not ingested")]
    Content {
        /// The record.
        path: PathBuf,
        /// Field, what was found, what was expected.
        what: String,
    },
    /// Two different records claim to be one run.
    #[error(
        "{second}: says that it is run {run}, and so does {first}, but neither is the beginning of the other; keep the one that is right and move the other away"
    )]
    Conflict {
        /// The run.
        run: RunId,
        /// The record that was ingested.
        first: PathBuf,
        /// The one that was not.
        second: PathBuf,
    },
    /// A database without a run.
    #[error("{path}: holds no run yet: run `assay run SUITE`, or `assay ingest FOLDER`")]
    NoRuns {
        /// The database.
        path: PathBuf,
    },
    /// A name that no run answers to.
    #[error("no run is called `{name}`: {hint}")]
    UnknownRun {
        /// The name, shortened.
        name: String,
        /// What there is.
        hint: String,
    },
    /// A name that several runs answer to.
    #[error("`{name}` is the beginning of {count} runs: {candidates}; give more of the id")]
    AmbiguousRun {
        /// The name.
        name: String,
        /// How many.
        count: usize,
        /// The first of them.
        candidates: String,
    },
    /// No manifest or fingerprint of that digest.
    #[error("{path}: holds no {what} {digest}; ingest a run that has it")]
    UnknownDigest {
        /// The database.
        path: PathBuf,
        /// `manifest` or `fingerprint`.
        what: &'static str,
        /// The digest.
        digest: String,
    },
    /// A rebuild that would forget runs.
    #[error(
        "{path}: not rebuilt, for {count} of its runs lie in none of the given folders: {runs}; name their folders too, or delete the database if they are to be forgotten"
    )]
    WouldForget {
        /// The database.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first of them, and where their records lay.
        runs: String,
    },
    /// DuckDB refused a statement for a reason of its own: full disk, out of memory, a fault of Assay.
    #[error("{path}: DuckDB: {what}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What it said.
        what: String,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn content(path: &Path, what: impl Into<String>) -> Self {
        Self::Content {
            path: path.into(),
            what: what.into(),
        }
    }

    /// Whether a record is to blame, and not the database.
    pub fn is_of_record(&self) -> bool {
        matches!(
            self,
            Self::Record(_)
                | Self::NotARecord { .. }
                | Self::Content { .. }
                | Self::Conflict { .. }
                | Self::Io { .. }
        )
    }

    /// Sorts what DuckDB said about `path` by its words: it has no finer codes.
    pub(crate) fn of_duckdb(path: &Path, error: &duckdb::Error) -> Self {
        let said = error.to_string();
        let lower = said.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
        let (path, what) = (path.to_path_buf(), first_line(&said));
        if has(&["could not set lock"]) {
            let holder = holder(&said);
            return Self::Locked {
                path,
                holder,
                waited_s: 0,
            };
        }
        if has(&["not a valid duckdb database file", "file is not a duckdb"]) {
            return Self::NotADatabase { path, what };
        }
        if has(&["newer version of duckdb", "version number"]) {
            return Self::NewerFormat { path, what };
        }
        if has(&["permission denied", "read-only file system"]) {
            let what = format!("cannot be opened ({what})");
            return Self::ReadOnly { path, what };
        }
        let damage = [
            "corrupt",
            "checksum",
            "serialization error",
            "could not read",
            "failed to deserialize",
            "has been invalidated",
            "failure while replaying wal",
            "internal error",
        ];
        if has(&damage) {
            return Self::Corrupt { path, what };
        }
        Self::Database { path, what }
    }
}

/// The process that holds the lock, from `... held in /usr/bin/x (PID 12) ...`.
fn holder(said: &str) -> String {
    let pid = said
        .split_once("(PID ")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(pid, _)| pid);
    let program = said
        .split_once("held in ")
        .and_then(|(_, rest)| rest.split_once(" (PID"))
        .map(|(program, _)| program);
    match (program, pid) {
        (Some(program), Some(pid)) => format!("process {pid} ({program})"),
        (None, Some(pid)) => format!("process {pid}"),
        _ => "another process".into(),
    }
}

/// DuckDB appends stack traces and advice for its own users; the first line says what is wrong.
fn first_line(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    line.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::holder;

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let said = "IO Error: Could not set lock on file \"/a.duckdb\": Conflicting lock is held in /usr/bin/assay (PID 4711). See also ...";
        assert_eq!(holder(said), "process 4711 (/usr/bin/assay)");
        assert_eq!(holder("Could not set lock (PID 7)"), "process 7");
        assert_eq!(holder("Could not set lock"), "another process");
    }
}
