//! What the functions that run between chunks of samples cost: they must stay far below the samples themselves.

use std::hint::black_box;

use assay_stats::{change_points, effective_sample_size, median_interval, steady_from};
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

/// Change points of pure noise, and of noise with a step every 50 points: the least and the most work.
fn change_point_cost(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change_points");
    group.sample_size(10);
    for count in [100, 1_000, 10_000] {
        let still = times(count + 200).split_off(200);
        let stepped: Vec<f64> = still
            .iter()
            .enumerate()
            .map(|(index, time)| time + 20.0 * (index / 50) as f64)
            .collect();
        group.throughput(Throughput::Elements(count as u64));
        for (name, series) in [("still", still), ("stepped", stepped)] {
            group.bench_with_input(BenchmarkId::new(name, count), &series, |bencher, series| {
                bencher.iter(|| change_points(black_box(series)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, cost, change_point_cost);
criterion_main!(benches);
