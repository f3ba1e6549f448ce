//! What the functions that run between chunks of samples cost: they must stay far below the samples themselves.

use std::hint::black_box;

use assay_stats::{effective_sample_size, median_interval, steady_from};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Times around 1000 with a decaying start and a jitter that repeats too late to matter.
fn times(count: usize) -> Vec<f64> {
    (0..count)
        .map(|index| {
            let jitter = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
            1000.0 + jitter as f64 / 50.0 + 500.0 * (-(index as f64) / 20.0).exp()
        })
        .collect()
}

fn cost(criterion: &mut Criterion) {
    for (name, function) in [
        (
            "median_interval",
            (|samples| median_interval(samples, 0.95).map(|found| found.low))
                as fn(&[f64]) -> Option<f64>,
        ),
        ("steady_from", |samples| {
            steady_from(samples).map(|start| start as f64)
        }),
        ("effective_sample_size", effective_sample_size),
    ] {
        let mut group = criterion.benchmark_group(name);
        for count in [100, 1_000, 10_000, 100_000] {
            let samples = times(count);
            group.throughput(Throughput::Elements(count as u64));
            group.bench_with_input(
                BenchmarkId::from_parameter(count),
                &samples,
                |bencher, samples| {
                    bencher.iter(|| function(black_box(samples)));
                },
            );
        }
        group.finish();
    }
}

criterion_group!(benches, cost);
criterion_main!(benches);
