//! Queries: SQL in, rows of [`crate::rows`] out. Values from outside are bound, never written into SQL.

mod cases;
mod details;
mod documents;
mod energy;
pub(crate) mod known;
mod missed;
mod resolve;
mod runs;
mod samples;
mod series;
mod spans;

use std::any::type_name;
use std::sync::atomic::Ordering;

use assay_record::{RunId, Timestamp};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::{Params, Row};
use foldhash::{HashMap, HashMapExt as _};
use serde::de::DeserializeOwned;
pub use series::{Identity, kept_series};

use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;

/// What can go wrong while a row is read: DuckDB, or text that is not what was once written there.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Store {
    /// How many statements were run of a database that is open for reading, by all that share it: each is planned anew, which takes
    /// longer than to answer it of a few runs.
    pub fn statements(&self) -> usize {
        let known = self.known.as_deref();
        known.map_or(0, |known| known.statements.load(Ordering::Relaxed))
    }

    fn count(&self) {
        if let Some(known) = &self.known {
            known.statements.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All rows of a statement. A value that cannot be understood was not written by this crate: damage.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, StoreError> {
        self.count();
        let all = || -> Result<Vec<T>, Fault> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        };
        all().map_err(|fault| self.fault(fault))
    }

    /// As [`Store::rows`], by the column: several times as fast where rows are many.
    pub(crate) fn batches(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&RecordBatch) -> Result<(), Fault>,
    ) -> Result<(), StoreError> {
        self.count();
        let all = || -> Result<(), Fault> {
            let mut statement = self.connection.prepare_cached(sql)?;
            for batch in statement.stream_arrow(params)? {
                read(&batch?)?;
            }
            Ok(())
        };
        all().map_err(|fault| self.fault(fault))
    }

    fn fault(&self, fault: Fault) -> StoreError {
        match fault.downcast::<duckdb::Error>() {
            Ok(error) => StoreError::of_duckdb(&self.path, &error),
            Err(fault) => StoreError::Corrupt {
                path: self.path.clone(),
                what: format!("a value that assay did not write: {fault}"),
            },
        }
    }
}

/// Text that was written as a name in JSON.
fn named<T: DeserializeOwned>(name: String) -> Result<T, Fault> {
    Ok(serde_json::from_value(serde_json::Value::String(name))?)
}

/// A column of JSON text.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Fault> {
    Ok(serde_json::from_str(row.get_ref(column)?.as_str()?)?)
}

/// A column of a batch, of the type that its statement gives it.
fn column<T: 'static>(batch: &RecordBatch, at: usize) -> Result<&T, Fault> {
    let column = batch.column(at).as_any().downcast_ref();
    column.ok_or_else(|| format!("column {at} is no {}", type_name::<T>()).into())
}

/// Some runs by the keys of their rows.
pub(crate) struct Places(HashMap<i64, usize>);

impl Places {
    pub fn of(runs: &[RunId]) -> Self {
        Self(runs.iter().map(run_key).zip(0..).collect())
    }

    /// The keys, for a list in SQL: numbers that were computed here, and a number that is no key where there is none.
    pub fn listed(&self) -> String {
        let mut keys: Vec<i64> = self.0.keys().copied().collect();
        keys.sort_unstable();
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        if keys.is_empty() {
            "-1".into()
        } else {
            keys.join(", ")
        }
    }

    /// Which of the runs has a key.
    fn at(&self, key: i64) -> Result<usize, Fault> {
        let at = self.0.get(&key).copied();
        at.ok_or_else(|| format!("run key {key} was not asked for").into())
    }
}

/// What distinct texts of a column mean: the same few come again and again.
struct Distinct<T>(HashMap<String, T>);

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> Distinct<T> {
    fn read(
        &mut self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let new = parse(text)?;
        self.0.insert(text.to_owned(), new.clone());
        Ok(new)
    }
}

fn time(ns: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_unix_ns(ns).ok_or_else(|| format!("{ns} ns is no time").into())
}
