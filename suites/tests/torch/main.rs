//! Losses of whole trainings agree with those of `PyTorch`, from the same beginnings on the same text. `torch/golden.py` made
//! the values.

mod models;

use std::collections::BTreeMap;
use std::path::PathBuf;

use assay_protocol::{CaseSpec, DeviceSelector, ParamValue, TimingMode};
use assay_suites::training::language::{self, Judge};
use assay_suites::training::run::Together;
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

#[test]
fn trainings_go_as_in_pytorch() {
    let golden: BTreeMap<String, Golden> = golden("golden.json");
    assert_eq!(golden.len(), 9);
    for (name, golden) in golden {
        let setup = setup(&golden.params);
        let corpus = setup.corpus().unwrap();
        let mut training = language::begin(&setup, &corpus)
            .training(&Together::alone(1))
            .unwrap();
        for (step, (loss, norm)) in golden.losses.iter().zip(&golden.norms).enumerate() {
            let found = training.step().unwrap();
            let off = [found.loss / loss - 1.0, found.norm / norm - 1.0];
            // Both round in f32; what differs grows from step to step. At first it is less than what quantisation changes.
            let most = if step == 0 {
                [1e-6, 1e-4]
            } else {
                [1e-4, 1e-2]
            };
            assert!(
                off[0].abs() < most[0] && off[1].abs() < most[1],
                "{name}, step {}: {found:?}, in PyTorch {loss} and {norm}",
                step + 1
            );
        }
        let judged = Judge::new(setup.plan.seed, setup.shape, &Device::Host(1))
            .unwrap()
            .judge(&training, &corpus)
            .unwrap();
        assert!(
            (judged.loss / golden.held_out - 1.0).abs() < 1e-3,
            "{name}: {judged:?}, in PyTorch {}",
            golden.held_out
        );
    }
}
