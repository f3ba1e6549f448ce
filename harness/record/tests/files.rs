//! Records and manifests as files: round trips, cuts, and damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assay_protocol::{
    DeviceSelector, Digest, Direction, Metric, MetricKind, Params, Prepared, Sample, TimingMode,
    U64, Unit,
};
use assay_record::body::RECORD_VERSION;
use assay_record::manifest::{BUILTIN_WORKER, Engine, MANIFEST_SCHEMA, SuiteRef, Tool};
use assay_record::{
    Arm, ArmCommit, Block, BlockStatus, Body, Case, Expect, Fingerprint, Footer, Header, Image,
    ImageFile, ImageFormat, Limits, Manifest, ManifestFile, OciDigests, Origin, Policy, Project,
    Purpose, Record, RecordError, RecordWriter, RunId, RunStatus, Samples, Section, Source,
    Timestamp, WorkloadRef,
    validate::reference,
    whole::{self, Draft},
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
        cases: vec![case("a@cpu"), case("b@cpu")],
    }
}

/// An arm in a container.
fn contained() -> Arm {
    Arm {
        name: "box".into(),
        engine: Engine::Podman,
        image: Some(Image {
            environment: "worker-cpu".into(),
            reference: "localhost/assay-worker-cpu".into(),
            platform: "linux/amd64".into(),
            oci: Some(OciDigests {
                index: Some(Digest::of("index")),
                manifest: Digest::of("manifest"),
                config: Digest::of("config"),
            }),
            file: Some(ImageFile {
                format: ImageFormat::OciArchive,
                digest: Digest::of("archive"),
            }),
            limits: Limits {
                memory_bytes: Some(U64(1 << 54)),
                pids: Some(100),
            },
        }),
        worker: Digest::of("worker"),
        prefix: vec![],
        env: BTreeMap::new(),
        commit: None,
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

/// A record of two blocks, not finished.
fn open_record(folder: &Path) -> RecordWriter {
    let mut writer = RecordWriter::create(folder, header()).unwrap();
    for case in ["a@cpu", "b@cpu"] {
        writer
            .append(&Body::Block(Box::new(block(case, 0))))
            .unwrap();
    }
    writer
}

fn finished_record(folder: &Path) -> PathBuf {
    let footer = Footer {
        finished: Timestamp::from_unix_ns(3).unwrap(),
        status: RunStatus::Complete,
        fingerprint: fingerprint(),
        blocks: 2,
    };
    open_record(folder).finish(footer).unwrap()
}

#[test]
fn a_finished_record_reads_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = finished_record(folder.path());
    assert!(path.to_string_lossy().ends_with(".jsonl.zst"));
    assert!(Record::is_record_name(&path));
    let record = Record::read(&path).unwrap();
    assert_eq!(record.header, header());
    assert_eq!(record.blocks, [block("a@cpu", 0), block("b@cpu", 0)]);
    assert_eq!(record.status(), RunStatus::Complete);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing else is left behind"
    );
}

#[test]
fn a_record_cut_anywhere_keeps_every_whole_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = open_record(folder.path()).path().to_path_buf();
    let bytes = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(i, _)| i)
        .collect();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        // A line is whole without its newline.
        let whole = ends.iter().filter(|end| **end <= length).count();
        match Record::read(&path) {
            Ok(record) => {
                assert_eq!(record.blocks.len(), whole - 1, "cut at {length}");
                assert_eq!(record.status(), RunStatus::Partial);
            }
            Err(error) => assert!(whole == 0, "cut at {length}: {error}"),
        }
    }
}

#[test]
fn every_changed_byte_of_an_open_record_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = open_record(folder.path()).path().to_path_buf();
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, &changed).unwrap();
        let noticed = match Record::read(&path) {
            Err(_) => true,
            // Cut into the last line by a byte that became a newline: shown as a partial record.
            Ok(record) => record.blocks.len() < 2,
        };
        assert!(noticed, "byte {at}");
    }
}

#[test]
fn damage_to_a_finished_record_is_an_error_never_other_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = finished_record(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    let original = Record::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, &changed).unwrap();
        if let Ok(record) = Record::read(&path) {
            // Bits of the frame that mean nothing (RFC 8878: the unused bit) change no content.
            assert_eq!(record.head, original.head, "byte {at}");
        }
    }
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(Record::read(&path).is_err());
}

#[test]
fn a_record_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_record(folder.path()).path().to_path_buf();
    let before = std::fs::read(&first).unwrap();
    assert!(matches!(
        RecordWriter::create(folder.path(), header()),
        Err(RecordError::Io { .. })
    ));
    assert_eq!(std::fs::read(&first).unwrap(), before);
}

#[test]
fn a_block_that_no_reader_would_take_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open_record(folder.path());
    let mut ragged = block("a@cpu", 1);
    ragged.samples.iterations.pop();
    let mut not_a_number = block("a@cpu", 1);
    not_a_number.noise.insert("steal".into(), f64::NAN);
    let mut all_warmup = block("a@cpu", 1);
    all_warmup.warmup = 2;
    for bad in [ragged, not_a_number, all_warmup] {
        assert!(writer.append(&Body::Block(Box::new(bad))).is_err());
    }
    assert_eq!(Record::read(writer.path()).unwrap().blocks.len(), 2);
}

#[test]
fn blocks_that_contradict_the_manifest_are_refused() {
    for (bad, expected) in [
        (block("c@cpu", 0), "not in the manifest"),
        (block("a@cpu", 0), "two blocks"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open_record(folder.path());
        writer.append(&Body::Block(Box::new(bad))).unwrap();
        let error = Record::read(writer.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// What each version wrote, by its own code: a manifest, and a record of two blocks and a footer.
const VERSIONS: [(u32, &[u8], &[u8]); 4] = [
    (
        1,
        include_bytes!("v1/manifest.json"),
        include_bytes!("v1/20251120-211533-a1f10a3a.jsonl"),
    ),
    (
        2,
        include_bytes!("v2/manifest.json"),
        include_bytes!("v2/20251120-211533-a1f10a3a.jsonl"),
    ),
    (
        3,
        include_bytes!("v3/manifest.json"),
        include_bytes!("v3/20251120-211533-a1f10a3a.jsonl"),
    ),
    (
        4,
        include_bytes!("v4/manifest.json"),
        include_bytes!("v4/20251120-211533-a1f10a3a.jsonl"),
    ),
];

/// A manifest and a record of that schema, as they are read.
fn of_version(schema: u32) -> (ManifestFile, Record) {
    let (_, manifest, record) = VERSIONS
        .into_iter()
        .find(|(version, ..)| *version == schema)
        .expect("a fixture of every schema");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("of-then.jsonl");
    std::fs::write(&path, record).unwrap();
    let file = ManifestFile::from_bytes(Path::new("m.json"), manifest).unwrap();
    (file, Record::read(&path).unwrap())
}

#[test]
fn files_of_every_version_are_read() {
    for schema in 1..=MANIFEST_SCHEMA {
        let (file, record) = of_version(schema);
        assert_eq!(file.manifest.schema, schema);
        // It keeps its name when fewer of its cases are run.
        assert_eq!(ManifestFile::seal(&file.manifest).unwrap(), file);
        assert_eq!(record.header.manifest, file.manifest);
        assert_eq!(record.blocks.len(), 2);
        assert_eq!(record.status(), RunStatus::Complete);
        let has_image = |arm: &Arm| arm.image.is_some();
        assert_eq!(file.manifest.arms.iter().any(has_image), schema >= 4);
    }
}

#[test]
fn files_of_version_1_say_less() {
    let (file, record) = of_version(1);
    assert_eq!(file.manifest.arms[0].commit, None);
    assert_eq!(record.header.version, 1);
    assert_eq!(record.header.purpose, Purpose::Measurement);
    assert_eq!(record.header.timer_overhead_ns, None);
    assert!(record.blocks.iter().all(|block| block.disturbed.is_empty()));
}

/// Changes an arm in a container, and says why nobody may run it.
fn refused(edit: fn(&mut Arm, &mut Image)) -> String {
    let mut arm = contained();
    let mut image = arm.image.take().unwrap();
    edit(&mut arm, &mut image);
    if arm.image.is_none() {
        arm.image = Some(image);
    }
    let mut manifest = manifest();
    manifest.arms = vec![arm];
    ManifestFile::seal(&manifest).unwrap_err().to_string()
}

#[test]
fn an_image_goes_with_an_engine_that_runs_it() {
    let mut fine = manifest();
    fine.arms = vec![contained()];
    ManifestFile::seal(&fine).unwrap();
    for (error, expected) in [
        (
            refused(|arm, _| arm.engine = Engine::Host),
            "the host runs none",
        ),
        (
            refused(|arm, image| {
                arm.engine = Engine::Apptainer;
                image.file = None;
            }),
            "apptainer runs a file",
        ),
        (
            refused(|_, image| image.oci = None),
            "podman runs an image by its digests",
        ),
        (
            refused(|_, image| image.file.as_mut().unwrap().format = ImageFormat::Sif),
            "no SIF file",
        ),
        (
            refused(|_, image| image.environment = "../x".into()),
            "field `environment`",
        ),
        (
            refused(|_, image| image.platform = "linux amd64".into()),
            "image.platform",
        ),
        (
            refused(|_, image| image.limits.pids = Some(0)),
            "image.limits.pids",
        ),
        (
            refused(|_, image| image.limits.memory_bytes = Some(U64(0))),
            "memory_bytes",
        ),
        (
            refused(|arm, _| {
                arm.commit = Some(ArmCommit {
                    commit: "0".repeat(40),
                    build: vec![],
                    worker: None,
                });
            }),
            "one or the other",
        ),
    ] {
        assert!(
            error.contains("arm `box`") && error.contains(expected),
            "{error}"
        );
    }
    fine.arms[0].image = None;
    let error = ManifestFile::seal(&fine).unwrap_err().to_string();
    assert!(error.contains("`image` is missing"), "{error}");
}

#[test]
fn a_repository_of_images_has_no_tag_and_is_no_option() {
    for good in [
        "localhost/worker",
        "registry.example:5000/team/worker",
        "worker",
    ] {
        reference(good).unwrap();
    }
    for bad in [
        "",
        "worker:latest",
        "a@sha256:0",
        "-v",
        "--privileged",
        "a/",
        "a b",
        "../a",
        "a:1/b:2",
    ] {
        assert!(
            reference(bad).unwrap_err().contains("without tag"),
            "{bad:?}"
        );
    }
}

#[test]
fn a_purpose_reads_back_and_the_usual_one_goes_without_saying() {
    let text = |purpose: &Purpose| {
        let header = Header {
            purpose: purpose.clone(),
            ..header()
        };
        let text = serde_json::to_string(&header).unwrap();
        assert_eq!(serde_json::from_str::<Header>(&text).unwrap(), header);
        text
    };
    assert!(!text(&Purpose::Measurement).contains("purpose"));
    assert!(text(&Purpose::Calibration).contains(r#""purpose":"calibration""#));
    let of = header().run;
    assert!(text(&Purpose::Confirmation { of }).contains(r#""purpose":{"confirmation":{"of":""#));
}

#[test]
fn a_newer_record_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let writer = RecordWriter::create(
        folder.path(),
        Header {
            version: 99,
            ..header()
        },
    )
    .unwrap();
    let error = Record::read(writer.path()).unwrap_err();
    assert!(
        matches!(error, RecordError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("use a newer assay"));
}

#[test]
fn a_manifest_reads_back_and_every_changed_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.json");
    let file = ManifestFile::seal(&manifest()).unwrap();
    let bytes = file.to_bytes().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(ManifestFile::read(&path).unwrap(), file);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(
            ManifestFile::from_bytes(&path, &changed).is_err(),
            "byte {at}"
        );
        assert!(
            ManifestFile::from_bytes(&path, &bytes[..at]).is_err(),
            "cut at {at}"
        );
    }
}

#[test]
fn manifests_are_refused_in_words() {
    let sealed = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(manifest()).unwrap();
        edit(&mut value);
        let digest = assay_record::canonical::digest(&value).unwrap();
        let file = serde_json::json!({"digest": digest, "manifest": value});
        let mut bytes = assay_record::canonical::to_canonical(&file).unwrap();
        bytes.push(b'\n');
        ManifestFile::from_bytes(Path::new("m.json"), &bytes)
            .unwrap_err()
            .to_string()
    };
    for (error, expected) in [
        (sealed(&|m| m["schema"] = 5.into()), "newer than 4"),
        (sealed(&|m| m["schema"] = 0.into()), "schema"),
        (sealed(&|m| m["extra"] = 1.into()), "unknown field `extra`"),
        (
            sealed(&|m| m["arms"] = serde_json::json!([])),
            "field `arms` is empty",
        ),
        (
            sealed(&|m| m["cases"][1] = m["cases"][0].clone()),
            "two cases are called",
        ),
        (
            sealed(&|m| m["suite"]["name"] = "../x".into()),
            "suite.name",
        ),
        (
            sealed(&|m| m["cases"][0]["policy"]["rounds"] = 3.into()),
            "policy.rounds",
        ),
        (sealed(&|m| m["order_seed"] = 7.into()), "string"),
        (
            sealed(&|m| m["arms"][0]["name"] = "a b".into()),
            "no name of an arm",
        ),
        (
            sealed(&|m| {
                let mut other = m["arms"][0].clone();
                other["name"] = "MAIN".into();
                m["arms"].as_array_mut().unwrap().push(other);
            }),
            "two arms are called",
        ),
        (
            sealed(&|m| m["arms"][0]["commit"] = serde_json::json!({"commit": "HEAD"})),
            "no commit",
        ),
        (
            sealed(&|m| {
                let commit = "0123456789".repeat(4);
                m["arms"][0]["commit"] =
                    serde_json::json!({"commit": commit, "worker": "../../bin/worker"});
            }),
            "lies below",
        ),
    ] {
        assert!(
            error.contains(expected) && error.contains("m.json"),
            "{error}"
        );
    }
}

/// A footer after that many blocks.
fn footer(blocks: u64) -> Body {
    Body::Footer(Box::new(Footer {
        finished: header().started,
        status: RunStatus::Complete,
        fingerprint: fingerprint(),
        blocks,
    }))
}

#[test]
fn a_record_that_is_known_beforehand_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = ["a@cpu", "b@cpu"].map(|case| Body::Block(Box::new(block(case, 0))));
    let bodies = || blocks.iter().cloned().chain([footer(2)]);
    let write = |header: Header, bodies: Vec<Body>| {
        let draft = Draft::write(folder.path(), header, bodies)?;
        whole::publish(folder.path(), vec![draft])?.remove(0)
    };
    let (written, path) = write(header(), bodies().collect()).unwrap();
    assert_eq!(path, whole::path(folder.path(), &header().run));
    let record = Record::read(&path).unwrap();
    assert_eq!((record.blocks.len(), &record.header), (2, &header()));
    assert_eq!(format!("{written:?}"), format!("{record:?}"));
    // Another of the same name stays what it is.
    let before = std::fs::read(&path).unwrap();
    let again = write(header(), vec![footer(0)]);
    assert!(matches!(again, Err(RecordError::Io { source, .. })
        if source.kind() == std::io::ErrorKind::AlreadyExists));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_record_with_an_impossible_block_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut bad = block("b@cpu", 0);
    bad.samples.host_ns[1] = 0;
    let bodies = [block("a@cpu", 0), bad].map(|block| Body::Block(Box::new(block)));
    let error = Draft::write(folder.path(), header(), bodies).unwrap_err();
    assert!(error.to_string().contains("zero time"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn drafts_have_no_names_until_all_are_published() {
    let folder = tempfile::tempdir().unwrap();
    let draft = |second: i64| {
        let mut header = header();
        header.started = Timestamp::from_unix_ns(second * 1_000_000_000).unwrap();
        header.run = RunId::new(header.started, b"test");
        Draft::write(folder.path(), header, [footer(0)]).unwrap()
    };
    let count = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries
            .filter(|entry| Record::is_record_name(&entry.as_ref().unwrap().path()))
            .count()
    };
    let drafts: Vec<Draft> = [1, 2, 3, 4, 4, 5].map(draft).into();
    drop(draft(6));
    assert_eq!(count(), 0);
    let published = whole::publish(folder.path(), drafts).unwrap();
    let is_named: Vec<bool> = published.iter().map(Result::is_ok).collect();
    assert_eq!(is_named, [true, true, true, true, false, true]);
    assert_eq!(count(), 5);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
}

#[test]
fn a_block_without_time_has_a_value() {
    let mut block = block("a@cpu", 0);
    block.samples = Samples::default();
    block.warmup = 0;
    let refused = assay_record::validate::block(&block).unwrap_err();
    assert!(refused.contains("without a sample"), "{refused}");
    let metric = Metric {
        name: "size".into(),
        unit: Unit::Bytes,
        direction: Direction::Lower,
        kind: MetricKind::Case,
    };
    block.prepared = Some(Prepared {
        metrics: vec![metric],
        ..Prepared::default()
    });
    block.values.insert("size".into(), 42.0);
    assay_record::validate::block(&block).unwrap();
}

#[test]
fn an_imported_manifest_says_so() {
    let mut imported = manifest();
    imported.suite.source = Source::Imported(Origin {
        format: "nvbench".into(),
        file: "out.json".into(),
    });
    let text = serde_json::to_string(&imported).unwrap();
    assert!(text.contains(r#""source":{"imported":{"format":"nvbench","file":"out.json"}}"#));
    assert_eq!(ManifestFile::seal(&imported).unwrap().manifest, imported);
}
