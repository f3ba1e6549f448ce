//! Parquet files.

use std::time::Duration;

use assay_store::{Patience, Store};

use crate::{Place, night};

#[test]
fn store_exports_parquet_the_same_twice() {
    let place = Place::new();
    let mut store = place.writer();
    for n in 0..2 {
        store
            .ingest_record(&night("bench-1", n).record(), &place.path("a.jsonl"))
            .unwrap();
    }
    drop(store);
    let folder = place.path("o'brien \"out\"");
    let export = || {
        let mut patience = Patience::silent(Duration::from_secs(5));
        let files = Store::export_parquet(&place.database(), &folder, &mut patience).unwrap();
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect::<Vec<_>>()
    };
    let first = export();
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|bytes| bytes.starts_with(b"PAR1")));
    assert_eq!(export(), first);

    let connection = duckdb::Connection::open_in_memory().unwrap();
    let file = folder.join("samples.parquet");
    let rows: i64 = connection
        .query_row(
            "SELECT count(*) FROM read_parquet(?)",
            [file.to_str().unwrap()],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(rows, 2 * 3 * 4 * 11);
}

#[test]
fn store_exports_results_as_one_table() {
    let place = Place::new();
    let mut store = place.writer();
    for number in 0..2 {
        store
            .ingest_record(&night("bench-1", number).record(), &place.path("a.jsonl"))
            .unwrap();
    }
    drop(store);
    let file = place.path("results.parquet");
    let export = || {
        let mut patience = Patience::silent(Duration::from_secs(5));
        let files = [(file.clone(), vec![night("bench-1", 0).run()])];
        Store::export_results(&place.database(), &files, &mut patience).unwrap();
        std::fs::read(&file).unwrap()
    };
    let first = export();
    assert_eq!(export(), first);
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let rows: i64 = connection
        .query_row(
            "SELECT count(*) FROM read_parquet(?) WHERE machine = 'bench-1' AND metric = 'time' AND value > 0",
            [file.to_str().unwrap()],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(rows, 3 * 4);
}
