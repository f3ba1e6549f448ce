//! Made-up records, seeded, for tests and benches of this crate and of those above it. Nothing here
//! is measured, and nothing in a shipped program calls it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use assay_protocol::{
    Bound, DeviceSelector, Digest, Direction, Hello, Metric, MetricKind, ParamValue, Params,
    Philox, Prepared, TimingMode, U64, Unit, Verification, Work,
};
use assay_record::body::{RECORD_VERSION, TelemetrySeries, Worker};
use assay_record::chain::Chain;
use assay_record::manifest::{
    BUILTIN_WORKER, Engine, Expect, GitState, MANIFEST_SCHEMA, SuiteRef, Tool,
};
use assay_record::{
    Arm, Block, BlockStatus, Body, Case, Event, EventKind, Field, Fingerprint, Footer, Header,
    Manifest, Policy, Project, Purpose, Record, RunId, RunStatus, Samples, Source, Timestamp,
    WorkloadRef, canonical,
};

/// 2026-01-01 00:00 UTC, in nanoseconds since 1970.
const EPOCH_NS: i64 = 1_767_225_600_000_000_000;
/// One night.
const DAY_NS: i64 = 86_400_000_000_000;
/// The true time of every case, in nanoseconds per iteration.
pub const TRUE_TIME_NS: f64 = 1000.0;
const ITERATIONS: u64 = 100;

/// What a made-up run is like.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Whatever is random comes from this and the other fields.
    pub seed: u64,
    /// Name of the suite.
    pub suite: String,
    /// Name of the machine.
    pub machine: String,
    /// Night on which it runs.
    pub night: u32,
    /// Text of the suite's file: another one has another digest.
    pub file: String,
    /// Name of its only arm.
    pub arm: String,
    /// Number of the first case, of a run that left out those before it.
    pub first: u32,
    /// How many cases it has.
    pub cases: u32,
    /// Rounds of each.
    pub rounds: u32,
    /// Samples of each round, the first of which is warm-up.
    pub samples: u32,
    /// Factor on the true time of every case.
    pub slowdown: f64,
    /// Standard deviation of the logarithm between rounds.
    pub round_sd: f64,
    /// Release of the kernel, in the software fingerprint.
    pub kernel: String,
    /// What the run is for.
    pub purpose: Purpose,
    /// Names given to the run.
    pub tags: Vec<String>,
    /// Digest of every output: another one makes other bits.
    pub output: String,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            seed: 1,
            suite: "synthetic".into(),
            machine: "bench-1".into(),
            night: 0,
            file: String::new(),
            arm: "main".into(),
            first: 0,
            cases: 3,
            rounds: 4,
            samples: 11,
            slowdown: 1.0,
            round_sd: 0.004,
            kernel: "6.1.0".into(),
            purpose: Purpose::Measurement,
            tags: Vec::new(),
            output: "output".into(),
        }
    }
}

impl Recipe {
    /// The finished record. Its first case also has a sample metric `loss`, a case metric `peak_memory` and telemetry.
    pub fn record(&self) -> Record {
        assemble(self.bodies())
    }

    /// The record as it was when its first `blocks` blocks were written.
    pub fn cut(&self, blocks: usize) -> Record {
        assemble(cut(self.bodies(), blocks))
    }

    /// Writes the record into `folder` as a plain file, whole or cut after some blocks, and returns its path.
    pub fn write(&self, folder: &Path, blocks: Option<usize>) -> io::Result<PathBuf> {
        let bodies = match blocks {
            Some(blocks) => cut(self.bodies(), blocks),
            None => self.bodies(),
        };
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.jsonl", self.run()));
        std::fs::write(&path, lines(&bodies).0)?;
        Ok(path)
    }

    /// Id of the run.
    pub fn run(&self) -> RunId {
        let entropy = format!("{} {} {}", self.seed, self.machine, self.suite);
        RunId::new(self.at(0), entropy.as_bytes())
    }

    /// Commit of the measured project: another one each night.
    pub fn commit(&self) -> String {
        Digest::of(self.night.to_le_bytes()).hex()[..40].into()
    }

    /// Ids of the cases.
    pub fn case_ids(&self) -> Vec<String> {
        self.numbers().map(case_id).collect()
    }

    fn numbers(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.cases
    }

    fn at(&self, second: u32) -> Timestamp {
        let ns = EPOCH_NS + i64::from(self.night) * DAY_NS + i64::from(second) * 1_000_000_000;
        Timestamp::from_unix_ns(ns).unwrap_or_else(Timestamp::now)
    }

    fn bodies(&self) -> Vec<Body> {
        let mut bodies = vec![
            Body::Header(Box::new(self.header())),
            Body::Worker(Worker {
                arm: self.arm.clone(),
                worker: BUILTIN_WORKER.into(),
                hello: Hello {
                    protocol: assay_protocol::PROTOCOL_VERSION,
                    worker: "synthetic".into(),
                    version: "1".into(),
                    devices: Vec::new(),
                    software: BTreeMap::new(),
                    workloads: Vec::new(),
                },
            }),
        ];
        for round in 0..self.rounds {
            for case in self.numbers() {
                bodies.push(Body::Block(Box::new(self.block(round, case))));
            }
        }
        bodies.push(Body::Event(Event {
            at: self.at(10_000),
            kind: EventKind::Note,
            text: "made up".into(),
            case: None,
        }));
        bodies.push(Body::Footer(Box::new(Footer {
            finished: self.at(10_001),
            status: RunStatus::Complete,
            fingerprint: self.fingerprint(10_001),
            blocks: u64::from(self.rounds * self.cases),
        })));
        bodies
    }

    fn header(&self) -> Header {
        let manifest = self.manifest();
        let fingerprint = self.fingerprint(0);
        // All of it is made here, and has a canonical form.
        let nothing = Digest::of("");
        let machine = fingerprint.identity(Some(&self.machine));
        Header {
            version: RECORD_VERSION,
            run: self.run(),
            started: self.at(0),
            monotonic_ns: 1_000_000,
            manifest_digest: canonical::digest(&manifest).unwrap_or(nothing),
            manifest,
            fingerprint,
            machine: machine.unwrap_or_else(|_| assay_record::MachineIdentity {
                name: self.machine.clone(),
                class: nothing,
            }),
            tags: self.tags.clone(),
            reproduces: None,
            purpose: self.purpose.clone(),
            timer_resolution_ns: 20,
            timer_overhead_ns: Some(25),
        }
    }

    fn manifest(&self) -> Manifest {
        Manifest {
            schema: MANIFEST_SCHEMA,
            suite: SuiteRef {
                name: self.suite.clone(),
                digest: Digest::of(format!("{}{}", self.suite, self.file)),
                source: Source::Builtin,
            },
            tool: Tool {
                version: "0.1.0".into(),
                binary: Digest::of("assay"),
            },
            project: Project::Git(GitState {
                commit: Some(self.commit()),
                branch: Some("main".into()),
                remote: None,
                diff: None,
            }),
            arms: vec![Arm {
                name: self.arm.clone(),
                engine: Engine::Host,
                image: None,
                worker: Digest::of("assay-worker"),
                prefix: Vec::new(),
                env: BTreeMap::new(),
                commit: None,
            }],
            workers: BTreeMap::new(),
            sources: BTreeMap::new(),
            order_seed: U64(1),
            cases: self.numbers().map(case).collect(),
        }
    }

    fn fingerprint(&self, second: u32) -> Fingerprint {
        let one = |name: &str, field| BTreeMap::from([(name.to_owned(), field)]);
        Fingerprint {
            taken: self.at(second),
            hardware: one("cpu.model", Field::text("Synthetic")),
            software: one("kernel.release", Field::text(&self.kernel)),
            settings: one("cpu.governor", Field::text("performance")),
            volatile: one("load.1min", Field::float(f64::from(second) / 1e5)),
        }
    }

    fn block(&self, round: u32, case: u32) -> Block {
        let visit = u64::from(round) << 32 | u64::from(case);
        let random = Philox::new(self.seed ^ u64::from(self.night) << 32, visit);
        let level = TRUE_TIME_NS * self.slowdown * (self.round_sd * normal(&random, 0)).exp();
        let is_first = case == 0;
        let begin = 1_000_000 + u64::from(round * self.cases + case) * 1_000_000_000;
        Block {
            case: case_id(case),
            arm: self.arm.clone(),
            round,
            attempt: 0,
            started: self.at(round * self.cases + case),
            status: BlockStatus::Ok,
            prepared: Some(prepared(case)),
            device: None,
            samples: self.samples(&random, level, begin, is_first),
            warmup: 1.min(self.samples),
            steady: true,
            stop: Some("precise".into()),
            verification: Some(Verification {
                passed: true,
                error: Some(1e-7),
                tolerance: Some(1e-5),
                output: Some(Digest::of(format!("{} {case}", self.output))),
                detail: String::new(),
            }),
            values: is_first
                .then(|| ("peak_memory".to_owned(), 4096.0))
                .into_iter()
                .collect(),
            telemetry: is_first
                .then(|| TelemetrySeries {
                    name: "cpu.frequency".into(),
                    unit: "Hz".into(),
                    at_ns: vec![begin, begin + 1000],
                    values: vec![3e9, 3.1e9],
                })
                .into_iter()
                .collect(),
            noise: BTreeMap::from([("steal_ns".to_owned(), 0.0)]),
            disturbed: is_first
                .then(|| format!("others used {round} of 2 CPUs"))
                .into_iter()
                .collect(),
            log: String::new(),
        }
    }

    fn samples(&self, random: &Philox, level: f64, begin: u64, has_loss: bool) -> Samples {
        let mut samples = Samples::default();
        let mut at = begin;
        for i in 0..self.samples {
            // Jitter of half a percent; the first sample is cold.
            let jitter = f64::from(random.word(16 + u64::from(i))) / f64::from(u32::MAX) - 0.5;
            let cold = if i == 0 { 2.0 } else { 1.0 };
            let host_ns = (level * cold * (1.0 + 0.01 * jitter) * ITERATIONS as f64) as u64;
            samples.start_ns.push(at);
            samples.iterations.push(ITERATIONS);
            samples.host_ns.push(host_ns.max(1));
            at += host_ns + 50;
        }
        if has_loss {
            let loss = (0..self.samples).map(|i| 1.0 / f64::from(i + 1)).collect();
            samples.values.insert("loss".into(), loss);
        }
        samples
    }
}

/// Standard normal number `index` of a stream, from words `2 index` and `2 index + 1`.
/// Source: Box and Muller 1958, Annals of Mathematical Statistics 29(2), 610-611.
pub fn normal(random: &Philox, index: u64) -> f64 {
    let unit = |word| (f64::from(random.word(2 * index + word)) + 0.5) / 4_294_967_296.0;
    (-2.0 * unit(0).ln()).sqrt() * (std::f64::consts::TAU * unit(1)).cos()
}

fn case_id(case: u32) -> String {
    format!("made-up[n={case}]@cpu")
}

fn case(number: u32) -> Case {
    Case {
        id: case_id(number),
        benchmark: "made-up".into(),
        tags: Vec::new(),
        workload: WorkloadRef::Worker {
            worker: BUILTIN_WORKER.into(),
            name: "spin".into(),
            definition: 1,
        },
        params: Params::from([("n".to_owned(), ParamValue::Int(i64::from(number)))]),
        seed: U64(7),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        policy: Policy::default(),
        timeout_ms: 10_000,
        expect: Expect::default(),
        definition: Digest::of(format!("definition {number}")),
    }
}

fn prepared(case: u32) -> Prepared {
    let metric = |name: &str, unit, kind| Metric::new(name, unit, Direction::Lower, kind);
    Prepared {
        bound: Bound::default(),
        timer_resolution_ns: None,
        facts: BTreeMap::new(),
        work: Work {
            bytes: Some(3000),
            flops: Some(2000),
            items: None,
            formula: "bytes = 3 n, flops = 2 n".into(),
        },
        metrics: if case == 0 {
            vec![
                metric("loss", Unit::One, MetricKind::Sample),
                metric("peak_memory", Unit::Bytes, MetricKind::Case),
            ]
        } else {
            Vec::new()
        },
        inputs: BTreeMap::from([("x".to_owned(), Digest::of(format!("input {case}")))]),
        device: None,
        deterministic: true,
    }
}

/// The first lines, up to so many blocks.
fn cut(bodies: Vec<Body>, blocks: usize) -> Vec<Body> {
    let mut left = blocks;
    let within = |body: &Body| match body {
        Body::Header(_) | Body::Worker(_) => true,
        Body::Block(_) if left > 0 => {
            left -= 1;
            true
        }
        _ => false,
    };
    bodies.into_iter().take_while(within).collect()
}

/// The bytes of a record, and the hash of its last line.
fn lines(bodies: &[Body]) -> (Vec<u8>, Digest) {
    let mut chain = Chain::default();
    let mut bytes = Vec::new();
    for body in bodies {
        let json = serde_json::to_vec(body).unwrap_or_default();
        bytes.extend(chain.seal(&json));
    }
    (bytes, chain.head())
}

fn assemble(bodies: Vec<Body>) -> Record {
    let head = lines(&bodies).1;
    let mut bodies = bodies.into_iter();
    let Some(Body::Header(header)) = bodies.next() else {
        unreachable!("a recipe begins with a header");
    };
    let mut record = Record {
        header: *header,
        workers: Vec::new(),
        blocks: Vec::new(),
        events: Vec::new(),
        footer: None,
        head,
    };
    for body in bodies {
        match body {
            Body::Header(_) => unreachable!("a recipe has one header"),
            Body::Worker(worker) => record.workers.push(worker),
            Body::Block(block) => record.blocks.push(*block),
            Body::Event(event) => record.events.push(event),
            Body::Footer(footer) => record.footer = Some(*footer),
        }
    }
    record
}
