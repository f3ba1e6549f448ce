//! Opening the database: short-lived, with patience for other processes, and never a network.
//!
//! DuckDB lets one process write or many read. It locks the file against other processes only, so
//! within this process a table of open files stands in for that lock.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use duckdb::{AccessMode, Config, Connection};
use rustix::fs::{FlockOperation, fcntl_lock};

use crate::error::StoreError;
use crate::query::known::Known;
use crate::schema::{self, SCHEMA_VERSION};

/// How often a locked database is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// What DuckDB may hold in memory before it spills to disk. Ingest only appends: more would keep what nobody reads.
pub(crate) const MEMORY_TO_READ: &str = "2GiB";
pub(crate) const MEMORY_TO_WRITE: &str = "384MiB";

/// How long the log of a writer gets before it is worked into the tables. Each time the last rows of every table are
/// packed anew.
const LOG: &str = "64MiB";

/// What every file of DuckDB has behind its first checksum.
const MAGIC: &[u8; 4] = b"DUCK";
const MAGIC_AT: usize = 8;

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Queries. Many processes at once.
    Read,
    /// Ingest. One process alone. Creates what is missing and migrates what is old.
    Write,
}

/// How long to wait for a database that is locked.
pub struct Patience<'a> {
    /// After this long it is an error.
    pub timeout: Duration,
    /// Told once, in words, when waiting begins.
    pub on_wait: Box<dyn FnMut(&str) + 'a>,
}

impl<'a> Patience<'a> {
    /// Waits up to `timeout` and tells `on_wait` so.
    pub fn new(timeout: Duration, on_wait: impl FnMut(&str) + 'a) -> Self {
        Self {
            timeout,
            on_wait: Box::new(on_wait),
        }
    }

    /// Waits up to `timeout` and tells nobody.
    pub fn silent(timeout: Duration) -> Self {
        Self::new(timeout, |_| ())
    }

    /// Calls `attempt` until it finds the database unlocked, fails otherwise, or time is up.
    pub(crate) fn retry<T>(
        &mut self,
        mut attempt: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            match attempt() {
                Err(StoreError::Locked { path, holder, .. }) => {
                    let waited = begun.elapsed();
                    if waited >= self.timeout {
                        let waited_s = waited.as_secs();
                        return Err(StoreError::Locked {
                            path,
                            holder,
                            waited_s,
                        });
                    }
                    if !told {
                        let (path, most) = (path.display(), self.timeout.as_secs());
                        (self.on_wait)(&format!(
                            "{path}: locked by {holder}; waiting up to {most} s"
                        ));
                        told = true;
                    }
                }
                other => return other,
            }
            thread::sleep(RETRY_EVERY);
        }
    }
}

impl fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patience({:?})", self.timeout)
    }
}

/// An open database.
pub struct Store {
    pub(crate) path: PathBuf,
    // Before the claim: the file is closed first.
    pub(crate) connection: Connection,
    /// What was read already; only where nobody can write meanwhile.
    pub(crate) known: Option<Arc<Known>>,
    claim: Arc<Claim>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

impl Store {
    /// Opens the database at `path`, waiting for a lock as long as `patience` allows.
    pub fn open(
        path: &Path,
        access: Access,
        patience: &mut Patience<'_>,
    ) -> Result<Self, StoreError> {
        patience.retry(|| Self::try_open(path, access, Outside::Closed))
    }

    /// Another connection to the same database, for another thread.
    pub fn share(&self) -> Result<Self, StoreError> {
        let connection = self.connection.try_clone();
        Ok(Self {
            connection: connection.map_err(|error| StoreError::of_duckdb(&self.path, &error))?,
            path: self.path.clone(),
            known: self.known.clone(),
            claim: Arc::clone(&self.claim),
        })
    }

    /// Where the database lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn try_open(
        path: &Path,
        access: Access,
        outside: Outside,
    ) -> Result<Self, StoreError> {
        let empty = check_file(path, access)?;
        let claim = Claim::take(path, access)?;
        if empty {
            remove_empty(path)?;
        }
        let connection = connect(path, access, outside)?;
        match access {
            Access::Write => schema::migrate(&connection, path)?,
            Access::Read => check_version(&connection, path)?,
        }
        Ok(Self {
            path: path.into(),
            connection,
            known: (access == Access::Read).then(Arc::default),
            claim: Arc::new(claim),
        })
    }
}

/// Says how much memory DuckDB may hold from here on.
pub(crate) fn allow(connection: &Connection, memory: &str) -> Result<(), duckdb::Error> {
    connection.execute_batch(&format!("SET memory_limit = '{memory}'"))
}

/// Whether SQL may name other files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// It may not: everything but an export.
    Closed,
    /// It may: an export writes Parquet.
    Open,
}

/// The settings of every connection.
fn config(access: Access, outside: Outside) -> Result<Config, duckdb::Error> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as i64);
    Config::default()
        .enable_autoload_extension(false)?
        .access_mode(match access {
            Access::Read => AccessMode::ReadOnly,
            Access::Write => AccessMode::ReadWrite,
        })?
        .enable_external_access(outside == Outside::Open)?
        .max_memory(match access {
            Access::Read => MEMORY_TO_READ,
            Access::Write => MEMORY_TO_WRITE,
        })?
        .threads(threads)?
        .with("wal_autocheckpoint", LOG)
}

fn connect(path: &Path, access: Access, outside: Outside) -> Result<Connection, StoreError> {
    let wrong = |error: duckdb::Error| StoreError::of_duckdb(path, &error);
    let config = config(access, outside).map_err(wrong)?;
    Connection::open_with_flags(path, config).map_err(|error| match wrong(error) {
        // DuckDB knows some formats of others, and then speaks of extensions that it may not load.
        StoreError::Database { path, .. } if is_of_another(&path) => StoreError::NotADatabase {
            path,
            what: "it does not begin like one".into(),
        },
        error => error,
    })
}

/// Whether a file can be read and does not begin as DuckDB's do. Only for one that nobody here has open: to close it
/// gives up every lock that this process holds on it.
fn is_of_another(path: &Path) -> bool {
    let mut head = [0; MAGIC_AT + MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    match read {
        Ok(()) => head[MAGIC_AT..] != *MAGIC,
        Err(error) => error.kind() == ErrorKind::UnexpectedEof,
    }
}

/// Removes a file of no bytes, which a writer left that was killed before its first: DuckDB would refuse it.
fn remove_empty(path: &Path) -> Result<(), StoreError> {
    let Some(file) = lock(path)? else {
        return Ok(());
    };
    // Somebody may have written to it meanwhile. A link is kept.
    if file.metadata().map_err(StoreError::io(path))?.len() == 0 {
        let target = path.canonicalize().map_err(StoreError::io(path))?;
        std::fs::remove_file(target).map_err(StoreError::io(path))?;
    }
    Ok(())
}

/// The lock that DuckDB takes too. `None` where there is no file to lock.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io(path)(error)),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Err(StoreError::Locked {
            path: path.into(),
            holder: "another process".into(),
            waited_s: 0,
        }),
    }
}

/// A database in memory, with the current schema: what a record would look like when ingested.
pub(crate) fn scratch() -> Result<Connection, StoreError> {
    let path = Path::new(":memory:");
    let connection = connect(path, Access::Write, Outside::Closed)?;
    schema::migrate(&connection, path)?;
    Ok(connection)
}

/// What can be said about the file without DuckDB, in better words than its own, and whether it is there but empty.
fn check_file(path: &Path, access: Access) -> Result<bool, StoreError> {
    let read_only = |what: String| {
        Err(StoreError::ReadOnly {
            path: path.into(),
            what,
        })
    };
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut empty = false;
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let (path, what) = (path.into(), "it is a folder".into());
            return Err(StoreError::NotADatabase { path, what });
        }
        Ok(meta) if access == Access::Write && meta.permissions().readonly() => {
            return read_only("the file is read-only".into());
        }
        Ok(meta) if access == Access::Read && meta.is_file() && meta.len() == 0 => {
            return Err(StoreError::Missing { path: path.into() });
        }
        Ok(meta) => empty = meta.is_file() && meta.len() == 0,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if access == Access::Read {
                return Err(StoreError::Missing { path: path.into() });
            }
            std::fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        }
        Err(error) => return Err(StoreError::io(path)(error)),
    }
    let meta = std::fs::metadata(folder).map_err(StoreError::io(folder))?;
    if access == Access::Write && meta.permissions().readonly() {
        return read_only(format!("its folder {} is read-only", folder.display()));
    }
    Ok(empty)
}

/// A reader cannot migrate.
fn check_version(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let (found, known, path) = (
        schema::version(connection, path)?,
        SCHEMA_VERSION,
        path.into(),
    );
    match found {
        0 => Err(StoreError::Missing { path }),
        _ if found > known => Err(StoreError::Newer { path, found, known }),
        _ if found < known => Err(StoreError::Older { path, found, known }),
        _ => Ok(()),
    }
}

/// Open files of this process: how many readers, or one writer.
static CLAIMS: Mutex<BTreeMap<PathBuf, Held>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, Debug)]
enum Held {
    Readers(usize),
    Writer,
}

/// One open database of this process.
pub(crate) struct Claim(PathBuf);

impl Claim {
    pub(crate) fn take(path: &Path, access: Access) -> Result<Self, StoreError> {
        // The file may not exist yet; its folder does.
        let name = path.file_name().unwrap_or_default();
        let folder = path.parent().filter(|parent| *parent != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        let file = match folder.canonicalize() {
            Ok(folder) => {
                let file = folder.join(name);
                file.canonicalize().unwrap_or(file)
            }
            Err(error) => return Err(StoreError::io(folder)(error)),
        };
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match (claims.get(&file), access) {
            (None, Access::Read) => Held::Readers(1),
            (None, Access::Write) => Held::Writer,
            (Some(Held::Readers(n)), Access::Read) => Held::Readers(n + 1),
            _ => {
                return Err(StoreError::Locked {
                    path: path.into(),
                    holder: "this very process, which has it open elsewhere".into(),
                    waited_s: 0,
                });
            }
        };
        claims.insert(file.clone(), held);
        Ok(Self(file))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        match claims.get_mut(&self.0) {
            Some(Held::Readers(n)) if *n > 1 => *n -= 1,
            _ => {
                claims.remove(&self.0);
            }
        }
    }
}
