//! Language models: gradients, bits, learning; `bad_input` has what is said where something is wrong.

use assay_kernels::ml::norm::Kind;
use assay_protocol::{CaseSpec, Catalog as _, ParamValue};

use assay_suites::training::checkpoint;
use assay_suites::training::decoder::{Places, Shape};
use assay_suites::training::language::{self, Judge, TrainLm};
use assay_suites::training::layers::Activation;
use assay_suites::training::reference;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::session::Device;
use assay_suites::training::setup::{Setup, infos};

use crate::cases::{self, float, int, text};
use crate::gradients;

/// A case of `train-lm` with these parameters, and defaults for others.
pub fn case(params: &[(&str, ParamValue)]) -> CaseSpec {
    let sizes = [
        ("batch", 3),
        ("length", 6),
        ("layers", 2),
        ("width", 8),
        ("heads", 2),
        ("steps", 4),
        ("corpus", 3000),
    ];
    let sizes = sizes.map(|(name, size)| (name, int(size)));
    cases::case("train-lm", infos(), &[&sizes[..], params].concat())
}

pub fn setup(params: &[(&str, ParamValue)]) -> Setup {
    Setup::of(&case(params)).unwrap()
}

/// A training of these parameters, before its first step.
pub fn begin(params: &[(&str, ParamValue)]) -> Training {
    let setup = setup(params);
    let corpus = setup.corpus().unwrap();
    language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .unwrap()
}

/// Every choice once, in three shapes.
fn shapes() -> [(Places, Kind, Activation); 4] {
    [
        (Places::Learned, Kind::Layer, Activation::Gelu),
        (Places::Rope, Kind::Rms, Activation::SwiGlu),
        (Places::Alibi, Kind::Layer, Activation::SwiGlu),
        (Places::Learned, Kind::Rms, Activation::Gelu),
    ]
}

/// The mean loss of a batch in `f64`.
pub fn mean_loss(shape: &Shape, parameters: &[Vec<f64>], [ids, labels]: [&[u32]; 2]) -> f64 {
    let windows = ids
        .chunks_exact(shape.length)
        .zip(labels.chunks_exact(shape.length));
    let of_window = |(ids, labels)| {
        let (losses, balance) = reference::losses(shape, parameters, ids, labels);
        losses.iter().sum::<f64>() / shape.tokens() as f64 + balance
    };
    windows.map(of_window).sum()
}

/// Checks gradients of a batch of the corpus, each sign of them, too.
pub fn check_gradients(what: &str, setup: &Setup) {
    let corpus = setup.corpus().unwrap();
    let mut training = language::begin(setup, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    gradients::disturb(&mut training);
    // The rate is 0: parameters stay.
    let found = training.step().unwrap();
    let given = ["ids", "labels"].map(|name| gradients::buffer::<u32>(&training, name));
    let loss =
        |parameters: &[Vec<f64>]| mean_loss(&setup.shape, parameters, [&given[0], &given[1]]);
    let balance = loss(&gradients::parameters(&training)) - found.loss;
    let most = if setup.shape.routing.is_some() {
        0.1
    } else {
        1e-5
    };
    assert!(balance.abs() < most);
    // A shift of all keys alike changes no softmax, but where they are rotated.
    let zero = match setup.shape.places {
        Places::Rope => &[][..],
        Places::Learned | Places::Alibi => &["attention.k.bias"],
    };
    let elements = gradients::beside(&training, loss);
    gradients::check(what, &elements, gradients::OF_F32, zero);
}

pub fn still(
    places: Places,
    norm: Kind,
    activation: Activation,
    params: &[(&str, ParamValue)],
) -> Setup {
    let mut setup = setup(&[params, &[("rate", float(0.0)), ("clip", float(0.0))]].concat());
    setup.shape = Shape {
        places,
        norm,
        activation,
        ..setup.shape
    };
    setup
}

#[test]
fn gradients_are_those_by_differences_and_a_wrong_sign_shows() {
    // Experts, of which some have no slot for all.
    let experts = [
        ("experts", int(4)),
        ("capacity", float(0.75)),
        ("batch", int(1)),
        ("length", int(16)),
    ];
    let adapters = [("rank", int(3))];
    for places in [Places::Learned, Places::Rope, Places::Alibi] {
        for norm in [Kind::Layer, Kind::Rms] {
            let dense = [Activation::Gelu, Activation::SwiGlu].map(|each| (each, &[][..]));
            let adapted = [Activation::Gelu, Activation::SwiGlu].map(|each| (each, &adapters[..]));
            // Experts have an activation of their own.
            let mixed = [(Activation::SwiGlu, &experts[..])];
            for (activation, given) in dense.into_iter().chain(adapted).chain(mixed) {
                let setup = still(places, norm, activation, given);
                let what = format!("{places:?} {norm:?} {activation:?} {given:?}");
                check_gradients(&what, &setup);
            }
        }
    }
}

#[test]
fn gradients_of_turns_are_those_of_a_larger_batch() {
    let setup = still(
        Places::Rope,
        Kind::Rms,
        Activation::Gelu,
        &[("accumulation", int(2)), ("batch", int(2))],
    );
    let corpus = setup.corpus().unwrap();
    let mut turns = language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    let mut whole = setup.clone();
    (whole.shape.batch, whole.plan.recipe.accumulation) = (4, 1);
    let mut whole = language::begin(&whole, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    let [a, b] = [turns.step().unwrap(), whole.step().unwrap()];
    assert!(
        (a.loss - b.loss).abs() < 1e-6 && (a.norm / b.norm - 1.0).abs() < 1e-4,
        "{a:?} {b:?}"
    );
}

#[test]
fn bits_of_losses_do_not_depend_on_threads() {
    let experts = shapes().map(|shape| (shape, 0));
    for ((places, norm, activation), experts) in experts.into_iter().chain([(shapes()[1], 5)]) {
        let mut setup = setup(&[
            ("batch", int(4)),
            ("length", int(33)),
            ("width", int(24)),
            ("accumulation", int(2)),
            ("experts", int(experts)),
        ]);
        setup.shape = Shape {
            places,
            norm,
            activation,
            ..setup.shape
        };
        let corpus = setup.corpus().unwrap();
        let curve = |threads: usize| -> Vec<u64> {
            let mut training = language::begin(&setup, &corpus)
                .training(&Together::alone(threads))
                .unwrap();
            (0..2)
                .map(|_| training.step().unwrap().loss.to_bits())
                .collect()
        };
        let alone = curve(1);
        assert_eq!(alone, curve(2));
        assert_eq!(alone, curve(3));
    }
}

/// A small model comes within 5 % of the entropy of the grammar.
#[test]
fn a_model_learns_the_grammar() {
    let setup = setup(&[
        ("batch", int(16)),
        ("length", int(64)),
        ("width", int(48)),
        ("heads", int(4)),
        ("position", text("rope")),
        ("steps", int(300)),
        ("warmup", int(20)),
        ("rate", float(1e-2)),
        ("corpus", int(300_000)),
    ]);
    let corpus = setup.corpus().unwrap();
    let mut training = language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    let first = training.step().unwrap().loss;
    let losses: Vec<f64> = (1..setup.plan.steps)
        .map(|_| training.step().unwrap().loss)
        .collect();
    let judged = Judge::new(setup.plan.seed, setup.shape, &Device::Host(1))
        .unwrap()
        .judge(&training, &corpus)
        .unwrap();
    let [of_train, floor] = corpus.floors.map(Option::unwrap);
    assert!(first > 3.0 * floor, "{first} {floor}");
    assert!(
        judged.loss < 1.05 * floor && judged.loss > 0.98 * floor,
        "{} {floor}",
        judged.loss
    );
    assert!(judged.error < 1e-4, "{}", judged.error);
    // What is trained on is more common, and has a lower one.
    let last = losses.iter().rev().take(10).sum::<f64>() / 10.0;
    assert!(
        last < floor && last > 0.98 * of_train,
        "{last} {of_train} {floor}"
    );
}

#[test]
fn losses_have_the_floors_of_their_texts() {
    // So long that nearly all that is held out is judged.
    let given = [("corpus", int(30_000)), ("length", int(64))];
    let workload = TrainLm.prepare(&case(&given)).unwrap();
    let floor = |name: &str| {
        let mut metrics = workload.prepared().metrics.iter();
        metrics.find(|metric| metric.name == name).unwrap().floor
    };
    let [trained, held_out] = ["final_loss", "held_out_loss"].map(|name| floor(name).unwrap());
    assert_eq!(floor("loss"), Some(trained));
    assert_eq!(floor("gradient_norm"), None);
    assert!(1.02 * trained < held_out, "{trained} {held_out}");
}

/// Adapters learn beside a base that stays as it was written.
#[test]
fn adapters_learn_and_their_base_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.safetensors");
    // Trained for longer than its schedule, whose floor it then goes on with.
    let sizes = [
        ("batch", int(8)),
        ("length", int(32)),
        ("width", int(32)),
        ("rate", float(1e-2)),
        ("steps", int(60)),
    ];
    let base = setup(&sizes);
    let corpus = base.corpus().unwrap();
    let mut trained = language::begin(&base, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    for _ in 0..100 {
        trained.step().unwrap();
    }
    checkpoint::save(&trained, &path).unwrap();
    let base_text = text(path.to_str().unwrap());
    let tuned = setup(&[&sizes[..], &[("rank", int(4)), ("base", base_text)]].concat());
    let mut tuning = language::begin(&tuned, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    let mut still = tuned.clone();
    (still.plan.recipe.clock.peak, still.plan.recipe.clock.floor) = (0.0, 0.0);
    let mut still = language::begin(&still, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    // On the same windows, the last third of them.
    let mut last = |training: &mut Training| -> f64 {
        let losses = (0..60).map(|_| training.step().unwrap().loss);
        losses.skip(40).sum::<f64>() / 20.0
    };
    let [before, after] = [&mut still, &mut tuning].map(&mut last);
    assert!(after < 0.99 * before, "{before} {after}");
    let of_base = trained
        .parameters
        .iter()
        .map(|parameter| (parameter.name.as_str(), trained.values(parameter).unwrap()));
    let of_base: std::collections::BTreeMap<_, _> = of_base.collect();
    let (frozen, adapters): (Vec<_>, Vec<_>) =
        tuning.parameters.iter().partition(|p| p.gradient.is_none());
    assert_eq!(adapters.len(), 2 * 4);
    for parameter in frozen {
        assert_eq!(
            tuning.values(parameter).unwrap(),
            of_base[parameter.name.as_str()],
            "{}",
            parameter.name
        );
    }
}

/// A training of several threads is repeated by one in the memory that it has: there need not be as much again.
#[test]
fn one_thread_repeats_in_the_memory_of_the_training() {
    let mut training = begin(&[]);
    let buffers = training.bytes();
    let bits = |training: &mut Training| training.step().unwrap().loss.to_bits();
    let first = bits(&mut training);
    training.restart_with(2).unwrap();
    assert_eq!((bits(&mut training), training.bytes()), (first, buffers));
}

#[test]
fn a_training_is_the_same_whatever_is_sampled() {
    cases::assert_same_bits(4, |params| {
        let own = [("accumulation", int(1))];
        TrainLm
            .prepare(&case(&[&own[..], params].concat()))
            .unwrap()
    });
}

#[test]
fn utilisation_can_be_computed_again() {
    let mut workload = TrainLm.prepare(&case(&[])).unwrap();
    let mut times = [0; 4].map(|_| {
        workload.restore().unwrap();
        workload.run(1).unwrap().host_ns.unwrap()
    });
    times.sort_unstable();
    let prepared = workload.prepared().clone();
    let values = workload.finish().unwrap();
    let flops = prepared.work.flops.unwrap() as f64;
    let expected = flops / (times[2] as f64 / 1e9) / values["product_rate"];
    assert!(
        (values["mfu_palm"] / expected - 1.0).abs() < 1e-9,
        "{values:?}"
    );
    assert!(values["mfu_6n"] < values["mfu_palm"] && expected > 0.0);
    let over = &prepared.facts["mfu"];
    assert!(
        over.contains("`product_rate`, that of the fastest product of 256 cubed"),
        "{over}"
    );
}

#[test]
fn a_quality_that_is_not_reached_fails() {
    let verify = |quality: f64| {
        let mut workload = TrainLm
            .prepare(&case(&[("quality", float(quality))]))
            .unwrap();
        cases::run(workload.as_mut(), 2);
        let verification = workload.verify().unwrap();
        (verification, workload.finish().unwrap())
    };
    let (reached, values) = verify(6.0);
    assert!(reached.passed);
    assert!(
        values["steps_to_quality"] >= 1.0 && values["time_to_quality"] > 0.0,
        "{values:?}"
    );
    let (missed, values) = verify(0.1);
    let words = "the quality was not reached: the loss did not come down to 0.1 in 4 steps";
    assert!(
        !missed.passed && missed.detail.contains(words),
        "{missed:?}"
    );
    // It has no time, and no steps.
    assert!(
        !values.keys().any(|name| name.ends_with("_to_quality")),
        "{values:?}"
    );
    assert!(
        values["peak_memory"] > values["buffer_memory"],
        "{values:?}"
    );
}

/// Activations that are computed again have the bits of those that were kept, in less memory.
#[test]
fn recomputed_activations_give_the_same_bits() {
    for ((places, norm, activation), experts) in
        [(shapes()[0], 0), (shapes()[1], 0), (shapes()[2], 4)]
    {
        let train = |recompute: &str| {
            let params = [
                ("layers", int(4)),
                ("experts", int(experts)),
                ("recompute", text(recompute)),
            ];
            let mut setup = setup(&params);
            setup.shape = Shape {
                places,
                norm,
                activation,
                ..setup.shape
            };
            let corpus = setup.corpus().unwrap();
            let mut training = language::begin(&setup, &corpus)
                .training(&Together::alone(1))
                .unwrap();
            let bits: Vec<_> = (0..3)
                .map(|_| training.step().unwrap())
                .map(|step| [step.loss.to_bits(), step.norm.to_bits()])
                .collect();
            (bits, training.bytes())
        };
        let [(kept, bytes), (recomputed, fewer)] = ["no", "yes"].map(train);
        assert_eq!(kept, recomputed);
        assert!(fewer < bytes, "{fewer} {bytes}");
    }
}
