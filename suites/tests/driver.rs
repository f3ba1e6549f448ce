//! The whole path to a CUDA device without one: the worker program, with real cubins from NVRTC, on the emulated driver.
//!
//! Every op that the emulation can run, in every timing mode; kernels of the user's own; and what a device can do
//! to a worker: fail, be full, be absent, open the gate by itself.

mod driver {
    pub mod emulated;
    mod ranks;
    mod synthetic;
    pub mod training;
    mod user;
    pub mod worker;
}

use assay_kernels::ops;
use assay_kernels::program::{Program, Step};
use assay_protocol::{
    CaseSpec, DeviceKind, ParamValue, Params, Prepared, Reply, Request, SampleRequest, TimingMode,
    Verification,
};

use driver::emulated;
use driver::worker::Worker;

/// No multiple of anything.
const SIZE: i64 = 67;
const MODES: [TimingMode; 4] = [
    TimingMode::Hot,
    TimingMode::Cold,
    TimingMode::Graph,
    TimingMode::Host,
];
const CHUNK: SampleRequest = SampleRequest {
    max_samples: 3,
    max_ns: 1 << 40,
    min_sample_ns: 30_000,
};

/// The ops whose library, cuFFT, is emulated.
const TRANSFORMS: &[&str] = &["fft", "power-spectrum"];

/// Whether the emulation can run all of a program, which is an op's.
fn is_emulated(program: &Program, op: &str) -> bool {
    let is_step = |step: &Step| !matches!(step, Step::Library(_)) || TRANSFORMS.contains(&op);
    !program.cuda.is_empty()
        && program.cuda.iter().all(is_step)
        && program.launches().all(|launch| launch.source.emulated)
}

/// What a case that ran has to show.
#[derive(Debug)]
struct Ran {
    prepared: Prepared,
    iterations: Vec<u64>,
    verification: Verification,
}

/// Runs a case from its preparation to its end. An error is the reply that was not expected.
fn run(worker: &mut Worker, case: CaseSpec, chunk: SampleRequest) -> Result<Ran, String> {
    let timing = case.timing;
    let (_, end) = worker.ask(&Request::Prepare { case });
    let Reply::Prepared(prepared) = end else {
        return Err(format!("{end:?}"));
    };
    let (samples, end) = worker.ask(&Request::Sample(chunk));
    let Reply::Sampled { .. } = end else {
        return Err(format!("{end:?}"));
    };
    for sample in &samples {
        if sample.device_ns.is_some() == (timing == TimingMode::Host) {
            return Err(format!("times of the wrong clock: {sample:?}"));
        }
        if timing == TimingMode::Cold && sample.iterations != 1 {
            return Err(format!("more than one cold iteration: {sample:?}"));
        }
    }
    let (_, end) = worker.ask(&Request::Verify);
    let Reply::Verified(verification) = end else {
        return Err(format!("{end:?}"));
    };
    let (_, end) = worker.ask(&Request::Teardown);
    let Reply::TornDown { .. } = end else {
        return Err(format!("{end:?}"));
    };
    Ok(Ran {
        prepared,
        iterations: samples.iter().map(|sample| sample.iterations).collect(),
        verification,
    })
}

/// The same of a case that has to be right.
fn run_right(worker: &mut Worker, case: CaseSpec) -> Result<Ran, String> {
    let ran = run(worker, case, CHUNK)?;
    if ran.verification.passed {
        Ok(ran)
    } else {
        Err(format!("{ran:?}"))
    }
}

fn cuda_case(workload: &str, params: &[(&str, ParamValue)], timing: TimingMode) -> CaseSpec {
    CaseSpec {
        workload: workload.into(),
        params: params
            .iter()
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect::<Params>(),
        seed: 3.into(),
        device: "cuda".parse().unwrap(),
        timing,
        command: None,
        kernel: None,
    }
}

fn text(value: &str) -> ParamValue {
    ParamValue::Text(value.into())
}

fn triad(elements: i64, timing: TimingMode) -> CaseSpec {
    let params = [
        ("elements", ParamValue::Int(elements)),
        ("dtype", text("f32")),
        ("variant", text("vector")),
    ];
    cuda_case("stream-triad", &params, timing)
}

fn reason(end: &Reply) -> &str {
    match end {
        Reply::Failed { reason } | Reply::Skipped { reason } => reason,
        other => panic!("neither failed nor skipped: {other:?}"),
    }
}

#[test]
fn every_op_runs_in_every_timing_mode_and_is_right() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let mut failures = vec![];
    let mut count = 0;
    for timing in MODES {
        let mut worker = Worker::start(folder, &[]);
        for case in ops::cases(DeviceKind::Cuda, SIZE) {
            let program = ops::program(&case).unwrap();
            if !is_emulated(&program, &case.workload) {
                continue;
            }
            // So little is no measure of memory, and refused: it would be many times the second cache.
            if case.params.get("level") == Some(&text("dram")) {
                continue;
            }
            if !program
                .launches()
                .all(|launch| launch.source.supports("90a"))
            {
                continue;
            }
            // What the driver does by itself has neither kernel nor library to tell of.
            let calls = |step: &Step| matches!(step, Step::Launch(_) | Step::Library(_));
            let is_told = program.setup.iter().chain(&program.cuda).any(calls);
            let case = CaseSpec { timing, ..case };
            let name = format!("{} {:?} {timing}", case.workload, case.params);
            count += 1;
            match run_right(&mut worker, case) {
                Ok(ran) => {
                    let prepared = &ran.prepared;
                    assert!(prepared.device.is_some(), "{name}: {prepared:?}");
                    assert_eq!(prepared.facts.is_empty(), !is_told, "{name}: {prepared:?}");
                    assert_eq!(
                        prepared.timer_resolution_ns.is_some(),
                        timing != TimingMode::Host,
                        "{name}"
                    );
                }
                Err(reason) => {
                    failures.push(format!("{name}: {reason}"));
                    worker = Worker::start(folder, &[]);
                }
            }
        }
        let (status, words) = worker.end();
        assert!(
            status.success() && words.is_empty(),
            "{timing}: {status} {words}"
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{count} cases");
}

/// Every case of the workloads that are no programs of kernels, over all choices.
fn system_cases() -> Vec<CaseSpec> {
    let ops: Vec<_> = ops::cases(DeviceKind::Cuda, SIZE)
        .into_iter()
        .map(|case| case.workload)
        .collect();
    let infos = assay_suites::catalog().iter().map(|entry| entry.info());
    let infos = infos.filter(|info| {
        info.devices == [DeviceKind::Cuda] && info.name != "kernel" && !ops.contains(&info.name)
    });
    let mut cases = vec![];
    for info in infos {
        let mut all = vec![Params::new()];
        for parameter in &info.parameters {
            let sizes = [ParamValue::Int(SIZE), ParamValue::Int(1 << 18)];
            let values = if parameter.choices.is_empty() {
                &sizes[..]
            } else {
                &parameter.choices
            };
            let with = |params: &Params, value: &ParamValue| {
                let mut params = params.clone();
                params.insert(parameter.name.clone(), value.clone());
                params
            };
            all = all
                .iter()
                .flat_map(|params| values.iter().map(move |value| with(params, value)))
                .collect();
        }
        for timing in &info.timing {
            cases.extend(all.iter().map(|params| CaseSpec {
                params: params.clone(),
                ..cuda_case(&info.name, &[], *timing)
            }));
        }
    }
    cases
}

/// From the sums that define them to the record: version and workspace of the library, and the kernels around it.
#[test]
fn transforms_name_their_library() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let mut worker = Worker::start(folder, &[]);
    let cases = ops::cases(DeviceKind::Cuda, SIZE).into_iter();
    let cases = cases.filter(|case| TRANSFORMS.contains(&case.workload.as_str()));
    for case in cases {
        let name = format!("{} {:?}", case.workload, case.params);
        let ran = run_right(&mut worker, case).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        let facts = ran.prepared.facts;
        assert_eq!(facts["cufft"], "12.0.999", "{name}");
        assert_eq!(facts["cufft workspace"], "64 B", "{name}");
    }
    let (status, words) = worker.end();
    assert!(status.success() && words.is_empty(), "{status} {words}");
}

#[test]
fn transfers_allocations_and_calls_run_and_are_right() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let cases = system_cases();
    let count = |name| cases.iter().filter(|case| case.workload == name).count();
    assert_eq!(
        [
            "transfer",
            "overlap",
            "managed",
            "allocation",
            "driver-call"
        ]
        .map(count),
        [20, 8, 8, 8, 4]
    );
    let mut worker = Worker::start(folder, &[]);
    for case in cases {
        let name = format!("{} {:?} {}", case.workload, case.params, case.timing);
        let (_, end) = worker.ask(&Request::Prepare { case: case.clone() });
        assert!(matches!(end, Reply::Prepared(_)), "{name}: {end:?}");
        let (_, end) = worker.ask(&Request::Verify);
        assert!(
            matches!(&end, Reply::Verified(verification) if !verification.passed),
            "{name}, before any sample: {end:?}"
        );
        run_right(&mut worker, case).unwrap_or_else(|reply| panic!("{name}: {reply}"));
    }
    let (status, words) = worker.end();
    assert!(status.success() && words.is_empty(), "{status} {words}");
}

#[test]
fn a_device_is_listed_with_its_uuid() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let variables = [
        ("ASSAY_EMULATED_DEVICES", "2"),
        ("ASSAY_EMULATED_NAME", "Emulated X1"),
    ];
    let mut worker = Worker::start(folder, &variables);
    let (_, Reply::Hello(hello)) = worker.ask(&Request::Hello { protocol: 1 }) else {
        panic!("no hello");
    };
    let gpus: Vec<_> = hello
        .devices
        .iter()
        .filter(|device| device.kind == DeviceKind::Cuda)
        .collect();
    // "Emulated device" and the device's number, in hexadecimal.
    let uuid = |last| Some(format!("GPU-456d756c-6174-6564-2064-65766963650{last}"));
    assert_eq!(gpus.len(), 2);
    assert_eq!(gpus[1].name, "Emulated X1");
    assert_eq!([&gpus[0].uuid, &gpus[1].uuid], [&uuid(0), &uuid(1)]);
    assert!(hello.software.contains_key("cuda_driver") && hello.software.contains_key("nvrtc"));
    for (selector, expected) in [("cuda:1", uuid(1)), ("cuda:X1", uuid(0))] {
        let case = CaseSpec {
            device: selector.parse().unwrap(),
            ..triad(SIZE, TimingMode::Hot)
        };
        assert_eq!(
            run_right(&mut worker, case).unwrap().prepared.device,
            expected
        );
    }
    let case = CaseSpec {
        device: "cuda:H100".parse().unwrap(),
        ..triad(SIZE, TimingMode::Hot)
    };
    let (_, end) = worker.ask(&Request::Prepare { case });
    assert!(
        matches!(&end, Reply::Skipped { reason } if reason.contains("Emulated X1")),
        "{end:?}"
    );
}

/// Whatever launch fails, the worker says so and ends, and a fresh one goes on.
#[test]
fn a_worker_that_lost_its_device_says_so_and_ends() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let mut failed = 0;
    for timing in MODES {
        for launch in ["1", "4", "9", "17"] {
            let mut worker = Worker::start(folder, &[("ASSAY_EMULATED_FAIL_LAUNCH", launch)]);
            // In a mode of few launches the last may be none of this case.
            if let Err(reply) = run(&mut worker, triad(SIZE, timing), CHUNK) {
                failed += 1;
                let is_told =
                    reply.starts_with("Failed") && reply.contains("CUDA_ERROR_ILLEGAL_ADDRESS");
                assert!(is_told, "{timing} {launch}: {reply}");
                assert!(worker.wait().success(), "{timing} {launch}");
            }
        }
    }
    assert!(failed >= 8, "{failed}");
}

#[test]
fn what_does_not_fit_is_skipped_and_the_worker_goes_on() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let mut worker = Worker::start(folder, &[("ASSAY_EMULATED_MEMORY", "33554432")]);
    let (_, end) = worker.ask(&Request::Prepare {
        case: triad(1 << 22, TimingMode::Hot),
    });
    assert!(
        matches!(&end, Reply::Skipped { reason } if reason.contains("not enough memory on the device")),
        "{end:?}"
    );
    // It fits, but not beside what is needed to flush the L2: the driver says so.
    let elements = 2_500_000;
    let (_, end) = worker.ask(&Request::Prepare {
        case: triad(elements, TimingMode::Cold),
    });
    assert!(
        matches!(&end, Reply::Skipped { reason } if reason.contains("OUT_OF_MEMORY")),
        "{end:?}"
    );
    // All that was allocated for these was given back: one after the other, this would not fit otherwise.
    for _ in 0..3 {
        run_right(&mut worker, triad(elements, TimingMode::Host)).unwrap();
    }
}

#[test]
fn no_device_is_said() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let mut worker = Worker::start(folder, &[("ASSAY_EMULATED_DEVICES", "0")]);
    let (_, Reply::Hello(hello)) = worker.ask(&Request::Hello { protocol: 1 }) else {
        panic!("no hello");
    };
    assert!(
        hello
            .devices
            .iter()
            .all(|device| device.kind == DeviceKind::Cpu)
    );
    let (_, end) = worker.ask(&Request::Prepare {
        case: triad(SIZE, TimingMode::Hot),
    });
    assert!(
        matches!(&end, Reply::Skipped { reason } if reason == "no CUDA device"),
        "{end:?}"
    );
}

/// With a queue that holds less than a sample, all is not enqueued before the gate opens by itself.
#[test]
fn samples_whose_gate_opened_by_itself_are_no_observations() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let long = SampleRequest {
        min_sample_ns: 1 << 40,
        ..CHUNK
    };
    let mut worker = Worker::start(folder, &[("ASSAY_EMULATED_QUEUE", "8")]);
    let reply = run(&mut worker, triad(SIZE, TimingMode::Hot), long).unwrap_err();
    let expected =
        "samples in a row were invalid, the last: the gate opened before all was enqueued";
    assert!(reply.contains(expected), "{reply}");
    // The worker is none the worse for it, and one iteration fits.
    run_right(&mut worker, triad(SIZE, TimingMode::Cold)).unwrap();
    // The queue of a GPU holds the longest sample.
    let mut worker = Worker::start(folder, &[]);
    let ran = run(&mut worker, triad(SIZE, TimingMode::Hot), long).unwrap();
    assert!(
        ran.verification.passed && ran.iterations[2] > 100,
        "{ran:?}"
    );
}

/// nstream adds to what is there, and is judged by how often: it is put back before each sample.
#[test]
fn inputs_that_iterations_change_are_put_back() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let params = [
        ("elements", ParamValue::Int(1000)),
        ("dtype", text("f64")),
        ("variant", text("scalar")),
    ];
    let mut worker = Worker::start(folder, &[]);
    for timing in MODES {
        let chunk = SampleRequest {
            min_sample_ns: 1 << 40,
            ..CHUNK
        };
        let case = cuda_case("stream-nstream", &params, timing);
        let ran = run(&mut worker, case, chunk).unwrap();
        assert!(ran.verification.passed, "{timing}: {ran:?}");
        assert!(
            timing == TimingMode::Cold || ran.iterations.last() > Some(&1),
            "{timing}: {ran:?}"
        );
    }
}
