//! Trainings of the other models, and with what trainings are made of. `golden_models.py` made the values.

use assay_kernels::ml::mixing::Kind;
use std::collections::BTreeMap;

use assay_protocol::{CaseSpec, DeviceSelector, ParamValue, Philox, TimingMode};
use assay_suites::training::plan::{self, Plan};
use assay_suites::training::rows::Labelled;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::spectra::Weighted;
use assay_suites::training::{autoencoder, convnet, perceptron};

#[derive(serde::Deserialize)]
struct Golden {
    losses: Vec<f64>,
    norms: Vec<f64>,
}

fn plan(options: &[(&str, ParamValue)]) -> Plan {
    let recipe = [
        ("rate", ParamValue::Float(1e-2)),
        ("warmup", ParamValue::Int(3)),
        ("steps", ParamValue::Int(20)),
    ];
    let defaults = plan::infos().into_iter();
    let mut params: BTreeMap<_, _> = defaults
        .filter_map(|info| Some((info.name, info.default?)))
        .collect();
    let given = recipe.iter().chain(options);
    params.extend(given.map(|(name, value)| ((*name).to_owned(), value.clone())));
    Plan::of(&CaseSpec {
        workload: "train-mlp".into(),
        params,
        seed: 11.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    })
    .unwrap()
}

fn numbers(first: u64, len: usize) -> Vec<f32> {
    let mut numbers = vec![0.0; len];
    Philox::new(1, 2).fill_signed_f32(first, &mut numbers);
    numbers
}

fn labelled(rows: usize, features: usize, classes: usize) -> Labelled {
    let random = Philox::new(1, 2);
    let label = |i: u64| random.word(1_000_000 + i) % classes as u32;
    Labelled {
        x: numbers(0, rows * features),
        labels: (0..rows as u64).map(label).collect(),
    }
}

fn of_perceptron(options: &[(&str, ParamValue)]) -> Training {
    let shape = perceptron::Shape {
        batch: 16,
        features: 7,
        width: 24,
        layers: 3,
        classes: 4,
    };
    perceptron::begin(&plan(options), shape, &labelled(200, 7, 4))
        .training(&Together::alone(1))
        .unwrap()
}

fn of_convnet() -> Training {
    let shape = convnet::Shape {
        batch: 4,
        side: 8,
        channels: 2,
        width: 3,
        stages: 2,
        blocks: 2,
        classes: 4,
        drop: 1 << 31,
    };
    let augmentation = convnet::workload::Augmentation {
        kind: Kind::Either,
        smoothing: 0.1,
    };
    let pictures = labelled(20, 8 * 8 * 2, 4);
    convnet::workload::begin(&plan(&[]), shape, augmentation, &pictures)
        .and_then(|begin| begin.training(&Together::alone(1)))
        .unwrap()
}

fn of_autoencoder() -> Training {
    let shape = autoencoder::Shape {
        batch: 8,
        points: 12,
        width: 16,
        layers: 2,
        code: 3,
        beta: 0.5,
    };
    let w = numbers(1000, 600);
    let rows = Weighted {
        x: numbers(0, 600),
        w: w.into_iter().map(|w| w.max(0.0)).collect(),
    };
    autoencoder::workload::begin(&plan(&[]), shape, &rows)
        .training(&Together::alone(1))
        .unwrap()
}

fn training(name: &str) -> Training {
    let text = |text: &str| ParamValue::Text(text.into());
    match name {
        "perceptron" => of_perceptron(&[]),
        "convnet" => of_convnet(),
        "autoencoder" => of_autoencoder(),
        "bf16" | "f16" => of_perceptron(&[("stored", text(name))]),
        "units" => of_perceptron(&[
            ("centralise", text("yes")),
            ("adaptive_clip", ParamValue::Float(0.05)),
        ]),
        "sgd" => of_perceptron(&[
            ("optimizer", text("sgd")),
            ("rate", ParamValue::Float(1e-1)),
        ]),
        "sophia" => of_perceptron(&[
            ("optimizer", text("sophia-g")),
            ("curvature_every", ParamValue::Int(3)),
            ("rate", ParamValue::Float(1e-3)),
        ]),
        other => panic!("{other}"),
    }
}

#[test]
fn models_and_parts_go_as_in_pytorch() {
    let golden: BTreeMap<String, Golden> = crate::golden("models.json");
    assert_eq!(golden.len(), 8);
    for (name, golden) in golden {
        // One rounding to 16 bits that falls to the other side moves all that comes after it.
        let most = match &*name {
            "bf16" | "f16" => [1e-4, 1e-3],
            _ => crate::MOST,
        };
        let off = crate::distances(&mut training(&name), &golden.losses, &golden.norms);
        assert!(off[0] < most[0] && off[1] < most[1], "{name}: {off:?}");
    }
}
