//! What the harness itself costs: start-up, and its share of a core while a worker samples.
//!
//! `cargo bench --bench startup`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

/// About 9,000 samples a second: far more than most cases give.
const SUITE: &str = r#"
schema = 1
name = "share"
[policy]
rounds = 2
max_rounds = 2
target = 0.000001
max_samples = 100000
warmup_ms = 100
round_ms = 6000
[[benchmark]]
name = "spin"
workload = "spin"
params = { steps = 100_000 }
"#;

fn version(criterion: &mut Criterion) {
    criterion.bench_function("assay --version", |bencher| {
        bencher.iter(|| Command::new(ASSAY).arg("--version").output().expect("runs"));
    });
}

fn hello(criterion: &mut Criterion) {
    criterion.bench_function("worker, start to first reply and exit", |bencher| {
        bencher.iter(|| {
            let mut worker = Command::new(ASSAY)
                .arg("worker")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts");
            let mut stdin = worker.stdin.take().expect("a pipe");
            stdin
                .write_all(b"{\"request\":\"hello\",\"protocol\":1}\n")
                .expect("takes requests");
            let mut reply = String::new();
            let stdout = worker.stdout.take().expect("a pipe");
            BufReader::new(stdout)
                .read_line(&mut reply)
                .expect("replies");
            drop(stdin);
            worker.wait().expect("ends");
            reply
        });
    });
}

/// Printed, not timed by criterion: CPU time of the harness process over the time it measured.
fn share(_: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("share.toml"), SUITE).expect("writes");
    let mut harness = Command::new(ASSAY)
        .args(["run", "./share.toml", "--quiet"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    // Past planning and the first fingerprint.
    std::thread::sleep(Duration::from_secs(2));
    let (begun, before) = (Instant::now(), ticks(harness.id()));
    std::thread::sleep(Duration::from_secs(8));
    let used = (ticks(harness.id()) - before) as f64 / 100.0;
    println!(
        "harness while a worker samples: {:.2} % of a core",
        100.0 * used / begun.elapsed().as_secs_f64()
    );
    harness.wait().expect("ends");
}

/// User and system time of a process, in ticks of 1/100 s (`proc_pid_stat(5)`, fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
        .expect("runs still");
    let after_name = stat.rsplit_once(") ").expect("a name in brackets").1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum()
}

criterion_group!(benches, version, hello, share);
criterion_main!(benches);
