//! Queries: SQL in, rows of [`crate::rows`] out. Values from outside are bound, never written into SQL.

mod cases;
mod details;
mod documents;
mod energy;
mod resolve;
mod runs;
mod samples;
mod series;

use std::any::type_name;
use std::collections::HashMap;

use assay_record::{RunId, Timestamp};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::{Params, Row};
use serde::de::DeserializeOwned;

use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;

/// What can go wrong while a row is read: DuckDB, or text that is not what was once written there.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Store {
    /// All rows of a statement. A value that cannot be understood was not written by this crate: damage.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, StoreError> {
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
        let all = || -> Result<(), Fault> {
            let mut statement = self.connection.prepare_cached(sql)?;
            for batch in statement.stream_arrow(params)? {
                read(&batch?)?;
            }
            Ok(())
        };
        all().map_err(|fault| self.fault(fault))
    }

    /// The rows of some runs in a table, for a statement to select from.
    ///
    /// The rows of one run lie together, and those of many mostly in a few places: of a long history a statement for twenty runs
    /// reads these places, and not all of the table.
    pub(crate) fn rows_of(&self, table: &str, runs: &Places) -> Result<String, StoreError> {
        let keys = runs.listed();
        let sql = format!(
            "SELECT min(rowid), max(rowid) FROM {table} WHERE run_key IN ({keys}) GROUP BY run_key ORDER BY 1"
        );
        let spans = self.rows(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let parts: Vec<String> = joined(spans)
            .into_iter()
            .map(|(first, last)| {
                format!("SELECT * FROM {table} WHERE rowid BETWEEN {first} AND {last} AND run_key IN ({keys})")
            })
            .collect();
        if parts.is_empty() {
            return Ok(format!("(SELECT * FROM {table} WHERE false)"));
        }
        Ok(format!("({})", parts.join(" UNION ALL ")))
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

/// Rows between two places that are read too, rather than to begin anew: DuckDB keeps so many together.
const ROW_GROUP: i64 = 122_880;

/// Spans of rows, in order of their first, as few as are worth a part of a statement.
fn joined(spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for (first, last) in spans {
        match found.last_mut() {
            Some(open) if first <= open.1 + ROW_GROUP => open.1 = open.1.max(last),
            _ => found.push((first, last)),
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::{ROW_GROUP, joined};

    #[test]
    fn store_spans_that_are_near_each_other_are_one() {
        assert_eq!(joined(Vec::new()), []);
        let near = vec![(0, 9), (5, 7), (20, 30)];
        assert_eq!(joined(near), [(0, 30)]);
        let far = vec![(0, 9), (10 + ROW_GROUP, 20 + ROW_GROUP)];
        assert_eq!(joined(far.clone()), far);
    }
}
