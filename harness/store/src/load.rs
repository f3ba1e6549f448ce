//! Turning one record into rows: what each table gets, and nothing about whether it should.

mod rounds;
mod same;
mod samples;
mod tables;

use std::collections::HashSet;
use std::path::Path;

use assay_protocol::{Digest, Metric};
use assay_record::{CaseLists, Record};
use duckdb::{Appender, Connection};
use serde::Serialize;

use self::same::LastSame;
use self::tables::Loader;
use crate::error::StoreError;

/// What can go wrong while rows are made: DuckDB, or a value of the record.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// 63 bits of the SHA-256 over some names: a key that is the same in every database.
pub(crate) fn key_of(parts: &[&str]) -> i64 {
    // JSON keeps ["a", "b"] and ["ab"] apart. Strings always serialize.
    let text = serde_json::to_string(parts).unwrap_or_default();
    let digest = Digest::of(text);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    i64::from_be_bytes(bytes) & i64::MAX
}

/// Key of a run.
pub(crate) fn run_key(run: &assay_record::RunId) -> i64 {
    key_of(&["run", run.as_str()])
}

/// Value of a unit variant as its name in JSON.
pub(crate) fn name_of(value: &impl Serialize) -> Result<String, Fault> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(name) => Ok(name),
        other => Err(format!("{other} is no name").into()),
    }
}

/// Appends all rows of a record, within whatever transaction is open. `bytes` is the file's length.
pub(crate) fn load(
    connection: &Connection,
    record: &Record,
    path: &Path,
    bytes: u64,
) -> Result<(), StoreError> {
    let mut loading = Loading::begin(connection)?;
    loading.add(record, path, bytes)?;
    loading.end()
}

/// Rows of one record or of many on their way into the tables. What was added is there when it ended, and may be half
/// there after an error: the transaction around it is then to be given up.
pub(crate) struct Loading<'a> {
    connection: &'a Connection,
    tables: Appenders<'a>,
    documents: Documents,
}

/// Documents that the database holds.
struct Documents {
    /// Their digests.
    known: HashSet<String>,
    /// Lists of cases: records in a row mostly have the same.
    lists: CaseLists,
    same: LastSame,
}

/// One for each table, for as long as rows come: to open them costs more than the rows of a small record.
struct Appenders<'a> {
    manifests: Appender<'a>,
    case_lists: Appender<'a>,
    fingerprints: Appender<'a>,
    runs: Appender<'a>,
    workers: Appender<'a>,
    cases: Appender<'a>,
    results: Appender<'a>,
    samples: Appender<'a>,
    sample_values: Appender<'a>,
    round_values: Appender<'a>,
    telemetry: Appender<'a>,
    events: Appender<'a>,
}

impl<'a> Loading<'a> {
    /// Begins to append.
    pub fn begin(connection: &'a Connection) -> Result<Self, StoreError> {
        let open = || {
            Ok(Appenders {
                manifests: connection.appender("manifests")?,
                case_lists: connection.appender("case_lists")?,
                fingerprints: connection.appender("fingerprints")?,
                runs: connection.appender("runs")?,
                workers: connection.appender("workers")?,
                cases: connection.appender("cases")?,
                results: connection.appender("results")?,
                samples: connection.appender("samples")?,
                sample_values: connection.appender("sample_values")?,
                round_values: connection.appender("round_values")?,
                telemetry: connection.appender("telemetry")?,
                events: connection.appender("events")?,
            })
        };
        let wrong = |error: duckdb::Error| wrong(connection, &error);
        Ok(Self {
            documents: Documents {
                known: documents(connection).map_err(wrong)?,
                lists: CaseLists::default(),
                same: LastSame::default(),
            },
            tables: open().map_err(wrong)?,
            connection,
        })
    }

    /// Adds a record. `bytes` is the length of its file.
    pub fn add(&mut self, record: &Record, path: &Path, bytes: u64) -> Result<(), StoreError> {
        check(record).map_err(|what| StoreError::content(path, what))?;
        let loaded = Loader::of(record, &mut self.documents.same)
            .and_then(|loader| loader.all(&mut self.tables, &mut self.documents, path, bytes));
        loaded.map_err(|fault| match fault.downcast::<duckdb::Error>() {
            Ok(error) => wrong(self.connection, &error),
            Err(fault) => StoreError::content(path, fault.to_string()),
        })
    }

    /// Hands all of it over.
    pub fn end(mut self) -> Result<(), StoreError> {
        let tables = &mut self.tables;
        let all = [
            &mut tables.manifests,
            &mut tables.case_lists,
            &mut tables.fingerprints,
            &mut tables.runs,
            &mut tables.workers,
            &mut tables.cases,
            &mut tables.results,
            &mut tables.samples,
            &mut tables.sample_values,
            &mut tables.round_values,
            &mut tables.telemetry,
            &mut tables.events,
        ];
        let flushed = all.into_iter().try_for_each(Appender::flush);
        flushed.map_err(|error| wrong(self.connection, &error))
    }
}

/// Digests of all documents.
fn documents(connection: &Connection) -> Result<HashSet<String>, duckdb::Error> {
    let sql = "SELECT digest FROM manifests UNION ALL SELECT digest FROM case_lists UNION ALL SELECT digest FROM fingerprints";
    let mut statement = connection.prepare(sql)?;
    let digests = statement.query_map([], |row| row.get(0))?;
    digests.collect()
}

fn wrong(connection: &Connection, error: &duckdb::Error) -> StoreError {
    StoreError::of_duckdb(connection.path().unwrap_or(Path::new(":memory:")), error)
}

/// What the reader does not check and the tables need.
fn check(record: &Record) -> Result<(), String> {
    for block in &record.blocks {
        let place = || format!("case `{}`, round {}", block.case, block.round);
        if let Some(series) = block
            .telemetry
            .iter()
            .find(|series| series.at_ns.len() != series.values.len())
        {
            return Err(format!(
                "{}: telemetry `{}` has {} times, but {} values",
                place(),
                series.name,
                series.at_ns.len(),
                series.values.len()
            ));
        }
        block
            .samples
            .check()
            .map_err(|what| format!("{}: {what}", place()))?;
        if block.round > i32::MAX as u32 || block.attempt > i32::MAX as u32 {
            return Err(format!("{}: a round or attempt past 2^31", block.case));
        }
        if block
            .metrics()
            .iter()
            .any(|metric| metric.name == Metric::TIME)
        {
            return Err(format!(
                "{}: declares a metric called `time`, which every case has already",
                place()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::key_of;

    #[test]
    fn store_keys_keep_their_parts_apart() {
        assert_ne!(key_of(&["a", "b"]), key_of(&["ab"]));
        assert!(key_of(&["run"]) >= 0);
    }
}
