//! What trainings launch on CUDA devices: kernels that some op launches too, so that each is compiled for every architecture, run in
//! emulation and timed alone.

use std::collections::BTreeSet;

use assay_kernels::ml::mixing::Kind;
use assay_kernels::ops;
use assay_kernels::program::{Launch, Step, Steps};
use assay_protocol::{CaseSpec, ParamValue};

use super::convnet::workload::Augmentation;
use super::corpus::Corpus;
use super::plan::Plan;
use super::rows::Labelled;
use super::setup::{self, Setup};
use super::spectra::Weighted;
use super::step::TrainingStep;
use super::tokens::Tokens;
use super::{autoencoder, convnet, language, perceptron};

/// A case of `train-lm`, with defaults for what is not given.
pub fn case(params: &[(&str, &str)]) -> CaseSpec {
    let defaults = setup::infos().into_iter();
    let mut all: assay_protocol::Params = defaults
        .filter_map(|info| Some((info.name, info.default?)))
        .collect();
    for (name, value) in params {
        let value = match (value.parse(), value.parse()) {
            (Ok(int), _) => ParamValue::Int(int),
            (_, Ok(float)) => ParamValue::Float(float),
            _ => ParamValue::Text((*value).into()),
        };
        all.insert((*name).into(), value);
    }
    setup::case(all)
}

/// Kernels that some steps launch and no op does.
fn unknown(steps: &Steps) -> Vec<String> {
    let known = ops::kernels();
    let is_known = |launch: &Launch| {
        let found = known.get(launch.source.path);
        found.is_some_and(|(_, kernels)| kernels.contains(&launch.kernel))
    };
    let launches = steps.cuda.iter().filter_map(|(_, step)| match step {
        Step::Launch(launch) => Some(launch),
        _ => None,
    });
    let mut unknown: Vec<_> = launches
        .filter(|launch| !is_known(launch))
        .map(|launch| format!("{}: {}", launch.source.path, launch.kernel))
        .collect();
    unknown.sort();
    unknown.dedup();
    unknown
}

#[test]
fn language_models_launch_what_ops_launch() {
    let variants: [&[(&str, &str)]; 11] = [
        &[],
        &[
            ("position", "rope"),
            ("norm", "rmsnorm"),
            ("activation", "swiglu"),
            ("width", "24"),
        ],
        &[
            ("position", "alibi"),
            ("optimizer", "lion"),
            ("centralise", "yes"),
        ],
        &[
            ("stored", "bf16"),
            ("optimizer", "adan"),
            ("adaptive_clip", "0.5"),
            ("rank", "4"),
        ],
        &[
            ("stored", "f16"),
            ("optimizer", "sgd"),
            ("recompute", "yes"),
            ("width", "192"),
        ],
        &[("experts", "4"), ("accumulation", "2"), ("length", "33")],
        &[("experts", "4"), ("stored", "f16"), ("position", "rope")],
        &[("experts", "4"), ("stored", "bf16"), ("width", "36")],
        &[
            ("rank", "4"),
            ("base_stored", "int8"),
            ("activation", "swiglu"),
        ],
        &[
            ("rank", "4"),
            ("base_stored", "int8"),
            ("stored", "bf16"),
            ("width", "36"),
        ],
        &[
            ("optimizer", "sophia-g"),
            ("batch", "3"),
            ("width", "512"),
            ("heads", "4"),
        ],
    ];
    let corpus = Corpus::of_grammar(1, 3000, &Tokens::Bytes).unwrap();
    for variant in variants {
        let setup = Setup::of(&case(variant)).unwrap();
        let step = language::begin(&setup, &corpus).step();
        check(&step, &format!("{variant:?}"));
    }
}

/// That CUDA devices have a form of each family, and that some op launches each of their kernels.
fn check(step: &TrainingStep, what: &str) {
    let mut all = vec![&step.main];
    all.extend(step.sometimes.as_ref().map(|sometimes| &sometimes.steps));
    for steps in all {
        let of_host: BTreeSet<_> = steps.host.iter().map(|(family, _)| family).collect();
        let of_cuda: BTreeSet<_> = steps.cuda.iter().map(|(family, _)| family).collect();
        assert_eq!(of_host, of_cuda, "{what}");
        assert!(!of_cuda.is_empty() && of_cuda.iter().all(|family| !family.is_empty()));
        let unknown = unknown(steps);
        assert!(unknown.is_empty(), "{what}:\n{}", unknown.join("\n"));
    }
}

#[test]
fn other_models_launch_what_ops_launch() {
    let plan = |given: &[(&str, &str)]| Plan::of(&case(given)).unwrap();
    let numbers = |len: usize| vec![0.5; len];
    let of_table = perceptron::Shape {
        batch: 4,
        features: 7,
        width: 24,
        layers: 2,
        classes: 3,
    };
    let rows = Labelled {
        x: numbers(20 * 7),
        labels: vec![1; 20],
    };
    for given in [&[("stored", "bf16")][..], &[("optimizer", "sophia-g")]] {
        let plan = plan(given);
        let step = perceptron::begin(&plan, of_table, &rows).step();
        check(&step, "a perceptron");
    }
    let of_pictures = convnet::Shape {
        batch: 3,
        side: 12,
        channels: 3,
        width: 4,
        stages: 2,
        blocks: 1,
        classes: 4,
        drop: 1 << 30,
    };
    let pictures = Labelled {
        x: numbers(5 * 12 * 12 * 3),
        labels: vec![1; 5],
    };
    let augmentation = Augmentation {
        kind: Kind::Either,
        smoothing: 0.1,
    };
    for given in [&[("centralise", "yes")][..], &[("optimizer", "sophia-g")]] {
        let plan = plan(given);
        let begin = convnet::workload::begin(&plan, of_pictures, augmentation, &pictures);
        check(&begin.unwrap().step(), "a convolutional network");
    }
    let of_spectra = autoencoder::Shape {
        batch: 4,
        points: 24,
        width: 16,
        layers: 2,
        code: 3,
        beta: 1.0,
    };
    let spectra = Weighted {
        x: numbers(10 * 24),
        w: numbers(10 * 24),
    };
    for given in [&[][..], &[("stored", "bf16")]] {
        let plan = plan(given);
        let step = autoencoder::workload::begin(&plan, of_spectra, &spectra).step();
        check(&step, "an autoencoder");
    }
}
