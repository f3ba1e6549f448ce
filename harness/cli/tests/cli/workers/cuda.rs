//! The header with CUDA. Everywhere with a toolkit it is compiled, and its host side runs against a runtime without a
//! GPU, `fake_runtime.cpp`; where there is a GPU, it runs.

use std::path::{Path, PathBuf};

use assay_protocol::{DeviceKind, Reply, Request, TimingMode};

use super::{
    SANITIZERS, Session, built, chunk, compile, failed, hello, lines, prepare, prepared,
    repository, saxpy, saxpy_inputs, saxpy_outputs, session, skipped, suite_of_mine, verified,
};
use crate::helpers::{Place, have, state};

/// The folder of a CUDA toolkit, named by `ASSAY_CUDA`. Where there is none, says so, or fails if `ASSAY_REQUIRE` names `nvcc`.
fn toolkit() -> Option<PathBuf> {
    let named = std::env::var_os("ASSAY_CUDA").map(PathBuf::from);
    let toolkit = named.filter(|folder| folder.join("bin/nvcc").is_file());
    if toolkit.is_none() {
        let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
        assert!(
            !required.contains("nvcc"),
            "nvcc is required, and ASSAY_CUDA names no toolkit that has it"
        );
        println!("skipped: no nvcc (ASSAY_CUDA names no toolkit)");
    }
    toolkit.filter(|_| have("c++"))
}

const EXAMPLE: &str = "suites/workers/example_worker.cu";
const FAKE: &str = "harness/cli/tests/cli/workers/fake_runtime.cpp";

fn nvcc(dir: &Path, toolkit: &Path, flags: &[&str]) {
    let source = repository(EXAMPLE);
    let warnings = [
        "-Werror",
        "all-warnings",
        "-Xcompiler",
        "-Wall,-Wextra,-Werror",
        source.to_str().unwrap(),
    ];
    compile(dir, &toolkit.join("bin/nvcc"), &[&warnings, flags].concat());
}

/// The example on the fake runtime, both under sanitizers.
fn faked() -> Option<PathBuf> {
    let toolkit = toolkit()?;
    let files = [repository(EXAMPLE), repository(FAKE)];
    Some(built(
        "faked",
        &files,
        &[toolkit.to_str().unwrap()],
        |dir, program| {
            let for_nvcc = SANITIZERS.join(",");
            let flags = [
                "-arch=sm_90",
                "-Xcompiler",
                &for_nvcc,
                "-c",
                "-o",
                "example.o",
            ];
            nvcc(dir, &toolkit, &flags);
            let include = format!("-I{}", toolkit.join("include").display());
            let fake = repository(FAKE);
            let files = [&include, "example.o", fake.to_str().unwrap(), "-pthread"];
            let out = ["-o", program.to_str().unwrap()];
            compile(
                dir,
                Path::new("c++"),
                &[&SANITIZERS[..], &files, &out].concat(),
            );
        },
    ))
}

fn visit(device: &str, timing: TimingMode, samples: u32) -> Vec<Request> {
    vec![
        prepare("cuda-saxpy", device, timing, saxpy(1000)),
        chunk(samples, 20_000),
        Request::Verify,
        Request::Teardown,
    ]
}

/// A session with the fake runtime, whose variables are given without their prefix.
fn told(program: &Path, variables: &[(&str, &str)], requests: &[Request]) -> Session {
    let names: Vec<_> = variables
        .iter()
        .map(|(name, value)| (format!("FAKE_{name}"), (*value).to_owned()))
        .collect();
    let variables: Vec<_> = names
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    session(program, &variables, &lines(requests))
}

/// What the fake device executed in one visit, and the visit.
fn traced(
    program: &Path,
    variables: &[(&str, &str)],
    requests: &[Request],
) -> (Vec<String>, Session) {
    let place = Place::new();
    let path = place.path("trace");
    let trace = ("TRACE", path.to_str().unwrap());
    let variables = [variables, &[trace]].concat();
    let said = told(program, &variables, requests);
    (
        place.read("trace").lines().map(str::to_owned).collect(),
        said,
    )
}

#[test]
fn the_example_compiles_without_a_warning_and_runs_where_there_is_a_gpu() {
    let place = Place::new();
    let Some(toolkit) = toolkit() else { return };
    for architecture in ["-arch=sm_80", "-arch=sm_90"] {
        nvcc(
            &place.path(""),
            &toolkit,
            &[architecture, "-c", "-o", "example.o"],
        );
    }
    // Statically linked it runs on machines without a toolkit, and without a driver it still answers.
    let library = format!("-L{}", toolkit.join("lib").display());
    nvcc(
        &place.path(""),
        &toolkit,
        &["-arch=sm_80", "-cudart", "static", &library, "-o", "worker"],
    );
    let checked = place
        .assay("worker-check ./worker")
        .exits(0)
        .says(" 0 faults");
    if checked.stdout.contains("cannot run here") {
        println!("skipped: no GPU here");
    }
}

#[test]
fn the_example_passes_the_check_and_runs_in_every_timing_mode() {
    let Some(program) = faked() else { return };
    let place = Place::new();
    let benchmark = "worker = \"mine\"\nworkload = \"cuda-saxpy\"\ndevices = [\"cuda\"]\n\
        timing = [\"hot\", \"cold\", \"graph\", \"host\"]\nparams = { elements = 1000 }";
    suite_of_mine(&place, &program, benchmark);
    place
        .assay("worker-check --param elements=1000 ./worker")
        .exits(0)
        .says("11 checks, 0 faults");
    place.assay("run ./tiny.toml").exits(0);
    let run = place.assay("show --json").exits(0).json();
    let cases = run["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for mode in ["hot", "cold", "graph", "host"] {
        let found = cases.iter().find(|case| case["case"]["timing"] == mode);
        let found = found.unwrap_or_else(|| panic!("no {mode} in {run:#}"));
        assert_eq!(found["state"]["is"], "ok", "{found:#}");
    }
    assert_eq!(state(&run, "own/saxpy"), "ok ");
}

#[test]
fn inputs_and_outputs_are_those_of_rust_in_every_timing_mode() {
    let Some(program) = faked() else { return };
    for timing in [
        TimingMode::Hot,
        TimingMode::Cold,
        TimingMode::Graph,
        TimingMode::Host,
    ] {
        let requests = visit("cuda:H100", timing, 5);
        let said = told(&program, &[], &requests).exits(0);
        let (samples, ends) = said.judged(&requests);
        assert_eq!(samples.len(), 5);
        for sample in &samples {
            assert_eq!(sample.device_ns.is_some(), timing != TimingMode::Host);
            // The fake's clocks: 1.5 cycles each nanosecond.
            let clock_mhz = sample.values["sm_clock"];
            assert!((1400.0..1600.0).contains(&clock_mhz), "{clock_mhz}");
        }
        let uuid = prepared(&ends[0]).device.as_deref();
        assert_eq!(uuid, Some("GPU-e1e2e3e4-e5e6-e7e8-e9ea-ebecedeeeff0"));
        let resolution_ns = prepared(&ends[0]).timer_resolution_ns;
        assert_eq!(resolution_ns.is_some(), timing != TimingMode::Host);
        assert_eq!(prepared(&ends[0]).inputs, saxpy_inputs(1000));
        let verification = verified(&ends[2]);
        assert!(verification.passed, "{verification:?}");
        assert!(saxpy_outputs(1000).contains(&verification.output.unwrap()));
    }
}

#[test]
fn each_mode_times_what_it_says_and_nothing_else() {
    let Some(program) = faked() else { return };
    // The first launch is neither held back nor timed: its gate is open before it comes.
    let first = ["tick", "gate", "saxpy"];
    let modes: [(TimingMode, &[&str], &[&str]); 4] = [
        (
            TimingMode::Hot,
            &first,
            &["tick", "gate", "record", "saxpy", "record", "tick"],
        ),
        (
            TimingMode::Cold,
            &["tick", "sweep", "gate", "saxpy"],
            &["tick", "sweep", "gate", "record", "saxpy", "record", "tick"],
        ),
        (
            TimingMode::Graph,
            &["tick", "gate", "saxpy", "graph", "saxpy"],
            &["tick", "gate", "record", "graph", "saxpy", "record", "tick"],
        ),
        (TimingMode::Host, &first, &["tick", "saxpy", "tick"]),
    ];
    for (timing, first, sample) in modes {
        let case = prepare("cuda-saxpy", "cuda", timing, saxpy(1000));
        // No least time: every sample is one iteration.
        let requests = [case, chunk(2, 0)];
        let (trace, said) = traced(&program, &[], &requests);
        said.exits(0).judged(&requests);
        // Before all that, the resolution of events is looked for.
        let pairs = trace.iter().take_while(|word| *word == "record").count();
        assert_eq!(pairs > 0, timing != TimingMode::Host, "{timing}");
        assert_eq!(trace[pairs..], [first, sample, sample].concat(), "{timing}");
    }
}

#[test]
fn what_a_launch_costs_the_host_is_no_device_time() {
    const HALF_NS: u64 = 20_000_000;
    let Some(program) = faked() else { return };
    let shortest = |timing| {
        let case = prepare("cuda-saxpy", "cuda", timing, saxpy(1));
        let requests = [case, chunk(5, 0)];
        let said = told(&program, &[("LATENCY", "40")], &requests).exits(0);
        let (samples, _) = said.judged(&requests);
        // The shortest: a busy machine makes any of them long.
        let times = samples.iter().map(|s| s.device_ns.unwrap_or(s.host_ns));
        times.min().unwrap()
    };
    for timing in [TimingMode::Hot, TimingMode::Cold, TimingMode::Graph] {
        assert!(shortest(timing) < HALF_NS, "{timing}");
    }
    assert!(shortest(TimingMode::Host) >= 2 * HALF_NS);
}

#[test]
fn a_gate_that_times_out_invalidates_its_sample() {
    let Some(program) = faked() else { return };
    // The launches of priming and of the first sample wait for the device.
    let requests = visit("cuda", TimingMode::Cold, 2);
    let (trace, said) = traced(&program, &[("BLOCKING", "2"), ("PATIENCE", "1")], &requests);
    let (samples, ends) = said.exits(0).judged(&requests);
    assert_eq!(samples.len(), 2);
    assert!(verified(&ends[2]).passed);
    let count = |word| trace.iter().filter(|line| *line == word).count();
    let timeouts = count("timeout");
    assert!(timeouts >= 1, "{trace:?}");
    assert_eq!(count("saxpy"), 1 + timeouts + samples.len(), "{trace:?}");
}

#[test]
fn a_launch_that_always_waits_is_refused_cold_and_timed_hot_without_a_gate() {
    let Some(program) = faked() else { return };
    let always = [("BLOCKING", "1000000"), ("PATIENCE", "1")];
    let requests = visit("cuda", TimingMode::Cold, 2);
    let (_, said) = traced(&program, &always, &requests[..2]);
    let (_, ends) = said.exits(0).judged(&requests[..2]);
    let reason = failed(&ends[1]);
    assert!(reason.contains("20 samples in a row"), "{reason}");
    assert!(reason.contains("Then time it as `host`"), "{reason}");
    let requests = visit("cuda", TimingMode::Hot, 2);
    let (trace, said) = traced(&program, &always, &requests);
    let said = said.exits(0);
    assert_eq!(said.judged(&requests).0.len(), 2);
    assert!(said.log.contains("no longer held back"), "{}", said.log);
    assert_eq!(trace.iter().filter(|line| *line == "timeout").count(), 2);
}

#[test]
fn fewer_iterations_wait_where_a_stream_takes_few_launches() {
    let Some(program) = faked() else { return };
    let case = prepare("cuda-saxpy", "cuda", TimingMode::Hot, saxpy(1));
    let requests = [case, chunk(20, 1_000_000)];
    let (trace, said) = traced(&program, &[("DEPTH", "50"), ("PATIENCE", "1")], &requests);
    let (samples, _) = said.exits(0).judged(&requests);
    assert!(samples.last().unwrap().iterations > 50, "{samples:?}");
    assert!(trace.contains(&"timeout".to_owned()));
}

#[test]
fn a_device_error_that_stays_ends_the_worker() {
    let Some(program) = faked() else { return };
    for timing in [
        TimingMode::Hot,
        TimingMode::Cold,
        TimingMode::Graph,
        TimingMode::Host,
    ] {
        let requests = visit("cuda", timing, 5);
        let said = told(&program, &[("FAULT_AT", "4")], &requests).exits(1);
        let (_, ends) = said.judged(&requests[..2]);
        assert!(
            failed(&ends[1]).contains("cudaErrorIllegalAddress"),
            "{ends:?}"
        );
    }
}

#[test]
fn what_cannot_run_here_is_skipped_and_the_worker_goes_on() {
    let Some(program) = faked() else { return };
    let ends = |variables: &[_], requests: &[_]| {
        told(&program, variables, requests)
            .exits(0)
            .judged(requests)
            .1
    };
    let prepare =
        |device, elements| prepare("cuda-saxpy", device, TimingMode::Hot, saxpy(elements));
    let none = ends(&[("DEVICES", "0")], &[hello(), prepare("cuda", 10)]);
    let Reply::Hello(hello) = &none[0] else {
        panic!("{none:?}")
    };
    assert!(
        hello
            .devices
            .iter()
            .all(|device| device.kind == DeviceKind::Cpu)
    );
    assert!(!hello.software.contains_key("cuda_driver"));
    assert!(skipped(&none[1]).contains("no CUDA device: cudaErrorInsufficientDriver"));

    let both = [prepare("cuda", 1_000_000), prepare("cuda", 10), chunk(1, 0)];
    let both = ends(&[("MEMORY", "1000000")], &both);
    assert!(skipped(&both[0]).contains("not enough memory"), "{both:?}");
    assert!(matches!(both[2], Reply::Sampled { samples: 1 }), "{both:?}");

    let select =
        ["cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:B200"].map(|device| prepare(device, 10));
    let busy = ends(&[("BUSY", "1")], &select);
    let second = Some("GPU-e1e2e3e4-e5e6-e7e8-e9ea-ebecedeeeff0");
    assert_eq!(
        prepared(&busy[0]).device.as_deref(),
        second,
        "the first that is free"
    );
    assert!(skipped(&busy[1]).contains("Fake A100: cudaErrorDevicesUnavailable"));
    assert_eq!(prepared(&busy[2]).device.as_deref(), second);
    for other in &busy[3..] {
        assert!(skipped(other).contains("no CUDA device fits the selector; there are 2"));
    }
}
