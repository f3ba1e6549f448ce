//! Trainings on the emulated GPU, beside the same ones on the host.

use std::collections::BTreeMap;
use std::path::Path;

use assay_protocol::{
    CaseSpec, MetricKind, ParamValue, Params, Prepared, Reply, Request, Sample, SampleRequest,
    TimingMode, Verification,
};

use super::emulated::{self, Mistake};
use super::worker::Worker;

pub const STEPS: usize = 4;
/// How far a loss may be from that on the host, relative to it: a few roundings of 2^-24, for sums are added up in other orders. (As
/// measured: 3e-8 at most.)
pub const APART: f64 = 1e-6;
/// The same of numbers that are rounded to 16 bits: one that falls to the other side of a tie is off by some 2^-11 itself.
const APART_STORED: f64 = 1e-4;

pub type Given<'a> = (&'a str, ParamValue);

pub fn int(value: i64) -> ParamValue {
    ParamValue::Int(value)
}

pub fn text(value: &str) -> ParamValue {
    ParamValue::Text(value.into())
}

/// A case of a workload, with defaults for what is not given.
fn case(workload: &str, device: &str, given: &[Given]) -> CaseSpec {
    let catalog = assay_suites::catalog().iter();
    let mut infos = catalog.map(|entry| entry.info());
    let info = infos.find(|info| info.name == workload).unwrap();
    let device: assay_protocol::DeviceSelector = device.parse().unwrap();
    let own = info.parameters.into_iter();
    let mut params: Params = own
        .filter(|p| p.devices.is_empty() || p.devices.contains(&device.kind))
        .filter_map(|info| Some((info.name, info.default?)))
        .collect();
    for (name, value) in given {
        let is_known = params.insert((*name).to_owned(), value.clone()).is_some();
        assert!(is_known, "{name}");
    }
    CaseSpec {
        workload: workload.into(),
        params,
        seed: 5.into(),
        device,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    }
}

/// A small language model.
pub fn model(device: &str, given: &[Given]) -> CaseSpec {
    let sizes = [
        ("batch", 2),
        ("length", 8),
        ("layers", 1),
        ("width", 16),
        ("heads", 2),
        ("steps", STEPS as i64),
        ("corpus", 3000),
    ];
    let sizes = sizes.map(|(name, size)| (name, int(size)));
    case("train-lm", device, &[&sizes[..], given].concat())
}

/// What a training came to.
#[derive(Debug)]
pub struct Trained {
    pub prepared: Prepared,
    pub samples: Vec<Sample>,
    pub verification: Verification,
    pub values: BTreeMap<String, f64>,
}

impl Trained {
    pub fn losses(&self) -> Vec<f64> {
        let samples = self.samples.iter();
        samples.map(|sample| sample.values["loss"]).collect()
    }

    pub fn bits(&self) -> Vec<u64> {
        self.losses().into_iter().map(f64::to_bits).collect()
    }
}

/// Trains in a worker of its own, some samples of it; an error is the reply that was not expected.
pub fn train(folder: &Path, case: CaseSpec, samples: usize) -> Result<Trained, String> {
    train_in(&mut Worker::start(folder, &[]), case, samples)
}

pub fn train_in(worker: &mut Worker, case: CaseSpec, samples: usize) -> Result<Trained, String> {
    let (_, end) = worker.ask(&Request::Prepare { case });
    let Reply::Prepared(prepared) = end else {
        return Err(format!("{end:?}"));
    };
    let chunk = SampleRequest {
        max_samples: samples as u32,
        max_ns: 1 << 60,
        min_sample_ns: 0,
    };
    let (samples, end) = worker.ask(&Request::Sample(chunk));
    let Reply::Sampled { .. } = end else {
        return Err(format!("{end:?}"));
    };
    let (_, end) = worker.ask(&Request::Verify);
    let Reply::Verified(verification) = end else {
        return Err(format!("{end:?}"));
    };
    let (_, end) = worker.ask(&Request::Teardown);
    let Reply::TornDown { values } = end else {
        return Err(format!("{end:?}"));
    };
    Ok(Trained {
        prepared,
        samples,
        verification,
        values,
    })
}

pub fn largest_distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    pairs
        .map(|(found, expected)| (found - expected).abs() / expected.abs())
        .fold(0.0, f64::max)
}

/// Every choice once, in as few models: each has kernels of its own to be compiled.
fn variants() -> Vec<(&'static str, f64, Vec<Given<'static>>)> {
    vec![
        ("plain", APART, vec![("layers", int(2))]),
        (
            "newer",
            APART,
            vec![
                ("position", text("rope")),
                ("norm", text("rmsnorm")),
                ("activation", text("swiglu")),
                ("width", int(24)),
                ("recompute", text("yes")),
                ("accumulation", int(2)),
            ],
        ),
        (
            "units and adapters",
            APART,
            vec![
                ("position", text("alibi")),
                ("optimizer", text("lion")),
                ("rate", ParamValue::Float(1e-4)),
                ("centralise", text("yes")),
                ("adaptive_clip", ParamValue::Float(0.05)),
                ("rank", int(3)),
                ("length", int(11)),
            ],
        ),
        (
            "a base of 8 bits",
            APART,
            vec![
                ("rank", int(3)),
                ("base_stored", text("int8")),
                ("activation", text("swiglu")),
                ("width", int(20)),
            ],
        ),
        (
            "experts and curvature",
            APART,
            vec![
                ("experts", int(4)),
                ("optimizer", text("sophia-g")),
                ("curvature_every", int(2)),
            ],
        ),
        (
            "16 bits",
            APART_STORED,
            vec![("stored", text("f16")), ("optimizer", text("adan"))],
        ),
        (
            "the other 16 bits, turned",
            APART_STORED,
            vec![
                ("stored", text("bf16")),
                ("position", text("rope")),
                ("length", int(70)),
            ],
        ),
        (
            "experts of 16 bits",
            APART_STORED,
            vec![
                ("stored", text("f16")),
                ("experts", int(4)),
                ("position", text("rope")),
            ],
        ),
    ]
}

#[test]
fn language_models_learn_as_on_the_host_and_twice_the_same() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    for (name, apart, given) in variants() {
        let on_host = train(folder, model("cpu", &given), STEPS).unwrap();
        // Twice, and a step of a third time.
        let on_gpu = train(folder, model("cuda", &given), 2 * STEPS + 1).unwrap();
        let distance = largest_distance(&on_gpu.losses()[..STEPS], &on_host.losses());
        println!("{name}: losses lie {distance:.1e} apart");
        assert!(distance <= apart, "{name}: {on_gpu:?} {on_host:?}");
        assert!(on_gpu.verification.passed, "{name}: {on_gpu:?}");
        println!("{name}: {}", on_gpu.verification.detail);
        let bits = on_gpu.bits();
        assert!(
            bits.iter()
                .enumerate()
                .all(|(i, loss)| *loss == bits[i % STEPS])
        );
        let again = train(folder, model("cuda", &given), 1).unwrap();
        assert_eq!(again.verification.output, on_gpu.verification.output);
        assert_eq!(again.bits(), bits[..1]);
    }
}

#[test]
fn models_of_tables_pictures_and_spectra_learn_as_on_the_host() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let steps = ("steps", int(STEPS as i64));
    let models: [(&str, Vec<Given>); 3] = [
        (
            "train-mlp",
            vec![("batch", int(6)), ("width", int(16)), ("rows", int(300))],
        ),
        (
            "train-cnn",
            vec![
                ("batch", int(3)),
                ("side", int(24)),
                ("width", int(4)),
                ("pictures", int(40)),
                ("mixing", text("either")),
                ("smoothing", ParamValue::Float(0.1)),
                ("drop", ParamValue::Float(0.5)),
                ("recompute", text("yes")),
            ],
        ),
        (
            "train-vae",
            vec![
                ("batch", int(4)),
                ("points", int(64)),
                ("layers", int(1)),
                ("width", int(16)),
                ("code", int(3)),
                ("spectra", int(40)),
            ],
        ),
    ];
    for (workload, given) in models {
        let given = [&given[..], std::slice::from_ref(&steps)].concat();
        let of = |device| train(folder, case(workload, device, &given), STEPS + 1).unwrap();
        let (on_host, on_gpu) = (of("cpu"), of("cuda"));
        let distance = largest_distance(&on_gpu.losses(), &on_host.losses());
        println!("{workload}: losses lie {distance:.1e} apart");
        assert!(distance <= APART, "{workload}: {on_gpu:?} {on_host:?}");
        assert!(on_gpu.verification.passed, "{workload}: {on_gpu:?}");
        assert_eq!(on_gpu.bits()[0], on_gpu.bits()[STEPS], "{workload}");
    }
}

/// A sample says how long the device took, for each family of ops, and the record which kernels ran.
#[test]
fn a_step_is_timed_by_the_device() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let trained = train(folder, model("cuda", &[]), STEPS).unwrap();
    let of_host = train(folder, model("cpu", &[]), STEPS).unwrap();
    let families = |trained: &Trained| -> Vec<String> {
        let metrics = trained.prepared.metrics.iter();
        let names = metrics.filter(|m| m.name.starts_with("time_") && m.kind == MetricKind::Sample);
        names.map(|m| m.name.clone()).collect()
    };
    assert!(families(&trained).len() > 8);
    assert_eq!(families(&trained), families(&of_host));
    for sample in &trained.samples {
        let all: f64 = families(&trained)
            .iter()
            .map(|name| sample.values[name])
            .sum();
        let device_ns = sample.device_ns.unwrap() as f64;
        assert!((all / device_ns - 1.0).abs() < 0.05, "{all} {device_ns}");
        assert!(sample.values["sm_clock"] >= 0.0 && sample.host_ns > 0);
    }
    let Trained {
        prepared, values, ..
    } = trained;
    assert!(prepared.device.unwrap().starts_with("GPU-"));
    assert!(prepared.timer_resolution_ns.is_some());
    let facts = &prepared.facts;
    assert!(
        facts
            .keys()
            .any(|name| name.starts_with("kernel flash_backward<64, true>"))
    );
    assert!(facts["compared with the host"].contains("first 3 steps"));
    assert!(
        values["mfu_palm"] > 0.0 && values["peak_memory"] > 1e4,
        "{values:?}"
    );
}

/// A training goes on from a checkpoint on the other device, and on its own to the same bits.
#[test]
fn checkpoints_go_on_on_the_other_device() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let path = |device: &str| files.path().join(device).display().to_string();
    // Rates of all steps are those of the whole.
    let constant = [
        ("rate", ParamValue::Float(1e-3)),
        ("schedule", text("linear")),
    ];
    let whole_of = |device: &str, more: &[Given]| {
        let steps = [("steps", int(2 * STEPS as i64))];
        model(device, &[&constant[..], &steps, more].concat())
    };
    for (own, other) in [("cuda", "cpu"), ("cpu", "cuda")] {
        let save = ("save", text(&path(own)));
        let half = model(own, &[&constant[..], &[save]].concat());
        let half = train(folder, half, STEPS).unwrap();
        assert!(half.verification.passed, "{half:?}");
        let resume = [("resume", text(&path(own)))];
        let [on_other, on_own] = [other, own].map(|device| {
            let trained = train(folder, whole_of(device, &resume), 2 * STEPS).unwrap();
            assert!(trained.verification.passed, "{device}: {trained:?}");
            trained
        });
        let bits = on_own.bits();
        // What is repeated begins where it was resumed, half way.
        assert_eq!(bits[..STEPS], bits[STEPS..]);
        let distance = largest_distance(&on_other.losses(), &on_own.losses());
        assert!(distance <= APART, "{own} to {other}: {distance}");
    }
    let resume = [("resume", text(&path("cpu")))];
    let over = train(folder, model("cuda", &resume), 1).unwrap_err();
    let expected =
        "parameter `resume`: its training has come to step 4; expected less than `steps`, 4";
    assert!(over.contains(expected), "{over}");
}

#[test]
fn what_cannot_be_trained_there_is_said() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    // A rate at which nothing stays a number.
    let wild = model(
        "cuda",
        &[("rate", ParamValue::Float(1e30)), ("clip", int(0))],
    );
    let mut worker = Worker::start(folder, &[]);
    let reply = train_in(&mut worker, wild, STEPS).unwrap_err();
    let is_told = reply.contains("Failed")
        && reply.contains("step ")
        && reply.contains("the first tensor that is not finite is `");
    assert!(is_told, "{reply}");
    // The worker is none the worse for it.
    let trained = train_in(&mut worker, model("cuda", &[]), 1).unwrap();
    assert!(trained.verification.passed, "{trained:?}");
    let mut worker = Worker::start(folder, &[("ASSAY_EMULATED_MEMORY", "4000000")]);
    let large = model("cuda", &[("width", int(64)), ("layers", int(4))]);
    let reply = train_in(&mut worker, large, 1).unwrap_err();
    let expected = "not enough memory on the device: the case needs ";
    assert!(
        reply.contains("Skipped") && reply.contains(expected),
        "{reply}"
    );
}

/// A step that is replayed has the bits of one whose launches come singly, with what is done now and then, too.
#[test]
fn replayed_graphs_give_the_bits_of_single_launches() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let given = [
        ("optimizer", text("sophia-g")),
        ("curvature_every", int(2)),
        ("accumulation", int(2)),
    ];
    let singly = train(folder, model("cuda", &given), STEPS).unwrap();
    let case = CaseSpec {
        timing: TimingMode::Graph,
        ..model("cuda", &given)
    };
    let replayed = train(folder, case, 2 * STEPS).unwrap();
    assert!(replayed.verification.passed, "{replayed:?}");
    assert_eq!(replayed.verification.output, singly.verification.output);
    assert_eq!(replayed.bits()[..STEPS], singly.bits());
    assert_eq!(replayed.bits()[STEPS..], singly.bits());
    let families = |trained: &Trained| {
        let metrics = trained.prepared.metrics.iter();
        metrics.filter(|m| m.name.starts_with("time_")).count()
    };
    assert!(families(&singly) > 8 && families(&replayed) == 0);
    assert!(
        replayed
            .samples
            .iter()
            .all(|sample| sample.device_ns > Some(0))
    );
    let on_host = CaseSpec {
        timing: TimingMode::Graph,
        ..model("cpu", &[])
    };
    let reply = train(folder, on_host, 1).unwrap_err();
    let expected = "timing mode `graph` is for CUDA devices";
    assert!(
        reply.contains("Skipped") && reply.contains(expected),
        "{reply}"
    );
}

/// What fits is what can be begun there: the driver's refusals are answers.
#[test]
fn the_largest_batch_is_what_a_gpu_has_memory_for() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let find = |memory: u64, given: &[Given]| {
        let sizes = [
            ("length", int(8)),
            ("layers", int(1)),
            ("width", int(16)),
            ("heads", int(2)),
            ("corpus", int(3000)),
            ("memory_mib", int(0)),
            ("most", int(1024)),
        ];
        let case = case("find-batch", "cuda", &[&sizes[..], given].concat());
        let memory = memory.to_string();
        let mut worker = Worker::start(folder, &[("ASSAY_EMULATED_MEMORY", &memory)]);
        train_in(&mut worker, case, 2)
    };
    let largest = |memory| {
        let found = find(memory, &[]).unwrap();
        assert!(found.verification.passed, "{found:?}");
        assert!(found.prepared.device.is_some());
        assert!(
            found
                .samples
                .iter()
                .all(|sample| sample.device_ns > Some(0))
        );
        let values = &found.values;
        assert!(values["buffer_memory"] < memory as f64, "{values:?}");
        let of_largest = format!("rate_{}", values["largest_batch"]);
        assert!(values[&of_largest] > 0.0, "{values:?}");
        let told = format!("{:?}", found.verification.detail);
        (values["largest_batch"], told)
    };
    let (some, told) = largest(2_000_000);
    assert!(some > 2.0 && some < 1024.0, "{some}");
    assert!(
        told.contains("one more does not fit: not enough memory"),
        "{told}"
    );
    assert!(largest(4_000_000).0 > 1.5 * some);
    // A limit of its own is kept to where there is more.
    let limited = find(64_000_000, &[("memory_mib", int(2))]).unwrap();
    assert!(limited.verification.passed, "{limited:?}");
    assert!(limited.values["buffer_memory"] <= f64::from(2 << 20));
    let reply = find(100_000, &[]).unwrap_err();
    let expected = "not enough memory on the device";
    assert!(
        reply.contains("Skipped") && reply.contains(expected),
        "{reply}"
    );
}

/// Mistakes, each with what a model is to have for it to matter.
fn mistakes<'a>(experts: &'a [Given<'a>]) -> Vec<(Mistake, &'a [Given<'a>])> {
    let mistake = |path, from, to| Mistake { path, from, to };
    vec![
        (
            mistake(
                "ml/norm.cu",
                "x.at[j] = scale * (dy.at[j] * gain.at[j] - level",
                "x.at[j] = -scale * (dy.at[j] * gain.at[j] - level",
            ),
            &[],
        ),
        (
            mistake(
                "ml/flash.cu",
                "store<DEPTH>(d_first, sums, head, first + 4 * y, scale, angles);",
                "store<DEPTH>(d_first, sums, head, first + 4 * y, -scale, angles);",
            ),
            &[],
        ),
        (
            mistake(
                "ml/flash.cu",
                "store<DEPTH>(d_second, of_values, head, first + 4 * y, 1.0f, nullptr);",
                "store<DEPTH>(d_second, of_values, head, first + 4 * y, -1.0f, nullptr);",
            ),
            &[],
        ),
        (
            mistake(
                "ml/cross_entropy.cu",
                "(i * W + j == label ? 1.0f : 0.0f)) * scale;",
                "(i * W + j == label ? 1.0f : 0.0f)) * -scale;",
            ),
            &[],
        ),
        (
            mistake(
                "ml/activation.cu",
                "F::backward(values.at[j] + added.at[j], 0.0f, gradient.at[j],",
                "F::backward(values.at[j] + added.at[j], 0.0f, -gradient.at[j],",
            ),
            &[],
        ),
        (
            mistake(
                "ml/moe.cu",
                "d_logits[first + e] = p[first + e] * (gradient(e) - sum);",
                "d_logits[first + e] = p[first + e] * (sum - gradient(e));",
            ),
            experts,
        ),
    ]
}

/// A wrong sign in a backward pass shows beside the host, of whichever kernel it is; and where the host does no steps, in the one that is
/// examined.
#[test]
fn a_wrong_sign_in_a_backward_kernel_is_found() {
    // With a slot for each choice, so that windows which are the same stay so.
    let experts = [("experts", int(4)), ("capacity", ParamValue::Float(4.0))];
    for (mistake, given) in mistakes(&experts) {
        let Some(folder) = emulated::mistaken(mistake) else {
            return;
        };
        let trained = train(&folder, model("cuda", given), STEPS).unwrap();
        let words = &trained.verification.detail;
        let is_found = !trained.verification.passed
            && words.contains("on the host")
            && words.contains("; examined step: the gradient of `");
        assert!(is_found, "{mistake:?}: {trained:?}");
    }
}
