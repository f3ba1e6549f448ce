//! Queries: SQL in, rows of [`crate::rows`] out. Values from outside are bound, never written into SQL.

mod cases;
mod documents;
mod resolve;
mod runs;
mod samples;
mod series;

use assay_record::Timestamp;
use duckdb::{Params, Row};
use serde::de::DeserializeOwned;

use crate::Store;
use crate::error::StoreError;

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
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query(params)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
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

fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>, Fault> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

fn time(ns: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_unix_ns(ns).ok_or_else(|| format!("{ns} ns is no time").into())
}
