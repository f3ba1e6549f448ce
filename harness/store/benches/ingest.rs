//! How fast records become rows, and how fast histories are read back.
//!
//! `cargo bench --bench ingest`: samples per second of `ingest_record`, of reading the file as well, and the time
//! of `series` over 500 series by 200 runs.

use std::path::Path;
use std::time::Duration;

use assay_record::Record;
use assay_store::synthetic::Recipe;
use assay_store::{Access, Patience, Store};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn open(path: &Path) -> Store {
    Store::open(
        path,
        Access::Write,
        &mut Patience::silent(Duration::from_secs(10)),
    )
    .expect("opens")
}

fn ingest(criterion: &mut Criterion) {
    let recipe = Recipe {
        cases: 50,
        rounds: 10,
        samples: 2000,
        ..Recipe::default()
    };
    let record = recipe.record();
    let folder = tempfile::tempdir().expect("a folder");
    let path = recipe.write(folder.path(), None).expect("a record");
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(50 * 10 * 2000));
    group.sample_size(10);
    let fresh = || {
        let folder = tempfile::tempdir().expect("a folder");
        (open(&folder.path().join("a.duckdb")), folder)
    };
    group.bench_function("record in memory", |bencher| {
        bencher.iter_batched_ref(
            fresh,
            |(store, _)| store.ingest_record(&record, &path).expect("ingests"),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("record from disk", |bencher| {
        bencher.iter_batched_ref(
            fresh,
            |(store, _)| {
                let record = Record::read(&path).expect("reads");
                store.ingest_record(&record, &path).expect("ingests")
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn series(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder.path().join("a.duckdb"));
    for night in 0..200 {
        // The first case has three metrics.
        let recipe = Recipe {
            night,
            cases: 498,
            rounds: 6,
            samples: 5,
            ..Recipe::default()
        };
        store
            .ingest_record(&recipe.record(), Path::new("/made/up.jsonl"))
            .expect("ingests");
    }
    let mut group = criterion.benchmark_group("series");
    group.sample_size(10);
    group.bench_function("500 series by 200 runs by 6 rounds", |bencher| {
        bencher.iter(|| store.series().expect("reads"));
    });
    group.bench_function("one case of them", |bencher| {
        bencher.iter(|| store.series_of_case("made-up[n=7]@cpu").expect("reads"));
    });
    let last = store.resolve("latest").expect("a run");
    group.bench_function("cases of one run of them", |bencher| {
        bencher.iter(|| store.cases(&last).expect("reads"));
    });
    group.finish();
}

criterion_group!(benches, ingest, series);
criterion_main!(benches);
