//! Records and manifests as files.

mod manifests;
mod records;
mod versions;
mod whole;

use std::collections::BTreeMap;

use assay_protocol::{DeviceSelector, Digest, Params, Sample, TimingMode, U64};
use assay_record::body::RECORD_VERSION;
use assay_record::manifest::{BUILTIN_WORKER, Engine, MANIFEST_SCHEMA, SuiteRef, Tool};
use assay_record::{
    Arm, Block, BlockStatus, Case, Expect, Fingerprint, Header, Manifest, ManifestFile, Policy,
    Project, Purpose, RunId, Samples, Section, Source, Timestamp, WorkloadRef,
};

fn manifest() -> Manifest {
    let case = |id: &str| Case {
        id: id.into(),
        benchmark: "memory/triad".into(),
        tags: vec![],
        workload: WorkloadRef::Worker {
            worker: BUILTIN_WORKER.into(),
            name: "stream-triad".into(),
            definition: 1,
        },
        params: Params::new(),
        seed: U64(u64::MAX),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        policy: Policy::default(),
        timeout_ms: 1000,
        expect: Expect::default(),
        definition: Digest::of(id),
    };
    Manifest {
        schema: MANIFEST_SCHEMA,
        suite: SuiteRef {
            name: "smoke".into(),
            digest: Digest::of(""),
            source: Source::Builtin,
        },
        tool: Tool {
            version: "0.1.0".into(),
            binary: Digest::of("tool"),
        },
        project: Project::NoRepository,
        arms: vec![Arm {
            name: "main".into(),
            engine: Engine::Host,
            image: None,
            worker: Digest::of("worker"),
            prefix: vec![],
            env: BTreeMap::new(),
            commit: None,
        }],
        workers: BTreeMap::new(),
        sources: BTreeMap::new(),
        order_seed: U64(1 << 60),
        cases: vec![case("a@cpu"), case("b@cpu")].into(),
    }
}

fn fingerprint() -> Fingerprint {
    let empty = Section::new;
    Fingerprint {
        taken: Timestamp::from_unix_ns(1).unwrap(),
        hardware: empty(),
        software: empty(),
        settings: empty(),
        volatile: empty(),
    }
}

fn header() -> Header {
    let file = ManifestFile::seal(&manifest()).unwrap();
    let started = Timestamp::from_unix_ns(1_763_673_333_000_000_000).unwrap();
    Header {
        version: RECORD_VERSION,
        run: RunId::new(started, b"test"),
        started,
        monotonic_ns: 5,
        manifest_digest: file.digest,
        manifest: file.manifest,
        machine: fingerprint().identity(None).unwrap(),
        fingerprint: fingerprint(),
        tags: vec![],
        reproduces: None,
        purpose: Purpose::Measurement,
        timer_resolution_ns: 20,
        timer_overhead_ns: Some(25),
    }
}

fn block(case: &str, round: u32) -> Block {
    let mut samples = Samples::default();
    for start_ns in [10, 20] {
        samples.push(&Sample {
            start_ns,
            iterations: 2,
            host_ns: 5,
            device_ns: None,
            values: BTreeMap::new(),
        });
    }
    Block {
        case: case.into(),
        arm: "main".into(),
        round,
        attempt: 0,
        started: Timestamp::from_unix_ns(2).unwrap(),
        status: BlockStatus::Ok,
        prepared: None,
        device: None,
        samples,
        warmup: 1,
        steady: true,
        stop: Some("precise".into()),
        verification: None,
        values: BTreeMap::new(),
        telemetry: vec![],
        noise: BTreeMap::new(),
        disturbed: vec![],
        log: String::new(),
    }
}
