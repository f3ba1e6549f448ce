//! The built-in worker's loop, and the example worker in Python, driven as a harness would: every line of
//! every reply is judged by the rules of the protocol.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use assay_protocol::{
    CaseSpec, DeviceKind, DeviceSelector, Exchange, Hello, MAX_LINE_BYTES, Metric, ParamValue,
    ParameterInfo, Params, Prepared, Reply, Request, Sample, SampleRequest, Step, TimingMode,
    Verification, WorkloadInfo,
};

const HELLO: Request = Request::Hello { protocol: 1 };
const CHUNK: SampleRequest = SampleRequest {
    max_samples: 20,
    max_ns: 50_000_000,
    min_sample_ns: 20_000,
};

fn case(workload: &str, params: Params) -> CaseSpec {
    CaseSpec {
        workload: workload.into(),
        params,
        seed: 11.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    }
}

fn text(value: &str) -> ParamValue {
    ParamValue::Text(value.into())
}

/// Sends whole lines to the loop and gives back the lines that it answers.
fn serve(input: &[u8]) -> Vec<Vec<u8>> {
    let mut output = vec![];
    assay_suites::serve(input, &mut output).unwrap();
    assert!(output.is_empty() || output.ends_with(b"\n"));
    output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn lines(requests: &[Request]) -> Vec<u8> {
    let line = |request| [serde_json::to_vec(request).unwrap(), b"\n".to_vec()].concat();
    requests.iter().flat_map(line).collect()
}

/// Judges the replies to some requests in a row: the samples, and how each reply ended.
fn judge(requests: &[Request], replies: Vec<Vec<u8>>) -> (Vec<Sample>, Vec<Reply>) {
    let (mut samples, mut ends) = (vec![], vec![]);
    let mut metrics: Vec<Metric> = vec![];
    let mut earlier_ns = 0;
    let mut replies = replies.into_iter();
    for request in requests {
        let mut exchange = Exchange::new(request, &metrics, earlier_ns);
        let end = loop {
            let line = replies.next().expect("the reply to end");
            match exchange.accept(&line).unwrap() {
                Step::Sample(sample) => samples.push(sample),
                Step::Progress(_) => {}
                Step::Done(end) => break end,
            }
        };
        earlier_ns = exchange.last_end_ns();
        if let Reply::Prepared(prepared) = &end {
            metrics.clone_from(&prepared.metrics);
        }
        ends.push(end);
    }
    assert_eq!(replies.next(), None, "nothing after the last reply");
    (samples, ends)
}

fn run(requests: &[Request]) -> (Vec<Sample>, Vec<Reply>) {
    judge(requests, serve(&lines(requests)))
}

fn whole_case(case: CaseSpec) -> Vec<Request> {
    let sample = Request::Sample(CHUNK);
    vec![
        HELLO,
        Request::Prepare { case },
        sample.clone(),
        sample,
        Request::Verify,
        Request::Teardown,
    ]
}

fn hello() -> Hello {
    match run(&[HELLO]).1.remove(0) {
        Reply::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// Small parameters for a workload: its defaults, and for what has none and is asked for 65, or less where sizes are multiplied.
fn small(info: &WorkloadInfo) -> Params {
    let on_cpu = |p: &&ParameterInfo| p.devices.is_empty() || p.devices.contains(&DeviceKind::Cpu);
    let params = info.parameters.iter().filter(on_cpu);
    let params = params.filter(|p| !p.optional);
    params
        .map(|p| {
            let least = match p.name.as_str() {
                "width" => 130,            // of 65 heads, each a pair
                "squares" | "window" => 3, // the side of a picture is their product
                _ => 65,
            };
            let value = p.default.clone().unwrap_or(ParamValue::Int(least));
            (p.name.clone(), value)
        })
        .collect()
}

/// Everything that runs on the host but `fault`, whose parameter has no default, and `command`, which is tested on its own.
fn ordinary() -> Vec<WorkloadInfo> {
    let mut workloads = hello().workloads;
    workloads.retain(|info| info.devices.contains(&DeviceKind::Cpu));
    workloads.retain(|info| !["fault", "command"].contains(&info.name.as_str()));
    workloads
}

fn verification(ends: &[Reply]) -> &Verification {
    let found = ends.iter().find_map(|end| match end {
        Reply::Verified(verification) => Some(verification),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no verification: {ends:?}"))
}

fn prepared(ends: &[Reply]) -> &Prepared {
    let found = ends.iter().find_map(|end| match end {
        Reply::Prepared(prepared) => Some(prepared),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("nothing prepared: {ends:?}"))
}

fn reason(end: &Reply) -> &str {
    match end {
        Reply::Failed { reason } | Reply::Skipped { reason } => reason,
        other => panic!("neither failed nor skipped: {other:?}"),
    }
}

#[test]
fn every_workload_runs_and_is_right_and_repeats_itself() {
    for info in ordinary() {
        let requests = whole_case(case(&info.name, small(&info)));
        let (samples, ends) = run(&requests);
        assert!(samples.len() >= 2, "{}: {ends:?}", info.name);
        let verdict = verification(&ends);
        assert!(verdict.passed, "{}: {verdict:?}", info.name);
        // What only writes has no inputs.
        let has_inputs = !prepared(&ends).inputs.is_empty();
        assert!(
            verdict.output.is_some()
                && has_inputs != ["memset", "synth-items"].contains(&info.name.as_str()),
            "{}",
            info.name
        );
        assert!(!prepared(&ends).work.formula.is_empty(), "{}", info.name);
        assert!(prepared(&ends).deterministic, "{}", info.name);
        assert!(
            matches!(ends.last(), Some(Reply::TornDown { .. })),
            "{}",
            info.name
        );
        let (_, again) = run(&requests);
        assert_eq!(prepared(&again), prepared(&ends), "{}", info.name);
        assert_eq!(verification(&again).output, verdict.output, "{}", info.name);
    }
}

#[test]
fn says_who_it_is() {
    let hello = hello();
    let names: Vec<_> = hello
        .workloads
        .iter()
        .map(|info| info.name.as_str())
        .collect();
    for expected in [
        "stream-triad",
        "stream-dot",
        "sum",
        "transpose",
        "gemm",
        "softmax",
        "spin",
        "fault",
    ] {
        assert!(names.contains(&expected), "{names:?}");
    }
    assert!(
        names
            .iter()
            .all(|name| names.iter().filter(|other| *other == name).count() == 1)
    );
    for key in ["libc", "kernel", "rustc", "simd"] {
        assert!(hello.software.contains_key(key), "{:?}", hello.software);
    }
    assert_eq!(hello.devices.len(), 1);
}

#[test]
fn batches_until_samples_are_long_enough_and_keeps_the_batch() {
    let mut requests = whole_case(case("spin", [("steps".into(), ParamValue::Int(10))].into()));
    requests.truncate(4);
    let (samples, _) = run(&requests);
    let last = samples.last().unwrap();
    assert!(last.host_ns >= CHUNK.min_sample_ns / 2, "{last:?}");
    assert!(samples.is_sorted_by_key(|sample| sample.iterations));
    let second_chunk = &samples[CHUNK.max_samples as usize];
    assert!(
        second_chunk.iterations > 1,
        "the batch is kept from one chunk to the next"
    );
}

#[test]
fn a_chunk_ends_by_count_or_by_time_but_never_empty() {
    let steps = |steps| case("spin", [("steps".into(), ParamValue::Int(steps))].into());
    let chunk = |max_samples, max_ns| {
        Request::Sample(SampleRequest {
            max_samples,
            max_ns,
            min_sample_ns: 0,
        })
    };
    let count = |case, chunk| run(&[Request::Prepare { case }, chunk]).0.len();
    assert_eq!(count(steps(1000), chunk(7, u64::MAX)), 7);
    assert_eq!(count(steps(10_000_000), chunk(7, 0)), 1);
    assert!(count(steps(1_000_000), chunk(100_000, 20_000_000)) < 1000);
}

#[test]
fn bad_requests_fail_in_words_and_the_loop_goes_on() {
    let steps = |value| case("spin", [("steps".into(), value)].into());
    let cuda = CaseSpec {
        device: "cuda".parse().unwrap(),
        ..steps(ParamValue::Int(1))
    };
    let cold = CaseSpec {
        timing: TimingMode::Cold,
        ..steps(ParamValue::Int(1))
    };
    let extra = case(
        "spin",
        [
            ("steps".into(), ParamValue::Int(1)),
            ("stops".into(), text("x")),
        ]
        .into(),
    );
    let zero = SampleRequest {
        max_samples: 0,
        ..CHUNK
    };
    let expected = [
        (Request::Sample(CHUNK), "no case is prepared"),
        (Request::Verify, "no case is prepared"),
        (Request::Teardown, "no case is prepared"),
        (
            Request::Prepare {
                case: case("nonsense", Params::new()),
            },
            "no workload is called `nonsense`",
        ),
        (
            Request::Prepare {
                case: case("spin", Params::new()),
            },
            "`steps` is missing",
        ),
        (
            Request::Prepare {
                case: steps(text("many")),
            },
            "`steps`: expected an integer",
        ),
        (
            Request::Prepare {
                case: steps(ParamValue::Int(0)),
            },
            "`steps`: expected an integer of at least 1",
        ),
        (Request::Prepare { case: extra }, "no parameter `stops`"),
        (Request::Prepare { case: cuda }, "does not run on cuda"),
        (Request::Prepare { case: cold }, "timing mode `cold`"),
        (
            Request::Prepare {
                case: steps(ParamValue::Int(1)),
            },
            "",
        ),
        (Request::Sample(zero), "`max_samples`"),
        (Request::Teardown, ""),
    ];
    let requests: Vec<_> = expected
        .iter()
        .map(|(request, _)| request.clone())
        .collect();
    for ((request, words), end) in expected.iter().zip(run(&requests).1) {
        match end {
            Reply::Failed { .. } | Reply::Skipped { .. } => {
                assert!(
                    !words.is_empty() && reason(&end).contains(words),
                    "{request:?}: {end:?}"
                );
            }
            _ => assert!(words.is_empty(), "{request:?}: {end:?}"),
        }
    }
}

#[test]
fn what_is_no_request_fails_and_the_loop_goes_on() {
    let long = vec![b' '; MAX_LINE_BYTES + 1];
    let bad: [&[u8]; 7] = [
        b"",
        b"{}",
        b"not json",
        b"{\"request\":\"dance\"}",
        b"{\"request\":\"sample\",\"max_samples\":1,\"max_ns\":1,\"min_sample_ns\":1,\"more\":1}",
        b"\xff\xfe",
        &long,
    ];
    let mut input = vec![];
    for line in bad {
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    input.extend(lines(&[HELLO]));
    let mut requests = vec![Request::Verify; bad.len()];
    requests.push(HELLO);
    let (_, ends) = judge(&requests, serve(&input));
    let (last, failures) = ends.split_last().unwrap();
    assert!(
        failures
            .iter()
            .all(|end| matches!(end, Reply::Failed { .. })),
        "{failures:?}"
    );
    assert!(reason(&failures[6]).contains("longer than"));
    assert!(matches!(last, Reply::Hello(_)));
}

#[test]
fn a_line_of_the_greatest_length_is_served() {
    let mut line = serde_json::to_vec(&HELLO).unwrap();
    line.resize(MAX_LINE_BYTES, b' ');
    assert!(matches!(
        judge(&[HELLO], serve(&line)).1[0],
        Reply::Hello(_)
    ));
}

fn fault(mode: &str) -> CaseSpec {
    case("fault", [("mode".into(), text(mode))].into())
}

#[test]
fn faults_that_are_answers() {
    let (_, ends) = run(&[Request::Prepare {
        case: fault("skip"),
    }]);
    assert!(matches!(ends[0], Reply::Skipped { .. }));
    let (_, ends) = run(&whole_case(fault("wrong")));
    assert!(!verification(&ends).passed);
    let (_, ends) = run(&whole_case(fault("none")));
    assert!(verification(&ends).passed);
    // A panic costs the case, not the worker.
    let (_, ends) = run(&whole_case(fault("panic")));
    assert!(
        reason(&ends[2]).contains("panicked: on purpose"),
        "{ends:?}"
    );
    assert!(reason(&ends[3]).contains("no case is prepared"));
}

/// A worker program, driven over its pipes.
struct Worker {
    child: Child,
    replies: BufReader<ChildStdout>,
}

impl Worker {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        Self { child, replies }
    }

    fn built_in() -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_assay-worker")).stderr(Stdio::null()))
    }

    /// Sends a request and judges the reply, up to its end or the first fault.
    fn ask(&mut self, request: &Request) -> Result<Reply, assay_protocol::Fault> {
        let mut line = lines(std::slice::from_ref(request));
        self.child.stdin.as_mut().unwrap().write_all(&line).unwrap();
        let mut exchange = Exchange::new(request, &[], 0);
        loop {
            line.clear();
            if self.replies.read_until(b'\n', &mut line).unwrap() == 0 {
                return Err(exchange.truncated());
            }
            if let Step::Done(end) = exchange.accept(line.trim_ascii_end())? {
                return Ok(end);
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself, as some faults have it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn faults_that_break_the_protocol_are_told_apart() {
    let expected = [
        ("crash", "ended before"),
        ("truncated", "ended before"),
        ("rubbish", "not a protocol line"),
        ("too-many-samples", "more samples than"),
        ("zero-time", "zero time"),
        ("negative-time", "not a protocol line"),
        ("nan-time", "not a protocol line"),
        ("clock-back", "the clock went back"),
    ];
    for (mode, words) in expected {
        let mut worker = Worker::built_in();
        worker.ask(&Request::Prepare { case: fault(mode) }).unwrap();
        let fault = worker.ask(&Request::Sample(CHUNK)).unwrap_err();
        assert!(fault.to_string().contains(words), "{mode}: {fault}");
    }
}

#[test]
fn injected_work_is_announced() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-worker"));
    let mut worker = Worker::start(command.env("ASSAY_SPIN_EXTRA_PERMILLE", "100"));
    let Ok(Reply::Hello(hello)) = worker.ask(&HELLO) else {
        panic!("no hello")
    };
    assert_eq!(
        hello.software["fault_injection"],
        "ASSAY_SPIN_EXTRA_PERMILLE=100"
    );
    let steps = [("steps".into(), ParamValue::Int(1000))];
    worker
        .ask(&Request::Prepare {
            case: case("spin", steps.into()),
        })
        .unwrap();
    worker.ask(&Request::Sample(CHUNK)).unwrap();
    let Ok(Reply::Verified(verdict)) = worker.ask(&Request::Verify) else {
        panic!("no verdict")
    };
    assert!(verdict.passed);
}

#[test]
fn ends_when_its_input_does() {
    let mut worker = Worker::built_in();
    worker.ask(&HELLO).unwrap();
    drop(worker.child.stdin.take());
    assert!(worker.child.wait().unwrap().success());
}

/// The example worker, unless there is no Python here and nobody insists.
fn python(input: &[u8]) -> Option<Vec<Vec<u8>>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("workers/example_worker.py");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
            assert!(
                !required.contains("python3"),
                "python3 is required: {error}"
            );
            println!("skipped: no python3 here ({error})");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    Some(lines.map(<[u8]>::to_vec).collect())
}

#[test]
fn the_example_in_python_speaks_the_protocol() {
    let requests = whole_case(case(
        "py-sort",
        [("elements".into(), ParamValue::Int(501))].into(),
    ));
    let Some(replies) = python(&lines(&requests)) else {
        return;
    };
    let (samples, ends) = judge(&requests, replies);
    assert!(samples.len() >= 2);
    assert!(verification(&ends).passed);
    let (_, again) = judge(&requests, python(&lines(&requests)).unwrap());
    assert_eq!(verification(&again).output, verification(&ends).output);
}

#[test]
fn the_example_in_python_refuses_in_words() {
    let requests = [
        Request::Verify,
        Request::Prepare {
            case: case("nonsense", Params::new()),
        },
        Request::Prepare {
            case: case("py-sort", [("elements".into(), ParamValue::Int(0))].into()),
        },
        HELLO,
    ];
    let Some(replies) = python(&lines(&requests)) else {
        return;
    };
    let (_, ends) = judge(&requests, replies);
    let words = ["no case is prepared", "`nonsense`", "`elements`"];
    for (end, words) in ends.iter().zip(words) {
        assert!(reason(end).contains(words), "{end:?}");
    }
}
