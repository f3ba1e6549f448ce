//! Language models: gradients, bits, learning, and what is said where something is wrong.

use assay_kernels::ml::norm::Kind;
use assay_protocol::{CaseSpec, Catalog as _, Failure, ParamValue};

use assay_suites::training::checkpoint;
use assay_suites::training::decoder::{Places, Shape};
use assay_suites::training::language::{self, Judge, TrainLm};
use assay_suites::training::layers::Activation;
use assay_suites::training::model::Parameter;
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
    let workload = TrainLm.prepare(&case(&[("corpus", int(30_000))])).unwrap();
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

#[test]
fn a_loss_that_is_no_number_names_step_and_tensor() {
    let setup = setup(&[("rate", float(1e30)), ("steps", int(20))]);
    let corpus = setup.corpus().unwrap();
    let mut training = language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    let failure = (0..20).find_map(|_| training.step().err()).unwrap();
    let words = failure.to_string();
    assert!(
        words.contains("step ") && words.contains("is not finite is `"),
        "{words}"
    );
    // What came of a tensor is not blamed for it.
    let of_others = ["`a parameter`", "`losses"];
    assert!(
        of_others.iter().all(|name| !words.contains(name)),
        "{words}"
    );
}

/// Of several that are none, the one that was computed first.
#[test]
fn the_first_tensor_that_is_no_number_is_named() {
    for (spoiled, expected) in [
        (
            "layers.1.attention.q.weight",
            "`layers.1.attention.queries`",
        ),
        ("layers.0.feed-forward.up.weight", "`layers.0.feed-forward."),
        ("norm", "`normal`"),
    ] {
        let setup = setup(&[]);
        let corpus = setup.corpus().unwrap();
        let mut training = language::begin(&setup, &corpus)
            .training(&Together::alone(1))
            .unwrap();
        let of = |p: &&Parameter| p.name.starts_with(spoiled);
        let parameter = training.parameters.iter().find(of).unwrap().clone();
        training
            .write(parameter.buffer, &vec![0xff; 4 * parameter.len()])
            .unwrap();
        let judged = Judge::new(setup.plan.seed, setup.shape, &Device::Host(1))
            .unwrap()
            .judge(&training, &corpus);
        // What is judged has not been updated since: the parameter itself is told.
        for (failure, expected) in [
            (
                judged.map(|_| ()).unwrap_err(),
                format!("`{}`", parameter.name),
            ),
            (
                training.step().map(|_| ()).unwrap_err(),
                expected.to_owned(),
            ),
        ] {
            let words = failure.to_string();
            assert!(words.contains(&expected), "{spoiled}: {words}");
        }
    }
}

/// What the last update does shows in no step, and what it makes of held-out losses in none of its own.
#[test]
fn a_last_update_that_leaves_no_numbers_is_named() {
    let fails = |rate: f64, clip: f64| {
        let params = [
            ("rate", float(rate)),
            ("clip", float(clip)),
            ("steps", int(1)),
        ];
        let mut workload = TrainLm.prepare(&case(&params)).unwrap();
        workload
            .run(1)
            .and_then(|_| workload.verify())
            .unwrap_err()
            .to_string()
    };
    // Parameters of 10^38 are numbers, and what comes of them is none.
    let words = fails(1e38, 1.0);
    assert!(
        words.contains("step 1: after its update a held-out loss is not finite; the first tensor that is not is `"),
        "{words}"
    );
    let words = fails(3e38, 0.0);
    let of_parameter =
        words.contains("step 1: its update left a `") || words.contains("step 1: after its update");
    assert!(
        of_parameter && words.contains("lower the `rate`"),
        "{words}"
    );
    let words = fails(1e3, 1.0);
    assert!(
        words.contains("step 1: after its update `perplexity` is inf"),
        "{words}"
    );
    let wild = Setup::of(&case(&[("rate", float(1e300))])).err().unwrap();
    assert!(
        wild.to_string()
            .contains("`rate`: expected at most 3.4028235e38"),
        "{wild}"
    );
}

/// A moment that is no number spoils the parameter, and not the loss before.
#[test]
fn an_update_that_leaves_no_numbers_is_named() {
    let spoiled = |steps: i64| {
        let mut training = begin(&[("steps", int(steps))]);
        let mut tensors = training.tensors();
        let (_, shape, moment) = tensors
            .find(|(name, ..)| name.starts_with("tokens."))
            .unwrap();
        drop(tensors);
        training.write(moment, &vec![0xff; 4 * shape[0]]).unwrap();
        training
    };
    let words = spoiled(1).step().unwrap_err().to_string();
    let expected = "step 1: its update left a `tokens` that is not finite; lower the `rate`";
    assert!(words.contains(expected), "{words}");
    // Of one that is not the last the next step tells.
    let mut training = spoiled(2);
    training.step().unwrap();
    let words = training.step().unwrap_err().to_string();
    assert!(words.contains("step 2: the loss is NaN"), "{words}");
}

#[test]
fn models_that_fit_nowhere_are_skipped_at_once() {
    let prepare = |params: &[(&str, ParamValue)]| TrainLm.prepare(&case(params)).err().unwrap();
    let skipped: [&[(&str, ParamValue)]; 5] = [
        &[
            ("layers", int(1024)),
            ("width", int(1 << 14)),
            ("heads", int(128)),
        ],
        &[
            ("vocabulary", int(1 << 22)),
            ("width", int(1 << 16)),
            ("heads", int(512)),
        ],
        &[("batch", int(1 << 30)), ("length", int(1 << 10))],
        &[
            ("experts", int(4096)),
            ("width", int(4096)),
            ("heads", int(32)),
            ("layers", int(1024)),
        ],
        &[
            ("rank", int(1)),
            ("layers", int(1024)),
            ("width", int(1 << 14)),
            ("heads", int(128)),
        ],
    ];
    for params in skipped {
        let failure = prepare(params);
        let words = failure.to_string();
        let is_told = words.contains("iB are missing") && words.contains("not enough memory");
        assert!(
            matches!(failure, Failure::Skipped(_)) && is_told,
            "{params:?}: {words}"
        );
    }
    for (params, words) in [
        (
            &[("layers", int(1_000_000_000_000))][..],
            "`layers`: expected an integer of 1 to 1024",
        ),
        (
            &[("vocabulary", int(1_000_000_000_000_000))][..],
            "`vocabulary`: expected at most 4194304",
        ),
        (
            &[("corpus", int(2_000_000_000))][..],
            "`corpus`: expected an integer of 1 to 268435456",
        ),
        (
            &[("accumulation", int(1024)), ("layers", int(12))][..],
            "`accumulation`: expected at most 682 turns of 12 layers",
        ),
    ] {
        let failure = prepare(params).to_string();
        assert!(failure.contains(words), "{failure}");
    }
}

/// What is counted before anything is put together is less than what is, and not by much where that matters.
#[test]
fn the_least_is_less_than_all() {
    let experts = [("experts", int(4)), ("width", int(64))];
    let kept = [
        ("rank", int(2)),
        ("base_stored", text("int8")),
        ("width", int(128)),
    ];
    let choices: [&[(&str, ParamValue)]; 5] = [
        &[],
        &[("width", int(128)), ("heads", int(4)), ("layers", int(4))],
        &[
            ("recompute", text("yes")),
            ("activation", text("swiglu")),
            ("position", text("rope")),
        ],
        &experts,
        &kept,
    ];
    for params in choices {
        let setup = setup(params);
        let corpus = setup.corpus().unwrap();
        let all = language::footprint(&setup, &corpus);
        let states = setup.plan.recipe.optimizer.states().len();
        let least = assay_suites::training::room::Least {
            data: 0,
            ..setup.least()
        }
        .bytes(states);
        assert!(
            least < all && least > all / 4,
            "{params:?}: {least} of {all}"
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
fn bad_cases_are_refused_in_words() {
    let refuse = |params: &[(&str, ParamValue)], words: &str| {
        let failure = Setup::of(&case(params))
            .err()
            .unwrap_or_else(|| panic!("{words}"));
        assert!(failure.to_string().contains(words), "{failure}");
    };
    refuse(
        &[("heads", int(3))],
        "`width`: expected a multiple of `heads`, 3, found 8",
    );
    refuse(
        &[("heads", int(8)), ("position", text("rope"))],
        "a multiple of twice `heads`, 16",
    );
    refuse(
        &[("width", int(512)), ("heads", int(2))],
        "at most 128 columns",
    );
    refuse(
        &[("rate", float(-1.0))],
        "`rate`: expected a number of at least 0",
    );
    refuse(
        &[("rank", int(9))],
        "`rank`: expected at most `width`, 8, found 9",
    );
    refuse(
        &[("base", text("x"))],
        "`base`: expected none without a `rank`",
    );
    refuse(
        &[("vocabulary", int(255))],
        "`vocabulary`: expected 0, or at least the number of tokens, 256, found 255",
    );
    refuse(
        &[("experts", int(3)), ("chosen", int(4))],
        "`chosen`: expected an integer of 1 to 3",
    );
    refuse(&[("warmup", int(9))], "`warmup`: expected at most 4");
    refuse(
        &[("optimizer", text("adamx"))],
        "`optimizer`: expected adamw, sgd, lion, adan",
    );
    let long = Setup::of(&case(&[("length", int(400))])).unwrap().corpus();
    assert!(long.unwrap_err().to_string().contains("held-out part"));
    let huge = setup(&[("batch", int(1 << 30)), ("length", int(1 << 10))]);
    let corpus = huge.corpus();
    let huge = corpus
        .and_then(|corpus| language::begin(&huge, &corpus).training(&Together::alone(1)))
        .err();
    assert!(matches!(
        huge,
        Some(Failure::Failed(_) | Failure::Skipped(_))
    ));
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
