//! Holding the database against the records: whether it says what they say.

use std::collections::HashMap;
use std::path::PathBuf;

use assay_protocol::Digest;
use assay_record::{Record, RunId, case_list};

use crate::contents;
use crate::error::StoreError;
use crate::ingest::{find_records, run_of_name};
use crate::load::{load, run_key};
use crate::open;
use crate::schema::RUN_TABLES;
use crate::{RecordRow, Store};

/// What a verification found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// How many runs agree with their records in every row.
    pub agreeing: usize,
    /// What does not agree, and what to do; nothing is wrong where this is empty.
    pub problems: Vec<Problem>,
}

/// One disagreement between database and records.
#[derive(Debug)]
pub struct Problem {
    /// The run it concerns, where it is one.
    pub run: Option<RunId>,
    /// What, in words, with the file and the next step.
    pub what: String,
}

impl Store {
    /// Reads every record again, those that were ingested and those below `folders`, checks their hashes, and
    /// compares every row. A record is looked for below `folders` first, then where it was ingested. Changes nothing.
    pub fn verify(&self, folders: &[PathBuf]) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let rows = self.records()?;
        let mut given: HashMap<RunId, Vec<PathBuf>> = HashMap::new();
        for path in find_records(folders).0 {
            if let Some(run) = run_of_name(&path) {
                given.entry(run).or_default().push(path);
            }
        }
        for row in &rows {
            let paths = given.remove(&row.run).unwrap_or_default();
            let problems = self.disagreements(row, paths)?;
            if problems.is_empty() {
                report.agreeing += 1;
            }
            let run = Some(row.run.clone());
            report
                .problems
                .extend(problems.into_iter().map(|what| Problem {
                    run: run.clone(),
                    what,
                }));
        }
        self.verify_folders(folders, &mut report)?;
        self.verify_documents(&mut report)?;
        self.verify_owners(&mut report)?;
        Ok(report)
    }

    /// What a run has against its record; nothing if it agrees with one of those at `paths`, or with that which was
    /// ingested. They may have been moved since, and a copy may be of an earlier state.
    fn disagreements(
        &self,
        row: &RecordRow,
        mut paths: Vec<PathBuf>,
    ) -> Result<Vec<String>, StoreError> {
        let ingested = PathBuf::from(&row.record);
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_default();
        paths.retain(|path| absolute(path) != ingested);
        if paths.is_empty() || ingested.exists() {
            paths.push(ingested);
        }
        let mut problems = Vec::new();
        for path in paths {
            problems = match Record::read(&path) {
                Ok(record) if record.header.run == row.run => self.compare(&record)?,
                Ok(record) => vec![format!(
                    "{}: was run {}, and is now {}; put the record back",
                    path.display(),
                    row.run,
                    record.header.run
                )],
                Err(error) => vec![error.to_string()],
            };
            if problems.is_empty() {
                break;
            }
        }
        Ok(problems)
    }

    /// Tables of a run that differ from what its record says.
    fn compare(&self, record: &Record) -> Result<Vec<String>, StoreError> {
        let wrong = |error: duckdb::Error| StoreError::of_duckdb(&self.path, &error);
        let scratch = open::scratch()?;
        load(&scratch, record, &self.path, 0)?;
        let key = run_key(&record.header.run);
        let expected = contents::whole(&scratch, key).map_err(wrong)?;
        let found = contents::whole(&self.connection, key).map_err(wrong)?;
        let differing = expected
            .iter()
            .filter(|(table, of)| found.get(*table) != Some(*of));
        Ok(differing
            .map(|(table, (rows, _))| {
                let is = found.get(table).map_or(0, |(rows, _)| *rows);
                let how = if is == *rows {
                    format!("has {rows} rows, but other values in them")
                } else {
                    format!("has {is} rows instead of {rows}")
                };
                format!(
                    "{}: table `{table}` {how} for run {}; `assay ingest` brings in a record that has grown, else `assay db rebuild`",
                    self.path.display(),
                    record.header.run
                )
            })
            .collect())
    }

    /// Records that were never ingested.
    fn verify_folders(
        &self,
        folders: &[PathBuf],
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let known: Vec<RunId> = self.records()?.into_iter().map(|row| row.run).collect();
        let (paths, failures) = find_records(folders);
        // What is wrong with the record of a run that is known may have been said of that run.
        let mut problem = |run, what| {
            let is_said = report.problems.iter().any(|said| said.what == what);
            if !is_said {
                report.problems.push(Problem { run, what });
            }
        };
        for (_, error) in failures {
            problem(None, error.to_string());
        }
        for path in paths {
            match Record::read(&path) {
                Ok(record) if known.contains(&record.header.run) => {}
                Ok(record) => problem(
                    Some(record.header.run.clone()),
                    format!(
                        "{}: run {} is not in the database: run `assay ingest`",
                        path.display(),
                        record.header.run
                    ),
                ),
                Err(error) => problem(None, error.to_string()),
            }
        }
        Ok(())
    }

    /// Documents whose digest is not theirs.
    fn verify_documents(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        let lists = self.verify_table("case_lists", |json, _| Some(Digest::of(json)), report)?;
        let whole = |frame: &str, cases: &str| {
            let list = lists.get(cases)?;
            Some(Digest::of(case_list::whole(frame, list)))
        };
        self.verify_table("manifests", whole, report)?;
        self.verify_table("fingerprints", |json, _| Some(Digest::of(json)), report)?;
        Ok(())
    }

    /// Documents of a table by the digests under which they lie. `digest_of` a document and, of a manifest, what names its
    /// cases is what that should be, and nothing where these are lost.
    fn verify_table(
        &self,
        table: &str,
        digest_of: impl Fn(&str, &str) -> Option<Digest>,
        report: &mut VerifyReport,
    ) -> Result<HashMap<String, String>, StoreError> {
        let cases = if table == "manifests" { "cases" } else { "''" };
        let sql = format!("SELECT digest, json, {cases} FROM {table} ORDER BY digest");
        let rows: Vec<[String; 3]> =
            self.rows(&sql, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
        for [digest, json, cases] in &rows {
            let is = digest_of(json, cases).map(|is| is.to_string());
            if is.as_ref() != Some(digest) {
                let is = is.map_or("that of no document: its cases are lost".into(), |is| is);
                let what = format!(
                    "{}: table `{table}` has a document under {digest} whose digest is {is}; run `assay db rebuild`",
                    self.path.display()
                );
                report.problems.push(Problem { run: None, what });
            }
        }
        Ok(rows
            .into_iter()
            .map(|[digest, json, _]| (digest, json))
            .collect())
    }

    /// Rows that belong to no run.
    fn verify_owners(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        for (table, _) in RUN_TABLES {
            let sql = format!(
                "SELECT count(*) FROM {table} WHERE run_key NOT IN (SELECT run_key FROM runs)"
            );
            let orphans: i64 = self.rows(&sql, [], |row| Ok(row.get(0)?))?[0];
            if orphans > 0 {
                let what = format!(
                    "{}: table `{table}` has {orphans} rows of no run; run `assay db rebuild`",
                    self.path.display()
                );
                report.problems.push(Problem { run: None, what });
            }
        }
        Ok(())
    }
}
