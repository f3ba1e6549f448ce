//! Bringing records into the database, in any order, as often as one likes: each whole or not at all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use assay_record::{Block, Record, RecordError, RunId, RunStatus, Source, Timestamp};
use duckdb::{Connection, params};

use crate::Store;
use crate::contents::{self, Extent};
use crate::error::StoreError;
use crate::load::{Loading, load, run_key};
use crate::open;
use crate::schema::RUN_TABLES;

/// From how many rows on a transaction takes no further record. What is more than a row group of DuckDB's (122 880 rows) goes to its
/// place at once; what is less goes through the log, and is packed each time that this is worked in.
const BATCH_ROWS: usize = 1_000_000;
/// Deepest folder below a given one that is searched for records.
const MAX_DEPTH: usize = 16;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// The run was not known.
    New,
    /// The run was known up to an earlier line; it has grown or was finished. Or it was imported, and its record was made anew in its place.
    Updated,
    /// All of it was known.
    Unchanged,
}

/// What became of the records of some folders.
#[derive(Debug, Default)]
pub struct IngestReport {
    /// Runs that were not known.
    pub new: Vec<RunId>,
    /// Runs that have grown.
    pub updated: Vec<RunId>,
    /// How many records held nothing new.
    pub unchanged: usize,
    /// What cannot be true of the times of runs that were new or have grown.
    pub doubts: Vec<(RunId, String)>,
    /// Files and folders that could not be ingested, and why. All others were.
    pub failures: Vec<(PathBuf, StoreError)>,
}

/// Records that go into the database together.
#[derive(Default)]
struct Batch {
    rows: usize,
    /// Where they lie, and whether their runs were not known.
    taken: Vec<(PathBuf, bool)>,
}

/// About how many rows a record becomes.
fn rows_of(record: &Record) -> usize {
    let of_block = |block: &Block| {
        let readings = block.telemetry.iter().map(|series| series.values.len());
        1 + block.samples.len() + readings.sum::<usize>()
    };
    record.blocks.iter().map(of_block).sum()
}

/// Records on their way from folders.
#[derive(Default)]
struct Reading {
    /// Those that were read, by where they lie.
    seen: RefCell<BTreeMap<PathBuf, Seen>>,
    unchanged: Cell<usize>,
    unread: RefCell<Vec<(PathBuf, StoreError)>>,
    /// What ended it.
    stopped: RefCell<Option<StoreError>>,
}

struct Seen {
    run: RunId,
    /// What cannot be true of its times.
    doubts: Vec<String>,
}

impl Reading {
    /// Reads a record: none, where it is known at this place and length or cannot be read. `None` ends it.
    fn read(
        &self,
        path: PathBuf,
        known: &HashSet<(String, i64)>,
    ) -> Option<Vec<(Record, PathBuf)>> {
        let read = place(&path).and_then(|place| {
            // A finished one is not read again: `verify` is there for doubt.
            if known.contains(&place) {
                return Ok(None);
            }
            Record::read(&path)
                .map(Some)
                .map_err(|error| explain(&path, error))
        });
        match read {
            Ok(None) => {
                self.unchanged.set(self.unchanged.get() + 1);
                Some(Vec::new())
            }
            Ok(Some(record)) => {
                let seen = Seen {
                    run: record.header.run.clone(),
                    doubts: record.clock_doubts(Timestamp::now()),
                };
                self.seen.borrow_mut().insert(path.clone(), seen);
                Some(vec![(record, path)])
            }
            Err(error) if error.is_of_record() => {
                self.unread.borrow_mut().push((path, error));
                Some(Vec::new())
            }
            Err(error) => {
                *self.stopped.borrow_mut() = Some(error);
                None
            }
        }
    }
}

/// What the database knows of a run.
struct Known {
    head: String,
    extent: Extent,
    record: PathBuf,
}

impl Store {
    /// Ingests one record that was read from `path`. After an error the database is as it was.
    pub fn ingest_record(&mut self, record: &Record, path: &Path) -> Result<Ingested, StoreError> {
        let path = std::path::absolute(path).map_err(StoreError::io(path))?;
        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        let Some(known) = self.known(&record.header.run)? else {
            self.replace(record, &path, bytes)?;
            return Ok(Ingested::New);
        };
        if known.head == record.head.to_string() {
            self.moved(record, &known, &path, bytes)?;
            return Ok(Ingested::Unchanged);
        }
        let extent = Extent::of(record);
        if known.extent.fits_in(extent) && self.begins(record, known.extent)? {
            self.replace(record, &path, bytes)?;
            return Ok(Ingested::Updated);
        }
        if extent.fits_in(known.extent) && self.begins(record, extent)? {
            return Ok(Ingested::Unchanged);
        }
        // Of what another tool measured the record is made anew when the tool has added to its file.
        let is_imported = matches!(record.header.manifest.suite.source, Source::Imported(_));
        if is_imported && known.record == path {
            self.replace(record, &path, bytes)?;
            return Ok(Ingested::Updated);
        }
        Err(StoreError::Conflict {
            run: record.header.run.clone(),
            first: known.record,
            second: path,
        })
    }

    /// Ingests records that were read from these paths, as they come, and tells `said` of each what became of it, in their order,
    /// once that is sure: new ones go into the database by the thousand, for a transaction costs more than what is in it. One that
    /// cannot be ingested keeps no other from it.
    ///
    /// An error is one of the database itself, which stops all: what was told of before it stays.
    pub fn ingest_all(
        &mut self,
        records: impl IntoIterator<Item = (Record, PathBuf)>,
        mut said: impl FnMut(&Path, Result<Ingested, StoreError>),
    ) -> Result<(), StoreError> {
        let sql = "SELECT run_key FROM runs";
        let known: Vec<i64> = self.rows(sql, [], |row| Ok(row.get(0)?))?;
        let mut known: HashSet<i64> = known.into_iter().collect();
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let mut batch = Batch::default();
            // Of several that fail together it is not known which did: each is tried by itself then.
            let taken = self
                .append_new(&mut records, &mut known, &mut batch)
                .is_ok();
            for (path, is_new) in batch.taken {
                let became = if taken && is_new {
                    Ok(Ingested::New)
                } else {
                    self.ingest_file(&path)
                };
                match became {
                    Err(error) if !error.is_of_record() => return Err(error),
                    became => said(&path, became),
                }
            }
        }
        Ok(())
    }

    fn ingest_file(&mut self, path: &Path) -> Result<Ingested, StoreError> {
        let record = Record::read(path).map_err(|error| explain(path, error))?;
        self.ingest_record(&record, path)
    }

    /// Puts records of runs that are not known into the database, as many as a transaction takes, all or none.
    fn append_new(
        &mut self,
        records: &mut impl Iterator<Item = (Record, PathBuf)>,
        known: &mut HashSet<i64>,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction()
            .map_err(|error| StoreError::of_duckdb(&self.path, &error))?;
        let mut loading = Loading::begin(&transaction)?;
        while batch.rows < BATCH_ROWS
            && let Some((record, path)) = records.next()
        {
            let is_new = known.insert(run_key(&record.header.run));
            batch.rows += rows_of(&record);
            batch.taken.push((path.clone(), is_new));
            if is_new {
                let path = std::path::absolute(&path).map_err(StoreError::io(&path))?;
                let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                loading.add(&record, &path, bytes)?;
            }
        }
        loading.end()?;
        let committed = transaction.commit();
        committed.map_err(|error| StoreError::of_duckdb(&self.path, &error))
    }

    /// Ingests every record below the given folders, in the order of their paths. A name may also be that of one record.
    ///
    /// Files that are no records by their name are passed over; one that cannot be ingested is reported, and the others go on.
    /// An error is one of the database itself, which stops all: what was ingested before it stays.
    pub fn ingest_folders(&mut self, folders: &[PathBuf]) -> Result<IngestReport, StoreError> {
        let (paths, failures) = find_records(folders);
        let mut report = IngestReport {
            failures,
            ..IngestReport::default()
        };
        let known = self.known_files()?;
        let reading = Reading::default();
        let records = paths
            .into_iter()
            .map_while(|path| reading.read(path, &known));
        self.ingest_all(records.flatten(), |path, became| {
            let seen = reading.seen.borrow_mut().remove(path);
            let Some(Seen { run, doubts }) = seen else {
                return;
            };
            if matches!(became, Ok(Ingested::New | Ingested::Updated)) {
                let doubts = doubts.into_iter();
                report
                    .doubts
                    .extend(doubts.map(|doubt| (run.clone(), doubt)));
            }
            match became {
                Ok(Ingested::New) => report.new.push(run),
                Ok(Ingested::Updated) => report.updated.push(run),
                Ok(Ingested::Unchanged) => report.unchanged += 1,
                Err(error) => report.failures.push((path.to_path_buf(), error)),
            }
        })?;
        report.unchanged += reading.unchanged.get();
        report.failures.extend(reading.unread.take());
        match reading.stopped.take() {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    /// Where finished records lay when they were ingested, and how long they were.
    fn known_files(&self) -> Result<HashSet<(String, i64)>, StoreError> {
        let sql = "SELECT record, record_bytes FROM runs WHERE finished IS NOT NULL";
        let rows = self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.into_iter().collect())
    }

    fn known(&self, run: &RunId) -> Result<Option<Known>, StoreError> {
        let sql = "SELECT run, head, workers, blocks, events, finished IS NOT NULL, record FROM runs WHERE run_key = ?";
        let found = self.rows(sql, params![run_key(run)], |row| {
            let known = Known {
                head: row.get(1)?,
                extent: Extent {
                    workers: row.get(2)?,
                    blocks: row.get(3)?,
                    events: row.get(4)?,
                    finished: row.get(5)?,
                },
                record: PathBuf::from(row.get::<_, String>(6)?),
            };
            Ok((row.get::<_, String>(0)?, known))
        })?;
        match found.into_iter().next() {
            Some((name, known)) if name == run.as_str() => Ok(Some(known)),
            Some((name, _)) => Err(StoreError::Database {
                path: self.path.clone(),
                what: format!("runs {name} and {run} have one key; please report this"),
            }),
            None => Ok(None),
        }
    }

    /// Takes a run out of the database: what another one has taken the place of. While its record lies there, it comes back with that.
    pub fn forget(&mut self, run: &RunId) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction()
            .map_err(|error| StoreError::of_duckdb(&self.path, &error))?;
        let wrong = |error: duckdb::Error| StoreError::of_duckdb(&self.path, &error);
        forget(&transaction, run_key(run)).map_err(wrong)?;
        transaction.commit().map_err(wrong)
    }

    /// Whether the record and the database agree on their first lines.
    fn begins(&self, record: &Record, extent: Extent) -> Result<bool, StoreError> {
        let scratch = open::scratch()?;
        load(&scratch, record, &self.path, 0)?;
        let key = run_key(&record.header.run);
        let wrong = |error: duckdb::Error| StoreError::of_duckdb(&self.path, &error);
        let ours = contents::beginning(&self.connection, key, extent).map_err(wrong)?;
        let theirs = contents::beginning(&scratch, key, extent).map_err(wrong)?;
        Ok(ours == theirs)
    }

    /// Puts the record's rows in the place of what was known of its run, all or nothing.
    fn replace(&mut self, record: &Record, path: &Path, bytes: u64) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction()
            .map_err(|error| StoreError::of_duckdb(&self.path, &error))?;
        let wrong = |error: duckdb::Error| StoreError::of_duckdb(&self.path, &error);
        forget(&transaction, run_key(&record.header.run)).map_err(wrong)?;
        load(&transaction, record, path, bytes)?;
        transaction.commit().map_err(wrong)
    }

    /// Notes where the record lies now, if it is gone from where it lay.
    fn moved(
        &self,
        record: &Record,
        known: &Known,
        path: &Path,
        bytes: u64,
    ) -> Result<(), StoreError> {
        if known.record == path || known.record.exists() {
            return Ok(());
        }
        let (to, key) = (path.to_string_lossy(), run_key(&record.header.run));
        self.connection
            .execute(
                "UPDATE runs SET record = ?, record_bytes = ? WHERE run_key = ?",
                params![to.as_ref(), bytes as i64, key],
            )
            .map_err(|error| StoreError::of_duckdb(&self.path, &error))?;
        Ok(())
    }
}

impl Extent {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            workers: record.workers.len() as i32,
            blocks: record.blocks.len() as i32,
            events: record.events.len() as i32,
            finished: record.status() != RunStatus::Partial,
        }
    }
}

/// Where a file lies, and how long it is.
fn place(path: &Path) -> Result<(String, i64), StoreError> {
    let absolute = std::path::absolute(path).map_err(StoreError::io(path))?;
    let bytes = std::fs::metadata(path).map_or(-1, |meta| meta.len() as i64);
    Ok((absolute.to_string_lossy().into_owned(), bytes))
}

fn forget(connection: &Connection, run_key: i64) -> Result<(), duckdb::Error> {
    for table in RUN_TABLES.iter().map(|(table, _)| *table).chain(["runs"]) {
        let sql = format!("DELETE FROM {table} WHERE run_key = ?");
        connection.execute(&sql, params![run_key])?;
    }
    Ok(())
}

/// Records below some folders in the order of their paths, and what could not be searched.
pub(crate) fn find_records(folders: &[PathBuf]) -> (Vec<PathBuf>, Vec<(PathBuf, StoreError)>) {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for folder in folders {
        match std::fs::metadata(folder) {
            Ok(meta) if meta.is_dir() => search(folder, 0, &mut found, &mut failures),
            Ok(meta) if meta.is_file() && Record::is_record_name(folder) => {
                found.push(folder.clone());
            }
            Ok(_) => {
                let path = folder.clone();
                failures.push((folder.clone(), StoreError::NotARecord { path }));
            }
            Err(error) => failures.push((folder.clone(), StoreError::io(folder)(error))),
        }
    }
    found.sort_unstable();
    found.dedup();
    (found, failures)
}

fn search(
    folder: &Path,
    depth: usize,
    found: &mut Vec<PathBuf>,
    failures: &mut Vec<(PathBuf, StoreError)>,
) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            failures.push((folder.into(), StoreError::io(folder)(error)));
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // A link to a folder is not followed: it could lead in a circle.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => {
                search(&path, depth + 1, found, failures);
            }
            Ok(kind) if !kind.is_dir() && Record::is_record_name(&path) => {
                // A link to a record is one. To open a pipe or a device could wait for ever.
                match std::fs::metadata(&path) {
                    Ok(meta) if meta.is_file() => found.push(path),
                    Ok(_) => {}
                    Err(error) => failures.push((path.clone(), StoreError::io(&path)(error))),
                }
            }
            _ => {}
        }
    }
}

/// The run that a record is of, by its name.
pub(crate) fn run_of_name(path: &Path) -> Option<RunId> {
    let name = path.file_name()?.to_str()?;
    name.split('.').next()?.parse().ok()
}

/// What unpacking says of a record that is not whole, with what to do about it.
fn explain(path: &Path, error: RecordError) -> StoreError {
    let packed = path.extension().is_some_and(|extension| extension == "zst");
    match error {
        // An error of the operating system has a number.
        RecordError::Io { source, .. } if packed && source.raw_os_error().is_none() => {
            let how = if source.kind() == ErrorKind::UnexpectedEof {
                "cut off: its compressed content ends too early"
            } else {
                "compressed by its name, but its content cannot be unpacked: it is damaged"
            };
            StoreError::content(
                path,
                format!("{how} ({source}); fetch it again from where it was made"),
            )
        }
        error => error.into(),
    }
}
