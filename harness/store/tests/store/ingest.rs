//! What ingest promises: once, in any order, all or nothing.

use std::path::{Path, PathBuf};

use assay_protocol::Metric;
use assay_record::whole::{self, Draft};
use assay_record::{Body, CaseLists, Origin, Record, Source, canonical};
use assay_store::synthetic::Recipe;
use assay_store::{Ingested, Store, StoreError};
use proptest::prelude::*;

use crate::{Place, night};

#[test]
fn store_ingesting_twice_changes_nothing() {
    let place = Place::new();
    let recipe = night("bench-1", 0);
    let path = recipe.write(&place.records(), None).unwrap();
    let mut store = place.writer();
    assert_eq!(
        store.ingest_record(&recipe.record(), &path).unwrap(),
        Ingested::New
    );
    let before = store.dump().unwrap();
    assert_eq!(
        store.ingest_record(&recipe.record(), &path).unwrap(),
        Ingested::Unchanged
    );
    let report = store.ingest_folders(&[place.records()]).unwrap();
    assert_eq!(
        (report.unchanged, report.new.len(), report.failures.len()),
        (1, 0, 0)
    );
    assert_eq!(store.dump().unwrap(), before);
    assert_eq!(before["samples"].len(), 3 * 4 * 11);
}

/// Writes a record as an import does, and returns it with where it lies.
fn saved(folder: &Path, record: Record) -> (Record, PathBuf) {
    let workers = record.workers.into_iter().map(Body::Worker);
    let blocks = record
        .blocks
        .into_iter()
        .map(|block| Body::Block(Box::new(block)));
    let events = record.events.into_iter().map(Body::Event);
    let footer = record
        .footer
        .into_iter()
        .map(|footer| Body::Footer(Box::new(footer)));
    let bodies = workers.chain(blocks).chain(events).chain(footer);
    let draft = Draft::write(folder, record.header, bodies, &CaseLists::default()).unwrap();
    let mut published = whole::publish(folder, vec![draft]).unwrap();
    published.remove(0).unwrap()
}

/// What becomes of each of some records.
fn became(store: &mut Store, records: &[(Record, PathBuf)]) -> Vec<Result<Ingested, StoreError>> {
    let mut all = Vec::new();
    let each = |path: &Path, became| {
        assert_eq!(path, records[all.len()].1, "in their order");
        all.push(became);
    };
    store.ingest_all(records.iter().cloned(), each).unwrap();
    all
}

#[test]
fn store_records_at_once_are_what_they_are_one_by_one() {
    let place = Place::new();
    let mut made: Vec<Record> = (0..5).map(|n| night("bench-1", n).record()).collect();
    // One that nothing can be made of, one that is there already, and one twice.
    let prepared = made[1].blocks[0].prepared.as_mut().unwrap();
    prepared.metrics.push(Metric::time());
    let folder = place.records();
    let mut records: Vec<_> = made.into_iter().map(|one| saved(&folder, one)).collect();
    records.push(records[2].clone());
    let mut store = place.writer();
    store.ingest_record(&records[0].0, &records[0].1).unwrap();
    let first = became(&mut store, &records);
    assert!(
        matches!(first[1], Err(StoreError::Content { .. })),
        "{:?}",
        first[1]
    );
    let first: Vec<_> = first.into_iter().map(Result::ok).collect();
    let (new, same) = (Some(Ingested::New), Some(Ingested::Unchanged));
    assert_eq!(first, [same, None, new, new, new, same]);
    records.remove(1);
    let again = became(&mut store, &records);
    assert!(again.into_iter().all(|became| became.ok() == same));

    let (fresh, other) = (Place::new(), Place::new());
    let (mut one_by_one, mut at_once) = (fresh.writer(), other.writer());
    for (record, path) in &records {
        one_by_one.ingest_record(record, path).unwrap();
    }
    became(&mut at_once, &records);
    assert_eq!(store.dump().unwrap(), one_by_one.dump().unwrap());
    assert_eq!(at_once.dump().unwrap(), one_by_one.dump().unwrap());
}

#[test]
fn store_partial_record_grows_and_never_shrinks() {
    let place = Place::new();
    let recipe = night("bench-1", 0);
    let path = place.path("record.jsonl");
    let mut store = place.writer();
    let steps = [
        (Some(0), Ingested::New),
        (Some(5), Ingested::Updated),
        (Some(3), Ingested::Unchanged),
        (Some(5), Ingested::Unchanged),
        (None, Ingested::Updated),
        (Some(7), Ingested::Unchanged),
        (None, Ingested::Unchanged),
    ];
    for (blocks, expected) in steps {
        let record = blocks.map_or_else(|| recipe.record(), |blocks| recipe.cut(blocks));
        assert_eq!(
            store.ingest_record(&record, &path).unwrap(),
            expected,
            "{blocks:?}"
        );
    }
    let fresh = Place::new();
    let mut at_once = fresh.writer();
    at_once.ingest_record(&recipe.record(), &path).unwrap();
    assert_eq!(store.dump().unwrap(), at_once.dump().unwrap());
    assert!(store.runs().unwrap()[0].finished.is_some());
}

/// Its tool has added to the file that it was made of.
#[test]
fn store_takes_what_was_imported_anew_in_its_place() {
    let place = Place::new();
    let imported = |file: &str| {
        let mut record = night("bench-1", 0).record();
        let suite = &mut record.header.manifest.suite;
        suite.source = Source::Imported(Origin {
            format: "asv".into(),
            file: "a.json".into(),
        });
        suite.digest = assay_protocol::Digest::of(file);
        record.header.manifest_digest = canonical::digest(&record.header.manifest).unwrap();
        record.head = assay_protocol::Digest::of(file);
        record
    };
    let mut store = place.writer();
    let path = place.path("a.jsonl.zst");
    store.ingest_record(&imported("short"), &path).unwrap();
    let longer = imported("longer");
    let elsewhere = store.ingest_record(&longer, &place.path("b.jsonl.zst"));
    assert!(matches!(elsewhere, Err(StoreError::Conflict { .. })));
    let became = store.ingest_record(&longer, &path).unwrap();
    assert_eq!(became, Ingested::Updated);
    let heads = store.heads().unwrap();
    assert_eq!(heads[&longer.header.run], longer.head.to_string());
}

#[test]
fn store_refuses_two_different_records_of_one_run() {
    let place = Place::new();
    let recipe = night("bench-1", 0);
    let mut other = recipe.record();
    other.blocks[1].samples.host_ns[2] += 1;
    other.head = assay_protocol::Digest::of("another");
    let mut store = place.writer();
    let (first, second) = (place.path("first.jsonl"), place.path("second.jsonl"));
    store.ingest_record(&recipe.cut(6), &first).unwrap();
    let before = store.dump().unwrap();
    let error = store.ingest_record(&other, &second).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("first.jsonl") && text.contains("second.jsonl"),
        "{text}"
    );
    assert_eq!(store.dump().unwrap(), before);
}

#[test]
fn store_hostile_files_stop_nobody_else() {
    let place = Place::new();
    let records = place.records();
    let deep = records.join("ci/2026/november");
    night("bench-1", 0).write(&records, None).unwrap();
    night("bench-1", 1).write(&deep, None).unwrap();
    let damaged = night("bench-1", 2).write(&deep, None).unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    std::fs::write(
        records.join("20260105-000000-00000000.jsonl"),
        "not a record\n",
    )
    .unwrap();
    std::fs::write(records.join("20260106-000000-00000000.jsonl"), "").unwrap();
    std::fs::write(
        records.join("20260107-000000-00000000.jsonl.zst"),
        "not compressed",
    )
    .unwrap();
    std::fs::write(records.join("notes.txt"), "no record by its name").unwrap();
    std::os::unix::fs::symlink(&records, deep.join("circle")).unwrap();
    let nowhere = place.path("nowhere");

    let mut store = place.writer();
    let report = store.ingest_folders(&[records, nowhere.clone()]).unwrap();
    assert_eq!(report.new.len(), 2);
    let mut failed: Vec<_> = report
        .failures
        .iter()
        .map(|(path, _)| path.clone())
        .collect();
    failed.sort();
    assert_eq!(failed.len(), 5, "{failed:?}");
    assert!(failed.contains(&nowhere) && failed.contains(&damaged));
    for (path, error) in &report.failures {
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    assert_eq!(store.runs().unwrap().len(), 2);
}

#[test]
fn store_ingest_opens_nothing_but_files() {
    let place = Place::new();
    let records = place.records();
    let kept = night("bench-1", 0)
        .write(&place.path("kept"), None)
        .unwrap();
    std::fs::create_dir(&records).unwrap();
    std::os::unix::fs::symlink(&kept, records.join(kept.file_name().unwrap())).unwrap();
    let pipe = records.join("20260105-000000-00000000.jsonl");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let device = records.join("20260106-000000-00000000.jsonl");
    std::os::unix::fs::symlink("/dev/zero", device).unwrap();

    let mut store = place.writer();
    let report = store.ingest_folders(&[records]).unwrap();
    assert_eq!((report.new.len(), report.failures.len()), (1, 0));
    let report = store.ingest_folders(&[pipe]).unwrap();
    assert!(matches!(
        report.failures[..],
        [(_, StoreError::NotARecord { .. })]
    ));
}

#[test]
fn store_ingest_says_what_is_no_record_and_what_is_cut_off() {
    let place = Place::new();
    let suite = place.path("s.toml");
    std::fs::write(&suite, "name = 's'").unwrap();
    let cut = place.path("20260105-000000-00000000.jsonl.zst");
    // The beginning of a frame.
    std::fs::write(&cut, [0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x31]).unwrap();
    let no_zst = place.path("20260106-000000-00000000.jsonl.zst");
    std::fs::write(&no_zst, "plain text").unwrap();
    let mut store = place.writer();
    let report = store.ingest_folders(&[suite, cut, no_zst]).unwrap();
    let said: Vec<String> = report
        .failures
        .iter()
        .map(|(_, error)| error.to_string())
        .collect();
    assert!(
        said[0].ends_with(
            "s.toml: not a record: a record is a file named <run-id>.jsonl or <run-id>.jsonl.zst"
        ),
        "{said:?}"
    );
    assert!(
        said[1].contains("cut off") && said[1].contains("fetch it again"),
        "{said:?}"
    );
    assert!(
        said[2].contains("cannot be unpacked") && said[2].contains("fetch it again"),
        "{said:?}"
    );
}

#[test]
fn store_record_that_fails_half_way_leaves_nothing() {
    let place = Place::new();
    let mut store = place.writer();
    store
        .ingest_record(&night("bench-1", 0).record(), &place.path("a.jsonl"))
        .unwrap();
    let before = store.dump().unwrap();
    let mut bad = night("bench-1", 1).record();
    bad.blocks[2].telemetry = night("bench-1", 1).record().blocks[0].telemetry.clone();
    bad.blocks[2].telemetry[0].values.pop();
    let error = store
        .ingest_record(&bad, &place.path("b.jsonl"))
        .unwrap_err();
    assert!(
        error.to_string().contains("2 times, but 1 values"),
        "{error}"
    );
    // Found out only while the rows go in: the manifest has no such case.
    let mut late = night("bench-1", 2).record();
    late.blocks.last_mut().unwrap().case = "nobody".into();
    let error = store
        .ingest_record(&late, &place.path("c.jsonl"))
        .unwrap_err();
    assert!(matches!(error, StoreError::Content { .. }), "{error}");
    assert_eq!(store.dump().unwrap(), before);
    store
        .ingest_record(&night("bench-1", 1).record(), &place.path("b.jsonl"))
        .unwrap();
}

/// Records of two machines, some of them also as partial copies.
fn pile() -> Vec<(Recipe, Option<usize>)> {
    let mut pile = Vec::new();
    for machine in ["bench-1", "ci-runner"] {
        for n in 0..3 {
            pile.push((night(machine, n), None));
        }
        pile.push((night(machine, 0), Some(4)));
        pile.push((night(machine, 2), Some(0)));
    }
    pile
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn store_any_order_gives_the_same_tables(order in Just((0..pile().len()).collect::<Vec<_>>()).prop_shuffle()) {
        let pile = pile();
        let dump = |order: &[usize]| {
            let place = Place::new();
            let mut store = place.writer();
            for &i in order {
                let (recipe, cut) = &pile[i];
                let record = cut.map_or_else(|| recipe.record(), |blocks| recipe.cut(blocks));
                store.ingest_record(&record, &place.path("x.jsonl")).unwrap();
            }
            store.dump().unwrap()
        };
        let forward: Vec<usize> = (0..pile.len()).collect();
        prop_assert_eq!(dump(&order), dump(&forward));
    }
}
