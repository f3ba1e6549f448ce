//! A worker that misbehaves costs its case, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use assay_record::BlockStatus;

use crate::helpers::{
    ASSAY, Place, benchmark, case, eventually, fault, have, repository_file, spin, state,
    suite_with,
};

/// Every way of going wrong, and the words by which it is known.
const FAULTS: [(&str, &str); 14] = [
    ("crash", "SIGABRT"),
    ("panic", "panicked: on purpose"),
    ("hang", "gave no answer for 1"),
    ("hang-prepare", "gave no answer for 1"),
    ("stderr", "failed on purpose"),
    ("wrong", "the verification failed"),
    ("rubbish", "not a protocol line"),
    ("huge-line", "a line is longer than"),
    ("too-many-samples", "more samples than"),
    ("zero-time", "took zero time"),
    ("negative-time", "`-1`"),
    ("nan-time", "NaN"),
    ("clock-back", "the clock went back"),
    ("truncated", "output ended before the reply"),
];

/// Most memory that the harness may need, whatever a worker sends.
const MOST_MEMORY_KIB: u64 = 200 << 10;

#[test]
fn a_fault_costs_its_case_and_is_named() {
    let mut benchmarks: Vec<String> = FAULTS.iter().map(|(mode, _)| fault(mode)).collect();
    benchmarks.push(spin("control/spin", 1000));
    let place = Place::with_suite(&benchmarks);
    let run = place
        .assay("run ./tiny.toml --json")
        .exits(1)
        .says("control/spin")
        .json();
    for (mode, words) in FAULTS {
        let found = state(&run, &format!("fault/{mode}@"));
        let kind = if mode == "wrong" { "wrong " } else { "failed " };
        assert!(
            found.starts_with(kind) && found.contains(words),
            "{mode}: {found}"
        );
    }
    assert_eq!(state(&run, "control/spin"), "ok ");
    assert_eq!(place.record().footer.unwrap().blocks, 13 * 2 + 1 + 2);
    place.is_left_alone();
}

/// Each process gives what it calls the same output, of the same inputs, other bits.
#[test]
fn determinism_is_declared_and_checked() {
    if !have("python3") {
        return;
    }
    let good = repository_file("suites/workers/example_worker.py");
    let honest = "\"output\": digest(out),";
    assert_eq!(good.matches(honest).count(), 1);
    let place = Place::new();
    let drawn = "\"output\": digest([time.monotonic_ns()]),";
    place.write("worker.py", good.replace(honest, drawn));
    let declared = "\"deterministic\": True";
    assert_eq!(good.matches(declared).count(), 1);
    let free = good
        .replace(honest, drawn)
        .replace(declared, "\"deterministic\": False");
    place.write("free.py", free);
    let sort = |name: &str| {
        let lines =
            format!("worker = \"{name}\"\nworkload = \"py-sort\"\nparams = {{ elements = 100 }}");
        benchmark(name, &lines)
    };
    let workers = "[workers.drawn]\nargv = [\"python3\", \"{dir}/worker.py\"]\n[workers.free]\nargv = [\"python3\", \"{dir}/free.py\"]\n";
    let policy =
        "rounds = 4, max_rounds = 4, min_samples = 1, max_samples = 1, warmup_ms = 0, round_ms = 1";
    let suite = suite_with(
        "drawn",
        policy,
        &[sort("drawn"), sort("free"), workers.into()],
    );
    place.write("drawn.toml", suite);
    let run = place.assay("run ./drawn.toml --json").exits(1).json();
    let found = state(&run, "drawn");
    let words = "declared deterministic, yet its output has other bits than in round 1, of the same inputs: ";
    assert!(
        found.starts_with("wrong ") && found.contains(words),
        "{found}"
    );
    assert_eq!(state(&run, "free"), "ok ");
}

#[test]
fn a_failed_case_is_tried_again_alone_and_then_given_up() {
    let place = Place::with_suite(&[fault("panic"), fault("wrong"), spin("control/spin", 1000)]);
    place.assay("run ./tiny.toml").exits(1);
    let record = place.record();
    let visits = |case: &str| {
        let blocks = record
            .blocks
            .iter()
            .filter(|block| block.case.contains(case));
        blocks
            .map(|block| (block.round, block.attempt))
            .collect::<Vec<_>>()
    };
    assert_eq!(visits("panic"), [(0, 0), (0, 1)]);
    // A wrong output stays wrong.
    assert_eq!(visits("wrong"), [(0, 0)]);
    assert_eq!(visits("spin"), [(0, 0), (1, 0)]);
}

#[test]
fn the_end_of_standard_error_is_kept() {
    let place = Place::with_suite(&[fault("stderr"), spin("control/spin", 1000)]);
    let run = place.assay("run ./tiny.toml --json").exits(1).json();
    let log = case(&run, "stderr")["case"]["rounds"][0]["log"]
        .as_str()
        .unwrap();
    assert!(log.contains("line 3 of 3 on standard error"), "{log}");
    let failed = |status: &BlockStatus| matches!(status, BlockStatus::Failed(_));
    for block in place.record().blocks {
        assert_eq!(
            failed(&block.status),
            block.log.contains("line 3 of 3"),
            "{}",
            block.case
        );
    }
}

#[test]
fn what_a_worker_says_cannot_drive_the_terminal() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let escape = r"sed -u 's/on purpose/\\u001b]0;owned\\u0007/'";
    place.script("rude.sh", &format!("{ASSAY} worker | {escape}"));
    let rude = "[[benchmark]]\nname = \"rude\"\nworkload = \"fault\"\nworker = \"rude\"\nparams = { mode = \"stderr\" }";
    let tiny = place.read("tiny.toml");
    place.write(
        "tiny.toml",
        format!("{tiny}\n{rude}\n[workers.rude]\nargv = [\"{{dir}}/rude.sh\"]\n"),
    );
    let reason = "failed  ]0;owned , after";
    place
        .assay("run ./tiny.toml")
        .exits(1)
        .says(reason)
        .lacks("\u{1b}")
        .lacks("\u{7}");
    place.assay("show").says(reason).lacks("\u{1b}");
    let check = "worker-check --workload fault --param mode=stderr ./rude.sh";
    place.assay(check).exits(1).says(reason).lacks("\u{1b}");
    // The record keeps what was said.
    place.assay("show --json").says("\\u001b]0;owned\\u0007");
}

#[test]
fn nobody_to_tell_is_no_reason_to_stop() {
    let place = Place::with_suite(&[fault("stderr"), spin("control/spin", 1000)]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut run = place.program(ASSAY);
    let run = run
        .args(["run", "./tiny.toml"])
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(place.record().footer.is_some());
}

#[test]
fn a_skipped_case_is_no_finding() {
    let place = Place::with_suite(&[fault("skip"), spin("control/spin", 1000)]);
    place
        .assay("run ./tiny.toml")
        .exits(0)
        .says("1 ok, 0 failed, 0 wrong, 1 skipped");
    // Nothing but skips is no run.
    place.assay("run ./tiny.toml --filter skip").exits(3);
}

#[test]
fn a_line_of_ten_gigabytes_takes_no_memory() {
    let place = Place::with_suite(&[fault("huge-line")]);
    let mut running = place.start("run ./tiny.toml");
    let mut peak = 0;
    while running.goes_on() {
        peak = peak.max(peak_memory_kib(running.pid()));
        std::thread::sleep(Duration::from_millis(2));
    }
    running.end().exits(1).says("a line is longer than");
    assert!((1..MOST_MEMORY_KIB).contains(&peak), "{peak} KiB");
    place.is_left_alone();
}

/// Most memory that a process ever held, as the kernel says.
fn peak_memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[test]
fn what_a_worker_started_ends_with_it() {
    let place = Place::with_suite(&[]);
    place.script(
        "leaky.sh",
        &format!("sleep 1000 &\necho $! >> children\nexec {ASSAY} worker"),
    );
    let suite = place.read("tiny.toml");
    let workers = "[workers.leaky]\nargv = [\"{dir}/leaky.sh\"]\n";
    let leaky = "[[benchmark]]\nname = \"leaky\"\nworkload = \"spin\"\nworker = \"leaky\"\nparams = { steps = 10 }\n";
    place.write("tiny.toml", format!("{suite}\n{leaky}\n{workers}"));
    place.assay("run ./tiny.toml").exits(0);
    let children = place.read("children");
    assert!(children.lines().count() >= 2, "{children}");
    let lives = |pid: &str| PathBuf::from(format!("/proc/{pid}/exe")).exists();
    assert!(eventually(Duration::from_secs(5), || !children
        .lines()
        .any(lives)));
}

#[test]
fn an_expectation_that_does_not_hold_is_wrong() {
    let expecting =
        |expect: &str| format!("{}expect = {{ {expect} }}\n", spin("control/spin", 1000));
    let digest = format!("output = \"sha256:{}\"", "0".repeat(64));
    for (expect, words) in [
        (digest.as_str(), "expected output"),
        ("max_time_s = 1e-12", "expected at most"),
    ] {
        let place = Place::with_suite(&[expecting(expect)]);
        place
            .assay("run ./tiny.toml")
            .exits(1)
            .says("WRONG")
            .says(words);
    }
    let place = Place::with_suite(&[expecting("max_time_s = 3600.0")]);
    place.assay("run ./tiny.toml").exits(0);
}
