//! Convolutional networks: gradients, bits, learning, and what is said where something is wrong.

use assay_kernels::ml::mixing::Kind;
use assay_protocol::{CaseSpec, Catalog as _, ParamValue, Philox};
use assay_suites::training::convnet::Shape;
use assay_suites::training::convnet::reference::{logits, soft_loss};
use assay_suites::training::convnet::workload::{Augmentation, TrainCnn, begin, judge};
use assay_suites::training::images::Images;
use assay_suites::training::plan::Plan;
use assay_suites::training::rows::Labelled;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::session::Device;

use crate::cases::{self, float, int};
use crate::gradients;

fn case(params: &[(&str, ParamValue)]) -> CaseSpec {
    let sizes = [
        ("batch", int(3)),
        ("width", int(4)),
        ("pictures", int(40)),
        ("steps", int(4)),
    ];
    let infos = TrainCnn.info().parameters;
    cases::case("train-cnn", infos, &[&sizes[..], params].concat())
}

/// Several branches, of which about half are left out, and pictures whose sides are multiples of little.
const SHAPE: Shape = Shape {
    batch: 3,
    side: 6,
    channels: 2,
    width: 3,
    stages: 2,
    blocks: 2,
    classes: 4,
    drop: 1 << 31,
};
const SEED: u64 = 5;

fn pictures() -> Labelled {
    let random = Philox::new(1, 2);
    let mut x = vec![0.0; 20 * SHAPE.side * SHAPE.side * SHAPE.channels];
    random.fill_signed_f32(0, &mut x);
    let label = |i: u64| random.word(1_000_000 + i) % SHAPE.classes as u32;
    Labelled {
        x,
        labels: (0..20).map(label).collect(),
    }
}

fn still(threads: usize) -> Training {
    let plan = Plan::of(&case(&[("rate", float(0.0)), ("clip", float(0.0))])).unwrap();
    let augmentation = Augmentation {
        kind: Kind::Either,
        smoothing: 0.1,
    };
    let mut training = begin(&plan, SHAPE, augmentation, &pictures())
        .and_then(|begin| begin.training(&Together::alone(threads)))
        .unwrap();
    gradients::disturb(&mut training);
    training
}

fn gradient_elements() -> Vec<gradients::Element> {
    let mut training = still(1);
    let found = training.step().unwrap();
    let [x, targets] = ["x", "targets"].map(|name| {
        let values = gradients::buffer::<f32>(&training, name).into_iter();
        values.map(f64::from).collect::<Vec<f64>>()
    });
    // The first turn is that of number 0.
    let factor = |branch: usize, b: usize| f64::from(SHAPE.depth(branch, SEED).factor(0, b));
    let factors: Vec<f64> = (0..12).map(|i| factor(i / 3, i % 3)).collect();
    assert!(
        factors.contains(&0.0) && factors.iter().any(|f| *f > 1.0),
        "{factors:?}"
    );
    let loss = |parameters: &[Vec<f64>]| {
        let pictures = x.chunks_exact(x.len() / SHAPE.batch);
        let pictures = pictures
            .zip(targets.chunks_exact(SHAPE.classes))
            .enumerate();
        let losses = pictures.map(|(b, (x, target))| {
            let logits = logits(&SHAPE, parameters, x, |branch| factor(branch, b));
            soft_loss(&logits, target)
        });
        losses.sum::<f64>() / SHAPE.batch as f64
    };
    let off = loss(&gradients::parameters(&training)) - found.loss;
    assert!(off.abs() < 1e-5, "{off}");
    gradients::beside(&training, loss)
}

#[test]
fn gradients_are_those_by_differences_and_a_wrong_sign_shows() {
    gradients::check("a network", &gradient_elements(), gradients::OF_F32, &[]);
}

#[test]
fn bits_of_losses_do_not_depend_on_threads() {
    gradients::same_bits(still);
}

/// In 400 steps of 32 pictures, with all that makes learning harder, it knows nine of ten of those held out; by chance it were one of eight.
#[test]
fn a_network_learns_shapes() {
    let params = [
        ("steps", int(400)),
        ("warmup", int(20)),
        ("rate", float(1e-2)),
    ];
    let plan = Plan::of(&case(&params)).unwrap();
    let images = Images::new(5, 1500, 24).unwrap();
    let shape = Shape {
        batch: 32,
        side: 24,
        channels: 3,
        width: 8,
        classes: images.classes,
        blocks: 1,
        drop: (0.1 * 2_f64.powi(32)) as u32,
        ..SHAPE
    };
    let augmentation = Augmentation {
        kind: Kind::Either,
        smoothing: 0.1,
    };
    let mut training = begin(&plan, shape, augmentation, &images.train)
        .and_then(|begin| begin.training(&Together::alone(2)))
        .unwrap();
    for _ in 0..plan.steps {
        training.step().unwrap();
    }
    let judged = judge(&training, &shape, &images.held_out, &Device::Host(2)).unwrap();
    assert!(judged.values["accuracy"] > 0.9, "{judged:?}");
    assert!(judged.error < 1e-4, "{judged:?}");
}

#[test]
fn a_training_is_the_same_whatever_is_sampled() {
    cases::assert_same_bits(4, |params| {
        let own = [
            ("accumulation", int(2)),
            ("drop", float(0.25)),
            ("mixing", cases::text("either")),
        ];
        TrainCnn
            .prepare(&case(&[&own[..], params].concat()))
            .unwrap()
    });
}

#[test]
fn bad_cases_are_refused_in_words() {
    let refuse = |params: &[(&str, ParamValue)], words: &str| {
        let failure = TrainCnn.prepare(&case(params)).err();
        let failure = failure.unwrap_or_else(|| panic!("{words}")).to_string();
        assert!(failure.contains(words), "{failure}");
    };
    refuse(&[("side", int(23))], "`side`: expected a multiple of 2");
    refuse(&[("side", int(26)), ("stages", int(3))], "a multiple of 4");
    refuse(&[("side", int(20))], "from 24 to 512");
    refuse(
        &[("smoothing", float(1.0))],
        "`smoothing`: expected a number from 0 to below 1",
    );
    refuse(
        &[("drop", float(-0.1))],
        "`drop`: expected a number of at least 0",
    );
    refuse(&[("mixing", cases::text("blend"))], "`mixing`");
    refuse(&[("width", int(1 << 30))], "`width`");
    refuse(&[("pictures", int(0))], "`pictures`");
}
