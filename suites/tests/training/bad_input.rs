//! Language models where something is wrong: numbers that are none, sizes that fit nowhere, cases that ask for what there is not.

use assay_protocol::{Catalog as _, Failure, ParamValue};

use assay_suites::training::language::{self, Judge, TrainLm};
use assay_suites::training::model::Parameter;
use assay_suites::training::run::Together;
use assay_suites::training::session::Device;
use assay_suites::training::setup::Setup;

use crate::cases::{float, int, text};
use crate::language::{begin, case, setup};

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
