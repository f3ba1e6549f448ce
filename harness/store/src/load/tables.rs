//! What each table gets of a record.

use std::path::Path;
use std::sync::Arc;

use assay_protocol::{ArithmeticUnit, Digest, MemoryLevel, Prepared};
use assay_record::{Block, Fingerprint, Manifest, Purpose, Record, Source, canonical, case_list};
use duckdb::{Appender, params};
use foldhash::HashMap;
use serde::Serialize;

use super::rounds::{counting, counts, declared, round_values};
use super::same::{LastSame, Same};
use super::samples::SampleColumns;
use super::{Appenders, Documents, Fault, name_of, run_key};
use crate::columns;

/// Samples that are handed over at once.
const BATCH_ROWS: usize = 100_000;

/// A record on its way into the tables.
pub struct Loader<'a> {
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
    pub fn of(record: &'a Record, same: &mut LastSame) -> Result<Self, Fault> {
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
    /// All of its rows. `bytes` is the length of its file.
    pub fn all(
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
