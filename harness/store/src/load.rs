//! Turning one record into rows: what each table gets, and nothing about whether it should.

mod rounds;
mod same;
mod samples;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use assay_protocol::{ArithmeticUnit, Digest, MemoryLevel, Metric, Prepared};
use assay_record::{
    Block, CaseLists, Fingerprint, Manifest, Purpose, Record, Source, canonical, case_list,
};
use duckdb::{Appender, Connection, params};
use serde::Serialize;

use self::rounds::{counting, counts, declared, round_values};
use self::same::{LastSame, Same};
use self::samples::SampleColumns;
use crate::columns;
use crate::error::StoreError;

/// Samples that are handed over at once.
const BATCH_ROWS: usize = 100_000;

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

struct Loader<'a> {
    record: &'a Record,
    key: i64,
    /// Of each block.
    visits: Vec<Visited>,
    same: Arc<Same>,
}

/// Where a block belongs.
struct Visited {
    case_no: i32,
    arm_no: i32,
    /// Whether it makes points of series.
    counts: bool,
}

impl<'a> Loader<'a> {
    fn of(record: &'a Record, same: &mut LastSame) -> Result<Self, Fault> {
        let header = &record.header;
        let places = Places::of(&header.manifest);
        let counting = counting(&record.blocks);
        let visited = |block: &Block| {
            let (case_no, arm_no) = places.find(block)?;
            Ok(Visited {
                case_no,
                arm_no,
                counts: counts(block, &counting),
            })
        };
        Ok(Self {
            record,
            key: run_key(&header.run),
            visits: record
                .blocks
                .iter()
                .map(visited)
                .collect::<Result<_, Fault>>()?,
            same: same.of(record)?,
        })
    }
}

impl Loader<'_> {
    fn all(
        &self,
        tables: &mut Appenders<'_>,
        documents: &mut Documents,
        path: &Path,
        bytes: u64,
    ) -> Result<(), Fault> {
        let header = &self.record.header;
        let manifest = header.manifest_digest.to_string();
        if documents.known.insert(manifest.clone()) {
            let list = documents.lists.of(&header.manifest.cases)?;
            let (frame, cases) = (case_list::frame(&header.manifest)?, list.digest.to_string());
            tables.manifests.append_row([&manifest, &frame, &cases])?;
            if documents.known.insert(cases.clone()) {
                tables.case_lists.append_row([&cases, &list.json])?;
            }
        }
        let mut fingerprint = |fingerprint: &Fingerprint| -> Result<String, Fault> {
            let json = canonical::to_canonical(fingerprint)?;
            let digest = Digest::of(&json).to_string();
            if documents.known.insert(digest.clone()) {
                let json = String::from_utf8(json)?;
                tables.fingerprints.append_row([&digest, &json])?;
            }
            Ok(digest)
        };
        let before = fingerprint(&header.fingerprint)?;
        let footer = self.record.footer.as_ref();
        let after = footer.map(|footer| fingerprint(&footer.fingerprint));
        let documents = (before, after.transpose()?);
        self.run(&mut tables.runs, documents, path, bytes)?;
        self.workers(&mut tables.workers)?;
        self.cases(&mut tables.cases)?;
        self.results(&mut tables.results)?;
        self.samples(&mut tables.samples)?;
        self.sample_values(&mut tables.sample_values)?;
        self.round_values(&mut tables.round_values)?;
        self.telemetry(&mut tables.telemetry)?;
        self.events(&mut tables.events)
    }

    /// The run itself, with the digests of its fingerprints before and after.
    fn run(
        &self,
        appender: &mut Appender<'_>,
        (before, after): (String, Option<String>),
        path: &Path,
        bytes: u64,
    ) -> Result<(), Fault> {
        let (header, footer) = (&self.record.header, self.record.footer.as_ref());
        let git = header.manifest.project.git();
        let origin = match &header.manifest.suite.source {
            Source::Imported(origin) => Some(origin),
            Source::Builtin | Source::Folder(_) => None,
        };
        appender.append_row(params![
            self.key,
            header.run.as_str(),
            header.manifest.suite.name,
            header.manifest_digest.to_string(),
            header.started.unix_ns(),
            footer.map(|footer| footer.finished.unix_ns()),
            name_of(&self.record.status())?,
            header.machine.name,
            header.machine.class.to_string(),
            before,
            after,
            header.manifest.tool.version,
            git.and_then(|git| git.commit.as_deref()),
            git.and_then(|git| git.branch.as_deref()),
            git.is_some_and(|git| git.diff.is_some()),
            serde_json::to_string(&header.tags)?,
            header.reproduces.as_ref().map(assay_record::RunId::as_str),
            header.monotonic_ns,
            header.timer_resolution_ns,
            self.record.workers.len() as i32,
            self.record.blocks.len() as i32,
            self.record.events.len() as i32,
            self.record.head.to_string(),
            path.to_string_lossy().as_ref(),
            bytes as i64,
            purpose_name(&header.purpose),
            confirms(&header.purpose),
            header.timer_overhead_ns,
            origin.map(|origin| &origin.format),
            origin.map(|origin| &origin.file),
            origin.map(|_| header.manifest.suite.digest.to_string()),
        ])?;
        Ok(())
    }

    fn workers(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        for (number, worker) in (0i32..).zip(&self.record.workers) {
            let hello = serde_json::to_string(&worker.hello)?;
            appender.append_row(params![self.key, number, worker.arm, worker.worker, hello])?;
        }
        Ok(())
    }

    fn cases(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        let manifest = &self.record.header.manifest;
        let declared = declared(&self.record.blocks);
        let nothing = Prepared::default();
        let arms = || manifest.arms.iter().map(|arm| arm.name.as_str());
        let places = manifest
            .cases
            .iter()
            .flat_map(|case| arms().map(move |arm| (case.id.as_str(), arm)));
        let found: Vec<Option<&Prepared>> =
            places.map(|place| declared.get(&place).copied()).collect();
        let all = || found.iter().map(|found| found.unwrap_or(&nothing));
        let [case_nos, arm_nos, series, ids, arms] = self.same.places.clone();
        let [benchmarks, workloads, params, devices, timings, definitions] = self.same.said.clone();
        columns::append(
            appender,
            [
                columns::longs(found.iter().map(|_| self.key)),
                case_nos,
                arm_nos,
                series,
                ids,
                arms,
                benchmarks,
                workloads,
                params,
                devices,
                timings,
                definitions,
                columns::truths(found.iter().map(Option::is_some)),
                columns::json(all().map(|prepared| &prepared.work))?,
                columns::truths(all().map(|prepared| prepared.deterministic)),
                columns::json(all().map(|prepared| &prepared.metrics))?,
                columns::some_texts(
                    all().map(|prepared| prepared.bound.level.map(MemoryLevel::name)),
                ),
                columns::some_texts(
                    all().map(|prepared| prepared.bound.unit.map(ArithmeticUnit::name)),
                ),
                columns::some_counts(all().map(|prepared| prepared.timer_resolution_ns)),
                columns::json(all().map(|prepared| &prepared.facts))?,
            ],
        )
    }

    /// Key of the series of a case on an arm, all metrics together.
    fn series(&self, case_no: i32, arm_no: i32) -> i64 {
        let arms = self.record.header.manifest.arms.len();
        self.same.series[case_no as usize * arms + arm_no as usize]
    }

    fn results(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        let blocks = &self.record.blocks;
        let digests = input_digests(blocks)?;
        let inputs = |block: &'_ Block| {
            let inputs = block.prepared.as_ref().map(|prepared| &prepared.inputs);
            json_of(inputs)
        };
        let inputs: Vec<_> = blocks.iter().map(inputs).collect::<Result<_, _>>()?;
        let verifications: Vec<_> = blocks
            .iter()
            .map(|block| json_of(block.verification.as_ref()))
            .collect::<Result<_, _>>()?;
        columns::append(
            appender,
            [
                columns::longs(blocks.iter().map(|_| self.key)),
                columns::ints((0i32..).take(blocks.len())),
                columns::ints(self.visits.iter().map(|visit| visit.case_no)),
                columns::ints(self.visits.iter().map(|visit| visit.arm_no)),
                columns::ints(blocks.iter().map(|block| block.round as i32)),
                columns::ints(blocks.iter().map(|block| block.attempt as i32)),
                columns::longs(blocks.iter().map(|block| block.started.unix_ns())),
                columns::texts(blocks.iter().map(|block| block.status.name())),
                columns::some_texts(blocks.iter().map(|block| block.status.reason())),
                columns::truths(self.visits.iter().map(|visit| visit.counts)),
                columns::some_texts(blocks.iter().map(|block| block.device.as_deref())),
                columns::ints(blocks.iter().map(|block| block.samples.len() as i32)),
                columns::ints(blocks.iter().map(|block| block.warmup as i32)),
                columns::truths(blocks.iter().map(|block| block.steady)),
                columns::some_texts(blocks.iter().map(|block| block.stop.as_deref())),
                columns::some_texts(verifications),
                columns::some_texts(digests),
                columns::some_texts(inputs),
                columns::json(blocks.iter().map(|block| &block.values))?,
                columns::json(blocks.iter().map(|block| &block.noise))?,
                columns::texts(blocks.iter().map(|block| block.log.as_str())),
                columns::json(blocks.iter().map(|block| &block.disturbed))?,
            ],
        )
    }

    fn samples(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        let mut columns = SampleColumns::default();
        for (number, block) in (0i32..).zip(&self.record.blocks) {
            columns.extend(number, &block.samples);
            if columns.rows() >= BATCH_ROWS {
                appender.append_record_batch(std::mem::take(&mut columns).batch(self.key)?)?;
            }
        }
        appender.append_record_batch(columns.batch(self.key)?)?;
        Ok(())
    }

    fn sample_values(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        for (number, block) in (0i32..).zip(&self.record.blocks) {
            for (metric, column) in &block.samples.values {
                for (i, value) in (0i32..).zip(column) {
                    appender.append_row((self.key, number, metric, i, *value))?;
                }
            }
        }
        Ok(())
    }

    fn round_values(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        let mut rows = Vec::new();
        for (number, (block, visit)) in (0i32..).zip(self.record.blocks.iter().zip(&self.visits)) {
            let series = self.series(visit.case_no, visit.arm_no);
            let values = round_values(block).into_iter();
            rows.extend(
                values.map(|(metric, value)| (number, series, metric, block, visit, value)),
            );
        }
        let rows = &rows;
        columns::append(
            appender,
            [
                columns::longs(rows.iter().map(|_| self.key)),
                columns::ints(rows.iter().map(|row| row.0)),
                columns::longs(rows.iter().map(|row| row.1)),
                columns::texts(rows.iter().map(|row| row.2)),
                columns::ints(rows.iter().map(|row| row.3.round as i32)),
                columns::truths(rows.iter().map(|row| row.4.counts)),
                columns::numbers(rows.iter().map(|row| row.5)),
            ],
        )
    }

    fn telemetry(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        for (number, block) in (0i32..).zip(&self.record.blocks) {
            for series in &block.telemetry {
                let readings = series.at_ns.iter().zip(&series.values);
                for (i, (at_ns, value)) in (0i32..).zip(readings) {
                    appender.append_row((
                        self.key,
                        number,
                        &series.name,
                        &series.unit,
                        i,
                        *at_ns,
                        *value,
                    ))?;
                }
            }
        }
        Ok(())
    }

    fn events(&self, appender: &mut Appender<'_>) -> Result<(), Fault> {
        for (number, event) in (0i32..).zip(&self.record.events) {
            appender.append_row(params![
                self.key,
                number,
                event.at.unix_ns(),
                name_of(&event.kind)?,
                event.text,
                event.case.as_deref(),
            ])?;
        }
        Ok(())
    }
}

/// Digests over the inputs of blocks. Those of neighbours are mostly the same, and often none.
fn input_digests(blocks: &[Block]) -> Result<Vec<Option<String>>, Fault> {
    let mut digests = Vec::with_capacity(blocks.len());
    let mut last = None;
    for block in blocks {
        let Some(inputs) = block.prepared.as_ref().map(|prepared| &prepared.inputs) else {
            digests.push(None);
            continue;
        };
        let digest = match last {
            Some((of, digest)) if of == inputs => digest,
            _ => canonical::digest(inputs)?,
        };
        last = Some((inputs, digest));
        digests.push(Some(digest.to_string()));
    }
    Ok(digests)
}

/// Where cases and arms stand in a manifest.
struct Places<'a> {
    cases: HashMap<&'a str, i32>,
    arms: HashMap<&'a str, i32>,
}

impl<'a> Places<'a> {
    fn of(manifest: &'a Manifest) -> Self {
        let cases = manifest.cases.iter().map(|case| case.id.as_str()).zip(0..);
        let arms = manifest.arms.iter().map(|arm| arm.name.as_str()).zip(0..);
        Self {
            cases: cases.collect(),
            arms: arms.collect(),
        }
    }

    fn find(&self, block: &Block) -> Result<(i32, i32), Fault> {
        let case = self.cases.get(block.case.as_str());
        let arm = self.arms.get(block.arm.as_str());
        match (case, arm) {
            (Some(case), Some(arm)) => Ok((*case, *arm)),
            _ => Err(format!(
                "case `{}` on arm `{}` is not in the manifest",
                block.case, block.arm
            )
            .into()),
        }
    }
}

/// A purpose as the column `purpose` has it.
fn purpose_name(purpose: &Purpose) -> &'static str {
    match purpose {
        Purpose::Measurement => "measurement",
        Purpose::Calibration => "calibration",
        Purpose::Ceilings => "ceilings",
        Purpose::Confirmation { .. } => "confirmation",
    }
}

/// The run that a confirmation confirms, as the column `confirms` has it.
fn confirms(purpose: &Purpose) -> Option<&str> {
    match purpose {
        Purpose::Confirmation { of } => Some(of.as_str()),
        _ => None,
    }
}

fn json_of(value: Option<&impl Serialize>) -> Result<Option<String>, serde_json::Error> {
    value.map(serde_json::to_string).transpose()
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
