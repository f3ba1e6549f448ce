//! Records: round trips, cuts, and damage.

use std::path::{Path, PathBuf};

use assay_protocol::{Direction, Metric, MetricKind, Prepared, Unit};
use assay_record::{
    Body, Footer, Header, Purpose, Record, RecordError, RecordWriter, RunStatus, Samples, Timestamp,
};

use crate::{block, fingerprint, header};

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
fn every_changed_bit_of_a_finished_record_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = finished_record(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            std::fs::write(&path, &changed).unwrap();
            assert!(Record::read(&path).is_err(), "byte {at}, bit {bit}");
        }
    }
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(Record::read(&path).is_err(), "cut at {length}");
    }
    std::fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    let error = Record::read(&path).unwrap_err().to_string();
    assert!(error.contains("changed or damaged"), "{error}");
}

#[test]
fn a_finished_record_is_read_by_whoever_reads_zstd_and_so_is_one_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = finished_record(folder.path());
    let record = Record::read(&path).unwrap();
    let lines = zstd::decode_all(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(lines.split_inclusive(|byte| *byte == b'\n').count(), 4);
    // Those of before have no digest in front: damage is an error, or changes nothing of what they say.
    let bytes = zstd::encode_all(&lines[..], 3).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Record::read(&path).unwrap().head, record.head);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, &changed).unwrap();
        if let Ok(read) = Record::read(&path) {
            assert_eq!(read.head, record.head, "byte {at}");
        }
    }
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
fn a_block_without_time_has_a_value() {
    let mut block = block("a@cpu", 0);
    block.samples = Samples::default();
    block.warmup = 0;
    let refused = assay_record::validate::block(&block).unwrap_err();
    assert!(refused.contains("without a sample"), "{refused}");
    let metric = Metric::new("size", Unit::Bytes, Direction::Lower, MetricKind::Case);
    block.prepared = Some(Prepared {
        metrics: vec![metric],
        ..Prepared::default()
    });
    block.values.insert("size".into(), 42.0);
    assay_record::validate::block(&block).unwrap();
}
