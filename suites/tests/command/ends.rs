//! How commands end, and what they started with them: by a timeout, with the worker, with the harness.

use std::fs;
use std::io::BufRead;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use assay_protocol::CommandSpec;

use crate::{Worker, assert_fails, command, sample_request, shell};

/// Longest that anything may outlive what started it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A number of seconds that only one test sleeps, to find its sleepers by.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("1000{:07}.{next:03}", std::process::id())
}

/// How many processes sleep for `marker` seconds now.
fn sleepers(marker: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    let sleeps = |line: &Vec<u8>| line.starts_with(b"sleep\0") && contains(line, marker.as_bytes());
    lines.filter(sleeps).count()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[track_caller]
fn wait_for_sleepers(marker: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while sleepers(marker) != count {
        let found = sleepers(marker);
        assert!(Instant::now() < deadline, "{found} sleepers, not {count}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sleeps in the foreground, in the background, in a session of its own, and as a daemon whose parent has gone.
fn sleeping_tree(marker: &str) -> CommandSpec {
    shell(&format!(
        "sleep {marker} & setsid sleep {marker} & (setsid setsid sleep {marker} &) ; sleep {marker}"
    ))
}

const TREE: usize = 4;

/// A worker in the middle of sampling a [`sleeping_tree`].
fn asleep(marker: &str) -> Worker {
    let mut worker = Worker::start();
    worker.prepare(&sleeping_tree(marker)).unwrap();
    worker.send(&sample_request());
    wait_for_sleepers(marker, TREE);
    worker
}

#[test]
fn a_timeout_ends_the_whole_tree() {
    let marker = marker();
    let mut spec = sleeping_tree(&marker);
    spec.timeout_ms = 500;
    let mut worker = Worker::start();
    let reason = worker.run(&spec).unwrap_err();
    assert!(
        reason.contains("took longer than 500 ms and was ended"),
        "{reason}"
    );
    assert_eq!(sleepers(&marker), 0);
    // The worker lives on.
    worker.run(&command(&["true"])).unwrap();
}

#[test]
fn a_command_that_ignores_signals_is_ended_too() {
    let mut spec = shell("trap '' TERM INT HUP; while :; do sleep 0.01; done");
    spec.timeout_ms = 200;
    assert_fails(&spec, "took longer than 200 ms");
}

#[test]
fn what_a_command_leaves_running_is_ended_with_it() {
    let marker = marker();
    let script = format!("sleep {marker} & setsid sleep {marker} & sleep 0.2");
    let mut worker = Worker::start();
    let sample = worker.run(&shell(&script)).unwrap();
    assert_eq!(sleepers(&marker), 0);
    assert!(sample.host_ns < 5_000_000_000);
}

#[test]
fn nothing_survives_a_killed_worker() {
    let marker = marker();
    asleep(&marker).kill();
    wait_for_sleepers(&marker, 0);
}

#[test]
fn nothing_survives_the_killed_process_group_of_a_worker() {
    let marker = marker();
    let mut worker = asleep(&marker);
    let group = rustix::process::Pid::from_child(&worker.process);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    worker.process.wait().unwrap();
    wait_for_sleepers(&marker, 0);
}

#[test]
fn nothing_survives_a_harness_that_has_gone() {
    let marker = marker();
    let mut worker = asleep(&marker);
    // What the kernel does with a killed harness.
    worker.stdin = None;
    worker.stdout = None;
    wait_for_sleepers(&marker, 0);
    assert!(!worker.process.wait().unwrap().success());
}

#[test]
fn nothing_survives_a_harness_that_closes_the_input() {
    let marker = marker();
    let mut worker = asleep(&marker);
    worker.stdin = None;
    wait_for_sleepers(&marker, 0);
    assert!(!worker.process.wait().unwrap().success());
}

#[test]
fn a_killed_launcher_costs_its_case_only() {
    let marker = marker();
    let mut worker = asleep(&marker);
    let children = fs::read_dir("/proc").unwrap().flatten();
    let launchers: Vec<_> = children
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent(*pid) == Some(worker.process.id()))
        .collect();
    assert_eq!(launchers.len(), 1);
    let launcher = rustix::process::Pid::from_raw(launchers[0]).unwrap();
    rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
    let mut line = String::new();
    worker
        .stdout
        .as_mut()
        .unwrap()
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("launcher failed: signal: 9"), "{line}");
    assert_eq!(sleepers(&marker), 0);
    worker.run(&command(&["true"])).unwrap();
}

fn parent(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}
