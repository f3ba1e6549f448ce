//! How fast a site is published from the database, and from nothing: read, judged, rendered, written.
//!
//! `cargo bench --bench publish`: 500 series by 200 runs of 6 rounds.

use std::path::Path;
use std::time::Duration;

use assay::settings::Settings;
use assay::site;
use assay_store::synthetic::Recipe;
use assay_store::{Access, Patience, Store};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tempfile::TempDir;

fn fill(database: &Path) {
    let mut patience = Patience::silent(Duration::from_secs(10));
    let mut store = Store::open(database, Access::Write, &mut patience).expect("opens");
    for night in 0..200 {
        // The first case has three metrics, so there are 500 series.
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
}

fn publish(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::below(folder.path());
    settings.prepare_folders().expect("are made");
    fill(&settings.database);
    let mut group = criterion.benchmark_group("publish");
    group.sample_size(10);
    group.bench_function("500 series by 200 runs", |bencher| {
        // From nothing each time: what lies there is taken over.
        let new = || tempfile::tempdir().expect("a folder");
        let publish_in = |new: TempDir| {
            let out = new.path().join("site");
            let chosen = site::Publishing::default();
            let published = site::publish(&settings, &out, &chosen).expect("publishes");
            assert!(published.pages > 700, "a page for each series and run");
            assert!(out.join("index.html").is_file());
            // What is returned is dropped after the measurement.
            new
        };
        bencher.iter_batched(new, publish_in, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
