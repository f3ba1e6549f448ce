//! Losses of whole trainings agree with those of `PyTorch`, from the same beginnings on the same text. `torch/golden.py` made
//! the values.

mod models;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use assay_protocol::{CaseSpec, DeviceSelector, ParamValue, TimingMode};
use assay_suites::training::corpus::Corpus;
use assay_suites::training::language::{self, Judge};
use assay_suites::training::run::{Together, Training};
use assay_suites::training::session::Device;
use assay_suites::training::setup::{Setup, infos};

#[derive(serde::Deserialize)]
struct Golden {
    params: BTreeMap<String, ParamValue>,
    losses: Vec<f64>,
    norms: Vec<f64>,
    held_out: f64,
}

fn setup(params: &BTreeMap<String, ParamValue>) -> Setup {
    let defaults = infos().into_iter();
    let mut all: BTreeMap<_, _> = defaults
        .filter_map(|info| Some((info.name, info.default?)))
        .collect();
    all.extend(params.clone());
    Setup::of(&CaseSpec {
        workload: "train-lm".into(),
        params: all,
        seed: 11.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    })
    .unwrap()
}

/// The values of a file beside this one.
fn golden<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torch");
    serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap()
}

/// How far losses and norms may be from those of `PyTorch`, relative: both add up in `f32`, in other orders, over all steps.
const MOST: [f64; 2] = [2e-6, 1e-5];

/// How far held-out losses may be: in a mixture a token may find its expert full, or not, by the last bit of a weight.
const HELD_OUT: f64 = 5e-5;

/// How far losses and norms of a training are from those of `PyTorch` at most, relative.
fn distances(training: &mut Training, losses: &[f64], norms: &[f64]) -> [f64; 2] {
    losses
        .iter()
        .zip(norms)
        .fold([0.0; 2], |[of_losses, of_norms], (loss, norm)| {
            let found = training.step().unwrap();
            let off = [found.loss / loss - 1.0, found.norm / norm - 1.0].map(f64::abs);
            [of_losses.max(off[0]), of_norms.max(off[1])]
        })
}

fn begun(params: &BTreeMap<String, ParamValue>) -> (Setup, Corpus, Training) {
    let setup = setup(params);
    let corpus = setup.corpus().unwrap();
    let begun = language::begin(&setup, &corpus);
    let training = begun.training(&Together::alone(1)).unwrap();
    (setup, corpus, training)
}

/// Where something that it imports is missing, the worker says what, and skips.
#[test]
fn what_is_not_installed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = "raise ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')\n";
    std::fs::write(folder.path().join("numpy.py"), missing).unwrap();
    let worker = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("workers/torch_lm.py");
    let started = Command::new("python3")
        .arg(worker)
        .env("PYTHONPATH", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = started else {
        eprintln!("skipped: there is no python3");
        return;
    };
    let case =
        r#"{"workload": "torch-lm", "timing": "hot", "device": "cpu", "seed": "1", "params": {}}"#;
    let request = format!("{{\"request\": \"prepare\", \"case\": {case}}}\n");
    let mut input = python.stdin.take().unwrap();
    input.write_all(request.as_bytes()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = "numpy is not installed: No module named 'numpy'";
    assert!(
        said.contains("skipped") && said.contains(expected),
        "{said}"
    );
}

#[test]
fn the_worker_keeps_to_its_threads_and_tells_what_multiplies() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torch/worker.py");
    let Ok(ended) = Command::new("python3").arg(script).output() else {
        eprintln!("skipped: there is no python3");
        return;
    };
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
}

#[test]
fn trainings_go_as_in_pytorch() {
    let golden: BTreeMap<String, Golden> = golden("golden.json");
    assert_eq!(golden.len(), 9);
    for (name, golden) in golden {
        let (setup, corpus, mut training) = begun(&golden.params);
        let off = distances(&mut training, &golden.losses, &golden.norms);
        assert!(off[0] < MOST[0] && off[1] < MOST[1], "{name}: {off:?}");
        let judged = Judge::new(setup.plan.seed, setup.shape, &Device::Host(1))
            .unwrap()
            .judge(&training, &corpus)
            .unwrap();
        let off = (judged.loss / golden.held_out - 1.0).abs();
        assert!(off < HELD_OUT, "{name}: {off}");
    }
}

/// A recipe that is a little off is seen: what is compared is not only the beginning of a training.
#[test]
fn other_recipes_do_not_go_as_in_pytorch() {
    let golden: BTreeMap<String, Golden> = golden("golden.json");
    for (name, golden) in golden {
        // Clips some steps and others not: to one that clips all, AdamW is nearly blind.
        let mut norms = golden.norms.clone();
        norms.sort_by(f64::total_cmp);
        let clip = norms[norms.len() / 2];
        for (part, other) in [("decay", 0.09), ("clip", clip), ("rate", 1.001)] {
            let mut params = golden.params.clone();
            let value = match (part, &params[part]) {
                ("rate", ParamValue::Float(rate)) => rate * other,
                _ => other,
            };
            params.insert(part.into(), ParamValue::Float(value));
            let (_, _, mut training) = begun(&params);
            let off = distances(&mut training, &golden.losses, &golden.norms);
            assert!(
                off[0] > MOST[0] || off[1] > MOST[1],
                "{name} with {part} {value}: {off:?}"
            );
        }
    }
}
