//! Bandwidth of our triad at each level of the memory hierarchy, by one thread and by all.
//!
//! Criterion prints GB/s (3 n sizeof T bytes). For the comparison with C see `triad_vs_c.sh`.

use std::time::Duration;

use assay_kernels::catalog;
use assay_kernels::device::host;
use assay_protocol::{CaseSpec, DeviceSelector, ParamValue, TimingMode, Workload};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of all three arrays: in L1, in L2, beyond, and far beyond.
const SIZES: [(&str, i64); 4] = [
    ("L1", 24 << 10),
    ("L2", 1 << 20),
    ("L3", 24 << 20),
    ("memory", 768 << 20),
];

fn triad(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream-triad f32");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    let mut teams = vec![1, host::usable_cpus()];
    teams.dedup();
    for threads in teams {
        for (level, bytes) in SIZES {
            let mut workload = prepare(bytes / 12, threads);
            let bytes = workload
                .prepared()
                .work
                .bytes
                .expect("triad counts its bytes");
            group.throughput(Throughput::BytesDecimal(bytes));
            group.bench_function(
                BenchmarkId::new(level, format!("{threads} threads")),
                |bencher| {
                    bencher.iter_custom(|iterations| {
                        let measured = workload.run(iterations).expect("a triad runs");
                        Duration::from_nanos(measured.host_ns.expect("ops time themselves"))
                    });
                },
            );
        }
    }
    group.finish();
}

fn prepare(elements: i64, threads: usize) -> Box<dyn Workload> {
    let threads = i64::try_from(threads).expect("few threads");
    let params = [
        ("elements".into(), ParamValue::Int(elements)),
        ("dtype".into(), ParamValue::Text("f32".into())),
        ("threads".into(), ParamValue::Int(threads)),
    ];
    let case = CaseSpec {
        workload: "stream-triad".into(),
        params: params.into(),
        seed: 1.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    };
    let entry = catalog()
        .iter()
        .find(|entry| entry.info().name == case.workload);
    entry
        .expect("in the catalog")
        .prepare(&case)
        .expect("fits into memory")
}

criterion_group!(benches, triad);
criterion_main!(benches);
