//! Layers that multiply numbers of 16 bits: gradients near those in `f64`, losses near those in `f32`, and scaled losses.

use assay_kernels::element::DType;
use assay_protocol::{CaseSpec, Catalog as _, ParamValue};
use assay_suites::training::language::{self, Judge};
use assay_suites::training::perceptron::{Shape, TrainMlp, begin, reference};
use assay_suites::training::plan::Plan;
use assay_suites::training::rows::Labelled;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::session::Device;
use assay_suites::training::setup::{Setup, infos};

use crate::cases::{self, float, int, text};
use crate::gradients;
use crate::language as language_cases;

fn of_text(params: &[(&str, ParamValue)]) -> CaseSpec {
    let sizes = [
        ("batch", int(8)),
        ("length", int(32)),
        ("width", int(32)),
        ("heads", int(4)),
        ("steps", int(120)),
        ("rate", float(1e-2)),
        ("corpus", int(100_000)),
    ];
    cases::case("train-lm", infos(), &[&sizes[..], params].concat())
}

const SHAPE: Shape = Shape {
    batch: 9,
    features: 7,
    width: 11,
    layers: 2,
    classes: 4,
};

fn still(stored: &str) -> Training {
    let params = [
        ("rate", float(0.0)),
        ("clip", float(0.0)),
        ("stored", text(stored)),
    ];
    let infos = TrainMlp.info().parameters;
    let plan = Plan::of(&cases::case("train-mlp", infos, &params)).unwrap();
    let mut x = vec![0.0; 40 * SHAPE.features];
    assay_protocol::Philox::new(1, 2).fill_signed_f32(0, &mut x);
    let rows = Labelled {
        x,
        labels: (0..40).map(|i| i % 4).collect(),
    };
    let mut training = begin(&plan, SHAPE, &rows)
        .training(&Together::alone(1))
        .unwrap();
    gradients::disturb(&mut training);
    training
}

/// Numbers of `f16` have eight times as fine steps as those of `bf16`, and gradients show which were multiplied.
#[test]
fn gradients_are_as_near_as_their_types_allow() {
    for (stored, least, most) in [("bf16", 1e-3, 4e-2), ("f16", 1e-4, 5e-3)] {
        let mut training = still(stored);
        training.step().unwrap();
        let x = gradients::buffer::<f32>(&training, "x").into_iter();
        let x: Vec<f64> = x.map(f64::from).collect();
        let labels = gradients::buffer::<u32>(&training, "labels");
        let loss = |parameters: &[Vec<f64>]| {
            let losses = reference(&SHAPE, parameters, &x, &labels);
            losses.iter().sum::<f64>() / losses.len() as f64
        };
        let elements = gradients::beside(&training, loss);
        gradients::check(stored, &elements, least..most, &[]);
    }
}

/// A decoder whose parameters stay, after its first step, and the mean loss of that step in `f64`.
fn still_decoder(params: &[(&str, ParamValue)]) -> (Training, impl Fn(&[Vec<f64>]) -> f64) {
    let still = [("rate", float(0.0)), ("clip", float(0.0))];
    let setup = language_cases::setup(&[params, &still].concat());
    let corpus = setup.corpus().unwrap();
    let mut training = language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    gradients::disturb(&mut training);
    training.step().unwrap();
    let given = ["ids", "labels"].map(|name| gradients::buffer::<u32>(&training, name));
    let loss = move |parameters: &[Vec<f64>]| {
        let given = [&given[0][..], &given[1]];
        language_cases::mean_loss(&setup.shape, parameters, given)
    };
    (training, loss)
}

/// Gradients of whole decoders, dense ones and mixtures: attention and experts multiply numbers of 16 bits too. A wrong sign of any
/// parameter's is far outside of what roundings do. Of a mixture all experts are chosen, for roundings may choose others.
#[test]
fn gradients_of_decoders_are_as_near_as_their_types_allow() {
    for (experts, stored, least, most) in [
        (0, "bf16", 1e-3, 4e-2),
        (0, "f16", 1e-4, 5e-3),
        (3, "bf16", 1e-3, 4e-2),
        (3, "f16", 1e-4, 5e-3),
    ] {
        let params = [
            ("experts", int(experts)),
            ("chosen", int(experts.max(1))),
            ("capacity", float(3.0)),
            ("position", text("rope")),
            ("stored", text(stored)),
        ];
        let (training, loss) = still_decoder(&params);
        let what = format!("{experts} experts, {stored}");
        let elements = gradients::beside(&training, &loss);
        gradients::check(&what, &elements, least..most, &[]);
    }
}

/// Attention and experts read and write numbers of 16 bits, but for adapters, whose queries and values are `f32`.
#[test]
fn what_is_multiplied_is_of_the_type() {
    for (params, dtype) in [
        (&[("stored", text("bf16"))][..], DType::Bf16),
        (&[("stored", text("f16")), ("rank", int(2))], DType::F32),
        (&[], DType::F32),
    ] {
        let training = language_cases::begin(params);
        let session = training.session();
        for name in ["queries", "mixed"] {
            let name = format!("layers.0.attention.{name}");
            let (buffer, _) = session
                .in_order()
                .find(|(_, found)| **found == name)
                .unwrap();
            assert_eq!(session.spec(buffer).dtype, dtype, "{name}");
        }
    }
}

/// Roundings lead trainings apart, for better or worse; none is left behind.
#[test]
fn losses_come_down_as_in_f32() {
    come_down_as_in_f32(&[]);
}

/// A mixture needs longer until all are where they can come to.
#[test]
fn losses_of_mixtures_come_down_as_in_f32() {
    come_down_as_in_f32(&[
        ("experts", int(4)),
        ("position", text("rope")),
        ("steps", int(300)),
    ]);
}

fn come_down_as_in_f32(params: &[(&str, ParamValue)]) {
    let held_out = |stored: &str, threads: usize| {
        let params = [params, &[("stored", text(stored))]].concat();
        let setup = Setup::of(&of_text(&params)).unwrap();
        let corpus = setup.corpus().unwrap();
        let mut training = language::begin(&setup, &corpus)
            .training(&Together::alone(threads))
            .unwrap();
        for _ in 0..setup.plan.steps {
            training.step().unwrap();
        }
        let mut judge = Judge::new(setup.plan.seed, setup.shape, &Device::Host(2)).unwrap();
        judge.judge(&training, &corpus).unwrap().loss
    };
    let full = held_out("f32", 2);
    for stored in ["bf16", "f16"] {
        let [one, two] = [1, 2].map(|threads| held_out(stored, threads));
        assert_eq!(one.to_bits(), two.to_bits(), "{stored}");
        assert!(one.to_bits() != full.to_bits());
        assert!(one < 1.05 * full, "{stored}: {one}, in f32 {full}");
    }
}

/// A scale that is too large makes gradients infinite: the step is passed over, and the scale halved.
#[test]
fn steps_that_overflow_are_passed_over() {
    let setup = Setup::of(&of_text(&[("stored", text("f16"))])).unwrap();
    let corpus = setup.corpus().unwrap();
    let mut training = language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    let tensors = training.tensors();
    let mut tensors: Vec<_> = tensors
        .map(|(name, _, buffer)| {
            let bytes = training.session().read(buffer).unwrap();
            (name.to_owned(), bytes.bytes().to_vec())
        })
        .collect();
    let (_, scale) = tensors
        .iter_mut()
        .find(|(name, _)| name == "loss-scale")
        .unwrap();
    scale[..4].copy_from_slice(&1e30_f32.to_le_bytes());
    let tensors: Vec<_> = tensors.iter().map(|(_, bytes)| &bytes[..]).collect();
    training.set_tensors(&tensors).unwrap();
    let before = gradients::parameters(&training);
    let step = training.step().unwrap();
    assert!(
        step.loss.is_finite() && step.norm.abs() < 1e-300,
        "{step:?}"
    );
    assert!((step.scale.unwrap() / 5e29 - 1.0).abs() < 1e-6, "{step:?}");
    assert_eq!(gradients::parameters(&training), before);
    // Halved often enough, it goes on.
    let goes = (0..100).find(|_| training.step().unwrap().norm > 0.0);
    assert!(goes.is_some_and(|steps| steps > 40), "{goes:?}");
    assert_ne!(gradients::parameters(&training), before);
}

#[test]
fn what_is_not_scaled_is_refused() {
    let refuse = |params: &[(&str, ParamValue)], words: &str| {
        let failure = Setup::of(&of_text(params)).err().unwrap().to_string();
        assert!(failure.contains(words), "{failure}");
    };
    refuse(
        &[("stored", text("f16")), ("optimizer", text("sophia-g"))],
        "with `sophia-g`",
    );
    refuse(&[("stored", text("f8"))], "`stored`");
}
