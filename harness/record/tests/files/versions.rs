//! Files of every version of their schemas, from now on.

use std::path::Path;

use assay_record::manifest::MANIFEST_SCHEMA;
use assay_record::{Arm, ManifestFile, Purpose, Record, RunStatus};

/// What each version wrote, by its own code: a manifest, and a record of two blocks and a footer.
const VERSIONS: [(u32, &[u8], &[u8]); 4] = [
    (
        1,
        include_bytes!("../v1/manifest.json"),
        include_bytes!("../v1/20251120-211533-a1f10a3a.jsonl"),
    ),
    (
        2,
        include_bytes!("../v2/manifest.json"),
        include_bytes!("../v2/20251120-211533-a1f10a3a.jsonl"),
    ),
    (
        3,
        include_bytes!("../v3/manifest.json"),
        include_bytes!("../v3/20251120-211533-a1f10a3a.jsonl"),
    ),
    (
        4,
        include_bytes!("../v4/manifest.json"),
        include_bytes!("../v4/20251120-211533-a1f10a3a.jsonl"),
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
