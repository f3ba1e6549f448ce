//! From what a file says to the record of a run.
//!
//! Where the format of records asks for what an import cannot know, it gets the value that says nothing: the digest of
//! no bytes for the worker's executable, the usual policy, no clock.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::{
    DeviceKind, DeviceSelector, Digest, Hello, PROTOCOL_VERSION, Params, Prepared, TimingMode, U64,
};
use assay_record::body::{RECORD_VERSION, SUMMARY, Worker};
use assay_record::manifest::{Engine, GitState, MANIFEST_SCHEMA, SuiteRef, Tool};
use assay_record::validate::{MAX_CASES, MAX_ID_BYTES};
use assay_record::{
    Arm, Block, BlockStatus, Body, Case, CaseLists, Event, EventKind, Expect, Fingerprint, Footer,
    Header, Manifest, ManifestFile, Origin, Policy, Project, Purpose, Recent, RunId, RunStatus,
    Samples, Shared, Source, Timestamp, WorkloadRef,
};
use assay_stats::{steady_from, warmup::MINIMUM_SAMPLES};
use serde::Serialize;

use super::Options;
use super::found::{Columns, Environment, Found, Measurement, Outcome, Total, plain, slug};
use crate::plan::{self, MAIN_ARM, cases};

/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 2000;
/// Longest time for an answer: nothing is asked of what was measured elsewhere, but 0 is no limit.
const TIMEOUT_MS: u32 = 1;

/// Where a record's content came from.
pub struct Origins {
    /// Name of the importer.
    pub format: &'static str,
    /// Name of the file.
    pub file: String,
    /// What the tool calls a case's time: `mean` or `median` of its samples.
    pub middle: &'static str,
    /// SHA-256 of it.
    pub digest: Digest,
    /// When it was measured.
    pub date: Timestamp,
    /// Whether somebody said so; else it is the file's own time.
    pub is_dated: bool,
    /// Whether the tool adds to the file.
    pub grows: bool,
}

/// Cases that were made before: the files of a history have most of them in common, and mostly in the same order.
#[derive(Default)]
pub struct Cases {
    /// Those of the last files.
    lists: Recent<List>,
    /// By their subjects as JSON.
    others: HashMap<String, Case>,
}

/// The cases of a file.
struct List {
    /// What they are of.
    subjects: Vec<Subject>,
    cases: Shared<Vec<Case>>,
}

/// What makes a case, of one worker.
#[derive(PartialEq, Serialize)]
struct Subject {
    benchmark: String,
    definition: u32,
    point: Params,
    device: DeviceSelector,
    timing: TimingMode,
}

impl Subject {
    fn of(measurement: &Measurement) -> Self {
        Self {
            benchmark: measurement.benchmark.clone(),
            definition: measurement.definition,
            point: measurement.point.clone(),
            device: measurement.device.clone(),
            timing: measurement.timing,
        }
    }

    fn is_of(&self, measurement: &Measurement) -> bool {
        self.benchmark == measurement.benchmark
            && (self.definition, self.timing) == (measurement.definition, measurement.timing)
            && self.point == measurement.point
            && self.device == measurement.device
    }
}

/// The header of a record, and all that comes after it.
pub fn record(
    found: Found,
    origins: &Origins,
    options: &Options,
    known: (&mut Cases, &CaseLists),
) -> Result<(Header, impl Iterator<Item = Body> + use<>)> {
    ensure!(!found.measurements.is_empty(), "it holds no measurement");
    let header = header(&found, origins, options, known)?;
    let event = Event {
        at: origins.date,
        kind: EventKind::Imported,
        text: words(&found, origins),
        case: None,
    };
    let worker = worker(&found, origins);
    let footer = Footer {
        finished: origins.date,
        status: RunStatus::Complete,
        fingerprint: header.fingerprint.clone(),
        blocks: found.measurements.len() as u64,
    };
    let cases = header.manifest.cases.clone();
    let (arm, date) = (arm_name(&found).to_owned(), origins.date);
    let blocks = (0..).zip(found.measurements);
    let blocks = blocks.map(move |(at, measurement): (usize, _)| {
        let id = cases[at].id.clone();
        Body::Block(Box::new(block(id, &arm, measurement, date)))
    });
    let first = [Body::Worker(worker), Body::Event(event)];
    let last = [Body::Footer(Box::new(footer))];
    Ok((header, first.into_iter().chain(blocks).chain(last)))
}

fn arm_name(found: &Found) -> &str {
    let environment = found.environment.as_ref();
    environment.map_or(MAIN_ARM, |environment| &environment.name)
}

fn header(
    found: &Found,
    origins: &Origins,
    options: &Options,
    (known, lists): (&mut Cases, &CaseLists),
) -> Result<Header> {
    let fingerprint = Fingerprint {
        taken: origins.date,
        hardware: found.hardware.clone(),
        software: found.software.clone(),
        settings: found.settings.clone(),
        volatile: BTreeMap::new(),
    };
    let machine = options.machine.as_deref().or(found.machine.as_deref());
    let machine = plain(
        "--machine",
        machine.context("it does not say on what it was measured: name that with --machine")?,
        100,
    )?;
    let manifest = manifest(found, origins, options, known)?;
    let entropy = entropy(&manifest, machine, origins)?;
    let file = ManifestFile::seal_with(&manifest, lists)?;
    known.share(&manifest.cases, &file.manifest.cases);
    Ok(Header {
        version: RECORD_VERSION,
        run: RunId::new(origins.date, entropy.as_bytes()),
        started: origins.date,
        monotonic_ns: 0,
        manifest: file.manifest,
        manifest_digest: file.digest,
        machine: fingerprint
            .identity(Some(machine))
            .context("the machine has no canonical form")?,
        fingerprint,
        tags: options.tags.clone(),
        reproduces: None,
        purpose: Purpose::Measurement,
        timer_resolution_ns: 0,
        timer_overhead_ns: None,
    })
}

/// What tells the run apart from others of its second: its content. Of a file that its tool adds to, what it is of, so that the run keeps
/// its name, and pages of it their addresses.
fn entropy(manifest: &Manifest, machine: &str, origins: &Origins) -> Result<String> {
    let git = manifest.project.git();
    let commit = git.and_then(|git| git.commit.as_ref());
    let Some(commit) = commit.filter(|_| origins.grows) else {
        return Ok(format!("import {}", origins.digest));
    };
    let arms = manifest.arms.iter().map(|arm| (&arm.name, &arm.env));
    let arms: Vec<_> = arms.collect();
    let is_of = (origins.format, &manifest.suite.name, machine, arms, commit);
    Ok(format!("import {}", serde_json::to_string(&is_of)?))
}

fn manifest(
    found: &Found,
    origins: &Origins,
    options: &Options,
    known: &mut Cases,
) -> Result<Manifest> {
    let environment = found.environment.as_ref();
    let project = match options.commit.as_ref().or(found.commit.as_ref()) {
        None => Project::NoRepository,
        Some(commit) => Project::Git(GitState {
            commit: Some(commit.clone()),
            branch: None,
            remote: None,
            diff: None,
        }),
    };
    Ok(Manifest {
        schema: MANIFEST_SCHEMA,
        suite: SuiteRef {
            name: options.suite.clone().unwrap_or_else(|| found.suite.clone()),
            digest: origins.digest,
            source: Source::Imported(Origin {
                format: origins.format.into(),
                file: origins.file.clone(),
            }),
        },
        tool: Tool {
            version: env!("CARGO_PKG_VERSION").into(),
            binary: plan::own_digest()?,
        },
        project,
        arms: vec![Arm {
            name: arm_name(found).into(),
            engine: Engine::Host,
            image: None,
            worker: Digest::of(""),
            prefix: Vec::new(),
            env: environment.map_or_else(BTreeMap::new, |environment: &Environment| {
                environment.env.clone()
            }),
            commit: None,
        }],
        workers: BTreeMap::from([(origins.format.to_owned(), found.command.clone())]),
        sources: BTreeMap::new(),
        order_seed: U64(0),
        cases: known.of(&found.measurements, origins.format)?,
    })
}

impl Cases {
    /// The cases of measurements.
    fn of(&mut self, measurements: &[Measurement], worker: &str) -> Result<Shared<Vec<Case>>> {
        if let Some(known) = self.lists.find(|list| list.is_of(measurements)) {
            return Ok(known.cases.clone());
        }
        let count = measurements.len();
        ensure!(
            count <= MAX_CASES,
            "it holds {count} measurements; at most {MAX_CASES}"
        );
        let cases: Vec<Case> = measurements
            .iter()
            .map(|measurement| self.case(measurement, worker))
            .collect::<Result<_>>()?;
        refuse_twice(&cases)?;
        let list = List {
            subjects: measurements.iter().map(Subject::of).collect(),
            cases: cases.into(),
        };
        let cases = list.cases.clone();
        self.lists.add(list, count);
        Ok(cases)
    }

    /// Has others in the place of some cases, to which they are equal: the same as every other file's are compared at a glance.
    fn share(&mut self, own: &Shared<Vec<Case>>, others: &Shared<Vec<Case>>) {
        if let Some(list) = self.lists.find(|list| list.cases.is(own)) {
            list.cases = others.clone();
        }
    }

    /// The case of a measurement.
    fn case(&mut self, measurement: &Measurement, worker: &str) -> Result<Case> {
        let key = serde_json::to_string(&(worker, Subject::of(measurement)))?;
        if let Some(known) = self.others.get(&key) {
            return Ok(known.clone());
        }
        let new = case(measurement, worker)?;
        // A folder of many files that have nothing in common must not fill the memory.
        if self.others.len() >= MAX_CASES {
            self.others.clear();
        }
        self.others.insert(key, new.clone());
        Ok(new)
    }
}

impl List {
    fn is_of(&self, measurements: &[Measurement]) -> bool {
        let mut pairs = self.subjects.iter().zip(measurements);
        self.subjects.len() == measurements.len()
            && pairs.all(|(subject, measurement)| subject.is_of(measurement))
    }
}

fn refuse_twice(cases: &[Case]) -> Result<()> {
    let mut ids = HashSet::new();
    let twice = cases.iter().find(|case| !ids.insert(case.id.as_str()));
    ensure!(
        twice.is_none(),
        "two results are both the case `{}`: which one is meant cannot be told",
        twice.map_or("", |case| &case.id)
    );
    Ok(())
}

fn case(measurement: &Measurement, worker: &str) -> Result<Case> {
    let Measurement {
        benchmark,
        point,
        device,
        timing,
        ..
    } = measurement;
    let workload = WorkloadRef::Worker {
        worker: worker.into(),
        name: plain("benchmark", benchmark, 200)?.into(),
        definition: measurement.definition,
    };
    Ok(Case {
        id: short(cases::id(benchmark, point, device, *timing)),
        benchmark: slug(benchmark, "unnamed"),
        tags: Vec::new(),
        definition: cases::definition(&workload, point, 0, device, *timing)?,
        workload,
        params: point.clone(),
        seed: U64(0),
        device: device.clone(),
        timing: *timing,
        policy: Policy::default(),
        timeout_ms: TIMEOUT_MS,
        expect: Expect::default(),
    })
}

/// An id that is too long keeps its beginning and tells itself apart by its digest.
fn short(id: String) -> String {
    if id.len() <= MAX_ID_BYTES {
        return id;
    }
    let digest = &Digest::of(&id).hex()[..16];
    let mut end = MAX_ID_BYTES - digest.len() - 1;
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{digest}", &id[..end])
}

fn worker(found: &Found, origins: &Origins) -> Worker {
    Worker {
        arm: arm_name(found).into(),
        worker: origins.format.into(),
        hello: Hello {
            protocol: PROTOCOL_VERSION,
            worker: origins.format.into(),
            version: found.version.clone(),
            devices: found.devices.clone(),
            software: BTreeMap::new(),
            workloads: Vec::new(),
        },
    }
}

/// What a reader of the numbers has to know of where they came from.
fn words(found: &Found, origins: &Origins) -> String {
    let is_sum = |one: &&Measurement| matches!(one.outcome, Outcome::Sum(_));
    let sums = found.measurements.iter().filter(is_sum).count();
    let mut said = vec![format!(
        "imported from {}, which {}{}{} wrote",
        origins.file,
        origins.format,
        if found.version.is_empty() { "" } else { " " },
        found.version
    )];
    said.push("no output was verified".into());
    if sums > 0 {
        let all = found.measurements.len();
        said.push(format!(
            "{sums} of {all} cases are known by their {} alone, and not by their samples",
            origins.middle
        ));
    }
    if !origins.is_dated {
        said.push("the time is that of the file".into());
    }
    said.extend(found.caveats.iter().cloned());
    said.join("; ")
}

fn block(case: String, arm: &str, measurement: Measurement, at: Timestamp) -> Block {
    let has_device_clock = measurement.device.kind != DeviceKind::Cpu;
    let mut prepared = Prepared {
        work: measurement.work,
        facts: measurement.facts,
        ..Prepared::default()
    };
    let mut values = BTreeMap::new();
    let (mut samples, mut status, mut stop) = (Samples::default(), BlockStatus::Ok, None);
    match measurement.outcome {
        Outcome::Samples(columns) => {
            prepared.metrics = columns.metrics.iter().map(|(m, _)| m.clone()).collect();
            samples = each(columns);
        }
        Outcome::Batch(total) => samples = one(total),
        Outcome::Sum(total) => {
            samples = one(total);
            stop = Some(SUMMARY.to_owned());
        }
        Outcome::Value(metric, value) => {
            values.insert(metric.name.clone(), value);
            prepared.metrics = vec![metric];
        }
        Outcome::Skipped(reason) => status = BlockStatus::Skipped(clip(&reason)),
        Outcome::Failed(reason) => status = BlockStatus::Failed(clip(&reason)),
    }
    if !has_device_clock {
        samples.device_ns.clear();
    }
    let (warmup, steady) = settled(&samples);
    Block {
        case,
        arm: arm.into(),
        round: 0,
        attempt: 0,
        started: measurement.started.unwrap_or(at),
        prepared: (status == BlockStatus::Ok).then_some(prepared),
        status,
        device: None,
        samples,
        warmup,
        steady,
        stop,
        verification: None,
        values,
        telemetry: Vec::new(),
        noise: BTreeMap::new(),
        disturbed: Vec::new(),
        log: String::new(),
    }
}

/// Samples one after the other. When one began is not known, only which came before which; the host's time is not
/// known where the device has a clock, only that it is no less.
fn each(columns: Columns) -> Samples {
    let mut begin = 0_u64;
    let start = |ns: &u64| {
        let start = begin;
        begin = begin.saturating_add(*ns);
        start
    };
    Samples {
        start_ns: columns.ns.iter().map(start).collect(),
        iterations: vec![columns.iterations; columns.ns.len()],
        host_ns: columns.ns.clone(),
        device_ns: columns.ns,
        values: columns
            .metrics
            .into_iter()
            .map(|(metric, values)| (metric.name, values))
            .collect(),
    }
}

fn one(total: Total) -> Samples {
    Samples {
        start_ns: vec![0],
        iterations: vec![total.iterations],
        host_ns: vec![total.host_ns.unwrap_or(total.ns)],
        device_ns: vec![total.ns],
        values: BTreeMap::new(),
    }
}

/// Warm-up by our own rule, though such tools warm up before they sample. Of few samples nothing can be said against them.
fn settled(samples: &Samples) -> (u32, bool) {
    if samples.len() < MINIMUM_SAMPLES {
        return (0, true);
    }
    let start = steady_from(&samples.times_ns());
    let warmup = start.and_then(|start| u32::try_from(start).ok());
    (warmup.unwrap_or(0), start.is_some())
}

fn clip(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}
