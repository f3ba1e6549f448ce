//! Results as Parquet files, for whoever wants to analyse them elsewhere.

use std::path::{Path, PathBuf};

use assay_record::RunId;

use crate::Store;
use crate::error::StoreError;
use crate::open::{Access, Outside, Patience};
use crate::query::Places;

/// A time of nanoseconds since 1970 as a timestamp, UTC. Of clocks that are wrong the nearest that there is.
macro_rules! at {
    ($column:literal) => {
        concat!(
            "CASE WHEN ",
            $column,
            " IS NOT NULL THEN make_timestamp_ns(least(9223372036854775806, greatest(-9223286400000000000, ",
            $column,
            "))) END"
        )
    };
}

/// What is exported: file name and query, in an order that gives the same database the same bytes.
const EXPORTS: &[(&str, &str)] = &[
    (
        "runs",
        concat!(
            "SELECT run, suite, manifest, ",
            at!("started"),
            " AS started, ",
            at!("finished"),
            " AS finished, status, machine, class, tool, commit_id, branch, dirty, tags, reproduces, purpose, confirms, timer_resolution_ns, timer_overhead_ns
         FROM runs ORDER BY started, run"
        ),
    ),
    (
        "results",
        concat!(
            "SELECT r.run, c.case_id, c.arm, c.benchmark, c.workload, c.params, c.device, c.timing, c.definition, c.work,
                b.round, b.attempt, ",
            at!("b.started"),
            " AS started, b.status, b.reason, b.counts, b.samples, b.warmup, b.steady, b.stop, b.disturbed,
                v.metric, v.number AS value, coalesce(d.unit, if(v.metric = 'time', 'ns', NULL)) AS unit, coalesce(d.direction, if(v.metric = 'time', 'lower', NULL)) AS direction
         FROM results b JOIN runs r USING (run_key) JOIN cases c USING (run_key, case_no, arm_no)
              LEFT JOIN round_values v USING (run_key, block)
              LEFT JOIN (DECLARED) d ON d.run_key = b.run_key AND d.case_no = b.case_no AND d.arm_no = b.arm_no AND d.name = v.metric
         ORDER BY r.started, r.run, b.block, v.metric"
        ),
    ),
    (
        "samples",
        "SELECT r.run, c.case_id, c.arm, b.round, b.attempt, s.sample, s.sample < b.warmup AS is_warmup, s.start_ns, s.iterations, s.host_ns, s.device_ns
         FROM samples s JOIN results b USING (run_key, block) JOIN runs r USING (run_key) JOIN cases c USING (run_key, case_no, arm_no)
         ORDER BY r.started, r.run, s.block, s.sample",
    ),
];

/// The results of some runs as a table that needs no other: what was measured, where, when and of which commit.
const RESULTS: &str = concat!(
            "SELECT r.suite, r.machine, r.run, ",
            at!("r.started"),
            " AS started, r.commit_id, r.dirty, r.purpose, r.reproduces,
        c.case_id, c.arm, c.benchmark, c.workload, c.params, c.device, c.timing, c.definition, c.work,
        b.round, b.attempt, ",
            at!("b.started"),
            " AS round_started, b.status, b.reason, b.samples, b.warmup, b.steady, b.disturbed, v.metric, v.number AS value,
        coalesce(d.unit, if(v.metric = 'time', 'ns', NULL)) AS unit, coalesce(d.direction, if(v.metric = 'time', 'lower', NULL)) AS direction
    FROM RESULTS b
         JOIN runs r USING (run_key)
         JOIN CASES c USING (run_key, case_no, arm_no)
         LEFT JOIN ROUND_VALUES v USING (run_key, block)
         LEFT JOIN (DECLARED) d ON d.run_key = b.run_key AND d.case_no = b.case_no AND d.arm_no = b.arm_no AND d.name = v.metric
    ORDER BY r.started, r.run, b.block, v.metric"
        );

/// The metrics that a case's worker declared, one in a row; the time, which every case has, is not among them: it is nanoseconds, and
/// less is better.
const DECLARED: &str = "SELECT run_key, case_no, arm_no, metric.name AS name, metric.unit AS unit, metric.direction AS direction
    FROM (SELECT run_key, case_no, arm_no, unnest(from_json(metrics, '[{\"name\":\"VARCHAR\",\"unit\":\"VARCHAR\",\"direction\":\"VARCHAR\"}]')) AS metric FROM CASES)";

impl Store {
    /// Writes the value of every metric in every round of some runs, with the run and the case that it is of, to a file, and
    /// so for each of the files. Opens the database itself, as [`Store::export_parquet`] does.
    pub fn export_results(
        database: &Path,
        files: &[(PathBuf, Vec<RunId>)],
        patience: &mut Patience<'_>,
    ) -> Result<(), StoreError> {
        if files.is_empty() {
            return Ok(());
        }
        let store = patience.retry(|| Self::try_open(database, Access::Read, Outside::Open))?;
        for (file, runs) in files {
            let runs = Places::of(runs);
            let mut query = RESULTS.replace("DECLARED", DECLARED);
            for (name, table) in [
                ("RESULTS", "results"),
                ("CASES", "cases"),
                ("ROUND_VALUES", "round_values"),
            ] {
                query = query.replace(name, &store.rows_of(table, &runs)?);
            }
            store.copy(database, &query, file)?;
        }
        Ok(())
    }

    /// Writes `runs.parquet`, `results.parquet` and `samples.parquet` into `folder`, which is made if need be,
    /// and returns their paths. Each replaces an older one only when it is whole. Opens the database itself:
    /// every other connection is kept from touching files.
    pub fn export_parquet(
        database: &Path,
        folder: &Path,
        patience: &mut Patience<'_>,
    ) -> Result<Vec<PathBuf>, StoreError> {
        std::fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        let store = patience.retry(|| Self::try_open(database, Access::Read, Outside::Open))?;
        let mut files = Vec::new();
        for (name, query) in EXPORTS {
            let file = folder.join(format!("{name}.parquet"));
            let query = query
                .replace("DECLARED", DECLARED)
                .replace("CASES", "cases");
            store.copy(database, &query, &file)?;
            files.push(file);
        }
        Ok(files)
    }

    /// Puts the rows of a query into a file, which is there when it is whole.
    fn copy(&self, database: &Path, query: &str, file: &Path) -> Result<(), StoreError> {
        let part = file.with_extension("parquet.part");
        let sql = format!(
            "COPY ({query}) TO {} (FORMAT parquet, COMPRESSION zstd)",
            literal(&part)?
        );
        if let Err(error) = self.connection.execute_batch(&sql) {
            let _ = std::fs::remove_file(&part);
            return Err(StoreError::of_duckdb(database, &error));
        }
        std::fs::rename(&part, file).map_err(StoreError::io(file))
    }
}

/// A path as an SQL string: COPY takes no parameter there.
fn literal(path: &Path) -> Result<String, StoreError> {
    let text = path.to_str().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| {
        let what = "a folder for Parquet files must have a name in UTF-8";
        StoreError::io(path)(std::io::Error::new(std::io::ErrorKind::InvalidInput, what))
    })?;
    Ok(format!("'{}'", text.replace('\'', "''")))
}
