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
    // What a number means stands beside it, and times are times.
    let mut told = connection
        .prepare(
            "SELECT DISTINCT metric, unit, direction, typeof(started), typeof(round_started) FROM read_parquet(?) WHERE metric IS NOT NULL ORDER BY metric",
        )
        .unwrap();
    let told = told.query_map([file.to_str().unwrap()], |row| {
        let text = |column| row.get::<_, String>(column);
        Ok([text(0)?, text(1)?, text(2)?, text(3)?, text(4)?].join(" "))
    });
    let told: Vec<String> = told.unwrap().map(Result::unwrap).collect();
    assert_eq!(
        told,
        [
            "loss 1 lower TIMESTAMP_NS TIMESTAMP_NS",
            "peak_memory B lower TIMESTAMP_NS TIMESTAMP_NS",
            "time ns lower TIMESTAMP_NS TIMESTAMP_NS",
        ]
    );
    let started: i64 = connection
        .query_row(
            "SELECT epoch_ns(min(started)) FROM read_parquet(?)",
            [file.to_str().unwrap()],
            |row| row.get(0),
        )
        .unwrap();
    let record = night("bench-1", 0).record();
    assert_eq!(started, record.header.started.unix_ns());
}
