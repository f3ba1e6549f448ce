//! Counts and checksums of a run's rows, and whole tables as text: how two databases are compared.

use std::collections::BTreeMap;

use duckdb::{Connection, params};

use crate::Store;
use crate::error::StoreError;
use crate::schema::RUN_TABLES;

/// Columns of `runs` that the record's first line determines.
const HEADER_COLUMNS: &str = "run, suite, manifest, started, machine, class, before_fingerprint, tool, commit_id, branch, dirty, tags, reproduces, purpose, confirms, monotonic_ns, timer_resolution_ns, timer_overhead_ns, imported_format, imported_file, imported_digest";
/// Columns of `runs` that its other lines determine.
const LENGTH_COLUMNS: &str = "finished, status, after_fingerprint, workers, blocks, events, head";

/// How much of a record: so many lines of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub workers: i32,
    pub blocks: i32,
    pub events: i32,
    pub finished: bool,
}

impl Extent {
    /// Whether a record of this extent may be the beginning of one of the other.
    pub fn fits_in(self, other: Self) -> bool {
        !self.finished
            && self.workers <= other.workers
            && self.blocks <= other.blocks
            && self.events <= other.events
    }
}

/// Rows and checksum of each table.
pub(crate) type Contents = BTreeMap<&'static str, (i64, String)>;

/// Contents of all that a run has.
pub(crate) fn whole(connection: &Connection, run_key: i64) -> Result<Contents, duckdb::Error> {
    let columns = format!("{HEADER_COLUMNS}, {LENGTH_COLUMNS}");
    let mut contents = Contents::new();
    contents.insert(
        "runs",
        checksum(connection, "runs", &columns, run_key, "TRUE")?,
    );
    for (table, _) in RUN_TABLES {
        let columns = columns_of(connection, table)?;
        contents.insert(
            table,
            checksum(connection, table, &columns, run_key, "TRUE")?,
        );
    }
    Ok(contents)
}

/// Contents of the beginning of a run. Leaves out `cases`, which the whole determines.
pub(crate) fn beginning(
    connection: &Connection,
    run_key: i64,
    extent: Extent,
) -> Result<Contents, duckdb::Error> {
    let mut contents = Contents::new();
    let header = checksum(connection, "runs", HEADER_COLUMNS, run_key, "TRUE")?;
    contents.insert("runs", header);
    for (table, order) in RUN_TABLES {
        let limit = match *table {
            "workers" => extent.workers,
            "events" => extent.events,
            "cases" => continue,
            _ => extent.blocks,
        };
        // A later attempt takes `counts` away from an earlier one.
        let columns = columns_of(connection, table)?.replace(" counts,", "");
        let within = format!("{order} < {limit}");
        contents.insert(
            table,
            checksum(connection, table, &columns, run_key, &within)?,
        );
    }
    Ok(contents)
}

/// Table and column names come from this crate and from the schema, never from outside.
fn checksum(
    connection: &Connection,
    table: &str,
    columns: &str,
    run_key: i64,
    within: &str,
) -> Result<(i64, String), duckdb::Error> {
    let sql = format!(
        "SELECT count(*), CAST(coalesce(sum(CAST(hash({columns}) AS HUGEINT)), 0) AS VARCHAR) FROM {table} WHERE run_key = ? AND {within}"
    );
    connection.query_row(&sql, params![run_key], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Names of a table's columns in order, with commas.
fn columns_of(connection: &Connection, table: &str) -> Result<String, duckdb::Error> {
    connection.query_row(
        "SELECT string_agg(column_name, ', ' ORDER BY column_index) FROM duckdb_columns() WHERE table_name = ? AND NOT internal",
        params![table],
        |row| row.get(0),
    )
}

impl Store {
    /// Every table as sorted lines of text. Two databases with the same contents give the same dump, in whatever
    /// order their records came; where a record lay is no content.
    pub fn dump(&self) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let wrong = |error: duckdb::Error| StoreError::of_duckdb(&self.path, &error);
        let tables = RUN_TABLES.iter().map(|(table, _)| *table);
        let others = ["manifests", "case_lists", "fingerprints", "runs"];
        let mut dump = BTreeMap::new();
        for table in tables.chain(others) {
            let columns = if table == "runs" {
                format!("run_key, {HEADER_COLUMNS}, {LENGTH_COLUMNS}")
            } else {
                columns_of(&self.connection, table).map_err(wrong)?
            };
            let sql = format!(
                "SELECT CAST(row({columns}) AS VARCHAR) AS line FROM {table} ORDER BY line"
            );
            let lines = self.rows(&sql, [], |row| Ok(row.get(0)?))?;
            dump.insert(table.to_owned(), lines);
        }
        Ok(dump)
    }
}
