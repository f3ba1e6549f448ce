//! What a folder of results becomes that asv adds to: the same runs, under their names.

use std::collections::BTreeSet;

use assay_record::whole::{self, Draft};
use assay_record::{Body, CaseLists, RunId};

use super::{FIRST, IMPORT, LAST, block, place, record};

#[test]
fn asv_folder_is_imported_once_and_grows() {
    let place = place();
    let last = place.read(LAST);
    std::fs::remove_file(place.path(LAST)).unwrap();
    place.assay(IMPORT).exits(0).says("2 imported, 0 unchanged");
    let before = place.records();
    place
        .assay(IMPORT)
        .exits(0)
        .says("0 imported, 2 unchanged, 0 refused");
    assert_eq!(place.records(), before);
    place.write(LAST, &last);
    place
        .assay(IMPORT)
        .exits(0)
        .says("1 imported, 2 unchanged, 0 refused");
    place
        .assay(&format!("import asv {LAST}"))
        .exits(0)
        .says("unchanged, imported before as");
    assert_eq!(place.records().len(), 3);
    // What a file has become takes the place of what it was, under its name, and a copy of one counts once.
    let runs = BTreeSet::from_iter(place.runs());
    place.assay("report").exits(0);
    place.write(FIRST, place.read(FIRST).replace("[42]", "[43]"));
    place.write("sample/results/cheetah/copy.json", &last);
    let replaced = "1 imported (1 in the place of what was there before), 3 unchanged, 0 refused";
    place.assay(IMPORT).exits(0).says(replaced);
    assert_eq!(BTreeSet::from_iter(place.runs()), runs);
    assert_eq!(place.records().len(), 3);
    let first = record(&place, "f2fed0a6");
    assert!((block(&first, "b.track_size@cpu").values["value"] - 43.0).abs() < 1e-9);
    place.assay("report").exits(0);
    let index = place.read("assay-data/site/index.json");
    assert!(runs.iter().all(|run| index.contains(run.as_str())));
    place.assay("db verify").exits(0).says("3 runs agree");
    place.assay("db rebuild").exits(0).says("3 runs");
    // An import that was ended when the record had its place, and the database did not know of it.
    let database = place.path("assay-data/assay.duckdb");
    let stale = std::fs::read(&database).unwrap();
    place.write(FIRST, place.read(FIRST).replace("[43]", "[44]"));
    place.assay(IMPORT).exits(0).says(replaced);
    std::fs::write(&database, stale).unwrap();
    place.assay(IMPORT).exits(0).says("0 imported, 4 unchanged");
    place.assay("db verify").exits(0).says("3 runs agree");
    // What the database lost is found again.
    std::fs::remove_file(place.path("assay-data/assay.duckdb")).unwrap();
    std::fs::remove_file(place.path(FIRST)).unwrap();
    place.assay(IMPORT).exits(0).says("0 imported, 3 unchanged");
    place.assay("ingest").exits(0);
    place.assay("db verify").exits(0);
    assert_eq!(place.records().len(), 3);
}

/// Runs were called by the contents of their files once.
#[test]
fn asv_runs_that_were_called_by_their_content_are_replaced() {
    let place = place();
    place.assay(IMPORT).exits(0);
    let records = place.path("assay-data/records");
    let mut first = record(&place, "f2fed0a6");
    let path = |run: &RunId| whole::path(&records, run);
    std::fs::remove_file(path(&first.header.run)).unwrap();
    std::fs::remove_file(place.path("assay-data/assay.duckdb")).unwrap();
    let now = first.header.run.clone();
    let content = format!("import {}", first.header.manifest.suite.digest);
    first.header.run = RunId::new(first.header.started, content.as_bytes());
    let before = first.header.run.clone();
    let footer = Body::Footer(Box::new(first.footer.unwrap()));
    let blocks = first.blocks.into_iter().map(Box::new);
    let bodies = (first.workers.into_iter().map(Body::Worker))
        .chain(first.events.into_iter().map(Body::Event))
        .chain(blocks.map(Body::Block))
        .chain([footer]);
    let draft = Draft::write(&records, first.header, bodies, &CaseLists::default());
    whole::publish(&records, vec![draft.unwrap()]).unwrap();
    let old = std::fs::read(path(&before)).unwrap();
    place.assay("ingest").exits(0);
    place.assay(IMPORT).exits(0).says("0 imported, 3 unchanged");
    place.write(FIRST, place.read(FIRST).replace("[42]", "[43]"));
    place
        .assay(IMPORT)
        .exits(0)
        .says("1 imported (1 in the place of what was there before), 2 unchanged");
    assert!(!path(&before).exists() && path(&now).exists());
    place.assay(&format!("show {before}")).exits(2);
    // Of an import that was ended before the earlier run went, both are there: the next one takes that out.
    std::fs::write(path(&before), old).unwrap();
    place.assay("ingest").exits(0);
    assert_eq!(place.runs().len(), 4);
    place.assay(IMPORT).exits(0).says("0 imported, 3 unchanged");
    assert_eq!((place.runs().len(), place.records().len()), (3, 3));
}

/// Which of them is the run cannot be told.
#[test]
fn asv_files_of_one_run_that_differ_are_refused() {
    let place = place();
    place.assay(IMPORT).exits(0);
    let other = place.read(FIRST).replace("[42]", "[43]");
    place.write("sample/results/cheetah/other.json", other);
    place
        .assay(IMPORT)
        .exits(2)
        .says("0 imported, 3 unchanged, 1 refused")
        .says("is of another file");
    assert_eq!(place.records().len(), 3);
}

#[test]
fn asv_copies_within_one_folder_are_one_run() {
    let place = place();
    for copy in 0..5 {
        place.write(
            &format!("sample/results/cheetah/{copy}.json"),
            place.read(LAST),
        );
    }
    place
        .assay(IMPORT)
        .exits(0)
        .says("3 imported, 5 unchanged, 0 refused");
    assert_eq!(place.records().len(), 3);
    place.assay("db verify").exits(0).says("3 runs agree");
}
