//! Perceptrons on tables: gradients, bits, learning, and what is said where something is wrong.

use assay_protocol::{CaseSpec, Catalog as _, ParamValue, Philox};
use assay_suites::training::perceptron::{Shape, TrainMlp, begin, judge, reference};
use assay_suites::training::plan::Plan;
use assay_suites::training::rows::{Labelled, Rows};
use assay_suites::training::run::{Together, Training};
use assay_suites::training::session::Device;

use crate::cases::{self, float, int, text};
use crate::gradients;

fn case(params: &[(&str, ParamValue)]) -> CaseSpec {
    let sizes = [
        ("batch", int(9)),
        ("width", int(12)),
        ("rows", int(300)),
        ("steps", int(5)),
    ];
    let infos = TrainMlp.info().parameters;
    cases::case("train-mlp", infos, &[&sizes[..], params].concat())
}

const SHAPE: Shape = Shape {
    batch: 9,
    features: 7,
    width: 11,
    layers: 3,
    classes: 4,
};

fn rows(count: usize) -> Labelled {
    let random = Philox::new(1, 2);
    let mut x = vec![0.0; count * SHAPE.features];
    random.fill_signed_f32(0, &mut x);
    let label = |i: usize| random.word(1_000_000 + i as u64) % SHAPE.classes as u32;
    Labelled {
        x,
        labels: (0..count).map(label).collect(),
    }
}

fn still() -> Training {
    let plan = Plan::of(&case(&[("rate", float(0.0)), ("clip", float(0.0))])).unwrap();
    let mut training = begin(&plan, SHAPE, &rows(40))
        .training(&Together::alone(1))
        .unwrap();
    gradients::disturb(&mut training);
    training
}

fn gradient_elements() -> Vec<gradients::Element> {
    let mut training = still();
    let found = training.step().unwrap();
    let x = gradients::buffer::<f32>(&training, "x").into_iter();
    let x: Vec<f64> = x.map(f64::from).collect();
    let labels = gradients::buffer::<u32>(&training, "labels");
    let loss = |parameters: &[Vec<f64>]| {
        let losses = reference(&SHAPE, parameters, &x, &labels);
        losses.iter().sum::<f64>() / losses.len() as f64
    };
    let off = loss(&gradients::parameters(&training)) - found.loss;
    assert!(off.abs() < 1e-5, "{off}");
    gradients::beside(&training, loss)
}

#[test]
fn gradients_are_those_by_differences_and_a_wrong_sign_shows() {
    gradients::check("a perceptron", &gradient_elements(), gradients::OF_F32, &[]);
}

/// Occupations follow from schooling, income and the like: a perceptron tells more of them than one that knows how frequent each is.
#[test]
fn a_perceptron_learns_occupations() {
    let params = [
        ("steps", int(400)),
        ("warmup", int(20)),
        ("rate", float(5e-3)),
    ];
    let plan = Plan::of(&case(&params)).unwrap();
    let rows = Rows::of_census(5, 6000, "occupation").unwrap();
    let shape = Shape {
        batch: 64,
        features: rows.features,
        width: 48,
        layers: 2,
        classes: rows.classes,
    };
    let mut training = begin(&plan, shape, &rows.train)
        .training(&Together::alone(1))
        .unwrap();
    let before = judge(&training, &shape, &rows.held_out, &Device::Host(1)).unwrap();
    for _ in 0..plan.steps {
        training.step().unwrap();
    }
    let after = judge(&training, &shape, &rows.held_out, &Device::Host(1)).unwrap();
    let most_frequent = (0..shape.classes as u32)
        .map(|class| rows.held_out.labels.iter().filter(|l| **l == class).count())
        .max()
        .unwrap();
    let by_frequency = most_frequent as f64 / rows.held_out.labels.len() as f64;
    assert!(
        after.values["accuracy"] > by_frequency + 0.1 && after.loss < 0.75 * before.loss,
        "{by_frequency} {before:?} {after:?}"
    );
    assert!(after.error < 1e-4, "{after:?}");
}

#[test]
fn a_training_is_the_same_whatever_is_sampled() {
    cases::assert_same_bits(5, |params| {
        let own = [("accumulation", int(2))];
        TrainMlp
            .prepare(&case(&[&own[..], params].concat()))
            .unwrap()
    });
}

#[test]
fn an_accuracy_that_is_not_reached_fails() {
    let verify = |accuracy: f64| {
        let params = [("accuracy", float(accuracy))];
        let mut workload = TrainMlp.prepare(&case(&params)).unwrap();
        cases::run(workload.as_mut(), 1);
        workload.verify().unwrap()
    };
    assert!(verify(1e-3).passed);
    let missed = verify(0.999);
    assert!(
        !missed.passed && missed.detail.contains("expected at least 0.999"),
        "{missed:?}"
    );
}

#[test]
fn bad_cases_are_refused_in_words() {
    let refuse = |params: &[(&str, ParamValue)], words: &str| {
        let failure = TrainMlp.prepare(&case(params)).err();
        let failure = failure.unwrap_or_else(|| panic!("{words}")).to_string();
        assert!(failure.contains(words), "{failure}");
    };
    refuse(
        &[("target", text("shoe size"))],
        "`target` is one of age, sex",
    );
    refuse(&[("rows", int(9))], "expected at least 10; give more rows");
    refuse(&[("layers", int(0))], "`layers`: expected an integer");
    refuse(
        &[("table", text("/no/such/file.csv"))],
        "`table`: /no/such/file.csv",
    );
    refuse(
        &[("accuracy", float(-1.0))],
        "`accuracy`: expected a number of at least 0",
    );
    let huge = [("width", int(1 << 20)), ("layers", int(1000))];
    assert!(TrainMlp.prepare(&case(&huge)).is_err());
}
