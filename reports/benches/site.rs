//! How long it takes to publish 500 series of 200 runs: 200 run pages of 500 rows, 500 charts.

#[allow(dead_code)]
#[path = "../tests/site/build.rs"]
mod build;

use std::hint::black_box;
use std::time::Duration;

use assay_reports::{SiteSettings, publish};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tempfile::TempDir;

fn site(criterion: &mut Criterion) {
    let model = build::synthetic(500, 200);
    let settings = SiteSettings::default();
    // From nothing each time: what lies there is taken over.
    let folder = || tempfile::TempDir::new().expect("a temporary folder");
    let at = |folder: &TempDir| publish(black_box(&model), &folder.path().join("site"), &settings);
    let first = folder();
    let published = at(&first).expect("a site");
    assert!(published.pages > 700, "a page for each series and run");
    let mib = published.bytes as f64 / f64::from(1 << 20);
    println!("{} pages, {mib:.1} MiB", published.pages);
    let mut group = criterion.benchmark_group("site");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(20));
    group.bench_function("500 series x 200 runs", |bencher| {
        let publish_in = |folder: TempDir| {
            let again = at(&folder).expect("a site");
            assert!(folder.path().join("site/index.html").is_file());
            assert_eq!((again.pages, again.list), (published.pages, published.list));
            // What is returned is dropped after the measurement.
            folder
        };
        bencher.iter_batched(folder, publish_in, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, site);
criterion_main!(benches);
