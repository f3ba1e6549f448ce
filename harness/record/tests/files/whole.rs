//! Records that are known beforehand, and written whole.

use assay_record::{
    Body, CaseLists, Footer, Header, Record, RecordError, RunId, RunStatus, Timestamp,
    whole::{self, Draft},
};

use crate::{block, fingerprint, header};

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
        let draft = Draft::write(folder.path(), header, bodies, &CaseLists::default())?;
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
    let error = Draft::write(folder.path(), header(), bodies, &CaseLists::default()).unwrap_err();
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
        Draft::write(folder.path(), header, [footer(0)], &CaseLists::default()).unwrap()
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
