//! Autoencoders of spectra: gradients, bits, learning, and what is said where something is wrong.

use assay_protocol::{CaseSpec, Catalog as _, ParamValue, Philox};
use assay_suites::training::autoencoder::workload::{TrainVae, begin, judge};
use assay_suites::training::autoencoder::{Autoencoder, Shape, reference};
use assay_suites::training::model::Model;
use assay_suites::training::plan::Plan;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::spectra::{Spectra, Weighted};

use crate::cases::{self, float, int};
use crate::gradients;

fn case(params: &[(&str, ParamValue)]) -> CaseSpec {
    let sizes = [
        ("batch", int(5)),
        ("points", int(32)),
        ("width", int(12)),
        ("code", int(3)),
        ("spectra", int(40)),
        ("steps", int(4)),
    ];
    let infos = TrainVae.info().parameters;
    cases::case("train-vae", infos, &[&sizes[..], params].concat())
}

const SHAPE: Shape = Shape {
    batch: 5,
    points: 10,
    width: 7,
    layers: 2,
    code: 3,
    beta: 0.5,
};

fn rows() -> Weighted {
    let random = Philox::new(1, 2);
    let [mut x, mut w] = [vec![0.0; 300], vec![0.0; 300]];
    random.fill_signed_f32(0, &mut x);
    random.fill_signed_f32(1000, &mut w);
    for w in &mut w {
        *w = w.max(0.0);
    }
    Weighted { x, w }
}

fn plan(params: &[(&str, ParamValue)]) -> Plan {
    Plan::of(&case(params)).unwrap()
}

fn still(threads: usize) -> Training {
    let plan = plan(&[("rate", float(0.0)), ("clip", float(0.0))]);
    let mut training = begin(&plan, SHAPE, &rows())
        .training(&Together::alone(threads))
        .unwrap();
    gradients::disturb(&mut training);
    training
}

fn gradient_elements() -> Vec<gradients::Element> {
    let mut training = still(1);
    let found = training.step().unwrap();
    let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let [x, w] = ["x", "w"].map(|name| wide(&gradients::buffer(&training, name)));
    let network = Autoencoder::new(&mut Model::new(0, false), SHAPE, 5);
    let loss = |parameters: &[Vec<f64>]| {
        let rows = x
            .chunks_exact(SHAPE.points)
            .zip(w.chunks_exact(SHAPE.points));
        let losses = rows.enumerate().map(|(b, (x, w))| {
            let noise = wide(&network.noise(0, b));
            reference(&SHAPE, parameters, [x, w], &noise)
        });
        losses.sum::<f64>() / SHAPE.batch as f64
    };
    let off = loss(&gradients::parameters(&training)) - found.loss;
    assert!(off.abs() < 1e-5, "{off}");
    gradients::beside(&training, loss)
}

#[test]
fn gradients_are_those_by_differences_and_a_wrong_sign_shows() {
    gradients::check(
        "an autoencoder",
        &gradient_elements(),
        gradients::OF_F32,
        &[],
    );
}

#[test]
fn bits_of_losses_do_not_depend_on_threads() {
    gradients::same_bits(still);
}

/// A code of eight numbers says more of a spectrum than the mean of all spectra does, whose loss is what half the weighted variance is.
#[test]
fn an_autoencoder_learns_spectra() {
    let params = [
        ("steps", int(800)),
        ("warmup", int(20)),
        ("rate", float(3e-3)),
    ];
    let plan = plan(&params);
    let shape = Shape {
        batch: 32,
        points: 128,
        width: 64,
        layers: 2,
        code: 8,
        beta: 1.0,
    };
    let spectra = Spectra::new(5, 1500, shape.points, 0.2).unwrap();
    let mut training = begin(&plan, shape, &spectra.train)
        .training(&Together::alone(2))
        .unwrap();
    for _ in 0..plan.steps {
        training.step().unwrap();
    }
    let judged = judge(&training, &plan, &shape, &spectra.held_out).unwrap();
    let by_mean = loss_of_mean(&spectra, shape.points);
    assert!(judged.loss < 0.3 * by_mean, "{judged:?} {by_mean}");
    assert!(judged.error < 1e-4, "{judged:?}");
    assert!(judged.values["divergence"] > 0.05, "{judged:?}");
}

/// The loss of held-out spectra, where each point is the weighted mean of that of all others.
fn loss_of_mean(spectra: &Spectra, points: usize) -> f64 {
    let sums = |point: usize| {
        let pairs = spectra.train.x.iter().zip(&spectra.train.w);
        let of_point = pairs.skip(point).step_by(points);
        of_point.fold([0.0, 0.0], |[sum, all], (x, w)| {
            [sum + f64::from(x * w), all + f64::from(*w)]
        })
    };
    let means: Vec<f64> = (0..points).map(sums).map(|[sum, all]| sum / all).collect();
    let pairs = spectra.held_out.x.iter().zip(&spectra.held_out.w);
    let terms = pairs.zip(means.iter().cycle());
    let loss = terms.map(|((x, w), mean)| 0.5 * f64::from(*w) * (f64::from(*x) - mean).powi(2));
    loss.sum::<f64>() / spectra.held_out.x.len() as f64
}

#[test]
fn a_training_is_the_same_whatever_is_sampled() {
    cases::assert_same_bits(4, |params| {
        let own = [("accumulation", int(2))];
        TrainVae
            .prepare(&case(&[&own[..], params].concat()))
            .unwrap()
    });
}

/// What is multiplied in 16 bits is rounded, and learns the same.
#[test]
fn products_of_16_bits_are_near_those_of_32() {
    let losses = |given: &[(&str, ParamValue)]| {
        let mut workload = TrainVae.prepare(&case(given)).unwrap();
        let losses = cases::run(workload.as_mut(), 4);
        assert!(workload.verify().unwrap().passed);
        losses
    };
    let (narrow, wide) = (losses(&[("stored", cases::text("bf16"))]), losses(&[]));
    for (narrow, wide) in narrow.iter().zip(&wide) {
        let apart = (narrow / wide - 1.0).abs();
        assert!(apart > 0.0 && apart < 0.01, "{narrow} {wide}");
    }
}

#[test]
fn wild_numbers_are_named() {
    let fails = |params: &[(&str, ParamValue)]| {
        let prepared = TrainVae.prepare(&case(params));
        let run = prepared.and_then(|mut workload| workload.run(1).and_then(|_| workload.verify()));
        run.unwrap_err().to_string()
    };
    let words = fails(&[("beta", float(1e300))]);
    assert!(
        words.contains("`beta`: expected at most 3.4028235e38"),
        "{words}"
    );
    // Memory of a brick has no name that anybody knows.
    let words = fails(&[("beta", float(1e38))]);
    assert!(
        words.contains("step 1: ") && !words.contains("partial-sums"),
        "{words}"
    );
    let words = fails(&[("rate", float(1e38)), ("steps", int(1))]);
    assert!(
        words.contains("step 1: ") && words.contains("not finite"),
        "{words}"
    );
}

#[test]
fn a_quality_that_is_not_reached_fails() {
    let verify = |quality: f64| {
        let params = [("held_out_quality", float(quality))];
        let mut workload = TrainVae.prepare(&case(&params)).unwrap();
        cases::run(workload.as_mut(), 1);
        workload.verify().unwrap()
    };
    assert!(verify(1e6).passed);
    let missed = verify(1e-3);
    assert!(
        !missed.passed && missed.detail.contains("expected at most 0.001"),
        "{missed:?}"
    );
}

#[test]
fn bad_cases_are_refused_in_words() {
    let refuse = |params: &[(&str, ParamValue)], words: &str| {
        let failure = TrainVae.prepare(&case(params)).err();
        let failure = failure.unwrap_or_else(|| panic!("{words}")).to_string();
        assert!(failure.contains(words), "{failure}");
    };
    refuse(&[("points", int(8))], "`points`: expected 16 to 65536");
    refuse(
        &[("code", int(40))],
        "`code`: expected at most the larger of",
    );
    refuse(
        &[("beta", float(-1.0))],
        "`beta`: expected a number of at least 0",
    );
    refuse(
        &[("redshift", float(21.0))],
        "`redshift`: expected at most 20",
    );
    refuse(
        &[("stored", cases::text("f16"))],
        "`stored`: expected f32 or bf16",
    );
    refuse(&[("spectra", int(0))], "`spectra`");
    refuse(
        &[("optimizer", cases::text("sophia-g"))],
        "spectra have none",
    );
}
