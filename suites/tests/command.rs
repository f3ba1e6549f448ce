//! The `command` workload, driven through the protocol in the built `assay-worker`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use assay_protocol::{
    COMMAND_WORKLOAD, CaseSpec, CommandMetric, CommandSpec, DeviceSelector, Digest, Direction,
    Exchange, Metric, ParamValue, Reply, Request, Sample, SampleRequest, Step, TimingMode, U64,
    Unit, Verification,
};

mod command {
    mod ends;
}

struct Worker {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    metrics: Vec<Metric>,
}

impl Worker {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_assay-worker"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            stdin: process.stdin.take(),
            stdout: process.stdout.take().map(BufReader::new),
            process,
            metrics: vec![],
        }
    }

    fn send(&mut self, request: &Request) {
        let line = serde_json::to_string(request).unwrap();
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn ask(&mut self, request: &Request) -> (Vec<Sample>, Reply) {
        self.send(request);
        let mut exchange = Exchange::new(request, &self.metrics, 0);
        let mut samples = vec![];
        loop {
            let mut line = String::new();
            self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
            match exchange.accept(line.trim_end().as_bytes()).unwrap() {
                Step::Sample(sample) => samples.push(sample),
                Step::Progress(_) => {}
                Step::Done(end) => return (samples, end),
            }
        }
    }

    fn prepare(&mut self, spec: &CommandSpec) -> Result<(), String> {
        match self.ask(&Request::Prepare { case: case(spec) }).1 {
            Reply::Prepared(prepared) => {
                self.metrics = prepared.metrics;
                Ok(())
            }
            Reply::Failed { reason } => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    /// One sample of one execution.
    fn sample(&mut self) -> Result<Sample, String> {
        match self.ask(&sample_request()) {
            (mut samples, Reply::Sampled { .. }) => Ok(samples.remove(0)),
            (_, Reply::Failed { reason }) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, spec: &CommandSpec) -> Result<Sample, String> {
        self.prepare(spec)?;
        self.sample()
    }

    fn verify(&mut self) -> Verification {
        match self.ask(&Request::Verify).1 {
            Reply::Verified(verification) => verification,
            other => panic!("{other:?}"),
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sample_request() -> Request {
    Request::Sample(SampleRequest {
        max_samples: 1,
        max_ns: 1,
        min_sample_ns: 1,
    })
}

fn case(spec: &CommandSpec) -> CaseSpec {
    CaseSpec {
        workload: COMMAND_WORKLOAD.into(),
        params: BTreeMap::new(),
        seed: U64(1),
        device: DeviceSelector::CPU,
        timing: TimingMode::Host,
        command: Some(spec.clone()),
        kernel: None,
    }
}

fn command(argv: &[&str]) -> CommandSpec {
    CommandSpec {
        argv: argv.iter().map(|text| (*text).into()).collect(),
        env: BTreeMap::new(),
        directory: None,
        timeout_ms: 60_000,
        exit_code: 0,
        metrics: vec![],
    }
}

fn shell(script: &str) -> CommandSpec {
    command(&["/bin/sh", "-c", script])
}

fn run(spec: &CommandSpec) -> Result<Sample, String> {
    Worker::start().run(spec)
}

#[track_caller]
fn assert_fails(spec: &CommandSpec, words: &str) {
    let reason = run(spec).unwrap_err();
    assert!(reason.contains(words), "expected {words:?} in {reason:?}");
}

fn metric(name: &str, json: Option<&str>, regex: Option<&str>) -> CommandMetric {
    CommandMetric {
        name: name.into(),
        unit: Unit::One,
        direction: Direction::Higher,
        json: json.map(Into::into),
        regex: regex.map(Into::into),
    }
}

#[test]
fn a_sample_has_the_metrics_of_every_command() {
    let mut worker = Worker::start();
    let sample = worker.run(&shell("echo out; echo err >&2")).unwrap();
    let names: Vec<_> = sample.values.keys().map(String::as_str).collect();
    assert_eq!(names, ["peak_memory", "system_time", "user_time"]);
    let verification = worker.verify();
    assert!(verification.passed);
    assert_eq!(verification.output, Some(Digest::of("out\n")));
    assert!(verification.detail.starts_with("exit code 0 as expected"));
    let Reply::TornDown { values } = worker.ask(&Request::Teardown).1 else {
        panic!("no teardown")
    };
    assert!(values.is_empty());
}

#[test]
fn nothing_is_verified_before_it_ran() {
    let mut worker = Worker::start();
    worker.prepare(&command(&["true"])).unwrap();
    let Reply::Failed { reason } = worker.ask(&Request::Verify).1 else {
        panic!("verified nothing")
    };
    assert!(reason.contains("nothing was sampled"), "{reason}");
}

#[test]
fn a_sample_of_several_iterations_is_that_many_executions() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = shell("echo x >> log; wc -l < log");
    spec.directory = Some(folder.path().to_str().unwrap().into());
    spec.metrics = vec![metric("lines", Some(""), None)];
    let mut worker = Worker::start();
    worker.prepare(&spec).unwrap();
    let request = Request::Sample(SampleRequest {
        max_samples: 3,
        max_ns: u64::MAX,
        min_sample_ns: 20_000_000,
    });
    let (samples, _) = worker.ask(&request);
    let mut executed = 0;
    for sample in samples {
        let count = sample.iterations;
        // The mean of executed+1, ..., executed+count.
        let mean = (2 * executed + count + 1) as f64 / 2.0;
        assert!((sample.values["lines"] - mean).abs() < 1e-9, "{sample:?}");
        executed += count;
    }
    assert!(executed > 3);
}

/// Counts to a large number.
const BUSY: &str = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";

#[test]
fn processor_time_is_what_a_busy_loop_finds_itself() {
    // The shell's own count, in hundredths of a second, is right on a busy machine too.
    let mut spec = shell(&format!("{BUSY}; times"));
    spec.metrics = vec![metric("own_s", None, Some(r"^0m([0-9.]+)s"))];
    let sample = run(&spec).unwrap();
    let (user_s, own_s) = (sample.values["user_time"] / 1e9, sample.values["own_s"]);
    assert!((user_s - own_s).abs() < 0.1 * own_s + 0.02, "{sample:?}");
    assert!(user_s <= 1.05 * sample.host_ns as f64 / 1e9, "{sample:?}");
}

#[test]
fn processor_time_of_a_sleep_is_not_its_wall_time() {
    let sample = run(&shell("sleep 0.5")).unwrap();
    let processor_ns = sample.values["user_time"] + sample.values["system_time"];
    assert!(processor_ns < 0.2 * sample.host_ns as f64, "{sample:?}");
}

#[test]
fn processor_time_counts_descendants_that_were_waited_for() {
    let mut spec = shell(&format!("sh -c '{BUSY}'; times"));
    spec.metrics = vec![metric("child_s", None, Some(r"\n0m([0-9.]+)s"))];
    let values = run(&spec).unwrap().values;
    let (user_s, child_s) = (values["user_time"] / 1e9, values["child_s"]);
    assert!(child_s > 0.0 && user_s > 0.9 * child_s - 0.02, "{values:?}");
}

/// 32 MiB, in megabytes.
const LEAST_TOLD: f64 = 33.554_432;

#[test]
fn peak_memory_is_the_commands_own() {
    let megabytes = |spec: &CommandSpec| run(spec).unwrap().values["peak_memory"] / 1e6;
    // What could be the launcher's is not told: one figure for all of it.
    let small = megabytes(&command(&["/bin/true"]));
    assert!((small - LEAST_TOLD).abs() < 1e-9, "{small} MB");
    // dd holds one block of its size.
    let large = megabytes(&shell("dd if=/dev/zero of=/dev/null bs=100000000 count=1"));
    assert!((100.0..130.0).contains(&large), "{large} MB");
}

#[test]
fn peak_memory_does_not_depend_on_what_the_worker_held() {
    let mut worker = Worker::start();
    let elements = 1 << 25;
    let triad = CaseSpec {
        workload: "stream-triad".into(),
        params: [
            ("dtype".into(), ParamValue::Text("f64".into())),
            ("elements".into(), ParamValue::Int(elements)),
            ("threads".into(), ParamValue::Int(1)),
        ]
        .into(),
        seed: U64(1),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    };
    let prepared = worker.ask(&Request::Prepare { case: triad }).1;
    assert!(matches!(prepared, Reply::Prepared(_)), "{prepared:?}");
    worker.sample().unwrap();
    assert!(peak_of(worker.process.id()) > 600_000_000);
    let bytes = worker.run(&command(&["/bin/true"])).unwrap().values["peak_memory"];
    assert!((bytes / 1e6 - LEAST_TOLD).abs() < 1e-9, "{bytes} B");
}

/// High-water mark of a process, in bytes.
fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn metrics_are_taken_from_the_output() {
    let mut spec = shell(r#"echo '{"a": {"b": [1, 2.5]}, "speed": "x=-7e2 m/s"}'"#);
    spec.metrics = vec![
        metric("pointed", Some("/a/b/1"), None),
        metric("matched", None, Some(r"x=(\S+) m/s")),
    ];
    let mut worker = Worker::start();
    let values = worker.run(&spec).unwrap().values;
    assert_eq!((values["pointed"], values["matched"]), (2.5, -700.0));
    let declared = &worker.metrics[3];
    assert_eq!(
        (declared.name.as_str(), declared.direction),
        ("pointed", Direction::Higher)
    );
}

#[test]
fn a_metric_that_is_not_there_fails_by_name() {
    let mut spec = shell("echo loss=NaN");
    for (json, regex, words) in [
        (None, Some("loss=(.*)"), "found `NaN`"),
        (None, Some("gain=(.*)"), "no match"),
        (Some("/loss"), None, "not one JSON value"),
        (None, Some("loss"), "no group"),
        (None, None, "no rule is given"),
        (Some(""), Some("(.)"), "two rules are given"),
    ] {
        spec.metrics = vec![metric("loss", json, regex)];
        let reason = run(&spec).unwrap_err();
        assert!(
            reason.contains("metric `loss`") && reason.contains(words),
            "{reason}"
        );
    }
    spec.metrics = vec![metric("user_time", None, Some("(.)"))];
    assert_fails(&spec, "`user_time`: the name is taken");
}

#[test]
fn much_output_does_not_block_and_is_refused_to_rules_only() {
    let mut spec = shell("head -c 100000000 /dev/zero; head -c 1000000 /dev/zero >&2");
    let mut worker = Worker::start();
    worker.run(&spec).unwrap();
    let verification = worker.verify();
    assert_eq!(verification.output, None);
    assert!(
        verification.detail.contains("100000000 bytes"),
        "{}",
        verification.detail
    );
    spec.metrics = vec![metric("m", None, Some("(1)"))];
    let reason = worker.run(&spec).unwrap_err();
    assert!(
        reason.contains("`m`: all of the output is needed"),
        "{reason}"
    );
    assert!(peak_of(worker.process.id()) < 100_000_000);
}

#[test]
fn closing_the_output_early_is_not_the_end() {
    let sample = run(&shell("exec >&- 2>&-; sleep 0.2")).unwrap();
    assert!(sample.host_ns >= 200_000_000);
}

#[test]
fn a_command_has_no_input() {
    run(&shell("cat")).unwrap();
}

#[test]
fn exit_codes_are_checked() {
    assert_fails(
        &shell("echo why >&2; exit 3"),
        "exited with code 3; expected 0",
    );
    assert_fails(&shell("echo why >&2; exit 3"), "its standard error: why");
    assert_fails(&shell("exit 1"), "its standard error is empty");
    let mut spec = shell("exit 3");
    spec.exit_code = 3;
    run(&spec).unwrap();
    spec.argv[2] = "exit 0".into();
    assert_fails(&spec, "exited with code 0; expected 3");
}

#[test]
fn signals_are_named() {
    assert_fails(&shell("kill -SEGV $$"), "was killed by signal 11");
    // Its whole group, in which the launcher is not.
    assert_fails(&shell("kill -KILL 0"), "was killed by signal 9");
}

#[test]
fn much_of_standard_error_is_kept_at_its_end() {
    let reason = run(&shell(
        "head -c 1000000 /dev/zero >&2; echo last >&2; exit 1",
    ))
    .unwrap_err();
    assert!(reason.contains("the last of 1000005 bytes") && reason.ends_with("last"));
    assert!(reason.len() < 70_000);
}

#[test]
fn commands_that_cannot_start_say_why() {
    assert_fails(&command(&[]), "`argv` names no program");
    assert_fails(&command(&[""]), "`argv` names no program");
    assert_fails(&command(&["echo", "a\0b"]), "`argv[1]` has a NUL");
    assert_fails(
        &command(&["no-such-program"]),
        "`no-such-program` is in no folder of PATH (",
    );
    assert_fails(&command(&["./no-such-program"]), "does not exist");
    assert_fails(&command(&["/"]), "is not a file");
    let mut spec = command(&["true"]);
    spec.directory = Some("no-such-directory".into());
    assert_fails(&spec, "no-such-directory does not exist");
    spec.directory = Some("a\0b".into());
    assert_fails(&spec, "directory has a NUL");
    spec.directory = None;
    spec.timeout_ms = 0;
    assert_fails(&spec, "`timeout_ms` is 0");
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
        let mut spec = command(&["true"]);
        spec.env.insert(name.into(), value.into());
        assert_fails(&spec, "environment variable");
    }
    let long = "x".repeat(200_000);
    assert_fails(
        &command(&["echo", &long]),
        "could not be started: Argument list too long",
    );
}

#[test]
fn files_that_are_no_programs_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let file = folder.path().join("tool");
    fs::write(&file, "echo no first line").unwrap();
    let mut spec = command(&["./tool"]);
    spec.directory = Some(path.into());
    assert_fails(&spec, "is not executable");
    spec.argv = vec!["tool".into()];
    spec.env.insert("PATH".into(), path.into());
    assert_fails(&spec, "is in no folder of PATH");
    assert_fails(&spec, "tool is not executable");
    Command::new("chmod").arg("+x").arg(&file).status().unwrap();
    assert_fails(&spec, "a script needs a first line");
    fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    assert_fails(&spec, "its interpreter");
    fs::write(&file, "#!/bin/sh\n[ $TOLD = yes ]\n").unwrap();
    spec.env.insert("TOLD".into(), "yes".into());
    run(&spec).unwrap();
}

#[test]
fn environment_and_directory_are_the_workers_and_then_its_own() {
    let mut spec = shell("[ $OWN = 1 ] && [ -n \"$PATH\" ] && [ \"$(pwd -P)\" = / ]");
    spec.env.insert("OWN".into(), "1".into());
    spec.directory = Some("/".into());
    run(&spec).unwrap();
}

#[test]
fn answers_what_was_asked_before_the_input_ended() {
    let mut worker = Worker::start();
    worker.prepare(&shell("sleep 0.8")).unwrap();
    worker.send(&sample_request());
    worker.stdin = None;
    let lines: Vec<_> = worker.stdout.take().unwrap().lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(worker.process.wait().unwrap().success());
}
