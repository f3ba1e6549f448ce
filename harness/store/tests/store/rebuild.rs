//! Rebuilding from records, and holding the database against them.

use std::time::Duration;

use assay_store::{Access, Patience, Store, StoreError};

use crate::access::tamper;
use crate::{Place, night, open};

fn filled(nights: u32) -> Place {
    let place = Place::new();
    for n in 0..nights {
        night("bench-1", n).write(&place.records(), None).unwrap();
        night("ci-runner", n)
            .write(&place.path("ci"), Some(5))
            .unwrap();
    }
    let mut store = place.writer();
    let report = store
        .ingest_folders(&[place.records(), place.path("ci")])
        .unwrap();
    assert!(report.failures.is_empty());
    drop(store);
    place
}

fn rebuild(place: &Place, folders: &[&str]) -> Result<assay_store::IngestReport, StoreError> {
    let folders: Vec<_> = folders.iter().map(|name| place.path(name)).collect();
    let mut patience = Patience::silent(Duration::from_millis(300));
    Store::rebuild(&place.database(), &folders, &mut patience)
}

#[test]
fn store_rebuild_gives_equal_tables() {
    let place = filled(3);
    let before = place.reader().dump().unwrap();
    assert!(before.values().all(|rows| !rows.is_empty()));
    rebuild(&place, &["ci", "records"]).unwrap();
    assert_eq!(place.reader().dump().unwrap(), before);
    std::fs::remove_file(place.database()).unwrap();
    rebuild(&place, &["records", "ci"]).unwrap();
    assert_eq!(place.reader().dump().unwrap(), before);
    let left: Vec<_> = std::fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("rebuilding") || name.contains(".wal"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn store_rebuild_replaces_a_damaged_database() {
    let place = filled(1);
    let before = place.reader().dump().unwrap();
    let mut bytes = std::fs::read(place.database()).unwrap();
    let end = bytes.len() / 2;
    bytes.truncate(end);
    std::fs::write(place.database(), bytes).unwrap();
    rebuild(&place, &["records", "ci"]).unwrap();
    assert_eq!(place.reader().dump().unwrap(), before);
}

#[test]
fn store_rebuild_replaces_an_empty_file() {
    let place = filled(1);
    let before = place.reader().dump().unwrap();
    std::fs::write(place.database(), "").unwrap();
    rebuild(&place, &["records", "ci"]).unwrap();
    assert_eq!(place.reader().dump().unwrap(), before);
}

#[test]
fn store_rebuild_forgets_no_run() {
    let place = filled(2);
    let before = place.reader().dump().unwrap();
    let error = rebuild(&place, &["records"]).unwrap_err();
    assert!(
        matches!(error, StoreError::WouldForget { count: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("/ci/"), "{error}");
    assert_eq!(place.reader().dump().unwrap(), before);
}

#[test]
fn store_rebuild_leaves_strangers_and_readers_alone() {
    let place = filled(1);
    let reader = place.reader();
    assert!(matches!(
        rebuild(&place, &["records", "ci"]),
        Err(StoreError::Locked { .. })
    ));
    drop(reader);
    std::fs::write(
        place.database(),
        "a text file, which somebody may want to keep",
    )
    .unwrap();
    assert!(matches!(
        rebuild(&place, &["records"]),
        Err(StoreError::NotADatabase { .. })
    ));
    assert!(
        std::fs::read_to_string(place.database())
            .unwrap()
            .starts_with("a text file")
    );
}

#[test]
fn store_verify_agrees_with_untouched_records() {
    let place = filled(2);
    let report = place.reader().verify(&[place.records()]).unwrap();
    assert_eq!(report.agreeing, 4);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[test]
fn store_verify_finds_every_kind_of_tampering() {
    for (sql, table) in [
        (
            "UPDATE samples SET host_ns = host_ns + 1 WHERE sample = 3 AND block = 1 AND run_key = (SELECT max(run_key) FROM runs)",
            "samples",
        ),
        (
            "DELETE FROM samples WHERE sample = 3 AND block = 1",
            "samples",
        ),
        (
            "INSERT INTO samples SELECT * FROM samples LIMIT 2",
            "samples",
        ),
        (
            "UPDATE round_values SET number = number * 1.0000001 WHERE block = 0",
            "round_values",
        ),
        ("UPDATE runs SET started = started + 1", "runs"),
        ("UPDATE cases SET definition = 'sha256:0'", "cases"),
        (
            "UPDATE fingerprints SET json = replace(json, '6.1.0', '6.1.1')",
            "fingerprints",
        ),
        (
            "INSERT INTO events VALUES (5, 0, 0, 'note', 'from nowhere', NULL)",
            "events",
        ),
        (
            "UPDATE results SET status = 'ok', counts = NOT counts WHERE block = 2",
            "results",
        ),
    ] {
        let place = filled(1);
        tamper(&place, sql);
        let report = place.reader().verify(&[]).unwrap();
        let named = format!("`{table}`");
        assert!(
            report
                .problems
                .iter()
                .any(|problem| problem.what.contains(&named)),
            "{sql}: {:?}",
            report.problems
        );
    }
}

#[test]
fn store_verify_finds_missing_changed_and_new_records() {
    let place = filled(1);
    let record = night("bench-1", 0).write(&place.records(), None).unwrap();
    std::fs::remove_file(&record).unwrap();
    let other = night("bench-1", 9).write(&place.path("new"), None).unwrap();
    let store = open(&place.database(), Access::Read).unwrap();
    let report = store.verify(&[place.path("new")]).unwrap();
    let all: Vec<&str> = report
        .problems
        .iter()
        .map(|problem| problem.what.as_str())
        .collect();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains(record.to_str().unwrap()) && all[1].contains(other.to_str().unwrap()));
    assert!(all[1].contains("assay ingest"), "{all:?}");
}

#[test]
fn store_verify_finds_records_that_were_moved() {
    let place = filled(2);
    std::fs::rename(place.records(), place.path("moved")).unwrap();
    let report = place.reader().verify(&[place.path("moved")]).unwrap();
    assert_eq!(report.agreeing, 4, "{:?}", report.problems);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let report = place.reader().verify(&[]).unwrap();
    assert_eq!((report.agreeing, report.problems.len()), (2, 2));

    // An old copy says nothing against the record itself.
    std::fs::rename(place.path("moved"), place.records()).unwrap();
    night("bench-1", 0)
        .write(&place.path("old"), Some(3))
        .unwrap();
    let report = place.reader().verify(&[place.path("old")]).unwrap();
    assert_eq!(report.agreeing, 4, "{:?}", report.problems);
}
